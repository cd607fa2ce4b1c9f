"""The example's arithmetic: when averages cross, and how many shares a strategy may offer."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples.desk_client import Order
from examples.moving_average import LOT, START, Bar, Cross, MovingAverages, Strategy, prices

CLOSES = st.lists(st.decimals("0.01", "999.99", places=2), min_size=1, max_size=60)
FEW_CLOSES = st.lists(st.sampled_from([Decimal(1), Decimal(2), Decimal(3)]), min_size=1, max_size=60)
DAY = date(2008, 1, 2)


def bars(*closes: int | str) -> list[Bar]:
    return [Bar(DAY + timedelta(days=number), Decimal(close)) for number, close in enumerate(closes)]


def orders(strategy: Strategy, *closes: int | str) -> list[Order | None]:
    return [strategy.order(bar) for bar in bars(*closes)]


def test_averages_cross_upwards_and_downwards() -> None:
    averages = MovingAverages(1, 2)
    assert [averages.see(Decimal(close)) for close in (4, 2, 6, 8, 6)] == [
        None,
        None,  # below from the start: that is no cross
        Cross(True, Decimal(6), Decimal(4)),
        None,
        Cross(False, Decimal(6), Decimal(7)),
    ]


def test_averages_that_touch_and_part_again_have_not_crossed() -> None:
    averages = MovingAverages(1, 2)
    assert [averages.see(Decimal(close)) for close in (1, 2, 2, 3)] == [None] * 4


@given(CLOSES | FEW_CLOSES, st.integers(1, 5), st.integers(1, 10))
def test_a_cross_is_seen_exactly_where_the_exact_means_change_sides(
    closes: list[Decimal], fast: int, more: int
) -> None:
    averages, slow, side = MovingAverages(fast, fast + more), fast + more, 0
    for number, close in enumerate(closes, start=1):
        seen = averages.see(close)
        if number < slow:
            assert seen is None
            continue
        quick = sum(map(Fraction, closes[number - fast : number])) / fast
        steady = sum(map(Fraction, closes[number - slow : number])) / slow
        now = (quick > steady) - (quick < steady)
        assert (seen is not None) == (side * now == -1)
        if seen is not None:
            assert seen.upwards == (now == 1)
            assert abs(Fraction(seen.fast) - quick) < Fraction(1, 10**20)
            assert abs(Fraction(seen.slow) - steady) < Fraction(1, 10**20)
        side = now or side


def test_an_order_says_what_a_person_needs_to_judge_it() -> None:
    *_, order = orders(Strategy(1, 2, "macro"), 700, 600, "610.50")
    assert order == {
        "ticker": "GOOG",
        "side": "buy",
        "qty": "16",
        "type": "market",
        "reference_price": "610.50",
        "signal_layer": "macro",
        "strategy": "sma-1-2",
        "rationale": (
            "SMA(1) 610.50 crossed above SMA(2) 605.25 at close 610.50 on 2008-01-04; buy 16 (~9,768 USD)"
        ),
    }


def test_a_share_that_costs_more_than_a_lot_is_not_bought() -> None:
    assert orders(Strategy(1, 2, "macro"), LOT + 2, LOT + 1, LOT + 2) == [None] * 3


def test_it_sells_what_it_was_allowed_to_buy_and_only_once() -> None:
    strategy = Strategy(1, 2, "macro")
    [*_, buy] = orders(strategy, 700, 600, 700)
    assert buy is not None
    strategy.settle(buy, traded=True)
    first, _, second = orders(strategy, 600, 700, 600)
    assert first is not None
    assert (first["side"], first["qty"]) == ("sell", buy["qty"])
    assert second is None, "these shares are for sale already"
    strategy.settle(first, traded=True)
    assert strategy.held == 0


@pytest.mark.parametrize("traded", [True, False])
def test_what_was_not_sold_is_still_there(traded: bool) -> None:
    strategy = Strategy(1, 2, "macro")
    [*_, buy] = orders(strategy, 700, 600, 700)
    assert buy is not None
    strategy.settle(buy, traded=True)
    [sell] = orders(strategy, 600)
    assert sell is not None
    strategy.settle(sell, traded)
    assert strategy.held == (0 if traded else int(buy["qty"]))


def test_what_was_not_bought_is_not_sold() -> None:
    strategy = Strategy(1, 2, "macro")
    [*_, buy] = orders(strategy, 700, 600, 700)
    assert buy is not None
    strategy.settle(buy, traded=False)
    assert orders(strategy, 600) == [None]


def test_the_prices_are_the_real_ones() -> None:
    found = prices()
    assert found[0] == Bar(date(2004, 8, 19), Decimal("100.34"))
    assert found[-1] == Bar(date(2013, 3, 1), Decimal("806.19"))
    assert [bar.day for bar in found] == sorted({bar.day for bar in found})
    assert len([bar for bar in found if bar.day >= START]) > 1000, "a quarter of an hour, at a bar a second"
