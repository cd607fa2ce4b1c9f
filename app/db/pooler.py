"""Refuse connection poolers that do not pool sessions.

Advisory locks, LISTEN, prepared statements and settings belong to a database session. A pooler in transaction or
statement mode gives each transaction or statement another session: locks stay behind on sessions that no client
has, and prepared statements of several clients collide.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from os import dup
from typing import Any

import psycopg
from sqlalchemy.engine import URL

from app.lib.outages import first_line
from app.settings import SettingsError

CONNECTIONS = 3
ROUNDS = 3
# A session pooler whose pool is used up answers nothing until another client leaves.
ANSWER_TIMEOUT = 10.0  # seconds, for the whole check

REFUSED = (
    "{name}: the connection pooler in front of PostgreSQL does not pool sessions ({evidence}):"
    " set pool_mode = session in PgBouncer, or connect to PostgreSQL directly"
)
SILENT = (
    "{name}: the database did not answer on {count} connections within {seconds:.0f} s:"
    " if a connection pooler is in front of it, its pool is too small"
)


class SharedSessions(SettingsError):
    """The database sessions behind our connections are shared with other connections."""


def require_session_pooling(url: URL, name: str = "DATABASE_URL") -> None:
    """Raise SharedSessions if a pooler between here and the database at `url` does not pool sessions.

    Each connection must keep one backend, and no two may have the same.

    Statements outside of transactions come first. Between them, a pooler of transactions or statements may hand
    out any backend. One that has a single idle backend, or prefers the one used last, gives all connections the
    same one. One that takes turns gives another backend to a connection that asks twice.

    Then transactions overlap: while all connections but one hold a backend, the last one must still have its own.
    A pooler of statements refuses transactions.

    Raises psycopg.Error if the database cannot be reached, and SettingsError if it stops answering.
    """
    dsn = url.set(drivername="postgresql").render_as_string(hide_password=False)
    with ExitStack() as stack:
        connections = [stack.enter_context(_connect(dsn)) for _ in range(CONNECTIONS)]
        with closed_after(ANSWER_TIMEOUT, connections) as expired:
            try:
                check_backends(connections)
            except SharedSessions as evidence:
                raise SharedSessions(REFUSED.format(name=name, evidence=evidence)) from None
            except psycopg.Error:
                if not expired.is_set():
                    raise
                message = SILENT.format(name=name, count=CONNECTIONS, seconds=ANSWER_TIMEOUT)
                raise SettingsError(message) from None


def check_backends(connections: Sequence[psycopg.Connection[Any]]) -> None:
    """Raise SharedSessions, with the evidence, unless each of these connections keeps a backend of its own."""
    backends = _Backends()
    for _ in range(ROUNDS):
        for connection in connections:
            backends.check(connection)
            backends.check(connection)
    for left_out in connections:
        holders = [connection for connection in connections if connection is not left_out]
        for connection in holders:
            try:
                connection.execute("BEGIN")
            except psycopg.errors.ProtocolViolation as error:
                raise SharedSessions(first_line(error)) from None
            backends.check(connection)
        backends.check(left_out)
        for connection in holders:
            connection.execute("COMMIT")


class _Backends:
    """Which backend has served each connection."""

    def __init__(self) -> None:
        self._seen: dict[psycopg.Connection[Any], int] = {}

    def check(self, connection: psycopg.Connection[Any]) -> None:
        """Raise SharedSessions if the connection has another backend than before, or that of another one."""
        row = connection.execute("SELECT pg_backend_pid()", prepare=False).fetchone()
        pid = row[0] if row else 0
        before = self._seen.setdefault(connection, pid)
        if before != pid:
            raise SharedSessions(f"one connection was served by the sessions {before} and {pid}")
        if list(self._seen.values()).count(pid) > 1:
            raise SharedSessions(f"two connections were served by the session {pid}")


def _connect(dsn: str) -> psycopg.Connection[Any]:
    return psycopg.connect(dsn, autocommit=True, connect_timeout=5, application_name="countersign pooler check")


@contextmanager
def closed_after(seconds: float, connections: Sequence[psycopg.Connection[Any]]) -> Iterator[threading.Event]:
    """Cut the connections after that time, so that a statement on them fails. The event is set once this is so."""
    expired = threading.Event()

    def cut() -> None:
        expired.set()
        for connection in connections:
            with suppress(OSError, psycopg.Error), socket.socket(fileno=dup(connection.fileno())) as same:
                same.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, cut)
    timer.daemon = True
    timer.start()
    try:
        yield expired
    finally:
        timer.cancel()
