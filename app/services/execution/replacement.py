"""An order that takes the place of another: never are both at the venue, nor two that take the same place."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, select, text
from sqlalchemy.orm import Session

from app.db.transaction import reading
from app.domain.order_status import ON_THE_WAY, VENUE_SAYS, OrderStatus, is_final
from app.services.orders.submit import TABLE

FILLED = {"code": "replaced_order_filled", "detail": "the order that it was to replace was filled meanwhile"}
RIVAL = {"code": "already_replaced", "detail": "another order has taken the place of the one that it replaces"}
# What was sent and not turned away: it is, was or may be at the venue.
HAD_A_PLACE = sorted((ON_THE_WAY | VENUE_SAYS) - {OrderStatus.VENUE_REJECTED})
NEVER_HAD_ONE = sorted(
    status for status in OrderStatus if is_final(status, bound=True) and status not in HAD_A_PLACE
)

# An order that ended before it had a place leaves the one that it was to take to whichever replaces it.
FIRST_WITH_A_PLACE = text("""
    WITH RECURSIVE line AS (
        SELECT id, replaces, status, 1 AS depth FROM orders WHERE id = :replaced
        UNION ALL
        SELECT older.id, older.replaces, older.status, depth + 1
        FROM line JOIN orders AS older ON older.id = line.replaces
        WHERE line.status = ANY (:never_had_one)
    )
    SELECT id FROM line ORDER BY depth DESC LIMIT 1
""")
OTHERS_IN_ITS_PLACE = text("""
    WITH RECURSIVE line AS (
        SELECT id, status FROM orders WHERE replaces = :place
        UNION ALL
        SELECT newer.id, newer.status FROM line JOIN orders AS newer ON newer.replaces = line.id
    )
    SELECT EXISTS (SELECT FROM line WHERE id <> :order_id AND status = ANY (:had_a_place))
""")


def place_of(session: Session, row: Row[Any]) -> Row[Any] | None:
    """The order whose place it takes, locked: the one that it replaces, or, where that one ended without ever
    having been at the venue, the one that it in turn was to replace. None where it replaces nothing."""
    if row.replaces is None:
        return None
    while True:  # what is found may end while its lock is awaited
        which = session.scalar(FIRST_WITH_A_PLACE, {"replaced": row.replaces, "never_had_one": NEVER_HAD_ONE})
        place = session.execute(select(TABLE).where(TABLE.c.id == which).with_for_update()).one()
        if place.replaces is None or place.status not in NEVER_HAD_ONE:
            return place


def why_not(session: Session, row: Row[Any], place: Row[Any]) -> list[dict[str, str]]:
    """Why an order cannot take a place that is locked, any more: it was filled, be it in part, for another one of
    the whole size would be too much; or another order has taken it."""
    found = []
    if place.status == OrderStatus.FILLED or place.filled_qty:
        found.append(FILLED)
    if session.scalar(OTHERS_IN_ITS_PLACE, {"place": place.id, "order_id": row.id, "had_a_place": HAD_A_PLACE}):
        found.append(RIVAL)
    return found


# A replacement that was blocked left the order as it was. So did one that never came to the venue, unless the old
# order ended for it here, before it was sent.
LINKS = text("""
    SELECT old.id, old.replaces, CASE WHEN old.status IN ('canceled', 'venue_canceled', 'replaced') THEN (
        SELECT new.id FROM orders AS new
        WHERE new.replaces = old.id AND new.status <> 'blocked'
          AND (old.status = 'canceled' OR new.status NOT IN ('rejected', 'expired', 'canceled'))
        ORDER BY new.seq DESC LIMIT 1
    ) END AS replaced_by
    FROM orders AS old WHERE old.id = ANY (:order_ids)
""")


def links(order_ids: Sequence[str]) -> dict[str, dict[str, str | None]]:
    """`replaces` and `replaced_by` of each order, both as ids."""
    with reading() as session:
        rows = (
            session.execute(LINKS, {"order_ids": [uuid.UUID(order_id) for order_id in order_ids]}).mappings().all()
        )
    return {
        str(row["id"]): {name: str(row[name]) if row[name] else None for name in ("replaces", "replaced_by")}
        for row in rows
    }


def made_before(session: Session, row: Row[Any], client_order_id: str) -> bool:
    """Whether its engine has replaced an order by one of that id already, and merely asks again."""
    query = select(TABLE.c.id).where(
        TABLE.c.account_id == row.account_id,
        TABLE.c.client_order_id == client_order_id,
        TABLE.c.replaces == row.id,
    )
    return session.execute(query).first() is not None


def is_free(place: Row[Any]) -> bool:
    """Whether nothing of it can be filled any more."""
    return is_final(OrderStatus(place.status), bound=True)
