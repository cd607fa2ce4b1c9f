"""What the tests of orders share: an order to send, desks on which it waits, and deadlines that come sooner."""

from __future__ import annotations

from itertools import count
from typing import Any

from flask import Flask

from app.lib import strict_json
from tests.conftest import Api
from tests.serving import Desk

KEYS = {
    *("id", "client_order_id", "engine", "ticker", "side", "qty", "notional", "type", "time_in_force"),
    *("limit_price", "stop_price", "reference_price", "signal_layer", "strategy", "rationale", "trading_mode"),
    *("status", "reasons", "value", "created_at", "expires_at", "decided_at", "decided_by", "decision_note"),
}
DECIDED = ("decided_at", "decided_by", "order")  # what the 409 of a decided order holds besides
MARKET = {"ticker": "AAPL", "side": "buy", "qty": "10", "type": "market"}
LOCKOUT = {"ticker": "AAPL", "reason": "earnings", "duration_minutes": 60}
HOLDS = {"operator_approval": {"auto_approve_paper": False}}
NOBODYS_ID = "00000000-0000-4000-8000-000000000000"
WEIRD_IDS = [
    NOBODYS_ID,
    "x",
    "0",
    "-1",
    "%00",
    "%FF",
    "é",
    "%20",
    "null",
    "*",
    "'",
    "0" * 32,
    f"{{{NOBODYS_ID}}}",
    f"urn:uuid:{NOBODYS_ID}",
    NOBODYS_ID + "0",
    "a" * 2000,
]

_numbers = count(1)


def order(**changes: Any) -> dict[str, Any]:
    """A body for POST /orders with a client_order_id of its own; a key that is given as `...` is left out."""
    body = MARKET | {"client_order_id": f"order-{next(_numbers)}"} | changes
    return {key: value for key, value in body.items() if value is not ...}


def configure(desk: Desk, config: dict[str, Any]) -> None:
    """Put a configuration into the database, whatever it is worth."""
    desk.sql("UPDATE risk_configs SET config = %s::jsonb", strict_json.dumps(config))


def sent(engine: Api, status: str, **changes: Any) -> dict[str, Any]:
    """An order that was sent and has that status."""
    answer = engine.post("/orders", order(**changes))
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json
    assert made["status"] == status, made
    return made


def waiting(engine: Api, **changes: Any) -> dict[str, Any]:
    """An order that waits for a person."""
    return sent(engine, "pending_approval", **changes)


def set_deadline(desk: Desk, made: dict[str, Any], seconds: float) -> None:
    """Let the order expire that many seconds from now: negative, it has expired already."""
    desk.sql(
        "UPDATE orders SET expires_at = deadline, created_at = least(created_at, deadline - interval '1 s')"
        " FROM (SELECT clock_timestamp() + make_interval(secs => %s) AS deadline) AS new WHERE id = %s::uuid",
        seconds,
        made["id"],
    )


def end_lockouts(desk: Desk) -> None:
    """As if their time were over: they were made an hour before, and have just ended."""
    desk.sql(
        "UPDATE symbol_lockouts SET created_at = least(created_at, now() - interval '1 h'),"
        " expires_at = now() - interval '0.01 s'"
    )


def stored(desk: Desk, made: dict[str, Any]) -> str:
    """The status as it is written down."""
    ((status,),) = desk.sql("SELECT status FROM orders WHERE id = %s::uuid", made["id"])
    return str(status)


def client_of(app: Flask, desk: Desk, name: str, role: str, **token: Any) -> Api:
    """A client with a token of its own, of the account `name`."""
    return Api(app.test_client(), desk.add_token(name, role, **token))
