"""What is on record stays on record: events and their seals are added, and never changed or removed."""

from __future__ import annotations

import psycopg
import pytest
from flask import Flask
from psycopg import errors

from app.services.audit import seal
from tests.conftest import Api
from tests.serving import Desk

TAMPERING = [
    "UPDATE audit_events SET actor = 'somebody else'",
    "UPDATE audit_events SET note = note WHERE false",
    "UPDATE ONLY audit_events SET before = NULL WHERE id = 1",
    "DELETE FROM audit_events",
    "DELETE FROM audit_events WHERE id = 1",
    "TRUNCATE audit_events",
    "TRUNCATE audit_events RESTART IDENTITY CASCADE",
    "TRUNCATE symbol_lockouts, audit_events",
    "INSERT INTO audit_events (id, actor, action, subject, request_id) OVERRIDING SYSTEM VALUE"
    " SELECT id, 'x', action, subject, request_id FROM audit_events"
    " ON CONFLICT (id) DO UPDATE SET actor = 'somebody else'",
    "WITH gone AS (DELETE FROM audit_events RETURNING 1) SELECT count(*) FROM gone",
    "UPDATE audit_seals SET digest = sha256('x')",
    "UPDATE audit_seals SET sealed_at = sealed_at WHERE false",
    "DELETE FROM audit_seals",
    "DELETE FROM audit_seals WHERE position = 1",
    "TRUNCATE audit_seals",
    "TRUNCATE audit_seals, symbol_lockouts",
    "INSERT INTO audit_seals SELECT * FROM audit_seals ON CONFLICT (position) DO UPDATE SET digest = sha256('x')",
]
RECORD = """
    SELECT e.*, s.* FROM audit_events e FULL JOIN audit_seals s ON e.id = s.event_id ORDER BY id, position
"""


@pytest.fixture
def recorded(desk: Desk, app: Flask, operator: Api) -> Desk:
    """A desk with something on record, and sealed."""
    assert operator.put("/mode", {"trading_mode": "disabled"}).status_code == 200
    with app.app_context():
        assert seal.seal() is not None
    return desk


@pytest.mark.parametrize("statement", TAMPERING)
def test_it_refuses(recorded: Desk, statement: str) -> None:
    before = recorded.sql(RECORD)
    assert before
    with pytest.raises(errors.RestrictViolation, match="audit events are never changed or removed"):
        recorded.sql(statement)
    assert recorded.sql(RECORD) == before


@pytest.mark.parametrize("statement", TAMPERING)
def test_it_refuses_where_a_replica_would_skip_triggers(recorded: Desk, statement: str) -> None:
    before = recorded.sql(RECORD)
    dsn = recorded.database.set(drivername="postgresql").render_as_string(hide_password=False)
    # Whoever may not switch triggers off is refused by that; whoever may, by the trigger.
    refusals = (errors.RestrictViolation, errors.InsufficientPrivilege)
    with psycopg.connect(dsn) as connection, pytest.raises(refusals):
        connection.execute(f"SET session_replication_role = replica; {statement}")
    assert recorded.sql(RECORD) == before


def test_adding_one_is_no_change_of_the_others(recorded: Desk) -> None:
    before = recorded.sql(RECORD)
    recorded.sql(
        "INSERT INTO audit_events (actor, action, subject, request_id) VALUES ('a', 'mode.change', 's', 'r')"
    )
    assert recorded.sql(RECORD)[: len(before)] == before


def test_an_event_cannot_choose_its_number(recorded: Desk) -> None:
    with pytest.raises(errors.GeneratedAlways):
        recorded.sql(
            "INSERT INTO audit_events (id, actor, action, subject, request_id) VALUES (1, 'a', 'b', 'c', 'd')"
        )


def test_a_refused_change_leaves_no_event(recorded: Desk, operator: Api) -> None:
    """Both are there afterwards, or neither: here the change fails after its event was written."""
    made = operator.post("/lockouts", {"ticker": "AAPL", "reason": "r", "duration_minutes": 5}).json
    events = recorded.sql("SELECT count(*) FROM audit_events")
    recorded.sql(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '57014'; END $$;"
        " CREATE TRIGGER refuse BEFORE DELETE ON symbol_lockouts EXECUTE FUNCTION refuse()"
    )
    try:
        assert operator.delete(f"/lockouts/{made['id']}").status_code == 503
    finally:
        recorded.sql("DROP FUNCTION refuse CASCADE")
    assert recorded.sql("SELECT count(*) FROM audit_events") == events
    assert recorded.sql("SELECT id::text FROM symbol_lockouts") == [(made["id"],)]
