"""Requests that gunicorn refuses before the application sees them are answered in the shape of other errors."""

from __future__ import annotations

import json
import socket
from contextlib import closing

import pytest

from app.server.worker import path_of
from tests.conftest import API
from tests.serving import Server

LONG = "x" * 9000
# A request line or header that gunicorn refuses, `{}` being the path, and the status of the answer.
REFUSED = {
    "a long request line": ("GET {}?x=" + LONG + " HTTP/1.1\r\nHost: desk\r\n\r\n", 414),
    "a very long request line": ("GET {}?x=" + LONG * 50 + " HTTP/1.1\r\nHost: desk\r\n\r\n", 414),
    "a long header": ("GET {} HTTP/1.1\r\nHost: desk\r\nX-Long: " + LONG + "\r\n\r\n", 431),
    "many headers": ("GET {} HTTP/1.1\r\nHost: desk\r\n" + "X-Many: 1\r\n" * 200 + "\r\n", 431),
    "a header without a name": ("GET {} HTTP/1.1\r\nHost: desk\r\n: x\r\n\r\n", 400),
    "a folded header": ("GET {} HTTP/1.1\r\nHost: desk\r\nX-A: b\r\n c\r\n\r\n", 400),
    "a space in the path": ("GET {} x HTTP/1.1\r\nHost: desk\r\n\r\n", 400),
    "no such version": ("GET {} HTTP/9.9\r\nHost: desk\r\n\r\n", 400),
    "no such method": ("G@T {} HTTP/1.1\r\nHost: desk\r\n\r\n", 400),
    "a length that is no number": ("POST {} HTTP/1.1\r\nHost: desk\r\nContent-Length: x\r\n\r\n", 400),
    "a length of 5000 digits": (
        "POST {} HTTP/1.1\r\nHost: desk\r\nContent-Length: " + "9" * 5000 + "\r\n\r\n",
        400,
    ),
    "two lengths": ("POST {} HTTP/1.1\r\nHost: desk\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
    "a coding that is not known": ("POST {} HTTP/1.1\r\nHost: desk\r\nTransfer-Encoding: foo\r\n\r\n", 400),
    "an expectation": ("POST {} HTTP/1.1\r\nHost: desk\r\nExpect: magic\r\nContent-Length: 1\r\n\r\n", 417),
}


def connect(server: Server) -> socket.socket:
    host, port = server.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=20)


def answer(connection: socket.socket) -> tuple[int, dict[str, str], bytes]:
    said = b""
    while piece := connection.recv(65_536):
        said += piece
    head, _, body = said.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return int(status.split(" ")[1]), headers, body


def ask(server: Server, request: str) -> tuple[int, dict[str, str], bytes]:
    with closing(connect(server)) as connection:
        connection.sendall(request.encode("latin-1"))
        return answer(connection)


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_an_error_in_json_for_programs(server: Server, name: str) -> None:
    request, wanted = REFUSED[name]
    token = f"Authorization: Bearer {server.add_token('engine', 'engine')}"
    request = request.replace("Host: desk", f"Host: desk\r\n{token}", 1)
    status, headers, body = ask(server, request.replace("{}", f"{API}/orders"))
    problem = json.loads(body)
    assert (status, headers["content-type"], headers["connection"]) == (
        wanted,
        "application/problem+json",
        "close",
    )
    assert {"type", "title", "status", "detail", "code"} == set(problem)
    assert (problem["type"], problem["status"]) == ("about:blank", wanted)
    assert problem["detail"]
    assert problem["code"] not in ("", "refused")
    assert len(headers["x-request-id"]) == 16
    assert int(headers["content-length"]) == len(body)

    status, headers, body = ask(server, request.replace("{}", "/v2/orders"))
    error = json.loads(body)
    assert (status, headers["content-type"]) == (wanted, "application/json")
    assert set(error) == {"code", "message"}
    assert str(error["code"]).startswith(str(wanted))
    assert "set-cookie" not in headers


def test_people_see_a_page(server: Server) -> None:
    for path in ("/trading", "/", "/login"):
        status, headers, _ = ask(server, f"GET {path}?x={LONG} HTTP/1.1\r\nHost: desk\r\n\r\n")
        assert (status, headers["content-type"]) == (414, "text/html")
    status, headers, _ = ask(server, "nonsense\r\n\r\n")
    assert (status, headers["content-type"]) == (400, "text/html")


def test_a_length_that_no_body_can_have_is_no_error_of_the_server(server: Server) -> None:
    token = server.add_token("engine", "engine")
    for path in (f"{API}/orders", "/v2/orders"):
        with closing(connect(server)) as connection:
            head = (f"POST {path} HTTP/1.1", "Host: desk", f"Authorization: Bearer {token}")
            connection.sendall("\r\n".join((*head, f"Content-Length: {'9' * 400}", "", "")).encode())
            assert connection.recv(65_536).startswith(b"HTTP/1.1 413 ")


def test_the_path_is_that_of_the_request_that_is_refused(server: Server) -> None:
    with closing(connect(server)) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: desk\r\n\r\n")
        assert connection.recv(65_536).startswith(b"HTTP/1.1 200 ")
        connection.sendall(f"GET {API}/mode".encode())
        connection.sendall(f"?x={LONG} HTTP/1.1\r\nHost: desk\r\n\r\n".encode())
        status, headers, _ = answer(connection)
    assert (status, headers["content-type"]) == (414, "application/problem+json")


@pytest.mark.parametrize(
    ("start", "path"),
    [
        (b"GET /api/x?y=/v2/ HTTP/1.1\r\nHost: /v2/", "/api/x"),
        (b"GET http://desk/v2/orders?x=:// HTTP/1.1", "/v2/orders"),
        (b"GET /%61pi/x HTTP/1.1", "/api/x"),
        (b"\r\nGET /v2/orders", "/v2/orders"),
        (b"GET", ""),
        (b"", ""),
        (b"\x16\x03\x01 \xff\xfe", "\xff\xfe"),
    ],
)
def test_the_path_is_read_from_the_first_bytes(start: bytes, path: str) -> None:
    assert path_of(start) == path
