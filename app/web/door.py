"""The door for bots that speak Alpaca's Trading API, version 2: they need another base URL, and nothing else.

What they send is an order like any other, and passes the same gate. The official SDK sends a request again upon
429 and 504, so neither is ever answered here: nothing is to be doubled by a retry.
"""

from __future__ import annotations

import json
import uuid
from datetime import datetime
from decimal import Decimal
from http import HTTPStatus
from typing import Any

from flask import Blueprint, Response, request

from app.desk import config, order_lists, orders
from app.desk.errors import Conflict, Decided, Invalid, NotFound
from app.domain.gate import Side, plain
from app.domain.lifecycle import OrderStatus
from app.domain.risk import TradingMode
from app.domain.symbols import normalize_ticker
from app.door_forms import DoorOrderForm, ReplaceForm
from app.venues import VenueError
from app.web import door_words, guard
from app.web.body import answer, read_choice, read_form, read_id, read_word
from app.web.errors import Refusal
from app.web.guard import actor
from app.web.venues import dispatch

blueprint = Blueprint("door", __name__, url_prefix="/v2")

MOST = 500  # orders of a list
USUAL = 50
NOT_UNIQUE = 40010001
NO_VENUE = "no venue is connected: the engine executes what is released by itself"
# Of an account as the SDK reads it; only the first says something of the desk.
CONFIGURATIONS = {
    "suspend_trade": False,
    "dtbp_check": "entry",
    "fractional_trading": True,
    "max_margin_multiplier": "4",
    "no_shorting": False,
    "pdt_check": "entry",
    "trade_confirm_email": "all",
    "ptp_no_exception_entry": False,
}


# Orders


@blueprint.post("/orders")
def post_order() -> Response:
    with guard.sender_first():
        new = orders.NewOrder(**read_form(DoorOrderForm).order(_id_of_its_own()))
        return _submitted(guard.sender(), new)


def _id_of_its_own() -> str:
    """For an order that has none. A key of idempotency makes a retry the same order; without one, nobody can
    tell a retry from a second order."""
    key = request.headers.get("Idempotency-Key", "")
    return f"key-{key}" if key and len(key) <= 100 and key.isprintable() else f"door-{uuid.uuid4()}"


def _submitted(sender: Any, new: orders.NewOrder) -> Response:
    venues = dispatch()
    try:
        shown, made = orders.submit(sender, new, venues.send_within)
    except Conflict as conflict:
        raise _as_alpaca_says(conflict) from conflict
    return _decided(venues.sent_on(actor(), shown) if made else shown)


def _as_alpaca_says(conflict: Conflict) -> Exception:
    if conflict.code != "idempotency_conflict":
        return conflict
    return Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, f"client_order_id must be unique: {conflict.detail}")


def _decided(shown: orders.Shown) -> Response:
    if shown["status"] == OrderStatus.BLOCKED:
        return answer(door_words.error(403, door_words.reasons(shown)), HTTPStatus.FORBIDDEN)
    if refusal := door_words.refusal(shown):
        return answer(refusal, refusal["code"] // 100_000)
    return answer(door_words.order(shown))


@blueprint.get("/orders")
def get_orders() -> Response:
    status = read_choice("status", ["open", "closed", "all"]) or "open"
    found = order_lists.chosen(
        actor(),
        is_open={"open": True, "closed": False, "all": None}[status],
        after=_instant("after"),
        until=_instant("until"),
        side=read_choice("side", [str(side) for side in Side]),
        tickers=_symbols(),
        newest_first=(read_choice("direction", ["asc", "desc"]) or "desc") == "desc",
        limit=_limit(),
    )
    return answer([door_words.order(shown) for shown in found])


def _limit() -> int:
    text = request.args.get("limit", str(USUAL))
    if not (text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= MOST):
        raise Invalid({"limit": [f"must be a whole number from 1 to {MOST}"]})
    return int(text)


def _instant(name: str) -> datetime | None:
    text = request.args.get(name)
    if text is None:
        return None
    try:
        # A plus that was not escaped arrives as a space.
        instant = datetime.fromisoformat(text.replace(" ", "+"))
        if instant.tzinfo is None or not 1970 <= instant.year < 9999:
            raise ValueError
    except ValueError:
        raise Invalid({name: ["must be an instant such as 2026-03-02T14:30:00Z"]}) from None
    return instant


def _symbols() -> list[str]:
    found = [
        normalize_ticker(text, allow_every=False) for text in (read_word("symbols", 5000) or "").split(",") if text
    ]
    if None in found:
        raise Invalid({"symbols": ["must be symbols with commas between them"]})
    return [ticker for ticker in found if ticker]


@blueprint.get("/orders:by_client_order_id")
def get_order_by_client_order_id() -> Response:
    wanted = read_word("client_order_id", 128)
    found = order_lists.page(actor(), client_order_id=wanted, limit=1) if wanted else []
    if not found:
        raise NotFound(orders.NO_SUCH)
    return answer(door_words.order(orders.get(actor(), uuid.UUID(found[0][1]["id"]))))


@blueprint.get("/orders/<order_id>")
def get_order(order_id: str) -> Response:
    return answer(door_words.order(orders.get(actor(), _order_id(order_id))))


@blueprint.patch("/orders/<order_id>")
def replace_order(order_id: str) -> Response:
    form, wanted = read_form(ReplaceForm), _order_id(order_id)
    changes = {name: value for name, value in form.given().items() if name != "client_order_id"}
    try:
        shown, _ = dispatch().replace(actor(), wanted, changes, form.client_order_id.data or _id_of_its_own())
    except Decided as decided:
        raise _too_late(decided) from decided
    except Conflict as conflict:
        raise _as_alpaca_says(conflict) from conflict
    return _decided(shown)


@blueprint.delete("/orders/<order_id>")
def cancel_order(order_id: str) -> Response:
    try:
        dispatch().cancel(actor(), _order_id(order_id))
    except Decided as decided:
        raise _too_late(decided) from decided
    return Response(status=HTTPStatus.NO_CONTENT)


@blueprint.delete("/orders")
def cancel_orders() -> Response:
    """All that are open: a result for each. Without a venue a released one is not: its engine executes it."""
    results = [
        {"id": shown["id"], "status": int(HTTPStatus.OK if withdrawn else HTTPStatus.UNPROCESSABLE_ENTITY)}
        for shown, withdrawn in dispatch().withdraw_all(actor())
    ]
    return answer(results, HTTPStatus.MULTI_STATUS)


def _too_late(decided: Decided) -> Refusal:
    word = door_words.STATUSES[OrderStatus(decided.more["order"]["status"])]
    return Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, f'order is already in "{word}" state: {decided.detail}')


def _order_id(text: str) -> uuid.UUID:
    return read_id(text, orders.NO_SUCH)


# The account


@blueprint.get("/account/configurations")
def get_configurations() -> Response:
    """`suspend_trade` is the desk's word, whatever the venue's."""
    known = CONFIGURATIONS
    if _has_venue():
        found = _read("/account/configurations")
        known = known | (json.loads(found.get_data()) if found.status_code == HTTPStatus.OK else {})
    halted = config.read().trading_mode == TradingMode.DISABLED
    return answer(known | {"suspend_trade": halted or bool(known["suspend_trade"])})


@blueprint.get("/account")
@blueprint.get("/positions")
@blueprint.get("/assets")
@blueprint.get("/clock")
@blueprint.get("/calendar")
def read_through() -> Response:
    return _read(request.path.removeprefix("/v2"))


@blueprint.get("/positions/<path:name>")
@blueprint.get("/assets/<path:name>")
def read_one_through(name: str) -> Response:
    if not _can_be_asked_for(name):
        raise NotFound("there is no such thing")
    return _read(request.path.removeprefix("/v2"))


@blueprint.delete("/positions/<path:name>")
def close_position(name: str) -> Response:
    """An order like any other: it passes the gate."""
    if not _can_be_asked_for(name):
        raise NotFound("there is no such position")
    found = _read(f"/positions/{name}")
    if found.status_code != HTTPStatus.OK:
        return found
    return _submitted(actor(), _closing(json.loads(found.get_data(), parse_float=Decimal)))


@blueprint.delete("/positions")
def close_positions() -> Response:
    """Each by an order of its own, through the gate: a result for each."""
    found = _read("/positions")
    if found.status_code != HTTPStatus.OK:
        return found
    results = []
    for position in json.loads(found.get_data(), parse_float=Decimal):
        closed = _submitted(guard.actor_still(), _closing(position))
        results.append(
            {"symbol": position["symbol"], "status": closed.status_code, "body": json.loads(closed.get_data())}
        )
    return answer(results, HTTPStatus.MULTI_STATUS)


def _closing(position: dict[str, Any]) -> orders.NewOrder:
    """The market order that closes a position, or `qty` or `percentage` of it."""
    whole = abs(Decimal(str(position["qty"])))
    part, percentage = request.args.get("qty"), request.args.get("percentage")
    try:
        size = Decimal(part) if part else whole * Decimal(percentage or 100) / 100
        if not (size.is_finite() and 0 < size <= whole):
            raise ArithmeticError
    except ArithmeticError:
        raise Invalid({"qty" if part else "percentage": ["must be a part of the position"]}) from None
    ticker = normalize_ticker(str(position["symbol"]), allow_every=False)
    price = position.get("current_price")
    if ticker is None:
        raise NotFound("there is no such position")
    return orders.NewOrder(
        client_order_id=_id_of_its_own(),
        ticker=ticker,
        side="sell" if position.get("side", "long") == "long" else "buy",
        type="market",
        time_in_force="gtc" if position.get("asset_class") == "crypto" else "day",
        qty=Decimal(plain(round(size, 9))),
        reference_price=Decimal(str(price)) if price else None,
        strategy="close position",
    )


def _can_be_asked_for(name: str) -> bool:
    """A symbol or an id, and nothing that leads elsewhere at the venue."""
    try:
        return str(uuid.UUID(name)) == name.lower()
    except ValueError:
        return normalize_ticker(name, allow_every=False) == name.upper()


def _has_venue() -> bool:
    return bool(dispatch().venues)


def _read(path: str) -> Response:
    """What the venue of the present mode says; while trading is halted, the account that real money is in."""
    venues = dispatch().venues
    mode = config.read().trading_mode
    venue = venues.get(mode) or (
        venues.get("live") or venues.get("paper") if mode == TradingMode.DISABLED else None
    )
    if venue is None:
        raise Refusal(HTTPStatus.NOT_FOUND, NO_VENUE)
    try:
        found = venue.read(path, request.args if request.method == "GET" else {})
    except VenueError as error:
        raise Refusal(HTTPStatus.BAD_GATEWAY, f"{venue.name} does not answer: {error}") from error
    # These the SDK would send again: what is only read may be, but it is nobody's order that waits for it.
    status = HTTPStatus.BAD_GATEWAY if found.status in (429, 504) or found.status >= 500 else found.status
    return Response(found.body, status, content_type="application/json")
