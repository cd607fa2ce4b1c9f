"""A person countersigns an order that waits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from tests.at_once import Caller, results_of
from tests.conftest import Api
from tests.serving import Desk, Server
from tests.web.conftest import Browser, Record, assert_problem
from tests.web.orders import (
    DECIDED,
    HOLDS,
    KEYS,
    LOCKOUT,
    WEIRD_IDS,
    client_of,
    configure,
    order,
    sent,
    set_deadline,
    stored,
    waiting,
)


def approve(client: Api, made: dict[str, Any], **body: Any) -> Any:
    return client.post(f"/approvals/{made['id']}/approve", body)


class TestApproving:
    def test_releases_the_order(self, engine: Api, operator: Api, record: Record, holding: None) -> None:
        made = waiting(engine)
        record.new()
        answer = approve(operator, made, note="  looks right ")
        assert (answer.status_code, set(answer.json)) == (200, KEYS)
        changed = {"status": "released", "decided_by": "operator-1", "decision_note": "looks right"}
        assert answer.json == made | changed | {"decided_at": answer.json["decided_at"]}
        assert made["created_at"] < answer.json["decided_at"] < made["expires_at"]
        assert engine.get(f"/orders/{made['id']}").json == answer.json
        (event,) = record.new()
        assert (event["actor"], event["action"], event["subject"]) == ("operator-1", "order.approve", made["id"])
        assert event["note"] == "looks right"
        assert (event["before"]["status"], event["after"]["status"]) == ("pending_approval", "released")

    def test_in_person(self, engine: Api, browser: Callable[..., Browser], holding: None) -> None:
        made = waiting(engine)
        answer = browser("operator", name="alice").json("POST", f"/approvals/{made['id']}/approve", {})
        assert (answer.status_code, answer.json["decided_by"]) == (200, "alice")

    def test_in_live_mode(self, engine: Api, operator: Api, desk: Desk) -> None:
        desk.sql("UPDATE risk_configs SET trading_mode = 'live'")
        made = waiting(engine)
        assert approve(operator, made).json["status"] == "released"

    def test_goes_on_when_nothing_would_need_approval_any_more(
        self, engine: Api, operator: Api, holding: None
    ) -> None:
        made = waiting(engine)
        operator.put("/approval-config", {"auto_approve_paper": True})
        assert engine.get(f"/orders/{made['id']}").json == made
        assert approve(operator, made).json["status"] == "released"


class TestTheNote:
    @pytest.mark.parametrize("note", ["x", "é" * 500, f" {'x' * 500}\u2003", "a\nb", "<b>", "%s '"])
    def test_is_kept_trimmed(self, engine: Api, operator: Api, holding: None, note: str) -> None:
        assert approve(operator, waiting(engine), note=note).json["decision_note"] == note.strip()

    @pytest.mark.parametrize("body", [{}, {"note": None}, {"note": ""}, {"note": " \n"}], ids=str)
    def test_need_not_be_there(self, engine: Api, operator: Api, holding: None, body: dict[str, Any]) -> None:
        answer = approve(operator, waiting(engine), **body)
        assert (answer.status_code, answer.json["decision_note"]) == (200, None)

    @pytest.mark.parametrize(
        ("body", "field"),
        [
            *[({"note": wrong}, "note") for wrong in ("x" * 501, 1, True, 1.5, [], {})],
            *[({key: "x"}, key) for key in ("reason", "id", "actor", "decided_by", "force", "status")],
        ],
        ids=lambda item: ascii(item)[:40],
    )
    def test_is_all_that_is_read(
        self, engine: Api, operator: Api, desk: Desk, record: Record, holding: None, body: Any, field: str
    ) -> None:
        made = waiting(engine)
        record.new()
        assert_problem(approve(operator, made, **body), 422, "invalid", field)
        assert stored(desk, made) == "pending_approval"
        assert record.new() == []

    def test_may_be_left_out_with_the_whole_body(self, engine: Api, operator: Api, holding: None) -> None:
        made = waiting(engine)
        answer = operator("POST", f"/approvals/{made['id']}/approve")
        assert (answer.status_code, answer.json["status"], answer.json["decision_note"]) == (200, "released", None)

    @pytest.mark.parametrize("raw", ["", "null", "[]", "{", '{"note": "\\u0000"}', '{"note": "\\ud800"}'])
    def test_stands_in_a_json_object(
        self, engine: Api, operator: Api, desk: Desk, holding: None, raw: str
    ) -> None:
        made = waiting(engine)
        headers = {"Content-Type": "application/json"}
        answer = operator("POST", f"/approvals/{made['id']}/approve", data=raw, headers=headers)
        assert_problem(answer, 400, "malformed_json")
        assert stored(desk, made) == "pending_approval"


# What happens on the desk while an order waits, and the code by which its approval is refused then.
IN_THE_WAY: dict[str, Callable[[Api, Desk], Any]] = {
    "config_invalid": lambda admin, desk: configure(desk, HOLDS | {"signal_layers": 5}),
    "trading_disabled": lambda admin, desk: desk.sql("UPDATE risk_configs SET trading_mode = 'disabled'"),
    "signal_layer_disabled": lambda admin, desk: admin.put("/signal-layers", {"macro": False}),
    "symbol_locked_out": lambda admin, desk: admin.post("/lockouts", LOCKOUT | {"ticker": "*"}),
    "order_quantity_limit": lambda admin, desk: configure(desk, {"position_limits": {"max_order_quantity": "9"}}),
    "order_value_limit": lambda admin, desk: configure(desk, {"position_limits": {"max_order_value": "999"}}),
    "price_unknown": lambda admin, desk: configure(desk, {"position_limits": {"price_collar_pct": "1"}}),
}


class TestTheGateRunsAgain:
    @pytest.mark.parametrize("code", IN_THE_WAY)
    def test_and_the_order_goes_on_waiting_when_it_is_in_the_way(
        self, engine: Api, admin: Api, desk: Desk, record: Record, holding: None, code: str
    ) -> None:
        made = waiting(engine, type="limit", limit_price="100", signal_layer="macro")
        IN_THE_WAY[code](admin, desk)
        record.new()
        problem = assert_problem(approve(admin, made), 409, code, more=("reasons",))
        assert [reason["code"] for reason in problem["reasons"]] == [code]
        assert engine.get(f"/orders/{made['id']}").json == made
        assert record.new() == []
        configure(desk, HOLDS)
        desk.sql("UPDATE risk_configs SET trading_mode = 'paper'")
        desk.sql("DELETE FROM symbol_lockouts")
        assert approve(admin, made).json["status"] == "released"

    def test_the_collar(self, engine: Api, operator: Api, desk: Desk, holding: None) -> None:
        made = waiting(engine, type="limit", limit_price="100", reference_price="90")
        configure(desk, HOLDS | {"position_limits": {"price_collar_pct": "10"}})
        assert_problem(approve(operator, made), 409, "price_collar", more=("reasons",))

    def test_the_first_of_all_reasons_is_the_code(
        self, engine: Api, operator: Api, desk: Desk, holding: None
    ) -> None:
        made = waiting(engine)
        operator.post("/lockouts", LOCKOUT)
        configure(desk, HOLDS | {"position_limits": {"max_order_quantity": "9", "max_order_value": "1"}})
        problem = assert_problem(approve(operator, made), 409, "symbol_locked_out", more=("reasons",))
        found = [reason["code"] for reason in problem["reasons"]]
        assert found == ["symbol_locked_out", "order_quantity_limit", "price_unknown"]

    def test_but_the_rate_was_for_sending(self, engine: Api, operator: Api, desk: Desk, holding: None) -> None:
        made = waiting(engine)
        configure(desk, HOLDS | {"order_rate": {"max_orders": 0, "per_seconds": 3600}})
        assert approve(operator, made).json["status"] == "released"

    def test_a_halt_cancels_what_waits(self, engine: Api, operator: Api, holding: None) -> None:
        made = waiting(engine)
        operator.put("/mode", {"trading_mode": "disabled"})
        problem = assert_problem(approve(operator, made), 409, "already_decided", more=DECIDED)
        assert (problem["order"]["status"], problem["decided_by"]) == ("canceled", "operator-1")
        assert "disabled" in problem["order"]["decision_note"]


class TestAnOrderThatIsDecided:
    @pytest.mark.parametrize("status", ["released", "blocked"])
    def test_at_the_gate_is_a_conflict(self, engine: Api, operator: Api, status: str) -> None:
        if status == "blocked":
            operator.post("/lockouts", LOCKOUT)
        made = sent(engine, status)
        problem = assert_problem(approve(operator, made), 409, "already_decided", more=DECIDED)
        assert problem["order"] == made

    @pytest.mark.parametrize(("act", "body"), [("approve", {}), ("reject", {"reason": "no"})])
    def test_by_a_person_is_a_conflict_that_says_who_and_when(
        self, engine: Api, operator: Api, admin: Api, record: Record, holding: None, act: str, body: dict[str, str]
    ) -> None:
        made = waiting(engine)
        decided = admin.post(f"/approvals/{made['id']}/{act}", body).json
        record.new()
        for client in (operator, admin):
            problem = assert_problem(approve(client, made), 409, "already_decided", more=DECIDED)
            assert problem["order"] == decided
            assert (problem["decided_by"], problem["decided_at"]) == (decided["decided_by"], decided["decided_at"])
            assert problem["decided_by"] in problem["detail"]
            assert problem["decided_at"] in problem["detail"]
        assert record.new() == []

    def test_by_its_deadline_is_a_conflict_and_is_written_down(
        self, engine: Api, operator: Api, desk: Desk, record: Record, holding: None
    ) -> None:
        made = waiting(engine)
        set_deadline(desk, made, -0.001)
        record.new()
        problem = assert_problem(approve(operator, made), 409, "already_decided", more=DECIDED)
        assert (problem["order"]["status"], problem["decided_by"]) == ("expired", "system:deadline")
        assert problem["decided_at"] == problem["order"]["expires_at"]
        assert stored(desk, made) == "expired"
        assert [event["action"] for event in record.new()] == ["order.expire"]

    def test_what_is_decided_is_said_even_where_the_gate_would_be_in_the_way(
        self, engine: Api, operator: Api, holding: None
    ) -> None:
        made = waiting(engine)
        operator.post(f"/approvals/{made['id']}/reject", {"reason": "no"})
        operator.post("/lockouts", LOCKOUT)
        assert_problem(approve(operator, made), 409, "already_decided", more=DECIDED)


class TestWho:
    @pytest.mark.parametrize("role", ["viewer", "engine"])
    def test_not_a_viewer_and_not_an_engine(
        self, api: Callable[..., Api], engine: Api, desk: Desk, holding: None, role: str
    ) -> None:
        made = waiting(engine)
        assert_problem(approve(api(role), made), 403, "forbidden")
        assert stored(desk, made) == "pending_approval"

    def test_not_the_owner_of_the_engine(
        self, app: Flask, desk: Desk, browser: Callable[..., Browser], record: Record, holding: None
    ) -> None:
        alice, bob = browser("admin", name="alice"), browser("operator", name="bob")
        made = waiting(client_of(app, desk, "momentum", "engine", owner="alice"))
        record.new()
        refused = alice.json("POST", f"/approvals/{made['id']}/approve", {})
        assert_problem(refused, 403, "own_engine")
        assert stored(desk, made) == "pending_approval"
        assert record.new() == []
        assert bob.json("POST", f"/approvals/{made['id']}/approve", {}).status_code == 200

    def test_nor_a_script_that_the_owner_owns(self, app: Flask, desk: Desk, holding: None) -> None:
        desk.add_user("alice", "admin"), desk.add_user("bob", "admin")
        made = waiting(client_of(app, desk, "momentum", "engine", owner="alice"))
        for name, more in (("her-script", {"owner": "alice"}), ("alice", {})):
            assert_problem(approve(client_of(app, desk, name, "admin", **more), made), 403, "own_engine")
        assert stored(desk, made) == "pending_approval"
        assert approve(client_of(app, desk, "his-script", "operator", owner="bob"), made).status_code == 200

    @pytest.mark.parametrize("order_id", WEIRD_IDS)
    def test_what_never_was_is_404(self, operator: Api, order_id: str) -> None:
        for _ in range(2):
            assert_problem(operator.post(f"/approvals/{order_id}/approve", {}), 404, "not_found")


def test_of_many_at_once_one_wins_and_the_others_are_told_who_it_was(server: Server) -> None:
    configure(server, HOLDS)
    engine = Caller(server.url, server.add_token("momentum", "engine"))
    people = [Caller(server.url, server.add_token(f"person-{number}", "operator")) for number in range(8)]
    for _ in range(5):
        made = engine.post("/orders", order()).json
        replies = results_of(
            *[lambda call=call, made=made: call.post(f"/approvals/{made['id']}/approve", {}) for call in people]
        )
        (winner,) = [reply.json for reply in replies if reply.status == 200]
        others = [reply.json for reply in replies if reply.status != 200]
        assert [(other["status"], other["code"]) for other in others] == [(409, "already_decided")] * 7
        assert {other["decided_by"] for other in others} == {winner["decided_by"]}
        assert {other["decided_at"] for other in others} == {winner["decided_at"]}
    assert server.sql("SELECT count(*) FROM audit_events WHERE action = 'order.approve'") == [(5,)]
