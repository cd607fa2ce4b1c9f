"""How a worker sends an answer: its head and its body at once.

gunicorn sends them one after the other, which costs an order two packets, two calls of the system, and whoever
waits for the answer two awakenings.
"""

from __future__ import annotations

from typing import Any

from gunicorn import util  # type: ignore[import-untyped]
from gunicorn.http import wsgi  # type: ignore[import-untyped]


class _Held:
    """Takes the place of the connection while the head is written."""

    def __init__(self) -> None:
        self.head = b""

    def sendall(self, data: bytes) -> None:
        self.head += data


class Answer(wsgi.Response):
    """The head waits for what comes first of the body, or for the end."""

    sock: Any
    _head = b""

    def send_headers(self) -> None:
        if self.headers_sent:
            return
        connection, held = self.sock, _Held()
        self.sock = held
        try:
            super().send_headers()
        finally:
            self.sock = connection
        self._head = held.head

    def _emit_body(self, data: bytes) -> None:
        if self.chunked:
            self._let_go()
            super()._emit_body(data)
        else:
            head, self._head = self._head, b""
            util.write(self.sock, head + data)

    def sendfile(self, respiter: Any) -> bool:
        self.send_headers()
        self._let_go()
        return bool(super().sendfile(respiter))

    def close(self) -> None:
        self.send_headers()
        self._let_go()
        super().close()

    def _let_go(self) -> None:
        if self._head:
            head, self._head = self._head, b""
            util.write(self.sock, head)


def install() -> None:
    """From now on gunicorn's workers answer so."""
    wsgi.Response = Answer
