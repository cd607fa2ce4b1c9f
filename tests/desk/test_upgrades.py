"""A database of any earlier version is brought to the tables of this one, with all that is in it."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from flask import Flask
from sqlalchemy.engine import URL

from app.db import migrate
from app.settings import SettingsError
from tests.database import connect, new_database
from tests.desk.catalog import catalog

REVISIONS = [script.revision for script in ScriptDirectory(str(migrate.migrations())).walk_revisions()]
# One of each kind, as the desk of any version has written them.
ORDERS = """
    INSERT INTO orders (account_id, engine, client_order_id, ticker, side, qty, type, time_in_force, trading_mode,
                        status, reasons, created_at, expires_at, decided_at, decided_by, decision_note)
    SELECT 1, 'e', status, 'AAPL', 'buy', 10, 'market', 'day', 'paper', status,
           CASE status WHEN 'blocked' THEN '[{"code": "order_rate"}]' ELSE '[]' END::jsonb, now() - interval '1 h',
           CASE WHEN status NOT IN ('blocked', 'released') THEN now() END,
           CASE WHEN status <> 'pending_approval' THEN now() END,
           CASE WHEN status <> 'pending_approval' THEN 'somebody' END, CASE status WHEN 'rejected' THEN 'no' END
    FROM unnest(ARRAY['blocked', 'pending_approval', 'released', 'rejected', 'expired', 'canceled']) AS status
"""


def upgrade_to(revision: str, url: URL, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the version did of which that revision was the newest."""
    upgrade = command.upgrade
    with monkeypatch.context() as earlier:
        earlier.setattr(command, "upgrade", lambda config, head: upgrade(config, revision))
        migrate.upgrade(url)


def test_it_gives_way_to_whoever_is_at_work_and_tries_again(
    app: Flask, postgres_server: URL, migrated: URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody who reads a table, as a dump does, would otherwise have every request wait behind the migration."""
    waited = threading.Event()
    monkeypatch.setattr(migrate, "PATIENCE", "200ms")
    with new_database(postgres_server) as url, connect(url) as other, app.app_context():
        upgrade_to("0008", url, monkeypatch)
        other.execute("BEGIN")
        other.execute("SELECT count(*) FROM accounts")

        def between(seconds: float) -> None:
            """Nobody waits by now, and what was done before stays done."""
            with connect(url) as third:
                third.execute("SET lock_timeout = '1s'")
                third.execute("SELECT name FROM accounts")
                assert third.execute("SELECT version_num FROM alembic_version").fetchall() == [("0009",)]
            if waited.is_set():
                other.execute("COMMIT")
            waited.set()

        monkeypatch.setattr(time, "sleep", between)
        migrate.upgrade(url)
        assert waited.is_set()
        assert catalog(url) == catalog(migrated)


def test_where_nobody_lets_go_it_says_so_and_changes_nothing_more(
    app: Flask, postgres_server: URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrate, "PATIENCE", "50ms")
    monkeypatch.setattr(migrate, "BETWEEN", 0.0)
    with new_database(postgres_server) as url, connect(url) as other, app.app_context():
        upgrade_to("0008", url, monkeypatch)
        other.execute("BEGIN")
        other.execute("SELECT count(*) FROM accounts")
        with pytest.raises(SettingsError, match="in use"):
            migrate.upgrade(url)


@pytest.mark.parametrize("revision", REVISIONS[1:])
def test_from_each_earlier_version(
    revision: str, app: Flask, postgres_server: URL, migrated: URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    with new_database(postgres_server) as url, connect(url) as connection, app.app_context():
        upgrade_to(revision, url, monkeypatch)
        assert catalog(url) != catalog(migrated)
        before: list[Any] = []
        known = "seq"
        if revision != "0001":
            connection.execute(ORDERS)
            everything = connection.execute("SELECT * FROM orders")
            known = ", ".join(column.name for column in everything.description or ())
            before = connection.execute(f"SELECT {known} FROM orders ORDER BY seq").fetchall()
        connection.execute("UPDATE risk_configs SET trading_mode = 'disabled', version = 7")
        migrate.upgrade(url)
        assert catalog(url) == catalog(migrated)
        assert connection.execute(f"SELECT {known} FROM orders ORDER BY seq").fetchall() == before
        assert connection.execute("SELECT trading_mode, version FROM risk_configs").fetchall() == [("disabled", 7)]


def test_one_that_has_the_bounds_of_0004_under_an_older_version(
    app: Flask, postgres_server: URL, migrated: URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the first release 0002 had them for a while."""
    with new_database(postgres_server) as url, connect(url) as connection, app.app_context():
        upgrade_to("0004", url, monkeypatch)
        connection.execute("UPDATE alembic_version SET version_num = '0003'")
        migrate.upgrade(url)
        assert catalog(url) == catalog(migrated)
