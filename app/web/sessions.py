"""The sign-in page, and signing out."""

from __future__ import annotations

import secrets
from http import HTTPStatus
from typing import Any

from flask import Blueprint, Response, current_app, g, redirect, render_template, request, session, url_for
from flask_wtf.csrf import CSRFError
from itsdangerous import BadSignature, URLSafeSerializer

from app import sign_in
from app.forms import SignInForm
from app.web.errors import csrf_error
from app.web.guard import SESSION_KEY, actor

blueprint = Blueprint("sessions", __name__)

DEVICE_COOKIE = "countersign_device"
DEVICE_SECONDS = 180 * 24 * 3600
MOST_NAMES_ON_A_DEVICE = 10
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
        )
    except sign_in.TooManyTries as error:
        headers = {"Retry-After": str(error.retry_after)}
        return _login_page(form, error.detail), HTTPStatus.TOO_MANY_REQUESTS, headers
    if result is None:
        return _login_page(form, "The name or the password is wrong."), HTTPStatus.UNAUTHORIZED
    person, secret = result
    session.clear()  # a session id or CSRF token that someone planted before is worth nothing afterwards
    session[SESSION_KEY] = secret
    session.permanent = True
    response = redirect(_safe(request.form.get("next")), HTTPStatus.SEE_OTHER)
    devices = dict(list(devices.items())[-MOST_NAMES_ON_A_DEVICE + 1 :])
    devices.setdefault(person.name.lower(), secrets.token_urlsafe(16))
    response.set_cookie(
        DEVICE_COOKIE,
        _device_signer().dumps(devices),
        max_age=DEVICE_SECONDS,
        path=url_for("sessions.login"),
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
def _stale_form(error: CSRFError) -> Answer:
    """A sign-in page that lay open too long is shown anew, rather than an error page."""
    if request.endpoint != "sessions.post_login":
        return csrf_error(error)
    return _login_page(SignInForm(), "This page was open for too long: please sign in again."), 400


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
        marks = _device_signer().loads(request.cookies.get(DEVICE_COOKIE, ""))
    except BadSignature:
        return {}
    return marks if isinstance(marks, dict) else {}
