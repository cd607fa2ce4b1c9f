"""Every request has an id, by which its answer, its lines in the log and its events on the record find each other,
and a line and a count of its own when it is answered."""

from __future__ import annotations

import re
from time import perf_counter

from flask import Flask, Request, Response, g, request

from app.lib import logs, metrics
from app.web.http import errors

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
# Files and probes come by the dozen and say nothing, as long as they are answered as they should be.
QUIET = frozenset({"static", "health.healthz", "health.readyz", "metrics.get_metrics"})
LONGEST = 300  # characters of a path
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def _name_request() -> None:
    kept = g._get_current_object()  # each `g` looks it up anew, and this is on the path of an order
    kept.began = perf_counter()
    given = request.headers.get("X-Request-ID", "")
    kept.request_id = logs.request_id_of_client(given) if REQUEST_ID.fullmatch(given) else logs.own_request_id()
    logs.request_id.set(kept.request_id)


def _note(response: Response) -> Response:
    status = response.status_code
    metrics.answered(status)
    asked: Request = request._get_current_object()  # type: ignore[attr-defined]
    kept = g._get_current_object()
    outages = errors.outages()
    if outages.is_on and status < 500 and (asked.endpoint == "health.readyz" or kept.get("actor") is not None):
        outages.succeeded()
    if status < 400 and asked.endpoint in QUIET:
        return response
    if status == 503 and kept.get("database_outage"):
        return response  # counted by the log of the outage, in a few lines for all of them
    actor = kept.get("actor")
    # Not the query, which may say whom or what somebody looked for; of a sign-in nothing that was typed.
    logs.request(
        "info" if status < 500 else "error",
        path=asked.path[:LONGEST],
        actor=actor.name if actor is not None else None,
        address=asked.remote_addr,
        method=asked.method if asked.method in METHODS else "?",
        status=status,
        ms=round((perf_counter() - kept.began) * 1000, 2),
    )
    return response


def register(app: Flask) -> None:
    app.before_request(_name_request)
    app.after_request(_note)
