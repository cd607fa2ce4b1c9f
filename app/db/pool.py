"""Where connections lie that nobody uses: SQLAlchemy's pool, with less in the way of who takes one.

Its own queue takes a lock at each coming and going, and what it hands out is wrapped up to be given back whatever
happens to it. Both cost an order more than all else that the pool does.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Any, cast

import psycopg
from sqlalchemy.pool import Pool, QueuePool
from sqlalchemy.util import queue

from app.db.statements import Line


class Shelf(queue.QueueCommon[Any]):
    """The one that was used last is taken first. Taking from a deque is one step for all threads, and so is adding
    to it."""

    def __init__(self, maxsize: int = 0, use_lifo: bool = False) -> None:
        self.maxsize = maxsize
        self.use_lifo = True
        self._free: deque[Any] = deque()
        self._waiting = 0
        self._changed = threading.Condition()

    def empty(self) -> bool:
        return not self._free

    def full(self) -> bool:
        return 0 < self.maxsize <= len(self._free)

    def qsize(self) -> int:
        return len(self._free)

    def put_nowait(self, item: Any) -> None:
        self.put(item, False)

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """Raises Full, whether it may `block` or not: a pool never has more connections than places."""
        if self.full():
            raise queue.Full
        self._free.append(item)
        # Whoever waits said so before looking for the last time: either they are seen here, or they saw the item.
        if self._waiting:
            with self._changed:
                self._changed.notify()

    def get_nowait(self) -> Any:
        return self.get(False)

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Raises Empty, after `timeout` seconds where it may `block`."""
        if self._free:
            try:
                return self._free.pop()
            except IndexError:
                """Another thread was faster."""
        if not block:
            raise queue.Empty
        return self._wait(timeout)

    def _wait(self, timeout: float | None) -> Any:
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            self._waiting += 1
            try:
                while True:
                    try:
                        return self._free.pop()
                    except IndexError:
                        left = None if deadline is None else deadline - time.monotonic()
                        if left is not None and left <= 0:
                            raise queue.Empty from None
                        self._changed.wait(left)
            finally:
                self._waiting -= 1


class ShelfPool(QueuePool):
    """SQLAlchemy's pool in everything else, but that one which was disposed of keeps nothing: what was taken then
    is closed as it comes back, rather than whenever the collector finds it."""

    _queue_class = Shelf
    _is_over = False

    def take(self) -> Any:
        """An entry of this pool (SQLAlchemy's ManagesConnection), connected, to be given back to it. Raises what
        connecting raises, and SQLAlchemy's TimeoutError where all are taken for too long."""
        entry: Any = self._do_get()
        try:
            entry.get_connection()
        except BaseException:
            self.give_back(entry)
            raise
        return entry

    def give_back(self, entry: Any) -> None:
        if self._is_over:
            entry.close()
        self._do_return_conn(entry)

    def dispose(self) -> None:
        self._is_over = True
        super().dispose()


class Taken:
    """A connection of a ShelfPool, until it is given back or thrown away; the pool's "connect" has left a `Line`
    with each."""

    __slots__ = ("_entry", "_pool", "line")

    def __init__(self, pool: Pool) -> None:
        self._pool = cast("ShelfPool", pool)
        self._entry = self._pool.take()
        self.line: Line = self._entry.info["line"]

    def give_back(self) -> None:
        """What is not committed is rolled back, unless its COMMIT is under way. Where that cannot be said to the
        server the connection is closed."""
        try:
            if not self.line.is_idle:
                self.line.ask(b"ROLLBACK")
        except psycopg.Error:
            self._entry.invalidate()
        except BaseException:
            self._entry.invalidate()
            raise
        finally:
            self._pool.give_back(self._entry)

    def throw_away(self) -> None:
        """It is closed, and the next one to come is connected anew."""
        try:
            self._entry.invalidate()
        finally:
            self._pool.give_back(self._entry)
