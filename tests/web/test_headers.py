"""What every kind of answer carries, so that a browser stays strict and a request can be found again."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from flask import Flask

from tests.conftest import API, Api
from tests.serving import Desk
from tests.web.conftest import Browser

POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "connect-src": "'self'",
    "img-src": "'self' data:",
    "form-action": "'self'",
    "base-uri": "'none'",
    "frame-ancestors": "'none'",
}
STATIC_FILE_POLICY = {"default-src": "'none'", "frame-ancestors": "'none'"}
KINDS = [
    ("GET", f"{API}/state", 200),
    ("GET", f"{API}/nothing", 404),
    ("DELETE", f"{API}/state", 405),
    ("PUT", f"{API}/mode", 415),
    ("DELETE", f"{API}/lockouts/x", 404),
    ("GET", "/openapi.json", 200),
    ("GET", "/healthz", 200),
    ("GET", "/readyz", 200),
    ("GET", "/metrics", 403),
    ("GET", f"{API}/stream", 200),
    ("GET", "/v2/clock", 401),
    ("GET", "/v2/nothing", 404),
    ("GET", "/trading", 200),
    ("GET", "/audit", 200),
    ("GET", "/", 303),
    ("GET", "/login", 303),
    ("GET", "/nothing", 404),
    ("POST", "/trading", 405),
    ("GET", "/static/favicon.svg", 200),
    ("GET", "/static/nothing.js", 404),
    ("GET", "//trading", 308),
    ("HEAD", "/trading", 200),
]
EVERY_KIND = pytest.mark.parametrize(("method", "path", "status"), KINDS)


@EVERY_KIND
def test_every_answer_keeps_the_browser_strict(
    browser: Callable[..., Browser], method: str, path: str, status: int
) -> None:
    person = browser("operator")
    csrf = person.csrf
    answer = person.open(method, path, headers={"X-CSRFToken": csrf})
    answer.close()
    assert answer.status_code == status
    policy = dict(part.split(" ", 1) for part in answer.headers["Content-Security-Policy"].split("; "))
    if path == "/static/favicon.svg":
        assert policy == STATIC_FILE_POLICY
    else:
        assert policy.items() >= POLICY.items()
    assert "unsafe" not in answer.headers["Content-Security-Policy"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert answer.headers["Referrer-Policy"] == "same-origin"
    assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert answer.headers["X-Request-ID"]
    for name, _ in answer.headers:
        assert not name.lower().startswith("access-control-"), "no other site may read an answer"


@EVERY_KIND
def test_nothing_but_static_files_is_kept_by_a_cache(
    browser: Callable[..., Browser], method: str, path: str, status: int
) -> None:
    answer = browser("operator").open(method, path)
    answer.close()
    static = path.startswith("/static/")
    assert (answer.headers.get("Cache-Control") == "no-store") is not (static and status == 200)
    assert ("Authorization" in answer.headers.get("Vary", "")) is not (static and status == 200)


@EVERY_KIND
def test_a_request_can_be_found_again(
    browser: Callable[..., Browser], method: str, path: str, status: int
) -> None:
    answer = browser("operator").open(method, path, headers={"X-Request-ID": "find.me_1-2"})
    answer.close()
    assert answer.headers["X-Request-ID"] == "find.me_1-2"
    assert len(answer.headers.getlist("X-Request-ID")) == 1


@pytest.mark.parametrize(
    "given", ["", " ", "a b", "x" * 65, "a;b", "a\tb", "\u00e9", "<script>", "../a/b", "a%0ab"]
)
def test_an_id_that_could_do_harm_is_replaced_and_not_refused(operator: Api, given: str) -> None:
    answer = operator.get("/state", headers={"X-Request-ID": given})
    assert answer.status_code == 200
    [made] = answer.headers.getlist("X-Request-ID")
    assert re.fullmatch("[0-9a-f]{16}", made)


@pytest.mark.parametrize(("origin", "expected"), [("https://desk.example", True), ("http://localhost", False)])
def test_a_browser_is_told_to_stay_with_tls_where_there_is_tls(
    app: Flask, desk: Desk, origin: str, expected: bool
) -> None:
    for path in ("/login", f"{API}/state", "/nothing"):
        answer = Browser(app, origin=origin).get(path)
        assert ("Strict-Transport-Security" in answer.headers) is expected


def test_an_answer_after_an_error_of_ours_carries_them_too(operator: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise RuntimeError

    monkeypatch.setattr("app.services.trading.config.written", fail)
    answer = operator.get("/config")
    assert answer.status_code == 500
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert answer.headers["Cache-Control"] == "no-store"


def test_no_page_has_a_script_or_style_that_the_policy_would_refuse(browser: Callable[..., Browser]) -> None:
    person = browser("admin")
    for path in ("/trading", "/audit", "/nothing"):
        page = person.get(path).text
        assert "<style" not in page
        assert " style=" not in page
        for script in page.split("<script")[1:]:
            attributes, _, content = script.partition(">")
            assert (
                "src=" in attributes
                or 'type="application/json"' in attributes
                or not content.split("<")[0].strip()
            )
        assert "javascript:" not in page
        assert not any(f" on{event}=" in page for event in ("click", "load", "error", "submit", "change", "input"))


def test_an_answer_to_head_is_that_to_get(operator: Api) -> None:
    for path in ("/config", "/lockouts", "/nothing"):
        get, head = operator.get(path), operator("HEAD", path)
        assert head.status_code == get.status_code
        assert head.headers["Content-Type"] == get.headers["Content-Type"]
        assert head.data == b""


@pytest.mark.parametrize(
    ("path", "more"),
    [("/healthz", {}), ("/readyz", {"leader": {"state": "unknown"}})],
    ids=["/healthz", "/readyz"],
)
def test_probes_need_no_credential(app: Flask, desk: Desk, path: str, more: dict[str, object]) -> None:
    answer = app.test_client().get(path)
    assert (answer.status_code, answer.json) == (200, {"status": "ok"} | more)
    assert "Set-Cookie" not in answer.headers
