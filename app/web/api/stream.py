"""The stream: tells every open page that something changed, and nothing of what."""

from __future__ import annotations

import socket
from http import HTTPStatus

from flask import Blueprint, Response, request

from app.services.live import changes
from app.services.live.listener import hub
from app.web.http.errors import Refusal
from app.web.security.auth import actor
from app.web.security.permissions import API

EVENTS = "text/event-stream"
HEADERS = {"X-Accel-Buffering": "no"}  # or nginx would keep events back

blueprint = Blueprint("stream", __name__, url_prefix=API)


@blueprint.get("/stream")
def get_stream() -> Response:
    """Server-sent events until the credential ends, the worker stops, or the database is away.

    A stream holds no pooled connection. `app/services/live/streams.py` makes its events, and
    `app/services/live/listener.py` says when there is one.
    """
    if request.method == "HEAD":
        return Response(headers=HEADERS, content_type=EVENTS)
    stream = hub().stream(actor())
    if stream is None:
        raise Refusal(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "no more streams can be opened now: read /state now and then, and try again later",
            "busy",
            {"Retry-After": "10"},
        )
    try:
        stream.greet(changes.version())  # read after opening: later changes are sent
    except BaseException:
        stream.close()
        raise
    connection = request.environ.get("gunicorn.socket")
    if connection is not None:
        stream.is_broken = lambda: bool(connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
    return Response(stream, headers=HEADERS, content_type=EVENTS)
