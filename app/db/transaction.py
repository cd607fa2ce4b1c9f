"""The transactions of the desk, and the lock between decisions and the rules that they are made by.

A change of the rules (mode, configuration, lockouts) takes the lock exclusively; whatever else writes takes it
shared. Both take it in a statement of its own, *before* any statement that reads: in READ COMMITTED one
statement has one snapshot, so a read in the same statement as the lock would see the desk as it was before
the lock was granted. So, when a stop has been acknowledged, nothing decided under the old rules can follow.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar, cast

import psycopg
from psycopg.errors import QueryCanceled
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from app.db import gevent_wait
from app.db.frozen_sessions import HALTS, ending_frozen_sessions
from app.db.pool import Taken
from app.db.statements import Line, Statement
from app.extensions import db

RULES_LOCK = 0x436F756E746572  # "Counter": any constant does, as long as nobody else uses it

ENGINE_LOCKS = 0x456E67000000000  # "Eng", and the number of the account is added

# Pools of their own beside the general one, so that a halt never waits for a connection: see app/__init__.py.
STOPS = "stops"
RULES = "rules"
DECISIONS = "decisions"
CREDENTIALS = "credentials"

AT_ONCE = 2.0  # seconds within which a connection that is dead says so

First = TypeVar("First")


def _take(lock: str, patience: str) -> str:
    """Wait for the lock, then hold it in bounds: a stop is acknowledged within two seconds, so nobody may stand in
    front of it for longer, at work, waiting for a row, or stalled. One round trip.

    `lock_timeout` ends a wait that is too long, so that what is canceled before was canceled by a halt."""
    return f"""
        SET LOCAL statement_timeout = '1min'; SET LOCAL lock_timeout = '{patience}';
        SELECT {lock}({RULES_LOCK});
        SET LOCAL statement_timeout = '1500ms'; SET LOCAL lock_timeout = '1s';
        SET LOCAL idle_in_transaction_session_timeout = '1s'
    """


SHARE_RULES = _take("pg_advisory_xact_lock_shared", "5s")
RULES_PATIENCE = 10  # seconds
OWN_RULES = _take("pg_advisory_xact_lock", f"{RULES_PATIENCE}s")

# The same on the path of an order, where every word is time: the settings of the connection say how long it waits
# for the lock, and what stalls afterwards is cut off by the server. Columns are worked out from left to right.
# That it is READ COMMITTED is a setting of the connection too.
BEGIN_DECISION = f"""
    BEGIN;
    SELECT pg_advisory_xact_lock_shared({RULES_LOCK}),
           set_config('statement_timeout', '1s', true), set_config('lock_timeout', '1s', true)"""

# A host that vanishes is given up soon, not after the quarter of an hour for which the kernel would go on trying.
CONNECTING: dict[str, Any] = {
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
SESSION_SETTINGS = """
    SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED;
    SET synchronous_commit = on;
    SET timezone = 'UTC'; SET datestyle = 'ISO'; SET client_encoding = 'UTF8';
    SET statement_timeout = '10s';
    SET lock_timeout = '5s';
    SET idle_in_transaction_session_timeout = '10s'
"""
# On top of these, for the pools that stand outside SQLAlchemy's transactions. And how long, in seconds, they are
# waited for where they are not kept, because the server itself hangs (app/db/gevent_wait.py).
SHORT_SILENCE = 6.0
# A generic plan, because PostgreSQL would plan the look-up of lockouts by an array of keys anew for every order.
SHORT_SETTINGS = """
    SET plan_cache_mode = force_generic_plan;
    SET statement_timeout = '5s';
    SET lock_timeout = '5s';
    SET idle_in_transaction_session_timeout = '1s'
"""


# What was released and waits for its venue may not be sent by the new rules: whoever sends looks at once, and not
# only when it would have tried again.
# A row that somebody keeps is left out, for a stop must not fail over this.
LOOK_AGAIN = """
    UPDATE orders SET try_at = now() WHERE seq IN (
        SELECT seq FROM orders WHERE send_by IS NOT NULL AND status = 'released' AND try_at > now()
        FOR UPDATE SKIP LOCKED
    )
"""


@dataclass(slots=True)
class Turn:
    """Of whoever holds `lock`; `users` counts those who wait as well."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    users: int = 0


class Turns:
    """One at a time of each; the others wait here, where they have no connection and stand in nobody's way."""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._turns: dict[Hashable, Turn] = {}
        self._lock = threading.Lock()

    @contextmanager
    def of(self, key: Hashable) -> Iterator[None]:
        """Raises SQLAlchemy's TimeoutError, as a pool does."""
        with self._lock:
            turn = self._turns.setdefault(key, Turn())
            turn.users += 1
        try:
            if not turn.lock.acquire(timeout=self._patience):
                raise PoolTimeout(f"{key} has too much of this under way")
            try:
                yield
            finally:
                turn.lock.release()
        finally:
            with self._lock:
                turn.users -= 1
                if not turn.users:
                    del self._turns[key]


one_at_a_time = Turns(patience=5)


class AccountHolder(Protocol):
    """An actor, as far as a transaction needs to know it."""

    @property
    def account_id(self) -> int | None: ...


@contextmanager
def changing_rules(actor: AccountHolder, *, halts: bool = False) -> Iterator[Session]:
    """A transaction that changes what orders are decided by; commits at the end, rolls back on an error.

    The lock goes to whoever came first, so a flood of changes would keep a halt waiting for as long as it lasts:
    one account makes one change after the other, and what halts has a connection of its own. A halt ends frozen
    sessions that are in its way.
    """
    pool = STOPS if halts else RULES
    with (
        one_at_a_time.of((pool, actor.account_id)),
        Session(db.engines[pool], expire_on_commit=False) as session,
    ):
        _own_rules(session, halts=halts)
        yield session
        session.connection().exec_driver_sql(LOOK_AGAIN)
        session.commit()


def _own_rules(session: Session, *, halts: bool) -> None:
    """Take the rules lock exclusively. A wait that a halt canceled begins again, behind that halt."""
    until = time.monotonic() + RULES_PATIENCE
    while True:
        try:
            with _passing_frozen_sessions(session) if halts else nullcontext():
                session.connection().exec_driver_sql(OWN_RULES)
            return
        except OperationalError as error:
            session.rollback()
            if not isinstance(error.orig, QueryCanceled) or time.monotonic() > until:
                raise


def _passing_frozen_sessions(session: Session) -> AbstractContextManager[None]:
    driver = cast("psycopg.Connection[Any]", session.connection().connection.driver_connection)
    return ending_frozen_sessions(db.engines[HALTS], driver.info.backend_pid)


@contextmanager
def recording(*, of_a_stop: bool = False) -> Iterator[Session]:
    """A transaction that writes to the record, and changes no rule; on the stops' own connections where it belongs
    to one."""
    with _beginning(SHARE_RULES, STOPS if of_a_stop else None) as session:
        yield session


# What a stop is answered with besides must not keep its answer waiting.
GLANCE = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SET LOCAL statement_timeout = '500ms'"


@contextmanager
def glancing() -> Iterator[Session]:
    """One snapshot for the answer to a stop, on the stops' own connections. Raises OperationalError when it takes
    long."""
    with _beginning(GLANCE, STOPS) as session:
        yield session


@contextmanager
def noting() -> Iterator[Session]:
    """A transaction that writes neither to the rules nor to the record, and so takes no lock that a halt wants."""
    with _beginning("SET LOCAL lock_timeout = '2s'") as session:
        yield session


@contextmanager
def _beginning(first: str, pool: str | None = None) -> Iterator[Session]:
    with Session(db.engines[pool], expire_on_commit=False) as session, session.begin():
        session.connection().exec_driver_sql(first)
        yield session


@contextmanager
def taking(session: Session, seconds: int) -> Iterator[None]:
    """For a statement that may take longer than any other; the server is asked for as much by the caller."""
    driver = cast("psycopg.Connection[Any]", session.connection().connection.driver_connection)
    with gevent_wait.longer(driver, seconds + AT_ONCE):
        yield


class Decisions:
    """A transaction on the path of an order, where every round trip counts."""

    def __init__(self, line: Line, first: tuple[Any, ...]) -> None:
        self._line = line
        self.first_row = first

    def count(self, statement: Statement, parameters: Mapping[str, Any], *, engine_id: int) -> tuple[Any, ...]:
        """The first row, read after the engine's own lock was granted: until the commit nobody else reads so."""
        lock = b"SELECT pg_advisory_xact_lock(%d); " % (ENGINE_LOCKS + engine_id)
        return self._line.last_row(lock + statement.call(self._line, parameters))

    def write_and_commit(self, statement: Statement, parameters: Mapping[str, Any]) -> int:
        """How many rows the statement wrote, for good."""
        written, *_ = self._line.ask(statement.call(self._line, parameters) + b"; COMMIT")
        return written.command_tuples or 0


@contextmanager
def deciding(first: Statement, parameters: Mapping[str, Any]) -> Iterator[Decisions]:
    """A transaction that decides an order under the shared lock, with the `first` look at the desk behind it.

    Whatever has not been written and committed by its end is rolled back.
    """
    begin = f"{BEGIN_DECISION}; ".encode()
    taken, row = _first_statement(DECISIONS, lambda line: line.last_row(begin + first.call(line, parameters)))
    try:
        yield Decisions(taken.line, row)
    finally:
        taken.give_back()


def look_up(query: str, parameters: Mapping[str, Any]) -> tuple[Any, ...] | None:
    """One row by one statement, with a snapshot of its own: for what is asked at every request."""
    taken, row = _first_statement(CREDENTIALS, lambda line: line.cursor.execute(query, parameters).fetchone())
    taken.give_back()
    return cast("tuple[Any, ...] | None", row)


def _first_statement(pool: str, run: Callable[[Line], First]) -> tuple[Taken, First]:
    """A connection of `pool` on which `run` has run, which must not be what changes anything for good.

    There is no ping before each use. A connection that turns out to be dead is replaced, once: after a restart of
    the server all of the pool is dead. Where that took long to find out, the server hangs, and another would too.
    """
    began = time.monotonic()
    engine = db.engines[pool]
    connections = engine.pool
    taken = Taken(connections)
    try:
        return taken, run(taken.line)
    except psycopg.OperationalError:
        if not taken.line.connection.closed:
            taken.give_back()
            raise
        taken.throw_away()
        if time.monotonic() - began > AT_ONCE:
            raise
    except BaseException:
        taken.throw_away()
        raise
    if engine.pool is connections:  # or somebody has thrown the dead ones away already
        engine.dispose()
    taken = Taken(engine.pool)
    try:
        return taken, run(taken.line)
    except BaseException:
        taken.throw_away()
        raise


@contextmanager
def reading() -> Iterator[Session]:
    """One snapshot: everything read in it was true at the same instant."""
    snapshot = db.engine.execution_options(isolation_level="REPEATABLE READ")
    with Session(snapshot) as session:
        yield session


# Whoever waits for the lock to himself keeps the orders of all engines waiting behind him, so he soon gives up.
BETWEEN_WRITERS = f"""
    SET LOCAL statement_timeout = '1s'; SET LOCAL lock_timeout = '200ms';
    SELECT pg_advisory_xact_lock({RULES_LOCK});
    SET LOCAL idle_in_transaction_session_timeout = '1s'
"""


@contextmanager
def between_writers() -> Iterator[Session]:
    """An instant in which nobody is in the middle of writing to the record: every event that has a number by now
    is committed, or never will be. Raises OperationalError (of LockNotAvailable) when it is long in coming."""
    with _beginning(BETWEEN_WRITERS) as session:
        yield session
