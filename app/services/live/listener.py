"""What happens elsewhere, heard here: one LISTEN connection for a process, fanned out to all who wait in it."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from flask import current_app
from sqlalchemy.engine import URL

from app.db.transaction import CONNECTING
from app.domain.roles import Act, may
from app.lib import metrics
from app.lib.outages import OutageLog
from app.services.accounts import login
from app.services.actor import Actor
from app.services.live import changes, streams
from app.services.live.streams import Stream, Streams
from app.services.orders.transitions import CHANNEL, MANY

log = logging.getLogger(__name__)

AGAIN_AFTER = 1.0  # seconds, when there is no connection
PATIENCE = "SET statement_timeout = '5s'"
STUCK_AFTER = 6.0  # seconds
# While streams are open:
ROUNDS_EVERY = 0.1  # seconds, at the least between two rounds of news
LOOK_EVERY = 0.15  # seconds, for what nobody announces
CROWD = 10  # events at one look: orders come faster than anybody can follow each, and ...
IN_A_CROWD = 3  # ... all of this takes so many times as long, for the processor is the orders'
CREDENTIALS_EVERY = 1.0  # seconds, to see which still hold
# Each who waits holds one of the connections that the worker has for everybody, and looks again after every wake.
MOST_OF_ONE = 200  # who wait in a process for one account
MOST = 400  # who wait in a process


class Hub:
    """Waiters by what they wait for, and streams. The connection is opened with the first, so after the fork."""

    def __init__(self, url: URL) -> None:
        self.streams = Streams()
        self._dsn = url.set(drivername="postgresql").render_as_string(hide_password=False)
        self._lock = threading.Lock()
        self._waiters: dict[str, set[threading.Event]] = defaultdict(set)
        self._waiting: Counter[int | None] = Counter()
        self._thread: threading.Thread | None = None
        self._looked_at = 0.0
        self.has_ended = False  # then nobody is to wait any longer
        self._stopped = threading.Event()
        self._failures = 0  # one after the other
        self._outage = OutageLog(log, "live updates are interrupted")

    def stream(self, actor: Actor) -> Stream | None:
        """News while the credential of `actor` holds, to be closed; None where too many hear it already, or where
        nobody has looked for any in a while."""
        if self._thread is not None and time.monotonic() - self._looked_at > STUCK_AFTER:
            return None
        stream = self.streams.open(actor.account_id, actor.token_id or actor.session_hash)
        if stream is not None:
            with self._lock:
                self._start()
        return stream

    @contextmanager
    def listening(self, key: str, account_id: int | None) -> Iterator[threading.Event | None]:
        """An event that is set when there is news of `key`, or when there may have been some unheard.

        Look at the thing itself after this has begun and after every wake: news is only a reason to look. None
        where too many wait already, of this account or in all, or the process ends: then look, and wait no more.
        """
        heard = threading.Event()
        with self._lock:
            crowded = self._waiting[account_id] >= MOST_OF_ONE or self._waiting.total() >= MOST
            nobody_waits = self.has_ended or crowded
            if not nobody_waits:
                self._waiting[account_id] += 1
                self._waiters[key].add(heard)
                metrics.WAITS.inc()
                self._start()
        if nobody_waits:
            yield None
            return
        try:
            yield heard
        finally:
            with self._lock:
                self._waiting[account_id] -= 1
                metrics.WAITS.dec()
                self._waiters[key].discard(heard)
                if not self._waiters[key]:
                    del self._waiters[key]

    def end(self) -> None:
        """Whoever waits is answered with what is so now, and streams end: clients come back to another process."""
        self.has_ended = True
        self.streams.close()
        self._tell(MANY)

    def stop(self) -> None:
        """End, close the connection, and wait until it is closed."""
        self.end()
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()

    def _start(self) -> None:
        if self._thread is None:
            self._looked_at = time.monotonic()
            self._thread = threading.Thread(target=self._run, name="live", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self._listen()
            except Exception as error:
                if isinstance(error, psycopg.Error):
                    self._outage.failed(error)
                else:
                    log.exception("live updates stumbled, and begin again")
                self._failures += 1
            # A connection may well break. Where no other is to be had, pages are to know that they hear nothing.
            if self._failures > 1:
                self.streams.end()
                self._stopped.wait(AGAIN_AFTER)

    def _listen(self) -> None:
        with self._connect() as connection:
            connection.execute(f"{PATIENCE}; LISTEN {CHANNEL}; LISTEN {changes.CHANNEL}")
            watch = Watch(connection, self.streams)
            self._tell(MANY)  # whatever was said while nobody listened
            while not self._stopped.is_set():
                for heard in connection.notifies(timeout=watch.seconds_left(), stop_after=1):
                    if heard.channel == changes.CHANNEL:
                        watch.announced = True
                    else:
                        self._tell(heard.payload)
                        watch.ask_again |= heard.payload == MANY
                watch.turn()
                self._outage.succeeded()
                self._failures, self._looked_at = 0, time.monotonic()

    def _connect(self) -> psycopg.Connection[Any]:
        return psycopg.connect(
            self._dsn,
            autocommit=True,
            application_name="countersign live",
            **CONNECTING,
        )

    def _tell(self, key: str) -> None:
        with self._lock:
            groups = list(self._waiters.values()) if key == MANY else [self._waiters.get(key, set())]
            for waiter in [waiter for group in groups for waiter in group]:
                waiter.set()


class Watch:
    """What the streams are told, from one connection: nothing while there are none."""

    def __init__(self, connection: psycopg.Connection[Any], open_streams: Streams) -> None:
        self.announced = False  # something is to be told
        self.ask_again = True  # a credential may have ended
        self._connection = connection
        self._streams = open_streams
        self._seen: changes.Look | None = None  # then the first look is news: something may have been missed
        self._look_at = self._tell_at = self._ask_at = 0.0
        self._beat_at = time.monotonic() + streams.BEAT_EVERY

    def seconds_left(self) -> float:
        """Until there is something to do, if nothing is heard before."""
        if not self._streams:
            return LOOK_EVERY
        due = min(self._look_at, self._tell_at) if self.announced else self._look_at
        return max(0.0, due - time.monotonic())

    def turn(self) -> None:
        """Do what is due."""
        now = time.monotonic()
        if not self._streams:
            self._seen = None
            self._beat_at = now + streams.BEAT_EVERY
            return
        if self.ask_again or now >= self._ask_at:
            self.ask_again, self._ask_at = False, now + CREDENTIALS_EVERY
            self._end_what_has_ended()
        if now >= self._look_at or (self.announced and now >= self._tell_at):
            self._look(now)

    def _look(self, now: float) -> None:
        seen = changes.look(self._connection)
        self.announced |= seen.is_news_after(self._seen)
        slower = IN_A_CROWD if self._seen and seen.version - self._seen.version >= CROWD else 1
        self._seen = seen
        to_end = LOOK_EVERY if seen.seconds_to_next_end is None else seen.seconds_to_next_end
        self._look_at = now + slower * min(max(to_end, ROUNDS_EVERY), LOOK_EVERY)
        if self.announced and now >= self._tell_at:
            self._streams.tell(seen.version)
            self.announced, self._tell_at = False, now + slower * ROUNDS_EVERY
        if now >= self._beat_at:
            self._streams.beat(seen.version)
            self._beat_at = now + streams.BEAT_EVERY

    def _end_what_has_ended(self) -> None:
        """One question for all of them."""
        asked = self._streams.credentials()
        roles = login.roles_of(self._connection, asked)
        self._streams.end_of({one for one in asked if one not in roles or not may(roles[one], Act.READ_DESK)})


def hub() -> Hub:
    """The hub of this application."""
    found: Hub = current_app.extensions["live"]
    return found
