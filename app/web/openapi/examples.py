"""An example of each operation: what is sent, and what is answered. They are part of the document, the page of the
API shows them as commands, and a test runs every one of them.

They tell of one day: an order waits, a person approves it, a symbol is locked out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from app.domain.last_day import HOURS, Outcome
from app.web.openapi.descriptions import Json

ORDER_ID = "5f0e6f0a-2d4b-4c1e-9f51-7a1d3b8c2e64"
OTHER_ID = "b3c1d9f2-8a47-4e0b-8f6d-0c5a9e7d1b23"
LOCKOUT_ID = "0b9c7f3e-61a8-4f0d-b2a4-93d5c1e8f702"


def _at(time: str, day: str = "2026-03-02") -> str:
    return f"{day}T{time}.000000Z"


@dataclass(frozen=True)
class Example:
    """`parameters` by name, of the path, the query and the head alike; no `answer` where there is no JSON."""

    answer: Any = None
    body: Json | None = None
    parameters: Mapping[str, str | int] = field(default_factory=dict)


APPROVAL = {"auto_approve_paper": False, "require_approval_for_live": True, "approval_timeout_minutes": 30}
LAYERS = {"macro": True, "competitive": False}
CONFIG = {"operator_approval": APPROVAL, "position_limits": {"max_order_value": "50000"}}
STORED = {
    "trading_mode": "paper",
    "config": CONFIG,
    "version": 4,
    "updated_at": _at("14:05:00"),
    "updated_by": "ada",
}
LOCKOUT = {
    "id": LOCKOUT_ID,
    "ticker": "AAPL",
    "reason": "earnings after the close",
    "lockout_type": "manual",
    "created_at": _at("14:30:00"),
    "created_by": "olga",
    "expires_at": _at("15:30:00"),
}
NEW_ORDER = {
    "client_order_id": "momentum-0042",
    "ticker": "MSFT",
    "side": "buy",
    "qty": "10",
    "type": "limit",
    "limit_price": "412.50",
    "reference_price": "412.20",
    "strategy": "momentum",
    "rationale": "Broke out of its 20-day range on twice the usual volume.",
}
ORDER: Json = {
    "id": ORDER_ID,
    "client_order_id": "momentum-0042",
    "engine": "momentum-bot",
    "ticker": "MSFT",
    "side": "buy",
    "qty": "10",
    "notional": None,
    "type": "limit",
    "time_in_force": "day",
    "limit_price": "412.5",
    "stop_price": None,
    "reference_price": "412.2",
    "signal_layer": None,
    "strategy": "momentum",
    "rationale": "Broke out of its 20-day range on twice the usual volume.",
    "trading_mode": "paper",
    "status": "pending_approval",
    "reasons": [],
    "value": "4125",
    "created_at": _at("14:31:00"),
    "expires_at": _at("15:01:00"),
    "decided_at": None,
    "decided_by": None,
    "decision_note": None,
}
DECISION = {"decided_at": _at("14:31:40"), "decided_by": "olga"}
RELEASED = ORDER | DECISION | {"status": "released", "decision_note": "saw it too"}
REJECTED = ORDER | DECISION | {"status": "rejected", "decision_note": "too close to the announcement"}
CANCELED = ORDER | {"status": "canceled", "decided_at": _at("14:31:40"), "decided_by": "momentum-bot"}
WAITING = ORDER | {"approvable": True, "blockers": []}
SHOWN = WAITING | {"blocked_because": []}
EVENT = {
    "id": 118,
    "created_at": _at("14:30:00"),
    "actor": "olga",
    "action": "lockout.create",
    "subject": LOCKOUT_ID,
    "before": None,
    "after": LOCKOUT,
    "note": None,
    "request_id": "9f1c2e4b7a8d0356",
    "truncated": False,
}
STATE = {
    "trading_mode": "paper",
    "config_error": None,
    "config_warnings": [],
    "approval_config": APPROVAL,
    "signal_layers": LAYERS,
    "lockouts": [LOCKOUT],
    "lockouts_total": 1,
    "approvals": [SHOWN],
    "approvals_by_ticker": {"MSFT": 1},
    "approvals_total": 1,
    "recent_orders": [RELEASED],
    "config_version": 4,
    "second_factor_for_live": False,
    "state_version": 121,
    "server_time": _at("14:32:00"),
}


def _history() -> Json:
    days = ["2026-03-01"] * 9 + ["2026-03-02"] * 15
    starts = [_at(f"{(15 + place) % HOURS:02}:00:00", day) for place, day in enumerate(days)]
    nothing = dict.fromkeys(map(str, Outcome), 0)
    nobody = {"decided_by_people": 0, "median_seconds": None, "p90_seconds": None}
    busy = {"released": 12, "approved": 3, "decided_by_people": 3, "median_seconds": 41.5, "p90_seconds": 83.0}
    hours = [{"start": start, **nothing, **nobody, **(busy if start == starts[-1] else {})} for start in starts]
    change = {"at": _at("14:06:00"), "from": "disabled", "to": "paper", "by": "ada", "reason": "prices are back"}
    return {
        "since": starts[0],
        "server_time": _at("14:32:00"),
        "hours": hours,
        "lockouts": [LOCKOUT | {"removed_at": None, "removed_by": None}],
        "more_lockouts": False,
        "modes": [change],
    }


def _list(item: Json) -> Json:
    return {"items": [item], "next": None}


OF_ORDER: Mapping[str, str | int] = {"order_id": ORDER_ID}
OF_LOCKOUT: Mapping[str, str | int] = {"lockout_id": LOCKOUT_ID}

# By method and path below the prefix.
EXAMPLES: Mapping[str, Example] = {
    "get approval-config": Example(APPROVAL),
    "put approval-config": Example(APPROVAL, {"auto_approve_paper": False}),
    "get signal-layers": Example(LAYERS),
    "put signal-layers": Example(LAYERS, {"competitive": False}),
    "get config": Example(STORED),
    "put config": Example(STORED, {"config": CONFIG}, {"If-Match": "*"}),
    "get mode": Example({"trading_mode": "paper"}),
    "put mode": Example({"trading_mode": "disabled", "ignored": {}}, {"trading_mode": "disabled"}),
    "get lockouts": Example(_list(LOCKOUT), parameters={"ticker": "AAPL"}),
    "post lockouts": Example(
        LOCKOUT, {"ticker": "AAPL", "reason": "earnings after the close", "duration_minutes": 60}
    ),
    "patch lockouts/{lockout_id}": Example(
        LOCKOUT | {"expires_at": _at("16:00:00")}, {"extend_minutes": 30}, OF_LOCKOUT
    ),
    "delete lockouts/{lockout_id}": Example(parameters=OF_LOCKOUT),
    "post orders": Example(ORDER, NEW_ORDER),
    "get orders": Example(_list(RELEASED), parameters={"status": "released", "limit": 1}),
    "get orders/{order_id}": Example(RELEASED, parameters={**OF_ORDER, "wait": 30}),
    "post orders/{order_id}/cancel": Example(CANCELED, parameters=OF_ORDER),
    "get approvals": Example(_list(WAITING)),
    "post approvals/{order_id}/approve": Example(RELEASED, {"note": "saw it too"}, OF_ORDER),
    "post approvals/{order_id}/reject": Example(REJECTED, {"reason": "too close to the announcement"}, OF_ORDER),
    "post approvals/decisions": Example(
        {
            "results": [
                {"id": ORDER_ID, "action": "approve", "status": 200, "order": RELEASED | {"decision_note": None}},
                {
                    "id": OTHER_ID,
                    "action": "reject",
                    "status": 404,
                    "problem": {
                        "type": "about:blank",
                        "title": "Not Found",
                        "status": 404,
                        "detail": "there is no such order",
                        "code": "not_found",
                    },
                },
            ]
        },
        {
            "decisions": [
                {"id": ORDER_ID, "action": "approve"},
                {"id": OTHER_ID, "action": "reject", "reason": "twice the usual size"},
            ]
        },
    ),
    "get audit": Example(_list(EVENT), parameters={"action": "lockout.create", "limit": 1}),
    "get audit/{event_id}": Example(EVENT, parameters={"event_id": 118}),
    "get state": Example(STATE),
    "get history": Example(_history()),
}


def add_to(operation: Json, name: str) -> None:
    """The example of the operation `name`, where OpenAPI has its place for it."""
    example = EXAMPLES.get(name)
    if example is None:
        return
    operation["parameters"] = [
        parameter | {"example": example.parameters[parameter["name"]]}
        if parameter["name"] in example.parameters
        else {key: value for key, value in parameter.items() if key != "example"}
        for parameter in operation.get("parameters", ())
    ]
    if not operation["parameters"]:
        del operation["parameters"]
    if example.body is not None:
        operation["requestBody"]["content"]["application/json"]["examples"] = {"usual": {"value": example.body}}
    status = min(status for status in operation["responses"] if status.startswith("2"))
    if "201" in operation["responses"]:
        status = "201"
    if example.answer is not None:
        content = operation["responses"][status]["content"]
        operation["responses"][status]["content"] = content | {
            "application/json": content["application/json"] | {"examples": {"usual": {"value": example.answer}}}
        }
