"""The states of lockouts and orders, derived from the clock."""

from __future__ import annotations

from collections.abc import Mapping
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


class OrderStatus(StrEnum):
    """What has become of an order. Everything but `pending_approval` is final."""

    BLOCKED = "blocked"
    PENDING_APPROVAL = "pending_approval"
    RELEASED = "released"
    REJECTED = "rejected"
    EXPIRED = "expired"
    CANCELED = "canceled"


class Mover(StrEnum):
    """Whose move it is."""

    GATE = "gate"  # the decision when an order comes in
    PERSON = "person"  # an operator who is not the owner of the engine
    ENGINE = "engine"  # the engine that sent the order
    CLOCK = "clock"  # the deadline
    MODE_CHANGE = "mode_change"  # a change of mode cancels what waits


# From None, an order comes in. Nothing leads out of a final state.
MOVES: Mapping[tuple[OrderStatus | None, OrderStatus], frozenset[Mover]] = {
    (None, OrderStatus.BLOCKED): frozenset({Mover.GATE}),
    (None, OrderStatus.PENDING_APPROVAL): frozenset({Mover.GATE}),
    (None, OrderStatus.RELEASED): frozenset({Mover.GATE}),
    (OrderStatus.PENDING_APPROVAL, OrderStatus.RELEASED): frozenset({Mover.PERSON}),
    (OrderStatus.PENDING_APPROVAL, OrderStatus.REJECTED): frozenset({Mover.PERSON}),
    (OrderStatus.PENDING_APPROVAL, OrderStatus.CANCELED): frozenset({Mover.ENGINE, Mover.MODE_CHANGE}),
    (OrderStatus.PENDING_APPROVAL, OrderStatus.EXPIRED): frozenset({Mover.CLOCK}),
}


def is_legal(before: OrderStatus | None, after: OrderStatus, mover: Mover) -> bool:
    """Whether `mover` may move an order from `before` (None: it comes in) to `after`."""
    return mover in MOVES.get((before, after), frozenset())


def status_at(stored: OrderStatus, expires_at: datetime | None, now: datetime) -> OrderStatus:
    """The status at `now`: an order that waits has expired at `expires_at` itself, whether written down or not."""
    if stored is OrderStatus.PENDING_APPROVAL and expires_at is not None and expires_at <= now:
        return OrderStatus.EXPIRED
    return stored


def owns(person: int | None, person_owner: int | None, engine_owner: int | None) -> bool:
    """Whether an approver, or the person whose script the approver is, owns the engine (account ids)."""
    return engine_owner is not None and engine_owner in (person, person_owner)
