"""Orders that wait for a person: listed, approved and rejected."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Row, func, select, tuple_
from sqlalchemy.orm import Session

from app.db.transaction import reading, recording
from app.domain import gate
from app.domain.control import SelfApproval
from app.domain.instruments import Multipliers, instrument, instrument_key
from app.domain.order_status import Mover, OrderStatus, status_at
from app.services import rules
from app.services.accounts import control
from app.services.actor import Actor
from app.services.errors import Blocked, Decided, Forbidden
from app.services.orders import submit
from app.services.orders.queries import WAITS
from app.services.orders.submit import TABLE, Shown

OWN_ENGINE = (
    "you control this engine (you, or a person who controls your account, own it, created it, or created one of"
    " its tokens): another person must approve its orders"
)
Place = tuple[datetime, uuid.UUID]


def waiting(
    session: Session, now: datetime, desk: gate.Desk, *, after: Place | None = None, limit: int = 50
) -> list[tuple[Row[Any], tuple[gate.Reason, ...]]]:
    """Up to `limit` orders that wait, soonest expiry first, each with what blocks its approval now."""
    query = select(TABLE).where(WAITS, TABLE.c.expires_at > now)
    if after is not None:
        query = query.where(tuple_(TABLE.c.expires_at, TABLE.c.id) > after)
    rows = session.execute(query.order_by(TABLE.c.expires_at, TABLE.c.id).limit(limit)).all()
    by_key: dict[str, list[gate.Lockout]] = {}
    for lockout in desk.lockouts:
        by_key.setdefault(instrument_key(lockout.ticker), []).append(lockout)

    def blockers(row: Row[Any]) -> tuple[gate.Reason, ...]:
        lockouts = [lockout for key in instrument(row.ticker).lockout_keys for lockout in by_key.get(key, ())]
        return gate.blockers(submit.gate_order(row), replace(desk, lockouts=lockouts), now)

    return [(row, blockers(row)) for row in rows]


def as_json(row: Row[Any], blockers: Sequence[gate.Reason], multipliers: Multipliers) -> Shown:
    """The order that waits, with `approvable` and the codes of its `blockers`."""
    return submit.as_json(row, row.created_at, multipliers) | {
        "approvable": not blockers,
        "blockers": [reason.code.value for reason in blockers],
    }


def page(*, after: Place | None = None, limit: int = 50) -> list[Shown]:
    """`waiting` in a transaction of its own."""
    with reading() as session:
        now, desk = rules.in_force(session)
        multipliers = desk.config.instruments.multipliers
        return [as_json(*found, multipliers) for found in waiting(session, now, desk, after=after, limit=limit)]


def tally(session: Session, now: datetime) -> dict[str, int]:
    """How many orders wait, by ticker."""
    query = (
        select(TABLE.c.ticker, func.count().label("waiting"))
        .where(WAITS, TABLE.c.expires_at > now)
        .group_by(TABLE.c.ticker)
    )
    return {row.ticker: row.waiting for row in session.execute(query.order_by(TABLE.c.ticker))}


@submit.patiently
def approve(
    actor: Actor,
    order_id: uuid.UUID,
    note: str | None,
    send_within: Callable[[str], int | None] = submit.never,
    self_approval: SelfApproval = SelfApproval.NEVER,
) -> Shown:
    """Release an order that waits, if the gate still lets it pass on today's desk.

    Raises Blocked when it does not (the order goes on waiting), Decided when somebody or the deadline was quicker,
    Forbidden `own_engine` for an account that controls the engine, and for a credential that has ended.
    """
    with recording() as session:
        row = submit.locked(session, actor, order_id)
        actor.require_credential(session)
        self_approved = control.controls(session, actor, row.account_id)
        if self_approved and not (
            self_approval is SelfApproval.ALONE and control.is_only_approver(session, actor)
        ):
            raise Forbidden(OWN_ENGINE, "own_engine")
        now, desk = rules.in_force(session, row.ticker)
        waits = status_at(OrderStatus(row.status), row.expires_at, now) is OrderStatus.PENDING_APPROVAL
        if waits and (blockers := gate.blockers(submit.gate_order(row), desk, now)):
            raise Blocked(blockers)
        shown, won = submit.settle(
            session,
            Mover.PERSON,
            OrderStatus.RELEASED,
            actor,
            note,
            order_id,
            send_within=send_within(row.trading_mode),
            self_approved=self_approved,
        )
    if not won:
        raise Decided(shown)
    return shown


@submit.patiently
def reject(actor: Actor, order_id: uuid.UUID, reason: str) -> Shown:
    """Turn an order that waits down.

    Raises Decided when somebody or the deadline was quicker, Forbidden for a credential that has ended meanwhile.
    """
    with recording() as session:
        submit.locked(session, actor, order_id)
        actor.require_credential(session)
        shown, won = submit.settle(session, Mover.PERSON, OrderStatus.REJECTED, actor, reason, order_id)
    if not won:
        raise Decided(shown)
    return shown
