"""What many ask for at once is done once, and nobody is given what is older than their question."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from app.lib.single_flight import SingleFlight
from tests.at_once import at_once, results_of, seats_taken, until


class Work:
    """Something slow that can be held up; each time gives the number of times that it began."""

    def __init__(self) -> None:
        self.began = 0
        self.running = 0
        self.most_running = 0
        self.go_on = threading.Event()
        self.go_on.set()
        self.fails: Callable[[], BaseException | None] = lambda: None

    def __call__(self) -> int:
        self.began += 1
        number, self.running = self.began, self.running + 1
        self.most_running = max(self.most_running, self.running)
        try:
            assert self.go_on.wait(10)
            if error := self.fails():
                raise error
            return number
        finally:
            self.running -= 1


@pytest.fixture
def work() -> Work:
    return Work()


@pytest.fixture
def flight(work: Work) -> SingleFlight[int]:
    return SingleFlight(work)


class Asker:
    """Somebody who asks in a thread of their own."""

    def __init__(self, ask: Callable[[], Any]) -> None:
        self.answer: Any = None
        self._thread = threading.Thread(target=self._run, args=(ask,), daemon=True)
        self._thread.start()

    def _run(self, ask: Callable[[], Any]) -> None:
        try:
            self.answer = ask()
        except BaseException as error:
            self.answer = error

    def result(self) -> Any:
        self._thread.join(10)
        assert not self._thread.is_alive()
        return self.answer


def test_one_after_the_other_has_work_of_their_own(flight: SingleFlight[int]) -> None:
    assert [flight() for _ in range(3)] == [1, 2, 3]


Come = Callable[[int], list[Any]]


@pytest.fixture
def come_while_one_runs(flight: SingleFlight[int], work: Work, monkeypatch: pytest.MonkeyPatch) -> Come:
    """So many come together while one is at work, and then it goes on; what they are given."""
    taken = seats_taken(monkeypatch)

    def come(many: int) -> list[Any]:
        work.go_on.clear()
        first = Asker(flight)
        until(lambda: work.began == 1)
        others = [Asker(flight) for _ in range(many)]
        until(lambda: len(taken) == many - 1, what="one of them is to do it, and the others wait for that one")
        assert work.began == 1
        work.go_on.set()
        assert first.result() == 1
        return [other.result() for other in others]

    return come


def test_all_who_come_while_one_runs_share_the_next(come_while_one_runs: Come, work: Work) -> None:
    assert come_while_one_runs(20) == [2] * 20
    assert (work.began, work.most_running) == (2, 1)


def test_nobody_is_given_what_began_before_they_came() -> None:
    """What anybody had done when they asked is in their answer: they read their own writes."""
    done, lock, running = [0], threading.Lock(), []

    def look() -> int:
        running.append(1)
        assert len(running) == 1
        seen = done[0]
        time.sleep(0.001)
        running.pop()
        return seen

    flight = SingleFlight(look)

    def act_and_ask() -> None:
        for _ in range(100):
            with lock:
                done[0] += 1
                mine = done[0]
            assert flight() >= mine

    results_of(*[act_and_ask] * 12)
    assert done == [1200]


def test_an_error_is_everybodys_who_shared_it_and_nobodys_afterwards(
    come_while_one_runs: Come, flight: SingleFlight[int], work: Work
) -> None:
    work.fails = lambda: ValueError("no") if work.began == 2 else None
    assert [repr(answer) for answer in come_while_one_runs(5)] == ["ValueError('no')"] * 5
    assert flight() == 3


def test_where_the_one_who_does_it_is_stopped_the_others_do_it_themselves(
    come_while_one_runs: Come, work: Work
) -> None:
    work.fails = lambda: SystemExit() if work.began == 2 else None
    answers = come_while_one_runs(5)
    assert [type(answer) for answer in answers].count(SystemExit) == 1
    assert all(answer > 2 for answer in answers if not isinstance(answer, SystemExit))
    assert work.most_running == 1


def test_it_goes_on_under_a_crowd(flight: SingleFlight[int], work: Work) -> None:
    work.fails = lambda: ValueError() if work.began % 3 == 0 else None
    answers = at_once(*[lambda: [at_once(flight)[0] for _ in range(20)]] * 10)
    assert all(isinstance(answer, int | ValueError) for found in answers for answer in found)
    assert work.most_running == 1


def test_whoever_is_stuck_is_overtaken_and_has_what_they_did_in_the_end() -> None:
    numbers, go_on = itertools.count(1), threading.Event()

    def first_is_stuck() -> int:
        number = next(numbers)
        assert number > 1 or go_on.wait(20)
        return number

    flight = SingleFlight(first_is_stuck, patience=0.2)
    stuck = Asker(flight)
    assert [flight() for _ in range(3)] == [2, 3, 4]
    go_on.set()
    assert stuck.result() == 1
    assert flight() == 5


def test_where_all_are_stuck_nobody_waits_for_ever(work: Work) -> None:
    work.go_on.clear()
    flight = SingleFlight(work, patience=0.5)
    askers = [Asker(flight)]
    until(lambda: work.began == 1)
    askers += [Asker(flight) for _ in range(5)]
    until(lambda: sum(isinstance(asker.answer, TimeoutError) for asker in askers) == 4)
    assert work.began == 2
    work.go_on.set()
    assert sorted(asker.result() for asker in askers if not isinstance(asker.answer, TimeoutError)) == [1, 2]
    assert flight() == 3
