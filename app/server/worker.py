"""The gunicorn worker class. It answers in JSON where gunicorn refuses a request before the application sees it.

gunicorn writes such errors (400, 414, 431 and others) as HTML. Under /api and /v2 a client expects the shape that
every other error has there.
"""

from __future__ import annotations

import contextlib
import socket
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

import gevent
from gunicorn import util  # type: ignore[import-untyped]
from gunicorn.workers.ggevent import GeventWorker  # type: ignore[import-untyped]

from app.lib import logs, strict_json
from app.web.alpaca import serializers
from app.web.http.errors import ALPACA_PATH, problem_body

START = 256  # bytes of a request that are remembered: enough for the method and the beginning of the path
# After the answer the rest of the request is read and dropped: to close the connection before would reset it, and
# the client might lose the answer.
DRAIN_SECONDS, DRAIN_BYTES = 1, 1024 * 1024
DETAILS = {
    400: "the request is not valid HTTP",
    403: "the request is not accepted",
    414: "the request line is too long",
    417: "the expectation in the request cannot be met",
    431: "the request's header fields are too many or too large",
    500: "something went wrong on our side",
}


class RecordingSocket:
    """A connection that remembers how the request on it begins: gunicorn does not tell the path of one that it
    cannot parse."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._is_answered = False
        self.start = b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def recv(self, *arguments: Any) -> bytes:
        data: bytes = self._connection.recv(*arguments)
        if self._is_answered:  # the next request on a connection that is kept alive
            self._is_answered, self.start = False, b""
        if len(self.start) < START:
            self.start += data[:START]
        return data

    def sendall(self, *arguments: Any) -> Any:
        self._is_answered = True
        return self._connection.sendall(*arguments)


class _Page:
    """Takes the place of the connection while gunicorn writes its error page."""

    def __init__(self) -> None:
        self.data = b""

    def gettimeout(self) -> float:
        return 0.0

    def sendall(self, data: bytes) -> None:
        self.data += data

    @property
    def status(self) -> int:
        return int(self.data.split(b" ", 2)[1])


class Worker(GeventWorker):
    def handle(self, listener: Any, client: Any, addr: Any) -> None:
        super().handle(listener, RecordingSocket(client), addr)

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        """gunicorn chooses the status and writes to the log; the answer is ours where programs ask."""
        request_id = logs.own_request_id()
        logs.request_id.set(request_id)
        page = _Page()
        super().handle_error(req, page, addr, exc)
        path = path_of(client.start)
        with contextlib.suppress(Exception):  # the client may be gone
            util.write_nonblock(client, as_json(path, page.status, request_id) or page.data)
            _drain(client)
        logs.request_id.set(logs.NOBODY)


def path_of(start: bytes) -> str:
    """The path that a request is for, by its first bytes; "" where they hold none."""
    parts = start.lstrip(b"\r\n").split(b"\r\n", 1)[0].split(b" ")
    target = parts[1].decode("latin-1") if len(parts) > 1 else ""
    if "://" in target.partition("?")[0]:  # a whole address, as for a proxy
        target = "/" + target.partition("://")[2].partition("/")[2]
    return unquote(target.partition("?")[0])


def as_json(path: str, status: int, request_id: str) -> bytes | None:
    """The whole answer; None where people ask, who see gunicorn's page."""
    # A transfer coding that is not known is the client's mistake, as every 4xx: 501 would read as ours.
    status = 400 if status == 501 else status
    detail = DETAILS.get(status, HTTPStatus(status).phrase)
    if ALPACA_PATH.match(path):
        kind, body = "application/json", serializers.error(status, detail)
    elif path.startswith("/api"):
        kind, body = "application/problem+json", problem_body(status, detail)
    else:
        return None
    content = strict_json.dumps(body).encode()
    head = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
        "Connection: close",
        f"Content-Type: {kind}",
        f"Content-Length: {len(content)}",
        "Cache-Control: no-store",
        "X-Content-Type-Options: nosniff",
        f"X-Request-ID: {request_id}",
    )
    return "\r\n".join((*head, "", "")).encode() + content


def _drain(client: Any) -> None:
    client.shutdown(socket.SHUT_WR)
    left = DRAIN_BYTES
    with gevent.Timeout(DRAIN_SECONDS, False):
        while left > 0 and (data := client.recv(64 * 1024)):
            left -= len(data)
