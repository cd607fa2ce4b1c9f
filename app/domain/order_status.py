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
    """What has become of an order: first at the desk, then, where it is bound for a venue, there."""

    BLOCKED = "blocked"
    PENDING_APPROVAL = "pending_approval"
    RELEASED = "released"  # for the engine to execute, or to be sent
    REJECTED = "rejected"
    EXPIRED = "expired"
    CANCELED = "canceled"  # before it was at the venue
    SENDING = "sending"  # the venue is being told of it: it may be there, or not yet
    UNKNOWN = "unknown"  # nobody could find out whether it is at the venue: a person must look
    ACCEPTED = "accepted"
    PARTIALLY_FILLED = "partially_filled"
    FILLED = "filled"
    REPLACED = "replaced"
    VENUE_REJECTED = "venue_rejected"
    VENUE_CANCELED = "venue_canceled"
    VENUE_EXPIRED = "venue_expired"


# What only a venue says of an order.
VENUE_SAYS = frozenset(
    {
        OrderStatus.ACCEPTED,
        OrderStatus.PARTIALLY_FILLED,
        OrderStatus.FILLED,
        OrderStatus.REPLACED,
        OrderStatus.VENUE_REJECTED,
        OrderStatus.VENUE_CANCELED,
        OrderStatus.VENUE_EXPIRED,
    }
)
# What may still change there.
OPEN_AT_VENUE = frozenset({OrderStatus.ACCEPTED, OrderStatus.PARTIALLY_FILLED})
# Every try to send it, and every look for it, ends in one of these or goes on.
ON_THE_WAY = frozenset({OrderStatus.SENDING, OrderStatus.UNKNOWN})


class Mover(StrEnum):
    """Whose move it is."""

    GATE = "gate"  # the decision when an order comes in
    PERSON = "person"  # an operator who is not the owner of the engine
    ENGINE = "engine"  # the engine that sent the order
    CLOCK = "clock"  # the deadline
    MODE_CHANGE = "mode_change"  # a change of mode cancels what waits
    SUSPENSION = "suspension"  # suspending or deactivating an engine cancels its pending orders
    DISPATCH = "dispatch"  # what sends released orders, or finds that they may not be sent any more
    VENUE = "venue"  # the venue, as it was heard


# From None, an order comes in. Nothing leads out of a final state; only that a venue may turn out to have what the
# desk had given up.
MOVES: Mapping[tuple[OrderStatus | None, OrderStatus], frozenset[Mover]] = {
    (None, OrderStatus.BLOCKED): frozenset({Mover.GATE}),
    (None, OrderStatus.PENDING_APPROVAL): frozenset({Mover.GATE}),
    (None, OrderStatus.RELEASED): frozenset({Mover.GATE}),
    (OrderStatus.PENDING_APPROVAL, OrderStatus.RELEASED): frozenset({Mover.PERSON}),
    (OrderStatus.PENDING_APPROVAL, OrderStatus.REJECTED): frozenset({Mover.PERSON}),
    (OrderStatus.PENDING_APPROVAL, OrderStatus.CANCELED): frozenset(
        {Mover.ENGINE, Mover.MODE_CHANGE, Mover.SUSPENSION}
    ),
    (OrderStatus.PENDING_APPROVAL, OrderStatus.EXPIRED): frozenset({Mover.CLOCK}),
    (OrderStatus.RELEASED, OrderStatus.SENDING): frozenset({Mover.DISPATCH}),
    (OrderStatus.RELEASED, OrderStatus.CANCELED): frozenset({Mover.ENGINE, Mover.DISPATCH}),
    (OrderStatus.SENDING, OrderStatus.RELEASED): frozenset({Mover.DISPATCH}),  # it certainly was not sent
    (OrderStatus.SENDING, OrderStatus.CANCELED): frozenset({Mover.DISPATCH}),
    (OrderStatus.SENDING, OrderStatus.UNKNOWN): frozenset({Mover.DISPATCH}),
    (OrderStatus.UNKNOWN, OrderStatus.CANCELED): frozenset({Mover.DISPATCH}),
    **{(before, after): frozenset({Mover.VENUE}) for before in ON_THE_WAY for after in VENUE_SAYS},
    **{
        (OrderStatus.CANCELED, after): frozenset({Mover.VENUE})
        for after in VENUE_SAYS - {OrderStatus.VENUE_REJECTED}
    },
    # What is filled in parts was accepted, and is not merely accepted again.
    **{
        (before, after): frozenset({Mover.VENUE})
        for before in OPEN_AT_VENUE
        for after in VENUE_SAYS - {before, OrderStatus.ACCEPTED}
    },
}


def is_legal(before: OrderStatus | None, after: OrderStatus, mover: Mover) -> bool:
    """Whether `mover` may move an order from `before` (None: it comes in) to `after`."""
    return mover in MOVES.get((before, after), frozenset())


def is_final(status: OrderStatus, *, bound: bool) -> bool:
    """Whether nothing can become of it any more. `bound` for a venue, a released order goes on."""
    if status is OrderStatus.RELEASED:
        return not bound
    return status is OrderStatus.CANCELED or not any(before is status for before, _ in MOVES)


def status_at(stored: OrderStatus, expires_at: datetime | None, now: datetime) -> OrderStatus:
    """The status at `now`: an order that waits has expired at `expires_at` itself, whether written down or not."""
    if stored is OrderStatus.PENDING_APPROVAL and expires_at is not None and expires_at <= now:
        return OrderStatus.EXPIRED
    return stored
