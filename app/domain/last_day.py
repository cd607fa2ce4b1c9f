"""The last day at a glance: hours, outcomes, and how long people took."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum

HOURS = 24
HOUR = timedelta(hours=1)


class Outcome(StrEnum):
    """What was decided at the desk about an order, whatever became of it at a venue afterwards. Counted in this
    order by app/services/reporting/last_day.py."""

    BLOCKED = "blocked"
    RELEASED = "released"  # by the gate itself
    APPROVED = "approved"  # released by a person
    REJECTED = "rejected"
    EXPIRED = "expired"
    CANCELED = "canceled"


def hours_until(now: datetime) -> list[datetime]:
    """When the last hours began, oldest first, full hours in UTC; the last one is under way at `now`."""
    last = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    return [last - HOUR * before for before in reversed(range(HOURS))]


def percentile(ordered: Sequence[float], share: float) -> float | None:
    """The value below which a `share` (0 to 1) of the ascending values lies, straight between the nearest two;
    None where there are none."""
    if not ordered:
        return None
    place = (len(ordered) - 1) * share
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)
