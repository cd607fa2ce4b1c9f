"""Log outages in few lines: one when an outage begins, one a minute while it lasts, and one when it ends."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

import psycopg
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

REPEAT_EVERY = 60.0  # seconds
# An outage ends with a success so many seconds after the last failure. While some calls succeed and others fail,
# it goes on; otherwise each failure would begin an outage of its own.
QUIET_SECONDS = 5.0
MAX_ERROR = 300  # characters


class OutageLog:
    """The log lines about one thing that can fail for a while, in this process: `what` says what fails.

    Call `failed` and `succeeded` as often as either happens; both are cheap and may be called from any thread.
    """

    def __init__(
        self,
        logger: logging.Logger,
        what: str,
        *,
        level: int = logging.WARNING,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.what = what
        self._logger = logger
        self._level = level
        self._clock = clock
        self._lock = threading.Lock()
        self._began_at: float | None = None  # None while there is no outage
        self._last_failure_at = 0.0
        self._last_line_at = 0.0
        self._failures = 0

    @property
    def is_on(self) -> bool:
        """Whether the latest outage has not ended yet."""
        return self._began_at is not None

    def failed(self, error: object) -> None:
        """One more failure."""
        with self._lock:
            now = self._clock()
            began = self._began_at is None
            if began:
                self._began_at, self._failures = now, 0
            self._failures += 1
            self._last_failure_at = now
            if not began and now - self._last_line_at < REPEAT_EVERY:
                return
            self._last_line_at = now
            lasts, failures = self._lasts(), self._failures
        if began:
            self._logger.log(self._level, "%s: %s", self.what, first_line(error))
        else:
            self._logger.log(
                self._level,
                "%s, for %.0f s now (failures: %d): %s",
                self.what,
                lasts,
                failures,
                first_line(error),
            )

    def succeeded(self, *, certainly: bool = False) -> None:
        """One success. It ends the outage, unless a failure was just before and the end is not certain."""
        if self._began_at is None:
            return
        with self._lock:
            if self._began_at is None:
                return
            if not certainly and self._clock() - self._last_failure_at < QUIET_SECONDS:
                return
            lasts, failures = self._lasts(), self._failures
            self._began_at = None
        self._logger.log(
            min(self._level, logging.WARNING), "%s: over after %.0f s (failures: %d)", self.what, lasts, failures
        )

    def _lasts(self) -> float:
        return self._last_failure_at - (self._began_at or 0.0)


def is_outage(error: BaseException) -> bool:
    """Whether `error` says that the database cannot be used now, and not that a statement is wrong."""
    if isinstance(error, DBAPIError):
        return error.connection_invalidated or isinstance(error.orig, psycopg.OperationalError)
    return isinstance(error, psycopg.OperationalError | PoolTimeout)


def first_line(error: object) -> str:
    """The first line of an error's text, in bounds."""
    text = str(error).strip() or type(error).__name__
    return text.partition("\n")[0][:MAX_ERROR]
