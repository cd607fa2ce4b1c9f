"""The sign-in page, and signing out."""

from __future__ import annotations

import secrets
from http import HTTPStatus
from typing import Any

import psycopg
from flask import Blueprint, Response, current_app, flash, g, redirect, render_template, request, session, url_for
from flask_wtf.csrf import CSRFError
from itsdangerous import BadSignature, URLSafeSerializer
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app.services.accounts import login as sign_in
from app.services.accounts import two_factor
from app.services.errors import Conflict, NotFound, TooManyTries
from app.web.forms.trading import CodeForm, SignInForm
from app.web.http.errors import csrf_error, database_problem, no_connection, problem
from app.web.pages.user_agent import browser_of
from app.web.security import cookies
from app.web.security.auth import SESSION_KEY, actor
from app.web.security.same_origin import CrossOrigin

blueprint = Blueprint("sessions", __name__)

STEP_KEY = "step"
DEVICE_SECONDS = 180 * 24 * 3600
MOST_NAMES_ON_A_DEVICE = 10
NOT_NOW = {
    "database_unavailable": "The database is down, so nobody can sign in. Try again in a moment.",
    "busy": "The desk is busy. Try again.",
}
# Causes of a refused CSRF token, by what Flask-WTF says where there is one.
NO_COOKIE = "The browser sent no cookie with this form. Allow cookies for this site, then"
ANOTHER_SESSION = "You signed in or out in another tab since this page was opened:"
TOKEN_REFUSED = {"The CSRF token is missing.": "The form came without its CSRF token:"}
Answer = Response | str | tuple[str, int]


@blueprint.get("/login")
def login() -> Any:
    if g.actor is not None:
        return redirect(_safe(request.args.get("next")), HTTPStatus.SEE_OTHER)
    return _login_page(SignInForm())


@blueprint.post("/login")
def post_login() -> Any:
    form = SignInForm(request.form)
    if not form.validate():
        return _login_page(form), HTTPStatus.UNPROCESSABLE_ENTITY
    devices = _devices()
    try:
        result = sign_in.sign_in(
            form.name.data,
            form.password.data,
            address=request.remote_addr or "",
            device_names=devices,
            request_id=g.request_id,
            replaces=session.get(SESSION_KEY),
            browser=browser_of(request.headers.get("User-Agent", "")),
        )
    except (DBAPIError, psycopg.Error, PoolTimeout) as error:
        said = no_connection(error) if isinstance(error, PoolTimeout) else database_problem(error)
        if said is None:
            raise
        return _login_page(form, NOT_NOW[said[2]]), said[0], {"Retry-After": "1"}
    except TooManyTries as error:
        headers = {"Retry-After": str(error.retry_after)}
        return _login_page(form, error.detail), HTTPStatus.TOO_MANY_REQUESTS, headers
    if result is None:
        return _login_page(form, "The name or the password is wrong."), HTTPStatus.UNAUTHORIZED
    if isinstance(result, sign_in.CodeNeeded):
        session.clear()
        session[STEP_KEY] = result.secret
        target = _safe(request.form.get("next"))
        return redirect(url_for("sessions.login_code", next=target), HTTPStatus.SEE_OTHER)
    return _welcome(*result, devices)


@blueprint.get("/login/code")
def login_code() -> Any:
    if STEP_KEY not in session:
        return redirect(url_for("sessions.login", next=request.args.get("next")), HTTPStatus.SEE_OTHER)
    return _code_page()


@blueprint.post("/login/code")
def post_login_code() -> Any:
    form = CodeForm(request.form)
    secret = session.get(STEP_KEY)
    if not isinstance(secret, str):
        return _begin_again()
    if not form.validate():
        return _code_page(f"Code {', '.join(form.code.errors)}."), HTTPStatus.UNPROCESSABLE_ENTITY
    devices = _devices()
    try:
        result = sign_in.finish(
            secret,
            form.code.data,
            address=request.remote_addr or "",
            device_names=devices,
            request_id=g.request_id,
            browser=browser_of(request.headers.get("User-Agent", "")),
        )
    except NotFound:
        return _begin_again()
    except TooManyTries as error:
        headers = {"Retry-After": str(error.retry_after)}
        return _code_page(_sentence(error.detail)), HTTPStatus.TOO_MANY_REQUESTS, headers
    except Conflict as error:
        return _code_page(_sentence(error.detail)), HTTPStatus.CONFLICT
    if result is None:
        return _code_page(_sentence(two_factor.WRONG)), HTTPStatus.UNAUTHORIZED
    return _welcome(*result, devices)


def _sentence(detail: str) -> str:
    return f"{detail[:1].upper()}{detail[1:]}."


def _begin_again() -> Any:
    session.pop(STEP_KEY, None)
    flash("That took too long: sign in again.", "error")
    return redirect(url_for("sessions.login", next=request.form.get("next")), HTTPStatus.SEE_OTHER)


def _code_page(error: str | None = None) -> str:
    return render_template("login_code.html", next=_safe(request.values.get("next")), error=error)


def _welcome(person: sign_in.SignedIn, secret: str, devices: dict[str, str]) -> Response:
    session.clear()  # a session id or CSRF token that someone planted before is worth nothing afterwards
    session[SESSION_KEY] = secret
    session.permanent = True
    target = redirect(_safe(request.form.get("next")), HTTPStatus.SEE_OTHER)
    response = Response(target.get_data(), target.status_code, headers=target.headers)
    devices = dict(list(devices.items())[-MOST_NAMES_ON_A_DEVICE + 1 :])
    devices.setdefault(person.name.lower(), secrets.token_urlsafe(16))
    response.set_cookie(
        cookies.device_name(),
        _device_signer().dumps(devices),
        max_age=DEVICE_SECONDS,
        path="/" if request.is_secure else url_for("sessions.login"),  # as `__Host-` demands
        secure=request.is_secure,
        httponly=True,
        samesite="Strict",
    )
    return response


@blueprint.post("/logout")
def logout() -> Any:
    secret = session.get(SESSION_KEY)
    if isinstance(secret, str):
        sign_in.sign_out(actor(), secret)
    session.clear()
    return redirect(url_for("sessions.login"), HTTPStatus.SEE_OTHER)


@blueprint.errorhandler(CSRFError)
def _refused_token(error: CSRFError) -> Answer:
    """Show the sign-in form again with the cause, rather than an error page."""
    if request.endpoint != "sessions.post_login":
        return csrf_error(error)
    name = cookies.with_prefix(current_app.config["SESSION_COOKIE_NAME"])
    cause = TOKEN_REFUSED.get(error.description or "", ANOTHER_SESSION) if name in request.cookies else NO_COOKIE
    return _login_page(SignInForm(), f"{cause} sign in again."), HTTPStatus.BAD_REQUEST


@blueprint.errorhandler(CrossOrigin)
def _refused_origin(error: CrossOrigin) -> Answer:
    if request.endpoint != "sessions.post_login":
        return problem(HTTPStatus.FORBIDDEN, str(error), "cross_origin")
    return _login_page(SignInForm(), f"Not signed in: {error}."), HTTPStatus.BAD_REQUEST


def _login_page(form: SignInForm, error: str | None = None) -> str:
    next_page = request.values.get("next", "")
    return render_template(
        "login.html", form=form, next=next_page if _safe(next_page) == next_page else "", error=error
    )


def _safe(target: str | None) -> str:
    """Where to go after signing in: a path of ours, never another site."""
    if (
        target
        and target.isascii()
        and target.isprintable()
        and target[0] == "/"
        and target[1:2] not in ("/", "\\")
    ):
        return target
    return url_for("pages.trading")


def _device_signer() -> URLSafeSerializer:
    return URLSafeSerializer(str(current_app.secret_key), salt="device")


def _devices() -> dict[str, str]:
    try:
        marks = _device_signer().loads(request.cookies.get(cookies.device_name(), ""))
    except BadSignature:
        return {}
    return marks if isinstance(marks, dict) else {}
