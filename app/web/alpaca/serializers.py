"""Orders and errors in the words of Alpaca's Trading API, so that the official SDK's models read them:
https://docs.alpaca.markets/reference/getorderbyorderid
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from app.domain.instruments import asset_class
from app.domain.order_status import OrderStatus
from app.lib import strict_json
from app.services.orders.submit import Shown

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
ENDS = {
    "filled": "filled_at",
    "canceled": "canceled_at",
    "expired": "expired_at",
    "rejected": "failed_at",
    "replaced": "replaced_at",
}
# These ended there, at an instant that the venue's last word has, and no other.
ENDED_AT_VENUE = (
    OrderStatus.FILLED,
    OrderStatus.REPLACED,
    OrderStatus.VENUE_REJECTED,
    OrderStatus.VENUE_CANCELED,
    OrderStatus.VENUE_EXPIRED,
)
CODE_IN_WORDS = re.compile(
    r'"code"\s*:\s*(4[0-9]{7})\b'
)  # also where the words were cut, and are no JSON any more
NO_VALUE = (
    *(
        "filled_at",
        "expired_at",
        "expires_at",
        "canceled_at",
        "failed_at",
        "replaced_at",
        "replaced_by",
    ),
    *("asset_id", "legs", "trail_percent", "trail_price", "hwm", "subtag", "source"),
)


def order(shown: Shown, links: Mapping[str, str | None] | None = None) -> dict[str, Any]:
    """An order as Alpaca shows it; quantities and prices are strings. The id is the desk's own. `links` are its
    `replaces` and `replaced_by` (`replacement.links`)."""
    status = STATUSES[OrderStatus(shown["status"])]
    said_at = shown.get("venue_at")
    ended_at = said_at if shown["status"] in ENDED_AT_VENUE else shown["decided_at"]
    return {
        **dict.fromkeys(NO_VALUE),
        **({ENDS[status]: ended_at} if status in ENDS else {}),
        "id": shown["id"],
        "client_order_id": shown["client_order_id"],
        "created_at": shown["created_at"],
        "submitted_at": shown["created_at"],
        "updated_at": max(filter(None, (shown["created_at"], shown["decided_at"], said_at))),
        "replaces": shown.get("replaces"),
        **(links or {}),
        "symbol": shown["ticker"],
        "asset_class": asset_class(shown["ticker"]),
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
    """The error that the venue rejected an order with, as it gave it as far as that can be read; None where it did
    not reject it. Never one that would be sent again."""
    if shown["status"] != OrderStatus.VENUE_REJECTED:
        return None
    words = shown["venue_words"] or "the venue rejected the order"
    found = CODE_IN_WORDS.search(words)
    code = int(found[1]) if found and not found[1].startswith("429") else 42_210_000
    return {"code": code, "message": _message(words)}


def _message(words: str) -> str:
    try:
        return str(strict_json.loads(words)["message"])
    except (strict_json.Malformed, KeyError, TypeError):
        return words


# Paths of Alpaca's APIs that are not served, and what is there.
NOT_SERVED = {
    re.compile(pattern): what
    for pattern, what in {
        r"/v2/positions/.+/(exercise|do-not-exercise)": "exercising options",
        r"/v2/watchlists(:by_name|/.*)?": "watchlists",
        r"/v2/options/.*": "option contracts",
        r"/v2/account/portfolio/history": "portfolio history",
        r"/v2/account/activities(/.*)?": "account activities",
        r"/v2/account/configurations": "changing account configurations",
        r"/v2/corporate_actions/.*": "corporate actions",
        r"/v2/(wallets|perpetuals)(/.*)?": "crypto wallets",
        r"/v2/assets/fixed_income/.*": "fixed income assets",
        r"/v2/(stocks|options|crypto)(/.*)?": "market data",
        r"/v[1-9]beta[1-9](/.*)?": "market data",
        r"/v[1-9](/(accounts|transfers|journals|oauth|events|documents)(/.*)?)": "the Broker API",
        r"/v3/(clock|calendar)(/.*)?": "version 3 of the clock and the calendar",
    }.items()
}


def not_served(path: str) -> str | None:
    """That a path of Alpaca's is known and not served; None where it is no such path."""
    for pattern, what in NOT_SERVED.items():
        if pattern.fullmatch(path):
            return f"not served here: {what}; ask the broker's own API"
    return None


def error(status: int, message: str, code: str | None = None) -> dict[str, Any]:
    """An error as Alpaca writes it: its code is a number that begins with the status."""
    number = int(code) if code and code.isdigit() else status * 100_000 + 10_000
    return {"code": number, "message": message}
