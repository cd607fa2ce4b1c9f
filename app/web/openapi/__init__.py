"""The API document: OpenAPI 3.1, true to the code.

The schemas of request bodies are derived from the forms that read them, so the two cannot drift apart; a test
holds that the paths are those of the application, and Schemathesis that the answers are those described.
"""

from __future__ import annotations

from functools import cache

from flask import Blueprint, Response

from app.web.http.request import answer
from app.web.openapi.descriptions import Json
from app.web.openapi.paths import paths
from app.web.openapi.request_bodies import body_schemas
from app.web.openapi.responses import answer_schemas
from app.web.security.permissions import API

blueprint = Blueprint("openapi", __name__)


@blueprint.get("/openapi.json")
@blueprint.get(f"{API}/openapi.json", endpoint="openapi_under_api")
def openapi() -> Response:
    return answer(document())


@cache
def document() -> Json:
    """The whole document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Countersign",
            "version": "1",
            "description": "The operator's desk between trading engines and the broker. Bodies are read strictly:"
            " exact types (an integer is not 5.0), no unknown key, no duplicate key, no NaN."
            " Times are RFC 3339 in UTC, amounts and prices decimal strings. Errors are RFC 9457 problem details.",
            "contact": {"name": "Countersign"},
            "license": {"name": "Proprietary", "identifier": "LicenseRef-Proprietary"},
        },
        "servers": [{"url": "/"}],
        "security": [{"bearer": []}, {"session": []}],
        "tags": [
            {"name": "rules", "description": "What the gate decides by."},
            {"name": "orders", "description": "What engines send, and what becomes of it."},
            {"name": "approvals", "description": "Orders that wait for a person."},
            {"name": "desk", "description": "The desk as a whole, and its record."},
        ],
        "paths": paths(),
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "ID.SECRET of a token"},
                "session": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": "countersign_session_TAG",
                    "description": "Set by signing in. TAG differs for each instance; over HTTPS the name begins"
                    " with `__Host-`.",
                },
                "csrf": {"type": "apiKey", "in": "header", "name": "X-CSRFToken"},
            },
            "schemas": answer_schemas() | body_schemas(),
        },
    }
