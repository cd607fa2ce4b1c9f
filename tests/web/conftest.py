"""Fixtures of the web tests: people in browsers, and what an error must look like."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.conftest import API, Api
from tests.serving import SESSION_COOKIE, Desk
from tests.web.orders import HOLDS, configure

TOKEN = re.compile(r'name="csrf[-_]token" (?:content|value)="([^"]+)"')
HOME = "http://localhost"


def csrf_token_in(page: str) -> str:
    found = TOKEN.search(page)
    assert found is not None
    return found[1]


class Browser:
    """A person's browser: it keeps cookies, and sends forms with the CSRF token of the page before."""

    def __init__(self, app: Flask, *, origin: str = HOME, address: str = "192.0.2.1") -> None:
        self.client: FlaskClient = app.test_client()
        self.origin = origin
        self.address = address

    def open(self, method: str, path: str, **more: Any) -> TestResponse:
        headers = {"Referer": f"{self.origin}/"} | more.pop("headers", {})
        return self.client.open(
            path,
            method=method,
            base_url=self.origin,
            headers=headers,
            environ_overrides={"REMOTE_ADDR": self.address},
            **more,
        )

    def get(self, path: str, **more: Any) -> TestResponse:
        return self.open("GET", path, **more)

    @property
    def csrf(self) -> str:
        """A CSRF token that is good for this browser's session."""
        return csrf_token_in(self.get("/login", follow_redirects=True).text)

    def post(self, path: str, **fields: Any) -> TestResponse:
        """Send a plain form."""
        return self.open("POST", path, data={"csrf_token": self.csrf} | fields)

    def json(self, method: str, path: str, body: Any = None) -> TestResponse:
        """Call a JSON route as the page's script does. `path` is below /api/admin/trading."""
        return self.open(method, API + path, json=body, headers={"X-CSRFToken": self.csrf})

    def sign_in(self, name: str, password: str, **more: Any) -> TestResponse:
        return self.post("/login", name=name, password=password, **more)

    def cookie(self, name: str = SESSION_COOKIE, path: str = "/") -> str | None:
        found = self.client.get_cookie(name, self.origin.partition("://")[2], path)
        return found.value if found else None


@pytest.fixture
def browser(app: Flask, desk: Desk) -> Callable[..., Browser]:
    """`browser("operator")` is the browser of a person with that role who has signed in."""

    def signed_in(role: str, name: str | None = None, **more: Any) -> Browser:
        name = name or f"{role}-in-person"
        password = desk.add_user(name, role)
        made = Browser(app, **more)
        assert made.sign_in(name, password).status_code == 303
        return made

    return signed_in


@pytest.fixture
def stranger(app: Flask, desk: Desk) -> Browser:
    """A browser in which nobody has signed in."""
    return Browser(app)


@pytest.fixture
def engine(api: Callable[..., Api]) -> Api:
    """A trading engine."""
    return api("engine")


@pytest.fixture
def holding(desk: Desk) -> None:
    """A desk on which paper orders wait for a person."""
    configure(desk, HOLDS)


class Record:
    """The audit events written since it was made, or last read."""

    COLUMNS = ("id", "actor", "action", "subject", "before", "after", "note", "request_id")

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.seen = 0
        self.new()

    def new(self) -> list[dict[str, Any]]:
        rows = self.desk.sql(
            f"SELECT {', '.join(self.COLUMNS)} FROM audit_events WHERE id > %s ORDER BY id", self.seen
        )
        events = [dict(zip(self.COLUMNS, row, strict=True)) for row in rows]
        self.seen = max([self.seen, *(event["id"] for event in events)])
        return events


@pytest.fixture
def record(desk: Desk) -> Record:
    """Ask for it after the fixtures that make accounts, or call `new()` first."""
    return Record(desk)


def assert_problem(
    response: TestResponse, status: int, code: str | None = None, *fields: str, more: Collection[str] = ()
) -> dict[str, Any]:
    """The answer is an RFC 9457 problem of exactly our shape, with errors for exactly `fields`.

    `more` are the members that it has besides.
    """
    assert response.status_code == status, response.text
    assert response.content_type == "application/problem+json"
    body: dict[str, Any] = response.get_json(force=True)
    wanted = {"type", "title", "status", "detail", "code", *more} | ({"errors"} if status == 422 else set())
    assert set(body) == wanted
    assert body["type"] == "about:blank"
    assert body["status"] == status
    assert body["title"]
    assert body["detail"]
    if code is not None:
        assert body["code"] == code
    if fields:
        assert set(body["errors"]) == set(fields)
        assert all(
            messages and all(isinstance(text, str) for text in messages) for messages in body["errors"].values()
        )
    return body
