"""While its symbol is locked out or a rule is tightened, an order goes on waiting and cannot be approved."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import Api
from tests.desk.orders import account, body, moves, place_waiting, written
from tests.serving import Desk


@pytest.fixture
def order(desk: Desk) -> str:
    """Ten AAPL at a reference price of 100, of the macro layer, that wait."""
    [id_] = place_waiting(desk, account(desk, "engine", "engine"), 1)
    return id_


def put_config(desk: Desk, admin: Api, config: dict[str, Any]) -> None:
    assert admin.put("/config", {"config": config}, headers={"If-Match": "*"}).status_code == 200


def lock(ticker: str) -> Callable[[Desk, Api], None]:
    def act(desk: Desk, admin: Api) -> None:
        sent = {"ticker": ticker, "reason": "earnings", "duration_minutes": 60}
        assert admin.post("/lockouts", sent).status_code == 201

    return act


def unlock(desk: Desk, admin: Api) -> None:
    for lockout in admin.get("/lockouts").json["items"]:
        assert admin.delete(f"/lockouts/{lockout['id']}").status_code == 204


def lapse(desk: Desk, admin: Api) -> None:
    desk.sql("UPDATE symbol_lockouts SET created_at = now() - interval '2 hours', expires_at = clock_timestamp()")


def limit(**limits: str) -> Callable[[Desk, Api], None]:
    return lambda desk, admin: put_config(desk, admin, {"position_limits": limits})


def mend(desk: Desk, admin: Api) -> None:
    put_config(desk, admin, {})


def break_it(desk: Desk, admin: Api) -> None:
    desk.sql("""UPDATE risk_configs SET config = '{"operator_approval": 5}'""")


def switch(on: bool) -> Callable[[Desk, Api], None]:
    def act(desk: Desk, admin: Api) -> None:
        assert admin.put("/signal-layers", {"macro": on}).status_code == 200

    return act


STOPS: dict[str, tuple[Callable[[Desk, Api], None], Callable[[Desk, Api], None], str]] = {
    "a lockout of its ticker, removed": (lock("AAPL"), unlock, "symbol_locked_out"),
    "a lockout of its ticker, at its end": (lock("AAPL"), lapse, "symbol_locked_out"),
    "a lockout of every symbol": (lock("*"), unlock, "symbol_locked_out"),
    "its layer switched off": (switch(False), switch(True), "signal_layer_disabled"),
    "a limit on quantity": (limit(max_order_quantity="9"), limit(max_order_quantity="10"), "order_quantity_limit"),
    "a limit on value": (limit(max_order_value="999"), limit(max_order_value="1000"), "order_value_limit"),
    "a configuration that cannot be read": (break_it, mend, "config_invalid"),
}


@pytest.mark.parametrize("what", STOPS)
def test_it_waits_unapprovable_until_the_end_of(desk: Desk, admin: Api, order: str, what: str) -> None:
    stop, end, code = STOPS[what]
    before = admin.get("/approvals").json["items"][0]
    assert (before["approvable"], before["blockers"]) == (True, [])
    stop(desk, admin)

    refused = admin.post(f"/approvals/{order}/approve", {})
    assert (refused.status_code, refused.json["code"]) == (409, code)
    assert [reason["code"] for reason in refused.json["reasons"]] == [code]
    assert (written(desk, order), moves(desk, order)) == ("pending_approval", [])
    [waiting] = admin.get("/approvals").json["items"]
    assert (waiting["id"], waiting["approvable"], waiting["blockers"]) == (order, False, [code])
    assert waiting | {"approvable": True, "blockers": []} == before, "it waits as it did, with the same deadline"

    end(desk, admin)
    [waiting] = admin.get("/approvals").json["items"]
    assert waiting == before
    approved = admin.post(f"/approvals/{order}/approve", {})
    assert (approved.status_code, approved.json["status"]) == (200, "released")
    assert [action for action, _ in moves(desk, order)] == ["order.approve"]


@pytest.mark.parametrize("what", STOPS)
def test_it_can_still_be_rejected_under(desk: Desk, admin: Api, order: str, what: str) -> None:
    STOPS[what][0](desk, admin)
    rejected = admin.post(f"/approvals/{order}/reject", {"reason": "not today"})
    assert (rejected.status_code, rejected.json["status"]) == (200, "rejected")
    assert rejected.json["decision_note"] == "not today"


def test_all_reasons_are_given_in_their_order(desk: Desk, admin: Api, order: str) -> None:
    put_config(
        desk,
        admin,
        {
            "signal_layers": {"macro": False},
            "position_limits": {"max_order_quantity": "1", "max_order_value": "1"},
        },
    )
    lock("*")(desk, admin)
    codes = ["signal_layer_disabled", "symbol_locked_out", "order_quantity_limit", "order_value_limit"]
    assert admin.get("/approvals").json["items"][0]["blockers"] == codes
    refused = admin.post(f"/approvals/{order}/approve", {}).json
    assert ([reason["code"] for reason in refused["reasons"]], refused["code"]) == (codes, codes[0])


def test_a_lockout_of_another_symbol_holds_nothing(desk: Desk, admin: Api, order: str) -> None:
    lock("AAP")(desk, admin)
    lock("AAPL.B")(desk, admin)
    assert admin.post(f"/approvals/{order}/approve", {}).status_code == 200


def test_switching_approval_off_releases_nothing_that_waits(
    desk: Desk, admin: Api, api: Callable[..., Api], order: str
) -> None:
    """Nothing that waits is released without a person, whatever the settings say later."""
    assert admin.put("/approval-config", {"auto_approve_paper": False}).status_code == 200
    waits = api("engine").post("/orders", body()).json
    assert admin.put("/approval-config", {"auto_approve_paper": True}).status_code == 200
    assert {item["id"] for item in admin.get("/approvals").json["items"]} == {order, waits["id"]}
    assert (written(desk, order), written(desk, waits["id"])) == ("pending_approval", "pending_approval")
    again = api("engine").post("/orders", body(client_order_id=waits["client_order_id"]))
    assert (again.status_code, again.json) == (200, waits)
