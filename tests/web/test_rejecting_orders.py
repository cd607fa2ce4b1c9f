"""A person turns an order that waits down, and says why."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from tests.conftest import Api
from tests.serving import Desk
from tests.web.conftest import Browser, Record, assert_problem
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


def reject(client: Api, made: dict[str, Any], **body: Any) -> Any:
    return client.post(f"/approvals/{made['id']}/reject", body)


class TestRejecting:
    def test_ends_the_waiting(self, engine: Api, operator: Api, record: Record, holding: None) -> None:
        made = waiting(engine)
        record.new()
        answer = reject(operator, made, reason=" too large\n")
        assert (answer.status_code, set(answer.json)) == (200, KEYS)
        changed = {"status": "rejected", "decided_by": "operator-1", "decision_note": "too large"}
        assert answer.json == made | changed | {"decided_at": answer.json["decided_at"]}
        assert engine.get(f"/orders/{made['id']}").json == answer.json
        (event,) = record.new()
        assert (event["actor"], event["action"], event["subject"]) == ("operator-1", "order.reject", made["id"])
        assert (event["note"], event["after"]["status"]) == ("too large", "rejected")

    @pytest.mark.parametrize("stop", ["lockout", "broken"])
    def test_needs_nothing_from_the_gate(
        self, engine: Api, operator: Api, desk: Desk, holding: None, stop: str
    ) -> None:
        made = waiting(engine)
        if stop == "lockout":
            operator.post("/lockouts", LOCKOUT)
        else:
            configure(desk, {"operator_approval": 5})
        assert reject(operator, made, reason="no").json["status"] == "rejected"

    def test_is_open_to_the_owner_of_the_engine(
        self, app: Flask, desk: Desk, browser: Callable[..., Browser], holding: None
    ) -> None:
        """Nobody approves an order of an engine that they own; stopping one's own is no danger."""
        alice = browser("operator", name="alice")
        made = waiting(client_of(app, desk, "momentum", "engine", owner="alice"))
        answer = alice.json("POST", f"/approvals/{made['id']}/reject", {"reason": "mine, and wrong"})
        assert (answer.status_code, answer.json["decided_by"]) == (200, "alice")


class TestTheReason:
    @pytest.mark.parametrize("reason", ["x", "é" * 500, f" {'x' * 500}\u2003", "a\nb", "<b>", "%s '"])
    def test_is_kept_trimmed(self, engine: Api, operator: Api, holding: None, reason: str) -> None:
        assert reject(operator, waiting(engine), reason=reason).json["decision_note"] == reason.strip()

    @pytest.mark.parametrize(
        ("body", "field"),
        [
            ({}, "reason"),
            *[
                ({"reason": wrong}, "reason")
                for wrong in ("", " ", "\u3000\n", "x" * 501, None, 1, True, 1.5, [], {})
            ],
            *[({"reason": "x", key: "x"}, key) for key in ("note", "id", "actor", "decided_by", "status")],
        ],
        ids=lambda item: ascii(item)[:40],
    )
    def test_is_required_and_all_that_is_read(
        self, engine: Api, operator: Api, desk: Desk, record: Record, holding: None, body: Any, field: str
    ) -> None:
        made = waiting(engine)
        record.new()
        assert_problem(reject(operator, made, **body), 422, "invalid", field)
        assert stored(desk, made) == "pending_approval"
        assert record.new() == []

    @pytest.mark.parametrize("raw", ["", "null", "[]", "{", '{"reason": "\\u0000"}', '{"reason": "\\ud800"}'])
    def test_stands_in_a_json_object(
        self, engine: Api, operator: Api, desk: Desk, holding: None, raw: str
    ) -> None:
        made = waiting(engine)
        headers = {"Content-Type": "application/json"}
        answer = operator("POST", f"/approvals/{made['id']}/reject", data=raw, headers=headers)
        assert_problem(answer, 400, "malformed_json")
        assert stored(desk, made) == "pending_approval"


class TestAnOrderThatIsDecided:
    @pytest.mark.parametrize("status", ["released", "blocked"])
    def test_at_the_gate_is_a_conflict(self, engine: Api, operator: Api, desk: Desk, status: str) -> None:
        if status == "blocked":
            operator.post("/lockouts", LOCKOUT)
        made = sent(engine, status)
        problem = assert_problem(reject(operator, made, reason="x"), 409, "already_decided", more=DECIDED)
        assert problem["order"] == made
        assert stored(desk, made) == status

    @pytest.mark.parametrize(("act", "body"), [("approve", {}), ("reject", {"reason": "no"})])
    def test_by_a_person_is_a_conflict_that_says_who_and_when(
        self, engine: Api, operator: Api, admin: Api, record: Record, holding: None, act: str, body: dict[str, str]
    ) -> None:
        made = waiting(engine)
        decided = admin.post(f"/approvals/{made['id']}/{act}", body).json
        record.new()
        problem = assert_problem(reject(operator, made, reason="x"), 409, "already_decided", more=DECIDED)
        assert problem["order"] == decided
        assert (problem["decided_by"], problem["decided_at"]) == (decided["decided_by"], decided["decided_at"])
        assert decided["decided_by"] in problem["detail"]
        assert record.new() == []

    def test_by_its_deadline_is_a_conflict_and_is_written_down(
        self, engine: Api, operator: Api, desk: Desk, record: Record, holding: None
    ) -> None:
        made = waiting(engine)
        set_deadline(desk, made, -0.001)
        record.new()
        problem = assert_problem(reject(operator, made, reason="x"), 409, "already_decided", more=DECIDED)
        assert (problem["order"]["status"], problem["decided_by"]) == ("expired", "system:deadline")
        assert problem["order"]["decision_note"] is None
        assert [event["action"] for event in record.new()] == ["order.expire"]


class TestWho:
    @pytest.mark.parametrize("role", ["viewer", "engine"])
    def test_not_a_viewer_and_not_an_engine(
        self, api: Callable[..., Api], engine: Api, desk: Desk, holding: None, role: str
    ) -> None:
        made = waiting(engine)
        assert_problem(reject(api(role), made, reason="x"), 403, "forbidden")
        assert stored(desk, made) == "pending_approval"

    @pytest.mark.parametrize("order_id", WEIRD_IDS)
    def test_what_never_was_is_404(self, operator: Api, order_id: str) -> None:
        for _ in range(2):
            assert_problem(operator.post(f"/approvals/{order_id}/reject", {"reason": "x"}), 404, "not_found")
