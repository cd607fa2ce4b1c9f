"""Work that many ask for at once and that is the same for all of them, done once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from typing import Generic, TypeVar

Result = TypeVar("Result")


class SingleFlight(Generic[Result]):
    """`work`, of which at most one runs at a time; whoever came before it began shares what it gives or raises.

    Unlike in what else is called so, nobody is given what began before they came: whatever they had done by then
    is in it. Who runs for longer than `patience` seconds is stuck, and the next does not wait for it any more;
    whoever got nothing in twice that time has a TimeoutError.
    """

    def __init__(self, work: Callable[[], Result], *, patience: float = 4.0) -> None:
        self._work = work
        self._patience = patience
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
                return self._run(flight)
            try:
                error = flight.exception(2 * self._patience)
            except CancelledError:  # whoever was to do it was stopped: do it oneself
                continue
            if error is not None:
                raise error.with_traceback(None)  # or it would grow with each of many
            return flight.result()

    def _run(self, flight: Future[Result]) -> Result:
        try:
            turn = self._next_turn()
            try:
                self._close(flight)
                result = self._work()
            finally:
                turn.release()
        except Exception as error:
            self._close(flight)
            flight.set_exception(error)
            raise
        except BaseException:
            self._close(flight)
            flight.cancel()
            raise
        flight.set_result(result)
        return result

    def _next_turn(self) -> threading.Lock:
        """The turn, which is now ours."""
        while not (turn := self._turn).acquire(timeout=self._patience):
            with self._lock:
                if self._turn is turn:
                    self._turn = threading.Lock()
        return turn

    def _close(self, flight: Future[Result]) -> None:
        """From now on whoever comes takes the next one."""
        with self._lock:
            if self._boarding is flight:
                self._boarding = None
