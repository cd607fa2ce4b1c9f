"""What has to be done about every second, by one of all the workers: a leader, chosen by an advisory lock.

Nothing depends on it for being right: an order expires by the clock, whether that is written down or not.
"""

from __future__ import annotations

import logging
import threading
import time

import psycopg
from flask import Flask
from sqlalchemy.engine import URL

from app.desk import orders, sealing
from app.desk.actor import Actor
from app.domain.roles import Role

log = logging.getLogger(__name__)

LEADER_LOCK = 0x4B6565706572  # "Keeper"
EVERY = 1.0  # seconds
HEAD_EVERY = 60.0  # seconds, between two heads of the record in the log
MOST_AT_ONCE = 1000
ACTOR = Actor(orders.DEADLINE, Role.ADMIN, "keeper")


def start(app: Flask, url: URL) -> None:
    """Keep the desk from this process on, in a thread of its own."""
    dsn = url.set(drivername="postgresql").render_as_string(hide_password=False)
    threading.Thread(target=_run, args=(app, dsn), name="keeper", daemon=True).start()


def _run(app: Flask, dsn: str) -> None:
    while True:
        try:
            with psycopg.connect(
                dsn, autocommit=True, connect_timeout=5, application_name="countersign keeper"
            ) as connection:
                _lead(app, connection)
        except psycopg.Error as error:
            log.warning("the keeper has no database: %s", error)
        except Exception:
            log.exception("the keeper stumbled, and begins again")
        time.sleep(EVERY)


def _lead(app: Flask, connection: psycopg.Connection) -> None:
    """Become the leader, sooner or later, and stay it for as long as the connection lasts."""
    while connection.execute("SELECT pg_try_advisory_lock(%s)", [LEADER_LOCK]).fetchone() != (True,):
        time.sleep(EVERY)
    round_ = Round()
    while True:
        with app.app_context():
            round_.once()
        time.sleep(EVERY)
        connection.execute("SELECT 1")  # whoever lost the connection has lost the lock


class Round:
    """One turn of the keeper's work."""

    def __init__(self) -> None:
        self._said = 0.0
        self._head: sealing.Head | None = None

    def once(self) -> None:
        for work in (expire, self._seal):
            try:
                work()
            except Exception as error:  # one that fails must not keep the other from being done
                log.warning("the keeper could not %s: %s", work.__name__.strip("_"), error)

    def _seal(self) -> None:
        self._head = sealing.seal() or self._head
        if self._head is not None and time.monotonic() - self._said >= HEAD_EVERY:
            log.info("the record is sealed up to %s", self._head)
            self._said, self._head = time.monotonic(), None


def expire() -> int:
    """Write down all that has expired; how many orders that were."""
    total = 0
    while done := orders.expire_due(ACTOR, most=MOST_AT_ONCE):
        total += done
    return total
