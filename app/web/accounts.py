"""The Accounts page: people, their roles, and tokens. Every change is a plain form with a question before it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from http import HTTPStatus
from typing import Any

from flask import Blueprint, abort, current_app, render_template, request, url_for
from sqlalchemy.exc import DBAPIError

from app import accounts, people, second_factor
from app.desk import config
from app.desk.errors import DeskError, Forbidden, Invalid, TooManyTries
from app.desk.times import rfc3339
from app.domain.roles import PEOPLE_ROLES, Role
from app.forms import PersonForm, RoleForm, TokenForm
from app.last_used import last_used
from app.second_factor import Proof
from app.web import plain
from app.web.errors import desk_error, status_of
from app.web.guard import actor

blueprint = Blueprint("accounts", __name__, url_prefix="/accounts")


@blueprint.before_request
def _look_at_the_path() -> None:
    """What can be nobody's name, nor the id of a token, which is spelt like one, has no page: not even one that
    says so."""
    if not all(accounts.NAME.fullmatch(part) for part in (request.view_args or {}).values()):
        abort(HTTPStatus.NOT_FOUND)


@blueprint.get("")
def page() -> str:
    return _page()


def _page(**more: Any) -> str:
    """`again` is the form that was refused, "person" or "token", `typed` what was in it, and `error` why."""
    try:
        last_used().write()
    except DBAPIError as error:  # the page is worth more than the last minute of it
        current_app.logger.warning("when tokens were used could not be written down: %s", error)
    tokens, who = people.tokens(), actor()
    return render_template(
        "accounts.html",
        people=[_shown(row) | {"is_me": row.id == who.account_id} for row in people.people()],
        tokens=[_shown(row) for row in tokens if row.revoked_at is None],
        revoked=[_shown(row) for row in tokens if row.revoked_at is not None],
        most=people.MOST_TOKENS if len(tokens) == people.MOST_TOKENS else None,
        people_roles=[str(role) for role in PEOPLE_ROLES],
        roles=[str(role) for role in reversed(Role)],
        required=second_factor.is_required(),
        has_second_factor=second_factor.has(who),
        form_id=plain.form_id,
        **{"again": None, "typed": {}, "error": None} | more,
    )


def _shown(row: Any) -> dict[str, Any]:
    return {name: rfc3339(value) if isinstance(value, datetime) else value for name, value in row._mapping.items()}


@blueprint.errorhandler(DeskError)
def _say_no(error: DeskError) -> Any:
    """A form that the desk refused: back to the page, with the reason."""
    if request.method != "POST" or _is_grave(error):
        return desk_error(error)
    return plain.back("accounts.page", "error", plain.sentence(error))


def _is_grave(error: DeskError) -> bool:
    """Whether this is not about what was typed."""
    of_a_code = isinstance(error, second_factor.WrongCode) or error.code == second_factor.NEEDED
    return isinstance(error, Forbidden) and not of_a_code


def _or_again(form: str, act: Callable[[], Any], **labels: str) -> Any:
    """What `act` answers; where that is refused, the form once more with what was typed, but for secrets."""
    if plain.is_used():
        return _shown_before()
    try:
        return act()
    except DeskError as error:
        if _is_grave(error):
            raise
        typed = {name: value for name, value in request.form.items() if name not in ("password", "totp_code")}
        status = HTTPStatus.UNPROCESSABLE_ENTITY if type(error) is DeskError else status_of(error)
        return _page(again=form, typed=typed, error=plain.sentence(error, **labels)), status


def _shown_before() -> Any:
    said = "That was done already. The secret it made is shown once only: make another if nobody kept it."
    return plain.back("accounts.page", "error", said)


def _ask(
    act: Callable[[Proof | None], Any],
    title: str,
    explanation: str,
    label: str,
    *,
    about: Role | None = None,
    always_code: bool = False,
    grave: bool = False,
) -> Any:
    """Ask, and do it when the answer is yes. What makes, restores or demotes an admin takes a code too, where
    going live does (people.Gate)."""
    need_code = always_code or (about is Role.ADMIN and second_factor.is_required())
    words: dict[str, Any] = {"need_code": need_code, "grave": grave, "back": url_for("accounts.page")}
    if not plain.confirmed():
        return plain.confirm(title, explanation, label, **words)
    try:
        return act(
            second_factor.for_act(actor(), request.form.get("totp_code", "").strip()) if need_code else None
        )
    except (second_factor.WrongCode, TooManyTries, Invalid) as error:
        return plain.confirm(title, explanation, label, error=plain.sentence(error), **words), status_of(error)


def _done(words: str) -> Any:
    return plain.back("accounts.page", "success", words)


# People


@blueprint.post("/people")
def add_person() -> Any:
    return _or_again("person", _add_person)


def _add_person() -> Any:
    form = plain.read(PersonForm)
    name, role = form.name.data, Role(form.role.data)
    given = form.password.data or None
    password = given or people.first_password()
    code = form.totp_code.data
    need_code = role is Role.ADMIN and second_factor.is_required()
    people.add(actor(), name, role, password, second_factor.for_act(actor(), code) if need_code else None)
    if given:
        return _done(f"{name} can sign in as {role}, with the password that you gave.")
    return _shown_once(
        f"{name} can sign in",
        f"As {role}, with this password. Tell {name} to change it under Your account.",
        "Password",
        password,
    )


@blueprint.post("/people/<name>/role")
def set_role(name: str) -> Any:
    role = Role(plain.read(RoleForm).role.data)

    def act(proof: Proof | None) -> Any:
        changed = people.set_role(actor(), name, role, proof)
        return _done(f"{name} is {_a(role)} now." if changed else f"{name} is {_a(role)} already.")

    becomes_admin = role is Role.ADMIN
    where = (
        f"and is signed out everywhere: {name} signs in again"
        if becomes_admin
        else f"wherever {name} is signed in"
    )
    what = f"{name} becomes {_a(role)}, at once, {where}. Tokens of {name} end."
    about = role if becomes_admin else people.role_of(name)
    return _ask(act, f"Make {name} {_a(role)}?", what, "Change the role", about=about, grave=becomes_admin)


@blueprint.post("/people/<name>/deactivate")
def deactivate(name: str) -> Any:
    def act(proof: Proof | None) -> Any:
        people.deactivate(actor(), name)
        return _done(f"{name} is deactivated.")

    what = f"{name} is signed out everywhere at once, and all tokens of {name} end for good. Nothing is deleted."
    return _ask(act, f"Deactivate {name}?", what, "Deactivate", grave=True)


@blueprint.post("/people/<name>/reactivate")
def reactivate(name: str) -> Any:
    def act(proof: Proof | None) -> Any:
        people.reactivate(actor(), name, proof)
        return _done(f"{name} is active again.")

    what = f"{name} can sign in again, with the password and the second factor as they were. Tokens stay revoked."
    return _ask(act, f"Reactivate {name}?", what, "Reactivate", about=people.role_of(name))


@blueprint.post("/people/<name>/password")
def reset_password(name: str) -> Any:
    def act(proof: Proof | None) -> Any:
        password = people.first_password()
        people.reset_password(actor(), name, password, proof)
        words = f"{name} signs in with it from now on, and is to change it under Your account."
        return _shown_once(f"A new password for {name}", words, "Password", password)

    if plain.is_used():
        return _shown_before()
    what = f"{name} is signed out everywhere at once and gets another password, which you will see once."
    return _ask(act, f"Reset the password of {name}?", what, "Reset the password", about=people.role_of(name))


@blueprint.post("/people/<name>/second-factor")
def remove_second_factor(name: str) -> Any:
    def act(proof: Proof | None) -> Any:
        people.remove_second_factor(actor(), name, proof)
        return _done(f"The second factor of {name} is removed.")

    what = (
        f"The password alone signs {name} in from then on, until {name} sets up another one. Do this only when you"
        f" are sure that it is {name} who asks."
    )
    about = people.role_of(name)
    return _ask(act, f"Remove the second factor of {name}?", what, "Remove it", about=about, grave=True)


# Tokens


@blueprint.post("/tokens")
def add_token() -> Any:
    return _or_again("token", _add_token, name="The account")


def _add_token() -> Any:
    form = plain.read(TokenForm)
    role, owner = Role(form.role.data), form.owner.data or None
    allow_live = bool(form.allow_live.data)
    token = accounts.add_token(actor(), form.name.data, role, owner=owner, allow_live=allow_live)
    return _shown_once(
        f"A token for {form.name.data}",
        f"It acts as {_a(role)}. Put it where the program reads it.",
        "Token",
        token,
    )


@blueprint.post("/tokens/<token_id>/revoke")
def revoke_token(token_id: str) -> Any:
    def act(proof: Proof | None) -> Any:
        accounts.revoke_token(actor(), token_id)
        return _done(f"The token {token_id} is revoked.")

    what = "Whoever uses it is cut off at once, open streams and waits included. It cannot be taken back."
    return _ask(act, f"Revoke the token {token_id}?", what, "Revoke", grave=True)


# What going live takes


@blueprint.post("/second-factor-for-live")
def second_factor_for_live() -> Any:
    required = request.form.get("required") == "true"

    def act(proof: Proof | None) -> Any:
        config.require_second_factor_for_live(actor(), required, proof)
        return _done(f"Going live takes {'a second factor' if required else 'no second factor'} from now on.")

    if required:
        what = (
            "An admin who goes live gives a code of their authenticator then, and no token can go live at all."
            " So does whoever makes or demotes an admin. Halting takes no code, ever."
        )
        return _ask(act, "Require a second factor for going live?", what, "Require it", always_code=True)
    what = "An admin's session alone can go live then, and so can tokens that were made for it."
    return _ask(act, "No second factor for going live?", what, "Do not require it", always_code=True, grave=True)


def _shown_once(title: str, words: str, label: str, secret: str) -> Any:
    """In the answer itself: a redirect would have to keep it somewhere."""
    plain.use()
    return render_template(
        "shown_once.html",
        title=title,
        text=f"{words} Copy it now: it is shown this once.",
        secrets=[(label, secret)],
        back=url_for("accounts.page"),
    )


def _a(role: Role) -> str:
    return f"{'a' if role is Role.VIEWER else 'an'} {role}"
