"""`kill -9` of a worker in the middle of submissions: what an engine or a person was told is there afterwards."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from sqlalchemy.engine import URL

from tests.at_once import results_of, until
from tests.desk.catalog import ADVISORY_LOCKS
from tests.desk.orders import Line, body, served, workers_of
from tests.serving import Server

KILLS = 4
SENDERS, DECIDERS = 6, 3


@pytest.fixture(scope="module")
def server(postgres_server: URL, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with served(postgres_server, tmp_path_factory.mktemp("kills")) as made:
        yield made


class Desk:
    """Engines that send, people who decide, and somebody who kills the workers of it all."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.engine = server.add_token("engine", "engine")
        self.alice = server.add_token("alice", "operator")
        self.sent: dict[str, dict[str, Any]] = {}  # by client_order_id, whatever became of it
        self.acknowledged: dict[str, dict[str, Any]] = {}  # by id, as the engine was told
        self.decided: dict[str, str] = {}  # by id, as the person was told
        self.failures: list[object] = []
        self.over = threading.Event()

    def persistently(self, line: Line, act: Callable[[], Any]) -> Any:
        """The answer, or None where there was none; the answer is never an error of ours."""
        try:
            reply = act()
        except OSError as error:
            self.failures.append(error)
            time.sleep(0.02)
            return None
        if reply.status == 503:
            self.failures.append(reply.text)
            return None
        assert reply.status < 500, reply.text
        return reply

    def send(self) -> None:
        with closing(Line(self.server, self.engine)) as line:
            while not self.over.is_set():
                order = body(qty="7", signal_layer="macro")
                self.sent[order["client_order_id"]] = order
                for _ in range(50):  # an engine that was not answered sends the same again
                    if reply := self.persistently(line, lambda order=order: line.post("/orders", order)):
                        assert reply.status in (200, 201), reply.text
                        self.acknowledged[reply.json["id"]] = reply.json
                        break
                else:
                    raise AssertionError("the desk does not come back")

    def decide(self) -> None:
        with closing(Line(self.server, self.alice)) as line:
            while not self.over.is_set():
                waiting = self.persistently(line, lambda: line.get("/approvals?limit=20"))
                for order, kind in zip(
                    waiting.json["items"] if waiting else (), itertools.cycle("ar"), strict=False
                ):
                    verb, words = ("approve", {}) if kind == "a" else ("reject", {"reason": "no"})
                    path = f"/approvals/{order['id']}/{verb}"
                    reply = self.persistently(line, lambda path=path, words=words: line.post(path, words))
                    if reply and reply.status == 200:
                        self.decided[order["id"]] = reply.json["status"]

    def kill(self) -> None:
        try:
            killed: set[int] = set()
            for _ in range(KILLS):
                before = len(self.acknowledged)
                until(lambda before=before: len(self.acknowledged) > before + 30, what="nothing is acknowledged")
                victim = until(lambda: [w for w in workers_of(self.server) if w.pid not in killed])[0]
                killed.add(victim.pid)
                victim.kill()
            before = len(self.acknowledged)
            until(lambda: len(self.acknowledged) > before + 30, what="it does not come back")
        finally:
            self.over.set()


def test_every_acknowledged_order_and_decision_is_there_after_kills(server: Server) -> None:
    server.sql("""UPDATE risk_configs SET config = '{"operator_approval": {"auto_approve_paper": false}}'""")
    desk = Desk(server)
    results_of(*[desk.send] * SENDERS, *[desk.decide] * DECIDERS, desk.kill, seconds=120)
    assert desk.failures, "the kills were noticed"

    stored = {
        id_: (name, status, qty)
        for id_, name, status, qty in server.sql("SELECT id::text, client_order_id, status, qty::int FROM orders")
    }
    for id_, told in desk.acknowledged.items():
        assert stored[id_][::2] == (told["client_order_id"], 7)
    for id_, status in desk.decided.items():
        assert stored[id_][1] == status
    assert {name for name, _, _ in stored.values()} <= set(desk.sent)
    assert {"released", "rejected"} <= set(desk.decided.values())

    # Nothing is half there: an order has its event, a decision has one, and there are no others.
    assert server.sql(
        "SELECT count(*), count(DISTINCT subject) FROM audit_events WHERE action = 'order.submit'"
    ) == [(len(stored), len(stored))]
    moved = server.sql(
        """
        SELECT subject, action FROM audit_events WHERE action IN ('order.approve', 'order.reject') ORDER BY subject
        """
    )
    verb = {"released": "order.approve", "rejected": "order.reject"}
    assert moved == sorted((id_, verb[status]) for id_, (_, status, _) in stored.items() if status in verb)


def test_the_desk_is_whole_again_after_kills(server: Server) -> None:
    until(lambda: len(workers_of(server)) == 3)
    until(lambda: server.sql(ADVISORY_LOCKS + " AND mode = 'ShareLock'") == [(0,)], what="a lock was left behind")
    with closing(Line(server, server.add_token("engine", "engine"))) as line:
        assert line.post("/orders", body()).status == 201
