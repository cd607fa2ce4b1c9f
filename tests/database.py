"""Real PostgreSQL for tests: TEST_DATABASE_URL, or the embedded one, which is brought up when it does not run."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import sql
from sqlalchemy.engine import URL, make_url

from app.embedded import EmbeddedPostgres
from app.settings import PROJECT

PREFIX = "countersign_test_"

EMPTY = """
    ALTER TABLE audit_events DISABLE TRIGGER audit_events_are_final;
    ALTER TABLE audit_seals DISABLE TRIGGER audit_seals_are_final;
    TRUNCATE audit_events, audit_seals, orders, symbol_lockouts, sign_in_attempts, sign_in_steps, web_sessions,
        second_factors, recovery_codes, second_factor_tries, tokens, accounts, notices, notice_receivers,
        risk_configs RESTART IDENTITY;
    ALTER TABLE audit_events ENABLE ALWAYS TRIGGER audit_events_are_final;
    ALTER TABLE audit_seals ENABLE ALWAYS TRIGGER audit_seals_are_final;
    INSERT INTO risk_configs DEFAULT VALUES
"""


@contextmanager
def postgres(*, durable: bool = False) -> Iterator[URL]:
    """The URL of a server on which databases may be created; `durable` makes a commit wait for the disk."""
    given = os.environ.get("TEST_DATABASE_URL")
    if given:
        yield make_url(given).set(drivername="postgresql+psycopg")
        return
    folder = "bench-postgres" if durable else "test-postgres"
    with EmbeddedPostgres(PROJECT / "instance" / folder, durable=durable) as server:
        yield make_url(server.dsn()).set(drivername="postgresql+psycopg")


@contextmanager
def new_database(server: URL) -> Iterator[URL]:
    """An empty database of its own, dropped at the end. What killed runs left behind is dropped too."""
    name = f"{PREFIX}{os.getpid()}_{secrets.token_hex(4)}"
    with connect(server) as connection:
        for (old,) in connection.execute("SELECT datname FROM pg_database WHERE datname LIKE %s", [f"{PREFIX}%"]):
            if not _alive(int(old.removeprefix(PREFIX).split("_")[0])):
                _drop(connection, old)
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    try:
        yield server.set(database=name)
    finally:
        with connect(server) as connection:
            _drop(connection, name)


def connect(url: URL) -> psycopg.Connection[Any]:
    """A connection that commits each statement by itself."""
    dsn = url.set(drivername="postgresql").render_as_string(hide_password=False)
    return psycopg.connect(dsn, autocommit=True)


def _drop(connection: psycopg.Connection[Any], name: str) -> None:
    connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
