"""The schemas of answers."""

from __future__ import annotations

from app.domain.gate import OrderType, ReasonCode, Side, SignalLayer, TimeInForce
from app.domain.instruments import MAX_TICKER_LENGTH, TICKER_PATTERN
from app.domain.last_day import HOURS, Outcome
from app.domain.order_status import LockoutType, OrderStatus
from app.domain.risk_config import (
    MAX_APPROVAL_TIMEOUT_MINUTES,
    MAX_RATE_ORDERS,
    MAX_RATE_SECONDS,
    MIN_APPROVAL_TIMEOUT_MINUTES,
)
from app.services.audit import log
from app.services.execution.order_updates import WHY_NOT_SENT
from app.web.forms.trading import Choice
from app.web.openapi.descriptions import (
    BEYOND,
    BOOLEAN,
    DECIMAL,
    ID,
    INTEGER,
    MODE,
    NULL,
    OBJECT,
    STRING,
    TIME,
    Json,
    array_of,
    nullable,
    object_of,
    page_of,
    ref,
)

LIMIT: Json = {
    "anyOf": [NULL, DECIMAL, {"type": "number", "minimum": 0, "exclusiveMaximum": BEYOND, "multipleOf": 1e-9}]
}
MULTIPLIERS: Json = {
    "type": "object",
    "description": "Contract sizes by ticker or by the root of a future, such as `ES`: positive decimals.",
    "propertyNames": {"pattern": TICKER_PATTERN, "maxLength": MAX_TICKER_LENGTH},
    "additionalProperties": {
        "anyOf": [
            DECIMAL | {"allOf": [{"pattern": "[1-9]"}]},
            {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": BEYOND, "multipleOf": 1e-9},
        ]
    },
    "examples": [{"ES": "50", "ABEV3": "1"}],
}
APPROVAL_CONFIG: Json = {
    "auto_approve_paper": BOOLEAN,
    "require_approval_for_live": BOOLEAN,
    "approval_timeout_minutes": {
        "type": "integer",
        "minimum": MIN_APPROVAL_TIMEOUT_MINUTES,
        "maximum": MAX_APPROVAL_TIMEOUT_MINUTES,
    },
}
SIGNAL_LAYERS: Json = {"macro": BOOLEAN, "competitive": BOOLEAN}
LOCKOUT: Json = {
    "id": ID,
    "ticker": STRING,
    "reason": STRING,
    "lockout_type": {"enum": [str(kind) for kind in LockoutType]},
    "created_at": TIME,
    "created_by": STRING,
    "expires_at": TIME,
}
# Longer than an amount: it is the product of three.
VALUE: Json = {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?$"}
REASONS: Json = array_of(ref("Reason"))
IGNORED: Json = {
    "type": "object",
    "additionalProperties": array_of(STRING),
    "description": "Of a halt, always: by member what was left out of it, and why. The halt was made.",
}
ORDER: Json = {
    "id": ID,
    "client_order_id": STRING,
    "engine": STRING,
    "ticker": STRING,
    "side": {"enum": [str(side) for side in Side]},
    "qty": nullable(DECIMAL),
    "notional": nullable(DECIMAL),
    "type": {"enum": [str(kind) for kind in OrderType]},
    "time_in_force": {"enum": [str(time) for time in TimeInForce]},
    "limit_price": nullable(DECIMAL),
    "stop_price": nullable(DECIMAL),
    "reference_price": nullable(DECIMAL),
    "signal_layer": {"enum": [*map(str, SignalLayer), None]},
    "strategy": nullable(STRING),
    "rationale": nullable(STRING),
    "trading_mode": MODE,
    "status": {"enum": [str(status) for status in OrderStatus]},
    "reasons": REASONS,
    "value": nullable(VALUE)
    | {
        "description": "The notional, or the quantity at the highest known price times the contract size that is"
        " configured now; null where no price or no contract size is known."
    },
    "created_at": TIME,
    "expires_at": nullable(TIME),
    "decided_at": nullable(TIME),
    "decided_by": nullable(STRING),
    "decision_note": nullable(STRING),
}
SELF_APPROVED: Json = {
    "self_approved": {"const": True}
    | {"description": "Approved by a person who controls the engine, as SELF_APPROVAL allows."}
}
# Of an order that is bound for a venue.
AT_THE_VENUE: Json = {
    "send_by": TIME,
    "venue_id": nullable(STRING),
    "venue_words": nullable(STRING),
    "venue_at": nullable(TIME),
    "cancel_asked_at": nullable(TIME) | {"description": "When its end at the venue was asked for."},
    "replaces": nullable(ID),
    "filled_qty": nullable(DECIMAL),
    "filled_avg_price": nullable(DECIMAL),
}
OUTSTANDING: Json = {
    "sending": nullable(INTEGER)
    | {"description": "Orders on their way to a venue, of which it has not answered: `unknown` ones among them."},
    "unknown": nullable(INTEGER)
    | {"description": "Those of which nobody can tell whether they are at the venue: a person must look there."},
    "on_the_way": nullable(array_of(ref("OpenOrder")))
    | {"description": "The orders that `sending` counts, unknown ones first; at most 500."},
    "open_orders": nullable(array_of(ref("OpenOrder"))) | {"description": "Oldest first; at most 500."},
    "open_orders_total": nullable(INTEGER),
    "silent_since": nullable(TIME) | {"description": "Since when a venue has not answered the desk."},
}
CANCELED: Json = {
    "canceled_orders": array_of(ref("EndedOrder"))
    | {
        "description": "With `cancel_open_orders`: the orders whose end was asked for. `ended` tells of which it"
        " is confirmed; the venue is asked again for the end of the others."
    },
    "not_open": array_of(ID)
    | {"description": "Those of `protective_stops` that are neither open at the venue nor on their way."},
}
OPEN: Json = (
    ORDER
    | AT_THE_VENUE
    | {
        "protective": BOOLEAN | {"description": "Whether it is a stop order, whatever it is for."},
        "venue_order_id": STRING | {"description": "The client order id that the venue knows it by."},
    }
)
WAITING: Json = ORDER | {
    "status": {"const": str(OrderStatus.PENDING_APPROVAL)},
    "expires_at": TIME,
    "approvable": BOOLEAN,
    "blockers": array_of({"enum": [str(code) for code in ReasonCode]}),
}


def answer_schemas() -> Json:
    """Every schema of an answer, by its name."""
    return {**_rules(), **_orders(), **_desk()}


def _rules() -> Json:
    return {
        "ApprovalConfig": object_of(APPROVAL_CONFIG),
        "SignalLayers": object_of(SIGNAL_LAYERS),
        "Lockout": object_of(LOCKOUT),
        "LockoutList": page_of("Lockout"),
        "Mode": object_of({"trading_mode": MODE}),
        "ModeChanged": object_of(
            {"trading_mode": MODE, "ignored": IGNORED, **OUTSTANDING, **CANCELED},
            optional=("ignored", *OUTSTANDING, *CANCELED),
        ),
        "RiskConfig": _risk_config(),
        "StoredConfig": object_of(
            {
                "trading_mode": MODE,
                "config": OBJECT,
                "version": INTEGER,
                "updated_at": TIME,
                "updated_by": STRING,
            }
        ),
    }


def _risk_config() -> Json:
    limits = {"max_order_quantity": LIMIT, "max_order_value": LIMIT, "price_collar_pct": LIMIT}
    rate = {
        "max_orders": {"type": "integer", "minimum": 0, "maximum": MAX_RATE_ORDERS},
        "per_seconds": {"type": "integer", "minimum": 1, "maximum": MAX_RATE_SECONDS},
    }
    no_rate = dict.fromkeys(rate, NULL)
    return {
        "type": "object",
        "description": "Sections that are not known here are kept as given.",
        "properties": {
            "operator_approval": object_of(APPROVAL_CONFIG, optional=tuple(APPROVAL_CONFIG)),
            "signal_layers": object_of(SIGNAL_LAYERS, optional=tuple(SIGNAL_LAYERS)),
            "position_limits": object_of(limits, optional=tuple(limits)),
            "order_rate": {"anyOf": [object_of(rate), object_of(no_rate, optional=tuple(no_rate))]},
            "instruments": object_of({"multipliers": MULTIPLIERS}, optional=("multipliers",)),
        },
        "additionalProperties": True,
    }


def _orders() -> Json:
    entry = {"id": STRING, "action": {"enum": [str(choice) for choice in Choice]}}
    decided = {"status": {"const": 200}, "order": ref("Order")}
    refused = {"status": INTEGER, "problem": ref("Problem")}
    return {
        "Reason": object_of(
            {"code": {"enum": [*map(str, ReasonCode), *WHY_NOT_SENT]}, "detail": STRING},
        ),
        "Order": object_of(ORDER | SELF_APPROVED | AT_THE_VENUE, optional=(*SELF_APPROVED, *AT_THE_VENUE)),
        "OpenOrder": object_of(OPEN | SELF_APPROVED, optional=tuple(SELF_APPROVED)),
        "EndedOrder": object_of(OPEN | SELF_APPROVED | {"ended": BOOLEAN}, optional=tuple(SELF_APPROVED)),
        "OrderList": page_of("Order"),
        "WaitingOrder": object_of(WAITING),
        "WaitingOrderList": page_of("WaitingOrder"),
        "DecisionResults": object_of(
            {"results": array_of({"anyOf": [object_of(entry | decided), object_of(entry | refused)]})}
        ),
    }


def _desk() -> Json:
    shown = WAITING | {"blocked_because": array_of(STRING)}
    return {
        "AuditEvent": object_of(
            {
                "id": INTEGER,
                "created_at": TIME,
                "actor": STRING,
                "action": {"enum": list(log.ACTIONS)},
                "subject": STRING,
                "before": {"type": ["object", "null"]},
                "after": {"type": ["object", "null"]},
                "note": nullable(STRING),
                "request_id": STRING,
                "truncated": BOOLEAN
                | {
                    "description": "Whether `before` and `after` are left out of a list, because one of them has"
                    f" more than {log.MAX_LISTED} bytes. `GET /audit/{{event_id}}` has them."
                },
            }
        ),
        "AuditList": page_of("AuditEvent"),
        "State": object_of(
            {
                "trading_mode": MODE,
                "config_error": nullable(
                    object_of(
                        {
                            "key": STRING,
                            "detail": STRING,
                            "fixable_by": {"enum": ["operator", "admin"]}
                            | {"description": "The least role that can set what has to be set."},
                        }
                    )
                ),
                "config_warnings": array_of(STRING),
                "approval_config": nullable(ref("ApprovalConfig")),
                "signal_layers": nullable(ref("SignalLayers")),
                "lockouts": array_of(ref("Lockout")),
                "lockouts_total": INTEGER,
                "approvals": array_of(object_of(shown)),
                "approvals_by_ticker": {"type": "object", "additionalProperties": INTEGER},
                "approvals_total": INTEGER,
                "recent_orders": array_of(ref("Order")),
                "config_version": INTEGER,
                "second_factor_for_live": BOOLEAN,
                "state_version": INTEGER,
                "server_time": TIME,
                "venue": object_of(OUTSTANDING),
            },
            optional=("venue",),
        ),
        "History": _history(),
        "Problem": _problem(),
    }


def _history() -> Json:
    hour = {
        "start": TIME,
        **{str(outcome): INTEGER for outcome in Outcome},
        "decided_by_people": INTEGER,
        "median_seconds": {"type": ["number", "null"]},
        "p90_seconds": {"type": ["number", "null"]},
    }
    change = {"at": TIME, "from": MODE, "to": MODE, "by": STRING, "reason": nullable(STRING)}
    return object_of(
        {
            "since": TIME,
            "server_time": TIME,
            "hours": array_of(object_of(hour)) | {"minItems": HOURS, "maxItems": HOURS},
            "lockouts": array_of(
                object_of(LOCKOUT | {"removed_at": nullable(TIME), "removed_by": nullable(STRING)})
            ),
            "more_lockouts": BOOLEAN,
            "modes": array_of(object_of(change)),
        }
    )


def _problem() -> Json:
    always = {
        "type": {"const": "about:blank"},
        "title": STRING,
        "status": INTEGER,
        "detail": STRING,
        "code": STRING,
    }
    at_times = {
        "errors": {
            "type": "object",
            "additionalProperties": array_of(STRING),
            "description": "With 422: what is wrong, by field.",
        },
        "reasons": REASONS | {"description": "With 409 of an approval: why the gate does not let the order pass."},
        "order": ref("Order") | {"description": "With 409 `already_decided`: the order as it is."},
        "decided_by": STRING | {"description": "With 409 `already_decided`: who was quicker."},
        "decided_at": TIME | {"description": "With 409 `already_decided`: when that was."},
    }
    return object_of(always | at_times, optional=tuple(at_times))
