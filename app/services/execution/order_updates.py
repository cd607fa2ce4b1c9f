"""How an order that is bound for a venue is written down, step by step; its row is locked by whoever takes one."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, select, text, update
from sqlalchemy.orm import Session

from app.domain import gate
from app.domain.order_status import Mover, OrderStatus, is_legal
from app.domain.risk_config import TradingMode
from app.domain.roles import Role
from app.lib import logs
from app.models import Order
from app.services.accounts import suspension
from app.services.actor import Actor
from app.services.audit import log
from app.services.execution import replacement
from app.services.execution.brokers.base import VenueOrder
from app.services.orders import submit, transitions
from app.services.orders.submit import TABLE

Reason = dict[str, str]

DISPATCH = "system:dispatch"
SOONEST, LATEST = 1.0, 30.0  # seconds between two tries
OURS = "cs-"

TOO_LATE = {
    "code": "send_deadline",
    "detail": "it could not be sent to the venue in time, and is not sent any more",
}
SUSPENDED = {
    "code": submit.SUSPENDED,
    "detail": "its engine was suspended or deactivated before the order was sent",
}
MODE_CHANGED = "mode_changed"
# Besides what the gate says.
WHY_NOT_SENT = (
    TOO_LATE["code"],
    SUSPENDED["code"],
    MODE_CHANGED,
    replacement.FILLED["code"],
    replacement.RIVAL["code"],
)

# Of many at once: what is marked is asked for until it has ended, whatever becomes of this process. Newest first,
# as all do who lock two orders.
ASK_FOR_THEIR_END = text("""
    WITH marked AS (
        UPDATE orders SET cancel_asked_at = clock_timestamp() WHERE seq IN (
            SELECT seq FROM orders WHERE id = ANY (:order_ids) AND cancel_asked_at IS NULL
                AND status IN ('pending_approval', 'released', 'sending', 'unknown', 'accepted',
                    'partially_filled')
            ORDER BY seq DESC FOR UPDATE
        )
        RETURNING id, engine, client_order_id, ticker, status
    )
    INSERT INTO audit_events (actor, action, subject, after, request_id)
    SELECT :actor, 'order.cancel_at_venue', id::text, jsonb_build_object(
        'engine', engine, 'client_order_id', client_order_id, 'ticker', ticker, 'status', status), :request_id
    FROM marked
""")


def by_itself() -> Actor:
    """The desk, in a round that nobody asked for."""
    return Actor(DISPATCH, Role.ADMIN, logs.request_id.get())


def venue_order_id(order_id: uuid.UUID) -> str:
    """The client order id that the venue knows an order by."""
    return f"{OURS}{order_id}"


def ours(client_order_id: str) -> uuid.UUID | None:
    """The order that it may be, if any."""
    try:
        return uuid.UUID(client_order_id.removeprefix(OURS)) if client_order_id.startswith(OURS) else None
    except ValueError:
        return None


def in_the_name_of(actor: Actor) -> Actor:
    """The desk, in the request of that actor."""
    return Actor(DISPATCH, Role.ADMIN, actor.request_id)


def order_for(row: Row[Any]) -> VenueOrder:
    return VenueOrder(
        client_order_id=venue_order_id(row.id),
        ticker=row.ticker,
        side=row.side,
        type=row.type,
        time_in_force=row.time_in_force,
        qty=row.qty,
        notional=row.notional,
        limit_price=row.limit_price,
        stop_price=row.stop_price,
    )


def locked(session: Session, order_id: uuid.UUID) -> Row[Any] | None:
    return session.execute(select(TABLE).where(TABLE.c.id == order_id).with_for_update()).one_or_none()


def why_not(
    session: Session, row: Row[Any], desk: gate.Desk, now: datetime, place: Row[Any] | None
) -> list[Reason]:
    """Why a released order may not be sent now: what the gate says, another mode, a suspended engine, the
    deadline, or that the place which it was to take is not to be had."""
    found = [
        {"code": reason.code.value, "detail": reason.detail}
        for reason in gate.blockers(submit.gate_order(row), desk, now)
    ]
    if desk.mode is not TradingMode.DISABLED and row.trading_mode != desk.mode.value:
        found.append(_of_another_mode(f"it was released in {row.trading_mode}, and the mode is {desk.mode}"))
    if suspension.is_stopped(session, row.account_id):
        found.append(SUSPENDED)
    if now >= row.send_by:
        found.append(TOO_LATE)
    if place is not None:
        if place.trading_mode != row.trading_mode:
            found.append(_of_another_mode(f"the order that it replaces is of the mode {place.trading_mode}"))
        found += replacement.why_not(session, row, place)
    return found


def _of_another_mode(detail: str) -> Reason:
    return {"code": MODE_CHANGED, "detail": detail}


def next_try(row: Row[Any], now: datetime) -> datetime:
    """Of an order that is not at the venue: also at its deadline, to be told then that it is over."""
    later = now + backoff(row.tries)
    return min(later, row.send_by) if now < row.send_by else later


def backoff(tries: int) -> timedelta:
    return timedelta(seconds=min(LATEST, SOONEST * 2.0 ** min(tries, 16)))


def write(session: Session, row: Row[Any], **values: Any) -> None:
    session.execute(update(Order).where(TABLE.c.id == row.id).values(**values))


def move(
    session: Session, actor: Actor, row: Row[Any], mover: Mover, to: OrderStatus, action: str, **values: Any
) -> None:
    """Move an order whose row is locked, with its event; whoever waits for it is told. What the venue says anew of
    an order that stays where it is passes through here too."""
    before = OrderStatus(row.status)
    if to is not before and not is_legal(before, to, mover):
        raise ValueError(f"{mover} may not move an order from {before} to {to}")
    write(session, row, status=to.value, **values)
    told = {
        name: values[name]
        for name in ("venue_id", "venue_words", "filled_qty", "filled_avg_price", "reasons")
        if name in values
    }
    log.record(
        session,
        actor,
        action,
        str(row.id),
        before=_same(row) | {"status": before.value} | {name: submit.plain(getattr(row, name)) for name in told},
        after=_same(row) | {"status": to.value} | {name: submit.plain(value) for name, value in told.items()},
    )
    transitions.tell(session, row.id)


def _same(row: Row[Any]) -> dict[str, Any]:
    return {"engine": row.engine, "client_order_id": row.client_order_id, "ticker": row.ticker}


def end(session: Session, actor: Actor, row: Row[Any], now: datetime, mover: Mover, reasons: list[Reason]) -> None:
    """Cancel an order that certainly is not at the venue."""
    move(
        session,
        actor,
        row,
        mover,
        OrderStatus.CANCELED,
        "order.cancel",
        reasons=reasons,
        decided_at=now,
        decided_by=actor.name,
    )


def ask_for_their_end(session: Session, actor: Actor, order_ids: list[uuid.UUID]) -> None:
    """Write down that the end of these is asked for, where they have not ended."""
    session.execute(
        ASK_FOR_THEIR_END, {"order_ids": order_ids, "actor": actor.name, "request_id": actor.request_id}
    )
