"""The orders that wait for a person, and what keeps them from being approved now."""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.conftest import Api
from tests.serving import Desk
from tests.web.conftest import Record, assert_problem
from tests.web.orders import (
    HOLDS,
    KEYS,
    LOCKOUT,
    NOBODYS_ID,
    configure,
    end_lockouts,
    sent,
    set_deadline,
    waiting,
)


def listed(client: Api, query: str = "") -> list[dict[str, Any]]:
    """The items of all pages."""
    found, cursor = [], ""
    while True:
        answer = client.get(f"/approvals?{query}{cursor}")
        assert answer.status_code == 200, answer.text
        assert set(answer.json) == {"items", "next"}
        found += answer.json["items"]
        if answer.json["next"] is None:
            return found
        cursor = f"&cursor={answer.json['next']}"


def ids(items: list[dict[str, Any]]) -> list[str]:
    return [item["id"] for item in items]


class TestTheList:
    @pytest.mark.parametrize("role", ["viewer", "operator", "admin"])
    def test_shows_the_order_with_what_blocks_it(
        self, api: Callable[..., Api], engine: Api, holding: None, role: str
    ) -> None:
        made = waiting(engine)
        (item,) = listed(api(role))
        assert set(item) == KEYS | {"approvable", "blockers"}
        assert item == made | {"approvable": True, "blockers": []}

    def test_is_empty_on_a_new_desk(self, operator: Api) -> None:
        assert operator.get("/approvals").json == {"items": [], "next": None}

    def test_has_the_soonest_expiry_first(self, engine: Api, operator: Api, desk: Desk, holding: None) -> None:
        made = [waiting(engine) for _ in range(4)]
        for one, seconds in zip(made, (300, 100, 400, 200), strict=True):
            set_deadline(desk, one, seconds)
        assert ids(listed(operator)) == [made[place]["id"] for place in (1, 3, 0, 2)]

    def test_has_only_what_waits(self, engine: Api, operator: Api, holding: None) -> None:
        released, rejected, canceled, waits = (waiting(engine) for _ in range(4))
        operator.post(f"/approvals/{released['id']}/approve", {})
        operator.post(f"/approvals/{rejected['id']}/reject", {"reason": "no"})
        engine.post(f"/orders/{canceled['id']}/cancel", None)
        operator.put("/approval-config", {"auto_approve_paper": True})
        sent(engine, "released")
        operator.post("/lockouts", LOCKOUT | {"ticker": "MSFT"})
        sent(engine, "blocked", ticker="MSFT")
        assert ids(listed(operator)) == [waits["id"]]

    def test_loses_what_expires_though_nothing_is_written(
        self, engine: Api, operator: Api, desk: Desk, record: Record, holding: None
    ) -> None:
        late, later = waiting(engine), waiting(engine)
        set_deadline(desk, late, 60)
        record.new()
        assert ids(listed(operator)) == [late["id"], later["id"]]
        set_deadline(desk, late, -0.01)
        assert ids(listed(operator)) == [later["id"]]
        assert record.new() == []

    def test_is_empty_after_a_change_of_mode(self, engine: Api, operator: Api, holding: None) -> None:
        waiting(engine), waiting(engine)
        operator.put("/mode", {"trading_mode": "disabled"})
        assert listed(operator) == []

    def test_is_not_for_engines(self, engine: Api, holding: None) -> None:
        waiting(engine)
        assert_problem(engine.get("/approvals"), 403, "forbidden")


class TestBlockers:
    def test_are_the_codes_of_all_that_is_in_the_way_now(
        self, engine: Api, operator: Api, desk: Desk, holding: None
    ) -> None:
        waiting(engine, type="limit", limit_price="100", signal_layer="macro")
        operator.post("/lockouts", LOCKOUT)
        limits = {"max_order_quantity": "1", "max_order_value": "1", "price_collar_pct": "1"}
        configure(desk, HOLDS | {"signal_layers": {"macro": False}, "position_limits": limits, "order_rate": 5})
        (item,) = listed(operator)
        assert item["approvable"] is False
        assert item["blockers"] == [
            *("config_invalid", "signal_layer_disabled", "symbol_locked_out"),
            *("order_quantity_limit", "order_value_limit", "price_unknown"),
        ]

    def test_of_a_lockout_are_those_of_its_ticker_and_go_with_it(
        self, engine: Api, operator: Api, holding: None
    ) -> None:
        held, free = waiting(engine), waiting(engine, ticker="MSFT")
        lockout = operator.post("/lockouts", LOCKOUT).json
        found = {item["id"]: (item["approvable"], item["blockers"]) for item in listed(operator)}
        assert found == {held["id"]: (False, ["symbol_locked_out"]), free["id"]: (True, [])}
        operator.post("/lockouts", LOCKOUT | {"ticker": "*"})
        assert [item["blockers"] for item in listed(operator)] == [["symbol_locked_out"]] * 2
        for each in operator.get("/lockouts").json["items"]:
            operator.delete(f"/lockouts/{each['id']}")
        assert lockout["id"]
        assert [item["approvable"] for item in listed(operator)] == [True, True]

    def test_go_when_a_lockout_ends_by_the_clock(
        self, engine: Api, operator: Api, desk: Desk, holding: None
    ) -> None:
        waiting(engine)
        operator.post("/lockouts", LOCKOUT)
        assert listed(operator)[0]["blockers"] == ["symbol_locked_out"]
        end_lockouts(desk)
        assert listed(operator)[0]["blockers"] == []

    def test_do_not_name_the_rate_which_was_for_sending(
        self, engine: Api, operator: Api, desk: Desk, holding: None
    ) -> None:
        waiting(engine)
        configure(desk, HOLDS | {"order_rate": {"max_orders": 0, "per_seconds": 3600}})
        assert listed(operator)[0]["blockers"] == []

    def test_agree_with_what_approving_says(self, engine: Api, operator: Api, desk: Desk, holding: None) -> None:
        made = [waiting(engine, ticker=ticker, qty=qty) for ticker in ("AAPL", "MSFT") for qty in ("1", "2")]
        operator.post("/lockouts", LOCKOUT)
        configure(desk, HOLDS | {"position_limits": {"max_order_quantity": "1"}})
        shown = {item["id"]: item["blockers"] for item in listed(operator)}
        for one in made:
            answer = operator.post(f"/approvals/{one['id']}/approve", {})
            said = [reason["code"] for reason in answer.json["reasons"]] if answer.status_code != 200 else []
            assert said == shown[one["id"]] or (answer.status_code, shown[one["id"]]) == (200, [])


class TestPages:
    @pytest.mark.parametrize("limit", [1, 3, 50, 200])
    def test_hold_everything_once_and_in_order(
        self, engine: Api, operator: Api, desk: Desk, holding: None, limit: int
    ) -> None:
        made = [waiting(engine) for _ in range(7)]
        for place, one in enumerate(made):
            set_deadline(desk, one, 1000 - place)
        assert ids(listed(operator, f"limit={limit}")) == ids(made[::-1])

    def test_split_orders_of_one_instant_without_losing_any(
        self, engine: Api, operator: Api, desk: Desk, holding: None
    ) -> None:
        made = [waiting(engine) for _ in range(5)]
        desk.sql("UPDATE orders SET expires_at = now() + interval '1 h'")
        assert ids(listed(operator, "limit=2")) == sorted(ids(made))

    def test_hold_fifty_unless_more_are_asked_for(self, engine: Api, operator: Api, holding: None) -> None:
        for _ in range(51):
            waiting(engine)
        first = operator.get("/approvals").json
        assert len(first["items"]) == 50
        assert len(operator.get(f"/approvals?cursor={first['next']}").json["items"]) == 1
        assert len(operator.get("/approvals?limit=51").json["items"]) == 51

    def test_go_on_after_the_last_one_was_decided(self, engine: Api, operator: Api, holding: None) -> None:
        made = [waiting(engine) for _ in range(4)]
        first = operator.get("/approvals?limit=2").json
        operator.post(f"/approvals/{made[1]['id']}/approve", {})
        second = operator.get(f"/approvals?limit=2&cursor={first['next']}").json
        assert ids(first["items"] + second["items"]) == ids(made)

    @pytest.mark.parametrize("limit", ["0", "201", "1.0", "x", "", "٣", "9" * 4000])
    def test_a_limit_is_a_whole_number_from_1_to_200(self, operator: Api, limit: str) -> None:
        assert_problem(operator.get(f"/approvals?limit={limit}"), 422, "invalid", "limit")

    @pytest.mark.parametrize(
        "place",
        [
            "",
            "x",
            "5",
            f"{NOBODYS_ID}",
            f"yesterday|{NOBODYS_ID}",
            f"2026-01-01|{NOBODYS_ID}",
            f"9999-99-99T00:00:00.000000Z|{NOBODYS_ID}",
            "2026-01-01T00:00:00.000000Z|x",
            f"2026-01-01T00:00:00.000000Z|{NOBODYS_ID}|x",
        ],
    )
    def test_a_forged_cursor_is_refused(self, operator: Api, place: str) -> None:
        cursor = base64.urlsafe_b64encode(place.encode()).decode().rstrip("=")
        assert_problem(operator.get(f"/approvals?cursor={cursor}"), 422, "invalid", "cursor")

    def test_the_cursor_of_the_orders_is_refused(self, engine: Api, operator: Api, holding: None) -> None:
        waiting(engine), waiting(engine)
        foreign = operator.get("/orders?limit=1").json["next"]
        assert_problem(operator.get(f"/approvals?cursor={foreign}"), 422, "invalid", "cursor")


def test_the_deadline_is_the_timeout_after_the_order_came_in(engine: Api, operator: Api, holding: None) -> None:
    operator.put("/approval-config", {"approval_timeout_minutes": 5})
    waiting(engine)
    (item,) = listed(operator)
    created, expires = (datetime.fromisoformat(item[key]) for key in ("created_at", "expires_at"))
    assert expires - created == timedelta(minutes=5)
    assert expires.tzinfo == UTC
