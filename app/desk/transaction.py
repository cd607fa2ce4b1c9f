"""The transactions of the desk, and the lock between decisions and the rules that they are made by.

A change of the rules (mode, configuration, lockouts) takes the lock exclusively; whatever else writes takes it
shared. Both take it in a statement of its own, *before* any statement that reads: in READ COMMITTED one
statement has one snapshot, so a read in the same statement as the lock would see the desk as it was before
the lock was granted. So, when a stop has been acknowledged, nothing decided under the old rules can follow.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.orm import Session

from app.extensions import db

RULES_LOCK = 0x436F756E746572  # "Counter": any constant does, as long as nobody else uses it


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

SESSION_SETTINGS = """
    SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED;
    SET synchronous_commit = on;
    SET timezone = 'UTC';
    SET statement_timeout = '10s';
    SET lock_timeout = '5s';
    SET idle_in_transaction_session_timeout = '10s'
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


@contextmanager
def reading() -> Iterator[Session]:
    """One snapshot: everything read in it was true at the same instant."""
    snapshot = db.engine.execution_options(isolation_level="REPEATABLE READ")
    with Session(snapshot) as session:
        yield session
