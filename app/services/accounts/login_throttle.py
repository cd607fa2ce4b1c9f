"""Admit password checks: a few at a time from one address, none from an address that has used up its tries.

A password check costs a database lock, a lookup and 40 ms of processor time, so a flood of wrong passwords would
delay everyone else's sign-in. Before any of that, this object looks up in the memory of its worker how many checks
the source has under way and whether it was refused lately. A source is an address, or a device on which the person
signed in before: devices have slots of their own and wait for no stranger.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from flask import current_app
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app.db.transaction import Turns
from app.services.errors import DeskError, TooManyTries

MAX_QUEUED = 8  # checks of one source, the one that runs included
MAX_QUEUED_IN_ALL = 64  # of strangers, and again of known devices
MAX_RUNNING = 2  # likewise: a password check keeps a processor busy
QUEUE_TIMEOUT = 5.0  # seconds
MAX_REFUSED = 10_000  # sources that are remembered
RECHECK_AFTER = 2.0  # seconds: the tries are counted in the database, for all workers together


class TooManyAtOnce(TooManyTries):
    """The queue of this source is full. Nothing was counted."""

    code = "too_many_at_once"

    def __init__(self) -> None:
        DeskError.__init__(self, "too many sign-ins at the same time: nothing was tried, try again in a moment")
        self.retry_after = 1


@dataclass(frozen=True, slots=True)
class Refused:
    """A source that has used up its tries. Until `recheck_at` this is known without the database."""

    retry_at: float
    recheck_at: float


class SignInThrottle:
    """The admission of one worker. `clock` is monotonic, in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._refused: dict[str, Refused] = {}  # the oldest first
        self._queued: Counter[tuple[bool, str | None]] = Counter()
        self._one_of_a_source = Turns(QUEUE_TIMEOUT)
        self._running = {known: threading.BoundedSemaphore(MAX_RUNNING) for known in (True, False)}

    def refuse(self, source: str, seconds: int) -> None:
        """Remember that the database refused this source for so many seconds."""
        now = self._clock()
        with self._lock:
            self._refused.pop(source, None)
            self._refused[source] = Refused(now + seconds, now + min(seconds, RECHECK_AFTER))
            if len(self._refused) > MAX_REFUSED:
                del self._refused[next(iter(self._refused))]

    def check(self, sources: Sequence[str]) -> None:
        """Raises TooManyTries where one of these was refused a moment ago."""
        now = self._clock()
        with self._lock:
            for source in sources:
                found = self._refused.get(source)
                if found is None:
                    continue
                if found.recheck_at > now:
                    raise TooManyTries(max(1, round(found.retry_at - now)))
                del self._refused[source]

    @contextmanager
    def admit(self, *sources: str, known: bool) -> Iterator[None]:
        """A turn for one password check. The first source is the one whose checks run one after the other; all of
        them are checked. `known` is for a device on which the person signed in before.

        Raises TooManyTries, and SQLAlchemy's TimeoutError where the turn is long in coming.
        """
        self.check(sources)
        with ExitStack() as held:
            held.enter_context(self._queue(sources[0], known))
            held.enter_context(self._one_of_a_source.of((known, sources[0])))
            held.enter_context(self._run(known))
            self.check(sources)
            yield

    @contextmanager
    def _run(self, known: bool) -> Iterator[None]:
        if not self._running[known].acquire(timeout=QUEUE_TIMEOUT):
            raise PoolTimeout("too many password checks are under way")
        try:
            yield
        finally:
            self._running[known].release()

    @contextmanager
    def _queue(self, source: str, known: bool) -> Iterator[None]:
        keys = {(known, source): MAX_QUEUED, (known, None): MAX_QUEUED_IN_ALL}
        with self._lock:
            if any(self._queued[key] >= most for key, most in keys.items()):
                raise TooManyAtOnce
            self._queued.update(keys.keys())
        try:
            yield
        finally:
            with self._lock:
                for key in keys:
                    self._queued[key] -= 1
                    if not self._queued[key]:
                        del self._queued[key]


def throttle() -> SignInThrottle:
    """That of this application."""
    found: SignInThrottle = current_app.extensions["sign_in_throttle"]
    return found
