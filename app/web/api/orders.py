"""The JSON routes of orders and approvals."""

from __future__ import annotations

import time
import uuid
from http import HTTPStatus
from typing import Any

import psycopg
from flask import Blueprint, Response, request
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app.domain.order_status import OrderStatus, is_final
from app.services.errors import DeskError, Invalid
from app.services.live.listener import hub
from app.services.orders import approvals, queries, submit
from app.web.forms.trading import ApproveForm, Choice, DecisionForm, DecisionsForm, OrderForm, RejectForm
from app.web.http import current
from app.web.http.current import dispatch
from app.web.http.errors import BUSY, Refusal, database_problem, problem_body, status_of
from app.web.http.request import (
    answer,
    answer_texts,
    page_of,
    read_choice,
    read_form,
    read_id,
    read_instant_cursor,
    read_limit,
    read_number_cursor,
    read_ticker,
    read_word,
    write_cursor,
)
from app.web.security import auth
from app.web.security.auth import actor
from app.web.security.permissions import API

blueprint = Blueprint("orders", __name__, url_prefix=API)

LONGEST_WAIT = 30  # seconds
LOOK_AGAIN = 5.0  # seconds, should news have been lost


@blueprint.post("/orders")
def post_order() -> Response:
    way = dispatch()
    with auth.sender_first():
        new = submit.NewOrder(**read_form(OrderForm).order())
        order, made = submit.submit(auth.sender(), new, way.send_within)
    if not made:
        return answer(order)
    order = way.sent_on(actor(), order)
    return answer_texts(order, HTTPStatus.CREATED, {"Location": f"{API}/orders/{order['id']}"})


@blueprint.get("/orders")
def get_orders() -> Response:
    limit = read_limit()
    status = read_choice("status", [str(status) for status in OrderStatus])
    found = queries.page(
        actor(),
        status=OrderStatus(status) if status else None,
        ticker=read_ticker(),
        client_order_id=read_word("client_order_id", 128),
        before_seq=read_number_cursor(),
        limit=limit + 1,
    )
    more = write_cursor(found[limit - 1][0]) if len(found) > limit else None
    return answer(page_of([order for _, order in found], limit, more))


@blueprint.get("/orders/<order_id>")
def get_order(order_id: str) -> Response:
    """With `?wait=SECONDS` it answers as soon as the order waits no more, or, of one that has gone on to a venue
    and may still change there, as soon as it does; no pool's connection is held meanwhile.

    It answers immediately, like `wait=0`, when too many requests of this account or in this worker wait already
    (`app/services/live/listener.py`), and when the worker stops.
    """
    wanted, until = _order_id(order_id), time.monotonic() + _read_wait()
    order, _ = submit.look(actor(), wanted)
    waits = order["status"] == OrderStatus.PENDING_APPROVAL
    if not (waits or _may_change_there(order)) or time.monotonic() >= until:
        return answer(order)
    seen = order
    live = hub()
    with live.listening(str(wanted), actor().account_id) as news:
        while news is not None:
            news.clear()
            order, to_deadline = submit.look(auth.actor_still(), wanted)
            left = until - time.monotonic()
            is_news = order["status"] != OrderStatus.PENDING_APPROVAL if waits else order != seen
            if is_news or left <= 0 or live.has_ended:
                return answer(order)
            news.wait(min(left, to_deadline if waits else left, LOOK_AGAIN))
    return answer(order)


def _may_change_there(order: submit.Shown) -> bool:
    return "send_by" in order and not is_final(OrderStatus(order["status"]), bound=True)


def _read_wait() -> int:
    text = request.args.get("wait", "0")
    if not (text.isascii() and text.isdigit() and len(text) < 4 and int(text) <= LONGEST_WAIT):
        raise Invalid({"wait": [f"must be a whole number of seconds from 0 to {LONGEST_WAIT}"]})
    return int(text)


@blueprint.post("/orders/<order_id>/cancel")
def cancel_order(order_id: str) -> Response:
    return answer(dispatch().cancel(actor(), _order_id(order_id)))


@blueprint.get("/approvals")
def get_approvals() -> Response:
    limit = read_limit()
    items = approvals.page(after=read_instant_cursor(), limit=limit + 1)
    last = items[limit - 1] if len(items) > limit else None
    return answer(page_of(items, limit, write_cursor(last["expires_at"], last["id"]) if last else None))


@blueprint.post("/approvals/<order_id>/approve")
def approve(order_id: str) -> Response:
    note = read_form(ApproveForm, may_be_missing=True).note.data or None
    released = current.approve(actor(), _order_id(order_id), note)
    return answer(dispatch().sent_on(actor(), released))


@blueprint.post("/approvals/<order_id>/reject")
def reject(order_id: str) -> Response:
    reason = read_form(RejectForm).reason.data
    return answer(approvals.reject(actor(), _order_id(order_id), reason))


@blueprint.post("/approvals/decisions")
def decide() -> Response:
    """Each in a transaction of its own, in the order given: a result for each, and none hides another."""
    until = time.monotonic() + LONGEST_WAIT
    return answer({"results": [_decided(entry, until) for entry in read_form(DecisionsForm).entries]})


def _decided(entry: DecisionForm, until: float) -> dict[str, Any]:
    if time.monotonic() > until:
        return _not_decided(entry, problem_body(HTTPStatus.SERVICE_UNAVAILABLE, BUSY, "busy"))
    try:
        wanted, who = _order_id(entry.id.data), auth.actor_still()
        if entry.action.data == Choice.APPROVE:
            # Sent by whoever takes it up next: one at a time they would keep this answer waiting.
            order = current.approve(who, wanted, entry.note.data or None)
        else:
            order = approvals.reject(who, wanted, entry.reason.data)
    except DeskError as error:
        return _not_decided(entry, problem_body(status_of(error), error.detail, error.code) | dict(error.more))
    except Refusal as refusal:  # the credential was revoked meanwhile
        return _not_decided(entry, problem_body(refusal.status, str(refusal), refusal.code))
    except (DBAPIError, psycopg.Error) as error:
        found = database_problem(error)
        if found is None:
            raise
        return _not_decided(entry, problem_body(*found))
    except PoolTimeout:
        return _not_decided(entry, problem_body(HTTPStatus.SERVICE_UNAVAILABLE, BUSY, "busy"))
    return {"id": entry.id.data, "action": entry.action.data, "status": 200, "order": order}


def _not_decided(entry: DecisionForm, problem: dict[str, Any]) -> dict[str, Any]:
    return {"id": entry.id.data, "action": entry.action.data, "status": problem["status"], "problem": problem}


def _order_id(text: str) -> uuid.UUID:
    return read_id(text, submit.NO_SUCH)
