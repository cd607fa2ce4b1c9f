"""Work that many ask for at once and that is the same for all of them, done once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from typing import Generic, TypeVar

Result = TypeVar("Result")


class SingleFlight(Generic[Result]):
    """`work`, of which at most one runs at a time; whoever came before it began shares what it gives or raises.

    Nobody is given what began before they came: whatever they had done by then is in it.
    """

    def __init__(self, work: Callable[[], Result]) -> None:
        self._work = work
        self._lock = threading.Lock()
        self._turn = threading.Lock()  # held by the one that runs
        self._boarding: Future[Result] | None = None  # what has not begun yet

    def __call__(self) -> Result:
        while True:
            with self._lock:
                flight, first = self._boarding, self._boarding is None
                if flight is None:
                    flight = self._boarding = Future()
            if first:
                self._run(flight)
            try:
                return flight.result()
            except CancelledError:  # whoever was to do it was stopped: do it oneself
                continue

    def _run(self, flight: Future[Result]) -> None:
        try:
            with self._turn:
                self._close(flight)
                flight.set_result(self._work())
        except Exception as error:
            self._close(flight)
            flight.set_exception(error)
        except BaseException:
            self._close(flight)
            flight.cancel()
            raise

    def _close(self, flight: Future[Result]) -> None:
        """From now on whoever comes takes the next one."""
        with self._lock:
            if self._boarding is flight:
                self._boarding = None
