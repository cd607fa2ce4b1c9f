"""The stream: tells every open page that something changed, and nothing of what."""

from __future__ import annotations

import socket
from http import HTTPStatus

from flask import Blueprint, Response, request

from app.desk import news
from app.live import hub
from app.web.errors import Refusal
from app.web.guard import actor
from app.web.permissions import API

EVENTS = "text/event-stream"
HEADERS = {"X-Accel-Buffering": "no"}  # or nginx would keep events back

blueprint = Blueprint("stream", __name__, url_prefix=API)


@blueprint.get("/stream")
def get_stream() -> Response:
    """Server-sent events until the credential ends, the worker stops, or the database is away.

    No pool's connection is held meanwhile. What is told is in `app/streams.py`, and when in `app/live.py`.
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
        stream.greet(news.version())  # read after it was opened: what comes later is told
    except BaseException:
        stream.close()
        raise
    connection = request.environ.get("gunicorn.socket")
    if connection is not None:
        stream.is_broken = lambda: bool(connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
    return Response(stream, headers=HEADERS, content_type=EVENTS)
