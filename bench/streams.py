"""How soon do 500 open pages hear of a change, and what do they cost everybody else?

Run with `make bench`. The desk as it is deployed, with two workers. First 500 streams are open and an act is done
now and then; what counts is the time from sending the act to its news on every single stream. What is announced is
timed apart from what is found by looking, an order that the gate decided. Then the JSON routes are loaded on this
desk and on one without streams, by turns, and the median of the rounds' ratios counts. What comes on the streams
meanwhile stays in their sockets: the processor that reading it would take is the pages', not the server's.
"""

from __future__ import annotations

import itertools
import os
import random
import selectors
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from sqlalchemy.engine import URL

from app.db import migrate
from bench.load import Request, load
from bench.orders import posting
from tests.at_once import API, Caller
from tests.database import new_database, postgres
from tests.serving import Server, application, serve

ROUNDS = int(os.environ.get("ROUNDS", "20"))
STREAMS = 500
ACCOUNTS = 10
ACTS = 30
SECONDS = 1.0
CONNECTIONS = 8
AT_MOST = 250.0  # milliseconds until the news is there, at the median
AT_LEAST = 0.8  # of the rate without streams

numbers = itertools.count(1)
switched = itertools.cycle((False, True))


class Crowd:
    """So many open streams."""

    def __init__(self, port: int, tokens: list[str]) -> None:
        self._selector = selectors.DefaultSelector()
        for token in itertools.islice(itertools.cycle(tokens), STREAMS):
            page = socket.create_connection(("127.0.0.1", port))
            head = f"GET {API}/stream HTTP/1.1\r\nHost: desk\r\nAuthorization: Bearer {token}\r\n\r\n"
            page.sendall(head.encode())
            self._selector.register(page, selectors.EVENT_READ)
        self.heard(lambda: None, b"HTTP/1.1 200 OK")
        self.drain(1.0)

    def drain(self, seconds: float) -> None:
        """Hear whatever comes."""
        until = time.perf_counter() + seconds
        while (left := until - time.perf_counter()) > 0:
            for key, _ in self._selector.select(left):
                key.fileobj.recv(65_536)  # type: ignore[union-attr]

    def heard(self, act: Callable[[], object], word: bytes = b"data: ") -> list[float]:
        """The milliseconds until each of them had heard of `act`."""
        times: dict[int, float] = {}
        began = time.perf_counter()
        act()
        while len(times) < STREAMS:
            ready = self._selector.select(10)
            if not ready:
                raise TimeoutError(f"only {len(times)} of {STREAMS} heard of it")
            for key, _ in ready:
                said = key.fileobj.recv(65_536)  # type: ignore[union-attr]
                if not said:
                    raise ConnectionError("a stream has ended")
                if word in said and key.fd not in times:
                    times[key.fd] = (time.perf_counter() - began) * 1000
        return list(times.values())

    def close(self) -> None:
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]
        self._selector.close()


@contextmanager
def crowd(port: int, tokens: list[str]) -> Iterator[Crowd]:
    made = Crowd(port, tokens)
    try:
        yield made
    finally:
        made.close()


def delays(desk: Server, pages: Crowd) -> dict[str, list[float]]:
    """The milliseconds until the news of an act was on each stream, for both kinds of acts."""
    person = Caller(desk.url, desk.add_token("person", "operator"))
    bot = Caller(desk.url, desk.add_token("bot", "engine"))

    def switch() -> None:
        assert person.put("/signal-layers", {"macro": next(switched)}).status == 200

    def send() -> None:
        body = {"client_order_id": f"heard-{next(numbers)}", "ticker": "AAPL", "side": "buy", "qty": "1"}
        assert bot.post("/orders", body | {"type": "market"}).json["status"] == "released"

    found: dict[str, list[float]] = {"an act of a person": [], "an order that the gate released": []}
    for _ in range(ACTS):
        for name, act in zip(found, (switch, send), strict=True):
            pages.drain(random.uniform(0.4, 0.8))  # not in step with whoever looks
            found[name] += pages.heard(act)
    return found


@contextmanager
def desk(server: URL) -> Iterator[Server]:
    """The desk with two workers, on a database of its own."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        database = stack.enter_context(new_database(server))
        app = stack.enter_context(application(database, folder))
        with app.app_context():
            migrate.upgrade(database)
        yield stack.enter_context(serve(app, database, folder, workers=2))


class Loads:
    """What a desk is loaded with: orders, and a read."""

    def __init__(self, desk: Server) -> None:
        self.port = port_of(desk)
        engine, viewer = desk.add_token("load", "engine"), desk.add_token("reader", "viewer")
        asked = f"GET {API}/approvals HTTP/1.1\r\nHost: desk\r\nAuthorization: Bearer {viewer}\r\n\r\n".encode()
        self.requests: dict[str, tuple[Request, bytes]] = {
            "POST /orders": (posting(f"{API}/orders", engine), b"201"),
            "GET /approvals": (lambda number: asked, b"200"),
        }

    def rate(self, name: str) -> float:
        request, expected = self.requests[name]
        return load(self.port, request, connections=CONNECTIONS, seconds=SECONDS, expected=expected).rate


def port_of(desk: Server) -> int:
    return int(desk.url.rpartition(":")[2])


def slowed(crowded: Loads, quiet: Loads) -> dict[str, float]:
    """The rates with streams over those without, by turns, and the medians of the rounds."""
    ratios: dict[str, list[float]] = {name: [] for name in quiet.requests}
    for name, found in ratios.items():
        crowded.rate(name), quiet.rate(name)  # warm up
        for number in range(ROUNDS):
            both = (crowded, quiet) if number % 2 else (quiet, crowded)
            rates = {each: each.rate(name) for each in both}
            found.append(rates[crowded] / rates[quiet])
            print(f"  {name}: {rates[crowded]:6.0f}/s with streams, {rates[quiet]:6.0f}/s without", flush=True)
    return {name: statistics.median(found) for name, found in ratios.items()}


def main() -> int:
    with ExitStack() as stack:
        server = stack.enter_context(postgres(durable=True))
        crowded, quiet = stack.enter_context(desk(server)), stack.enter_context(desk(server))
        tokens = [crowded.add_token(f"page-{number}", "viewer") for number in range(ACCOUNTS)]
        pages = stack.enter_context(crowd(port_of(crowded), tokens))
        found = delays(crowded, pages)
        ratios = slowed(Loads(crowded), Loads(quiet))
    missed = 0
    for name, times in found.items():
        median, slow = statistics.median(times), sorted(times)[int(len(times) * 0.99)]
        print(f"{name}: on {STREAMS} streams in {median:.0f} ms (<= {AT_MOST:.0f}), 99 % in {slow:.0f} ms")
        missed += median > AT_MOST
    for name, ratio in ratios.items():
        print(f"{name}: {ratio:.2f} of its rate while {STREAMS} streams are open (>= {AT_LEAST})")
        missed += ratio < AT_LEAST
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
