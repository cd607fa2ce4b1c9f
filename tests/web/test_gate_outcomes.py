"""What becomes of an order at the gate: released, held for a person, or blocked, and every reason why."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask

from tests.at_once import Caller, results_of
from tests.conftest import Api
from tests.serving import Desk, Server
from tests.web.orders import LOCKOUT, client_of, configure, order, sent, waiting

LIMIT = {"type": "limit", "limit_price": "100"}
BROKEN = [
    {"operator_approval": {"auto_approve_paper": "no"}},
    {"operator_approval": {"auto_approve_paper": 0}},
    {"operator_approval": {"auto_approve_paper": None}},
    {"operator_approval": {"approval_timeout_minutes": 0}},
    {"operator_approval": None},
    {"operator_approval": []},
    {"signal_layers": {"macro": "true"}},
    {"signal_layers": 1},
    {"position_limits": {"max_order_value": "lots"}},
    {"position_limits": {"max_order_quantity": -1}},
    {"position_limits": {"price_collar_pct": "NaN"}},
    {"position_limits": "none"},
    {"order_rate": {"max_orders": 5}},
    {"order_rate": {"max_orders": 5, "per_seconds": 0}},
    {"order_rate": {"max_orders": 1.5, "per_seconds": 1}},
]


def set_mode(desk: Desk, mode: str) -> None:
    desk.sql("UPDATE risk_configs SET trading_mode = %s", mode)


def codes(made: dict[str, Any]) -> list[str]:
    return [reason["code"] for reason in made["reasons"]]


def outcome(engine: Api, **changes: Any) -> tuple[str, list[str]]:
    """The status of an order that is sent now, and its reasons."""
    made = engine.post("/orders", order(**changes)).json
    assert all(set(reason) == {"code", "detail"} and reason["detail"] for reason in made["reasons"])
    return made["status"], codes(made)


RELEASED: tuple[str, list[str]] = ("released", [])


def blocked(*reasons: str) -> tuple[str, list[str]]:
    return "blocked", list(reasons)


class TestWhoWaits:
    @pytest.mark.parametrize(
        ("mode", "approval", "status"),
        [
            ("paper", {}, "released"),
            ("paper", {"auto_approve_paper": True}, "released"),
            ("paper", {"auto_approve_paper": False}, "pending_approval"),
            ("paper", {"auto_approve_paper": True, "require_approval_for_live": True}, "released"),
            ("live", {}, "pending_approval"),
            ("live", {"require_approval_for_live": True}, "pending_approval"),
            ("live", {"require_approval_for_live": False}, "released"),
            ("live", {"auto_approve_paper": False, "require_approval_for_live": False}, "released"),
        ],
    )
    def test_depends_on_the_mode_and_its_own_setting(
        self, engine: Api, desk: Desk, mode: str, approval: dict[str, bool], status: str
    ) -> None:
        configure(desk, {"operator_approval": approval})
        set_mode(desk, mode)
        made = sent(engine, status)
        assert (made["trading_mode"], made["reasons"]) == (mode, [])

    def test_a_new_desk_releases_paper_orders(self, engine: Api) -> None:
        assert outcome(engine) == RELEASED

    def test_the_switch_holds_from_the_next_order_on(self, engine: Api, operator: Api) -> None:
        operator.put("/approval-config", {"auto_approve_paper": False})
        waiting(engine)
        operator.put("/approval-config", {"auto_approve_paper": True})
        assert outcome(engine) == RELEASED


class TestBlocked:
    @pytest.mark.parametrize("require", [True, False])
    def test_trading_disabled(self, engine: Api, desk: Desk, require: bool) -> None:
        configure(
            desk, {"operator_approval": {"auto_approve_paper": require, "require_approval_for_live": require}}
        )
        set_mode(desk, "disabled")
        made = sent(engine, "blocked")
        assert (codes(made), made["trading_mode"]) == (["trading_disabled"], "disabled")
        assert (made["expires_at"], made["decided_by"]) == (None, "system:gate")
        assert made["decided_at"] == made["created_at"]

    @pytest.mark.parametrize("layer", ["macro", "competitive"])
    def test_signal_layer_disabled(self, engine: Api, operator: Api, layer: str) -> None:
        operator.put("/signal-layers", {layer: False})
        other = {"macro": "competitive", "competitive": "macro"}[layer]
        assert outcome(engine, signal_layer=layer) == blocked("signal_layer_disabled")
        assert outcome(engine, signal_layer=other) == RELEASED
        assert outcome(engine) == RELEASED

    def test_symbol_locked_out(self, engine: Api, operator: Api) -> None:
        operator.post("/lockouts", LOCKOUT)
        made = sent(engine, "blocked")
        assert codes(made) == ["symbol_locked_out"]
        assert "earnings" in made["reasons"][0]["detail"]
        assert outcome(engine, ticker=" aapl ") == blocked("symbol_locked_out")
        for other in ("AAPL.A", "AAP", "AAPLE", "MSFT"):
            assert outcome(engine, ticker=other) == RELEASED

    def test_symbol_locked_out_of_every_symbol(self, engine: Api, operator: Api) -> None:
        operator.post("/lockouts", LOCKOUT | {"ticker": "*"})
        assert outcome(engine) == blocked("symbol_locked_out")
        assert outcome(engine, ticker="MSFT") == blocked("symbol_locked_out")

    def test_symbol_locked_out_is_said_once_of_many(self, engine: Api, operator: Api) -> None:
        for ticker in ("AAPL", "AAPL", "*"):
            operator.post("/lockouts", LOCKOUT | {"ticker": ticker})
        assert outcome(engine) == blocked("symbol_locked_out")

    def test_not_by_a_lockout_that_has_ended(self, engine: Api, operator: Api, desk: Desk) -> None:
        operator.post("/lockouts", LOCKOUT)
        desk.sql("UPDATE symbol_lockouts SET created_at = now() - interval '1 h', expires_at = clock_timestamp()")
        assert outcome(engine) == RELEASED

    @pytest.mark.parametrize("config", BROKEN, ids=str)
    @pytest.mark.parametrize("mode", ["paper", "live"])
    def test_config_invalid(self, engine: Api, desk: Desk, config: Any, mode: str) -> None:
        """Whatever the broken part is about, nothing is released until someone mends it."""
        configure(desk, config)
        set_mode(desk, mode)
        assert outcome(engine) == blocked("config_invalid")
        configure(desk, {"operator_approval": {"require_approval_for_live": False}})
        assert outcome(engine) == RELEASED

    def test_not_by_sections_that_nobody_here_knows(self, engine: Api, desk: Desk) -> None:
        configure(desk, {"sector_exposure": "broken", "x": None, "order_rates": {"max_orders": 0}})
        assert outcome(engine) == RELEASED


class TestQuantity:
    @pytest.mark.parametrize("most", ["10", 10, "10.000", 10.0])
    def test_at_the_limit_is_allowed(self, engine: Api, desk: Desk, most: Any) -> None:
        configure(desk, {"position_limits": {"max_order_quantity": most}})
        assert outcome(engine, qty="10.0") == RELEASED
        assert outcome(engine, qty="10.000000001") == blocked("order_quantity_limit")

    def test_of_a_notional_is_by_the_lowest_known_price(self, engine: Api, desk: Desk) -> None:
        configure(desk, {"position_limits": {"max_order_quantity": "3"}})
        prices = {"type": "stop_limit", "limit_price": "30", "stop_price": "20", "reference_price": "10"}
        assert outcome(engine, qty=..., notional="30", **prices) == RELEASED
        assert outcome(engine, qty=..., notional="30.000000001", **prices) == blocked("order_quantity_limit")

    def test_of_a_notional_is_not_rounded(self, engine: Api, desk: Desk) -> None:
        configure(desk, {"position_limits": {"max_order_quantity": "0.333333333"}})
        for notional, expected in (("0.999999999", RELEASED), ("1", blocked("order_quantity_limit"))):
            assert outcome(engine, qty=..., notional=notional, reference_price="3") == expected

    def test_zero_lets_nothing_pass(self, engine: Api, desk: Desk) -> None:
        configure(desk, {"position_limits": {"max_order_quantity": 0}})
        assert outcome(engine, qty="0.000000001") == blocked("order_quantity_limit")

    def test_of_a_notional_without_a_price_is_unknown(self, engine: Api, desk: Desk) -> None:
        configure(desk, {"position_limits": {"max_order_quantity": "1000"}})
        assert outcome(engine, qty=..., notional="1") == blocked("price_unknown")


class TestValue:
    def test_at_the_limit_is_allowed(self, engine: Api, desk: Desk) -> None:
        configure(desk, {"position_limits": {"max_order_value": "1000"}})
        assert outcome(engine, qty=..., notional="1000") == RELEASED
        assert outcome(engine, qty=..., notional="1000.000000001") == blocked("order_value_limit")
        assert outcome(engine, qty="10", **LIMIT) == RELEASED
        assert outcome(engine, qty="10.000000001", **LIMIT) == blocked("order_value_limit")

    def test_is_by_the_highest_known_price(self, engine: Api, desk: Desk) -> None:
        configure(desk, {"position_limits": {"max_order_value": "100"}})
        for highest in ("limit_price", "stop_price", "reference_price"):
            prices = {"limit_price": "1", "stop_price": "1", "reference_price": "1"} | {highest: "10"}
            assert outcome(engine, qty="10", type="stop_limit", **prices) == RELEASED
            assert outcome(engine, qty="10.1", type="stop_limit", **prices) == blocked("order_value_limit")

    def test_of_the_largest_order_there_is_is_exact(self, engine: Api, desk: Desk) -> None:
        most = "9" * 18 + "." + "9" * 9
        configure(desk, {"position_limits": {"max_order_value": most}})
        assert outcome(engine, qty=most, reference_price="1") == RELEASED
        assert outcome(engine, qty=most, reference_price="1.000000001") == blocked("order_value_limit")
        assert outcome(engine, qty=most, reference_price=most) == blocked("order_value_limit")

    def test_without_a_price_is_unknown(self, engine: Api, desk: Desk) -> None:
        configure(desk, {"position_limits": {"max_order_value": "1000000"}})
        assert outcome(engine, qty="1") == blocked("price_unknown")
        assert outcome(engine, qty="1", reference_price="1") == RELEASED


class TestContracts:
    LIMITS = {"position_limits": {"max_order_value": "1000"}}  # noqa: RUF012

    def test_of_an_option_stand_for_a_hundred_shares(self, engine: Api, desk: Desk) -> None:
        configure(desk, self.LIMITS)
        option = {"ticker": "AAPL261218C00200000", "type": "limit", "limit_price": "5.00"}
        assert outcome(engine, qty="2", **option) == RELEASED
        made = sent(engine, "blocked", qty="3", **option)
        assert (codes(made), made["value"]) == (["order_value_limit"], "1500")
        assert made["reasons"][0]["detail"] == "the value 1500 (3 at 5, contract size 100) is above 1000"

    def test_of_a_future_need_a_configured_size(self, engine: Api, admin: Api, desk: Desk) -> None:
        configure(desk, self.LIMITS)
        future = {"ticker": "ESZ6", "qty": "1", "type": "limit", "limit_price": "900"}
        made = sent(engine, "blocked", **future)
        assert (codes(made), made["value"]) == (["contract_size_unknown"], None)
        sizes = {"instruments": {"multipliers": {"ES": "50"}}}
        assert admin.put("/config", {"config": self.LIMITS | sizes}, headers={"If-Match": "*"}).status_code == 200
        assert outcome(engine, **future) == blocked("order_value_limit")
        assert engine.get(f"/orders/{made['id']}").json["value"] == "45000"
        assert outcome(engine, **future | {"limit_price": "20"}) == RELEASED

    def test_of_unknown_size_pass_where_no_limit_needs_it(self, engine: Api, desk: Desk) -> None:
        assert outcome(engine, ticker="ESZ6", qty="1", **LIMIT) == RELEASED
        configure(desk, {"position_limits": {"max_order_quantity": "1"}})
        assert outcome(engine, ticker="ESZ6", qty="1", **LIMIT) == RELEASED
        assert outcome(engine, ticker="ESZ6", qty=..., notional="5", **LIMIT) == blocked("contract_size_unknown")

    def test_of_unknown_size_are_refused_again_at_approval(self, engine: Api, operator: Api, desk: Desk) -> None:
        configure(desk, {"operator_approval": {"auto_approve_paper": False}})
        made = waiting(engine, ticker="ESZ6", qty="1", **LIMIT)
        configure(desk, self.LIMITS)
        [listed] = operator.get("/approvals").json["items"]
        assert (listed["blockers"], listed["value"]) == (["contract_size_unknown"], None)
        answer = operator.post(f"/approvals/{made['id']}/approve", {})
        assert (answer.status_code, answer.json["code"]) == (409, "contract_size_unknown")


class TestTheCollar:
    @pytest.mark.parametrize(
        ("limit", "within"), [("95", True), ("105", True), ("94.999999999", False), ("105.000000001", False)]
    )
    @pytest.mark.parametrize("side", ["buy", "sell"])
    def test_holds_a_limit_price_on_both_sides_of_its_reference(
        self, engine: Api, desk: Desk, limit: str, within: bool, side: str
    ) -> None:
        configure(desk, {"position_limits": {"price_collar_pct": "5"}})
        expected = RELEASED if within else blocked("price_collar")
        assert outcome(engine, type="limit", limit_price=limit, reference_price="100", side=side) == expected
        prices = {"limit_price": limit, "stop_price": "1", "reference_price": "100"}
        assert outcome(engine, type="stop_limit", side=side, **prices) == expected

    def test_is_not_switched_off_by_leaving_the_reference_out(self, engine: Api, desk: Desk) -> None:
        configure(desk, {"position_limits": {"price_collar_pct": "5"}})
        assert outcome(engine, **LIMIT) == blocked("price_unknown")
        assert outcome(engine, **LIMIT | {"type": "stop_limit"}, stop_price="100") == blocked("price_unknown")

    def test_has_nothing_to_hold_in_a_market_or_stop_order(self, engine: Api, desk: Desk) -> None:
        configure(desk, {"position_limits": {"price_collar_pct": "0"}})
        assert outcome(engine) == RELEASED
        assert outcome(engine, reference_price="1") == RELEASED
        assert outcome(engine, type="stop", stop_price="500", reference_price="1") == RELEASED


class TestTheRate:
    def test_at_the_limit_is_allowed_and_the_next_one_is_not(self, engine: Api, desk: Desk) -> None:
        configure(desk, {"order_rate": {"max_orders": 3, "per_seconds": 3600}})
        assert [outcome(engine)[0] for _ in range(5)] == ["released"] * 3 + ["blocked"] * 2
        assert outcome(engine) == blocked("order_rate_limit")

    def test_slides(self, engine: Api, desk: Desk) -> None:
        configure(desk, {"order_rate": {"max_orders": 2, "per_seconds": 60}})
        first, _ = sent(engine, "released"), sent(engine, "released")
        assert outcome(engine) == blocked("order_rate_limit")
        desk.sql("UPDATE orders SET created_at = now() - interval '61 s' WHERE id = %s::uuid", first["id"])
        assert [outcome(engine)[0] for _ in range(2)] == ["released", "blocked"]

    def test_counts_what_was_accepted_whatever_became_of_it(self, engine: Api, operator: Api, desk: Desk) -> None:
        limits = {"order_rate": {"max_orders": 2, "per_seconds": 3600}}
        configure(desk, limits | {"operator_approval": {"auto_approve_paper": False}})
        made = waiting(engine)
        operator.post(f"/approvals/{made['id']}/reject", {"reason": "no"})
        made = waiting(engine)
        engine.post(f"/orders/{made['id']}/cancel", None)
        assert outcome(engine) == blocked("order_rate_limit")

    def test_does_not_count_what_was_blocked(self, engine: Api, operator: Api, desk: Desk) -> None:
        configure(desk, {"order_rate": {"max_orders": 1, "per_seconds": 3600}})
        operator.post("/lockouts", LOCKOUT)
        for _ in range(3):
            assert outcome(engine) == blocked("symbol_locked_out")
        assert outcome(engine, ticker="MSFT") == RELEASED
        assert outcome(engine, ticker="MSFT") == blocked("order_rate_limit")

    def test_is_for_each_engine_by_itself_and_for_all_of_its_keys(self, app: Flask, desk: Desk) -> None:
        configure(desk, {"order_rate": {"max_orders": 1, "per_seconds": 3600}})
        old, new = (client_of(app, desk, "momentum", "engine") for _ in range(2))
        other = client_of(app, desk, "reversal", "engine")
        assert [outcome(client)[0] for client in (old, new, other)] == ["released", "blocked", "released"]

    def test_of_zero_lets_nothing_pass(self, engine: Api, desk: Desk) -> None:
        configure(desk, {"order_rate": {"max_orders": 0, "per_seconds": 1}})
        assert outcome(engine) == blocked("order_rate_limit")

    def test_holds_for_orders_that_come_at_once_to_several_workers(self, server: Server) -> None:
        configure(server, {"order_rate": {"max_orders": 7, "per_seconds": 3600}})
        call = Caller(server.url, server.add_token("momentum", "engine"))
        replies = results_of(*[lambda: call.post("/orders", order()) for _ in range(24)])
        assert [reply.status for reply in replies] == [201] * 24
        assert sorted(reply.json["status"] for reply in replies) == ["blocked"] * 17 + ["released"] * 7


class TestEveryReasonThatApplies:
    CONFIG = {  # noqa: RUF012
        "signal_layers": {"macro": False},
        "position_limits": {"max_order_quantity": "1", "max_order_value": "1", "price_collar_pct": "1"},
        "order_rate": {"max_orders": 0, "per_seconds": 1},
    }

    def test_is_said_in_the_order_of_the_contract(self, engine: Api, operator: Api, desk: Desk) -> None:
        operator.post("/lockouts", LOCKOUT)
        configure(desk, self.CONFIG | {"operator_approval": 5})
        set_mode(desk, "disabled")
        order_of_all = (
            *("config_invalid", "trading_disabled", "signal_layer_disabled", "symbol_locked_out"),
            *("order_quantity_limit", "order_value_limit", "price_collar", "order_rate_limit"),
        )
        assert outcome(engine, signal_layer="macro", reference_price="1", **LIMIT) == blocked(*order_of_all)
        without_reference = ["price_unknown" if code == "price_collar" else code for code in order_of_all]
        assert outcome(engine, signal_layer="macro", **LIMIT) == blocked(*without_reference)

    def test_an_unknown_price_stands_before_the_collar_and_after_the_limits(self, engine: Api, desk: Desk) -> None:
        configure(desk, self.CONFIG)
        assert outcome(engine, qty="2", **LIMIT) == blocked(
            "order_quantity_limit", "order_value_limit", "price_unknown", "order_rate_limit"
        )

    def test_is_on_the_record(self, engine: Api, admin: Api, desk: Desk) -> None:
        configure(desk, self.CONFIG)
        made = sent(engine, "blocked")
        event = admin.get("/audit?action=order.submit").json["items"][0]
        assert event["after"]["reasons"] == made["reasons"]
        assert engine.get(f"/orders/{made['id']}").json["reasons"] == made["reasons"]
