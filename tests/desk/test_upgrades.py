"""A database of any earlier version is brought to the tables of this one, with all that is in it."""

from __future__ import annotations

from typing import Any

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from flask import Flask
from sqlalchemy.engine import URL

from app import schema
from tests.database import connect, new_database
from tests.desk.catalog import catalog

REVISIONS = [script.revision for script in ScriptDirectory(str(schema.migrations())).walk_revisions()]
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


@pytest.mark.parametrize("revision", REVISIONS[1:])
def test_from_each_earlier_version(
    revision: str, app: Flask, postgres_server: URL, migrated: URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    upgrade = command.upgrade
    with new_database(postgres_server) as url, connect(url) as connection, app.app_context():
        with monkeypatch.context() as earlier:
            earlier.setattr(command, "upgrade", lambda config, head: upgrade(config, revision))
            schema.upgrade(url)
        assert catalog(url) != catalog(migrated)
        before: list[Any] = []
        known = "seq"
        if revision != "0001":
            connection.execute(ORDERS)
            everything = connection.execute("SELECT * FROM orders")
            known = ", ".join(column.name for column in everything.description or ())
            before = connection.execute(f"SELECT {known} FROM orders ORDER BY seq").fetchall()
        connection.execute("UPDATE risk_configs SET trading_mode = 'disabled', version = 7")
        schema.upgrade(url)
        assert catalog(url) == catalog(migrated)
        assert connection.execute(f"SELECT {known} FROM orders ORDER BY seq").fetchall() == before
        assert connection.execute("SELECT trading_mode, version FROM risk_configs").fetchall() == [("disabled", 7)]


def test_one_that_has_the_bounds_of_0004_under_an_older_version(
    app: Flask, postgres_server: URL, migrated: URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the first release 0002 had them for a while."""
    upgrade = command.upgrade
    with new_database(postgres_server) as url, connect(url) as connection, app.app_context():
        with monkeypatch.context() as earlier:
            earlier.setattr(command, "upgrade", lambda config, head: upgrade(config, "0004"))
            schema.upgrade(url)
        connection.execute("UPDATE alembic_version SET version_num = '0003'")
        schema.upgrade(url)
        assert catalog(url) == catalog(migrated)
