"""The states of lockouts, derived from the clock."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

MIN_LOCKOUT_MINUTES = 1
MAX_LOCKOUT_MINUTES = 525_600  # one year of 365 days


class LockoutType(StrEnum):
    """Who a lockout comes from: an operator's hand, or the system after news or a run of losses."""

    MANUAL = "manual"
    NEWS_SHOCK = "news_shock"
    COOLDOWN = "cooldown"


def lockout_is_active(expires_at: datetime, now: datetime) -> bool:
    """Whether a lockout holds at `now`. Its end is exclusive: at `expires_at` itself it holds no longer.

    The same predicate in SQL is `expires_at > now`; both are tested on one table of instants.
    """
    return expires_at > now
