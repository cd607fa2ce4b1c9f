"""Where connections lie that nobody uses: the queue of SQLAlchemy's pool, without a lock as long as nobody waits.

Its own takes one at each coming and going, which among greenlets costs an order more than the pool's other work.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Any

from sqlalchemy.pool import QueuePool
from sqlalchemy.util import queue


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
    """SQLAlchemy's pool in everything else."""

    _queue_class = Shelf
