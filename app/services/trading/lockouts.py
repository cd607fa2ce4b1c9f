"""Symbol lockouts: made, extended and removed by hand, and those that the system makes by itself."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, func, insert, select, text, tuple_
from sqlalchemy.dialects.postgresql import array
from sqlalchemy.orm import Session

from app.db.transaction import changing_rules, reading
from app.domain.instruments import instrument
from app.domain.order_status import LockoutType
from app.domain.roles import Act
from app.lib.timestamps import rfc3339
from app.models import SymbolLockout
from app.models.instruments import instrument_key_of
from app.services.actor import Actor
from app.services.audit import log
from app.services.errors import Invalid, NotFound

LATEST_END = datetime(9999, 1, 1, tzinfo=UTC)
NO_SUCH = "there is no such lockout"


def is_active() -> ColumnElement[bool]:
    """`lifecycle.lockout_is_active` in SQL.

    clock_timestamp() is exact but, being volatile, never an index condition: now() finds by the index.
    """
    return and_(SymbolLockout.expires_at > func.now(), SymbolLockout.expires_at > func.clock_timestamp())


def blocks(ticker: str) -> ColumnElement[bool]:
    """`instruments.is_blocked_by` in SQL."""
    keys = list(instrument(ticker).lockout_keys)
    return instrument_key_of("symbol_lockouts.ticker") == func.any(array(keys))


def as_json(lockout: SymbolLockout) -> dict[str, Any]:
    """The row as the routes and the audit trail show it; times are RFC 3339 in UTC."""
    return {
        "id": str(lockout.id),
        "ticker": lockout.ticker,
        "reason": lockout.reason,
        "lockout_type": lockout.lockout_type,
        "created_at": rfc3339(lockout.created_at),
        "created_by": lockout.created_by,
        "expires_at": rfc3339(lockout.expires_at),
    }


def active(
    session: Session,
    *,
    ticker: str | None = None,
    after: tuple[datetime, uuid.UUID] | None = None,
    limit: int = 50,
) -> Sequence[SymbolLockout]:
    """Up to `limit` active lockouts, soonest end first: all, or those that block an order for `ticker`, which may
    be `*`. `after` is the place of the last one already seen."""
    query = select(SymbolLockout).where(is_active())
    if ticker is not None:
        query = query.where(blocks(ticker))
    if after is not None:
        query = query.where(tuple_(SymbolLockout.expires_at, SymbolLockout.id) > after)
    return session.scalars(query.order_by(SymbolLockout.expires_at, SymbolLockout.id).limit(limit)).all()


def page(
    *, ticker: str | None = None, after: tuple[datetime, uuid.UUID] | None = None, limit: int = 50
) -> Sequence[SymbolLockout]:
    """`active` in a transaction of its own."""
    with reading() as session:
        return active(session, ticker=ticker, after=after, limit=limit)


def create(
    actor: Actor, *, ticker: str, reason: str, duration_minutes: int, lockout_type: LockoutType
) -> SymbolLockout:
    """Lock `ticker` out from the database's now for `duration_minutes`. An engine makes no manual ones."""
    if lockout_type is LockoutType.MANUAL:
        actor.require(Act.OPERATE, "only an operator may make a lockout of type manual")
    else:
        actor.require(Act.LOCK_OUT_AUTOMATICALLY, f"not allowed to make a lockout of type {lockout_type}")
    with changing_rules(actor) as session:
        actor.require_credential(session)
        # Asked for after the lock was granted, so that the wait for it does not shorten the lockout.
        now = session.scalars(select(func.clock_timestamp())).one()
        lockout: SymbolLockout = session.scalars(
            insert(SymbolLockout).returning(SymbolLockout),
            {
                "ticker": ticker,
                "reason": reason,
                "lockout_type": lockout_type.value,
                "created_by": actor.name,
                "created_at": now,
                "expires_at": now + timedelta(minutes=duration_minutes),
            },
        ).one()
        log.record(session, actor, "lockout.create", str(lockout.id), after=as_json(lockout))
        return lockout


def extend(actor: Actor, lockout_id: uuid.UUID, minutes: int) -> SymbolLockout:
    """Move the end later, in place. Raises NotFound once it has ended, Invalid beyond the year 9998."""
    with changing_rules(actor) as session:
        actor.require_credential(session)
        lockout: SymbolLockout | None = session.scalar(
            select(SymbolLockout).where(SymbolLockout.id == lockout_id, is_active()).with_for_update()
        )
        if lockout is None:
            raise NotFound(NO_SUCH)
        before = as_json(lockout)
        if minutes * 60 >= (LATEST_END - lockout.expires_at).total_seconds():
            raise Invalid({"extend_minutes": ["would move the end beyond the year 9998"]})
        lockout.expires_at += timedelta(minutes=minutes)
        session.flush()
        log.record(session, actor, "lockout.extend", str(lockout.id), before=before, after=as_json(lockout))
        return lockout


def remove(actor: Actor, lockout_id: uuid.UUID, reason: str | None = None) -> None:
    """Delete the row; the audit trail keeps it whole, with the reason. Raises NotFound if there is none."""
    with changing_rules(actor) as session:
        actor.require_credential(session)
        row = session.scalar(select(SymbolLockout).where(SymbolLockout.id == lockout_id).with_for_update())
        if row is None:
            raise NotFound(NO_SUCH)
        log.record(session, actor, "lockout.remove", str(row.id), before=as_json(row), note=reason)
        session.execute(text("DELETE FROM symbol_lockouts WHERE id = :id"), {"id": row.id})
