"""Ten thousand steps of everybody at the desk, on real PostgreSQL, beside a model of plain dicts.

After every step each order is where the model says, with exactly one event for each of its moves; what the gate
lets pass is what `gate.decide` lets pass on the model, and by a short list of its own nothing that must not.
"""

from __future__ import annotations

import json
import uuid
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from flask import Flask
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from app.domain import gate
from app.domain.order_status import LockoutType, OrderStatus
from app.domain.risk_config import PortfolioRiskConfig, TradingMode
from app.services.actor import Actor
from app.services.errors import Blocked, Conflict, Decided, DeskError, Forbidden, NotFound
from app.services.execution.dispatcher import Dispatch
from app.services.orders import approvals, queries
from app.services.orders import submit as orders
from app.services.orders.transitions import expire_due
from app.services.reporting import snapshot as state
from app.services.trading import config, lockouts
from tests.desk.orders import EVENT_OF, account
from tests.serving import TESTER, Desk

withdraw = Dispatch({}, 60).cancel  # as the routes do it

STEPS = 10_000
RUNS, EXAMPLES, LENGTH = 40, 10, 100  # some runs are cut short, and what is rare may need more of them
NOW = datetime(2026, 3, 2, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)

TICKERS = ("AAPL", "BTC/USD", "MSFT")
FUTURE = "ESZ6"  # its contract size is configured nowhere
MODES = ("disabled", "paper", "paper", "live")
SWITCHES = (
    "auto_approve_paper",
    "auto_approve_paper",
    "require_approval_for_live",
    "macro",
    "macro",
    "competitive",
)
LAYERS = (None, "macro", "competitive")
LIMITS = ({}, {}, {"max_order_quantity": "10"}, {"max_order_value": "1000"}, {"price_collar_pct": "5"})
RATES = ({}, {}, {"max_orders": 3, "per_seconds": 3600}, {"max_orders": 0, "per_seconds": 3600})
BROKEN = (
    {"operator_approval": 5},
    {"operator_approval": {"auto_approve_paper": "false"}},
    {"signal_layers": None},
    {"position_limits": {"max_order_value": "lots"}},
    {"order_rate": {"max_orders": 5}},
)
SIZES = (
    {"qty": Decimal(10)},
    {"qty": Decimal("10.000000001")},
    {"qty": Decimal(1), "reference_price": Decimal(1000)},
    {"qty": Decimal(1), "reference_price": Decimal("1000.01")},
    {"notional": Decimal(1000), "reference_price": Decimal(100)},
    {"notional": Decimal(1001), "reference_price": Decimal(100)},
    {"qty": Decimal(1), "type": "limit", "limit_price": Decimal(105), "reference_price": Decimal(100)},
    {"qty": Decimal(1), "type": "limit", "limit_price": Decimal(106), "reference_price": Decimal(100)},
)
ENGINES = ("one", "two")
MOVED_BY_THE_CLOCK = ("expired", "system:deadline")

seen: Counter[str] = Counter()
desk_under_test: list[tuple[Desk, Flask]] = []

which = st.integers(0, 999)

ALL = 10_000  # more orders than any run makes


class Model:
    """The desk as plain dicts."""

    def __init__(self) -> None:
        self.mode = "paper"
        self.config: dict[str, Any] = {}
        self.lockouts: dict[str, str] = {}  # id: ticker
        self.orders: dict[str, dict[str, Any]] = {}  # id: what is known of it

    def gate(self, engine: str | None = None) -> gate.Desk:
        read, error = PortfolioRiskConfig.read_what_can_be_read(self.config)
        locks = [gate.Lockout(ticker, LATER, "") for ticker in self.lockouts.values()]
        accepted = sum(
            order["engine"] == engine and order["counts"] and order["gate"] != "blocked"
            for order in self.orders.values()
        )
        return gate.Desk(TradingMode(self.mode), read, locks, error, accepted if engine else None)

    def blockers(self, order: dict[str, Any]) -> list[str]:
        return [reason.code.value for reason in gate.blockers(order["asked"], self.gate(), NOW)]

    def must_not_pass(self, order: dict[str, Any]) -> bool:
        """What the gate is for, said once more and without it."""
        new = order["new"]
        limits = self.config.get("position_limits") or {}
        return (
            self.mode == "disabled"
            or self.broken
            or any(ticker in ("*", new.ticker) for ticker in self.lockouts.values())
            or (new.signal_layer and not self.config.get("signal_layers", {}).get(new.signal_layer, True))
            or bool("max_order_quantity" in limits and new.qty and new.qty > 10)
            or bool("max_order_value" in limits and new.notional and new.notional > 1000)
        )

    def needs_a_person(self) -> bool:
        approval = self.config.get("operator_approval", {})
        if self.mode == "live":
            return bool(approval.get("require_approval_for_live", True))
        return not approval.get("auto_approve_paper", True)

    @property
    def broken(self) -> bool:
        return PortfolioRiskConfig.read_what_can_be_read(self.config)[1] is not None

    @property
    def undecided(self) -> list[str]:
        """What waits, and what has expired without anybody having noticed."""
        return [id_ for id_, order in self.orders.items() if order["written"] == "pending_approval"]

    @property
    def waiting(self) -> list[str]:
        return [id_ for id_, order in self.orders.items() if order["status"] == "pending_approval"]


class DeskMachine(RuleBasedStateMachine):
    """Steps are the acts of engines, people and the clock, most of them about orders that are not decided yet."""

    def __init__(self) -> None:
        super().__init__()
        self.desk, self.app = desk_under_test[0]
        self.desk.reset()
        self.model = Model()
        self.context = self.app.app_context()
        self.context.push()
        self.owner = account(self.desk, "owner", "operator")
        self.alice = account(self.desk, "alice", "operator")
        self.script = account(self.desk, "script", "operator", self.owner)
        self.engines = {
            "one": account(self.desk, "one", "engine", self.owner),
            "two": account(self.desk, "two", "engine"),
        }
        self.used: Counter[str] = Counter()

    def teardown(self) -> None:
        if self.model.orders:
            self.everybody_sees_what_the_model_says()
        self.context.pop()

    def pick(self, number: int) -> str:
        undecided = self.model.undecided
        candidates = undecided if undecided and number % 8 < 7 else list(self.model.orders)
        return candidates[number // 8 % len(candidates)]

    def moved(self, order: dict[str, Any], status: str, by: str, how: str) -> None:
        assert order["status"] == "pending_approval" or (order["status"], order["written"]) == (
            "expired",
            "pending_approval",
        ), "terminal states are final"
        order.update(status=status, written=status, by=by)
        seen[how] += 1

    def write_down(self, order: dict[str, Any], how: str) -> None:
        """Whoever asks about, or comes too late for, an order whose deadline has passed."""
        if (order["status"], order["written"]) == ("expired", "pending_approval"):
            self.moved(order, *MOVED_BY_THE_CLOCK, f"expired, written by {how}")

    # Engines

    @initialize(
        waits=st.sampled_from((True, True, True, False)),
        limits=st.sampled_from(LIMITS),
        rate=st.sampled_from(RATES),
        size=st.sampled_from(SIZES),
    )
    def begin(self, waits: bool, limits: dict[str, Any], rate: dict[str, Any], size: dict[str, Any]) -> None:
        """Mostly with orders that wait, for most steps are about them."""
        if waits:
            self.switch("auto_approve_paper", False)
            for engine, ticker, layer in zip(ENGINES * 2, (*TICKERS, "AAPL"), (*LAYERS, "macro"), strict=True):
                self.submit(engine, ticker, SIZES[0], layer)
            self.a_deadline_passes(0)
        self.replace_limits(limits, rate)
        self.submit("two", "MSFT", size, None)

    @rule(
        engine=st.sampled_from(ENGINES),
        ticker=st.sampled_from((*TICKERS, FUTURE)),
        sizes=st.lists(st.sampled_from(SIZES), min_size=1, max_size=4),
        layer=st.sampled_from(LAYERS),
    )
    def submit_some(self, engine: str, ticker: str, sizes: list[dict[str, Any]], layer: str | None) -> None:
        for size in sizes:
            self.submit(engine, ticker, size, layer)

    def submit(self, engine: str, ticker: str, size: dict[str, Any], layer: str | None) -> None:
        self.used[engine] += 1  # both engines use the same names
        values: dict[str, Any] = {"type": "market", "side": "buy", "signal_layer": layer} | size
        new = orders.NewOrder(client_order_id=f"n{self.used[engine]}", ticker=ticker, **values)
        asked = orders.gate_order(new)
        expected = gate.decide(asked, self.model.gate(engine), NOW)
        shown, made = orders.submit(self.engines[engine], new)
        assert made
        order = {
            "engine": engine,
            "new": new,
            "asked": asked,
            "gate": shown["status"],
            "status": shown["status"],
            "written": shown["status"],
            "by": shown["decided_by"],
            "counts": True,
        }
        assert shown["status"] == expected.outcome.value
        codes = [reason["code"] for reason in shown["reasons"]]
        assert codes == [reason.code.value for reason in expected.reasons]
        assert shown["trading_mode"] == self.model.mode
        assert shown["decided_by"] == (None if shown["status"] == "pending_approval" else "system:gate")
        if shown["status"] == "released":
            assert not self.model.must_not_pass(order)
            assert not self.model.needs_a_person()
        self.model.orders[shown["id"]] = order
        seen.update([f"submitted: {shown['status']}", *(f"blocked: {code}" for code in codes)])

    @precondition(lambda self: self.model.orders)
    @rule(number=which, changed=st.booleans())
    def submit_again(self, number: int, changed: bool) -> None:
        id_ = self.pick(number)
        order = self.model.orders[id_]
        new = replace(order["new"], rationale="another") if changed else order["new"]
        if changed:
            with pytest.raises(Conflict) as caught:
                orders.submit(self.engines[order["engine"]], new)
            assert caught.value.code == "idempotency_conflict"
        else:
            shown, made = orders.submit(self.engines[order["engine"]], new)
            assert (shown["id"], made, shown["status"]) == (id_, False, order["status"])
            self.write_down(order, "a replay")
        seen["submitted again"] += 1

    @precondition(lambda self: self.model.undecided)
    @rule(number=which, foreign=st.sampled_from((False, False, False, True)))
    def cancel(self, number: int, foreign: bool) -> None:
        id_ = self.pick(number)
        order = self.model.orders[id_]
        if foreign:
            other = self.engines["two" if order["engine"] == "one" else "one"]
            for act in (withdraw, orders.get):
                with pytest.raises(NotFound):
                    act(other, uuid.UUID(id_))
            return
        self.decide(
            order,
            "canceled",
            order["engine"],
            lambda: withdraw(self.engines[order["engine"]], uuid.UUID(id_)),
        )

    # People

    def decide(self, order: dict[str, Any], to: str, by: str, act: Any) -> None:
        """A move that is made if the order waits, and else tells who was quicker."""
        if order["status"] == "pending_approval":
            shown = act()
            assert (shown["status"], shown["decided_by"]) == (to, by)
            self.moved(order, to, by, f"{to} by hand")
            return
        with pytest.raises(Decided) as caught:
            act()
        assert caught.value.more["order"]["status"] == order["status"]
        assert caught.value.more["decided_by"] == order["by"]
        self.write_down(order, "who came too late")
        seen["came too late"] += 1

    @precondition(lambda self: self.model.undecided)
    @rule(number=which)
    def approve(self, number: int) -> None:
        id_ = self.pick(number)
        order = self.model.orders[id_]

        def act(who: Actor = self.alice) -> Any:
            return approvals.approve(who, uuid.UUID(id_), None)

        if order["engine"] == "one" and number % 3 == 0:
            for who in (self.owner, self.script):
                with pytest.raises(Forbidden):
                    act(who)
        blockers = self.model.blockers(order)
        if order["status"] == "pending_approval" and blockers:
            with pytest.raises(Blocked) as caught:
                act()
            assert [reason["code"] for reason in caught.value.more["reasons"]] == blockers
            assert caught.value.code == blockers[0]
            seen.update(f"approval blocked: {code}" for code in blockers)
            return
        if order["status"] == "pending_approval":
            assert not self.model.must_not_pass(order)
        self.decide(order, "released", "alice", act)

    def somebody_tries_to_approve(self) -> None:
        """Just when it has become impossible, or it would be rare."""
        for id_ in self.model.waiting[:1]:
            self.approve(list(self.model.orders).index(id_) * 8 + 7)

    @precondition(lambda self: self.model.undecided)
    @rule(number=which, by_owner=st.booleans())
    def reject(self, number: int, by_owner: bool) -> None:
        id_ = self.pick(number)
        who = self.owner if by_owner else self.alice
        self.decide(
            self.model.orders[id_], "rejected", who.name, lambda: approvals.reject(who, uuid.UUID(id_), "no")
        )

    # The clock

    @precondition(lambda self: self.model.waiting)
    @rule(number=which)
    def a_deadline_passes(self, number: int) -> None:
        waiting = self.model.waiting
        id_ = waiting[number % len(waiting)]
        self.desk.sql("UPDATE orders SET expires_at = clock_timestamp() WHERE id = %s", id_)
        self.model.orders[id_].update(status="expired", by="system:deadline")

    @rule(most=st.sampled_from((1, 1000)))
    def sweep(self, most: int) -> None:
        due = [
            order
            for order in self.model.orders.values()
            if (order["status"], order["written"]) == ("expired", "pending_approval")
        ]
        if most == 1 and len(due) > 1:
            return  # the model does not know whose turn it is
        assert expire_due(TESTER, most=most) == len(due)
        for order in due:
            self.write_down(order, "the sweep")

    @precondition(lambda self: self.model.undecided)
    @rule(number=which)
    def look_at_one(self, number: int) -> None:
        id_ = self.pick(number)
        order = self.model.orders[id_]
        shown = orders.get(self.alice, uuid.UUID(id_))
        assert (shown["status"], shown["decided_by"]) == (order["status"], order["by"])
        self.write_down(order, "a look")

    @precondition(lambda self: any(order["counts"] for order in self.model.orders.values()))
    @rule()
    def the_window_of_the_rate_moves_on(self) -> None:
        self.desk.sql("UPDATE orders SET created_at = created_at - interval '61 minutes'")
        for order in self.model.orders.values():
            order["counts"] = False

    # The rules

    @precondition(lambda self: len(self.model.lockouts) < 2)
    @rule(ticker=st.sampled_from((*TICKERS, "*")))
    def lock_out(self, ticker: str) -> None:
        made = lockouts.create(
            self.alice, ticker=ticker, reason="news", duration_minutes=60, lockout_type=LockoutType.MANUAL
        )
        self.model.lockouts[str(made.id)] = ticker
        self.somebody_tries_to_approve()

    @precondition(lambda self: self.model.lockouts)
    @rule(number=which, by_hand=st.booleans())
    def a_lockout_ends(self, number: int, by_hand: bool) -> None:
        id_ = list(self.model.lockouts)[number % len(self.model.lockouts)]
        del self.model.lockouts[id_]
        if by_hand:
            lockouts.remove(self.alice, uuid.UUID(id_))
        else:
            self.desk.sql(
                "UPDATE symbol_lockouts SET created_at = created_at - interval '1 day',"
                " expires_at = clock_timestamp() WHERE id = %s",
                id_,
            )

    def change(self, act: Any, section: str, changes: dict[str, Any]) -> None:
        """A merge into the stored configuration, which a section that cannot be read refuses."""
        stored = self.model.config.get(section, {})
        merged = {**self.model.config, section: {**stored, **changes} if isinstance(stored, dict) else stored}
        after, still = PortfolioRiskConfig.read_what_can_be_read({section: merged[section]})
        if still:
            with pytest.raises(Conflict) as caught:
                act(TESTER, changes)
            assert caught.value.code == "config_invalid"
            return
        act(TESTER, changes)
        before, broken = PortfolioRiskConfig.read_what_can_be_read({section: stored})
        if broken or before != after:  # else it is no change, and nothing is written
            self.model.config = merged

    @rule(what=st.sampled_from(SWITCHES), on=st.booleans())
    def switch(self, what: str, on: bool) -> None:
        if what in ("macro", "competitive"):
            self.change(config.change_signal_layers, "signal_layers", {what: on})
        else:
            self.change(config.change_approval_config, "operator_approval", {what: on})

    @rule(limits=st.sampled_from(LIMITS), rate=st.sampled_from(RATES))
    def replace_limits(self, limits: dict[str, Any], rate: dict[str, Any]) -> None:
        if self.model.broken:
            return  # see mend
        whole = {**self.model.config, "position_limits": limits, "order_rate": rate}
        assert config.replace(TESTER, whole, expected_versions=None).config == whole
        self.model.config = whole

    @rule(broken=st.sampled_from(BROKEN), waits=st.booleans(), sure=which)
    def break_or_mend_the_configuration(self, broken: dict[str, Any], waits: bool, sure: int) -> None:
        if self.model.broken:
            mended = {"operator_approval": {"auto_approve_paper": not waits}}
            config.replace(TESTER, mended, expected_versions=None)
            self.model.config = mended
        elif sure % 3 == 0:  # not so often, for nothing passes then
            with pytest.raises(DeskError):
                config.replace(TESTER, broken, expected_versions=None)
            self.desk.sql("UPDATE risk_configs SET config = %s", json.dumps(broken))
            self.model.config = broken
            self.somebody_tries_to_approve()

    @rule(to=st.sampled_from(MODES), stale=st.sampled_from((False, False, True)))
    def change_mode(self, to: str, stale: bool) -> None:
        leaving = self.model.mode if not stale else "live" if self.model.mode != "live" else "disabled"
        refused = stale and to != "disabled"
        act = partial(config.change_mode, TESTER, TradingMode(to), leaving=TradingMode(leaving), reason="so be it")
        if refused:
            with pytest.raises(Conflict) as caught:
                act()
            assert caught.value.code == "mode_changed"
            return
        act()
        if to == self.model.mode:
            return  # nothing was changed, so nothing is canceled
        self.model.mode = to
        for order in self.model.orders.values():
            if order["status"] == "pending_approval":
                self.moved(order, "canceled", TESTER.name, "canceled by a change of mode")
            else:
                self.write_down(order, "a change of mode")

    # What everybody sees

    @precondition(lambda self: self.model.orders)
    @rule(status=st.sampled_from(OrderStatus))
    def everybody_sees_what_the_model_says(self, status: OrderStatus = OrderStatus.EXPIRED) -> None:
        model = self.model.orders
        listed = {shown["id"]: shown["status"] for _, shown in queries.page(self.alice, limit=ALL)}
        assert list(listed) == list(reversed(model)), "newest first"
        assert listed == {id_: order["status"] for id_, order in model.items()}
        own = queries.page(self.engines["two"], status=status, limit=ALL)
        assert {shown["id"] for _, shown in own} == {
            id_ for id_, order in model.items() if (order["engine"], order["status"]) == ("two", status)
        }
        snapshot = state.snapshot()
        assert (snapshot["trading_mode"], snapshot["approvals_total"]) == (
            self.model.mode,
            len(self.model.waiting),
        )
        assert {shown["id"]: shown["blockers"] for shown in snapshot["approvals"]} == {
            id_: self.model.blockers(model[id_]) for id_ in self.model.waiting
        }
        assert all(shown["approvable"] == (not shown["blockers"]) for shown in snapshot["approvals"])
        assert {shown["id"] for shown in approvals.page(limit=ALL)} == set(self.model.waiting)

    @invariant()
    def every_order_is_where_the_model_says_with_one_event_for_each_move(self) -> None:
        seen["steps"] += 1
        found = self.desk.sql(
            """
            SELECT o.id::text, o.status, o.decided_by, array_agg(e.action || ' ' || e.actor ORDER BY e.id)
            FROM orders o LEFT JOIN audit_events e ON e.subject = o.id::text GROUP BY o.seq, 1, 2, 3
            """
        )
        expected = []
        for id_, order in self.model.orders.items():
            waits = order["written"] == "pending_approval"
            events = [f"order.submit {order['engine']}"]
            if not waits and order["by"] != "system:gate":
                events.append(f"{EVENT_OF[order['written']]} {order['by']}")
            expected.append((id_, order["written"], None if waits else order["by"], events))
        assert sorted(found) == sorted(expected)
        for _, status, by, _ in found:
            # Released is what the gate let pass at once, or what a person approved.
            assert status != "released" or by in ("system:gate", "alice")


SETTINGS = settings(
    max_examples=EXAMPLES,
    stateful_step_count=LENGTH,
    deadline=None,
    derandomize=False,  # the same steps again and again would not be so many
    database=None,
    phases=[Phase.generate],  # a failure is shown as it was found: making it shorter would take many minutes
    suppress_health_check=list(HealthCheck),
)
# What so many steps must have come across, or they were not the steps that were meant.
EXPECTED = {
    *(f"submitted: {outcome.value}" for outcome in gate.Outcome),
    *(f"blocked: {code.value}" for code in gate.ReasonCode),
    *(f"approval blocked: {code}" for code in ("config_invalid", "symbol_locked_out")),
    *(f"{status} by hand" for status in ("released", "rejected", "canceled")),
    *(f"expired, written by {who}" for who in ("a look", "the sweep", "who came too late", "a change of mode")),
    "canceled by a change of mode",
    "submitted again",
    "came too late",
}


@pytest.mark.timeout(1800)  # two minutes where nothing else is done
@pytest.mark.usefixtures("any_machine")
def test_ten_thousand_steps_go_as_the_model_says(shared_desk: Desk, app: Flask) -> None:
    desk_under_test[:] = [(shared_desk, app)]
    seen.clear()
    for _ in range(RUNS):
        if seen["steps"] < STEPS or EXPECTED - set(seen):
            run_state_machine_as_test(DeskMachine, settings=SETTINGS)
    assert seen["steps"] >= STEPS
    assert set(seen) >= EXPECTED, EXPECTED - set(seen)
