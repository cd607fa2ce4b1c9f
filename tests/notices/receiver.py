"""Somebody who is told, on a port of this machine, and can be told how to behave: to take what comes, to answer
with an error, to hang, to answer a byte at a time, to be away."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Receiver:
    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []  # those that it took
        self.knocks = 0  # all that came, taken or not
        self.answers = 200
        self.hangs = False
        self.trickles = False
        self.let_go = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                with suppress(OSError):
                    receiver.answer(self)

            def log_message(self, *words: object) -> None:
                """It is quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        said = json.loads(request.rfile.read(int(request.headers["Content-Length"])))
        self.knocks += 1
        if self.hangs:
            self.let_go.wait(120)
            return
        if self.trickles:
            request.wfile.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
            while not self.let_go.wait(0.2):
                request.wfile.write(b"x")
            return
        if self.answers == 200:
            self.messages.append(said)
        request.send_response(self.answers)
        request.send_header("Content-Length", "0")
        request.end_headers()

    def url(self, path: str = "hook") -> str:
        return f"json://127.0.0.1:{self.port}/{path}"

    @property
    def titles(self) -> list[str]:
        return [message["title"] for message in self.messages]


@contextmanager
def receiving() -> Iterator[Receiver]:
    receiver = Receiver()
    thread = threading.Thread(target=receiver.server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        receiver.let_go.set()
        receiver.server.shutdown()
        receiver.server.server_close()
        thread.join()
