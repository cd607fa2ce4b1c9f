"""Poolers that do not pool sessions are refused, with a real PgBouncer in front of the database."""

from __future__ import annotations

import subprocess
import sys
from collections import deque
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy.engine import URL

from app.db import pooler
from app.db.pooler import SharedSessions, check_backends, require_session_pooling
from app.server import startup
from app.settings import PROJECT, SettingsError
from tests.at_once import Caller
from tests.commands import countersign, on_database, refused, said
from tests.database import connect
from tests.pgbouncer import needs_pgbouncer, pgbouncer
from tests.serving import Desk, free_port
from tests.test_serve import serving

ADVICE = "does not pool sessions (two connections were served by the session "
WAYS_OUT = ": set pool_mode = session in PgBouncer, or connect to PostgreSQL directly"
ORDER = {"client_order_id": "1", "ticker": "AAPL", "side": "buy", "qty": "1", "type": "market"}


def test_accepts_a_direct_connection(database: URL) -> None:
    require_session_pooling(database)


@needs_pgbouncer
@pytest.mark.parametrize("mode", ["transaction", "statement"])
@pytest.mark.parametrize("more", [{}, {"server_round_robin": 1, "min_pool_size": 6}])
def test_refuses_a_pooler_that_does_not_pool_sessions(database: URL, mode: str, more: dict[str, Any]) -> None:
    with pgbouncer(database, mode, **more) as url, pytest.raises(SharedSessions) as refusal:
        require_session_pooling(url, "MIGRATION_DATABASE_URL")
    message = str(refusal.value)
    assert message.startswith(f"MIGRATION_DATABASE_URL: the connection pooler in front of PostgreSQL {ADVICE}")
    assert message.endswith(WAYS_OUT)
    assert "\n" not in message


@needs_pgbouncer
def test_names_a_session_pool_that_is_too_small(database: URL, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pooler, "ANSWER_TIMEOUT", 0.5)
    with pgbouncer(database, "session", default_pool_size=2) as url, pytest.raises(SettingsError) as refusal:
        require_session_pooling(url)
    assert "did not answer on 3 connections" in str(refusal.value)
    assert "its pool is too small" in str(refusal.value)


@needs_pgbouncer
def test_waits_for_a_pooler_that_has_no_connection_to_give(database: URL, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(startup, "ANSWER_TIMEOUT", 0.2)
    monkeypatch.setattr(startup, "DATABASE_TIMEOUT", 0.4)
    with pgbouncer(database, "session", default_pool_size=1) as url, connect(url) as other:
        other.execute("SELECT 1")
        with pytest.raises(
            SettingsError, match=r"the database did not answer within 0 s: no answer to a statement"
        ):
            startup.wait_for_database(url)


@needs_pgbouncer
def test_serve_and_commands_refuse_a_transaction_pooler_but_a_halt_works(desk: Desk, tmp_path: Path) -> None:
    with pgbouncer(desk.database, "transaction") as url:
        environment = on_database(url, tmp_path) | {"PORT": str(free_port())}
        for command in (("serve",), ("token", "add", "bot", "--role", "engine")):
            line = refused(countersign(environment, *command))
            assert ADVICE in line
            assert line.endswith(WAYS_OUT)
        assert desk.sql("SELECT count(*) FROM accounts") == [(0,)]
        assert said(countersign(environment, "mode", "disabled")) == "disabled\n"
    assert desk.sql("SELECT trading_mode FROM risk_configs") == [("disabled",)]


@needs_pgbouncer
def test_db_upgrade_refuses_a_transaction_pooler_in_front_of_the_owner(desk: Desk, tmp_path: Path) -> None:
    with pgbouncer(desk.database, "transaction") as url:
        pooled = url.set(drivername="postgresql").render_as_string(hide_password=False)
        environment = on_database(desk.database, tmp_path) | {"MIGRATION_DATABASE_URL": pooled}
        line = refused(countersign(environment, "db", "upgrade"))
    assert line.startswith("MIGRATION_DATABASE_URL: the connection pooler")


@needs_pgbouncer
def test_gunicorn_started_by_hand_refuses_a_transaction_pooler(desk: Desk, tmp_path: Path) -> None:
    with pgbouncer(desk.database, "transaction") as url:
        done = subprocess.run(
            [sys.executable, "-m", "gunicorn", "wsgi:app"],
            cwd=PROJECT,
            env=on_database(url, tmp_path) | {"PORT": str(free_port()), "WEB_CONCURRENCY": "1"},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    assert done.returncode == 3
    assert ADVICE in done.stderr
    assert "Traceback" not in done.stderr


@needs_pgbouncer
def test_serves_behind_a_session_pooler(desk: Desk, tmp_path: Path) -> None:
    with pgbouncer(desk.database, "session", default_pool_size=60) as url:
        environment = on_database(url, tmp_path) | {"WEB_CONCURRENCY": "1"}
        with serving(tmp_path / "instance", tmp_path, **environment) as served:
            served.wait_until_ready()
            engine = Caller(
                served.url, said(countersign(environment, "token", "add", "bot", "--role", "engine")).strip()
            )
            order = engine.post("/orders", ORDER)
            assert (order.status, order.json["status"]) == (201, "released")
            assert served.stop() == 0


class PooledConnection:
    """A client of a pooler that gives each transaction a backend by its own rule."""

    def __init__(self, idle: deque[int], *, prefers: str) -> None:
        self._idle, self._prefers = idle, prefers
        self._backend = self._last = 0

    def execute(self, statement: str, **_: Any) -> PooledConnection:
        if not self._backend:
            if self._prefers == "its last" and self._last in self._idle:
                self._idle.remove(self._last)
                self._backend = self._last
            else:
                self._backend = self._idle.popleft()
        self._last = self._backend
        self._in_transaction = statement == "BEGIN" or (
            getattr(self, "_in_transaction", False) and statement != "COMMIT"
        )
        if not self._in_transaction:
            add = self._idle.append if self._prefers == "the oldest" else self._idle.appendleft
            add(self._backend)
            self._backend = 0
        return self

    def fetchone(self) -> tuple[int]:
        return (self._last,)


@pytest.mark.parametrize("prefers", ["the newest", "the oldest", "its last"])
@pytest.mark.parametrize("size", range(3, 12))
def test_finds_shared_sessions_whichever_backend_a_pooler_prefers(prefers: str, size: int) -> None:
    idle = deque(range(1, size + 1))
    connections: list[Any] = [PooledConnection(idle, prefers=prefers) for _ in range(pooler.CONNECTIONS)]
    with pytest.raises(SharedSessions):
        check_backends(connections)


def test_names_a_statement_pooler_that_refuses_transactions(database: URL) -> None:
    class StatementPooled(PooledConnection):
        def execute(self, statement: str, **more: Any) -> PooledConnection:
            if statement == "BEGIN":
                raise psycopg.errors.ProtocolViolation("transaction blocks not allowed in statement pooling mode")
            return super().execute(statement, **more)

    connections: list[Any] = [
        StatementPooled(deque([number]), prefers="the newest") for number in range(1, pooler.CONNECTIONS + 1)
    ]
    with pytest.raises(SharedSessions, match="transaction blocks not allowed"):
        check_backends(connections)
