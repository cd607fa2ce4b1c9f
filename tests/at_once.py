"""Doing things at the same moment, and calling the real server over HTTP."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import pytest

from app.lib import single_flight, strict_json

API = "/api/admin/trading"
SITTINGS, MAJORITY = 5, 3


def at_once(*acts: Callable[[], Any], seconds: float = 60) -> list[Any]:
    """Start all `acts` at the same moment, each in a thread of its own; their results, exceptions included."""
    results: list[Any] = [None] * len(acts)
    barrier = threading.Barrier(len(acts))

    def run(place: int, act: Callable[[], Any]) -> None:
        barrier.wait()
        try:
            results[place] = act()
        except Exception as error:
            results[place] = error

    threads = [threading.Thread(target=run, args=item, daemon=True) for item in enumerate(acts)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0, deadline - time.monotonic()))
    assert not any(thread.is_alive() for thread in threads), f"still not done after {seconds} seconds"
    return results


def results_of(*acts: Callable[[], Any], seconds: float = 60) -> list[Any]:
    """`at_once`, where none may fail."""
    results = at_once(*acts, seconds=seconds)
    for result in results:
        if isinstance(result, Exception):
            raise result
    return results


def until(
    true: Callable[[], Any], seconds: float = 20, what: str = "waited in vain", *, every: float = 0.05
) -> Any:
    """Wait until `true()` is, and return what it says. While the machine stands still no time passes.

    `every` is the pause between two calls, in seconds.
    """
    deadline = time.monotonic() + seconds
    while not (said := true()):
        looked = time.monotonic()
        assert looked < deadline, what
        time.sleep(every)
        deadline += max(0, time.monotonic() - looked - every - 0.05)
    return said


def in_one_of_three(sitting: Callable[[], Any]) -> Any:
    """What the sitting says, where that is something: other work of the machine may spoil one, a flaw all.

    For what depends on time only: whatever holds at any speed is to be asserted in the sitting itself.
    """
    for _ in range(3):
        if said := sitting():
            return said
    raise AssertionError("in none of three sittings")


def in_time(sitting: Callable[[], float], bound: float = 2.0) -> None:
    """Most of five sittings take less than `bound` seconds, on any machine: there is no allowance for a slow one.

    A sitting that other work of the machine may have spoiled gives `math.inf`. It ends once three have agreed.
    """
    took: list[float] = []
    within = 0
    while within < MAJORITY:
        took.append(sitting())
        within += took[-1] < bound
        assert len(took) - within < MAJORITY, f"not below {bound} s in {MAJORITY} of {SITTINGS} sittings: {took}"


def seats_taken(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Who has joined a `SingleFlight` that others take them along on: one entry for each, from now on."""
    taken: list[Any] = []

    class Seat(Future[Any]):
        def exception(self, timeout: float | None = None) -> BaseException | None:
            taken.append(self)
            return super().exception(timeout)

    monkeypatch.setattr(single_flight, "Future", Seat)
    return taken


def timed(act: Callable[[], Any]) -> tuple[float, Any]:
    """How many seconds that took, and what it gave."""
    began = time.monotonic()
    given = act()
    return time.monotonic() - began, given


@dataclass(frozen=True)
class Reply:
    """What the server said."""

    status: int
    headers: dict[str, str]
    text: str

    @property
    def json(self) -> Any:
        return strict_json.loads_stored(self.text)


@dataclass(frozen=True)
class Caller:
    """A script with a token, on a new connection for each call."""

    url: str
    token: str | None = None
    headers: dict[str, str] = field(default_factory=dict)

    def __call__(self, method: str, path: str, body: Any = None, *, seconds: float = 30, **headers: str) -> Reply:
        """`path` is below /api/admin/trading, unless it begins with two slashes. Raises OSError."""
        place = urlsplit(self.url)
        connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=seconds)
        sent = self.headers | {name.replace("_", "-"): value for name, value in headers.items()}
        if self.token:
            sent["Authorization"] = f"Bearer {self.token}"
        data = None
        if body is not None:
            sent.setdefault("Content-Type", "application/json")
            data = body if isinstance(body, str | bytes) else strict_json.dumps(body)
        try:
            connection.request(method, path[1:] if path.startswith("//") else API + path, data, sent)
            response = connection.getresponse()
            text = response.read().decode()
            return Reply(response.status, {k.lower(): v for k, v in response.getheaders()}, text)
        except http.client.HTTPException as error:
            raise ConnectionError(str(error)) from error
        finally:
            connection.close()

    def put(self, path: str, body: Any, **headers: str) -> Reply:
        return self("PUT", path, body, **headers)

    def post(self, path: str, body: Any) -> Reply:
        return self("POST", path, body)

    def get(self, path: str) -> Reply:
        return self("GET", path)


def statuses(replies: Sequence[Reply]) -> list[int]:
    return sorted(reply.status for reply in replies)
