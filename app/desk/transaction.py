"""The transactions of the desk, and the lock between decisions and the rules that they are made by.

A change of the rules (mode, configuration, lockouts) takes the lock exclusively; whatever else writes takes it
shared. Both take it in a statement of its own, *before* any statement that reads: in READ COMMITTED one
statement has one snapshot, so a read in the same statement as the lock would see the desk as it was before
the lock was granted. So, when a stop has been acknowledged, nothing decided under the old rules can follow.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any, cast

import psycopg
from sqlalchemy import PoolProxiedConnection
from sqlalchemy.orm import Session

from app.extensions import db

RULES_LOCK = 0x436F756E746572  # "Counter": any constant does, as long as nobody else uses it

ENGINE_LOCKS = 0x456E67000000000  # "Eng", and the number of the account is added

# Pools of their own, so that orders never wait for operators nor operators for orders: see app/__init__.py.
DECISIONS = "decisions"
CREDENTIALS = "credentials"


def _take(lock: str, patience: str) -> str:
    """Wait for the lock, then hold it in bounds: a stop is acknowledged within two seconds, so nobody may stand in
    front of it for longer, at work, waiting for a row, or stalled. One round trip."""
    return f"""
        SET LOCAL statement_timeout = '{patience}'; SET LOCAL lock_timeout = '{patience}';
        SELECT {lock}({RULES_LOCK});
        SET LOCAL statement_timeout = '1500ms'; SET LOCAL lock_timeout = '1s';
        SET LOCAL idle_in_transaction_session_timeout = '1s'
    """


SHARE_RULES = _take("pg_advisory_xact_lock_shared", "5s")
OWN_RULES = _take("pg_advisory_xact_lock", "10s")

# The same on the path of an order, where every word is time: the settings of the connection say how long it waits
# for the lock, and what stalls afterwards is cut off by the server.
BEGIN_DECISION = f"""
    BEGIN ISOLATION LEVEL READ COMMITTED; SELECT pg_advisory_xact_lock_shared({RULES_LOCK});
    SET LOCAL statement_timeout = '1s'; SET LOCAL lock_timeout = '1s'
"""

SESSION_SETTINGS = """
    SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED;
    SET synchronous_commit = on;
    SET timezone = 'UTC';
    SET statement_timeout = '10s';
    SET lock_timeout = '5s';
    SET idle_in_transaction_session_timeout = '10s'
"""
# On top of these, for the pools that stand outside SQLAlchemy's transactions.
SHORT_SETTINGS = """
    SET statement_timeout = '5s';
    SET lock_timeout = '5s';
    SET idle_in_transaction_session_timeout = '1s'
"""


@contextmanager
def changing_rules() -> Iterator[Session]:
    """A transaction that changes what orders are decided by; commits at the end, rolls back on an error."""
    with _beginning(OWN_RULES) as session:
        yield session


@contextmanager
def recording() -> Iterator[Session]:
    """A transaction that writes to the record, and changes no rule."""
    with _beginning(SHARE_RULES) as session:
        yield session


@contextmanager
def noting() -> Iterator[Session]:
    """A transaction that writes neither to the rules nor to the record, and so takes no lock that a halt wants."""
    with _beginning("SET LOCAL lock_timeout = '2s'") as session:
        yield session


@contextmanager
def _beginning(first: str) -> Iterator[Session]:
    with Session(db.engine, expire_on_commit=False) as session, session.begin():
        session.connection().exec_driver_sql(first)
        yield session


class Decisions:
    """A transaction on the path of an order: the driver itself, for every round trip counts."""

    def __init__(self, cursor: psycopg.Cursor[Any]) -> None:
        self._cursor = cursor

    def one(self, query: str, parameters: Mapping[str, Any]) -> tuple[Any, ...] | None:
        """The first row, if there is one."""
        return self._cursor.execute(query, parameters).fetchone()

    def run(self, statement: str, parameters: Mapping[str, Any]) -> int:
        """How many rows the statement wrote."""
        return self._cursor.execute(statement, parameters).rowcount

    def lock_engine(self, account_id: int) -> None:
        """From here to the commit, no other order of this engine is counted."""
        self._cursor.execute("SELECT pg_advisory_xact_lock(%s)", [ENGINE_LOCKS + account_id])


@contextmanager
def deciding() -> Iterator[Decisions]:
    """A transaction that decides an order under the shared lock; commits at the end, rolls back on an error."""
    connection, cursor = _first_statement(DECISIONS, BEGIN_DECISION)
    try:
        yield Decisions(cursor)
        cursor.execute("COMMIT")
    except BaseException:
        try:
            cursor.execute("ROLLBACK")
        except psycopg.Error:
            connection.invalidate()
        raise
    finally:
        connection.close()  # back into the pool


def look_up(query: str, parameters: Mapping[str, Any]) -> tuple[Any, ...] | None:
    """One row by one statement, with a snapshot of its own: for what is asked at every request."""
    connection, cursor = _first_statement(CREDENTIALS, query, parameters)
    with closing(connection):
        return cursor.fetchone()


def _first_statement(
    pool: str, statement: str, parameters: Mapping[str, Any] | None = None
) -> tuple[PoolProxiedConnection, psycopg.Cursor[Any]]:
    """A connection of `pool` on which `statement` has run, which must not be one that changes anything for good.

    There is no ping before each use. A connection that turns out to be dead is replaced, once: after a restart of
    the server all of the pool is dead.
    """
    engine = db.engines[pool]
    connection = engine.raw_connection()
    try:
        return connection, _run(connection, statement, parameters)
    except psycopg.OperationalError:
        if not _is_dead(connection):
            connection.close()
            raise
        connection.invalidate()
    except BaseException:
        connection.invalidate()
        raise
    engine.dispose()
    connection = engine.raw_connection()
    try:
        return connection, _run(connection, statement, parameters)
    except BaseException:
        connection.invalidate()
        raise


def _run(
    connection: PoolProxiedConnection, statement: str, parameters: Mapping[str, Any] | None
) -> psycopg.Cursor[Any]:
    cursor: Any = connection.cursor()
    return cast("psycopg.Cursor[Any]", cursor.execute(statement, parameters))


def _is_dead(connection: PoolProxiedConnection) -> bool:
    driver: Any = connection.driver_connection
    return driver is None or bool(driver.closed)


@contextmanager
def reading() -> Iterator[Session]:
    """One snapshot: everything read in it was true at the same instant."""
    snapshot = db.engine.execution_options(isolation_level="REPEATABLE READ")
    with Session(snapshot) as session:
        yield session
