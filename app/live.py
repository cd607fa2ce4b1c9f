"""What happens elsewhere, heard here: one LISTEN connection for a process, fanned out to all who wait in it."""

from __future__ import annotations

import logging
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from flask import current_app
from sqlalchemy.engine import URL

from app.desk.moves import CHANNEL, MANY

log = logging.getLogger(__name__)

AGAIN_AFTER = 1.0  # seconds, when the connection was lost
LOOK_UP_EVERY = 1.0  # seconds, to see whether to stop
# Each who waits holds one of the connections that the worker has for everybody, and looks again after every wake.
MOST_OF_ONE = 200  # who wait in a process for one account
MOST = 400  # who wait in a process


class Hub:
    """Waiters by what they wait for. The connection is opened with the first waiter, so after the fork."""

    def __init__(self, url: URL) -> None:
        self._dsn = url.set(drivername="postgresql").render_as_string(hide_password=False)
        self._lock = threading.Lock()
        self._waiters: dict[str, set[threading.Event]] = defaultdict(set)
        self._waiting: Counter[int | None] = Counter()
        self._thread: threading.Thread | None = None
        self._stopped = threading.Event()

    @contextmanager
    def listening(self, key: str, account_id: int | None) -> Iterator[threading.Event | None]:
        """An event that is set when there is news of `key`, or when there may have been some unheard.

        Look at the thing itself after this has begun and after every wake: news is only a reason to look. None
        where too many wait already, of this account or in all: then look, and wait no more.
        """
        news = threading.Event()
        with self._lock:
            crowded = self._waiting[account_id] >= MOST_OF_ONE or self._waiting.total() >= MOST
            if not crowded:
                self._waiting[account_id] += 1
                self._waiters[key].add(news)
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="live", daemon=True)
                    self._thread.start()
        if crowded:
            yield None
            return
        try:
            yield news
        finally:
            with self._lock:
                self._waiting[account_id] -= 1
                self._waiters[key].discard(news)
                if not self._waiters[key]:
                    del self._waiters[key]

    def stop(self) -> None:
        """Close the connection, and wait until it is closed."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self._listen()
            except psycopg.Error as error:
                log.warning("live updates are interrupted: %s", error)
                self._stopped.wait(AGAIN_AFTER)

    def _listen(self) -> None:
        with psycopg.connect(
            self._dsn, autocommit=True, connect_timeout=5, application_name="countersign live"
        ) as connection:
            connection.execute(f"LISTEN {CHANNEL}")
            self._tell(MANY)  # whatever was said while nobody listened
            while not self._stopped.is_set():
                for notification in connection.notifies(timeout=LOOK_UP_EVERY):
                    self._tell(notification.payload)

    def _tell(self, key: str) -> None:
        with self._lock:
            groups = list(self._waiters.values()) if key == MANY else [self._waiters.get(key, set())]
            for waiter in [waiter for group in groups for waiter in group]:
                waiter.set()


def hub() -> Hub:
    """The hub of this application."""
    found: Hub = current_app.extensions["live"]
    return found
