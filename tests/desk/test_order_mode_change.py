"""A change of mode cancels what waits, in its own transaction; what is no change cancels nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask import Flask

from tests.conftest import Api
from tests.desk.orders import Act, account, body, let_expire, moves, place_waiting, transaction, written
from tests.serving import Desk

CHANGES = [
    ("paper", "disabled"),
    ("paper", "live"),
    ("live", "paper"),
    ("live", "disabled"),
    ("disabled", "paper"),
]


def put_mode(admin: Api, to: str, leaving: str) -> int:
    more = {} if to == "disabled" else {"from": leaving, "reason": "so be it"}
    return admin.put("/mode", {"trading_mode": to, **more}).status_code


@pytest.fixture
def waiting(desk: Desk) -> list[str]:
    return place_waiting(desk, account(desk, "engine", "engine"), 3)


@pytest.mark.parametrize(("leaving", "to"), CHANGES)
def test_every_change_cancels_all_that_waits_with_one_event_each(
    desk: Desk, admin: Api, waiting: list[str], leaving: str, to: str
) -> None:
    desk.sql("UPDATE risk_configs SET trading_mode = %s", leaving)
    assert put_mode(admin, to, leaving) == 200
    [(actor,)] = desk.sql("SELECT actor FROM audit_events WHERE action = 'mode.change'")
    for id_ in waiting:
        assert (written(desk, id_), moves(desk, id_)) == ("canceled", [("order.cancel", actor)])
        order = admin.get(f"/orders/{id_}").json
        assert (order["status"], order["decided_by"]) == ("canceled", actor)
        assert order["decision_note"] == f"the trading mode was changed from {leaving} to {to}"
    assert desk.sql(
        "SELECT count(DISTINCT xmin::text), count(DISTINCT request_id), count(*) FROM audit_events"
        " WHERE action IN ('mode.change', 'order.cancel')"
    ) == [(1, 1, 4)]
    assert desk.sql("SELECT count(DISTINCT xmin::text) FROM orders") == [(1,)]


def test_a_change_that_fails_at_its_end_cancels_nothing(desk: Desk, admin: Api, waiting: list[str]) -> None:
    desk.sql(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '57014'; END $$;"
        " CREATE CONSTRAINT TRIGGER refuse AFTER UPDATE ON orders DEFERRABLE INITIALLY DEFERRED"
        " FOR EACH ROW EXECUTE FUNCTION refuse()"
    )
    try:
        assert put_mode(admin, "disabled", "paper") == 503
    finally:
        desk.sql("DROP FUNCTION refuse CASCADE")
    assert desk.sql("SELECT trading_mode, version FROM risk_configs") == [("paper", 1)]
    assert [(written(desk, id_), moves(desk, id_)) for id_ in waiting] == [("pending_approval", [])] * 3


@pytest.mark.parametrize("mode", ["disabled", "paper", "live"])
def test_a_put_that_changes_nothing_cancels_nothing(desk: Desk, admin: Api, waiting: list[str], mode: str) -> None:
    desk.sql("UPDATE risk_configs SET trading_mode = %s", mode)
    assert put_mode(admin, mode, mode) == 200
    assert {written(desk, id_) for id_ in waiting} == {"pending_approval"}
    assert desk.sql("SELECT count(*) FROM audit_events WHERE action IN ('mode.change', 'order.cancel')") == [(0,)]


def test_a_put_that_is_refused_cancels_nothing(desk: Desk, admin: Api, operator: Api, waiting: list[str]) -> None:
    refused = [
        admin.put("/mode", {"trading_mode": "live", "from": "disabled", "reason": "stale"}),
        admin.put("/mode", {"trading_mode": "live", "from": "paper"}),
        operator.put("/mode", {"trading_mode": "live", "from": "paper", "reason": "not mine to do"}),
    ]
    assert [answer.status_code for answer in refused] == [409, 422, 403]
    assert {written(desk, id_) for id_ in waiting} == {"pending_approval"}


def test_what_has_expired_by_then_is_not_canceled(desk: Desk, admin: Api, waiting: list[str]) -> None:
    late, *rest = waiting
    deadline = let_expire(desk, late)
    assert put_mode(admin, "disabled", "paper") == 200
    expired = admin.get(f"/orders/{late}").json
    assert (expired["status"], expired["decided_at"], expired["decision_note"]) == ("expired", deadline, None)
    assert moves(desk, late) == [("order.expire", "system:deadline")]
    assert {written(desk, id_) for id_ in rest} == {"canceled"}


def test_what_is_decided_stays_as_it_is(desk: Desk, admin: Api, operator: Api, api: Callable[..., Api]) -> None:
    engine = api("engine")
    released = engine.post("/orders", body()).json
    assert operator.put("/approval-config", {"auto_approve_paper": False}).status_code == 200
    approved, rejected = (engine.post("/orders", body()).json["id"] for _ in range(2))
    assert operator.post(f"/approvals/{approved}/approve", {}).status_code == 200
    assert operator.post(f"/approvals/{rejected}/reject", {"reason": "no"}).status_code == 200
    before = admin.get("/orders").json["items"]
    assert [order["status"] for order in before] == ["rejected", "released", "released"]
    assert before[-1]["id"] == released["id"]
    assert put_mode(admin, "disabled", "paper") == 200
    assert admin.get("/orders").json["items"] == before


def test_no_other_change_of_the_rules_cancels_anything(desk: Desk, admin: Api, waiting: list[str]) -> None:
    assert admin.put("/approval-config", {"auto_approve_paper": False}).status_code == 200
    assert admin.put("/signal-layers", {"macro": False}).status_code == 200
    limits = {"config": {"position_limits": {"max_order_quantity": "1"}}}
    assert admin.put("/config", limits, headers={"If-Match": "*"}).status_code == 200
    assert admin.post("/lockouts", {"ticker": "*", "reason": "r", "duration_minutes": 1}).status_code == 201
    assert {written(desk, id_) for id_ in waiting} == {"pending_approval"}


@pytest.mark.parametrize("decided", [False, True], ids=["kept", "changed"])
def test_a_halt_waits_for_somebody_who_keeps_an_order_at_the_database_itself(
    desk: Desk, app: Flask, admin: Api, waiting: list[str], decided: bool
) -> None:
    with transaction(desk) as other:
        other.execute("SELECT 1 FROM orders WHERE id = %s FOR UPDATE", [waiting[1]])
        halt = Act(app, lambda: put_mode(admin, "disabled", "paper"))
        assert halt.waits(desk, "transactionid")
        halt.thread.join(1.5)
        assert halt.thread.is_alive(), "longer than anybody else waits for a row"
        assert {written(desk, id_) for id_ in waiting} == {"pending_approval"}
        if decided:
            other.execute(
                "UPDATE orders SET status = 'released', decided_at = clock_timestamp(), decided_by = 'by hand'"
                " WHERE id = %s",
                [waiting[1]],
            )
    assert halt.done() == 200
    assert [written(desk, id_) for id_ in waiting] == [
        "canceled",
        "released" if decided else "canceled",
        "canceled",
    ]
    assert desk.sql("SELECT trading_mode FROM risk_configs") == [("disabled",)]
