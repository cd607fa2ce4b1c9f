"""Without a database: 503 from every route that needs one, each in the words of its readers."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy.engine import URL

from app.extensions import db
from app.web.security.permissions import API, ROUTES, Open
from tests.serving import application
from tests.web.conftest import Browser, assert_problem

ID = "00000000-0000-4000-8000-000000000000"
CREDENTIAL = {"Authorization": "Bearer a.b"}


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    """The application where whoever asks for the database is refused."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        gone = URL.create("postgresql+psycopg", "u", "hunter2", "127.0.0.1", nobody.getsockname()[1], "gone")
        with application(gone, Path(tmp_path_factory.mktemp("alone"))) as app:
            yield app


def routes(*, beginning: str) -> list[tuple[str, str]]:
    return sorted(
        (method, re.sub("<[^>]+>", ID, rule))
        for (method, rule), right in ROUTES.items()
        if rule.startswith(beginning) and not isinstance(right, Open)
    )


@pytest.mark.parametrize(("method", "path"), routes(beginning=API))
def test_each_json_route_answers_with_a_problem(alone: Flask, method: str, path: str) -> None:
    answer = alone.test_client().open(path, method=method, headers=CREDENTIAL, json={})
    assert "nothing is released" in assert_problem(answer, 503, "database_unavailable")["detail"]
    assert answer.headers["Retry-After"].isdigit()
    assert "hunter2" not in answer.text


@pytest.mark.parametrize(("method", "path"), routes(beginning="/v2/"))
def test_each_route_of_the_alpaca_door_answers_as_its_bots_read_it(alone: Flask, method: str, path: str) -> None:
    key = {"APCA-API-KEY-ID": "a", "APCA-API-SECRET-KEY": "b"}
    answer = alone.test_client().open(path, method=method, headers=key, json={})
    assert (answer.status_code, answer.content_type) == (503, "application/json")
    assert set(answer.json) == {"code", "message"}
    assert answer.json["code"] // 100_000 == 503
    assert "nothing is released" in answer.json["message"]


@pytest.mark.parametrize("path", ["/trading", "/audit"])
def test_a_page_says_so_in_words_and_comes_by_itself(alone: Flask, path: str) -> None:
    answer = alone.test_client().get(f"{path}?a=1", headers=CREDENTIAL)
    assert (answer.status_code, answer.mimetype) == (503, "text/html")
    assert '<h1 id="error-title">The database is down</h1>' in answer.text
    assert f'href="{path}?a=1"' in answer.text
    assert "js/later/again.js" in answer.text
    assert "hunter2" not in answer.text


def test_what_was_to_be_changed_is_not_tried_again_by_itself(alone: Flask) -> None:
    answer = alone.test_client().post("/trading/halt", headers=CREDENTIAL)
    assert (answer.status_code, answer.mimetype) == (503, "text/html")
    assert "look again before you repeat this" in answer.text
    assert "again.js" not in answer.text
    assert "refresh" not in answer.text


def test_signing_in_says_so_beside_the_form(alone: Flask) -> None:
    answer = Browser(alone).sign_in("alice", "password")
    assert (answer.status_code, answer.mimetype) == (503, "text/html")
    assert "The database is down, so nobody can sign in." in answer.text
    assert 'value="alice"' in answer.text


def test_where_a_database_that_hangs_has_all_connections_that_is_the_reason(
    app: Flask, alone: Flask, tmp_path: Path
) -> None:
    """Which `busy`, and "try again", would hide."""
    client = app.test_client()
    app.extensions.pop("no_database_at", None)  # of another test, a moment ago
    with app.app_context():
        engine = db.engines["credentials"]
    patience, engine.pool._timeout = engine.pool._timeout, 0.1  # type: ignore[attr-defined]
    taken = [engine.raw_connection() for _ in range(4)]
    try:
        assert_problem(client.get(f"{API}/state", headers=CREDENTIAL), 503, "busy")
        app.extensions["no_database_at"] = float("inf")
        assert_problem(client.get(f"{API}/state", headers=CREDENTIAL), 503, "database_unavailable")
    finally:
        del app.extensions["no_database_at"]
        engine.pool._timeout = patience  # type: ignore[attr-defined]
        for connection in taken:
            connection.close()
    assert client.get(f"{API}/state", headers=CREDENTIAL).status_code == 401
