"""What a test of sending asks for and does: the state of an order, its events, and time gone by."""

from __future__ import annotations

import uuid
from collections.abc import Callable

from app.services.execution.dispatcher import Dispatch
from app.services.execution.order_updates import venue_order_id
from app.services.execution.reconciler import Listener
from tests.serving import Desk
from tests.venues.stand_in import Venue

PATIENCE = 0.5
WITHIN = 60
Release = Callable[..., uuid.UUID]


def status(desk: Desk, order_id: uuid.UUID) -> str:
    [(found,)] = desk.sql("SELECT status FROM orders WHERE id = %s", order_id)
    return str(found)


def reasons(desk: Desk, order_id: uuid.UUID) -> list[str]:
    [(found,)] = desk.sql("SELECT reasons FROM orders WHERE id = %s", order_id)
    return [reason["code"] for reason in found]


def actions(desk: Desk, order_id: uuid.UUID) -> list[str]:
    rows = desk.sql("SELECT action FROM audit_events WHERE subject = %s ORDER BY id", str(order_id))
    return [action for (action,) in rows]


def at_the_venue(venue: Venue, order_id: uuid.UUID) -> int:
    return len(venue.known(venue_order_id(order_id)))


def later(desk: Desk, order_id: uuid.UUID, seconds: float = 3600) -> None:
    """As if so much time had passed since the last try, but for the deadline."""
    desk.sql(
        "UPDATE orders SET sent_at = sent_at - make_interval(secs => %s),"
        " try_at = try_at - make_interval(secs => %s) WHERE id = %s",
        seconds,
        seconds,
        order_id,
    )


def too_late(desk: Desk, order_id: uuid.UUID) -> None:
    """As if its deadline had passed too."""
    desk.sql(
        "UPDATE orders SET send_by = clock_timestamp(), sent_at = sent_at - interval '1 h',"
        " try_at = clock_timestamp() WHERE id = %s",
        order_id,
    )


def hear(dispatch: Dispatch) -> None:
    """As the leader asks what became of open orders, when it is time for that."""
    for mode in dispatch.venues:
        Listener(dispatch, mode).ask()
