"""Bodies that never end, and bodies that make no sense: an answer within bounds, and the connection ends.

What the server does with its connections is seen only on the real server.
"""

from __future__ import annotations

import math
import select
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress

import pytest
from flask import Flask

from tests.at_once import Caller, in_time, timed
from tests.conftest import API
from tests.serving import Desk, Server
from tests.web.conftest import Browser

JSON = "Content-Type: application/json"
FORM = "Content-Type: application/x-www-form-urlencoded"
# As the contract has them, and not as the code that is tested here does.
BODY_WITHIN = 10  # seconds
LARGEST_FORM = 64 * 1024  # bytes
STALLED = 2100  # more than the connections that gunicorn gives two workers by itself

Opener = Callable[[bytes], socket.socket]


@pytest.fixture
def opened(server: Server) -> Iterator[Opener]:
    """`opened(data)` is a connection on which this much was said; all are closed in the end."""
    host, port = server.url.removeprefix("http://").split(":")
    with ExitStack() as all_of_them:

        def connection(data: bytes) -> socket.socket:
            made = all_of_them.enter_context(socket.create_connection((host, int(port)), timeout=BODY_WITHIN + 10))
            made.sendall(data)
            return made

        yield connection


def head(method: str, path: str, *lines: str) -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: desk", *lines, "", ""]).encode()


def answer_on(connection: socket.socket) -> bytes:
    """All that is said until the server closes; raises TimeoutError if it does not."""
    said = b""
    with suppress(ConnectionResetError):
        while piece := connection.recv(65_536):
            said += piece
    return said


def still_open(connection: socket.socket) -> bool:
    """Neither answered nor hung up."""
    connection.setblocking(False)
    with suppress(BlockingIOError):
        connection.recv(1)
        return False
    return True


def bearer(server: Server, role: str = "operator") -> str:
    return f"Authorization: Bearer {server.add_token(f'some-{role}', role)}"


def assert_ended(answer: bytes, status: int, kind: bytes) -> None:
    top = answer.partition(b"\r\n\r\n")[0].lower()
    assert top.startswith(b"http/1.1 %d " % status), answer
    assert b"content-type: " + kind in top
    assert b"connection: close" in top
    assert answer.count(b"HTTP/1.1 ") == 1


class TestABodyThatStalls:
    def test_is_answered_after_a_while_and_its_connection_ends(self, server: Server, opened: Opener) -> None:
        who, engine = bearer(server), bearer(server, "engine")
        cut = "Content-Length: 100"
        started = time.monotonic()
        stalled = [
            (opened(head("PUT", f"{API}/mode", who, JSON, cut) + b'{"trading_'), b"application/problem+json"),
            (opened(head("PUT", f"{API}/mode", who, JSON, cut)), b"application/problem+json"),
            (opened(head("POST", f"{API}/orders", engine, JSON, cut) + b"{"), b"application/problem+json"),
            (
                opened(head("PUT", f"{API}/mode", who, JSON, "Transfer-Encoding: chunked") + b"5\r\n{"),
                b"application/problem+json",
            ),
            (opened(head("POST", "/login", FORM, cut) + b"name=a"), b"text/html"),
            (opened(head("POST", "/login", FORM, "Transfer-Encoding: chunked") + b"5\r\nn"), b"text/html"),
            (opened(head("POST", "/trading/halt", who, FORM, cut)), b"text/html"),
        ]
        trickling = opened(head("POST", "/login", FORM, cut))
        while not select.select([trickling], [], [], 1)[0]:  # never silent for long
            trickling.sendall(b"x")
            assert time.monotonic() - started < BODY_WITHIN + 8
        for connection, kind in [*stalled, (trickling, b"text/html")]:
            assert_ended(answer_on(connection), 408, kind)
        assert BODY_WITHIN - 1 < time.monotonic() - started < BODY_WITHIN + 8
        assert server.sql("SELECT version, trading_mode FROM risk_configs") == [(1, "paper")]

    @pytest.mark.alone
    @pytest.mark.parametrize(
        "stalled",
        [head("POST", "/login", FORM, "Content-Length: 100"), b"POST /login HTTP/1.1\r\nHost: desk\r\n"],
        ids=["bodies", "heads"],
    )
    def test_leaves_room_for_a_stop(self, server: Server, opened: Opener, stalled: bytes) -> None:
        def sitting() -> float:
            server.reset()
            person = Caller(server.url, server.add_token("person", "operator"))
            crowd = [opened(stalled) for _ in range(STALLED)]
            took, answer = timed(lambda: person.put("/mode", {"trading_mode": "disabled"}))
            is_there = all(still_open(connection) for connection in crowd)
            for connection in crowd:
                connection.close()
            assert answer.status == 200
            return took if is_there else math.inf

        in_time(sitting)

    def test_so_does_a_head_that_does(self, opened: Opener) -> None:
        connection = opened(b"POST /login HTTP/1.1\r\nHost: desk\r\n")
        started = time.monotonic()
        assert answer_on(connection) == b""
        assert time.monotonic() - started < BODY_WITHIN


class TestChunksThatMakeNoSense:
    @pytest.mark.parametrize(
        "chunks",
        [
            b"zz\r\n",
            b"-1\r\n",
            b"\r\n",
            b"5\r\nabcdefgh\r\n0\r\n\r\n",
            b"5;\x00\r\nabcde\r\n0\r\n\r\n",
            b"0\r\nno trailer\r\n\r\n",
            b"1" * 9000,
        ],
    )
    @pytest.mark.parametrize(
        ("method", "path", "kind"),
        [
            ("POST", f"{API}/orders", JSON),
            ("PUT", f"{API}/mode", JSON),
            ("POST", f"{API}/approvals/decisions", JSON),
            ("POST", "/login", FORM),
            ("POST", "/login", "Content-Type: multipart/form-data; boundary=x"),
            ("POST", "/trading/halt", FORM),
        ],
    )
    def test_are_400(
        self, server: Server, opened: Opener, method: str, path: str, kind: str, chunks: bytes
    ) -> None:
        who = [] if path == "/login" else [bearer(server, "engine" if path.endswith("orders") else "operator")]
        answer = answer_on(opened(head(method, path, *who, kind, "Transfer-Encoding: chunked") + chunks))
        assert_ended(answer, 400, b"application/problem+json" if path.startswith("/api") else b"text/html")
        assert server.sql("SELECT version, trading_mode FROM risk_configs") == [(1, "paper")]

    def test_end_the_connection_before_anything_that_follows(self, server: Server, opened: Opener) -> None:
        """What follows may be another's: nobody knows where it begins."""
        who = bearer(server)
        body = b'{"trading_mode":"disabled"}'
        smuggled = head("PUT", f"{API}/mode", who, JSON, f"Content-Length: {len(body)}") + body
        answer = answer_on(
            opened(head("PUT", f"{API}/mode", who, JSON, "Transfer-Encoding: chunked") + b"zz\r\n" + smuggled)
        )
        assert_ended(answer, 400, b"application/problem+json")
        assert server.sql("SELECT trading_mode FROM risk_configs") == [("paper",)]


class TestFormsOfPages:
    @pytest.mark.parametrize("path", ["/login", "/trading/halt"])
    def test_are_of_sixty_four_kilobytes_at_most(
        self, browser: Callable[..., Browser], desk: Desk, path: str
    ) -> None:
        answer = browser("operator").post(path, name="x" * LARGEST_FORM)
        assert (answer.status_code, answer.mimetype) == (413, "text/html")
        assert desk.sql("SELECT trading_mode FROM risk_configs") == [("paper",)]

    def test_also_in_chunks(self, server: Server, opened: Opener) -> None:
        chunk = b"8000\r\n" + b"x" * 0x8000 + b"\r\n"
        lines = head("POST", "/login", FORM, "Transfer-Encoding: chunked", "Connection: close")
        assert answer_on(opened(lines + chunk * 3 + b"0\r\n\r\n")).startswith(b"HTTP/1.1 413 ")

    def test_just_below_are_read(self, stranger: Browser, app: Flask) -> None:
        answer = stranger.post("/login", name="nobody", password="x", more="x" * (LARGEST_FORM - 1000))
        assert answer.status_code == 401

    def test_that_were_cut_short_change_nothing(self, server: Server, opened: Opener) -> None:
        connection = opened(head("POST", "/trading/halt", bearer(server), FORM, "Content-Length: 100") + b"a=b")
        connection.shutdown(socket.SHUT_WR)
        assert answer_on(connection).startswith(b"HTTP/1.1 400 ")
        assert server.sql("SELECT trading_mode FROM risk_configs") == [("paper",)]
