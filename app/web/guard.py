"""The one door: who is asking, whether they may, and whether a browser was tricked into asking."""

from __future__ import annotations

from http import HTTPStatus

from flask import Flask, Request, Response, flash, g, redirect, request, session, url_for
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface

from app import accounts, sign_in
from app.desk.actor import Actor
from app.domain.roles import Act, may
from app.extensions import csrf
from app.web.errors import Refusal, wants_json
from app.web.permissions import Open, right_for

SESSION_KEY = "sid"
CHALLENGE = {"WWW-Authenticate": 'Bearer realm="countersign"'}


class Sessions(SecureCookieSessionInterface):
    """Flask's signed cookie, marked Secure whenever the browser came by TLS."""

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        # Programs have no cookie, and looking for one takes as long as looking their token up.
        return super().open_session(app, request) if "Cookie" in request.headers else self.session_class()

    def get_cookie_secure(self, app: Flask) -> bool:
        return request.is_secure


def actor() -> Actor:
    """Who acts in this request. Only for routes that are not open to anybody."""
    found: Actor = g.actor
    return found


def actor_still() -> Actor:
    """`actor()`, looked up anew: for a request that waited while its credential may have been revoked."""
    found = _who()
    if found is None or found.account_id != actor().account_id:
        raise Refusal(HTTPStatus.UNAUTHORIZED, "this session has ended", headers=CHALLENGE)
    return found


def _check() -> Response | None:
    if request.url_rule is None:
        return None  # 404 or 405, said in a moment
    right = right_for(request.method, request.url_rule.rule)
    if right is None:
        raise Refusal(HTTPStatus.FORBIDDEN, "this route is not in the table of permissions")
    if right is Open.NO_CREDENTIAL:
        return None
    g.actor = _who()
    if right is not Open.ANYBODY:
        if g.actor is None:
            return _unauthenticated()
        if isinstance(right, Act) and not may(g.actor.role, right):
            raise Refusal(
                HTTPStatus.FORBIDDEN, f"the role {g.actor.role} may not do this ({right.replace('_', ' ')})"
            )
    # A Bearer token is proof by itself, unless a cookie comes along: then a browser may be asking.
    if "Authorization" not in request.headers or request.cookies:
        csrf.protect()
    return None


def _who() -> Actor | None:
    authorization = request.headers.get("Authorization")
    if authorization is not None:
        scheme, _, token = authorization.partition(" ")
        holder = accounts.holder_of(token.strip()) if scheme.lower() == "bearer" else None
        if holder is None:
            # Never fall back to the cookie: who shows a credential is told that it is not accepted.
            raise Refusal(HTTPStatus.UNAUTHORIZED, "this token is unknown or has been revoked", headers=CHALLENGE)
        return Actor(holder.name, holder.role, g.request_id, holder.account_id, holder.allow_live)
    secret = session.get(SESSION_KEY)
    person = sign_in.signed_in(secret) if isinstance(secret, str) else None
    if person is None:
        return None
    return Actor(person.name, person.role, g.request_id, person.account_id)


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


def register(app: Flask) -> None:
    app.session_interface = Sessions()
    app.before_request(_check)
