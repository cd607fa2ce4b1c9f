"""The example's arithmetic: when averages cross, and how many shares a strategy may offer."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples.desk_client import Order
from examples.moving_average import GOOG, LOT, SERIES, Bar, Cross, MovingAverages, Series, Strategy, prices, rounds

CLOSES = st.lists(st.decimals("0.01", "999.99", places=2), min_size=1, max_size=60)
FEW_CLOSES = st.lists(st.sampled_from([Decimal(1), Decimal(2), Decimal(3)]), min_size=1, max_size=60)
DAY = date(2008, 1, 2)


def bars(*closes: int | str) -> list[Bar]:
    return [Bar("GOOG", str(DAY + timedelta(days=number)), Decimal(close)) for number, close in enumerate(closes)]


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


def test_a_size_is_a_multiple_of_the_step_of_its_symbol() -> None:
    coin = Series("BTCUSD", 5, "2015-01-31", 2, Decimal("0.0001"))
    *_, buy = orders(Strategy(1, 2, "macro", coin), 90000, 80000, "96515.0")
    assert buy is not None
    assert buy["qty"] == "0.1036"
    assert Decimal(buy["qty"]) * Decimal("96515.0") <= LOT


def test_the_prices_are_the_real_ones() -> None:
    ends = {series.ticker: (prices(series)[0], prices(series)[-1]) for series in SERIES}
    assert ends == {
        "GOOG": (Bar("GOOG", "2004-08-19", Decimal("100.34")), Bar("GOOG", "2013-03-01", Decimal("806.19"))),
        "EURUSD": (
            Bar("EURUSD", "2017-04-19 09:00", Decimal("1.07219")),
            Bar("EURUSD", "2018-02-07 15:00", Decimal("1.22904")),
        ),
        "BTCUSD": (Bar("BTCUSD", "2012-01-31", Decimal("5.55")), Bar("BTCUSD", "2024-12-31", Decimal("93381.0"))),
    }
    for series in SERIES:
        times = [bar.at for bar in prices(series)]
        assert times == sorted(set(times))
        coming = [at for at in times if at >= series.first]
        assert len(coming) * series.every > 500, "at least eight minutes, at a round a second"
        assert len(times) - len(coming) >= 8, "enough history for the averages"


def test_each_symbol_is_replayed_at_its_own_step() -> None:
    slow = Series("SLOW", 3, "", 2)
    fast, other = bars(1, 2, 3, 4, 5), [Bar("SLOW", str(number), Decimal(1)) for number in range(3)]
    told = [[bar.ticker for bar in each] for each in rounds({GOOG: fast, slow: other})]
    assert told == [["GOOG", "SLOW"], ["GOOG"], ["GOOG"], ["GOOG", "SLOW"], ["GOOG"], [], ["SLOW"], [], []]
