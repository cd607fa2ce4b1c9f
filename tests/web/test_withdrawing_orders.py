"""An engine withdraws an order that waits."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask import Flask

from tests.conftest import Api
from tests.serving import Desk
from tests.web.conftest import Record, assert_problem
from tests.web.orders import (
    DECIDED,
    KEYS,
    LOCKOUT,
    WEIRD_IDS,
    client_of,
    configure,
    sent,
    set_deadline,
    stored,
    waiting,
)


class TestAnOrderThatWaits:
    def test_is_canceled(self, engine: Api, record: Record, holding: None) -> None:
        made = waiting(engine)
        record.new()
        answer = engine.post(f"/orders/{made['id']}/cancel", None)
        assert (answer.status_code, set(answer.json)) == (200, KEYS)
        changed = {"status": "canceled", "decided_by": "engine-0", "decided_at": answer.json["decided_at"]}
        assert answer.json == made | changed
        assert engine.get(f"/orders/{made['id']}").json == answer.json
        (event,) = record.new()
        assert (event["actor"], event["action"], event["subject"]) == ("engine-0", "order.cancel", made["id"])

    def test_needs_no_body_and_reads_none(self, engine: Api, holding: None) -> None:
        for body in (b"", b"{}", b"{{{", b'{"status": "released"}'):
            made = waiting(engine)
            answer = engine("POST", f"/orders/{made['id']}/cancel", data=body)
            assert (answer.status_code, answer.json["status"]) == (200, "canceled")

    def test_can_be_withdrawn_whatever_the_rules_are(
        self, engine: Api, operator: Api, desk: Desk, holding: None
    ) -> None:
        """Stopping is cheap: neither a lockout nor a broken configuration is in the way of it."""
        first, second = waiting(engine), waiting(engine)
        operator.post("/lockouts", LOCKOUT)
        assert engine.post(f"/orders/{first['id']}/cancel", None).status_code == 200
        configure(desk, {"operator_approval": 5})
        assert engine.post(f"/orders/{second['id']}/cancel", None).status_code == 200

    def test_is_not_approved_afterwards(self, engine: Api, operator: Api, desk: Desk, holding: None) -> None:
        made = waiting(engine)
        engine.post(f"/orders/{made['id']}/cancel", None)
        answer = operator.post(f"/approvals/{made['id']}/approve", {})
        problem = assert_problem(answer, 409, "already_decided", more=DECIDED)
        assert problem["decided_by"] == "engine-0"
        assert stored(desk, made) == "canceled"


class TestAnOrderThatIsDecided:
    @pytest.mark.parametrize("status", ["released", "blocked"])
    def test_at_the_gate_is_a_conflict(self, engine: Api, operator: Api, record: Record, status: str) -> None:
        if status == "blocked":
            operator.post("/lockouts", LOCKOUT)
        made = sent(engine, status)
        record.new()
        answer = engine.post(f"/orders/{made['id']}/cancel", None)
        problem = assert_problem(answer, 409, "already_decided", more=DECIDED)
        assert (problem["decided_by"], problem["decided_at"]) == ("system:gate", made["decided_at"])
        assert problem["order"] == made
        assert record.new() == []

    @pytest.mark.parametrize(("act", "body"), [("approve", {}), ("reject", {"reason": "no"})])
    def test_by_a_person_is_a_conflict_that_says_who_and_when(
        self, engine: Api, operator: Api, record: Record, holding: None, act: str, body: dict[str, str]
    ) -> None:
        made = waiting(engine)
        decided = operator.post(f"/approvals/{made['id']}/{act}", body).json
        record.new()
        problem = assert_problem(
            engine.post(f"/orders/{made['id']}/cancel", None), 409, "already_decided", more=DECIDED
        )
        assert problem["order"] == decided
        assert (problem["decided_by"], problem["decided_at"]) == (decided["decided_by"], decided["decided_at"])
        assert decided["decided_by"] in problem["detail"]
        assert decided["decided_at"] in problem["detail"]
        assert record.new() == []

    def test_twice_is_a_conflict_the_second_time(self, engine: Api, holding: None) -> None:
        made = waiting(engine)
        first = engine.post(f"/orders/{made['id']}/cancel", None).json
        for _ in range(2):
            answer = engine.post(f"/orders/{made['id']}/cancel", None)
            assert assert_problem(answer, 409, "already_decided", more=DECIDED)["order"] == first

    def test_by_its_deadline_is_a_conflict_and_is_written_down(
        self, engine: Api, desk: Desk, record: Record, holding: None
    ) -> None:
        made = waiting(engine)
        set_deadline(desk, made, -0.001)
        record.new()
        answer = engine.post(f"/orders/{made['id']}/cancel", None)
        problem = assert_problem(answer, 409, "already_decided", more=DECIDED)
        assert (problem["order"]["status"], problem["decided_by"]) == ("expired", "system:deadline")
        assert stored(desk, made) == "expired"
        assert [event["action"] for event in record.new()] == ["order.expire"]


class TestWhose:
    def test_another_engine_finds_no_such_order(self, app: Flask, desk: Desk, engine: Api, holding: None) -> None:
        made = waiting(engine)
        other = client_of(app, desk, "other", "engine")
        assert_problem(other.post(f"/orders/{made['id']}/cancel", None), 404, "not_found")
        assert stored(desk, made) == "pending_approval"

    @pytest.mark.parametrize("role", ["viewer", "operator", "admin"])
    def test_it_is_the_engines_to_withdraw(
        self, api: Callable[..., Api], engine: Api, desk: Desk, holding: None, role: str
    ) -> None:
        made = waiting(engine)
        assert_problem(api(role).post(f"/orders/{made['id']}/cancel", None), 403, "forbidden")
        assert stored(desk, made) == "pending_approval"

    @pytest.mark.parametrize("order_id", WEIRD_IDS)
    def test_what_never_was_is_404(self, engine: Api, order_id: str) -> None:
        for _ in range(2):
            assert_problem(engine.post(f"/orders/{order_id}/cancel", None), 404, "not_found")
