"""Hundreds of wrong sign-ins at the same moment do not delay other people's correct ones, on the real server."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlencode

import httpx
import pytest
from flask import Flask
from sqlalchemy.engine import URL

from tests.serving import Server, serve

FLOOD = 300
ATTACKER, OFFICE, ELSEWHERE = "198.51.100.7", "198.51.100.7", "192.0.2.1"


class Visitor:
    """A browser at an address, on the sign-in page."""

    def __init__(self, server: Server, address: str) -> None:
        self.client = httpx.Client(base_url=server.url, headers={"X-Forwarded-For": address}, timeout=30)

    def __enter__(self) -> Visitor:
        return self

    def __exit__(self, *error: object) -> None:
        self.client.close()

    def open_page(self) -> str:
        [token] = re.findall('name="csrf_token" value="([^"]+)"', self.client.get("/login").text)
        return token

    def sign_in(self, token: str, name: str, password: str) -> int:
        form = {"csrf_token": token, "name": name, "password": password}
        return self.client.post("/login", data=form).status_code


@pytest.fixture
def proxied(app: Flask, database: URL, desk: object, tmp_path: Path) -> Iterator[Server]:
    """The real server behind a proxy, so that clients have different addresses."""
    with serve(app, database, tmp_path, settings={"TRUSTED_PROXIES": "1"}) as server:
        yield server


def wrong_sign_in(visitor: Visitor, token: str, name: str) -> bytes:
    body = urlencode({"csrf_token": token, "name": name, "password": "wrong"})
    cookies = "; ".join(f"{cookie}={value}" for cookie, value in visitor.client.cookies.items())
    lines = ["POST /login HTTP/1.1", "Host: desk", "Connection: close", f"Cookie: {cookies}"]
    lines += [f"X-Forwarded-For: {ATTACKER}", "Content-Type: application/x-www-form-urlencoded"]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", body]).encode()


@pytest.mark.alone
def test_a_flood_from_one_address_delays_neither_others_nor_known_devices(proxied: Server) -> None:
    password = proxied.add_user("alice", "operator")
    host, port = proxied.url.removeprefix("http://").split(":")
    with ExitStack() as stack:
        known, new, attacker = (
            stack.enter_context(Visitor(proxied, address)) for address in (OFFICE, ELSEWHERE, ATTACKER)
        )
        assert known.sign_in(known.open_page(), "alice", password) == 303
        [csrf] = set(re.findall('name="csrf_token" value="([^"]+)"', known.client.get("/trading").text))
        assert known.client.post("/logout", data={"csrf_token": csrf}).status_code == 303
        visitors = [(known, known.open_page()), (new, new.open_page())]
        token = attacker.open_page()
        flood = [
            stack.enter_context(socket.create_connection((host, int(port)), timeout=60)) for _ in range(FLOOD)
        ]
        for number, connection in enumerate(flood):
            connection.sendall(wrong_sign_in(attacker, token, f"user{number}"))
        for visitor, page in visitors:
            began = time.monotonic()
            assert visitor.sign_in(page, "alice", password) == 303
            assert time.monotonic() - began < 1
        statuses = []
        for connection in flood:
            with connection.makefile("rb") as answer:
                statuses.append(answer.readline()[9:12].decode())
    assert set(statuses) == {"401", "429"}
    assert statuses.count("401") <= 30
