"""A person decides many orders with one request: a result for each, and none hides another."""

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
    HOLDS,
    LOCKOUT,
    NOBODYS_ID,
    WEIRD_IDS,
    client_of,
    configure,
    order,
    sent,
    set_deadline,
    stored,
    waiting,
)

MEMBERS = {"type", "title", "status", "detail", "code"}


def yes(made: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"id": made["id"], "action": "approve"} | more


def no(made: dict[str, Any], reason: str = "no") -> dict[str, Any]:
    return {"id": made["id"], "action": "reject", "reason": reason}


def decide(client: Api, *decisions: Any) -> list[dict[str, Any]]:
    """The results, one for each decision, in their order."""
    answer = client.post("/approvals/decisions", {"decisions": decisions})
    assert answer.status_code == 200, answer.text
    assert set(answer.json) == {"results"}
    results: list[dict[str, Any]] = answer.json["results"]
    assert [(one["id"], one["action"]) for one in results] == [(one["id"], one["action"]) for one in decisions]
    for one in results:
        assert set(one) == {"id", "action", "status", "order" if one["status"] == 200 else "problem"}
        if one["status"] != 200:
            assert set(one["problem"]) >= MEMBERS
            assert one["problem"]["status"] == one["status"]
    return results


def code(result: dict[str, Any]) -> tuple[int, str]:
    return result["status"], result["problem"]["code"]


class TestDeciding:
    def test_approves_and_rejects_each_by_itself(
        self, engine: Api, operator: Api, record: Record, holding: None
    ) -> None:
        made = [waiting(engine) for _ in range(4)]
        record.new()
        decisions = [yes(made[0], note=" fine "), no(made[1], " bad "), yes(made[2]), no(made[3])]
        results = decide(operator, *decisions)
        assert [one["status"] for one in results] == [200] * 4
        found = [(one["order"]["status"], one["order"]["decision_note"]) for one in results]
        assert found == [("released", "fine"), ("rejected", "bad"), ("released", None), ("rejected", "no")]
        assert [engine.get(f"/orders/{one['id']}").json for one in made] == [one["order"] for one in results]
        events = record.new()
        assert [event["action"] for event in events] == ["order.approve", "order.reject"] * 2
        assert [event["subject"] for event in events] == [one["id"] for one in made]
        assert {event["actor"] for event in events} == {"operator-1"}

    def test_in_person(self, engine: Api, browser: Callable[..., Browser], holding: None) -> None:
        made = waiting(engine)
        answer = browser("operator", name="alice").json("POST", "/approvals/decisions", {"decisions": [yes(made)]})
        assert answer.json["results"][0]["order"]["decided_by"] == "alice"

    def test_two_hundred_at_once(self, engine: Api, operator: Api, desk: Desk, holding: None) -> None:
        made = [waiting(engine) for _ in range(200)]
        results = decide(operator, *[yes(one) for one in made])
        assert {one["order"]["status"] for one in results} == {"released"}
        assert desk.sql("SELECT count(*) FROM audit_events WHERE action = 'order.approve'") == [(200,)]


class TestNoneHidesAnother:
    def test_every_kind_of_answer_stands_beside_the_others(
        self, app: Flask, desk: Desk, engine: Api, browser: Callable[..., Browser], holding: None
    ) -> None:
        alice = browser("admin", name="alice")
        own = waiting(client_of(app, desk, "momentum", "engine", owner="alice"))
        locked, late, gone, good = (
            waiting(engine, ticker="MSFT"),
            waiting(engine),
            waiting(engine),
            waiting(engine),
        )
        client_of(app, desk, "bob", "operator").post("/lockouts", LOCKOUT | {"ticker": "MSFT"})
        set_deadline(desk, late, -1)
        engine.post(f"/orders/{gone['id']}/cancel", None)
        decisions = [
            *(yes(own), yes(locked), no(late), yes(gone)),
            *({"id": NOBODYS_ID, "action": "approve"}, yes(good)),
        ]
        results = alice.json("POST", "/approvals/decisions", {"decisions": decisions}).json["results"]
        assert [code(one) for one in results[:5]] == [
            (403, "own_engine"),
            (409, "symbol_locked_out"),
            (409, "already_decided"),
            (409, "already_decided"),
            (404, "not_found"),
        ]
        assert (results[5]["status"], results[5]["order"]["status"]) == (200, "released")
        assert [reason["code"] for reason in results[1]["problem"]["reasons"]] == ["symbol_locked_out"]
        assert [one["problem"]["order"]["status"] for one in results[2:4]] == ["expired", "canceled"]
        assert [one["problem"]["decided_by"] for one in results[2:4]] == ["system:deadline", "engine-0"]
        assert [stored(desk, one) for one in (own, locked)] == ["pending_approval"] * 2

    def test_what_was_decided_at_the_gate_is_a_conflict(self, engine: Api, operator: Api) -> None:
        made = sent(engine, "released")
        (result,) = decide(operator, no(made))
        assert code(result) == (409, "already_decided")
        assert result["problem"]["order"] == made

    def test_the_second_of_two_about_one_order_is_too_late(
        self, engine: Api, operator: Api, record: Record, holding: None
    ) -> None:
        made = waiting(engine)
        record.new()
        first, second, third = decide(operator, no(made), yes(made), no(made))
        assert (first["status"], first["order"]["status"]) == (200, "rejected")
        assert [code(one) for one in (second, third)] == [(409, "already_decided")] * 2
        assert second["problem"]["decided_by"] == "operator-1"
        assert len(record.new()) == 1

    @pytest.mark.parametrize("order_id", [one for one in WEIRD_IDS if "%" not in one])
    def test_what_never_was_is_404_and_the_rest_is_decided(
        self, engine: Api, operator: Api, holding: None, order_id: str
    ) -> None:
        made = waiting(engine)
        results = decide(operator, {"id": order_id, "action": "approve"}, yes(made))
        assert code(results[0]) == (404, "not_found")
        assert results[1]["status"] == 200


class TestABadBodyDecidesNothing:
    @pytest.mark.parametrize(
        ("entry", "fields"),
        [
            ({}, ("id", "action")),
            ({"id": "x"}, ("action",)),
            ({"action": "approve"}, ("id",)),
            ({"id": "", "action": "approve"}, ("id",)),
            *[({"id": wrong, "action": "approve"}, ("id",)) for wrong in (1, None, True, [], {})],
            *[
                ({"id": "x", "action": wrong}, ("action",))
                for wrong in ("", "Approve", "cancel", "expire", "released", None, 1, True, [])
            ],
            ({"id": "x", "action": "reject"}, ("reason",)),
            *[
                ({"id": "x", "action": "reject", "reason": wrong}, ("reason",))
                for wrong in ("", "  ", "x" * 501, None, 1, False, [])
            ],
            ({"id": "x", "action": "reject", "reason": "x", "note": "x"}, ("note",)),
            ({"id": "x", "action": "approve", "reason": "x"}, ("reason",)),
            *[({"id": "x", "action": "approve", "note": wrong}, ("note",)) for wrong in ("x" * 501, 1, True, [])],
            ({"id": "x", "action": "approve", "force": True}, ("force",)),
        ],
        ids=lambda item: ascii(item)[:50],
    )
    def test_though_the_other_entries_are_good(
        self, engine: Api, operator: Api, desk: Desk, record: Record, holding: None, entry: Any, fields: tuple[str]
    ) -> None:
        made = waiting(engine)
        record.new()
        answer = operator.post("/approvals/decisions", {"decisions": [yes(made), entry]})
        assert_problem(answer, 422, "invalid", *(f"decisions[1].{field}" for field in fields))
        assert stored(desk, made) == "pending_approval"
        assert record.new() == []

    @pytest.mark.parametrize("entry", [None, 1, "x", True, [], ["x"]], ids=str)
    def test_where_an_entry_is_no_object(
        self, engine: Api, operator: Api, desk: Desk, holding: None, entry: Any
    ) -> None:
        made = waiting(engine)
        answer = operator.post("/approvals/decisions", {"decisions": [entry, yes(made)]})
        assert_problem(answer, 422, "invalid", "decisions[0]")
        assert stored(desk, made) == "pending_approval"

    def test_each_bad_entry_is_named(self, operator: Api) -> None:
        answer = operator.post("/approvals/decisions", {"decisions": [{"id": "x", "action": "reject"}, 1, {}]})
        fields = ("decisions[0].reason", "decisions[1]", "decisions[2].id", "decisions[2].action")
        assert_problem(answer, 422, "invalid", *fields)

    @pytest.mark.parametrize(
        ("body", "field"),
        [
            ({}, "decisions"),
            *[({"decisions": wrong}, "decisions") for wrong in ([], None, 1, "x", True, {}, {"0": {}})],
            ({"decisions": [{"id": "x", "action": "approve"}], "note": "x"}, "note"),
        ],
        ids=str,
    )
    def test_where_there_is_no_list(self, operator: Api, body: dict[str, Any], field: str) -> None:
        assert_problem(operator.post("/approvals/decisions", body), 422, "invalid", field)

    def test_where_there_are_more_than_two_hundred(
        self, engine: Api, operator: Api, desk: Desk, holding: None
    ) -> None:
        made = waiting(engine)
        for count in (201, 5000):
            answer = operator.post("/approvals/decisions", {"decisions": [yes(made)] * count})
            assert_problem(answer, 422, "invalid", "decisions")
        assert stored(desk, made) == "pending_approval"

    @pytest.mark.parametrize(
        "raw",
        ["", "[]", "null", '{"decisions": [{"id": "\\u0000"}]}', '{"decisions": [{"id": "x", "id": "y"}]}'],
    )
    def test_where_it_is_malformed(self, operator: Api, raw: str) -> None:
        answer = operator("POST", "/approvals/decisions", data=raw, headers={"Content-Type": "application/json"})
        assert_problem(answer, 400, "malformed_json")


@pytest.mark.parametrize("role", ["viewer", "engine"])
def test_not_a_viewer_and_not_an_engine(
    api: Callable[..., Api], engine: Api, desk: Desk, holding: None, role: str
) -> None:
    made = waiting(engine)
    assert_problem(api(role).post("/approvals/decisions", {"decisions": [yes(made)]}), 403, "forbidden")
    assert stored(desk, made) == "pending_approval"


def test_two_people_with_the_same_list_at_once_share_it(server: Server) -> None:
    """In opposite orders, over two processes: each order has one winner, and the loser is told who it was."""
    configure(server, HOLDS)
    engine = Caller(server.url, server.add_token("momentum", "engine"))
    people = [Caller(server.url, server.add_token(f"person-{number}", "operator")) for number in range(4)]
    made = [engine.post("/orders", order()).json for _ in range(30)]
    lists = [[yes(one) for one in (made if number % 2 else made[::-1])] for number in range(4)]
    replies = results_of(
        *[
            lambda call=call, entries=entries: call.post("/approvals/decisions", {"decisions": entries})
            for call, entries in zip(people, lists, strict=True)
        ]
    )
    assert [reply.status for reply in replies] == [200] * 4
    results = [one for reply in replies for one in reply.json["results"]]
    winners = {one["id"]: one["order"]["decided_by"] for one in results if one["status"] == 200}
    assert len(winners) == 30
    assert sum(one["status"] == 200 for one in results) == 30
    for one in results:
        if one["status"] != 200:
            assert code(one) == (409, "already_decided")
            assert one["problem"]["decided_by"] == winners[one["id"]]
