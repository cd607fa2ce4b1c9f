"""Requests that change something are accepted from our own pages only, by the headers that name the page."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from tests.conftest import API
from tests.serving import Desk
from tests.web.conftest import Browser, assert_problem

OURS = "https://desk.example"
SENT_BY_OUR_PAGE = [
    {"Referer": f"{OURS}/trading"},
    {"Origin": OURS},
    {"Sec-Fetch-Site": "same-origin"},
    {"Origin": OURS, "Referer": f"{OURS}/"},
    {"Origin": OURS, "Sec-Fetch-Site": "same-origin"},
    {"Origin": "https://DESK.example:443"},
    {"Origin": OURS, "Sec-Fetch-Site": "none"},
]
# And what the error names.
SENT_BY_ANOTHER_PAGE = [
    ({"Origin": "https://evil.example"}, "the Origin header names https://evil.example"),
    ({"Referer": "https://evil.example/trading"}, "the Referer header names https://evil.example,"),
    ({"Origin": "https://evil.example", "Referer": f"{OURS}/"}, "the Origin header names https://evil.example"),
    ({"Origin": "https://evil.example", "Sec-Fetch-Site": "same-origin"}, "the Origin header names"),
    ({"Origin": OURS, "Referer": "https://evil.example/"}, "the Referer header names https://evil.example"),
    (
        {"Origin": "http://desk.example"},
        "names http://desk.example, but the request came to https://desk.example:",
    ),
    ({"Origin": f"{OURS}:8443"}, "a proxy passes on another address than the browser asked"),
    ({"Origin": "https://desk.example.evil.example"}, "names https://desk.example.evil.example"),
    ({"Origin": "https://desk.example@evil.example"}, "names https://evil.example"),
    ({"Origin": "null"}, "the browser hides which page sent this (Origin: null)"),
    ({"Origin": "null", "Sec-Fetch-Site": "same-origin"}, "(Origin: null)"),
    ({"Origin": "https://desk.example:x"}, "the browser hides which page sent this"),
    ({"Sec-Fetch-Site": "cross-site"}, "Sec-Fetch-Site: cross-site"),
    ({"Sec-Fetch-Site": "same-site", "Origin": OURS}, "Sec-Fetch-Site: same-site"),
    ({"Sec-Fetch-Site": "none"}, "does not say which page sent this"),
    ({"Referer": ""}, "does not say which page sent this"),
    ({}, "does not say which page sent this"),
]


class Person(Browser):
    """Sends only the headers that the test gives."""

    def bare(self, method: str, path: str, **more: Any) -> TestResponse:
        return self.client.open(path, method=method, base_url=self.origin, **more)

    def halt(self, headers: dict[str, str]) -> TestResponse:
        body, sent = {"trading_mode": "disabled"}, headers | {"X-CSRFToken": self.csrf}
        return self.bare("PUT", f"{API}/mode", json=body, headers=sent)

    def log_in(self, password: str, headers: dict[str, str]) -> TestResponse:
        form = {"csrf_token": self.csrf, "name": "alice", "password": password}
        return self.bare("POST", "/login", data=form, headers=headers)


@pytest.fixture
def password(desk: Desk) -> str:
    return desk.add_user("alice", "operator")


@pytest.mark.parametrize("headers", SENT_BY_OUR_PAGE)
def test_our_own_page_signs_in_and_halts_over_tls(
    app: Flask, desk: Desk, password: str, headers: dict[str, str]
) -> None:
    alice = Person(app, origin=OURS)
    assert alice.log_in(password, headers).status_code == 303
    assert alice.halt(headers).status_code == 200
    assert desk.sql("SELECT trading_mode FROM risk_configs") == [("disabled",)]


@pytest.mark.parametrize(("headers", "cause"), SENT_BY_ANOTHER_PAGE)
def test_another_page_does_neither_over_tls_and_the_error_names_the_cause(
    app: Flask, desk: Desk, password: str, headers: dict[str, str], cause: str
) -> None:
    alice = Person(app, origin=OURS)
    refused = alice.log_in(password, headers)
    assert refused.status_code == 400
    assert cause in refused.text
    assert alice.log_in(password, {"Origin": OURS}).status_code == 303
    problem = assert_problem(alice.halt(headers), 403, "cross_origin")
    assert cause in problem["detail"]
    form = {"csrf_token": alice.csrf}
    plain = alice.bare("POST", "/trading/halt", data=form, headers=headers)
    assert plain.status_code == 403
    assert cause[1:] in plain.text
    assert desk.sql("SELECT trading_mode FROM risk_configs") == [("paper",)]


def test_the_token_is_needed_all_the_same(app: Flask, desk: Desk, password: str) -> None:
    for origin in (OURS, "http://desk.example"):
        alice = Person(app, origin=origin)
        assert alice.log_in(password, {"Origin": origin}).status_code == 303
        answer = alice.bare("PUT", f"{API}/mode", json={"trading_mode": "disabled"}, headers={"Origin": origin})
        assert_problem(answer, 403, "csrf_failed")
    assert desk.sql("SELECT trading_mode FROM risk_configs") == [("paper",)]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Origin": "https://desk.example"}, 200),  # behind a proxy that terminates TLS, without TRUSTED_PROXIES
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
    ],
)
def test_over_plain_http_only_what_the_browser_itself_states_counts(
    app: Flask, desk: Desk, password: str, headers: dict[str, str], status: int
) -> None:
    alice = Person(app, origin="http://10.0.0.7:8000")
    assert alice.log_in(password, {}).status_code == 303
    assert alice.halt(headers).status_code == status
