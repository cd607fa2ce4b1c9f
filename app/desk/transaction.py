"""The transactions of the desk, and the lock between decisions and the rules that they are made by.

A change of the rules (mode, configuration, lockouts) takes the lock exclusively; whatever else writes takes it
shared. Both take it in a statement of its own, *before* any statement that reads: in READ COMMITTED one
statement has one snapshot, so a read in the same statement as the lock would see the desk as it was before
the lock was granted. So, when a stop has been acknowledged, nothing decided under the old rules can follow.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import text
from sqlalchemy.orm import Session

from app.extensions import db

RULES_LOCK = 0x436F756E746572  # "Counter": any constant does, as long as nobody else uses it

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
    with Session(db.engine, expire_on_commit=False) as session, session.begin():
        session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": RULES_LOCK})
        yield session


@contextmanager
def recording() -> Iterator[Session]:
    """A transaction that writes, and changes no rule."""
    with Session(db.engine, expire_on_commit=False) as session, session.begin():
        session.execute(text("SELECT pg_advisory_xact_lock_shared(:key)"), {"key": RULES_LOCK})
        yield session


@contextmanager
def reading() -> Iterator[Session]:
    """One snapshot: everything read in it was true at the same instant."""
    snapshot = db.engine.execution_options(isolation_level="REPEATABLE READ")
    with Session(snapshot) as session:
        yield session
