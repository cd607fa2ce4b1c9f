"""The pages, and the plain forms on them that work where JavaScript does not."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from flask import (
    Blueprint,
    g,
    redirect,
    request,
    stream_template,
    url_for,
)

from app.domain.risk_config import TradingMode
from app.domain.roles import Act
from app.lib import strict_json
from app.lib.threadpool import in_slices
from app.services.accounts import two_factor
from app.services.actor import Actor
from app.services.audit import log
from app.services.errors import DeskError, Forbidden
from app.services.orders import approvals, submit
from app.services.reporting import snapshot as state
from app.services.trading import config, lockouts
from app.web.api.trading import read_lockout_id, tag_of
from app.web.forms.trading import (
    ApprovalConfigForm,
    CancelAtVenueForm,
    ExtendLockoutForm,
    HaltForm,
    LockoutForm,
    ModeForm,
    RejectForm,
    SignalLayersForm,
)
from app.web.http.current import approve, dispatch, snapshot
from app.web.http.errors import desk_error
from app.web.http.request import read_choice, read_id, read_number_cursor, read_word, write_cursor
from app.web.pages import confirm
from app.web.security.auth import actor

blueprint = Blueprint("pages", __name__)


GO_LIVE_WORD = "LIVE"
DRAWN = 50  # rows of a list


@dataclass(frozen=True, slots=True)
class Me:
    """Who is signed in, and what the page may offer them."""

    name: str
    role: str
    can: dict[str, bool]
    manages_accounts: bool

    @classmethod
    def of(cls, who: Actor) -> Me:
        return cls(
            who.name,
            who.role.value,
            {
                "operate": who.may(Act.OPERATE),
                "decide": who.may(Act.DECIDE_ORDERS),
                "go_live": who.may(Act.GO_LIVE),
                "live_approval": who.may(Act.CHANGE_LIVE_APPROVAL),
                "configure": who.may(Act.REPLACE_CONFIG),
            },
            who.may(Act.MANAGE_ACCOUNTS),
        )


@blueprint.app_context_processor
def _me() -> dict[str, Any]:
    who = g.get("actor")
    return {"me": Me.of(who) if who else None}


@blueprint.get("/")
def index() -> Any:
    return redirect(url_for("pages.trading"), HTTPStatus.SEE_OTHER)


# Trading


@blueprint.get("/trading")
def trading() -> Any:
    return _trading_page(LockoutForm())


def _trading_page(lockout_form: LockoutForm) -> str:
    """Of long lists the server draws the first rows, and the page's script the others, which is lighter to send.
    Where there is no script, `?rows=all` draws them all."""
    drawn = None if request.args.get("rows") == "all" else DRAWN
    shown = snapshot()
    # Whoever could go live hears at once that they first need a second factor, not after all has been typed.
    lacks = actor().may(Act.GO_LIVE) and not two_factor.has(actor())
    return _rendered(
        "trading.html", state=shown, tag=tag_of(shown), lockout_form=lockout_form, drawn=drawn, lacks_code=lacks
    )


def _rendered(template: str, **context: Any) -> str:
    """A page that may be long, rendered in slices."""
    return "".join(in_slices(stream_template(template, **context)))


def _back(category: str, message: str) -> Any:
    return confirm.back("pages.trading", category, message)


@blueprint.errorhandler(DeskError)
def _say_no(error: DeskError) -> Any:
    """A plain form that the desk refused: back to the page, with the reason."""
    if request.method != "POST" or isinstance(error, Forbidden):
        return desk_error(error)
    return _back("error", confirm.sentence(error))


@blueprint.post("/trading/halt")
def halt() -> Any:
    return _halt(HaltForm(request.form))


def _halt(form: HaltForm) -> Any:
    form.validate()
    config.change_mode(actor(), TradingMode.DISABLED, reason=form.reason.data or None)
    ignored = confirm.in_words(form.ignored, {"trading_mode": "Trading mode", "reason": "The reason"})
    said = "Trading is halted: every new order is blocked."
    return _back("success", f"{said} Ignored: {ignored}." if ignored else said)


@blueprint.post("/trading/cancel-at-venue")
def cancel_at_venue() -> Any:
    """The second step of a halt: first what there is, with the stops to choose among, and then it is done."""
    if config.trading_mode() is not TradingMode.DISABLED:
        return _back("error", "Trading is not halted: nothing was canceled at the venue.")
    if not confirm.confirmed():
        return confirm.confirm(
            "Cancel orders at the venue?",
            "What is filled already stays filled. Trading stays halted.",
            "Cancel at the venue",
            venue=snapshot().get("venue"),
        )
    named = confirm.read(CancelAtVenueForm).protective_stops.data or []
    asked = dispatch().cancel_open(actor(), frozenset(named))
    ended = sum(order["ended"] for order in asked)
    many = "1 order" if len(asked) == 1 else f"{len(asked)} orders"
    return _back("success", f"The end of {many} was asked for at the venue; ended so far: {ended}.")


@blueprint.post("/trading/mode")
def change_mode() -> Any:
    if TradingMode.DISABLED in request.form.getlist("trading_mode"):
        return _halt(HaltForm(request.form))
    form = confirm.read(ModeForm)
    to = TradingMode(form.trading_mode.data)
    live = to is TradingMode.LIVE
    missing = not form.reason.data
    word = request.form.get("confirm_word", "").strip()
    # isascii, for a dotless i is an I in upper case.
    wrong_word = live and not (word.isascii() and word.upper() == GO_LIVE_WORD)
    need_code = live and actor().may(Act.GO_LIVE) and two_factor.is_required()
    if need_code and not two_factor.has(actor()):
        return _back(
            "error", "Going live takes a second factor, and you have none: set one up on your Account page."
        )

    def ask(error: str | None) -> str:
        explanation = (
            "Released orders will go to the market with real money."
            if live
            else "Orders will be decided by the gate again, in paper trading."
        )
        return confirm.confirm(
            "Go live" if live else f"Switch to {to} trading",
            explanation + _what_is_lost(),
            "Go live" if live else f"Switch to {to}",
            need_reason=True,
            need_word=GO_LIVE_WORD if live else None,
            need_code=need_code,
            error=error,
        )

    if missing or wrong_word or (need_code and not form.totp_code.data):
        error = None
        if confirm.confirmed():
            error = "A reason is required." if missing else f"Type {GO_LIVE_WORD} to go live."
            error = error if missing or wrong_word else "The code of your authenticator is required."
        return ask(error)
    leaving = form.leaving.data
    try:
        proof = two_factor.for_mode(actor(), to, form.totp_code.data)
    except two_factor.WrongCode as error:
        return ask(confirm.sentence(error)), HTTPStatus.FORBIDDEN
    config.change_mode(
        actor(),
        to,
        leaving=TradingMode(leaving) if leaving else None,
        reason=form.reason.data or None,
        expected_versions=_version_shown(),
        second_factor=proof,
    )
    return _back("success", f"The trading mode is {to}.")


def _what_is_lost() -> str:
    waiting = state.snapshot()["approvals_total"]
    whose = "The order that waits" if waiting == 1 else f"All {waiting} orders that wait"
    return f" {whose} for approval will be canceled." if waiting else ""


def _version_shown() -> frozenset[int] | None:
    """The version of the configuration on the page that asked, where it said so."""
    text = request.form.get("version", "")
    return frozenset({int(text)}) if text.isascii() and text.isdigit() and len(text) <= 18 else None


APPROVAL_EFFECTS = {
    ("auto_approve_paper", True): "Paper orders will be released by themselves, without a person.",
    ("auto_approve_paper", False): "Every paper order will wait for a person's approval.",
    ("require_approval_for_live", True): "Every live order will wait for a person's approval.",
    ("require_approval_for_live", False): "Live orders will be released by themselves, without a person.",
}


@blueprint.post("/trading/approval-config")
def change_approval_config() -> Any:
    changes = confirm.read(ApprovalConfigForm).given()
    effects = [APPROVAL_EFFECTS[item] for item in changes.items() if item in APPROVAL_EFFECTS]
    if effects and not confirm.confirmed():
        return confirm.confirm("Change order approval", " ".join(effects), "Change")
    config.change_approval_config(actor(), changes)
    return _back("success", "The approval settings are saved.")


@blueprint.post("/trading/signal-layers")
def change_signal_layers() -> Any:
    changes = confirm.read(SignalLayersForm).given()
    if not confirm.confirmed():
        effects = [
            f"Orders of the {layer} signal layer will be {'decided by the gate again' if on else 'blocked'}."
            for layer, on in changes.items()
        ]
        return confirm.confirm("Change signal layers", " ".join(effects), "Change")
    config.change_signal_layers(actor(), changes)
    return _back("success", "The signal layers are saved.")


@blueprint.post("/trading/lockouts")
def create_lockout() -> Any:
    form = LockoutForm(request.form)
    if not form.validate():
        return _trading_page(form), HTTPStatus.UNPROCESSABLE_ENTITY
    lockout = lockouts.create(actor(), **form.lockout())
    return _back("success", f"{lockout.ticker} is locked out.")


@blueprint.post("/trading/lockouts/<lockout_id>/extend")
def extend_lockout(lockout_id: str) -> Any:
    minutes = confirm.read(ExtendLockoutForm).given()["extend_minutes"]
    lockout = lockouts.extend(actor(), read_lockout_id(lockout_id), minutes)
    return _back("success", f"The lockout of {lockout.ticker} ends {minutes} minutes later.")


@blueprint.post("/trading/lockouts/<lockout_id>/remove")
def remove_lockout(lockout_id: str) -> Any:
    if not confirm.confirmed():
        return confirm.confirm(
            "Remove lockout",
            "The symbol can be traded again at once, unless another lockout holds it.",
            "Remove",
        )
    lockouts.remove(actor(), read_lockout_id(lockout_id))
    return _back("success", "The lockout is removed.")


# Orders that wait


@blueprint.post("/trading/approvals/<order_id>/approve")
def approve_order(order_id: str) -> Any:
    """One click in paper trading; real money is asked about once."""
    order = _order(order_id)
    if order["trading_mode"] == TradingMode.LIVE and not confirm.confirmed():
        return confirm.confirm(
            "Approve with real money", f"{_words(order)} goes to the market at once, with real money.", "Approve"
        )
    dispatch().sent_on(actor(), approve(actor(), uuid.UUID(order["id"])))
    return _back("success", f"{_words(order)} is released.")


@blueprint.post("/trading/approvals/<order_id>/reject")
def reject_order(order_id: str) -> Any:
    order = _order(order_id)
    form = RejectForm(request.form)
    if not form.validate():
        return confirm.confirm(
            "Reject order",
            f"{_words(order)}: {order['engine']} receives the rejection and your reason.",
            "Reject",
            need_reason=True,
            error=f"Reason {' '.join(form.reason.errors)}." if confirm.confirmed() else None,
        )
    approvals.reject(actor(), uuid.UUID(order["id"]), form.reason.data)
    return _back("success", f"{_words(order)} is rejected.")


def _order(order_id: str) -> dict[str, Any]:
    return submit.get(actor(), read_id(order_id, submit.NO_SUCH))


def _words(order: dict[str, Any]) -> str:
    """Buy 10 AAPL, or Buy 5000 notional of AAPL."""
    size = order["qty"] or f"{order['notional']} notional of"
    return f"{order['side'].capitalize()} {size} {order['ticker']}"


# Audit


@blueprint.get("/audit")
def audit_page() -> Any:
    limit = 50
    filters = {"action": read_choice("action", ("", *log.ACTIONS)) or None, "actor": read_word("actor") or None}
    action, actor = filters["action"], filters["actor"]
    wanted = log.EventFilter(actions=(action,) if action else (), actor=actor or "")
    events = log.events(wanted, before_id=read_number_cursor(), limit=limit + 1)
    more = write_cursor(events[limit - 1][0]) if len(events) > limit else None
    given: dict[str, Any] = {name: value for name, value in filters.items() if value}
    return _rendered(
        "audit.html",
        events=[strict_json.loads_stored(event) for _, event in in_slices(events[:limit])],
        next_url=url_for("pages.audit_page", **given, cursor=more) if more else None,
        filters={name: value or "" for name, value in filters.items()},
        actions=log.ACTIONS,
    )
