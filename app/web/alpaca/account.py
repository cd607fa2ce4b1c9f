"""The Alpaca door's other half: the account at the venue, read through, and closing its positions."""

from __future__ import annotations

import hashlib
import uuid
from decimal import Decimal
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import psycopg
from flask import Blueprint, Response, current_app, request
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app.domain.instruments import asset_class, compact, normalize_ticker
from app.domain.risk_config import TradingMode
from app.lib import strict_json
from app.services.errors import Conflict, Decided, DeskError, Invalid, NotFound
from app.services.execution import close_position as closing
from app.services.execution.brokers.base import Answer, Venue, VenueError
from app.services.execution.close_position import Nonsense, Part, Position
from app.services.orders import queries
from app.services.trading import config
from app.web.alpaca import orders, serializers
from app.web.forms.fields import AmountField
from app.web.http.current import dispatch
from app.web.http.errors import BUSY, Refusal, database_problem, status_of
from app.web.http.request import answer
from app.web.security import auth
from app.web.security.auth import actor

blueprint = Blueprint("door_account", __name__, url_prefix="/v2")

# The mixin for freqtrade looks for this one: with a venue of any mode, what is released is traded by the desk.
NO_VENUE_AT_ALL = 40410001
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
# What is about the request itself, and so the bot's to know. Everything else that is no yes is between the desk
# and its venue, whose key is not the bot's.
ABOUT_THE_REQUEST = (HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY)
CANNOT_BE_CLOSED = ("already_closing", "not_available")


@blueprint.get("/account/configurations")
def get_configurations() -> Response:
    """`suspend_trade` is the desk's word, whatever the venue's, and also where the venue does not answer."""
    try:
        found = _said(_venue()[1], "/account/configurations")
    except Refusal:
        found = None
    known = CONFIGURATIONS | (found if isinstance(found, dict) else {})
    halted = config.trading_mode() is TradingMode.DISABLED
    return answer(known | {"suspend_trade": halted or bool(known["suspend_trade"])})


@blueprint.get("/account")
@blueprint.get("/positions")
@blueprint.get("/assets")
@blueprint.get("/clock")
@blueprint.get("/calendar")
def read_through() -> Response:
    return _handed_on(request.path.removeprefix("/v2"))


@blueprint.get("/positions/<path:name>")
def read_position(name: str) -> Response:
    return _handed_on(_path("/positions", name))


@blueprint.get("/assets/<path:name>")
def read_asset(name: str) -> Response:
    return _handed_on(_path("/assets", name))


@blueprint.delete("/positions/<path:name>")
def close_position(name: str) -> Response:
    """An order like any other: it passes the gate."""
    part, key = _part(), orders.idempotency_key()
    path = _path("/positions", name)
    symbol = normalize_ticker(name)
    if key and symbol and (known := _again(key, symbol, part)) and _is_of(known, symbol):
        return orders.told(known)  # the position may be gone by now
    mode, venue = _venue()
    found = _ask(venue, path)
    if found.status != HTTPStatus.OK:
        return _as_it_came(found)
    return _closed(mode, venue, _json(venue, found), part, key)


@blueprint.delete("/positions")
def close_positions() -> Response:
    """Each by an order of its own, through the gate: a result for each, whatever becomes of the others."""
    withdraw = _wants_orders_canceled()
    key = orders.idempotency_key()
    mode, venue = _venue()
    positions = _positions(venue)
    if withdraw:
        _withdraw_orders()
        positions = _positions(venue)  # less is held by orders now
    results = [_one_of_all(mode, venue, said, key) for said in positions]
    return answer(results, HTTPStatus.MULTI_STATUS)


def _positions(venue: Venue) -> list[Any]:
    found = _said(venue, "/positions")
    if not isinstance(found, list):
        raise _nonsense(venue, "its positions are no list")
    return found


def _one_of_all(mode: str, venue: Venue, said: Any, key: str | None) -> dict[str, Any]:
    symbol = said.get("symbol") if isinstance(said, dict) else None
    try:
        closed = _closed(mode, venue, said, Part(), key)
        status, body = closed.status_code, strict_json.loads(closed.get_data())
    except DeskError as error:
        status, body = _problem(status_of(error), error.detail)
    except Refusal as refusal:
        status, body = _problem(refusal.status, refusal.detail)
    except (DBAPIError, psycopg.Error) as error:
        found = database_problem(error)
        status, body = _problem(*found[:2]) if found else _unexpected(error)
    except PoolTimeout:
        status, body = _problem(HTTPStatus.SERVICE_UNAVAILABLE, BUSY)
    except Exception as error:  # of one position, which is no reason not to tell of the others
        status, body = _unexpected(error)
    return {"symbol": symbol if isinstance(symbol, str) else None, "status": status, "body": body}


def _problem(status: int, detail: str) -> tuple[int, dict[str, Any]]:
    return int(status), serializers.error(status, detail)


def _unexpected(error: Exception) -> tuple[int, dict[str, Any]]:
    current_app.logger.exception("a position could not be closed", exc_info=error)
    return _problem(HTTPStatus.INTERNAL_SERVER_ERROR, "something went wrong on our side")


def _closed(mode: str, venue: Venue, said: Any, part: Part, key: str | None) -> Response:
    try:
        position = Position.read(said)
    except Nonsense as nonsense:
        raise _nonsense(venue, str(nonsense)) from nonsense
    if key and (known := _again(key, position.ticker, part)):
        if known["ticker"] == position.ticker:
            return orders.told(known)
        # The broker has another symbol with the same letters, and this key closed that one.
        key = f"{key}\0{position.ticker}"
        if known := _again(key, position.ticker, part):
            return orders.told(known)
    client_order_id = _derived(key, position.ticker) if key else f"door-{uuid.uuid4()}"
    venues = dispatch()
    try:
        shown, made = closing.close(actor(), position, part, client_order_id, mode, venues.send_within)
    except Conflict as conflict:
        raise _as_alpaca_says(conflict) from conflict
    return orders.told(venues.sent_on(actor(), shown) if made else shown)


def _derived(key: str, symbol: str) -> str:
    """One request may close many positions: an id for each, which is the same when it comes again."""
    return f"close-{hashlib.sha256(key.encode()).hexdigest()[:32]}-{compact(normalize_ticker(symbol) or symbol)}"


def _is_of(known: dict[str, Any], symbol: str) -> bool:
    """Whether this order closed the position of that name. The broker spells pairs of coins in two ways."""
    return bool(known["ticker"] == symbol) or asset_class(symbol) == "crypto"


def _again(key: str, symbol: str, part: Part) -> dict[str, Any] | None:
    try:
        return closing.again(actor(), _derived(key, symbol), part)
    except Conflict as conflict:
        raise _as_alpaca_says(conflict) from conflict


def _as_alpaca_says(conflict: Conflict) -> Exception:
    if conflict.code in CANNOT_BE_CLOSED:
        return Refusal(HTTPStatus.FORBIDDEN, conflict.detail)
    return orders.as_alpaca_says(conflict)


def _withdraw_orders() -> None:
    """What is open of this engine's orders. What does not end now keeps its position from being closed, below."""
    for shown in queries.chosen(actor(), is_open=True, limit=orders.MOST):
        try:
            dispatch().cancel(auth.actor_still(), uuid.UUID(shown["id"]))
        except Decided:
            """It has ended by itself, or is its engine's to execute."""


def _part() -> Part:
    asked = {name: _exactly(name) for name in ("qty", "percentage") if name in request.args}
    if len(asked) > 1:
        raise Invalid({"percentage": ["has no place beside qty"]})
    if (percentage := asked.get("percentage")) is not None and percentage > 100:
        raise Invalid({"percentage": ["must be at most 100"]})
    return Part(**asked)


def _exactly(name: str) -> Decimal:
    text = request.args[name]
    if not AmountField.FORM.fullmatch(text) or not Decimal(text):
        raise Invalid({name: ["must be a positive decimal with up to 18 digits before the point and 9 after it"]})
    return Decimal(text)


def _wants_orders_canceled() -> bool:
    word = request.args.get("cancel_orders", "false").lower()  # the SDK says True
    if word not in ("true", "false"):
        raise Invalid({"cancel_orders": ["must be true or false"]})
    return word == "true"


def _path(where: str, name: str) -> str:
    """A symbol or an id, and nothing that leads elsewhere at the venue."""
    try:
        known = str(uuid.UUID(name)) == name.lower()
    except ValueError:
        known = normalize_ticker(name) == name.upper() and ".." not in name
    if not known:
        raise NotFound("there is no such thing")
    return f"{where}/{quote(name, safe='')}"


# The venue's answers


def _venue() -> tuple[str, Venue]:
    """The account of the present mode, and which mode that is; while trading is disabled, of the mode before."""
    venues = dispatch().venues
    if not venues:
        raise Refusal(HTTPStatus.NOT_FOUND, NO_VENUE, code=str(NO_VENUE_AT_ALL))
    mode = config.mode_of_account().value
    if mode not in venues:
        raise Refusal(HTTPStatus.NOT_FOUND, f"no venue is connected for the trading mode {mode}")
    return mode, venues[mode]


def _handed_on(path: str) -> Response:
    return _as_it_came(_ask(_venue()[1], path, request.args))


def _as_it_came(found: Answer) -> Response:
    return Response(found.body, found.status, content_type="application/json")


def _ask(venue: Venue, path: str, query: Any = None) -> Answer:
    """A yes of the venue in JSON, or what it finds wrong with the request in Alpaca's words. Anything else is no
    answer for a bot: 502, which the SDK does not send again, and which does not read as if its key were bad."""
    try:
        found = venue.read(path, query or {})
    except VenueError as error:
        raise Refusal(HTTPStatus.BAD_GATEWAY, f"{venue.name} does not answer: {error}") from error
    if found.status == HTTPStatus.OK:
        # Looked at no closer: all assets are millions of characters.
        if not found.body.lstrip().startswith((b"{", b"[")):
            raise _nonsense(venue, "it is not JSON")
    elif not (found.status in ABOUT_THE_REQUEST and _is_error(found)):
        current_app.logger.error("%s answered %s with status %s", venue.name, path, found.status)
        raise _nonsense(venue, f"status {found.status}")
    return found


def _is_error(found: Answer) -> bool:
    try:
        said = strict_json.loads(found.body)
    except strict_json.Malformed:
        return False
    return isinstance(said, dict) and isinstance(said.get("message"), str)


def _said(venue: Venue, path: str) -> Any:
    found = _ask(venue, path)
    if found.status != HTTPStatus.OK:
        raise _nonsense(venue, f"status {found.status}")
    return _json(venue, found)


def _json(venue: Venue, found: Answer) -> Any:
    try:
        return strict_json.loads(found.body)
    except strict_json.Malformed as error:
        raise _nonsense(venue, str(error)) from error


def _nonsense(venue: Venue, what: str) -> Refusal:
    return Refusal(HTTPStatus.BAD_GATEWAY, f"the answer of {venue.name} cannot be used: {what}")
