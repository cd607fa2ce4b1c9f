"""`countersign audit head`, `countersign audit verify` and `countersign expire`."""

# ruff: noqa: F401, F811 - a fixture that is asked for is no redefinition of its import

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask import Flask

from app.services.audit import seal
from tests.commands import Environment, countersign, refused, said
from tests.conftest import Api
from tests.serving import Desk
from tests.test_cli import Run, environment, run

ORDER = {"ticker": "AAPL", "side": "buy", "qty": "1", "type": "market"}
EMPTY_HEAD = f"0:{'0' * 64}"


@pytest.fixture
def head(desk: Desk, app: Flask) -> str:
    """Of a record with five events, of which four are sealed."""
    for name in ("one", "two"):
        desk.add_token(name, "viewer")
    with app.app_context():
        found = seal.seal()
    assert found is not None
    desk.add_token("one", "viewer")
    return str(found)


def alter(desk: Desk, event: int) -> None:
    desk.sql(
        "ALTER TABLE audit_events DISABLE TRIGGER audit_events_are_final;"
        f"UPDATE audit_events SET actor = 'somebody else' WHERE id = {event};"
        "ALTER TABLE audit_events ENABLE ALWAYS TRIGGER audit_events_are_final"
    )


# The record


def test_a_whole_record_is_said_to_be_so_with_counts_and_head(run: Run, head: str) -> None:
    assert said(run("audit", "head")) == f"{head}\n"
    line = f"4 events sealed and whole, 1 not sealed yet, head {head}\n"
    assert said(run("audit", "verify")) == line
    assert said(run("audit", "verify", "--head", head)) == line
    assert said(run("audit", "verify", "--head", f" {head.upper()}\n")) == line


def test_as_a_process_too(environment: Environment, desk: Desk, head: str) -> None:
    assert said(countersign(environment, "audit", "head")) == f"{head}\n"
    alter(desk, 2)
    assert refused(countersign(environment, "audit", "verify")).startswith("event 2 is not what was sealed")


def test_an_empty_record_is_whole(run: Run, desk: Desk) -> None:
    assert said(run("audit", "head")) == f"{EMPTY_HEAD}\n"
    line = f"0 events sealed and whole, 0 not sealed yet, head {EMPTY_HEAD}\n"
    assert said(run("audit", "verify", "--head", EMPTY_HEAD)) == line


def test_the_first_event_that_was_altered_is_named(run: Run, desk: Desk, head: str) -> None:
    for event in (3, 2):
        alter(desk, event)
        line = refused(run("audit", "verify"))
        assert line.startswith(
            f"event {event} is not what was sealed: it was altered or reordered, or its seal was;"
        )
        assert f"; {event - 1} events before that are as they were sealed, up to {event - 1}:" in line


def test_a_head_that_was_kept_is_held_against_the_record(run: Run, desk: Desk, head: str) -> None:
    other = f"4:{'ab' * 32}"
    assert "event 4 is not that of the head that was kept" in refused(run("audit", "verify", "--head", other))
    later = f"9:{'ab' * 32}"
    assert refused(run("audit", "verify", "--head", later)).startswith("what came after event 4 was removed")


@pytest.mark.parametrize("written", ["", "nonsense", "4", "4:abc", f"x:{'0' * 64}"])
def test_what_is_no_head_is_a_wrong_call_and_no_fault_of_the_record(run: Run, desk: Desk, written: str) -> None:
    line = refused(run("audit", "verify", "--head", written), status=2)
    assert "must be ID:HEX, as `audit head` prints it" in line


# Expiry


def test_what_has_expired_is_written_down_and_counted(run: Run, desk: Desk, api: Callable[..., Api]) -> None:
    assert said(run("expire")) == "0\n"
    desk.sql("""UPDATE risk_configs SET config = '{"operator_approval": {"auto_approve_paper": false}}'""")
    engine = api("engine")
    for number in range(3):
        assert (
            engine.post("/orders", ORDER | {"client_order_id": f"c{number}"}).json["status"] == "pending_approval"
        )
    desk.sql("UPDATE orders SET expires_at = clock_timestamp() WHERE client_order_id <> 'c2'")
    assert said(run("expire")) == "2\n"
    assert said(run("expire")) == "0\n"
    assert desk.sql("SELECT status, count(*) FROM orders GROUP BY 1 ORDER BY 1") == [
        ("expired", 2),
        ("pending_approval", 1),
    ]
    actors = desk.sql("SELECT actor, left(request_id, 4) FROM audit_events WHERE action = 'order.expire'")
    assert actors == [("system:deadline", "cli-")] * 2


def test_more_than_a_thousand_expire_in_one_call(run: Run, desk: Desk, api: Callable[..., Api]) -> None:
    assert api("engine").post("/orders", ORDER | {"client_order_id": "c"}).status_code == 201
    columns = "account_id, engine, ticker, side, qty, type, time_in_force, trading_mode"
    desk.sql(
        f"INSERT INTO orders (client_order_id, status, created_at, expires_at, {columns})"
        f" SELECT 'n' || n, 'pending_approval', now() - interval '2 s', now() - interval '1 s', {columns}"
        " FROM orders, generate_series(1, 2345) n"
    )
    assert said(run("expire")) == "2345\n"
