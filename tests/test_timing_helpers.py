"""`in_time` holds a bound in most sittings, and never stretches it."""

from __future__ import annotations

import math

import pytest

from tests.at_once import in_time


def sittings(*took: float) -> list[float]:
    """The sittings that `in_time` asks for, of those that would take so long."""
    asked: list[float] = []

    def sitting() -> float:
        asked.append(took[len(asked)])
        return asked[-1]

    in_time(sitting, 2.0)
    return asked


@pytest.mark.parametrize(
    "took",
    [(0.1, 0.1, 0.1), (1.999, 1.0, 1.0), (3.0, 0.1, 0.1, 0.1), (3.0, math.inf, 1.0, 1.0, 1.0)],
)
def test_passes_once_three_sittings_are_below_the_bound(took: tuple[float, ...]) -> None:
    assert sittings(*took) == list(took)


@pytest.mark.parametrize(
    "took", [(2.0, 2.0, 2.0), (0.1, 0.1, 2.001, 9.0, 9.0), (9.0, 0.1, 9.0, 0.1, 9.0), (math.inf,) * 3]
)
def test_fails_once_three_sittings_are_not_however_fast_the_best_one_is(took: tuple[float, ...]) -> None:
    with pytest.raises(AssertionError, match=r"not below 2\.0 s in 3 of 5 sittings"):
        sittings(*took)
