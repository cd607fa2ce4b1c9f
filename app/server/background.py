"""What has to be done about every second, by one of all the workers: a leader, chosen by an advisory lock.

Nothing depends on it for being right: an order expires by the clock, whether that is written down or not.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable

import psycopg
from flask import Flask
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app.db.advisory_locks import LockHolder, holder_query
from app.db.transaction import CONNECTING
from app.domain.roles import Role
from app.lib import logs, metrics
from app.lib.outages import OutageLog
from app.server.leader import election
from app.server.notifier import Notifier
from app.services.accounts import token_usage
from app.services.accounts.token_usage import LastUsed
from app.services.actor import Actor
from app.services.audit import seal
from app.services.execution.brokers.base import VenueError
from app.services.execution.dispatcher import Dispatch
from app.services.execution.reconciler import Listener
from app.services.orders import transitions

log = logging.getLogger(__name__)

LEADER_LOCK = 0x4B6565706572  # "Keeper"
EVERY = 1.0  # seconds
LOOK_EVERY = 5.0  # seconds, between two looks at who leads
FOLLOW_AGAIN = 60.0  # seconds, the most between two tries to follow a venue
HEAD_EVERY = 60.0  # seconds, between two heads of the record in the log
leads = threading.Event()  # whether this process is the leader

# A leader whose machine is gone must be noticed soon by the server, or for hours nobody could follow it.
NOTICE_LOSS = """
    SET tcp_keepalives_idle = 5; SET tcp_keepalives_interval = 2; SET tcp_keepalives_count = 3;
    SET tcp_user_timeout = 10000
"""


def start(app: Flask, url: URL) -> None:
    """Start the background jobs of this process, each in a thread of its own."""
    dsn = url.set(drivername="postgresql").render_as_string(hide_password=False)
    threading.Thread(target=_run, args=(app, dsn), name="keeper", daemon=True).start()
    dispatch: Dispatch = app.extensions["dispatch"]
    threading.Thread(target=_dispatch, args=(app, dispatch), name="dispatch", daemon=True).start()
    for mode in dispatch.venues:
        listener = Listener(dispatch, mode)
        for work in (_ask, _follow):
            threading.Thread(target=work, args=(app, listener), name=f"venue {mode}", daemon=True).start()
    threading.Thread(target=_notify, args=(app, app.extensions["notifier"]), name="notify", daemon=True).start()
    notes: LastUsed = app.extensions["last_used"]
    threading.Thread(target=_note_uses, args=(app, notes), name="last used", daemon=True).start()


def _run(app: Flask, dsn: str) -> None:
    outage = OutageLog(log, "the keeper has no database")
    round_ = Round()
    while True:
        try:
            with _connect(dsn) as connection:
                connection.execute(NOTICE_LOSS)
                _lead(app, connection, round_, outage)
        except psycopg.Error as error:
            outage.failed(error)
        except Exception:
            log.exception("the keeper stumbled, and begins again")
        time.sleep(EVERY)


def _dispatch(app: Flask, dispatch: Dispatch) -> None:
    """Every process sends what is due, for a leader may be frozen. A thread of its own: a venue that is slow must
    not keep the desk waiting."""
    outage = OutageLog(log, "nothing could be sent")
    while True:
        time.sleep(EVERY)
        _round(app, "dispatch", outage, dispatch.once)


def _ask(app: Flask, listener: Listener) -> None:
    """The leader asks what became of the orders that are open at a venue, and the others seldom."""
    outage = OutageLog(log, "nothing could be heard")
    while True:
        time.sleep(EVERY)
        _round(app, "ask", outage, lambda: listener.ask(leads=leads.is_set()))


def _follow(app: Flask, listener: Listener) -> None:
    """The leader hears what becomes of them from the venue's stream, where it has one."""
    pause = EVERY
    outage = OutageLog(log, "nothing could be heard")

    def goes_on() -> bool:
        outage.succeeded()  # it is asked with whatever the stream says, beats included
        return leads.is_set()

    while True:
        leads.wait()
        began = time.monotonic()
        _round(app, "follow", outage, lambda: listener.follow(goes_on))
        pause = EVERY if time.monotonic() - began > FOLLOW_AGAIN else min(2 * pause, FOLLOW_AGAIN)
        time.sleep(pause)


def _round(app: Flask, who: str, outage: OutageLog, work: Callable[[], None]) -> None:
    with app.app_context(), logs.round_of(who):
        try:
            work()
        except (DBAPIError, PoolTimeout, VenueError) as error:
            outage.failed(error)
        except Exception:
            log.exception("%s, and the next round begins", outage.what)
        else:
            outage.succeeded()


def _notify(app: Flask, notifier: Notifier) -> None:
    """The one that leads tells people. A thread of its own, for nothing is to wait for that."""
    outage = OutageLog(log, "notifications could not be sent")
    while True:
        time.sleep(EVERY)
        work = notifier.once if leads.is_set() else notifier.rest
        _round(app, "notify", outage, work)


def _note_uses(app: Flask, notes: LastUsed) -> None:
    """Of the tokens that this process has seen. Every process has its own notes."""
    outage = OutageLog(log, "when tokens were used could not be written down")
    while True:
        time.sleep(token_usage.EVERY)
        _round(app, "uses", outage, notes.write)


def _connect(dsn: str) -> psycopg.Connection:
    """A connection of its own: who leads holds the lock by it, and its name tells which process that is."""
    return psycopg.connect(
        dsn,
        autocommit=True,
        application_name=f"countersign keeper {os.getpid()}",
        **CONNECTING,
    )


def _lead(app: Flask, connection: psycopg.Connection, round_: Round, outage: OutageLog) -> None:
    """Become the leader, sooner or later, and stay it for as long as the connection lasts."""
    try:
        wait_for_lead(connection, outage)
        pid = _backend(connection)
        election.won(pid)
        leads.set()
        metrics.LEADERS.set(1)
        while True:
            with app.app_context():
                round_.once()
            time.sleep(EVERY)
            if (other := _backend(connection)) != pid:  # which also finds out whether the connection is lost
                raise psycopg.OperationalError(
                    f"a pooler exchanged session {pid}, which holds the lock, for {other}"
                )
            outage.succeeded()
    finally:
        election.lost()
        leads.clear()
        metrics.LEADERS.set(0)


def wait_for_lead(connection: psycopg.Connection, outage: OutageLog) -> None:
    """Return once this connection holds the leader's lock; until then tell `election` who does."""
    look_at = 0.0
    while connection.execute("SELECT pg_try_advisory_lock(%s)", [LEADER_LOCK]).fetchone() != (True,):
        if time.monotonic() >= look_at:
            look_at = time.monotonic() + LOOK_EVERY
            row = connection.execute(holder_query(LEADER_LOCK)).fetchone()
            election.seen(LockHolder.from_row(row) if row else None)
        outage.succeeded()
        time.sleep(EVERY)


def _backend(connection: psycopg.Connection) -> int:
    row = connection.execute("SELECT pg_backend_pid()").fetchone()
    return int(row[0]) if row else 0


class Round:
    """One turn of the keeper's work."""

    def __init__(self) -> None:
        self._expiry = OutageLog(log, "the keeper could not write down what has expired")
        self._sealing = OutageLog(log, "the keeper could not seal the record")
        self._said = -HEAD_EVERY
        self._head: seal.Head | None = None

    def once(self) -> None:
        """Do what there is to do; what fails is said in the log, and tried again in the next round."""
        with logs.round_of("keeper"):
            for outage, work in ((self._expiry, self._expire), (self._sealing, self._seal)):
                try:
                    work()
                except (DBAPIError, PoolTimeout) as error:
                    outage.failed(error)
                except Exception:  # one that fails must not keep the other from being done
                    log.exception(outage.what)
                else:
                    outage.succeeded()

    def _expire(self) -> None:
        keeper = Actor(transitions.DEADLINE, Role.ADMIN, logs.request_id.get())
        while transitions.expire_due(keeper):
            pass

    def _seal(self) -> None:
        self._head = seal.seal() or self._head
        if self._head is not None and time.monotonic() - self._said >= HEAD_EVERY:
            log.info("the record is sealed up to %s", self._head)
            self._said, self._head = time.monotonic(), None
