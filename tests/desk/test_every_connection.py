"""What the promises rest on is said on every connection, whatever the database or its role would have it be."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from psycopg import errors
from sqlalchemy import Connection, text
from sqlalchemy.engine import URL

from app.db import migrate
from app.db.transaction import CREDENTIALS, DECISIONS, RULES, STOPS, changing_rules, look_up, reading, recording
from app.extensions import db
from app.services.orders import submit
from tests.conftest import Api
from tests.database import connect, new_database
from tests.desk.catalog import ADVISORY_LOCKS
from tests.desk.orders import account, new_order
from tests.serving import TESTER, Desk, application

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
# The same bounds on the path of an order, where they are settings of the connection as far as that is possible.
ORDERS = WANTED | {
    "statement_timeout": "5s",
    "idle_in_transaction_session_timeout": "1s",
}
DECIDING = ORDERS | {"statement_timeout": "1s", "lock_timeout": "1s"}
MOST = {
    None: 8,
    RULES: 1,
    STOPS: 1,
    DECISIONS: 8,
    CREDENTIALS: 4,
}  # connections that one process may have open at once

# Of clients: the server cleans up in transactions of its own.
IN_A_TRANSACTION = """
    SELECT application_name, state, query FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
      AND backend_type = 'client backend' AND xact_start IS NOT NULL
"""


@pytest.fixture(autouse=True)
def nobody_stalls() -> None:
    """The settings are looked at as they are."""


def settings_of(connection: Connection) -> dict[str, str]:
    return {name: str(connection.scalar(text("SELECT current_setting(:name)"), {"name": name})) for name in WANTED}


def settings_by(query: Any) -> dict[str, str]:
    """The same through the driver; `query` runs one statement and gives its first row."""
    names = list(WANTED)
    [*values] = query(f"SELECT {', '.join(f'current_setting($${name}$$)' for name in names)}", {})
    return dict(zip(names, values, strict=True))


@pytest.mark.parametrize(
    ("pool", "wanted"),
    [
        (None, WANTED),
        (DECISIONS, ORDERS | {"application_name": "countersign decisions"}),
        (CREDENTIALS, ORDERS | {"application_name": "countersign credentials"}),
    ],
    ids=str,
)
def test_all_connections_that_a_pool_can_have_are_alike(
    app: Flask, pool: str | None, wanted: dict[str, str]
) -> None:
    with app.app_context(), ExitStack() as held:
        for _ in range(MOST[pool]):
            assert settings_of(held.enter_context(db.engines[pool].connect())) == wanted


def test_no_pool_grows_beyond_what_a_server_was_given_for_it(app: Flask) -> None:
    with app.app_context():
        for pool, most in MOST.items():
            queue: Any = db.engines[pool].pool
            assert queue.size() + queue._max_overflow == most


@contextmanager
def noting_settings(desk: Desk) -> Iterator[None]:
    """Whatever settings an order is written under are noted in the table `seen`."""
    names = ", ".join(f"'{name}'" for name in WANTED)
    desk.sql(
        f"""
        CREATE TABLE seen (settings jsonb);
        CREATE FUNCTION note_settings() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            INSERT INTO seen
                SELECT jsonb_object_agg(name, current_setting(name)) FROM unnest(ARRAY[{names}]) AS name;
            RETURN NEW;
        END $$;
        CREATE TRIGGER note_settings BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION note_settings()
        """
    )
    try:
        yield
    finally:
        desk.sql("DROP FUNCTION note_settings CASCADE; DROP TABLE seen")


def test_what_decides_an_order_holds_the_lock_in_bounds(desk: Desk, app: Flask) -> None:
    engine = account(desk, "engine", "engine")
    with app.app_context(), noting_settings(desk):
        assert submit.submit(engine, new_order())[1]
        assert desk.sql("SELECT settings FROM seen") == [
            (DECIDING | {"application_name": "countersign decisions"},)
        ]


def test_a_decision_leaves_no_trace_on_the_connection_that_it_used(desk: Desk, app: Flask) -> None:
    engine = account(desk, "engine", "engine")
    with app.app_context():
        db.engines[DECISIONS].dispose()
        assert submit.submit(engine, new_order())[1]
        broken = replace(new_order(), side="sideways")
        with pytest.raises(errors.CheckViolation):
            submit.submit(engine, broken)
        assert desk.sql(ADVISORY_LOCKS) == [(0,)]
        assert db.engines[DECISIONS].pool.checkedin() == 1  # type: ignore[attr-defined]
        with db.engines[DECISIONS].connect() as connection:
            assert settings_of(connection) == ORDERS | {"application_name": "countersign decisions"}
        assert submit.submit(engine, new_order())[1]
    assert desk.sql("SELECT count(*) FROM orders") == [(2,)]


def test_a_credential_is_looked_up_without_a_transaction_that_stays_open(desk: Desk, app: Flask) -> None:
    with app.app_context():
        assert settings_by(look_up) == ORDERS | {"application_name": "countersign credentials"}
        assert desk.sql(IN_A_TRANSACTION) == []


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
            migrate.upgrade(url)
            for transaction in (changing_rules(TESTER), recording()):
                with transaction as session:
                    assert settings_of(session.connection()) == WRITING
            there = Desk(url, app)
            with closing(there), noting_settings(there):
                assert submit.submit(account(there, "engine", "engine"), new_order())[1]
                assert there.sql("SELECT settings FROM seen") == [
                    (DECIDING | {"application_name": "countersign decisions"},)
                ]
            assert settings_by(look_up) == ORDERS | {"application_name": "countersign credentials"}


def test_a_reader_leaves_no_trace_on_the_connection_that_it_used(app: Flask) -> None:
    """Readers have a snapshot; whoever gets their connection next must see what was committed meanwhile."""
    with app.app_context():
        db.engine.dispose()
        with reading() as session:
            snapshot = settings_of(session.connection())
            used = session.scalar(text("SELECT pg_backend_pid()"))
        assert snapshot == WANTED | {"transaction_isolation": "repeatable read"}
        with recording() as session:
            assert session.scalar(text("SELECT pg_backend_pid()")) == used
            assert settings_of(session.connection()) == WRITING
        with changing_rules(TESTER) as session:
            assert settings_of(session.connection()) == WRITING
        with db.engine.connect() as connection:
            assert settings_of(connection) == WANTED


def test_an_act_that_fails_leaves_no_lock_and_no_transaction_behind(desk: Desk, app: Flask) -> None:
    def fail() -> None:
        with changing_rules(TESTER) as session:
            session.execute(text("UPDATE risk_configs SET trading_mode = 'live'"))
            raise ZeroDivisionError

    with app.app_context(), pytest.raises(ZeroDivisionError):
        fail()
    assert desk.sql("SELECT trading_mode FROM risk_configs") == [("paper",)]
    assert desk.sql(IN_A_TRANSACTION) == []
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
