"""One's own account: password, second factor, and where one is signed in."""

from __future__ import annotations

from typing import Any

import segno
from flask import Blueprint, redirect, render_template, request, session, url_for

from app.lib.timestamps import rfc3339
from app.services.accounts import admin, login, sessions, two_factor
from app.services.actor import Actor
from app.services.errors import Conflict, DeskError, Forbidden, NotFound, TooManyTries
from app.web.forms.trading import ChangePasswordForm, CodeForm, ConfirmForm, PasswordForm, TurnOffForm
from app.web.http.errors import desk_error, status_of
from app.web.pages import confirm as plain
from app.web.security.auth import actor

blueprint = Blueprint("account", __name__)


@blueprint.get("/account")
def page() -> str:
    who, account_id = actor(), _account_id()
    standing = two_factor.standing(account_id)
    return render_template(
        "account.html",
        second_factor_since=rfc3339(standing.on_since) if standing.on_since else None,
        recovery_codes_left=standing.recovery_codes_left,
        required=two_factor.is_required(),
        sessions=[
            {
                "id": each.id_hash.hex(),
                "is_this": each.id_hash == who.session_hash,
                "created_at": rfc3339(each.created_at),
                "seen_at": rfc3339(each.seen_at),
                "address": each.address,
                "browser": each.browser,
            }
            for each in sessions.of(account_id)
        ],
    )


@blueprint.errorhandler(DeskError)
def _say_no(error: DeskError) -> Any:
    """A form that was refused: back to the page, with the reason."""
    credential_ended = isinstance(error, Forbidden) and not isinstance(error, two_factor.WrongCode)
    if request.method != "POST" or credential_ended:
        return desk_error(error)
    return plain.back("account.page", "error", plain.sentence(error))


@blueprint.get("/account/password")
def password_page() -> Any:
    """The form alone, for a person who has to change their password before anything else."""
    if not actor().must_change_password:
        return redirect(url_for("account.page"), 303)
    return render_template("change_password.html")


@blueprint.post("/account/password")
def change_password() -> Any:
    form = plain.read(ChangePasswordForm)
    ended = admin.change_password(actor(), _prove(form.password.data), form.new_password.data)
    others = f" {ended} other session{'s' if ended != 1 else ''} ended." if ended else ""
    page = "pages.index" if actor().must_change_password else "account.page"
    return plain.back(page, "success", f"Your password is changed.{others}")


@blueprint.post("/account/sessions/end")
def end_session() -> Any:
    try:
        which = bytes.fromhex(request.form.get("session", ""))
    except ValueError:
        raise NotFound("this session is over already") from None
    sessions.end(actor(), which)
    return plain.back("account.page", "success", "That session has ended.")


@blueprint.post("/account/sessions/end-others")
def end_other_sessions() -> Any:
    ended = sessions.end_all(actor(), but_this=True)
    words = f"{ended} other session{'s have' if ended != 1 else ' has'} ended; you are signed in only here."
    return plain.back("account.page", "success", words)


@blueprint.post("/account/sessions/end-all")
def end_all_sessions() -> Any:
    sessions.end_all(actor(), but_this=False)
    session.clear()
    return redirect(url_for("sessions.login"), 303)


@blueprint.post("/account/second-factor/start")
def start() -> Any:
    """The secret is the answer itself, rather than a page that could be opened again."""
    _prove(plain.read(PasswordForm).password.data)
    return _enrol_page(two_factor.start(actor()))


@blueprint.post("/account/second-factor/confirm")
def confirm() -> Any:
    who, form = actor(), plain.read(ConfirmForm)
    secret = form.secret.data or ""
    try:
        codes = two_factor.confirm(who, secret, form.code.data)
    except (two_factor.WrongCode, TooManyTries) as error:
        # It came with the form, and is the right one.
        return _enrol_page(two_factor.enrolment(who, secret), plain.sentence(error)), status_of(error)
    return _recovery_codes_page(codes, "Your second factor is on.")


def _enrol_page(begun: two_factor.Enrolment, error: str | None = None) -> str:
    picture = segno.make(begun.uri, error="m").svg_data_uri(scale=5, border=3, dark="#000", light="#fff")
    groups = " ".join(begun.secret[start : start + 4] for start in range(0, len(begun.secret), 4))
    return render_template("second_factor.html", picture=picture, groups=groups, secret=begun.secret, error=error)


@blueprint.post("/account/second-factor/recovery-codes")
def renew_recovery_codes() -> Any:
    codes = two_factor.renew_recovery_codes(actor(), plain.read(CodeForm).code.data)
    return _recovery_codes_page(codes, "All recovery codes that you had before are void.")


def _recovery_codes_page(codes: list[str], what: str) -> str:
    return render_template(
        "shown_once.html",
        title="Recovery codes",
        text=f"{what} These codes sign you in when your authenticator is lost, each of them once. Keep them where"
        " it is not: on paper, or in a password manager. They are shown this once.",
        secrets=[("Recovery codes", "\n".join(codes))],
        back=url_for("account.page"),
    )


@blueprint.post("/account/second-factor/off")
def turn_off() -> Any:
    form = plain.read(TurnOffForm)
    _prove(form.password.data)
    two_factor.turn_off(actor(), form.code.data)
    return plain.back("account.page", "success", "Your second factor is off: the password alone signs you in.")


def _prove(password: str) -> Any:
    return login.prove_password(actor(), password, address=request.remote_addr or "")


def _account_id() -> int:
    found: Actor = actor()
    if found.account_id is None:
        raise Conflict("there is no account behind this credential")
    return found.account_id
