"""Errors: RFC 9457 problem details for programs, a page for people."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from http import HTTPStatus

import psycopg
from flask import Flask, Response, current_app, g, render_template, request
from flask_wtf.csrf import CSRFError
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from werkzeug.exceptions import HTTPException

from app.lib import strict_json
from app.lib.outages import OutageLog
from app.services.errors import Conflict, DeskError, Forbidden, Invalid, NotFound, Stale, TooManyTries
from app.web.alpaca import serializers
from app.web.security.same_origin import CrossOrigin

STATUS: Mapping[type[DeskError], HTTPStatus] = {
    Forbidden: HTTPStatus.FORBIDDEN,
    NotFound: HTTPStatus.NOT_FOUND,
    Conflict: HTTPStatus.CONFLICT,
    Stale: HTTPStatus.PRECONDITION_FAILED,
    Invalid: HTTPStatus.UNPROCESSABLE_ENTITY,
    TooManyTries: HTTPStatus.TOO_MANY_REQUESTS,
}

CODES: Mapping[int, str] = {
    400: "bad_request",
    401: "unauthenticated",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    408: "body_too_slow",
    413: "body_too_large",
    414: "uri_too_long",
    415: "unsupported_media_type",
    417: "expectation_failed",
    428: "precondition_required",
    431: "headers_too_large",
    500: "internal_error",
}

# PostgreSQL's classes of errors that mean "not now": resources, operator intervention, locks, time-outs, and a
# server that is read only because another one is the primary.
PASSING = ("08", "53", "57", "55P03", "40", "25P03", "25006")
# And those of them where it is there, and rolled back what waited too long, stalled, or stood in another's way.
ROLLED_BACK = ("55P03", "57014", "25P03", "40001", "40P01")

BUSY = "the desk is busy: nothing was changed, try again"
# Where the connection broke at the commit, it is not known whether there was one.
NO_DATABASE = (
    503,
    "the database cannot be reached: nothing is released; look again before you repeat this",
    "database_unavailable",
)
LATELY = 10.0  # seconds
ALPACA_PATH = re.compile(r"/v[1-9](beta[1-9])?([/:]|$)", re.ASCII)
UNTIL_THEN = "Until it is back nothing is released, and nothing can be changed."
# Where the status says too little to a person.
TITLES: Mapping[str, str] = {"database_unavailable": "The database is down", "busy": "The desk is busy"}


class Outages:
    """The log of requests that the database kept from being answered, in this process."""

    def __init__(self, logger: logging.Logger, clock: Callable[[], float] = time.monotonic) -> None:
        log = partial(OutageLog, logger, level=logging.ERROR, clock=clock)
        self.database = log("requests get 503, the database does not answer")
        self.busy = log("requests get 503, the database is busy")

    @property
    def is_on(self) -> bool:
        return self.database.is_on or self.busy.is_on

    def succeeded(self) -> None:
        """A request was answered that took the database."""
        self.database.succeeded()
        self.busy.succeeded()


def outages() -> Outages:
    """Those of this application."""
    found: Outages = current_app.extensions["outages"]
    return found


class Refusal(Exception):
    """An answer of the web itself: a status with its words."""

    def __init__(
        self,
        status: HTTPStatus,
        detail: str,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.code = code
        self.headers = headers or {}


def problem(
    status: int,
    detail: str,
    code: str | None = None,
    *,
    errors: Mapping[str, Sequence[str]] | None = None,
    headers: Mapping[str, str] | None = None,
    more: Mapping[str, object] | None = None,
) -> Response:
    """A problem+json answer, or a page saying the same where a person is looking."""
    if at_the_door():
        text, kind = strict_json.dumps(serializers.error(status, detail, code)), "application/json"
    elif wants_json():
        body = problem_body(status, detail, code) | ({"errors": errors} if errors else {}) | dict(more or {})
        text, kind = strict_json.dumps(body), "application/problem+json"
    else:
        # What was to be changed is for a person to look at first.
        again = request.full_path.rstrip("?") if status == 503 and request.method == "GET" else None
        text = render_template(
            "error.html",
            status=status,
            title=TITLES.get(code or "", HTTPStatus(status).phrase),
            detail=detail[:1].upper() + detail[1:]
            if again is None or code != "database_unavailable"
            else UNTIL_THEN,
            request_id=g.get("request_id", ""),
            again=again,
        )
        kind = "text/html; charset=utf-8"
    return Response(text, status, headers=dict(headers or {}), content_type=kind)


def problem_body(status: int, detail: str, code: str | None = None) -> dict[str, object]:
    """The members that every problem has."""
    return {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code or CODES.get(status, "refused"),
    }


def wants_json() -> bool:
    """Programs use /api, the Alpaca door and a few routes beside them; everything else is for people."""
    path = request.path
    return path.startswith("/api") or at_the_door() or path in ("/openapi.json", "/healthz", "/readyz", "/metrics")


def takes_no_other_query() -> bool:
    """Whether unknown query parameters are refused. Probes and scrapers may send their own."""
    return wants_json() and request.path not in ("/healthz", "/readyz", "/metrics")


def at_the_door() -> bool:
    """Whether a bot asks that speaks one of Alpaca's APIs; only version 2 of the Trading API is served."""
    return ALPACA_PATH.match(request.path) is not None


def desk_error(error: DeskError) -> Response:
    errors = error.errors if isinstance(error, Invalid) else None
    headers = {"Retry-After": str(error.retry_after)} if isinstance(error, TooManyTries) else None
    return problem(status_of(error), error.detail, error.code, errors=errors, headers=headers, more=error.more)


def status_of(error: DeskError) -> HTTPStatus:
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def _refusal(error: Refusal) -> Response:
    return problem(error.status, error.detail, error.code, headers=error.headers)


def _http_error(error: HTTPException) -> Response:
    # A redirect is an HTTPException too, and so is an answer that was made elsewhere.
    response = error.get_response()
    if error.code is None or error.code < 400:
        return Response(response.get_data(), error.code or 200, headers=response.headers)
    if error.code in (404, 405) and at_the_door() and (said := serializers.not_served(request.path)):
        return problem(404, said)
    headers = {name: value for name, value in response.headers if name in ("Allow", "Retry-After")}
    return problem(error.code, error.description or HTTPStatus(error.code).phrase, headers=headers)


def csrf_error(error: CSRFError) -> Response:
    return problem(403, f"{error.description} Reload the page and try again.", "csrf_failed")


def _cross_origin(error: CrossOrigin) -> Response:
    return problem(HTTPStatus.FORBIDDEN, str(error), "cross_origin")


def _database_error(error: DBAPIError | psycopg.Error) -> Response:
    answer = database_problem(error)
    return _unexpected(error) if answer is None else problem(*answer, headers={"Retry-After": "1"})


def database_problem(error: DBAPIError | psycopg.Error) -> tuple[int, str, str] | None:
    """Status, words and code where the database says "not now"; None where the mistake is ours."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    state = getattr(cause, "sqlstate", None) or ""
    if not (isinstance(cause, psycopg.OperationalError) or state.startswith(PASSING)):
        return None
    if state in ROLLED_BACK:
        outages().busy.failed(cause)
        return 503, BUSY, "busy"
    current_app.extensions["no_database_at"] = time.monotonic()
    outages().database.failed(cause)
    g.database_outage = True
    return NO_DATABASE


def no_connection(error: PoolTimeout) -> tuple[int, str, str]:
    """The same where no connection is free. Of a database that hangs all are taken by those who wait for it."""
    lately = time.monotonic() - current_app.extensions.get("no_database_at", -LATELY) < LATELY
    if lately:
        outages().database.failed(error)
        g.database_outage = True
        return NO_DATABASE
    outages().busy.failed(f"no database connection is free: {error}")
    return 503, BUSY, "busy"


def _no_connection(error: PoolTimeout) -> Response:
    return problem(*no_connection(error), headers={"Retry-After": "1"})


def _unexpected(error: Exception) -> Response:
    current_app.logger.exception("unexpected error in request %s", g.get("request_id", "-"), exc_info=error)
    return problem(500, "something went wrong on our side; the log has it under the request id")


def register(app: Flask) -> None:
    app.extensions["outages"] = Outages(app.logger)
    app.register_error_handler(DeskError, desk_error)
    app.register_error_handler(Refusal, _refusal)
    app.register_error_handler(CSRFError, csrf_error)
    app.register_error_handler(CrossOrigin, _cross_origin)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(DBAPIError, _database_error)
    app.register_error_handler(psycopg.Error, _database_error)
    app.register_error_handler(PoolTimeout, _no_connection)
    app.register_error_handler(Exception, _unexpected)
