"""Where connections lie that nobody uses: each is had by one at a time, and whoever waits for one gets it."""

from __future__ import annotations

import threading
import time

import pytest
from sqlalchemy.util import queue

from app.db.pool import Shelf
from tests.at_once import results_of


def test_the_one_that_was_used_last_is_taken_first() -> None:
    shelf = Shelf(3)
    for item in "abc":
        shelf.put(item, False)
    assert (shelf.qsize(), shelf.full(), shelf.empty()) == (3, True, False)
    with pytest.raises(queue.Full):
        shelf.put("d", False)
    assert [shelf.get(False) for _ in range(3)] == ["c", "b", "a"]
    assert shelf.empty()
    with pytest.raises(queue.Empty):
        shelf.get(False)


def test_whoever_waits_in_vain_is_told_so() -> None:
    began = time.monotonic()
    with pytest.raises(queue.Empty):
        Shelf(1).get(True, 0.2)
    assert time.monotonic() - began >= 0.2


def test_of_many_who_wait_each_gets_one_and_nobody_the_same() -> None:
    shelf, lock = Shelf(3), threading.Lock()
    for item in range(3):
        shelf.put(item, False)
    held: set[int] = set()

    def use() -> int:
        for _ in range(2000):
            item = shelf.get(True, 30)
            with lock:
                assert item not in held
                held.add(item)
            with lock:
                held.remove(item)
            shelf.put(item, False)
        return 1

    assert sum(results_of(*[use] * 12)) == 12
    assert sorted(shelf.get(False) for _ in range(3)) == [0, 1, 2]


def test_whoever_waits_is_woken_by_what_comes() -> None:
    shelf = Shelf(1)

    def bring() -> None:
        time.sleep(0.2)
        shelf.put("connection", False)

    assert results_of(lambda: shelf.get(True, 30), bring) == ["connection", None]
