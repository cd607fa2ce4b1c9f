"""What `desk.reset()` promises to every test: no rows, numbers from one, and triggers that refuse again."""

from __future__ import annotations

import psycopg
import pytest

from app.extensions import db
from tests.serving import Desk

FEW, MANY = 3, 4000  # rows; so many that the table is truncated
FILL = """
    INSERT INTO symbol_lockouts (ticker, reason, created_by, expires_at)
    SELECT 'T', 'news', 'x', now() + interval '1 h' FROM generate_series(1, %s)
"""
EVENT = "INSERT INTO audit_events (actor, action, subject, request_id) VALUES ('x', 'mode.change', 'x', 'x')"


@pytest.mark.parametrize("rows", [FEW, MANY])
def test_leaves_no_row_and_numbers_from_one(desk: Desk, rows: int) -> None:
    desk.add_user("ada", "admin")
    desk.add_token("momentum", "engine", owner="ada")
    desk.sql(FILL, rows)
    desk.sql("UPDATE risk_configs SET trading_mode = 'disabled', version = 7")
    desk.reset()
    counts = {name: desk.sql(f"SELECT count(*) FROM {name}")[0][0] for name in db.metadata.tables}
    assert counts == dict.fromkeys(db.metadata.tables, 0) | {"risk_configs": 1}
    assert desk.sql("SELECT id, trading_mode, config, version FROM risk_configs") == [(1, "paper", {}, 1)]
    assert desk.sql("SELECT count(*) FROM pg_sequences WHERE last_value > 1") == [(0,)]
    desk.add_user("eve", "viewer")
    assert desk.sql("SELECT id FROM accounts UNION SELECT id FROM audit_events") == [(1,)]


@pytest.mark.parametrize("rows", [FEW, MANY])
def test_audit_events_are_final_again(desk: Desk, rows: int) -> None:
    desk.sql(FILL, rows)
    desk.reset()
    desk.sql(EVENT)
    for statement in ("DELETE FROM audit_events", "UPDATE audit_events SET actor = 'y'", "TRUNCATE audit_events"):
        with pytest.raises(psycopg.errors.RestrictViolation):
            desk.sql(statement)
