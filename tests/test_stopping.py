"""SIGTERM and SIGHUP while orders come in: what is in flight is finished, and what was acknowledged is there."""

from __future__ import annotations

import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from sqlalchemy.engine import URL

from app.db import migrate
from tests.at_once import Caller, until
from tests.database import new_database
from tests.desk.orders import body, workers_of
from tests.desk.test_failover import asking, open_page
from tests.serving import Server, application, serve
from tests.web.orders import HOLDS, configure

SENDERS = 6
GRACE = 40  # seconds that gunicorn.conf.py gives


@pytest.fixture
def server(postgres_server: URL, tmp_path: Path) -> Iterator[Server]:
    """One that a test may stop."""
    with new_database(postgres_server) as url, application(url, tmp_path) as here:
        with here.app_context():
            migrate.upgrade(url)
        with serve(here, url, tmp_path) as made:
            until(lambda: len(workers_of(made)) == 2)
            yield made


class Engines:
    """Several that send one order after the other, each on a connection of its own."""

    def __init__(self, server: Server) -> None:
        self.line = Caller(server.url, server.add_token("engine", "engine"))
        self.said: Counter[int] = Counter()
        self.acknowledged: set[str] = set()
        self.unanswered: list[OSError] = []
        self.over = threading.Event()
        self._threads = [threading.Thread(target=self._send, daemon=True) for _ in range(SENDERS)]

    def _send(self) -> None:
        while not self.over.is_set():
            try:
                reply = self.line.post("/orders", body())
            except OSError as error:  # there is nobody there any more, or not yet
                self.unanswered.append(error)
                self.over.wait(0.05)
                continue
            self.said[reply.status] += 1
            if reply.status == 201:
                self.acknowledged.add(reply.json["id"])

    @contextmanager
    def sending(self) -> Iterator[None]:
        for thread in self._threads:
            thread.start()
        try:
            until(lambda: len(self.acknowledged) > 20)
            yield
        finally:
            self.over.set()
            for thread in self._threads:
                thread.join(60)


def stored(server: Server) -> set[str]:
    return {order for (order,) in server.sql("SELECT id::text FROM orders")}


def test_sigterm_finishes_what_is_in_flight_and_ends_soon_though_streams_and_waits_are_open(
    server: Server,
) -> None:
    engines, person = Engines(server), Caller(server.url, server.add_token("person", "operator"))
    configure(server, HOLDS)
    waits = engines.line.post("/orders", body()).json["id"]
    with ExitStack() as pages, engines.sending():
        for _ in range(8):
            pages.enter_context(open_page(server, person))
        waiter = pages.enter_context(asking(server, engines.line, f"/orders/{waits}?wait=30"))
        began = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(GRACE + 20) == 0
        assert time.monotonic() - began < GRACE, "nobody had to be cut off"
        assert waiter.recv(100).startswith(b"HTTP/1.1 200 ")
    assert set(engines.said) == {201}, "no order that was taken in got another answer"
    assert stored(server) == engines.acknowledged | {waits}, "nothing is decided that was not answered"


def test_sighup_replaces_the_workers_and_nobody_notices(server: Server) -> None:
    engines, before = Engines(server), {worker.pid for worker in workers_of(server)}
    with engines.sending():
        server.process.send_signal(signal.SIGHUP)
        until(lambda: not {worker.pid for worker in workers_of(server)} & before, 60)
        count = len(engines.acknowledged)
        until(lambda: len(engines.acknowledged) > count + 20)
    assert engines.unanswered == []
    assert set(engines.said) == {201}
    assert stored(server) == engines.acknowledged
