"""One decision: of all who approve, reject, cancel and expire an order at once one wins, the others are told."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from sqlalchemy.engine import URL

from app.services.orders.transitions import expire_due
from tests.at_once import Reply, results_of
from tests.desk.orders import EVENT_OF, SWEEPER, Line, actor_of, busy_workers, place_waiting, served
from tests.serving import Server

ROUNDS, CALLS = 200, 50
KINDS = ["approve"] * 16 + ["reject"] * 14 + ["cancel"] * 12 + ["read"] * 4 + ["expire"] * 4
BECOMES = {"approve": "released", "reject": "rejected", "cancel": "canceled"}


@pytest.fixture(scope="module")
def server(postgres_server: URL, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with served(postgres_server, tmp_path_factory.mktemp("races")) as made:
        yield made


class Race:
    """Fifty threads, and an order for each round; in every other round its deadline falls into the round."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.chance = random.Random(2026)
        self.tokens = {name: server.add_token(name, "operator") for name in ("alice", "bob", "carol")}
        self.tokens["engine"] = server.add_token("engine", "engine")
        self.ids = place_waiting(server, actor_of(server, "engine"), ROUNDS)
        self.parts = [self.chance.sample(KINDS, CALLS) for _ in range(ROUNDS)]
        self.replies: list[list[tuple[str, str, Reply]]] = [[] for _ in range(ROUNDS)]
        self.swept = 0
        self.spread = 0
        self.round = -1
        self.gate = threading.Barrier(CALLS, self.prepare)

    def prepare(self) -> None:
        self.round += 1
        if self.round == ROUNDS // 2:
            self.spread = busy_workers(self.server)
        if self.round % 2:
            self.server.sql(
                "UPDATE orders SET expires_at = clock_timestamp() + make_interval(secs => %s) WHERE id = %s",
                self.chance.uniform(0, 0.06),
                self.ids[self.round],
            )

    def caller(self, number: int) -> int:
        swept = 0
        try:
            with closing(Line(self.server)) as line, self.server.app.app_context():
                for round_ in range(ROUNDS):
                    kind = self.parts[round_][number]
                    who = "engine" if kind in ("cancel", "read") else ("alice", "bob", "carol")[number % 3]
                    self.gate.wait(30)
                    if kind == "expire":
                        swept += expire_due(SWEEPER)
                    else:
                        self.replies[round_].append((kind, who, self.call(line, kind, who, self.ids[round_])))
        except BaseException:
            self.gate.abort()
            raise
        return swept

    def call(self, line: Line, kind: str, who: str, order_id: str) -> Reply:
        """Whoever is told that the desk is busy asks again, as it says: nothing was changed."""
        while (reply := self.ask(line, kind, who, order_id)).status == 503 and reply.json["code"] == "busy":
            pass
        return reply

    def ask(self, line: Line, kind: str, who: str, order_id: str) -> Reply:
        token = self.tokens[who]
        if kind == "read":
            return line.get(f"/orders/{order_id}", token=token)
        if kind == "cancel":
            return line("POST", f"/orders/{order_id}/cancel", token=token)
        words = {"note": "go"} if kind == "approve" else {"reason": "no"}
        return line.post(f"/approvals/{order_id}/{kind}", words, token=token)

    def run(self) -> None:
        acts = [lambda number=number: self.caller(number) for number in range(CALLS)]
        self.swept = sum(results_of(*acts, seconds=570))


def check(order: tuple[Any, ...], events: list[tuple[str, str]], replies: list[tuple[str, str, Reply]]) -> None:
    """One round: one winner, everybody else knows of it, one event."""
    status, decided_by, decided_at = order
    winners = [(kind, who, reply) for kind, who, reply in replies if kind != "read" and reply.status == 200]
    if status == "expired":
        assert (winners, decided_by) == ([], "system:deadline")
    else:
        [(kind, who, reply)] = winners
        assert (BECOMES[kind], who) == (status, decided_by)
        assert (reply.json["status"], reply.json["decided_at"]) == (status, decided_at)
    assert events == [(EVENT_OF[status], decided_by)]
    for kind, _, reply in replies:
        said = reply.json
        if kind == "read":
            assert reply.status == 200
            assert said["status"] in ("pending_approval", status)
        elif reply.status != 200:
            assert (reply.status, said["code"]) == (409, "already_decided"), reply.text
            assert (said["decided_by"], said["decided_at"]) == (decided_by, decided_at)
            assert said["order"]["status"] == status
            named = "its deadline" if status == "expired" else decided_by
            assert said["detail"] == f"the order is {status} already, by {named} at {decided_at}"


@pytest.mark.timeout(1800)  # a minute or two where nothing else is done
def test_of_fifty_who_decide_an_order_at_once_exactly_one_does_in_each_of_two_hundred_rounds(
    server: Server,
) -> None:
    race = Race(server)
    race.run()
    found = {
        id_: row
        for id_, *row in server.sql(
            """SELECT id::text, status, decided_by,
                      to_char(decided_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') FROM orders"""
        )
    }
    events: dict[str, list[tuple[str, str]]] = {id_: [] for id_ in race.ids}
    for subject, action, actor in server.sql(
        "SELECT subject, action, actor FROM audit_events WHERE action LIKE 'order.%%' ORDER BY id"
    ):
        events[subject].append((action, actor))
    assert sum(map(len, race.replies)) == ROUNDS * (CALLS - KINDS.count("expire"))
    for id_, replies in zip(race.ids, race.replies, strict=True):
        check(tuple(found[id_]), events[id_], replies)

    outcomes = Counter(status for status, *_ in found.values())
    assert set(outcomes) == set(EVENT_OF), "every kind of move has won some round"
    assert race.swept <= outcomes["expired"]
    assert race.spread >= 2, "the calls went to several workers"
