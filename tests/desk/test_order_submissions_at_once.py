"""Engines that send many orders at once, to several workers: the rate holds, and no order is made twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from typing import Any

import pytest
from sqlalchemy.engine import URL

from tests.at_once import Reply, results_of, statuses
from tests.desk.orders import Line, body, busy_workers, served
from tests.serving import Server


@pytest.fixture(scope="module")
def shared(postgres_server: URL, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with served(postgres_server, tmp_path_factory.mktemp("at-once")) as made:
        yield made


@pytest.fixture
def server(shared: Server) -> Server:
    """Three workers on an empty desk."""
    shared.reset()
    return shared


@pytest.fixture
def engine(server: Server) -> str:
    return server.add_token("engine", "engine")


@pytest.fixture
def lines(server: Server) -> Iterator[list[Line]]:
    """Sixty connections that are open already."""
    reader = server.add_token("reader", "viewer")
    made = [Line(server, reader) for _ in range(60)]
    for line in made:
        assert line.get("/mode").status == 200
    assert busy_workers(server) >= 2, "they go to several workers"
    yield made
    for line in made:
        line.close()


def send(lines: list[Line], token: str, bodies: list[dict[str, Any]]) -> list[Reply]:
    """All at the same moment, each on a line of its own."""
    return results_of(
        *(partial(line.post, "/orders", sent, token=token) for line, sent in zip(lines, bodies, strict=False))
    )


def limit_rate(server: Server, most: int, seconds: int = 600) -> None:
    with closing(Line(server, server.add_token("limiter", "admin"))) as admin:
        limits = {"config": {"order_rate": {"max_orders": most, "per_seconds": seconds}}}
        assert admin.put("/config", limits, If_Match="*").status == 200


def accepted(replies: list[Reply]) -> int:
    """How many were released; the others were blocked by the rate and by nothing else."""
    assert statuses(replies) == [201] * len(replies)
    for reply in replies:
        if reply.json["status"] != "released":
            assert reply.json["status"] == "blocked"
            assert [reason["code"] for reason in reply.json["reasons"]] == ["order_rate_limit"]
    return sum(reply.json["status"] == "released" for reply in replies)


@pytest.mark.parametrize("most", [0, 1, 17, 59])
def test_of_sixty_at_once_exactly_as_many_are_accepted_as_the_rate_allows(
    server: Server, engine: str, lines: list[Line], most: int
) -> None:
    limit_rate(server, most)
    assert accepted(send(lines, engine, [body() for _ in lines])) == most
    assert accepted(send(lines, engine, [body() for _ in lines])) == 0
    assert server.sql("SELECT status, count(*) FROM orders GROUP BY 1 HAVING status = 'released'") == (
        [("released", most)] if most else []
    )


def test_the_window_slides_and_each_engine_has_its_own(server: Server, engine: str, lines: list[Line]) -> None:
    limit_rate(server, 10, seconds=60)
    other = server.add_token("other", "engine")
    both = results_of(
        *(
            partial(line.post, "/orders", body(), token=(engine, other)[number % 2])
            for number, line in enumerate(lines)
        )
    )
    assert [accepted(both[::2]), accepted(both[1::2])] == [10, 10]
    server.sql(
        "UPDATE orders SET created_at = created_at - interval '60 seconds' WHERE seq IN"
        " (SELECT seq FROM orders WHERE engine = 'engine' AND status = 'released' LIMIT 4)"
    )
    assert accepted(send(lines, engine, [body() for _ in lines])) == 4
    assert accepted(send(lines, other, [body() for _ in lines])) == 0


def test_orders_sent_again_do_not_count_towards_the_rate(server: Server, engine: str, lines: list[Line]) -> None:
    limit_rate(server, 2)
    first = body()
    assert statuses(send(lines, engine, [first] * 30)) == [200] * 29 + [201]
    assert accepted(send(lines, engine, [body(), body()])) == 1


def test_an_order_that_waits_counts_towards_the_rate_and_is_not_counted_again_at_its_approval(
    server: Server, engine: str, lines: list[Line]
) -> None:
    server.sql(
        """UPDATE risk_configs SET config = '{"operator_approval": {"auto_approve_paper": false},
           "order_rate": {"max_orders": 5, "per_seconds": 600}}'"""
    )
    replies = send(lines, engine, [body() for _ in lines])
    waiting = [reply.json["id"] for reply in replies if reply.json["status"] == "pending_approval"]
    assert len(waiting) == 5
    alice = server.add_token("alice", "operator")
    approved = results_of(
        *(
            partial(line.post, f"/approvals/{id_}/approve", {}, token=alice)
            for line, id_ in zip(lines, waiting, strict=False)
        )
    )
    assert statuses(approved) == [200] * 5


def test_fifty_posts_of_one_order_at_once_make_one_order(server: Server, engine: str, lines: list[Line]) -> None:
    for round_ in range(5):
        sent = body(client_order_id=f"same-{round_}", qty="10.0" if round_ % 2 else "10")
        again = sent | {"qty": 10}  # the same, said otherwise
        replies = send(lines, engine, [sent, again] * 25)
        assert statuses(replies) == [200] * 49 + [201]
        order = replies[0].json
        assert all(reply.json == order for reply in replies), "all are told the same"
        assert server.sql("SELECT count(*) FROM audit_events WHERE subject = %s", order["id"]) == [(1,)]
    assert server.sql("SELECT count(*), count(DISTINCT id) FROM orders") == [(5, 5)]


def test_of_fifty_different_orders_under_one_name_one_is_made(
    server: Server, engine: str, lines: list[Line]
) -> None:
    for round_ in range(5):
        bodies = [body(client_order_id=f"clash-{round_}", qty=str(number)) for number in range(1, 51)]
        replies = send(lines, engine, bodies)
        assert Counter(statuses(replies)) == {201: 1, 409: 49}
        [(winner, sent)] = [(r.json, b) for r, b in zip(replies, bodies, strict=True) if r.status == 201]
        assert winner["qty"] == sent["qty"]
        for reply in replies:
            assert reply.status == 201 or reply.json["code"] == "idempotency_conflict"
        assert server.sql("SELECT qty FROM orders WHERE client_order_id = %s", f"clash-{round_}") == [
            (int(sent["qty"]),)
        ]
    assert server.sql("SELECT count(*) FROM audit_events WHERE action = 'order.submit'") == [(5,)]


def test_engines_may_use_the_same_name_each_for_its_own_order(
    server: Server, engine: str, lines: list[Line]
) -> None:
    tokens = [engine, server.add_token("other", "engine"), server.add_token("third", "engine")]
    sent = body(client_order_id="mine")
    replies = results_of(
        *(partial(line.post, "/orders", sent, token=tokens[n % 3]) for n, line in enumerate(lines))
    )
    assert Counter(statuses(replies)) == {201: 3, 200: 57}
    for number in range(3):
        assert len({reply.json["id"] for reply in replies[number::3]}) == 1
    assert len({reply.json["id"] for reply in replies}) == 3


def test_a_second_token_of_an_engine_is_the_same_engine(server: Server, engine: str, lines: list[Line]) -> None:
    tokens = [engine, server.add_token("engine", "engine")]
    sent = body(client_order_id="rotated")
    replies = results_of(
        *(partial(line.post, "/orders", sent, token=tokens[n % 2]) for n, line in enumerate(lines))
    )
    assert Counter(statuses(replies)) == {201: 1, 200: 59}
