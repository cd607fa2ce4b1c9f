"""An example engine: two crossovers of moving averages, on real prices of GOOG, EURUSD and BTCUSD.

It replays the prices one bar at a time, asks the desk about every order before it trades, and prints the answer.
The prices come with the package `backtesting`, which has days of GOOG, hours of EURUSD and months of BTCUSD; the
averages count these bars, and each symbol has its own. Nothing is ever sent to a broker.

    COUNTERSIGN_TOKEN=... python -m examples.moving_average --url http://127.0.0.1:8000
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import logging
import os
import signal
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from importlib.metadata import distribution
from itertools import islice

from examples.desk_client import Desk, Order, Refused

LOT = Decimal(10_000)  # USD
NO_DECISION = "no decision"


@dataclass(frozen=True, slots=True)
class Series:
    """The prices of one symbol: one bar every `every` rounds, traded on from `first`."""

    ticker: str
    every: int
    first: str
    decimals: int
    size_step: Decimal = Decimal(1)


GOOG = Series("GOOG", 1, "2007-10-17", 2)  # before the crisis: prices swing, so the averages cross every few days
SERIES = (
    GOOG,
    Series("EURUSD", 2, "2017-05-02", 5, Decimal(1000)),
    Series("BTCUSD", 5, "2015-01-31", 2, Decimal("0.0001")),
)


@dataclass(frozen=True, slots=True)
class Bar:
    """A closing price in USD, and when it was: a day, or an hour of it."""

    ticker: str
    at: str
    close: Decimal


@dataclass(frozen=True, slots=True)
class Cross:
    """The fast average has just passed the slow one, upwards or downwards."""

    upwards: bool
    fast: Decimal
    slow: Decimal


class MovingAverages:
    """The mean of the last `fast` closing prices against that of the last `slow` ones."""

    def __init__(self, fast: int, slow: int) -> None:
        self.fast, self.slow = fast, slow
        self._closes: deque[Decimal] = deque(maxlen=slow)
        self._above: bool | None = None

    def see(self, close: Decimal) -> Cross | None:
        """The cross that this price makes, if it makes one. Averages that merely touch have not crossed."""
        self._closes.append(close)
        if len(self._closes) < self.slow:
            return None
        closes = list(self._closes)
        fast, slow = sum(closes[-self.fast :], Decimal()) / self.fast, sum(closes, Decimal()) / self.slow
        if fast == slow:
            return None
        before, self._above = self._above, fast > slow
        return Cross(self._above, fast, slow) if before not in (None, self._above) else None


class Strategy:
    """Buys a lot when its averages cross upwards, and sells all that it holds when they cross downwards."""

    def __init__(self, fast: int, slow: int, signal_layer: str, series: Series = GOOG) -> None:
        self.name = f"sma-{fast}-{slow}"
        self.series = series
        self.held = Decimal()  # units that were bought, and are not for sale already
        self._averages = MovingAverages(fast, slow)
        self._signal_layer = signal_layer

    def order(self, bar: Bar) -> Order | None:
        """The order that this bar calls for, less its `client_order_id`."""
        cross = self._averages.see(bar.close)
        if cross is None:
            return None
        step, decimals = self.series.size_step, self.series.decimals
        qty = LOT // (bar.close * step) * step if cross.upwards else self.held
        if qty == 0:
            return None
        side, where = ("buy", "above") if cross.upwards else ("sell", "below")
        if side == "sell":
            self.held = Decimal()  # or the next cross would offer the same units again, while this order waits
        return {
            "ticker": bar.ticker,
            "side": side,
            "qty": str(qty),
            "type": "market",
            "reference_price": str(bar.close),
            "signal_layer": self._signal_layer,
            "strategy": self.name,
            "rationale": (
                f"SMA({self._averages.fast}) {cross.fast:.{decimals}f} crossed {where}"
                f" SMA({self._averages.slow}) {cross.slow:.{decimals}f} at close {bar.close} on {bar.at};"
                f" {side} {qty} (~{qty * bar.close:,.0f} USD)"
            ),
        }

    def settle(self, order: Order, traded: bool) -> None:
        """Count the units again once it is known what became of the order."""
        if traded == (order["side"] == "buy"):
            self.held += Decimal(order["qty"])


class Engine:
    """Takes the strategies' orders to the desk, and trades those that are released."""

    def __init__(
        self, desk: Desk, strategies: Iterable[Strategy], run: str, report: Callable[[str], None]
    ) -> None:
        """`run` tells this replay from every other in the order ids. An engine that trades the day's real prices
        has no need of it, and after a crash the desk still knows the day's order as the same one."""
        self.told: Counter[str] = Counter()
        self._desk = desk
        self._strategies = list(strategies)
        self._run = run
        self._report = report

    async def trade(self, rounds: Iterable[list[Bar]], pace: float) -> None:
        """Replay the bars, a round every `pace` seconds. Returns when every order has been decided; where this is
        cancelled, what waits is withdrawn, so that nobody approves the order of an engine that is gone."""
        async with asyncio.TaskGroup() as waiting:
            for bars in rounds:
                for bar in bars:
                    for strategy in self._strategies:
                        if strategy.series.ticker == bar.ticker and (order := strategy.order(bar)):
                            when = bar.at.replace(" ", "T")
                            order["client_order_id"] = f"{self._run}-{strategy.name}-{bar.ticker}-{when}"
                            await self._ask(strategy, order, waiting)
                await asyncio.sleep(pace)

    async def _ask(self, strategy: Strategy, order: Order, waiting: asyncio.TaskGroup) -> None:
        asked = f"{order['ticker']} {order['rationale']}"
        try:
            answer = await self._desk.submit(order)
        except Exception as error:  # whatever went wrong: it was not released
            self._settle(strategy, order, NO_DECISION, f"{asked}: {_words(error)}")
            return
        if answer["status"] != "pending_approval":
            self._settle(strategy, order, answer["status"], f"{asked}: {verdict(answer)}")
            return
        self._report(f"{asked}: WAITS for a person, {_minutes(answer)} min at most")
        waiting.create_task(self._follow(strategy, order, answer))

    async def _follow(self, strategy: Strategy, order: Order, answer: Order) -> None:
        name = f"{strategy.name} {order['side']} {order['qty']} {order['ticker']} at {order['reference_price']}"
        try:
            answer = await self._desk.decision(answer)
        except asyncio.CancelledError:
            with suppress(Refused, TimeoutError):  # the desk is gone, then: the order will time out there
                answer = await self._desk.withdraw(answer)
            self._settle(strategy, order, answer["status"], f"{name}: {verdict(answer)}")
            raise
        except Exception as error:
            self._settle(strategy, order, NO_DECISION, f"{name}: {_words(error)}")
        else:
            self._settle(strategy, order, answer["status"], f"{name}: {verdict(answer)}")

    def _settle(self, strategy: Strategy, order: Order, status: str, words: str) -> None:
        traded = status == "released"
        strategy.settle(order, traded)
        self.told[status] += 1
        self._report(f"{words}. {'Traded' if traded else 'Not traded'}.")


def verdict(order: Order) -> str:
    """What became of an order that waits no more, in words."""
    note = f": {order['decision_note']}" if order["decision_note"] else ""
    match order["status"]:
        case "released" if order["decided_by"] == "system:gate":
            return "RELEASED"
        case "released":
            return f"APPROVED by {order['decided_by']}{note}"
        case "blocked":
            return f"BLOCKED, {'; '.join(reason['detail'] for reason in order['reasons'])}"
        case "expired":
            return "TIMED OUT, nobody decided"
        case "rejected" | "canceled" as status:
            return f"{status.upper()} by {order['decided_by']}{note}"
        case status:
            return f"{status}"


def _minutes(order: Order) -> str:
    left = datetime.fromisoformat(order["expires_at"]) - datetime.fromisoformat(order["created_at"])
    return f"{left.total_seconds() / 60:g}"


def _words(error: Exception) -> str:
    return "NO ANSWER" if isinstance(error, TimeoutError) else f"{type(error).__name__}: {error}"


def prices(series: Series) -> list[Bar]:
    """The real prices of a symbol, oldest first."""
    path = distribution("backtesting").locate_file(f"backtesting/test/{series.ticker}.csv")
    with open(str(path), newline="") as file:
        return [Bar(series.ticker, row[""][:16], Decimal(row["Close"])) for row in csv.DictReader(file)]


def replay(desk: Desk, report: Callable[[str], None]) -> tuple[Engine, Iterator[list[Bar]]]:
    """The engine before the first bar that it trades on, and the rounds of bars that follow.

    Its averages are short, so that they cross every few bars; each strategy belongs to another signal layer.
    """
    strategies, coming = [], {}
    for series in SERIES:
        own = [Strategy(2, 4, "competitive", series), Strategy(3, 8, "macro", series)]
        bars = prices(series)
        first = next(index for index, bar in enumerate(bars) if bar.at >= series.first)
        for bar in bars[:first]:
            for strategy in own:
                strategy.order(bar)  # history: the averages see it, nothing is sent
        strategies += own
        coming[series] = bars[first:]
    return Engine(desk, strategies, f"run-{time.time_ns()}", report), rounds(coming)


def rounds(coming: dict[Series, list[Bar]]) -> Iterator[list[Bar]]:
    """The next bar of each series that is due, until none is left of any."""
    for number in range(max(series.every * len(bars) for series, bars in coming.items())):
        due = [(bars, number // series.every) for series, bars in coming.items() if number % series.every == 0]
        yield [bars[index] for bars, index in due if index < len(bars)]


async def run(url: str, token: str, bars: int | None, pace: float) -> None:
    async with Desk(url, token) as desk:
        engine, coming = replay(desk, print)
        await engine.trade(islice(coming, bars), pace)
        print(", ".join(f"{count} {status}" for status, count in sorted(engine.told.items())))


def end_as_by_ctrl_c() -> None:
    """Let a service manager's SIGTERM and a closed terminal do what Ctrl-C does: what waits is withdrawn."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # what the background starts ignores it otherwise
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: signal.raise_signal(signal.SIGINT))


def main() -> None:
    parser = argparse.ArgumentParser(description="Replay real prices against the desk at URL.")
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--pace", type=float, default=1.0, help="seconds between two bars")
    parser.add_argument(
        "--bars", type=int, help="how many bars of GOOG, and the rest beside them; all unless given"
    )
    given = parser.parse_args()
    token = os.environ.get("COUNTERSIGN_TOKEN")
    if not token:
        sys.exit("COUNTERSIGN_TOKEN is not set: make one with countersign token add moving-average --role engine")
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    end_as_by_ctrl_c()
    try:
        asyncio.run(run(given.url, token, given.bars, given.pace))
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
