"""Doing things at the same moment, and calling the real server over HTTP."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from app import strict_json

API = "/api/admin/trading"


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


def until(true: Callable[[], Any], seconds: float = 20, what: str = "waited in vain") -> Any:
    """Wait until `true()` is, and return what it says."""
    deadline = time.monotonic() + seconds
    while not (said := true()):
        assert time.monotonic() < deadline, what
        time.sleep(0.05)
    return said


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
