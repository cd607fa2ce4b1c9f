"""Whether the process answers, and whether its database does."""

from __future__ import annotations

from flask import Blueprint, Response
from sqlalchemy import text

from app.desk.transaction import reading
from app.web.body import answer

blueprint = Blueprint("health", __name__)


@blueprint.get("/healthz")
def healthz() -> Response:
    """The process answers."""
    return answer({"status": "ok"})


@blueprint.get("/readyz")
def readyz() -> Response:
    """The database answers, with the tables in it."""
    with reading() as database:
        database.execute(text("SELECT 1 FROM risk_configs LIMIT 1"))
    return answer({"status": "ok"})
