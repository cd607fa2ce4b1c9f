"""The one door: who is asking, whether they may, and whether a browser was tricked into asking."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from flask import Flask, Request, Response, current_app, flash, g, redirect, request, session, url_for
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface

from app.domain.roles import Act, may
from app.extensions import csrf
from app.services.accounts import login, users
from app.services.actor import Actor
from app.services.orders.submit import ACCOUNT_SUSPENDED, SUSPENDED
from app.web.http import query
from app.web.http.errors import Refusal, at_the_door, takes_no_other_query, wants_json
from app.web.http.request import read_halt, whole_body
from app.web.security import cookies, same_origin
from app.web.security.permissions import (
    API,
    CHANGE_MODE,
    CHANGES_PASSWORD,
    IN_PERSON,
    IN_TRANSACTION,
    NEVER_LIMITED,
    SIGN_IN,
    WAITING,
    Open,
    Right,
    right_for,
)
from app.web.security.rate_limit import bounds

SESSION_KEY = "sid"
LARGEST_FORM = LARGEST_BODY = 64 * 1024  # bytes
# What may be as long as the application allows any body to be. An order never is: to read it would take too long.
LARGE = frozenset({("PUT", f"{API}/config"), ("POST", f"{API}/approvals/decisions")})
# Of a body that is read before its sender is looked up, in bytes: nobody who is unknown is to keep us at work.
DEFERRED_BODY = 16 * 1024
ALPACA_KEY, ALPACA_SECRET = "APCA-API-KEY-ID", "APCA-API-SECRET-KEY"
CHALLENGE = {"WWW-Authenticate": 'Bearer realm="countersign"'}


class Sessions(SecureCookieSessionInterface):
    """Flask's signed cookie, marked Secure whenever the browser came by TLS."""

    def get_cookie_name(self, app: Flask) -> str:
        return cookies.with_prefix(super().get_cookie_name(app))

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        # Programs have no cookie, and looking for one takes as long as looking their token up.
        return super().open_session(app, request) if "Cookie" in request.headers else self.session_class()

    def get_cookie_secure(self, app: Flask) -> bool:
        return request.is_secure


def actor() -> Actor:
    """Who acts in this request. Only for routes that are not open to anybody."""
    found: Actor = g.actor
    return found


@dataclass(frozen=True, slots=True)
class Sender:
    """Whoever shows a token on a route that looks it up by itself (`permissions.IN_TRANSACTION`)."""

    claim: users.Claim
    right: Act

    @property
    def token_id(self) -> str:
        return self.claim.token_id

    def confirm(self, holder: tuple[Any, ...] | None) -> Actor:
        """The actor of this request. Raises Refusal: 401, or 403 where the role may not do this."""
        g.actor = None  # who is nobody is not looked up once more
        g.actor = _bearer(self.claim, self.claim.checked(holder))
        _require(g.actor, self.right)
        found: Actor = g.actor
        return found

    def look_up(self) -> None:
        """`confirm`, where the act did not come so far."""
        g.actor = _bearer(self.claim, self.claim.look_up())
        _require(g.actor, self.right)


def sender() -> Actor | Sender:
    """Who acts, known already or yet to be looked up."""
    found: Actor | Sender = g.get("sender") or g.actor
    return found


@contextmanager
def sender_first() -> Iterator[None]:
    """What is wrong with a request is said only to those who may make it."""
    try:
        yield
    except Exception:
        unknown = sender()
        if isinstance(unknown, Sender) and "actor" not in g:
            unknown.look_up()
        raise


def actor_still() -> Actor:
    """`actor()`, looked up anew: for a request that waited while its credential may have been revoked."""
    found = _who(_claim())
    if found is None or found.account_id != actor().account_id:
        raise Refusal(HTTPStatus.UNAUTHORIZED, "this session has ended", headers=CHALLENGE)
    return found


def _check() -> Response | None:
    # Each `request` looks it up anew, and this is on the path of an order.
    asked: Request = request._get_current_object()  # type: ignore[attr-defined]
    if asked.url_rule is None:
        return None  # 404 or 405, said in a moment
    right = right_for(asked.method, asked.url_rule.rule)
    if right is None:
        raise Refusal(HTTPStatus.FORBIDDEN, "this route is not in the table of permissions")
    route = (asked.method if asked.method != "HEAD" else "GET", asked.url_rule.rule)
    if right is Open.NO_CREDENTIAL:
        _check_query(route)
        return None
    shown = _claim()
    if _begin(route, shown) and _is_deferred(right, shown):
        return None
    g.actor = None if route in SIGN_IN else _who(shown)
    if right is not Open.ANYBODY:
        if g.actor is None:
            return _unauthenticated()
        if g.actor.must_change_password and route not in CHANGES_PASSWORD:
            return _must_change_password()
        _admit(g.actor, route, right)
    _take_body(route)
    _check_forgery(route)
    _check_query(route)
    return None


def _check_forgery(route: tuple[str, str]) -> None:
    """Refuse what a page of another site may have had a browser send.

    A token is proof, unless a cookie comes along: then a browser may be asking. Under /v2 a cookie authenticates
    nothing. Beside a token it does not stop a halt either: another site's page cannot add an Authorization header.
    """
    if _shows_token() and (
        not request.cookies or at_the_door() or (route == CHANGE_MODE and read_halt() is not None)
    ):
        return
    if request.method in current_app.config["WTF_CSRF_METHODS"]:
        same_origin.check()
    csrf.protect()


def _check_query(route: tuple[str, str]) -> None:
    if request.query_string and takes_no_other_query():
        query.check(route)


def _admit(actor: Actor, route: tuple[str, str], right: Right) -> None:
    """Raises Refusal or Forbidden where this actor may not, or not yet."""
    if isinstance(right, Act):
        _require(actor, right)
    if route in IN_PERSON and actor.session_hash is None:
        raise Refusal(HTTPStatus.FORBIDDEN, "people do this themselves: sign in, no token may", "in_person")
    if route[0] == "GET":
        bounds().read(actor.token_id or actor.session_hash or "")
        bounds().take_slot(route)


def _begin(route: tuple[str, str], shown: users.Claim | None) -> bool:
    """Before anything is looked up: whether this credential, or this address, has to wait (Refusal); and whether
    the desk may look it up by itself."""
    if route in NEVER_LIMITED:
        return False
    key: str | bytes | None
    bounded = bounds()
    if shown is not None or _shows_token():
        bounded.may_try(shown)
        key = shown.secret_hash if shown else None
    else:
        key = session.get(SESSION_KEY)
    if key and route not in WAITING:
        bounded.begin(key)
    return route in IN_TRANSACTION


def _is_deferred(right: Right, shown: users.Claim | None) -> bool:
    """Whether a token was shown that the desk looks up with the rules; what else is shown is looked at here."""
    if shown is None or not isinstance(right, Act):
        return False
    small = (request.content_length or DEFERRED_BODY + 1) <= DEFERRED_BODY
    if not small or request.query_string or not (at_the_door() or "Cookie" not in request.headers):
        return False
    g.sender = Sender(shown, right)
    return True


def _take_body(route: tuple[str, str]) -> None:
    """Here, where its time and its size are limited, rather than wherever a form is looked at first."""
    if route[0] != "GET":
        if route not in LARGE:
            request.max_content_length = LARGEST_BODY if wants_json() else LARGEST_FORM
        whole_body()


def _who(shown: users.Claim | None) -> Actor | None:
    if shown is not None or _shows_token():
        # Never fall back to the cookie: who shows a credential is told that it is not accepted.
        return _bearer(shown, shown.look_up() if shown else None)
    if at_the_door():
        return None
    secret = session.get(SESSION_KEY)
    person = login.signed_in(secret) if isinstance(secret, str) else None
    if person is None:
        return None
    return Actor(
        person.name,
        person.role,
        g.request_id,
        person.account_id,
        session_hash=person.session_hash,
        must_change_password=person.must_change_password,
    )


def _shows_token() -> bool:
    """At the Alpaca door a token may come in two halves, as its bots send it."""
    return "Authorization" in request.headers or (at_the_door() and ALPACA_KEY in request.headers)


def _claim() -> users.Claim | None:
    """The token that the request shows, as far as it shows one."""
    if "Authorization" not in request.headers and _shows_token():
        return users.Claim.read(f"{request.headers[ALPACA_KEY]}.{request.headers.get(ALPACA_SECRET, '')}")
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return users.Claim.read(token.strip()) if scheme.lower() == "bearer" else None


def _bearer(claim: users.Claim | None, holder: users.TokenHolder | None) -> Actor:
    if claim is None or holder is None:
        bounds().failed(claim)
        raise Refusal(HTTPStatus.UNAUTHORIZED, "this token is unknown or has been revoked", headers=CHALLENGE)
    bounds().held(claim)
    if holder.is_suspended:
        raise Refusal(HTTPStatus.FORBIDDEN, ACCOUNT_SUSPENDED, SUSPENDED)
    return Actor(
        holder.name, holder.role, g.request_id, holder.account_id, holder.allow_live, token_id=holder.token_id
    )


def _require(who: Actor, right: Act) -> None:
    if not may(who.role, right):
        raise Refusal(HTTPStatus.FORBIDDEN, f"the role {who.role} may not do this ({right.replace('_', ' ')})")


def _unauthenticated() -> Response:
    if wants_json():
        raise Refusal(
            HTTPStatus.UNAUTHORIZED,
            "sign in, or send a token: Authorization: Bearer ID.SECRET",
            headers=CHALLENGE,
        )
    back_to = None
    if request.method == "GET":
        back_to = request.full_path.rstrip("?")
    else:
        flash("Nothing was changed: your session had ended. Sign in and try again.", "error")
    answer = redirect(url_for("sessions.login", next=back_to), HTTPStatus.SEE_OTHER)
    return Response(answer.get_data(), answer.status_code, headers=answer.headers)


def _must_change_password() -> Response:
    """A person who signed in with a password that another person set may do nothing else before."""
    if wants_json():
        raise Refusal(
            HTTPStatus.FORBIDDEN,
            "change your password first: another person set it, or removed your second factor",
            "password_change_required",
        )
    answer = redirect(url_for("account.password_page"), HTTPStatus.SEE_OTHER)
    return Response(answer.get_data(), answer.status_code, headers=answer.headers)


def register(app: Flask) -> None:
    app.config["SESSION_COOKIE_NAME"] = cookies.session_name(str(app.secret_key))
    app.session_interface = Sessions()
    app.before_request(_check)
