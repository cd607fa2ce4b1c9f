"""Delivers notifications from the outbox: a thread of the leader process, and one thread for each receiver.

Each receiver that has something to be told is seen to by a thread of its own, so that one that hangs keeps neither
the others nor the next round waiting.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from datetime import timedelta

from flask import Flask
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app.domain.notifications import Message, compose, unworded
from app.lib import logs
from app.lib.outages import OutageLog
from app.services.notifications import outbox
from app.services.notifications.apprise import Messenger, NotTold, addresses
from app.settings import Settings

log = logging.getLogger(__name__)

# Seconds after its claim in which a message is sent: whoever was held up for longer leaves it to others.
FRESH = 5.0
SOONEST, LATEST = 2.0, 60.0  # seconds between two tries
CLAIMS = 2  # at the same time: pages need the connections that these have for as long as that takes
REGISTER_EVERY = 30.0  # seconds
TIDY_EVERY = 60.0


def backoff(tries: int, chance: Callable[[], float] = random.random) -> timedelta:
    """How long to wait after so many tries in vain: doubled each time, up to a minute, half of it by chance."""
    longest = min(LATEST, SOONEST * 2 ** min(tries, 10))
    return timedelta(seconds=longest * (0.5 + 0.5 * chance()))


class Notifier:
    """Tells those in NOTIFY_URLS; `messenger` sends the messages."""

    def __init__(self, app: Flask, settings: Settings, messenger: Messenger | None = None) -> None:
        secret = settings.session_secret() if settings.notify_urls else ""
        self._app = app
        self._messenger = messenger or Messenger()
        self._addresses = {address.key(secret): address for address in addresses(settings.notify_urls)}
        self._kinds = settings.notify_events
        self._before = timedelta(seconds=settings.notify_before_expiry)
        self._link = f"{settings.public_url}/trading" if settings.public_url else None
        self._registered = -REGISTER_EVERY
        self._tidied = -TIDY_EVERY
        self._busy: set[str] = set()
        self._outage = OutageLog(log, "notifications could not be sent")
        self._claiming = threading.BoundedSemaphore(CLAIMS)

    def once(self) -> None:
        """One round of whoever leads. Nobody waits for a receiver."""
        now = time.monotonic()
        if now - self._registered >= REGISTER_EVERY:
            outbox.register({key: address.name for key, address in self._addresses.items()}, self._kinds)
            self._registered = now
        if now - self._tidied >= TIDY_EVERY:
            for name, why, number in outbox.tidy():
                log.error("%d messages to %s were given up after a day: %s", number, name, why)
            self._tidied = now
        if self._addresses:
            outbox.warn(self._before)
            for key in outbox.due():
                if key in self._addresses and key not in self._busy:
                    self._busy.add(key)
                    threading.Thread(target=self._see_to, args=(key,), name="notifier", daemon=True).start()
        self._messenger.rest()

    def rest(self) -> None:
        """One round of whoever does not lead (any more)."""
        self._registered = -REGISTER_EVERY
        self._messenger.rest()

    def close(self) -> None:
        self._messenger.close()

    def _see_to(self, key: str) -> None:
        try:
            with self._app.app_context(), logs.round_of("notify"):
                self._tell(key)
        except (DBAPIError, PoolTimeout) as error:
            self._outage.failed(error)
        except Exception:
            log.exception("telling people stumbled, and goes on")
        else:
            self._outage.succeeded()
        finally:
            self._busy.discard(key)

    def _tell(self, key: str) -> None:
        with self._claiming:
            claim = outbox.claim(key)
            since = time.monotonic()
            if claim is None:
                return
            message = self._message(claim)
        address = self._addresses[key]
        if time.monotonic() - since > FRESH:
            return  # the claim ends by itself
        try:
            if message is not None:
                self._messenger.tell(address, message)
        except NotTold as problem:
            after = backoff(claim.tries)
            log.warning("%s was not told, again in %.0f s: %s", address.name, after.total_seconds(), problem)
            outbox.not_told(claim, str(problem), after)
        else:
            outbox.told(claim)

    def _message(self, claim: outbox.Claim) -> Message | None:
        """What is in the outbox, in words. What has none must not keep all that follows from being told."""
        try:
            return compose(*outbox.digest(claim), self._link)
        except (OperationalError, PoolTimeout):
            raise
        except Exception:
            log.exception("there are no words for what is in the outbox")
            return unworded(len(claim.ids), self._link)
