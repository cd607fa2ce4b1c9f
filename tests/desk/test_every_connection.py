"""What the promises rest on is said on every connection, whatever the database or its role would have it be."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import Connection, text
from sqlalchemy.engine import URL

from app import schema
from app.desk.transaction import changing_rules, reading, recording
from app.extensions import db
from tests.conftest import Api
from tests.database import connect, new_database
from tests.desk.catalog import ADVISORY_LOCKS
from tests.serving import Desk, application

WANTED = {
    "transaction_isolation": "read committed",
    "default_transaction_isolation": "read committed",
    "transaction_read_only": "off",
    "synchronous_commit": "on",
    "TimeZone": "UTC",
    "statement_timeout": "10s",
    "lock_timeout": "5s",
    "idle_in_transaction_session_timeout": "10s",
    "application_name": "countersign",
}
# Whoever holds the lock of the rules, or shares it, stands in front of a halt.
WRITING = WANTED | {
    "statement_timeout": "1500ms",
    "lock_timeout": "1s",
    "idle_in_transaction_session_timeout": "1s",
}


def settings_of(connection: Connection) -> dict[str, str]:
    return {name: str(connection.scalar(text("SELECT current_setting(:name)"), {"name": name})) for name in WANTED}


def test_all_connections_that_the_pool_can_have_are_alike(app: Flask) -> None:
    with app.app_context(), ExitStack() as held:
        most = db.engine.pool.size() + 4  # type: ignore[attr-defined]
        for _ in range(most):
            assert settings_of(held.enter_context(db.engine.connect())) == WANTED


def test_a_database_that_prefers_otherwise_is_overruled(postgres_server: URL, tmp_path: Path) -> None:
    careless = {
        "default_transaction_isolation": "'repeatable read'",
        "synchronous_commit": "off",
        "timezone": "'Asia/Kathmandu'",
        "statement_timeout": "0",
        "lock_timeout": "0",
        "idle_in_transaction_session_timeout": "0",
    }
    with new_database(postgres_server) as url:
        with connect(url) as connection:
            for name, value in careless.items():
                connection.execute(f"ALTER DATABASE {url.database} SET {name} = {value}")
        with application(url, tmp_path) as app, app.app_context():
            schema.upgrade(url)
            for transaction in (changing_rules, recording):
                with transaction() as session:
                    assert settings_of(session.connection()) == WRITING


def test_a_reader_leaves_no_trace_on_the_connection_that_it_used(app: Flask) -> None:
    """Readers have a snapshot; whoever gets their connection next must see what was committed meanwhile."""
    with app.app_context():
        db.engine.dispose()
        with reading() as session:
            snapshot = settings_of(session.connection())
            used = session.scalar(text("SELECT pg_backend_pid()"))
        assert snapshot == WANTED | {"transaction_isolation": "repeatable read"}
        with changing_rules() as session:
            assert session.scalar(text("SELECT pg_backend_pid()")) == used
            assert settings_of(session.connection()) == WRITING
        with recording() as session:
            assert settings_of(session.connection()) == WRITING
        with db.engine.connect() as connection:
            assert settings_of(connection) == WANTED


def test_an_act_that_fails_leaves_no_lock_and_no_transaction_behind(desk: Desk, app: Flask) -> None:
    def fail() -> None:
        with changing_rules() as session:
            session.execute(text("UPDATE risk_configs SET trading_mode = 'live'"))
            raise ZeroDivisionError

    with app.app_context(), pytest.raises(ZeroDivisionError):
        fail()
    assert desk.sql("SELECT trading_mode FROM risk_configs") == [("paper",)]
    mine = "datname = current_database() AND pid <> pg_backend_pid()"
    assert desk.sql(f"SELECT count(*) FROM pg_stat_activity WHERE {mine} AND xact_start IS NOT NULL") == [(0,)]
    assert desk.sql(ADVISORY_LOCKS) == [(0,)]


def test_the_request_after_all_connections_were_killed_works(desk: Desk, operator: Api) -> None:
    for killed in range(3):
        body = {"ticker": "AAPL", "reason": f"after {killed} kills", "duration_minutes": 5}
        assert operator.post("/lockouts", body).status_code == 201
        assert len(operator.get("/lockouts").json["items"]) == killed + 1
        assert desk.sql(
            "SELECT count(pg_terminate_backend(pid)) > 0 FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        ) == [(True,)]


def test_a_connection_killed_in_the_middle_of_an_act_is_a_503_that_changed_nothing(
    desk: Desk, operator: Api
) -> None:
    desk.sql(
        "CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NEW; END $$;"
        " CREATE TRIGGER die AFTER INSERT ON audit_events EXECUTE FUNCTION die()"
    )
    try:
        answer = operator.put("/mode", {"trading_mode": "disabled"})
    finally:
        desk.sql("DROP FUNCTION die CASCADE")
    assert (answer.status_code, answer.json["code"]) == (503, "database_unavailable")
    assert answer.headers["Retry-After"] == "1"
    assert desk.sql("SELECT trading_mode, version FROM risk_configs") == [("paper", 1)]
    assert desk.sql("SELECT count(*) FROM audit_events WHERE action = 'mode.change'") == [(0,)]
    assert operator.put("/mode", {"trading_mode": "disabled"}).status_code == 200
