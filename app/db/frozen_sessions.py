"""End database sessions whose client is frozen while a halt waits for their locks.

A worker that is stopped (SIGSTOP, a suspended machine) keeps its locks until PostgreSQL's own time-out ends its
session, a second after the lock was granted. With several of them in the queue for the rules lock these seconds
add up, so a halt does not wait for them: docs/ARCHITECTURE.md, "A halt passes frozen workers".
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

log = logging.getLogger(__name__)

HALTS = "halts"  # the pool: a connection for as long as a halt is held up, and none otherwise

CHECK_INTERVAL = 0.15  # seconds
# A session that holds the lock and is silent for longer is ended. This happens only while a halt waits, so what
# the session was about to do would be blocked or canceled anyway.
FROZEN_AFTER = 0.3  # seconds

# `pg_blocking_pids` names the holders and those ahead in the queue. Only sessions of this application are touched.
# A client that does not read a large result is frozen too; no time-out of PostgreSQL ends its session.
AHEAD = """
    WITH ahead AS MATERIALIZED (
        SELECT pid,
            clock_timestamp() - state_change > make_interval(secs => :frozen_after)
                AND (state LIKE 'idle in transaction%' OR wait_event = 'ClientWrite') AS is_frozen,
            EXISTS (
                SELECT FROM pg_locks WHERE pg_locks.pid = pg_stat_activity.pid AND NOT granted
                    AND locktype = 'advisory' AND mode = 'ExclusiveLock'
            ) AS waits
        FROM pg_stat_activity
        WHERE pid = ANY (pg_blocking_pids(:halting))
            AND usename = current_user AND application_name LIKE 'countersign%'
    )
"""
# Before the frozen ones are ended, or the next frozen one in the queue is granted the lock in between.
CANCEL_WAITING = text(
    f"""
    {AHEAD}
    SELECT pid, pg_cancel_backend(pid) FROM ahead WHERE waits AND EXISTS (SELECT FROM ahead WHERE is_frozen)
    """  # noqa: S608 - made of constants
)
END_FROZEN = text(f"{AHEAD} SELECT pid, pg_terminate_backend(pid) FROM ahead WHERE is_frozen")  # noqa: S608


@contextmanager
def ending_frozen_sessions(engine: Engine, halting: int) -> Iterator[None]:
    """Run the body, in which the session with the process id `halting` may wait for locks.

    While it waits, sessions ahead of it that hold a lock and are frozen are terminated. Once one was found, those
    that wait for the lock exclusively are canceled as well, for some of them may be frozen, too: a client that is
    alive queues again, behind the halt (`transaction.changing_rules`).
    """
    done = threading.Event()
    watcher = threading.Thread(target=_watch, args=(engine, halting, done), daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()


def _watch(engine: Engine, halting: int, done: threading.Event) -> None:
    while not done.wait(CHECK_INTERVAL):
        try:
            with engine.connect() as connection:
                _end_frozen(connection, halting)
                while not done.wait(CHECK_INTERVAL):
                    _end_frozen(connection, halting)
        except SQLAlchemyError as error:  # the time-outs of the sessions themselves still hold
            log.warning("cannot look for frozen sessions while a halt waits: %s", error)


def _end_frozen(connection: Connection, halting: int) -> None:
    parameters = {"halting": halting, "frozen_after": FROZEN_AFTER}
    for pid, _ in connection.execute(CANCEL_WAITING, parameters):
        log.warning("canceled the wait of database session %s in front of a halt", pid)
    for pid, _ in connection.execute(END_FROZEN, parameters):
        log.warning("ended database session %s, which was frozen in front of a halt", pid)
