"""Fixtures: a real PostgreSQL, the application on it, clients of every role, and the real server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from argon2 import PasswordHasher
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy.engine import URL
from werkzeug.test import TestResponse

from app.db import migrate
from app.services.accounts import users
from tests import patience
from tests.database import new_database, postgres
from tests.serving import Desk, Server, application, serve

API = "/api/admin/trading"


@pytest.fixture(scope="session", autouse=True)
def cheap_password_hashes() -> Iterator[PasswordHasher]:
    """Hash new passwords in a millisecond. A hash names its parameters, so every process verifies it as quickly.

    Gives the hasher of the application, with its real cost.
    """
    real = users.HASHER
    users.HASHER = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    yield real
    users.HASHER = real


@pytest.fixture
def real_password_hashes(cheap_password_hashes: PasswordHasher, monkeypatch: pytest.MonkeyPatch) -> PasswordHasher:
    """Hash passwords at their real cost, for tests that look at it."""
    monkeypatch.setattr(users, "HASHER", cheap_password_hashes)
    return cheap_password_hashes


@pytest.fixture(autouse=True)
def nobody_stalls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody in this process is cut off for doing nothing; otherwise where that very thing is looked at."""
    patience.let_idle(monkeypatch)


@pytest.fixture
def any_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long anything takes, nobody in this process is cut off."""
    patience.let_take_long(monkeypatch)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[URL]:
    with postgres() as url:
        yield url


@pytest.fixture(scope="session")
def database(postgres_server: URL) -> Iterator[URL]:
    """A database of this test process, with nothing in it."""
    with new_database(postgres_server) as url:
        yield url


@pytest.fixture(scope="session")
def app(database: URL, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    """The application on a migrated database."""
    with application(database, tmp_path_factory.mktemp("instance")) as made:
        with made.app_context():
            migrate.upgrade(database)
        yield made


@pytest.fixture(scope="session")
def shared_desk(app: Flask, database: URL) -> Iterator[Desk]:
    """The desk as earlier tests left it: for property tests, which reset it themselves."""
    made = Desk(database, app)
    yield made
    made.close()


@pytest.fixture
def desk(shared_desk: Desk) -> Desk:
    """An empty desk: paper mode, configuration `{}`, nobody in it."""
    shared_desk.reset()
    return shared_desk


class Api:
    """A client of the JSON routes with one credential."""

    def __init__(self, client: FlaskClient, token: str | None) -> None:
        self.client = client
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}

    def __call__(self, method: str, path: str, body: Any = None, **more: Any) -> TestResponse:
        """`path` is below /api/admin/trading; `body` is sent as JSON where it is given."""
        headers = self.headers | more.pop("headers", {})
        if body is not None:
            more["json"] = body
        return self.client.open(API + path, method=method, headers=headers, **more)

    def get(self, path: str, **more: Any) -> TestResponse:
        return self("GET", path, **more)

    def put(self, path: str, body: Any, **more: Any) -> TestResponse:
        return self("PUT", path, body, **more)

    def post(self, path: str, body: Any, **more: Any) -> TestResponse:
        return self("POST", path, body, **more)

    def patch(self, path: str, body: Any, **more: Any) -> TestResponse:
        return self("PATCH", path, body, **more)

    def delete(self, path: str, **more: Any) -> TestResponse:
        return self("DELETE", path, **more)


@pytest.fixture
def api(app: Flask, desk: Desk) -> Callable[..., Api]:
    """`api("operator")` is a client with a token of that role; `api(None)` has no credential."""
    made: dict[tuple[Any, ...], Api] = {}

    def client(role: str | None, **token: Any) -> Api:
        key = (role, *sorted(token.items()))
        if key not in made:
            name = f"{role}-{len(made)}"
            made[key] = Api(app.test_client(), desk.add_token(name, role, **token) if role else None)
        return made[key]

    return client


@pytest.fixture
def operator(api: Callable[..., Api]) -> Api:
    return api("operator")


@pytest.fixture
def admin(api: Callable[..., Api]) -> Api:
    return api("admin", allow_live=True)


@pytest.fixture(scope="session")
def shared_server(postgres_server: URL, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with new_database(postgres_server) as url:
        instance = tmp_path_factory.mktemp("served")
        with application(url, instance) as here:
            with here.app_context():
                migrate.upgrade(url)
            with serve(here, url, instance) as made:
                yield made


@pytest.fixture
def server(shared_server: Server) -> Server:
    """The real server with two workers, on an empty desk."""
    shared_server.reset()
    return shared_server
