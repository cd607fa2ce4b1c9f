"""Nobody approves an order of an engine that they own, in person or by a script; rejecting is allowed."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

import pytest
from flask import Flask

from app.services.errors import Forbidden
from app.services.orders import approvals
from tests.conftest import Api
from tests.desk.orders import account, actor_of, let_expire, moves, place_waiting, written
from tests.serving import Desk


@pytest.fixture
def owned(desk: Desk) -> str:
    """An order that waits, of an engine of alice's; bob is another operator."""
    desk.add_user("alice", "operator")
    desk.add_user("bob", "admin")
    desk.add_token("engine", "engine", owner="alice")
    [id_] = place_waiting(desk, actor_of(desk, "engine"), 1)
    return id_


def test_the_owner_cannot_approve(desk: Desk, app: Flask, owned: str) -> None:
    with app.app_context(), pytest.raises(Forbidden) as caught:
        approvals.approve(actor_of(desk, "alice"), UUID(owned), "trust me")
    assert caught.value.code == "own_engine"
    assert (written(desk, owned), moves(desk, owned)) == ("pending_approval", [])


def test_the_owner_can_reject(desk: Desk, app: Flask, owned: str) -> None:
    with app.app_context():
        assert approvals.reject(actor_of(desk, "alice"), UUID(owned), "a mistake")["status"] == "rejected"
    assert moves(desk, owned) == [("order.reject", "alice")]


def test_a_script_of_the_owner_cannot_approve_and_can_reject(
    desk: Desk, api: Callable[..., Api], owned: str
) -> None:
    script = api("admin", owner="alice")
    refused = script.post(f"/approvals/{owned}/approve", {})
    assert (refused.status_code, refused.json["code"]) == (403, "own_engine")
    assert written(desk, owned) == "pending_approval"
    assert script.post(f"/approvals/{owned}/reject", {"reason": "no"}).status_code == 200


def test_in_bulk_it_is_refused_and_hides_no_other_result(desk: Desk, api: Callable[..., Api], owned: str) -> None:
    [other] = place_waiting(desk, account(desk, "other", "engine"), 1)
    decisions = [{"id": id_, "action": "approve"} for id_ in (owned, other)]
    results = api("operator", owner="alice").post("/approvals/decisions", {"decisions": decisions}).json["results"]
    assert [(result["id"], result["status"]) for result in results] == [(owned, 403), (other, 200)]
    assert (written(desk, owned), written(desk, other)) == ("pending_approval", "released")


def test_another_person_and_a_script_of_theirs_can(
    desk: Desk, api: Callable[..., Api], app: Flask, owned: str
) -> None:
    [second] = place_waiting(desk, actor_of(desk, "engine"), 1)
    with app.app_context():
        assert approvals.approve(actor_of(desk, "bob"), UUID(owned), None)["decided_by"] == "bob"
    assert api("operator", owner="bob").post(f"/approvals/{second}/approve", {}).status_code == 200


def test_an_engine_that_nobody_owns_can_be_approved_by_a_script_that_nobody_owns(
    desk: Desk, operator: Api
) -> None:
    [id_] = place_waiting(desk, account(desk, "free", "engine"), 1)
    assert operator.post(f"/approvals/{id_}/approve", {}).status_code == 200


def test_an_owner_who_is_named_later_counts_from_then_on(desk: Desk, api: Callable[..., Api]) -> None:
    desk.add_user("alice", "operator")
    desk.add_token("engine", "engine")
    [id_] = place_waiting(desk, actor_of(desk, "engine"), 1)
    script = api("operator", owner="alice")
    desk.add_token("engine", "engine", owner="alice")
    assert script.post(f"/approvals/{id_}/approve", {}).status_code == 403


def test_the_owner_is_refused_before_being_told_how_it_was_decided(
    desk: Desk, api: Callable[..., Api], owned: str
) -> None:
    let_expire(desk, owned)
    assert api("operator", owner="alice").post(f"/approvals/{owned}/approve", {}).status_code == 403
    assert written(desk, owned) == "pending_approval", "a refusal writes nothing"


@pytest.mark.parametrize("role", ["viewer", "engine"])
@pytest.mark.parametrize("act", ["approve", "reject"])
def test_who_decides_nothing_is_refused(
    desk: Desk, api: Callable[..., Api], owned: str, role: str, act: str
) -> None:
    assert api(role).post(f"/approvals/{owned}/{act}", {"reason": "r"}).status_code == 403
    assert written(desk, owned) == "pending_approval"
