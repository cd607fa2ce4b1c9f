"""Lockouts hold until their end, and no longer."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.order_status import MAX_LOCKOUT_MINUTES, MIN_LOCKOUT_MINUTES, LockoutType, lockout_is_active
from tests.domain.instants import NOW, TABLE

instants = st.datetimes(datetime(2000, 1, 1), datetime(2900, 1, 1), timezones=st.just(UTC))


@pytest.mark.parametrize("when", TABLE)
def test_the_table_of_instants(when: str) -> None:
    expires_at, holds = TABLE[when]
    assert lockout_is_active(expires_at, NOW) is holds


@settings(max_examples=200)
@given(instants, st.integers(MIN_LOCKOUT_MINUTES, MAX_LOCKOUT_MINUTES), st.timedeltas(timedelta(0)))
def test_it_holds_from_its_making_to_its_end_and_never_again(
    made: datetime, minutes: int, later: timedelta
) -> None:
    end = made + timedelta(minutes=minutes)
    moment = timedelta(microseconds=1)
    assert lockout_is_active(end, made)
    assert lockout_is_active(end, end - moment)
    assert not lockout_is_active(end, end)
    assert not lockout_is_active(end, end + min(later, timedelta(days=365_000)))


def test_an_instant_without_a_zone_is_refused_rather_than_guessed() -> None:
    with pytest.raises(TypeError):
        lockout_is_active(datetime(2026, 3, 1), NOW)


def test_the_types_and_bounds_are_those_of_the_contract() -> None:
    assert [str(kind) for kind in LockoutType] == ["manual", "news_shock", "cooldown"]
    assert (MIN_LOCKOUT_MINUTES, MAX_LOCKOUT_MINUTES) == (1, 525_600)
