"""The door for bots that speak Alpaca's Trading API, version 2: they need another base URL, and nothing else.

What they send is an order like any other, and passes the same gate. The official SDK sends a request again upon
429 and 504, so neither is ever answered to what acts: nothing is to be doubled by a retry. What only reads may be
answered 429, as Alpaca does.
"""

from __future__ import annotations

import re
import uuid
from datetime import datetime
from http import HTTPStatus
from typing import Any

from flask import Blueprint, Response, request

from app.domain.gate import Side
from app.domain.instruments import InvalidTicker, parse_ticker
from app.domain.order_status import OrderStatus
from app.services.errors import Conflict, Decided, Invalid, NotFound
from app.services.execution import replacement
from app.services.orders import queries, submit
from app.web.alpaca import serializers
from app.web.alpaca.forms import DoorOrderForm, ReplaceForm
from app.web.http.current import dispatch
from app.web.http.errors import Refusal
from app.web.http.request import answer, read_choice, read_form, read_id, read_word
from app.web.security import auth
from app.web.security.auth import actor

blueprint = Blueprint("door", __name__, url_prefix="/v2")

MOST = 500  # orders of a list
USUAL = 50
NOT_UNIQUE = 40010001
DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)


# Orders


@blueprint.post("/orders")
def post_order() -> Response:
    with auth.sender_first():
        new = submit.NewOrder(**read_form(DoorOrderForm).order(_id_of_its_own()))
        return _submitted(auth.sender(), new)


def _id_of_its_own() -> str:
    """For an order that has none. A key of idempotency makes a retry the same order; without one, nobody can
    tell a retry from a second order."""
    key = idempotency_key()
    return f"key-{key}" if key else f"door-{uuid.uuid4()}"


def idempotency_key() -> str | None:
    """Of the request, where it has one. One that cannot be kept is refused, for without it a retry is doubled."""
    key = request.headers.get("Idempotency-Key", "")
    if len(key) > 100 or not key.isprintable():
        raise Invalid({"Idempotency-Key": ["must have at most 100 characters, all of them printable"]})
    return key or None


def _submitted(sender: Any, new: submit.NewOrder) -> Response:
    venues = dispatch()
    try:
        shown, made = submit.submit(sender, new, venues.send_within)
    except Conflict as conflict:
        raise as_alpaca_says(conflict) from conflict
    return told(venues.sent_on(actor(), shown) if made else shown)


def as_alpaca_says(conflict: Conflict) -> Exception:
    """An id that was used before is 422 there, and not 409."""
    if conflict.code != "idempotency_conflict":
        return conflict
    return Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, f"client_order_id must be unique: {conflict.detail}")


def told(shown: submit.Shown, replaces: uuid.UUID | None = None) -> Response:
    """The answer to a bot that has just submitted or replaced an order."""
    if shown["status"] == OrderStatus.BLOCKED:
        return answer(serializers.error(403, serializers.reasons(shown)), HTTPStatus.FORBIDDEN)
    if refusal := serializers.refusal(shown):
        return answer(refusal, refusal["code"] // 100_000)
    return answer(serializers.order(shown, {"replaces": str(replaces)} if replaces else None))


def shown_with_links(shown: submit.Shown) -> Response:
    return answer(serializers.order(shown, replacement.links([shown["id"]])[shown["id"]]))


@blueprint.get("/orders")
def get_orders() -> Response:
    status = read_choice("status", ["open", "closed", "all"]) or "open"
    found = queries.chosen(
        actor(),
        is_open={"open": True, "closed": False, "all": None}[status],
        after=_instant("after"),
        until=_instant("until"),
        side=read_choice("side", [str(side) for side in Side]),
        tickers=_symbols(),
        newest_first=(read_choice("direction", ["asc", "desc"]) or "desc") == "desc",
        limit=_limit(),
    )
    links = replacement.links([shown["id"] for shown in found]) if found else {}
    return answer([serializers.order(shown, links.get(shown["id"])) for shown in found])


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
        # A date is its first instant in UTC. A plus that was not escaped arrives as a space.
        instant = datetime.fromisoformat(f"{text}T00:00Z" if DATE.fullmatch(text) else text.replace(" ", "+"))
        if instant.tzinfo is None or not 1970 <= instant.year < 9999:
            raise ValueError
    except ValueError:
        raise Invalid({name: ["must be an instant such as 2026-03-02T14:30:00Z, or a date"]}) from None
    return instant


def _symbols() -> list[str]:
    """Symbols with commas between them."""
    try:
        return [parse_ticker(text) for text in (read_word("symbols", 5000) or "").split(",") if text]
    except InvalidTicker as error:
        raise Invalid({"symbols": [f"each {error}"]}) from error


@blueprint.get("/orders:by_client_order_id")
def get_order_by_client_order_id() -> Response:
    wanted = read_word("client_order_id", 128)
    found = queries.page(actor(), client_order_id=wanted, limit=1) if wanted else []
    if not found:
        raise NotFound(submit.NO_SUCH)
    return shown_with_links(submit.get(actor(), uuid.UUID(found[0][1]["id"])))


@blueprint.get("/orders/<order_id>")
def get_order(order_id: str) -> Response:
    return shown_with_links(submit.get(actor(), _order_id(order_id)))


@blueprint.patch("/orders/<order_id>")
def replace_order(order_id: str) -> Response:
    form, wanted = read_form(ReplaceForm), _order_id(order_id)
    _refuse_filled_in_part(wanted)
    changes = {name: value for name, value in form.given().items() if name != "client_order_id"}
    # Prices may have moved: the gate is never to judge by the old one.
    changes.setdefault("reference_price", None)
    try:
        shown, _ = dispatch().replace(actor(), wanted, changes, form.client_order_id.data or _id_of_its_own())
    except Decided as decided:
        raise _too_late(decided) from decided
    except Conflict as conflict:
        raise as_alpaca_says(conflict) from conflict
    return told(shown, replaces=wanted)


def _refuse_filled_in_part(order_id: uuid.UUID) -> None:
    """One of the whole size in its place would be too much, and is canceled for that: better not even made."""
    shown = submit.get(actor(), order_id)
    if shown["status"] == OrderStatus.PARTIALLY_FILLED:
        raise Refusal(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            f"order is filled in part ({shown['filled_qty']}) and cannot be replaced: cancel it, and send a new"
            " one for the rest",
        )


@blueprint.delete("/orders/<order_id>")
def cancel_order(order_id: str) -> Response:
    try:
        dispatch().cancel(actor(), _order_id(order_id))
    except Decided as decided:
        raise _too_late(decided) from decided
    return Response(status=HTTPStatus.NO_CONTENT)


@blueprint.delete("/orders")
def cancel_orders() -> Response:
    """All that are open: a result for each. Without a venue a released one is its engine's to execute, and cannot
    be canceled here."""
    results = [
        {"id": shown["id"], "status": int(HTTPStatus.OK if withdrawn else HTTPStatus.UNPROCESSABLE_ENTITY)}
        for shown, withdrawn in dispatch().withdraw_all(actor())
    ]
    return answer(results, HTTPStatus.MULTI_STATUS)


def _too_late(decided: Decided) -> Refusal:
    word = serializers.STATUSES[OrderStatus(decided.more["order"]["status"])]
    return Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, f'order is already in "{word}" state: {decided.detail}')


def _order_id(text: str) -> uuid.UUID:
    return read_id(text, submit.NO_SUCH)
