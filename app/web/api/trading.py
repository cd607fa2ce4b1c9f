"""The JSON routes under /api/admin/trading."""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Sequence
from dataclasses import asdict
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, Response, current_app, request, url_for

from app.domain.risk_config import TradingMode
from app.lib import strict_json
from app.lib.timestamps import rfc3339
from app.models import RiskConfig
from app.services.accounts import two_factor
from app.services.audit import log
from app.services.errors import NotFound
from app.services.execution.dispatcher import Dispatch
from app.services.trading import config, lockouts
from app.web.api import audit_export
from app.web.forms.trading import (
    ApprovalConfigForm,
    ExtendLockoutForm,
    HaltForm,
    LockoutForm,
    ModeForm,
    ReplaceConfigForm,
    SignalLayersForm,
)
from app.web.http import current
from app.web.http.errors import BUSY, Refusal
from app.web.http.request import (
    answer,
    answer_unless_known,
    answer_written,
    page_of,
    read_choice,
    read_choices,
    read_form,
    read_halt,
    read_id,
    read_instant,
    read_instant_cursor,
    read_limit,
    read_number_cursor,
    read_order,
    read_reason,
    read_ticker,
    read_word,
    write_cursor,
)
from app.web.security.auth import actor
from app.web.security.permissions import API

OUTSTANDING = ("sending", "unknown", "on_the_way", "open_orders", "open_orders_total", "silent_since")
CSV = "text/csv; charset=utf-8"
BY_ACCEPT = {"Vary": "Accept"}
NUMBER = re.compile(r"[1-9][0-9]{0,17}", re.ASCII)

blueprint = Blueprint("api", __name__, url_prefix=API)


@blueprint.get("/approval-config")
def get_approval_config() -> Response:
    return answer(asdict(config.approval_config()))


@blueprint.put("/approval-config")
def put_approval_config() -> Response:
    changes = read_form(ApprovalConfigForm).given()
    return answer(asdict(config.change_approval_config(actor(), changes)))


@blueprint.get("/signal-layers")
def get_signal_layers() -> Response:
    return answer(asdict(config.signal_layers()))


@blueprint.put("/signal-layers")
def put_signal_layers() -> Response:
    changes = read_form(SignalLayersForm).given()
    return answer(asdict(config.change_signal_layers(actor(), changes)))


@blueprint.get("/config")
def get_config() -> Response:
    version, row = config.written()
    return answer_unless_known(row, str(version))


@blueprint.put("/config")
def put_config() -> Response:
    if "If-Match" not in request.headers:
        raise Refusal(
            HTTPStatus.PRECONDITION_REQUIRED,
            "send If-Match with the ETag of the configuration that you read, or *",
        )
    new = read_form(ReplaceConfigForm).config.data
    row = config.replace(actor(), new, expected_versions=_expected_versions())
    return answer(_config_json(row), headers={"ETag": f'"{row.version}"'})


def _expected_versions() -> frozenset[int] | None:
    """The versions that If-Match allows; None for `*`, which stands alone or means nothing."""
    if request.headers["If-Match"].strip() == "*":
        return None
    tags = request.if_match.as_set(include_weak=False)
    return frozenset(int(tag) for tag in tags if NUMBER.fullmatch(tag or ""))  # the tag "" is read as None


def _config_json(row: RiskConfig) -> dict[str, Any]:
    return {
        "trading_mode": row.trading_mode,
        "config": row.config,
        "version": row.version,
        "updated_at": rfc3339(row.updated_at),
        "updated_by": row.updated_by,
    }


@blueprint.get("/mode")
def get_mode() -> Response:
    return answer({"trading_mode": config.trading_mode()})


@blueprint.put("/mode")
def put_mode() -> Response:
    halt = read_halt()
    if halt is not None:
        return _halt(halt)
    form = read_form(ModeForm)
    leaving, to = form.leaving.data, TradingMode(form.trading_mode.data)
    change = config.change_mode(
        actor(),
        to,
        leaving=TradingMode(leaving) if leaving else None,
        reason=form.reason.data,
        expected_versions=_expected_versions() if "If-Match" in request.headers else None,
        second_factor=two_factor.for_mode(actor(), to, form.totp_code.data),
    )
    return answer({"trading_mode": change.current} | _at_the_venues())


def _halt(form: HaltForm) -> Response:
    """Halt, whatever else the request says: headers are not looked at, and what cannot be used is reported."""
    change = config.change_mode(actor(), TradingMode.DISABLED, reason=form.reason.data or None)
    named = form.protective_stops.data or [] if form.cancel_open_orders.data else None
    return answer({"trading_mode": change.current, "ignored": form.ignored} | _at_the_venues(cancel=named))


def _at_the_venues(*, cancel: Sequence[str] | None = None) -> dict[str, Any]:
    """What the change does not reach. It is made already, and is acknowledged also where this cannot be told.

    Where `cancel` is a list, open orders are canceled at the venue: of protective stops those that it names."""
    dispatch = current.dispatch()
    if not dispatch.venues:
        return {}
    try:
        ended = {} if cancel is None else _ended(dispatch, cancel)
        return ended | dispatch.outstanding(of_a_stop=True)
    except Exception:
        current_app.logger.exception("the trading mode was changed; what is at the venues cannot be told")
        return dict.fromkeys(OUTSTANDING)


def _ended(dispatch: Dispatch, named: Sequence[str]) -> dict[str, Any]:
    canceled = dispatch.cancel_open(actor(), frozenset(named))
    found = {order["id"] for order in canceled}
    return {"canceled_orders": canceled, "not_open": [one for one in dict.fromkeys(named) if one not in found]}


@blueprint.get("/lockouts")
def get_lockouts() -> Response:
    limit = read_limit()
    rows = lockouts.page(ticker=read_ticker(), after=read_instant_cursor(), limit=limit + 1)
    items = [lockouts.as_json(row) for row in rows]
    last = items[limit - 1] if len(items) > limit else None
    return answer(page_of(items, limit, write_cursor(last["expires_at"], last["id"]) if last else None))


@blueprint.post("/lockouts")
def post_lockout() -> Response:
    lockout = lockouts.create(actor(), **read_form(LockoutForm).lockout())
    location = url_for("api.patch_lockout", lockout_id=str(lockout.id))
    return answer(lockouts.as_json(lockout), HTTPStatus.CREATED, {"Location": location})


@blueprint.patch("/lockouts/<lockout_id>")
def patch_lockout(lockout_id: str) -> Response:
    minutes = read_form(ExtendLockoutForm).given()["extend_minutes"]
    return answer(lockouts.as_json(lockouts.extend(actor(), read_lockout_id(lockout_id), minutes)))


@blueprint.delete("/lockouts/<lockout_id>")
def delete_lockout(lockout_id: str) -> Response:
    lockouts.remove(actor(), read_lockout_id(lockout_id), read_reason())
    return Response(status=HTTPStatus.NO_CONTENT)


def read_lockout_id(text: str) -> uuid.UUID:
    return read_id(text, lockouts.NO_SUCH)


@blueprint.get("/audit")
def get_audit() -> Response:
    limit, before_id = read_limit(), read_number_cursor()
    wanted = log.EventFilter(
        actions=tuple(dict.fromkeys(read_choices("action", log.ACTIONS))),
        actor=read_word("actor") or "",
        people=read_choice("people", ["true", "false"]) == "true",
        ticker=read_ticker(),
        order=read_order(),
        since=read_instant("from"),
        until=read_instant("to"),
    )
    if _wants_csv():
        return _audit_csv(wanted, before_id, limit if "limit" in request.args else audit_export.MAX_ROWS)
    events = log.events(wanted, before_id=before_id, limit=limit + 1)
    following = write_cursor(events[limit - 1][0]) if len(events) > limit else None
    items = ",".join(event for _, event in events[:limit])
    return answer_written(f'{{"items":[{items}],"next":{strict_json.dumps(following)}}}', BY_ACCEPT)


def _wants_csv() -> bool:
    """Whether Accept prefers CSV to JSON, which is the default."""
    best = request.accept_mimetypes.best_match(["application/json", "text/csv", CSV])
    return best in ("text/csv", CSV)


def _audit_csv(wanted: log.EventFilter, before_id: int | None, limit: int) -> Response:
    written, last_id = audit_export.export(wanted, before_id=before_id, limit=limit)
    headers = BY_ACCEPT | {"Content-Disposition": 'attachment; filename="audit.csv"'}
    if last_id is not None:
        following = request.args.to_dict(flat=False) | {"cursor": [write_cursor(last_id)]}
        headers["Link"] = f'<{request.path}?{urlencode(following, doseq=True)}>; rel="next"'
    return Response(written, headers=headers, content_type=CSV)


@blueprint.get("/audit/<event_id>")
def get_audit_event(event_id: str) -> Response:
    if not NUMBER.fullmatch(event_id):
        raise NotFound(log.NO_SUCH)
    return answer_written(log.event(int(event_id)))


@blueprint.get("/state")
def get_state() -> Response:
    # The same for everybody who may read it, and after a change everybody does.
    try:
        written, tag, time = current_app.extensions["state"]()
    except TimeoutError:
        raise Refusal(HTTPStatus.SERVICE_UNAVAILABLE, BUSY, "busy", {"Retry-After": "1"}) from None
    return answer_unless_known(written, tag, **{"Server-Time": time})


def written_state() -> tuple[bytes, str, str]:
    """The snapshot as it is sent, its tag, and its time."""
    snapshot = current.snapshot()
    shown, time = _less_the_time(snapshot), snapshot["server_time"]
    written = f'{{"server_time": {strict_json.dumps(time)}, {shown[1:]}'
    return written.encode(), _hash(shown), time


def tag_of(snapshot: dict[str, Any]) -> str:
    """The tag of a snapshot covers all that is shown, less the time: an expiry changes it though nothing was
    written."""
    return _hash(_less_the_time(snapshot))


def _less_the_time(snapshot: dict[str, Any]) -> str:
    return strict_json.dumps({key: value for key, value in snapshot.items() if key != "server_time"})


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
