"""What a monitor is told of a venue that fails: counted by kind, whoever asked it, and raised all the same."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from app.lib import metrics
from app.services.execution.brokers.alpaca import Alpaca
from app.services.execution.brokers.base import NoAnswer, NotSent, Venue, VenueError, VenueOrder
from app.services.execution.brokers.instrumented import KINDS, Counted
from app.settings import AlpacaAccount

ORDER = VenueOrder("cs-1", "AAPL", "buy", "market", "day", qty=Decimal(1))
ASKED: list[Callable[[Venue], Any]] = [
    lambda venue: venue.send(ORDER),
    lambda venue: venue.find("cs-1"),
    lambda venue: venue.open_orders(),
    lambda venue: next(venue.updates()),
    lambda venue: venue.cancel("1"),
    lambda venue: venue.read("/clock", {}),
]


class Failing:
    """Raises whatever it is asked."""

    name, patience, refuses_duplicates = "the broker", 1.0, True

    def __init__(self, error: VenueError) -> None:
        self._error = error

    def __getattr__(self, asked: str) -> Any:
        def fail(*_: Any) -> Any:
            raise self._error

        return fail


def counted(name: str) -> dict[str, float]:
    samples = [sample for metric in metrics.VENUE_ERRORS.collect() for sample in metric.samples]
    return {
        sample.labels["kind"]: sample.value
        for sample in samples
        if sample.labels["venue"] == name and sample.name.endswith("_total")
    }


@pytest.mark.parametrize("ask", ASKED)
@pytest.mark.parametrize(("kind", "word"), [*KINDS.items(), (VenueError, "other")])
def test_what_a_venue_raises_is_counted_and_raised(
    ask: Callable[[Venue], Any], kind: type[VenueError], word: str
) -> None:
    venue = Counted(Failing(kind("no")))
    before = counted("the broker")
    with pytest.raises(kind, match="no"):
        ask(venue)
    after = counted("the broker")
    assert {word: after[word] - before.get(word, 0)} == {word: 1}
    assert {name: value for name, value in after.items() if name != word} == {
        name: value for name, value in before.items() if name != word
    }


def test_each_kind_is_there_before_the_first_failure() -> None:
    venue = Failing(NoAnswer(""))
    venue.name = "a broker that never failed"
    Counted(venue)
    assert counted(venue.name) == {"not_sent": 0, "no_answer": 0, "refused": 0}


def test_it_is_the_same_venue_in_all_else() -> None:
    alpaca = Alpaca(AlpacaAccount("k", "s", "http://127.0.0.1:9"), "paper", 2)
    venue = Counted(alpaca)
    assert (venue.name, venue.patience, venue.refuses_duplicates) == (
        alpaca.name,
        alpaca.patience,
        alpaca.refuses_duplicates,
    )
    before = counted(venue.name)
    with pytest.raises(NotSent):
        venue.send(ORDER)
    assert counted(venue.name)["not_sent"] == before["not_sent"] + 1
    venue.close()
