"""One table of instants, for the predicate in Python and for the same one in SQL."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

NOW = datetime(2026, 3, 1, 14, 30, 0, 500_000, tzinfo=UTC)

# What: when the lockout ends, seen from NOW, and whether it holds at NOW.
TABLE: dict[str, tuple[datetime, bool]] = {
    "long ago": (datetime(2001, 1, 1, tzinfo=UTC), False),
    "a minute ago": (NOW - timedelta(minutes=1), False),
    "a microsecond ago": (NOW - timedelta(microseconds=1), False),
    "at this instant: the end is exclusive": (NOW, False),
    "at this instant, written in another zone": (NOW.astimezone(timezone(timedelta(hours=9))), False),
    "in a microsecond": (NOW + timedelta(microseconds=1), True),
    "in a microsecond, written in another zone": (
        (NOW + timedelta(microseconds=1)).astimezone(timezone(-timedelta(hours=5, minutes=30))),
        True,
    ),
    "in a minute": (NOW + timedelta(minutes=1), True),
    "over a change of summer time": (datetime(2026, 3, 29, 1, 30, tzinfo=UTC), True),
    "in a year": (NOW + timedelta(days=365), True),
    "at the last instant that a lockout can have": (datetime(9998, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC), True),
}
