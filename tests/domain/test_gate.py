"""The gate: every reason in order, exact limits, and nothing that tightens the rules ever helps an order out."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.domain.gate import Decision, Desk, Lockout, Order, Outcome, ReasonCode, SignalLayer, blockers, decide
from app.domain.instruments import Multipliers, instrument
from app.domain.risk_config import (
    ConfigInvalid,
    Instruments,
    OperatorApproval,
    OrderRate,
    PortfolioRiskConfig,
    PositionLimits,
    SignalLayers,
    TradingMode,
    requires_approval,
)
from tests.domain.tickers import continuous, contracts, options, shares, spellings, tickers

NOW = datetime(2026, 3, 2, 14, 30, tzinfo=UTC)
TICKERS = ("AAPL", "BRK.B", "BTC/USD", "AAPL261218C00200000", "AAPL1261218C00200000", "ESZ6", "NQ=F")
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
multipliers = st.dictionaries(st.sampled_from(["ES", "NQ", "AAPL1", "AAPL"]), amounts, max_size=4).map(Multipliers)
rates = st.just(OrderRate()) | st.builds(OrderRate, max_orders=st.integers(0, 5), per_seconds=st.just(60))
configs = st.builds(
    PortfolioRiskConfig,
    operator_approval=st.builds(OperatorApproval, st.booleans(), st.booleans(), st.just(30)),
    signal_layers=st.builds(SignalLayers, st.booleans(), st.booleans()),
    position_limits=st.builds(PositionLimits, limits, limits, limits),
    order_rate=rates,
    instruments=multipliers.map(Instruments),
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


def over_limits(order: Order, config: PortfolioRiskConfig) -> set[ReasonCode]:
    """An oracle of its own, in fractions: at the limit is allowed, and nothing is rounded."""
    limits, configured = config.position_limits, config.instruments.multipliers
    known = [Fraction(p) for p in (order.limit_price, order.stop_price, order.reference_price) if p is not None]
    usual = {"AAPL": 1, "BRK.B": 1, "BTC/USD": 1, "AAPL261218C00200000": 100}
    roots = {"ESZ6": "ES", "NQ=F": "NQ", "AAPL1261218C00200000": "AAPL1", "AAPL": "AAPL"}
    size = configured.get(roots.get(order.ticker, ""), usual.get(order.ticker))
    found: set[ReasonCode] = set()

    def hold(limit: Decimal | None, computed: Fraction | None, code: ReasonCode) -> None:
        if limit is not None and computed is not None and computed > Fraction(limit):
            found.add(code)

    def miss(limit: Decimal | None, is_missing: bool, code: ReasonCode) -> None:
        if limit is not None and is_missing:
            found.add(code)

    if order.qty is not None:
        hold(limits.max_order_quantity, exact(order.qty), ReasonCode.ORDER_QUANTITY_LIMIT)
        value = exact(order.qty) * max(known) * Fraction(size) if known and size else None
        hold(limits.max_order_value, value, ReasonCode.ORDER_VALUE_LIMIT)
    else:
        hold(limits.max_order_value, exact(order.notional), ReasonCode.ORDER_VALUE_LIMIT)
        quantity = exact(order.notional) / (min(known) * Fraction(size)) if known and size else None
        hold(limits.max_order_quantity, quantity, ReasonCode.ORDER_QUANTITY_LIMIT)
    converted = limits.max_order_value if order.qty is not None else limits.max_order_quantity
    miss(converted, not known, ReasonCode.PRICE_UNKNOWN)
    miss(converted, not size, ReasonCode.CONTRACT_SIZE_UNKNOWN)
    if order.limit_price is not None:
        miss(limits.price_collar_pct, order.reference_price is None, ReasonCode.PRICE_UNKNOWN)
        if order.reference_price is not None:
            reference = Fraction(order.reference_price)
            away = abs(exact(order.limit_price) - reference) / reference * 100
            hold(limits.price_collar_pct, away, ReasonCode.PRICE_COLLAR)
    return found


ABOUT_LIMITS = {
    ReasonCode.ORDER_QUANTITY_LIMIT,
    ReasonCode.ORDER_VALUE_LIMIT,
    ReasonCode.PRICE_UNKNOWN,
    ReasonCode.CONTRACT_SIZE_UNKNOWN,
    ReasonCode.PRICE_COLLAR,
}


@many
@given(orders(), desks)
def test_limits_agree_with_exact_fractions(order: Order, desk: Desk) -> None:
    found = set(codes(decide(order, desk, NOW))) & ABOUT_LIMITS
    assert found == over_limits(order, desk.config)


NINE_DIGITS = Decimal("1e-9")
LARGE = Context(prec=200)
large = st.decimals("1000000", "999999999", places=9)


@many
@given(large, large, large, st.sampled_from([ROUND_FLOOR, ROUND_CEILING]), st.sampled_from(["value", "quantity"]))
@example(Decimal("100000000.000000001"), Decimal("100000000.000000001"), Decimal(1), ROUND_FLOOR, "value")
def test_nothing_is_rounded_beside_a_limit(
    one: Decimal, other: Decimal, third: Decimal, rounding: str, which: str
) -> None:
    """Amounts whose product has up to 54 digits, and a limit within a billionth of it."""
    if which == "value":
        order = Order("AAPL", qty=one, limit_price=other)
        limit = LARGE.multiply(one, other).quantize(NINE_DIGITS, rounding, LARGE)
        rules = desk(position_limits={"max_order_value": str(limit)})
    else:
        notional = LARGE.multiply(one, other).quantize(NINE_DIGITS, rounding, LARGE)
        order = Order("AAPL", notional=notional, limit_price=other)
        rules = desk(position_limits={"max_order_quantity": str(one)})
    assert set(codes(decide(order, rules, NOW))) == over_limits(order, rules.config)
    collar = desk(position_limits={"price_collar_pct": str(LARGE.divide(third, other).quantize(NINE_DIGITS))})
    away = LARGE.divide(LARGE.multiply(other, collar.config.position_limits.price_collar_pct or one), Decimal(100))
    near = LARGE.add(other, away).quantize(NINE_DIGITS, rounding, LARGE)
    priced = Order("AAPL", qty=one, limit_price=near, reference_price=other)
    assert set(codes(decide(priced, collar, NOW))) == over_limits(priced, collar.config)


class TestContracts:
    RULES = desk(position_limits={"max_order_value": "1000"}, instruments={"multipliers": {"ES": "50"}})

    @pytest.mark.parametrize(
        ("ticker", "qty", "price", "outcome"),
        [
            ("AAPL261218C00200000", 3, "5", [ReasonCode.ORDER_VALUE_LIMIT]),
            ("AAPL261218C00200000", 2, "5", []),
            ("ESZ6", 1, "900", [ReasonCode.ORDER_VALUE_LIMIT]),
            ("ESZ6", 1, "20", []),
            ("NQZ6", 1, "1", [ReasonCode.CONTRACT_SIZE_UNKNOWN]),
            ("AAPL1261218C00200000", 1, "1", [ReasonCode.CONTRACT_SIZE_UNKNOWN]),
            ("AAPL", 3, "5", []),
        ],
    )
    def test_are_worth_their_price_times_their_size(
        self, ticker: str, qty: int, price: str, outcome: list[ReasonCode]
    ) -> None:
        order = Order(ticker, qty=Decimal(qty), limit_price=Decimal(price))
        assert codes(decide(order, self.RULES, NOW)) == outcome

    def test_detail_names_value_and_limit(self) -> None:
        order = Order("AAPL261218C00200000", qty=Decimal(3), limit_price=Decimal(5))
        [reason] = blockers(order, self.RULES, NOW)
        assert reason.detail == "the value 1500 (3 at 5, contract size 100) is above 1000"

    def test_detail_names_quantity_and_limit(self) -> None:
        rules = desk(position_limits={"max_order_quantity": "2"})
        order = Order("AAPL261218C00200000", notional=Decimal(1600), reference_price=Decimal(3))
        [reason] = blockers(order, rules, NOW)
        assert reason.detail == "the quantity 5.333333334 (1600 at 3, contract size 100) is above 2"

    def test_detail_of_an_unknown_size_names_limit_and_remedy(self) -> None:
        [reason] = blockers(Order("NQZ6", qty=Decimal(1), limit_price=Decimal(1)), self.RULES, NOW)
        assert reason.detail == (
            "the contract size of NQZ6 is needed to check these limits: max_order_value 1000;"
            " an admin can set it in instruments.multipliers of the configuration"
        )

    def test_without_a_limit_an_unknown_size_does_not_block(self) -> None:
        assert codes(decide(Order("NQZ6", qty=Decimal(1), limit_price=Decimal(1)), desk(), NOW)) == []

    def test_without_price_and_size_both_are_named(self) -> None:
        assert codes(decide(Order("NQZ6", qty=Decimal(1)), self.RULES, NOW)) == [
            ReasonCode.PRICE_UNKNOWN,
            ReasonCode.CONTRACT_SIZE_UNKNOWN,
        ]

    @many
    @given(amounts, amounts, limits, limits)
    def test_of_a_hundred_units_are_worth_a_hundred_shares(
        self, qty: Decimal, price: Decimal, most: Decimal | None, most_value: Decimal | None
    ) -> None:
        many_shares = LARGE.multiply(qty, Decimal(100))
        contract = Order("AAPL261218C00200000", qty=qty, limit_price=price)
        shares = Order("AAPL", qty=many_shares, limit_price=price)
        assert contract.value(Multipliers()) == shares.value(Multipliers())
        rules = desk(position_limits={"max_order_value": most_value and str(most_value)})
        assert codes(decide(contract, rules, NOW)) == codes(decide(shares, rules, NOW))
        # By money, a hundredth of the contracts.
        rules = desk(position_limits={"max_order_quantity": most and str(most)})
        by_money = replace(contract, qty=None, notional=qty)
        assert bool(codes(decide(by_money, rules, NOW))) == bool(
            most is not None and Fraction(qty) / (Fraction(price) * 100) > Fraction(most)
        )

    @many
    @given(contracts | continuous | options | shares, st.data(), amounts)
    def test_no_spelling_is_worth_less_than_another(self, named: Any, data: st.DataObject, price: Decimal) -> None:
        ticker = named if isinstance(named, str) else named[0]
        spelled = data.draw(spellings(ticker))
        root = instrument(ticker).root or ticker
        sizes = Multipliers(data.draw(st.dictionaries(st.sampled_from([ticker, spelled, root]), amounts)))
        orders = [Order(name, qty=Decimal(1), limit_price=price) for name in (ticker, spelled)]
        assert orders[0].value(sizes) == orders[1].value(sizes)


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
        code for code in ReasonCode if code not in (ReasonCode.PRICE_UNKNOWN, ReasonCode.CONTRACT_SIZE_UNKNOWN)
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
@given(tickers, st.data())
def test_a_lockout_blocks_every_spelling_of_its_symbol(ticker: str, data: st.DataObject) -> None:
    spelled, other = data.draw(spellings(ticker)), data.draw(spellings(ticker))
    locked = replace(desk(), lockouts=(Lockout(spelled, NOW + timedelta(hours=1), "news"),))
    assert [reason.code for reason in blockers(Order(other, qty=Decimal(1)), locked, NOW)] == [
        ReasonCode.SYMBOL_LOCKED_OUT
    ]


@pytest.mark.parametrize(
    ("locked", "ticker", "blocked"),
    [
        ("AAPL", "AAPL261218C00200000", True),
        ("AAPL", "AAPL1261218C00200000", True),
        ("AAPL261218C00200000", "AAPL", False),
        ("AAPL261218C00200000", "AAPL261218P00200000", False),
        ("ES", "ESZ6", True),
        ("ES=F", "ESZ26", True),
        ("ES1!", "CME:ESZ2026", True),
        ("ESZ6", "ESH7", False),
    ],
)
def test_a_lockout_of_an_underlying_blocks_its_derivatives(locked: str, ticker: str, blocked: bool) -> None:
    rules = replace(desk(), lockouts=(Lockout(locked, NOW + timedelta(hours=1), "news"),))
    assert bool(blockers(Order(ticker, qty=Decimal(1)), rules, NOW)) is blocked
