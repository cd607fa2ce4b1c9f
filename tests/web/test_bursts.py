"""Hundreds of requests at the same moment, on the real server: whoever comes after them to halt does not wait for
all of them."""

from __future__ import annotations

import json
import math
import socket
from collections import Counter
from contextlib import ExitStack

import pytest

from tests.at_once import API, Caller, in_time, timed, until
from tests.serving import Server
from tests.web.orders import order

CROWD = 1000  # connections, each with an order of one engine


def posting(token: str) -> bytes:
    body = json.dumps(order()).encode()
    lines = [f"POST {API}/orders HTTP/1.1", "Host: desk", "Connection: close", "Content-Type: application/json"]
    lines += [f"Authorization: Bearer {token}", f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode() + body


@pytest.mark.alone
def test_a_halt_passes_a_thousand_orders_of_one_engine(server: Server) -> None:
    host, port = server.url.removeprefix("http://").split(":")

    def sitting() -> float:
        server.reset()
        engine, person = (
            server.add_token("engine", "engine"),
            Caller(server.url, server.add_token("p", "operator")),
        )
        with ExitStack() as all_of_them:
            crowd = [
                all_of_them.enter_context(socket.create_connection((host, int(port)), timeout=60))
                for _ in range(CROWD)
            ]
            for connection in crowd:
                connection.sendall(posting(engine))
            took, halt = timed(lambda: person.put("/mode", {"trading_mode": "disabled"}))
            assert halt.status in (200, 503), halt.text
            assert_answered(server, crowd)
        return took if halt.status == 200 else math.inf  # a machine that stands still may cut it off

    in_time(sitting)


def assert_answered(server: Server, crowd: list[socket.socket]) -> None:
    """Each, with what is true; and nothing is decided that was not answered."""
    said = Counter(connection.makefile("rb").readline()[9:12].decode() for connection in crowd)
    assert set(said) <= {"201", "429", "503"}
    assert said["201"] >= 200  # of one credential at once
    until(lambda: server.sql("SELECT count(*) FROM orders") == [(said["201"],)])
