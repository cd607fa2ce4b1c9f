"""The hours of a day, and how long nine of ten took."""

from __future__ import annotations

import itertools
import statistics
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.last_day import HOUR, HOURS, hours_until, percentile

values = st.lists(st.floats(0, 1e6), min_size=1, max_size=50).map(sorted)


@given(st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)), st.integers(-12 * 60, 14 * 60))
@settings(max_examples=100)
def test_the_hours_are_full_ones_in_utc_and_now_lies_in_the_last(now: datetime, minutes: int) -> None:
    aware = now.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    hours = hours_until(aware)
    assert len(hours) == HOURS
    assert hours[-1] <= aware < hours[-1] + HOUR
    assert all(later - earlier == HOUR for earlier, later in itertools.pairwise(hours))
    assert all((hour.minute, hour.second, hour.microsecond, hour.tzinfo) == (0, 0, 0, UTC) for hour in hours)


@given(values)
@settings(max_examples=100)
def test_the_median_is_that_of_the_standard_library(ordered: list[float]) -> None:
    assert percentile(ordered, 0.5) == pytest.approx(statistics.median(ordered))


@given(values, st.floats(0, 1), st.floats(0, 1))
@settings(max_examples=100)
def test_a_percentile_lies_between_the_extremes_and_grows(ordered: list[float], one: float, other: float) -> None:
    low, high = (percentile(ordered, share) for share in sorted((one, other)))
    assert low is not None
    assert high is not None
    assert ordered[0] <= low <= high * (1 + 1e-9)
    assert high <= ordered[-1] * (1 + 1e-9)


def test_of_nothing_there_is_none() -> None:
    assert percentile([], 0.9) is None
