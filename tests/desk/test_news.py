"""What is on record is announced, or found by whoever looks; nothing that is visible is overlooked."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from app.services.live import changes
from tests.at_once import in_one_of_three
from tests.conftest import Api
from tests.database import connect
from tests.serving import Desk
from tests.web.orders import HOLDS, LOCKOUT, configure, order, set_deadline

EVENT = "INSERT INTO audit_events (actor, action, subject, request_id) VALUES ('x', 'mode.change', 'x', 'x')"
OLD = """
    INSERT INTO symbol_lockouts (ticker, reason, created_by, created_at, expires_at)
    SELECT 'T', 'x', 'x', now() - interval '20 days', now() - interval '10 days' FROM generate_series(1, 50000);
    INSERT INTO orders (account_id, engine, client_order_id, ticker, side, qty, type, time_in_force, trading_mode,
                        status, expires_at, created_at, decided_at, decided_by)
    SELECT 1, 'x', 'o-' || n, 'T', 'buy', 1, 'market', 'day', 'paper', 'expired', at, at - interval '1 s', at, 'x'
    FROM generate_series(1, 50000) n, LATERAL (SELECT now() - interval '1 h' AS at) AS instant;
    INSERT INTO audit_events (actor, action, subject, after, request_id)
    SELECT 'x', 'order.submit', 'x', '{"status": "released"}', 'x' FROM generate_series(1, 50000)
"""


@pytest.fixture
def eye(desk: Desk) -> Iterator[psycopg.Connection[Any]]:
    with connect(desk.database) as connection:
        yield connection


@contextmanager
def listening(desk: Desk) -> Iterator[Callable[[], int]]:
    """How often there was news since it was asked last."""
    with connect(desk.database) as connection:
        connection.execute(f"LISTEN {changes.CHANNEL}")  # type: ignore[arg-type]

        def heard() -> int:
            """Whatever was committed by now is heard before what is said now."""
            desk.sql("SELECT pg_notify(%s, 'so far')", changes.CHANNEL)
            payloads = [said.payload for said in connection.notifies(timeout=20, stop_after=1)]
            while payloads[-1:] != ["so far"]:
                more = [said.payload for said in connection.notifies(timeout=20, stop_after=1)]
                assert more, "nothing is heard any more"
                payloads += more
            return len(payloads) - 1

        yield heard


class TestAnnounced:
    @pytest.mark.parametrize(
        ("act", "times"),
        [
            (lambda one: one["operator"].put("/signal-layers", {"macro": False}), 1),
            (lambda one: one["operator"].post("/lockouts", LOCKOUT), 1),
            (lambda one: one["operator"].put("/mode", {"trading_mode": "disabled"}), 1),
            (lambda one: one["engine"].post("/orders", order()), 1),
            (lambda one: one["engine"].post(f"/orders/{one['waits']}/cancel", None), 1),
            (lambda one: one["operator"].post(f"/approvals/{one['waits']}/approve", {}), 1),
            (lambda one: one["engine"].post("/orders", order(signal_layer="competitive", ticker="BLOCKED")), 0),
        ],
        ids=["rule", "lockout", "halt that cancels three", "waits", "withdrawn", "approved", "blocked"],
    )
    def test_is_every_act_once_but_an_order_that_the_gate_decided(
        self, desk: Desk, api: Callable[..., Api], act: Callable[[dict[str, Any]], Any], times: int
    ) -> None:
        configure(desk, HOLDS)
        one: dict[str, Any] = {"operator": api("operator"), "engine": api("engine")}
        one["operator"].post("/lockouts", LOCKOUT | {"ticker": "BLOCKED"})
        for _ in range(3):
            one["waits"] = one["engine"].post("/orders", order()).json["id"]
        with listening(desk) as heard:
            assert act(one).status_code in (200, 201)
            assert heard() == times

    def test_is_nothing_that_was_not_committed(self, desk: Desk) -> None:
        with listening(desk) as heard, connect(desk.database) as connection:
            with connection.transaction(force_rollback=True):
                connection.execute(EVENT)
            assert heard() == 0
            connection.execute(EVENT)
            assert heard() == 1


class TestFoundByLooking:
    def test_is_whatever_was_written(self, desk: Desk, eye: psycopg.Connection[Any]) -> None:
        first = changes.look(eye)
        assert first.is_news_after(None)
        assert (first.version, first.next_end, first.seconds_to_next_end) == (0, None, None)
        assert not changes.look(eye).is_news_after(first)
        desk.sql(EVENT)
        second = changes.look(eye)
        assert second.is_news_after(first)
        assert second.version == 1
        assert not changes.look(eye).is_news_after(second)

    @pytest.mark.parametrize("before", [0, 1, 500])
    def test_is_an_event_that_is_committed_after_a_later_one(
        self, desk: Desk, eye: psycopg.Connection[Any], before: int
    ) -> None:
        desk.sql(f"{EVENT.partition(' VALUES')[0]} SELECT 'x', 'x', 'x', 'x' FROM generate_series(1, {before})")
        with connect(desk.database) as slow:
            with slow.transaction():
                slow.execute(EVENT)
                for _ in range(10):
                    desk.sql(EVENT)
                earlier = changes.look(eye)
            later = changes.look(eye)
        assert earlier.version == later.version
        assert later.is_news_after(earlier)

    def test_is_the_end_of_a_lockout_and_of_an_order(
        self, desk: Desk, api: Callable[..., Api], eye: psycopg.Connection[Any]
    ) -> None:
        configure(desk, HOLDS)
        made = api("engine").post("/orders", order()).json
        api("operator").post("/lockouts", LOCKOUT)

        def sitting() -> bool:
            set_deadline(desk, made, 0.4)
            desk.sql(
                "UPDATE symbol_lockouts SET created_at = now() - interval '1 h',"
                " expires_at = now() + interval '0.2 s'"
            )
            seen = [changes.look(eye)]
            for _ in range(2):
                left = seen[-1].seconds_to_next_end
                if left is None:
                    return False  # both were over
                assert 0 < left <= 0.2
                desk.sql("SELECT pg_sleep(%s)", left)
                seen.append(changes.look(eye))
                assert seen[-1].is_news_after(seen[-2])
                following = changes.look(eye)
                assert not following.is_news_after(seen[-1]) or following.next_end != seen[-1].next_end
            assert {look.version for look in seen} == {seen[0].version}
            return seen[-1].next_end is None

        in_one_of_three(sitting)


def test_looking_costs_the_same_whatever_lies_behind_it(desk: Desk) -> None:
    desk.sql(OLD)
    for table in ("audit_events", "orders", "symbol_lockouts"):
        desk.sql(f"VACUUM ANALYZE {table}")
    [(plans,)] = desk.sql(f"EXPLAIN (ANALYZE, FORMAT JSON) {changes.LOOK}")

    def scans(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
        if "Relation Name" in plan:
            yield plan
        for below in plan.get("Plans", ()):
            yield from scans(below)

    found = list(scans((plans if isinstance(plans, list) else json.loads(plans))[0]["Plan"]))
    assert len(found) == 3
    assert all(scan["Node Type"].startswith("Index") for scan in found)
    assert sum(scan["Actual Rows"] for scan in found) == 200
    desk.reset()
    for table in ("audit_events", "orders", "symbol_lockouts"):
        desk.sql(f"ANALYZE {table}")
