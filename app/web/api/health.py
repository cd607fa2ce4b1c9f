"""Whether the process answers, and whether its database does."""

from __future__ import annotations

from http import HTTPStatus

from flask import Blueprint, Response, current_app

from app.db.transaction import look_up
from app.web.http.errors import Refusal
from app.web.http.request import answer

blueprint = Blueprint("health", __name__)


@blueprint.get("/healthz")
def healthz() -> Response:
    """The process answers."""
    return answer({"status": "ok"})


@blueprint.get("/readyz")
def readyz() -> Response:
    """The database answers, with the tables in it, and it can be written to: a standby decides nothing. Soon it
    says no where the database hangs.

    It also says who leads the background jobs, as far as this worker knows. Without a leader nothing is decided
    differently, so that alone is no reason to send requests elsewhere."""
    found = look_up("SELECT pg_is_in_recovery() FROM risk_configs LIMIT 1", {})
    if found == (True,):
        raise Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "this database is a standby", "database_unavailable")
    return answer({"status": "ok", "leader": current_app.extensions["election"].details()})
