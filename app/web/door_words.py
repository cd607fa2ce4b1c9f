"""Orders and errors in the words of Alpaca's Trading API, so that the official SDK's models read them:
https://docs.alpaca.markets/reference/getorderbyorderid
"""

from __future__ import annotations

import json
from typing import Any

from app.desk.orders import Shown
from app.domain.lifecycle import OrderStatus

# The SDK's list is closed: any other word is an error there.
STATUSES = {
    OrderStatus.BLOCKED: "rejected",
    OrderStatus.PENDING_APPROVAL: "pending_review",
    OrderStatus.RELEASED: "accepted",
    OrderStatus.REJECTED: "rejected",
    OrderStatus.EXPIRED: "expired",
    OrderStatus.CANCELED: "canceled",
    OrderStatus.SENDING: "pending_new",
    OrderStatus.UNKNOWN: "pending_new",
    OrderStatus.ACCEPTED: "new",
    OrderStatus.PARTIALLY_FILLED: "partially_filled",
    OrderStatus.FILLED: "filled",
    OrderStatus.REPLACED: "replaced",
    OrderStatus.VENUE_REJECTED: "rejected",
    OrderStatus.VENUE_CANCELED: "canceled",
    OrderStatus.VENUE_EXPIRED: "expired",
}
ENDS = {"filled": "filled_at", "canceled": "canceled_at", "expired": "expired_at", "rejected": "failed_at"}
NO_VALUE = (
    *(
        "filled_at",
        "expired_at",
        "expires_at",
        "canceled_at",
        "failed_at",
        "replaced_at",
        "replaced_by",
        "replaces",
    ),
    *("asset_id", "legs", "trail_percent", "trail_price", "hwm", "subtag", "source"),
)


def order(shown: Shown) -> dict[str, Any]:
    """An order as Alpaca shows it; quantities and prices are strings. The id is the desk's own."""
    status = STATUSES[OrderStatus(shown["status"])]
    changed = shown.get("changed_at") or shown["decided_at"] or shown["created_at"]
    return {
        **dict.fromkeys(NO_VALUE),
        **({ENDS[status]: changed} if status in ENDS else {}),
        "id": shown["id"],
        "client_order_id": shown["client_order_id"],
        "created_at": shown["created_at"],
        "submitted_at": shown["created_at"],
        "updated_at": changed,
        "symbol": shown["ticker"],
        "asset_class": "crypto" if "/" in shown["ticker"] else "us_equity",
        "notional": shown["notional"],
        "qty": shown["qty"],
        "filled_qty": shown.get("filled_qty") or "0",
        "filled_avg_price": shown.get("filled_avg_price"),
        "order_class": "simple",
        "order_type": shown["type"],
        "type": shown["type"],
        "side": shown["side"],
        "time_in_force": shown["time_in_force"],
        "limit_price": shown["limit_price"],
        "stop_price": shown["stop_price"],
        "status": status,
        "extended_hours": False,
    }


def reasons(shown: Shown) -> str:
    """Why an order was blocked: every reason, with its code."""
    return "; ".join(f"{reason['code']}: {reason['detail']}" for reason in shown["reasons"])


def refusal(shown: Shown) -> dict[str, Any] | None:
    """The error that the venue rejected an order with, as it gave it, where it can be handed on."""
    if shown["status"] != OrderStatus.VENUE_REJECTED:
        return None
    try:
        said = json.loads(shown["venue_words"] or "")
        status = int(said["code"]) // 100_000
        words = {"code": int(said["code"]), "message": str(said["message"])}
    except (ValueError, TypeError, KeyError):
        return None
    # One of another kind would be sent again.
    return words if 400 <= status < 500 and status != 429 else None


def error(status: int, message: str, code: int | None = None) -> dict[str, Any]:
    """An error as Alpaca writes it: a number that begins with the status."""
    return {"code": code or status * 100_000 + 10_000, "message": message}
