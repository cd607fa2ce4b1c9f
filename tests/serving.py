"""The real server: gunicorn with several workers on a port of this machine."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flask import Flask
from psycopg.errors import DeadlockDetected
from sqlalchemy.engine import URL

from app import create_app
from app.db import migrate
from app.domain.roles import Role
from app.extensions import db
from app.services.accounts import users
from app.services.accounts.login_throttle import SignInThrottle
from app.services.actor import Actor
from app.settings import PROJECT, Settings
from tests.database import EMPTY, connect, new_database, postgres

TESTER = Actor("cli:tests", Role.ADMIN, "tests")
SECRET_KEY = "a secret for tests only"
SESSION_COOKIE, DEVICE_COOKIE = "countersign_session_1dac090e", "countersign_device_1dac090e"  # of that secret
# Tests ask faster than anybody, and show wrong credentials from where the right ones come from.
NO_RATES = {"READ_RATE": "off", "FAILED_CREDENTIAL_RATE": "off"}


def settings_for(url: URL, instance: Path, **more: str) -> Settings:
    """Settings as the environment of a deployment would give them."""
    environment = {
        "DATABASE_URL": url.set(drivername="postgresql").render_as_string(hide_password=False),
        "SECRET_KEY": SECRET_KEY,
        "INSTANCE_PATH": str(instance),
        **NO_RATES,
    }
    return Settings.from_environment(environment | more)


@contextmanager
def application(url: URL, instance: Path, **more: str) -> Iterator[Flask]:
    """The application in this process; its connections are closed at the end."""
    app = create_app(settings_for(url, instance, **more))
    try:
        yield app
    finally:
        app.extensions["live"].stop()
        app.extensions["dispatch"].close()
        app.extensions["notifier"].close()
        with app.app_context():
            for engine in db.engines.values():
                engine.dispose()


class Desk:
    """A database with the tables in it, and the application on it, to set up what a test needs."""

    def __init__(self, url: URL, app: Flask) -> None:
        self.database = url
        self.app = app
        self._connection = connect(url)

    def close(self) -> None:
        self._connection.close()

    def connect_anew(self) -> None:
        """After an outage."""
        self._connection.close()
        self._connection = connect(self.database)

    def reset(self) -> None:
        """Empty the desk: paper mode, configuration `{}`, nobody in it."""
        self.app.extensions["sign_in_throttle"] = SignInThrottle()
        for patience in range(5, -1, -1):
            try:
                self._connection.execute(EMPTY)
                return
            except DeadlockDetected:  # with a request that the page of an earlier test left under way
                if not patience:
                    raise

    def sql(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Run one statement, with %s for the parameters; the rows, if it has any."""
        cursor = self._connection.execute(statement, parameters or None)
        return cursor.fetchall() if cursor.description else []

    def add_user(self, name: str, role: str) -> str:
        """A person who can sign in; the password."""
        password = secrets.token_urlsafe(12)
        with self.app.app_context():
            users.add_person(TESTER, name, Role(role), password)
        return password

    def add_token(self, name: str, role: str, **more: Any) -> str:
        """A token for the service account `name`, as `ID.SECRET`."""
        with self.app.app_context():
            return users.add_token(TESTER, name, Role(role), **more)


class Server(Desk):
    """A `Desk` that is served at `url` by `workers` processes."""

    def __init__(self, url: URL, app: Flask, port: int, process: subprocess.Popen[bytes]) -> None:
        super().__init__(url, app)
        self.url = f"http://127.0.0.1:{port}"
        self.process = process


@contextmanager
def serve(
    app: Flask, database: URL, instance: Path, *, workers: int = 2, settings: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """gunicorn with the project's own settings, and `settings` of the environment, on a migrated database; it is
    stopped at the end."""
    port = free_port()
    environment = os.environ | {
        "DATABASE_URL": database.set(drivername="postgresql").render_as_string(hide_password=False),
        "SECRET_KEY": SECRET_KEY,
        "INSTANCE_PATH": str(instance),
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "WEB_CONCURRENCY": str(workers),
        **NO_RATES,
        **(settings or {}),
    }
    log = open(instance / "server.log", "wb")  # noqa: SIM115 - it lives as long as the process
    process = subprocess.Popen(
        [sys.executable, "-m", "gunicorn", "wsgi:app"],
        cwd=PROJECT,
        env=environment,
        stdout=log,
        stderr=log,
    )
    server = Server(database, app, port, process)
    try:
        _wait_until_ready(server, instance)
        yield server
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        log.close()
        server.close()


@contextmanager
def serve_a_new_desk() -> Iterator[Server]:
    """On a PostgreSQL of its own, for what is no test of pytest's."""
    with (
        tempfile.TemporaryDirectory() as folder,
        postgres() as cluster,
        new_database(cluster) as url,
        application(url, Path(folder)) as app,
    ):
        with app.app_context():
            migrate.upgrade(url)
        with serve(app, url, Path(folder)) as server:
            yield server


def _wait_until_ready(server: Server, instance: Path) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and server.process.poll() is None:
        try:
            with urllib.request.urlopen(f"{server.url}/readyz", timeout=5):
                return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"the server does not answer:\n{(instance / 'server.log').read_text()[-2000:]}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
