"""What goes over the wire: an answer's head and body together, whatever kind of answer it is."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.serving import Server


class Wire:
    """A connection that notes what each packet brought."""

    def __init__(self, server: Server) -> None:
        host, port = server.url.removeprefix("http://").split(":")
        self.socket = socket.create_connection((host, int(port)), timeout=20)

    def ask(self, method: str, path: str, *headers: str) -> None:
        head = "\r\n".join((f"{method} {path} HTTP/1.1", "Host: desk", *headers, "", ""))
        self.socket.sendall(head.encode())

    def packet(self) -> bytes:
        return self.socket.recv(1_000_000)

    def close(self) -> None:
        self.socket.close()


@pytest.fixture
def wire(server: Server) -> Iterator[Wire]:
    with closing(Wire(server)) as made:
        yield made


def test_a_short_answer_comes_at_once(wire: Wire) -> None:
    wire.ask("GET", "/healthz")
    head, _, body = wire.packet().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert body == b'{"status":"ok"}'


def test_one_without_a_body_has_its_head_and_the_connection_goes_on(wire: Wire) -> None:
    for _ in range(3):
        wire.ask("HEAD", "/healthz")
        head, end, body = wire.packet().partition(b"\r\n\r\n")
        assert (head[:13], end, body) == (b"HTTP/1.1 200 ", b"\r\n\r\n", b"")
    wire.ask("GET", "/")
    assert wire.packet().startswith(b"HTTP/1.1 303 ")
    wire.ask("GET", "/healthz")
    assert wire.packet().endswith(b'{"status":"ok"}')


def test_a_file_is_whole(wire: Wire) -> None:
    wire.ask("GET", "/static/js/trading.js", "Connection: close")
    answer = b""
    while piece := wire.packet():
        answer += piece
    head, _, body = answer.partition(b"\r\n\r\n")
    [length] = [line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
    assert len(body) == int(length.split(b":")[1]) > 0


def test_a_stream_says_its_head_before_there_is_news(wire: Wire, server: Server) -> None:
    token = server.add_token("watcher", "viewer")
    wire.ask("GET", "/api/admin/trading/stream", f"Authorization: Bearer {token}")
    seen = b""
    while b"data:" not in seen and b"event:" not in seen:
        seen += wire.packet()
    assert seen.startswith(b"HTTP/1.1 200 ")
    assert b"\r\n\r\n" in seen
