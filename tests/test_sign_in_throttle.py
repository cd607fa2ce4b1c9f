"""Admission to password checks: bounded for one source, for all together, and in memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from threading import Event, Thread

import pytest

from app.services.accounts.login_throttle import SignInThrottle, TooManyAtOnce
from app.services.errors import TooManyTries
from tests.at_once import until

ADDRESS, OTHER = "192.0.2.1", "192.0.2.2"


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def throttle(clock: Clock) -> SignInThrottle:
    return SignInThrottle(clock)


class Checks:
    """Password checks that take until `finish`."""

    def __init__(self, throttle: SignInThrottle) -> None:
        self.throttle = throttle
        self.running: list[str] = []
        self.refused: list[TooManyTries] = []
        self._finished = Event()
        self._threads: list[Thread] = []

    def start(self, source: str, *, known: bool = False) -> None:
        def check() -> None:
            try:
                with self.throttle.admit(source, known=known):
                    self.running.append(source)
                    self._finished.wait(30)
            except TooManyTries as error:
                self.refused.append(error)

        thread = Thread(target=check)
        thread.start()
        self._threads.append(thread)

    def finish(self) -> None:
        self._finished.set()
        for thread in self._threads:
            thread.join()


@pytest.fixture
def checks(throttle: SignInThrottle) -> Iterator[Checks]:
    made = Checks(throttle)
    yield made
    made.finish()


def test_refuses_from_memory_for_two_seconds_and_says_how_long_is_left(
    throttle: SignInThrottle, clock: Clock
) -> None:
    throttle.refuse(ADDRESS, 600)
    for passed, left in ((0, 600), (1.9, 598)):
        clock.now = 1000 + passed
        with pytest.raises(TooManyTries) as error, throttle.admit(ADDRESS, known=False):
            pass
        assert error.value.retry_after == left
    clock.now = 1002
    with throttle.admit(ADDRESS, known=False):
        pass


def test_any_of_the_sources_refuses_and_no_other_one(throttle: SignInThrottle) -> None:
    throttle.refuse(f"{ADDRESS} alice", 600)
    with pytest.raises(TooManyTries), throttle.admit(ADDRESS, f"{ADDRESS} alice", known=False):
        pass
    with throttle.admit(ADDRESS, f"{ADDRESS} bob", known=False), throttle.admit(OTHER, known=False):
        pass


def test_a_wait_that_ends_sooner_is_remembered_no_longer(throttle: SignInThrottle, clock: Clock) -> None:
    throttle.refuse(ADDRESS, 1)
    clock.now += 1
    throttle.check([ADDRESS])


def test_remembers_ten_thousand_refused_sources_and_forgets_the_oldest(throttle: SignInThrottle) -> None:
    for number in range(10_001):
        throttle.refuse(str(number), 600)
    throttle.check(["0"])
    with pytest.raises(TooManyTries):
        throttle.check(["1"])


def test_one_address_has_one_check_at_a_time_and_eight_in_its_queue(checks: Checks) -> None:
    for _ in range(9):
        checks.start(ADDRESS)
    until(lambda: len(checks.refused) == 1, what="the ninth is refused")
    assert isinstance(checks.refused[0], TooManyAtOnce)
    assert checks.refused[0].retry_after == 1
    assert checks.running == [ADDRESS]
    checks.finish()
    assert len(checks.running) == 8


def test_a_full_queue_holds_up_neither_another_address_nor_a_known_device(checks: Checks) -> None:
    for _ in range(8):
        checks.start(ADDRESS)
    until(lambda: checks.running == [ADDRESS], what="one runs")
    checks.start(OTHER)
    checks.start("device a", known=True)
    until(lambda: len(checks.running) == 3, what="both run beside it")


def test_two_checks_run_for_strangers_and_two_for_known_devices(checks: Checks) -> None:
    for number in range(5):
        checks.start(f"192.0.2.{number}")
        checks.start(f"device {number}", known=True)
    until(lambda: len(checks.running) == 4, what="four run")
    checks.finish()
    assert len(checks.running) == 10


def test_sixty_four_strangers_are_queued_in_all(checks: Checks) -> None:
    for number in range(65):
        checks.start(f"192.0.2.{number}")
    until(lambda: len(checks.refused) == 1, what="one is too many")
    checks.start("device a", known=True)
    until(lambda: "device a" in checks.running, what="a known device runs")


def test_those_that_are_queued_when_their_source_is_refused_are_refused_too(
    checks: Checks, throttle: SignInThrottle
) -> None:
    for _ in range(3):
        checks.start(ADDRESS)
    until(lambda: checks.running == [ADDRESS], what="one runs")
    throttle.refuse(ADDRESS, 600)
    checks.finish()
    assert [error.retry_after for error in checks.refused] == [600, 600]


def test_nothing_is_kept_of_a_check_that_failed(throttle: SignInThrottle) -> None:
    for _ in range(100):
        with suppress(ZeroDivisionError), throttle.admit(ADDRESS, known=False):
            raise ZeroDivisionError
    with throttle.admit(ADDRESS, known=False):
        pass
