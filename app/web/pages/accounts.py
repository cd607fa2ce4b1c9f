"""The Accounts page: people, their roles, and tokens. Every change is a plain form with a question before it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Any

from flask import Blueprint, abort, current_app, render_template, request, url_for
from sqlalchemy.exc import DBAPIError

from app.domain.roles import PEOPLE_ROLES, Role
from app.lib.timestamps import rfc3339
from app.services.accounts import admin, login, two_factor, users
from app.services.accounts.admin import Effects
from app.services.accounts.suspension import Stopped
from app.services.accounts.token_usage import last_used
from app.services.accounts.two_factor import Proof
from app.services.errors import ConfirmationRequired, DeskError, Forbidden, Invalid, TooManyTries
from app.services.trading import config
from app.web.forms.trading import OwnerForm, PersonForm, RoleForm, TokenForm
from app.web.http.errors import desk_error, status_of
from app.web.pages import confirm
from app.web.security.auth import actor

blueprint = Blueprint("accounts", __name__, url_prefix="/accounts")

SECRETS = ("password", "totp_code", confirm.YOUR_PASSWORD)  # never shown again
MOST_NAMED = 5  # accounts in a message, which a cookie carries


@blueprint.before_request
def _look_at_the_path() -> None:
    """What can be nobody's name, nor the id of a token, which is spelt like one, has no page: not even one that
    says so."""
    if not all(users.NAME.fullmatch(part) for part in (request.view_args or {}).values()):
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
    tokens, who = admin.tokens(), actor()
    return render_template(
        "accounts.html",
        people=[_shown(row) | {"is_me": row.id == who.account_id} for row in admin.people()],
        tokens=[_shown(row) for row in tokens if row.revoked_at is None],
        revoked=[_shown(row) for row in tokens if row.revoked_at is not None],
        most=admin.MOST_TOKENS if len(tokens) == admin.MOST_TOKENS else None,
        people_roles=[str(role) for role in PEOPLE_ROLES],
        roles=[str(role) for role in reversed(Role)],
        required=two_factor.is_required(),
        has_second_factor=two_factor.has(who),
        form_id=confirm.form_id,
        **{"again": None, "typed": {}, "error": None} | more,
    )


def _shown(row: Any) -> dict[str, Any]:
    return {name: rfc3339(value) if isinstance(value, datetime) else value for name, value in row._mapping.items()}


@blueprint.errorhandler(DeskError)
def _say_no(error: DeskError) -> Any:
    """A form that the desk refused: back to the page, with the reason."""
    if request.method != "POST" or _is_grave(error):
        return desk_error(error)
    return confirm.back("accounts.page", "error", confirm.sentence(error))


def _is_grave(error: DeskError) -> bool:
    """Whether this is not about what was typed or picked."""
    if error.code == "controls_account":
        return False
    of_a_code = isinstance(error, two_factor.WrongCode) or error.code == two_factor.NEEDED
    return isinstance(error, Forbidden) and not of_a_code


def _or_again(form: str, act: Callable[[Proof | None], Any], **labels: str) -> Any:
    """What `act` answers; where that is refused, the form once more with what was typed, but for secrets."""
    if confirm.is_used():
        return _shown_before()
    try:
        proof = _confirm_identity()
    except (two_factor.WrongCode, TooManyTries, Invalid) as error:
        return _ask_who_it_is(confirm.sentence(error)), status_of(error)
    try:
        return act(proof)
    except ConfirmationRequired:
        return _ask_who_it_is()
    except DeskError as error:
        if _is_grave(error):
            raise
        typed = {name: value for name, value in request.form.items() if name not in SECRETS}
        status = HTTPStatus.UNPROCESSABLE_ENTITY if type(error) is DeskError else status_of(error)
        return _page(again=form, typed=typed, error=confirm.sentence(error, **labels)), status


def _shown_before() -> Any:
    said = "That was done already. The secret it made is shown once only: make another if nobody kept it."
    return confirm.back("accounts.page", "error", said)


def _confirm_identity() -> Proof | None:
    """Check the password, and the code of a second factor, where the form asked for them again. The proof of that
    code is good for the act of this request, too."""
    given = request.form.get(confirm.YOUR_PASSWORD)
    if given is None or login.is_confirmed(actor()):
        return None
    return login.confirm(actor(), given, _code(), address=request.remote_addr or "")


def _ask_who_it_is(error: str | None = None) -> str:
    """The form again with everything that was typed but secrets, and with fields for the password and the code."""
    return confirm.confirm(
        "Confirm that it is you",
        "You last gave your password more than ten minutes ago. Give it again to go on.",
        "Continue",
        need_password=True,
        need_code=two_factor.has(actor()),
        need_first_password=bool(request.form.get("password")),
        back=url_for("accounts.page"),
        error=error,
    )


def _code() -> str:
    return request.form.get("totp_code", "").strip()


@dataclass(frozen=True, slots=True)
class Question:
    """What a person is asked before an act; `details` are the accounts and orders that it affects."""

    title: str
    text: str
    label: str
    grave: bool = False
    details: Sequence[str] = ()


def _ask(
    act: Callable[[Proof | None], Any],
    question: Question,
    *,
    about: Role | None = None,
    always_code: bool = False,
    confirms_identity: bool = False,
) -> Any:
    """Ask, and do it when the answer is yes. What makes, restores or demotes an admin takes a code too, where
    going live does (`accounts.require_second_factor`). What `confirms_identity` takes the person's password again,
    and the code of their second factor, where they gave it more than ten minutes ago."""
    takes_code = always_code or (about is Role.ADMIN and two_factor.is_required())

    def ask(error: str | None = None) -> str:
        need_password = confirms_identity and not login.is_confirmed(actor())
        return confirm.confirm(
            question.title,
            question.text,
            question.label,
            need_password=need_password,
            need_code=takes_code or (need_password and two_factor.has(actor())),
            grave=question.grave,
            details=question.details,
            back=url_for("accounts.page"),
            error=error,
        )

    if not confirm.confirmed():
        return ask()
    try:
        proof = _confirm_identity()
        if proof is None and takes_code:
            proof = two_factor.for_act(actor(), _code())
        return act(proof)
    except (ConfirmationRequired, two_factor.WrongCode, TooManyTries, Invalid) as error:
        return ask(confirm.sentence(error)), status_of(error)


def _preview(name: str, role: Role | None) -> list[str]:
    """What suspending or deactivating service accounts would do, with all their orders at the broker."""
    return [_words_of(each, name, at_broker=len(each.at_broker)) for each in admin.preview(name, role)]


def _words_of(stopped: Stopped, name: str, *, at_broker: int) -> str:
    """A sentence on an account that is suspended, or that is itself the `name` that is deactivated."""
    state = "deactivated" if stopped.name.lower() == name.lower() else "suspended"
    words = f"{stopped.name} ({stopped.role}) is {state}: its tokens are refused"
    if stopped.role is Role.ENGINE:
        words += f", and its pending orders are canceled ({stopped.pending})"
    if not stopped.at_broker:
        return f"{words}."
    named = [
        f"{order['side']} {order['qty'] or order['notional']} {order['ticker']} ({order['status']})"
        for order in stopped.at_broker[:at_broker]
    ]
    rest = len(stopped.at_broker) - len(named)
    more = f" and {rest} more" if rest else ""
    return f"{words}. These of its orders stay at the broker: {', '.join(named)}{more}."


def _and_effects(done: Effects, name: str) -> str:
    """What was suspended or resumed, for a message that has to be short."""
    words = [_words_of(each, name, at_broker=5) for each in done.stopped[:MOST_NAMED]]
    if len(done.stopped) > MOST_NAMED:
        words.append(f"So are {len(done.stopped) - MOST_NAMED} more accounts.")
    if done.resumed:
        words.append(f"Resumed: {', '.join(done.resumed[:MOST_NAMED])}.")
    return "".join(f" {each}" for each in words)


def _done(words: str) -> Any:
    return confirm.back("accounts.page", "success", words)


# People


@blueprint.post("/people")
def add_person() -> Any:
    return _or_again("person", _add_person)


def _add_person(proof: Proof | None) -> Any:
    form = confirm.read(PersonForm)
    name, role = form.name.data, Role(form.role.data)
    given = form.password.data or None
    password = given or admin.first_password()
    if proof is None and role is Role.ADMIN and two_factor.is_required():
        proof = two_factor.for_act(actor(), form.totp_code.data)
    admin.add(actor(), name, role, password, proof)
    if given:
        return _done(f"{name} can sign in as {role} with the password that you gave, and has to change it then.")
    return _shown_once(
        f"{name} can sign in",
        f"As {role}, with this password, which {name} has to change then.",
        "Password",
        password,
    )


@blueprint.post("/people/<name>/role")
def set_role(name: str) -> Any:
    role = Role(confirm.read(RoleForm).role.data)

    def act(proof: Proof | None) -> Any:
        done = admin.set_role(actor(), name, role, proof)
        words = f"{name} is {_a(role)} now." if done.changed else f"{name} is {_a(role)} already."
        return _done(words + _and_effects(done, name))

    becomes_admin = role is Role.ADMIN
    where = (
        f"and is signed out everywhere: {name} signs in again"
        if becomes_admin
        else f"wherever {name} is signed in"
    )
    what = f"{name} becomes {_a(role)}, at once, {where}. Tokens of {name} end."
    about = role if becomes_admin else admin.role_of(name)
    question = Question(f"Make {name} {_a(role)}?", what, "Change the role", becomes_admin, _preview(name, role))
    return _ask(act, question, about=about, confirms_identity=becomes_admin)


@blueprint.post("/people/<name>/deactivate")
def deactivate(name: str) -> Any:
    def act(proof: Proof | None) -> Any:
        done = admin.deactivate(actor(), name)
        return _done(f"{name} is deactivated.{_and_effects(done, name)}")

    what = f"{name} is signed out everywhere at once, and all tokens of {name} end for good. Nothing is deleted."
    return _ask(act, Question(f"Deactivate {name}?", what, "Deactivate", True, _preview(name, None)))


@blueprint.post("/people/<name>/reactivate")
def reactivate(name: str) -> Any:
    def act(proof: Proof | None) -> Any:
        done = admin.reactivate(actor(), name, proof)
        return _done(f"{name} is active again.{_and_effects(done, name)}")

    what = (
        f"{name} can sign in again, with the password and the second factor as they were. Tokens of {name} stay"
        f" revoked. Service accounts that were suspended with {name} are resumed: their tokens are accepted again."
    )
    return _ask(act, Question(f"Reactivate {name}?", what, "Reactivate"), about=admin.role_of(name))


@blueprint.post("/people/<name>/password")
def reset_password(name: str) -> Any:
    def act(proof: Proof | None) -> Any:
        password = admin.first_password()
        admin.reset_password(actor(), name, password, proof)
        words = f"{name} signs in with it next, and has to change it then."
        return _shown_once(f"A new password for {name}", words, "Password", password)

    if confirm.is_used():
        return _shown_before()
    what = f"{name} is signed out everywhere at once and gets another password, which you will see once."
    what += f" {name} has to change it at the next sign-in; until then you count as acting for {name}."
    question = Question(f"Reset the password of {name}?", what, "Reset the password")
    return _ask(act, question, about=admin.role_of(name), confirms_identity=True)


@blueprint.post("/people/<name>/second-factor")
def remove_second_factor(name: str) -> Any:
    def act(proof: Proof | None) -> Any:
        admin.remove_second_factor(actor(), name, proof)
        return _done(f"The second factor of {name} is removed.")

    what = (
        f"The password alone signs {name} in from then on, until {name} sets up another one; {name} has to change"
        f" the password at the next sign-in. Do this only when you are sure that it is {name} who asks."
    )
    about = admin.role_of(name)
    question = Question(f"Remove the second factor of {name}?", what, "Remove it", grave=True)
    return _ask(act, question, about=about, confirms_identity=True)


# Tokens


@blueprint.post("/tokens")
def add_token() -> Any:
    return _or_again("token", _add_token, name="The account")


def _add_token(proof: Proof | None) -> Any:
    form = confirm.read(TokenForm)
    role, owner = Role(form.role.data), form.owner.data or None
    allow_live = bool(form.allow_live.data)
    if proof is None and role is Role.ADMIN and two_factor.is_required():
        proof = two_factor.for_act(actor(), form.totp_code.data)
    token = users.add_token(actor(), form.name.data, role, owner=owner, allow_live=allow_live, proof=proof)
    yours = " You created it, so you cannot approve its orders." if role is Role.ENGINE else ""
    return _shown_once(
        f"A token for {form.name.data}",
        f"It acts as {_a(role)}. Put it where the program reads it.{yours}",
        "Token",
        token,
    )


@blueprint.post("/tokens/<token_id>/revoke")
def revoke_token(token_id: str) -> Any:
    def act(proof: Proof | None) -> Any:
        users.revoke_token(actor(), token_id)
        return _done(f"The token {token_id} is revoked.")

    what = "Whoever uses it is cut off at once, open streams and waits included. It cannot be taken back."
    return _ask(act, Question(f"Revoke the token {token_id}?", what, "Revoke", grave=True))


@blueprint.post("/services/<name>/owner")
def change_owner(name: str) -> Any:
    owner = confirm.read(OwnerForm).owner.data

    def act(proof: Proof | None) -> Any:
        done = admin.change_owner(actor(), name, owner, proof)
        words = f"{owner} owns {name} now." if done.changed else f"{owner} owns {name} already."
        return _done(words + _and_effects(done, name))

    what = (
        f"{owner} is responsible for {name} from then on, and cannot approve its orders."
        f" If {name} is suspended, it is resumed and its tokens are accepted again."
    )
    question = Question(f"Give {name} to {owner}?", what, "Change the owner")
    return _ask(act, question, about=admin.role_of(name))


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
        question = Question("Require a second factor for going live?", what, "Require it")
    else:
        what = "An admin's session alone can go live then, and so can tokens that were made for it."
        question = Question("No second factor for going live?", what, "Do not require it", grave=True)
    return _ask(act, question, always_code=True, confirms_identity=True)


def _shown_once(title: str, words: str, label: str, secret: str) -> Any:
    """In the answer itself: a redirect would have to keep it somewhere."""
    confirm.use()
    return render_template(
        "shown_once.html",
        title=title,
        text=f"{words} Copy it now: it is shown this once.",
        secrets=[(label, secret)],
        back=url_for("accounts.page"),
    )


def _a(role: Role) -> str:
    return f"{'a' if role is Role.VIEWER else 'an'} {role}"
