"""The gate: every reason in order, exact limits, and nothing that tightens the rules ever helps an order out."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.gate import (
    Decision,
    Desk,
    Lockout,
    Order,
    Outcome,
    ReasonCode,
    SignalLayer,
    blockers,
    decide,
)
from app.domain.risk import (
    ConfigInvalid,
    OperatorApproval,
    OrderRate,
    PortfolioRiskConfig,
    PositionLimits,
    SignalLayers,
    TradingMode,
    requires_approval,
)

NOW = datetime(2026, 3, 2, 14, 30, tzinfo=UTC)
TICKERS = ("AAPL", "BRK.B", "BTC/USD")
STRICTNESS = {Outcome.RELEASED: 0, Outcome.PENDING_APPROVAL: 1, Outcome.BLOCKED: 2}

many = settings(max_examples=300, deadline=None)

amounts = st.decimals("0.000000001", "999999999999999999", places=9, allow_nan=False, allow_infinity=False)
prices = st.none() | amounts
limits = st.none() | st.decimals(0, "999999999999999999", places=9)


@st.composite
def orders(draw: st.DrawFn) -> Order:
    by_quantity = draw(st.booleans())
    amount = draw(amounts)
    return Order(
        ticker=draw(st.sampled_from(TICKERS)),
        qty=amount if by_quantity else None,
        notional=None if by_quantity else amount,
        limit_price=draw(prices),
        stop_price=draw(prices),
        reference_price=draw(prices),
        signal_layer=draw(st.none() | st.sampled_from(SignalLayer)),
    )


lockouts = st.builds(
    Lockout,
    ticker=st.sampled_from([*TICKERS, "*"]),
    expires_at=st.integers(-120, 120).map(lambda seconds: NOW + timedelta(seconds=seconds)),
    reason=st.just("news"),
)
rates = st.just(OrderRate()) | st.builds(OrderRate, max_orders=st.integers(0, 5), per_seconds=st.just(60))
configs = st.builds(
    PortfolioRiskConfig,
    operator_approval=st.builds(OperatorApproval, st.booleans(), st.booleans(), st.just(30)),
    signal_layers=st.builds(SignalLayers, st.booleans(), st.booleans()),
    position_limits=st.builds(PositionLimits, limits, limits, limits),
    order_rate=rates,
)
desks = st.builds(
    Desk,
    mode=st.sampled_from(TradingMode),
    config=configs,
    lockouts=st.lists(lockouts, max_size=4).map(tuple),
    config_error=st.none() | st.just(ConfigInvalid("operator_approval", "must be an object, not 5")),
    accepted_lately=st.none() | st.integers(0, 8),
)


def codes(decision: Decision) -> list[ReasonCode]:
    return [reason.code for reason in decision.reasons]


def no_looser(before: Decision, after: Decision) -> bool:
    return STRICTNESS[after.outcome] >= STRICTNESS[before.outcome] and set(codes(after)) >= set(codes(before))


def desk(**config: object) -> Desk:
    return Desk(TradingMode.PAPER, PortfolioRiskConfig.from_db_json(config))


@many
@given(orders(), desks)
def test_every_order_gets_a_decision_and_every_block_its_reasons_in_order(order: Order, desk: Desk) -> None:
    decision = decide(order, desk, NOW)
    assert (decision.outcome is Outcome.BLOCKED) == bool(decision.reasons)
    order_of_codes = list(ReasonCode)
    places = [order_of_codes.index(code) for code in codes(decision)]
    assert places == sorted(set(places))
    assert all(reason.detail for reason in decision.reasons)


@many
@given(orders(), desks)
def test_an_order_that_needs_approval_is_never_released_by_the_gate(order: Order, desk: Desk) -> None:
    released = decide(order, desk, NOW).outcome is Outcome.RELEASED
    assert not (released and requires_approval(desk.config, desk.mode))
    assert not (released and desk.mode is TradingMode.DISABLED)
    assert not (released and desk.config_error)


@many
@given(orders(), desks, lockouts)
def test_a_lockout_more_never_helps(order: Order, desk: Desk, lockout: Lockout) -> None:
    tighter = replace(desk, lockouts=(*desk.lockouts, lockout))
    assert no_looser(decide(order, desk, NOW), decide(order, tighter, NOW))


@many
@given(orders(), desks, st.sampled_from(SignalLayer))
def test_switching_a_layer_off_never_helps(order: Order, desk: Desk, layer: SignalLayer) -> None:
    off = replace(desk.config.signal_layers, **{layer.value: False})
    tighter = replace(desk, config=replace(desk.config, signal_layers=off))
    assert no_looser(decide(order, desk, NOW), decide(order, tighter, NOW))


@many
@given(orders(), desks, st.sampled_from(["max_order_quantity", "max_order_value", "price_collar_pct"]), limits)
def test_a_tighter_limit_never_helps(order: Order, desk: Desk, name: str, limit: Decimal | None) -> None:
    present = getattr(desk.config.position_limits, name)
    if limit is None:
        return
    tight = limit if present is None else min(limit, present)
    limits_then = replace(desk.config.position_limits, **{name: tight})
    tighter = replace(desk, config=replace(desk.config, position_limits=limits_then))
    assert no_looser(decide(order, desk, NOW), decide(order, tighter, NOW))


@many
@given(orders(), desks, st.integers(0, 5))
def test_a_tighter_rate_never_helps(order: Order, desk: Desk, most: int) -> None:
    present = desk.config.order_rate.max_orders
    rate = OrderRate(most if present is None else min(most, present), 60)
    tighter = replace(desk, config=replace(desk.config, order_rate=rate))
    assert no_looser(decide(order, desk, NOW), decide(order, tighter, NOW))


@many
@given(orders(), desks)
def test_a_broken_configuration_never_helps(order: Order, desk: Desk) -> None:
    broken = replace(desk, config_error=ConfigInvalid("signal_layers", "must be an object, not null"))
    assert decide(order, broken, NOW).outcome is Outcome.BLOCKED
    assert no_looser(decide(order, desk, NOW), decide(order, broken, NOW))


def exact(value: Decimal | None) -> Fraction:
    return Fraction(value or 0)


def over_limits(order: Order, limits: PositionLimits) -> set[ReasonCode]:
    """An oracle of its own, in fractions: at the limit is allowed, and nothing is rounded."""
    known = [Fraction(p) for p in (order.limit_price, order.stop_price, order.reference_price) if p is not None]
    quantity = exact(order.qty) if order.qty is not None else exact(order.notional) / min(known) if known else None
    value = exact(order.notional) if order.qty is None else exact(order.qty) * max(known) if known else None
    away = None
    if order.reference_price is not None:
        reference = Fraction(order.reference_price)
        away = abs(exact(order.limit_price) - reference) / reference * 100
    measured = [
        (limits.max_order_quantity, quantity, ReasonCode.ORDER_QUANTITY_LIMIT),
        (limits.max_order_value, value, ReasonCode.ORDER_VALUE_LIMIT),
        (limits.price_collar_pct if order.limit_price is not None else None, away, ReasonCode.PRICE_COLLAR),
    ]
    held = [(limit, found, code) for limit, found, code in measured if limit is not None]
    unknown = {ReasonCode.PRICE_UNKNOWN for _, found, _ in held if found is None}
    return unknown | {code for limit, found, code in held if found is not None and found > Fraction(limit)}


@many
@given(orders(), desks)
def test_limits_agree_with_exact_fractions(order: Order, desk: Desk) -> None:
    about_limits = {
        ReasonCode.ORDER_QUANTITY_LIMIT,
        ReasonCode.ORDER_VALUE_LIMIT,
        ReasonCode.PRICE_UNKNOWN,
        ReasonCode.PRICE_COLLAR,
    }
    found = set(codes(decide(order, desk, NOW))) & about_limits
    assert found == over_limits(order, desk.config.position_limits)


def test_at_the_limit_is_allowed_and_a_hair_above_is_not() -> None:
    rules = desk(position_limits={"max_order_quantity": "10", "max_order_value": "1000", "price_collar_pct": "5"})
    at = Order("AAPL", qty=Decimal(10), limit_price=Decimal(100), reference_price=Decimal("95.238095239"))
    assert codes(decide(at, rules, NOW)) == []
    above = replace(at, qty=Decimal("10.000000001"))
    assert codes(decide(above, rules, NOW)) == [ReasonCode.ORDER_QUANTITY_LIMIT, ReasonCode.ORDER_VALUE_LIMIT]


def test_leaving_the_reference_price_out_does_not_switch_the_collar_off() -> None:
    rules = desk(position_limits={"price_collar_pct": "5"})
    bare = Order("AAPL", qty=Decimal(1), limit_price=Decimal(100))
    assert codes(decide(bare, rules, NOW)) == [ReasonCode.PRICE_UNKNOWN]


def test_a_market_order_has_no_limit_price_for_the_collar_to_hold() -> None:
    rules = desk(position_limits={"price_collar_pct": "5"})
    assert codes(decide(Order("AAPL", qty=Decimal(1), reference_price=Decimal(100)), rules, NOW)) == []


def test_the_highest_known_price_makes_the_value_and_the_lowest_the_quantity() -> None:
    rules = desk(position_limits={"max_order_value": "1000", "max_order_quantity": "10"})
    prices = {"limit_price": Decimal(50), "stop_price": Decimal(101), "reference_price": Decimal(90)}
    assert codes(decide(Order("AAPL", qty=Decimal(10), **prices), rules, NOW)) == [ReasonCode.ORDER_VALUE_LIMIT]
    assert codes(decide(Order("AAPL", notional=Decimal(501), **prices), rules, NOW)) == [
        ReasonCode.ORDER_QUANTITY_LIMIT
    ]


def test_every_reason_that_applies_is_given() -> None:
    config = PortfolioRiskConfig.from_db_json(
        {
            "signal_layers": {"macro": False},
            "position_limits": {"max_order_quantity": 1, "max_order_value": 1, "price_collar_pct": 1},
            "order_rate": {"max_orders": 0, "per_seconds": 1},
        }
    )
    order = Order(
        "AAPL",
        qty=Decimal(5),
        limit_price=Decimal(5),
        reference_price=Decimal(9),
        signal_layer=SignalLayer.MACRO,
    )
    locked = (Lockout("*", NOW + timedelta(seconds=1), "news"),)
    all_wrong = Desk(TradingMode.DISABLED, config, locked, ConfigInvalid("x", "is wrong"), accepted_lately=0)
    assert codes(decide(order, all_wrong, NOW)) == [
        code for code in ReasonCode if code is not ReasonCode.PRICE_UNKNOWN
    ]


@pytest.mark.parametrize(
    ("ticker", "seconds", "held"),
    [("AAPL", 1, True), ("AAPL", 0, False), ("*", 1, True), ("MSFT", 1, False), ("AAP", 1, False)],
)
def test_a_lockout_holds_its_symbol_until_its_end(ticker: str, seconds: int, held: bool) -> None:
    locked = replace(desk(), lockouts=(Lockout(ticker, NOW + timedelta(seconds=seconds), "news"),))
    assert codes(decide(Order("AAPL", qty=Decimal(1)), locked, NOW)) == (
        [ReasonCode.SYMBOL_LOCKED_OUT] if held else []
    )


def test_the_rate_is_left_out_where_it_was_not_counted() -> None:
    rules = desk(order_rate={"max_orders": 0, "per_seconds": 60})
    assert blockers(Order("AAPL", qty=Decimal(1)), rules, NOW) == ()
    counted = replace(rules, accepted_lately=0)
    assert [reason.code for reason in blockers(Order("AAPL", qty=Decimal(1)), counted, NOW)] == [
        ReasonCode.ORDER_RATE_LIMIT
    ]


class TestWhatCanBeReadOfABrokenConfiguration:
    def test_a_sound_one_is_read_as_it_is(self) -> None:
        stored = {"signal_layers": {"macro": False}, "sector_exposure": {"tech": "0.3"}}
        read, error = PortfolioRiskConfig.read_what_can_be_read(stored)
        assert (read, error) == (PortfolioRiskConfig.from_db_json(stored), None)

    def test_sections_that_can_be_read_still_give_their_reasons(self) -> None:
        stored = {"signal_layers": {"macro": False}, "position_limits": {"max_order_value": "lots"}}
        read, error = PortfolioRiskConfig.read_what_can_be_read(stored)
        assert error is not None
        assert error.key == "position_limits.max_order_value"
        broken = Desk(TradingMode.PAPER, read, config_error=error)
        order = Order("AAPL", qty=Decimal(1), signal_layer=SignalLayer.MACRO)
        assert codes(decide(order, broken, NOW)) == [ReasonCode.CONFIG_INVALID, ReasonCode.SIGNAL_LAYER_DISABLED]

    @pytest.mark.parametrize("stored", [None, [], 5, "x", {"operator_approval": None}])
    def test_whatever_is_stored_nothing_is_released(self, stored: object) -> None:
        read, error = PortfolioRiskConfig.read_what_can_be_read(stored)
        assert decide(
            Order("AAPL", qty=Decimal(1)), Desk(TradingMode.PAPER, read, config_error=error), NOW
        ).outcome is (Outcome.BLOCKED)


@many
@given(st.sampled_from(["BTC/USD", "BRK.B", "A-B.C"]), st.data())
def test_a_lockout_holds_every_spelling_of_its_symbol(ticker: str, data: st.DataObject) -> None:
    separators = st.sampled_from(["", "/", ".", "-"])

    def spelt() -> str:
        return "".join(data.draw(separators) if letter in "./-" else letter for letter in ticker)

    locked = replace(desk(), lockouts=(Lockout(spelt(), NOW + timedelta(hours=1), "news"),))
    assert [reason.code for reason in blockers(Order(spelt(), qty=Decimal(1)), locked, NOW)] == [
        ReasonCode.SYMBOL_LOCKED_OUT
    ]
