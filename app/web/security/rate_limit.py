"""How often and how much at once anybody may ask: bounds of one worker, kept in its memory.

A halt, a lockout and a cancel are held to none of them (`permissions.NEVER_LIMITED`), and nobody's order has been
looked at, let alone written down, when one of these says no.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

from flask import Flask, current_app, g, request
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter, RateLimiter, SlidingWindowCounterRateLimiter

from app.services.accounts import users
from app.services.accounts.login import network
from app.services.accounts.users import Claim
from app.settings import Settings
from app.web.http.errors import BUSY, Refusal
from app.web.security.permissions import LARGE_READS, LISTS

if TYPE_CHECKING:
    from limits import RateLimitItem

Key = str | bytes

# Of one credential, in parts of 4 KiB: what is under way is worked at, and whoever comes next, be it to halt,
# waits for all of it. So many small orders take a quarter of a second, and so do the twelve largest that can be.
MOST_AT_ONCE = 200
PART = 4096  # bytes of a body
LARGEST = MOST_AT_ONCE // 2  # as which a larger one counts, or it could never come in
MOST_KNOWN = 10_000  # credentials
LARGE_READS_AT_ONCE = 2
LISTS_AT_ONCE = 3
MAX_QUEUE = 64
SLOT_TIMEOUT = 5.0  # seconds
IDS_ARE_GOOD_FOR = 1.0  # seconds


@dataclass(frozen=True, slots=True)
class Rate:
    """So many in so long for each key; a limit of None is none."""

    limiter: RateLimiter
    limit: RateLimitItem | None

    def hit(self, key: str) -> int:
        """Count one; the seconds to wait where that is too many, or 0."""
        if self.limit is None or self.limiter.hit(self.limit, key):
            return 0
        return self._seconds_left(self.limit, key)

    def is_used_up(self, key: str) -> int:
        """The seconds to wait before the next, or 0. Counts nothing."""
        if self.limit is None or self.limiter.test(self.limit, key):
            return 0
        return self._seconds_left(self.limit, key)

    def _seconds_left(self, limit: RateLimitItem, key: str) -> int:
        return max(1, int(self.limiter.get_window_stats(limit, key).reset_time - time.time()) + 1)


class Slots:
    """At most `most` at a time; up to MAX_QUEUE others wait for a slot, for SLOT_TIMEOUT seconds."""

    def __init__(self, most: int) -> None:
        self._slots = threading.Semaphore(most)
        self._waiting = 0

    def take(self) -> bool:
        if self._slots.acquire(blocking=False):
            return True
        if self._waiting >= MAX_QUEUE:
            return False
        self._waiting += 1
        try:
            return self._slots.acquire(timeout=SLOT_TIMEOUT)
        finally:
            self._waiting -= 1

    def give_back(self) -> None:
        self._slots.release()


class Bounds:
    """Those of this process."""

    def __init__(self, settings: Settings) -> None:
        storage = MemoryStorage()
        self._reads = Rate(SlidingWindowCounterRateLimiter(storage), settings.read_rate)
        self._failures = Rate(MovingWindowRateLimiter(storage), settings.failed_credential_rate)
        self._known: dict[bytes, None] = {}  # credentials that held when they were shown last, oldest first
        self._ids: frozenset[str] = frozenset()
        self._ids_read_at = -IDS_ARE_GOOD_FOR
        self._under_way: Counter[Key] = Counter()
        self._lock = threading.Lock()
        self._large_reads = Slots(LARGE_READS_AT_ONCE)
        self._lists = Slots(LISTS_AT_ONCE)

    def read(self, key: Key) -> None:
        """Count a read of this credential. Raises Refusal."""
        if seconds := self._reads.hit(key if isinstance(key, str) else key.hex()):
            raise _not_yet("too_many_reads", "this credential reads too often", seconds)

    def take_slot(self, route: tuple[str, str]) -> None:
        """Wait for a slot where this read is a large one, until the request is over. Raises Refusal.

        What is worked at keeps others waiting, a halt among them: those that wait here do not.
        """
        slots = self._large_reads if route in LARGE_READS else self._lists if route in LISTS else None
        if slots is None:
            return
        if not slots.take():
            raise Refusal(HTTPStatus.SERVICE_UNAVAILABLE, BUSY, "busy", {"Retry-After": "1"})
        g.slots = slots

    # Guessing

    def may_try(self, claim: Claim | None) -> None:
        """Whether the credential is looked up at all. Raises Refusal where too many from this address were wrong.

        Nobody else's guesses at its address keep a program out: one that held before is looked up, and so is one
        that names a token that there is, for as long as not too many of that name were wrong.
        """
        if claim is not None and claim.secret_hash in self._known:
            return
        address = network(request.remote_addr or "")
        seconds = self._failures.is_used_up(address)
        if seconds and claim is not None and self._there_is(claim.token_id):
            seconds = self._failures.is_used_up(f"{address} {claim.token_id}")
        if seconds:
            raise _not_yet("too_many_tries", "too many wrong credentials came from this address", seconds)

    def _there_is(self, token_id: str) -> bool:
        """A token that holds, as of the last second."""
        if token_id not in self._ids and time.monotonic() - self._ids_read_at > IDS_ARE_GOOD_FOR:
            self._ids_read_at = time.monotonic()
            self._ids = users.token_ids()
        return token_id in self._ids

    def held(self, claim: Claim) -> None:
        if claim.secret_hash not in self._known:
            with self._lock:
                self._known[claim.secret_hash] = None
                if len(self._known) > MOST_KNOWN:
                    del self._known[next(iter(self._known))]

    def failed(self, claim: Claim | None) -> None:
        address = network(request.remote_addr or "")
        self._failures.hit(address)
        if claim is not None:
            self._known.pop(claim.secret_hash, None)
            if claim.token_id in self._ids:
                self._failures.hit(f"{address} {claim.token_id}")

    # At once

    def begin(self, key: Key) -> None:
        """Count this request as under way until it is answered. Raises Refusal."""
        length = request.content_length
        cost = min(1 + length // PART, LARGEST) if length is not None else self._of_unknown_length()
        with self._lock:
            if (held := self._under_way[key]) and held + cost > MOST_AT_ONCE:
                raise _not_yet("too_many_at_once", "too much of this credential is under way", 1)
            self._under_way[key] = held + cost
        g.under_way = (key, cost)

    def end(self) -> None:
        """This request is answered."""
        if slots := g.pop("slots", None):
            slots.give_back()
        if found := g.pop("under_way", None):
            key, cost = found
            with self._lock:
                self._under_way[key] -= cost
                if not self._under_way[key]:
                    del self._under_way[key]

    @staticmethod
    def _of_unknown_length() -> int:
        return LARGEST if "Transfer-Encoding" in request.headers else 1


def bounds() -> Bounds:
    """Those of this application."""
    found: Bounds = current_app.extensions["bounds"]
    return found


def _not_yet(code: str, detail: str, seconds: int) -> Refusal:
    """429 with Retry-After; of what Alpaca's SDK sends again upon that, only what reads is answered so."""
    reads = request.method in ("GET", "HEAD")
    at_the_door = request.path.startswith("/v2/")
    status = HTTPStatus.SERVICE_UNAVAILABLE if at_the_door and not reads else HTTPStatus.TOO_MANY_REQUESTS
    wait = f"wait {seconds} second{'s'[: seconds > 1]} and try again"
    return Refusal(status, f"{detail}: nothing was changed, {wait}", code, headers={"Retry-After": str(seconds)})


def register(app: Flask, settings: Settings) -> None:
    made = Bounds(settings)
    app.extensions["bounds"] = made

    @app.teardown_request
    def end(error: BaseException | None) -> None:
        made.end()
