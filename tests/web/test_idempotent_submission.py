"""An engine that does not know whether its order arrived sends it again."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask

from tests.at_once import Caller, results_of
from tests.conftest import Api
from tests.serving import Desk, Server
from tests.web.conftest import Record, assert_problem
from tests.web.orders import LOCKOUT, client_of, configure, order, sent, set_deadline, waiting

STOP_LIMIT = {"type": "stop_limit", "limit_price": "10", "stop_price": "9", "reference_price": "9.5"}


class TestTheSameAgain:
    def test_is_200_and_the_same_order(self, engine: Api, desk: Desk, record: Record) -> None:
        body = order(**STOP_LIMIT, strategy="s", rationale="r", signal_layer="macro")
        made = engine.post("/orders", body)
        record.new()
        for _ in range(3):
            again = engine.post("/orders", body)
            assert (again.status_code, again.json) == (200, made.json)
            assert "Location" not in again.headers
        assert desk.sql("SELECT count(*) FROM orders") == [(1,)]
        assert record.new() == []

    @pytest.mark.parametrize(
        ("first", "second"),
        [
            ({"qty": "10"}, {"qty": "10.0"}),
            ({"qty": "10"}, {"qty": 10}),
            ({"qty": "10.000000000"}, {"qty": "0010"}),
            ({"qty": ..., "notional": "0.10"}, {"qty": None, "notional": "0.1"}),
            (STOP_LIMIT, STOP_LIMIT | {"limit_price": 10, "stop_price": "9.0", "reference_price": "9.50"}),
            ({}, {"time_in_force": "day"}),
            ({}, {"strategy": None, "rationale": None, "signal_layer": None, "reference_price": None}),
            ({}, {"strategy": "", "rationale": ""}),
            ({}, {"strategy": " ", "rationale": "\u200b"}),
            ({}, {"notional": None, "limit_price": None, "stop_price": None}),
            ({"ticker": "AAPL"}, {"ticker": " aapl "}),
        ],
    )
    def test_may_be_written_differently(self, engine: Api, first: dict[str, Any], second: dict[str, Any]) -> None:
        for one, other in ((first, second), (second, first)):
            made = sent(engine, "released", **one)
            again = engine.post("/orders", order(client_order_id=made["client_order_id"], **other))
            assert (again.status_code, again.json) == (200, made)

    def test_is_decided_once_whatever_the_rules_are_by_now(self, engine: Api, operator: Api) -> None:
        body = order()
        made = engine.post("/orders", body).json
        operator.put("/mode", {"trading_mode": "disabled"})
        operator.post("/lockouts", LOCKOUT)
        again = engine.post("/orders", body)
        assert (again.status_code, again.json) == (200, made)
        assert made["status"] == "released"

    def test_does_not_get_through_what_was_blocked(self, engine: Api, operator: Api) -> None:
        lockout = operator.post("/lockouts", LOCKOUT).json
        body = order()
        assert engine.post("/orders", body).json["status"] == "blocked"
        operator.delete(f"/lockouts/{lockout['id']}")
        again = engine.post("/orders", body)
        assert (again.status_code, again.json["status"]) == (200, "blocked")

    def test_is_answered_while_the_configuration_cannot_be_read(self, engine: Api, desk: Desk) -> None:
        body = order()
        engine.post("/orders", body)
        configure(desk, {"operator_approval": 5})
        again = engine.post("/orders", body)
        assert (again.status_code, again.json["status"]) == (200, "released")

    def test_counts_for_nothing_in_the_rate(self, engine: Api, desk: Desk) -> None:
        configure(desk, {"order_rate": {"max_orders": 2, "per_seconds": 3600}})
        body = order()
        assert [engine.post("/orders", body).status_code for _ in range(5)] == [201, 200, 200, 200, 200]
        sent(engine, "released")
        assert engine.post("/orders", body).json["status"] == "released"
        sent(engine, "blocked")


class TestItsPresentStateIsShown:
    def test_when_it_was_approved(self, engine: Api, operator: Api, holding: None) -> None:
        body = order()
        made = engine.post("/orders", body).json
        approved = operator.post(f"/approvals/{made['id']}/approve", {"note": "go"}).json
        again = engine.post("/orders", body)
        assert (again.status_code, again.json) == (200, approved)
        assert again.json["status"] == "released"

    def test_when_it_was_withdrawn(self, engine: Api, holding: None) -> None:
        body = order()
        made = engine.post("/orders", body).json
        canceled = engine.post(f"/orders/{made['id']}/cancel", None).json
        assert engine.post("/orders", body).json == canceled

    def test_when_it_has_expired(self, engine: Api, desk: Desk, record: Record, holding: None) -> None:
        body = order()
        made = engine.post("/orders", body).json
        set_deadline(desk, made, -1)
        record.new()
        again = engine.post("/orders", body)
        assert (again.status_code, again.json["status"]) == (200, "expired")
        assert [event["action"] for event in record.new()] == ["order.expire"]


class TestAnotherOrderOfTheSameId:
    @pytest.mark.parametrize(
        "change",
        [
            {"ticker": "MSFT"},
            {"side": "sell"},
            {"qty": "10.000000001"},
            {"qty": ..., "notional": "10"},
            {"type": "limit", "limit_price": "10"},
            {"time_in_force": "gtc"},
            {"reference_price": "1"},
            {"signal_layer": "macro"},
            {"strategy": "s"},
        ],
        ids=str,
    )
    def test_is_a_conflict_and_changes_nothing(
        self, engine: Api, desk: Desk, record: Record, change: dict[str, Any]
    ) -> None:
        made = sent(engine, "released")
        before = desk.sql("SELECT * FROM orders")
        record.new()
        answer = engine.post("/orders", order(client_order_id=made["client_order_id"], **change))
        assert_problem(answer, 409, "idempotency_conflict")
        assert desk.sql("SELECT * FROM orders") == before
        assert record.new() == []

    def test_is_a_conflict_after_the_first_one_was_decided_too(
        self, engine: Api, desk: Desk, holding: None
    ) -> None:
        made = waiting(engine)
        set_deadline(desk, made, -1)
        answer = engine.post("/orders", order(client_order_id=made["client_order_id"], qty="11"))
        assert_problem(answer, 409, "idempotency_conflict")

    def test_ids_differ_in_case_and_white_space(self, engine: Api) -> None:
        made = [
            sent(engine, "released", client_order_id=given)
            for given in ("a", "A", " a", "a ", "\u00e1", "a\u0301")
        ]
        assert len({one["id"] for one in made}) == 6


class TestEngines:
    def test_another_one_may_use_the_same_id(self, app: Flask, desk: Desk, engine: Api) -> None:
        other = client_of(app, desk, "other", "engine")
        body = order()
        mine, theirs = engine.post("/orders", body), other.post("/orders", body | {"qty": "11"})
        assert (mine.status_code, theirs.status_code) == (201, 201)
        assert mine.json["id"] != theirs.json["id"]
        assert engine.post("/orders", body).json == mine.json

    def test_are_accounts_so_that_keys_may_change(self, app: Flask, desk: Desk) -> None:
        old, new = (client_of(app, desk, "momentum", "engine") for _ in range(2))
        body = order()
        made = old.post("/orders", body)
        again = new.post("/orders", body)
        assert (again.status_code, again.json) == (200, made.json)
        assert_problem(new.post("/orders", body | {"qty": "11"}), 409, "idempotency_conflict")


def test_of_many_at_once_one_is_made(server: Server) -> None:
    """Over two processes: every answer is the same order, and exactly one of them is a 201."""
    call = Caller(server.url, server.add_token("momentum", "engine"))
    for _ in range(5):
        body = order()
        replies = results_of(*[lambda body=body: call.post("/orders", body) for _ in range(16)])
        assert sorted(reply.status for reply in replies) == [200] * 15 + [201]
        assert len({reply.json["id"] for reply in replies}) == 1
    assert server.sql("SELECT count(*) FROM orders") == [(5,)]
    assert server.sql("SELECT count(*) FROM audit_events WHERE action = 'order.submit'") == [(5,)]
