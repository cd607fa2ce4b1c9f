"""What is at the venues, or may be, which a stop does not reach: shown, and ended."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import Row, func, or_, select, text
from sqlalchemy.orm import Session

from app.domain.instruments import Multipliers
from app.domain.order_status import OrderStatus, is_final
from app.lib.timestamps import rfc3339
from app.models import AuditEvent
from app.services import rules
from app.services.actor import Actor
from app.services.audit import log
from app.services.execution.order_updates import venue_order_id
from app.services.orders import submit
from app.services.orders.submit import TABLE, Shown

OPEN = text("status IN ('accepted', 'partially_filled')")
SENT = text("status IN ('sending', 'unknown')")
PROTECTIVE = ("stop", "stop_limit")  # what ends a position that goes wrong: without it nothing would
MOST = 500
ANSWERS = "venue.answers"  # its subject is the trading mode


def outstanding(session: Session) -> Shown:
    """How many orders are on their way to a venue, or may be, `unknown` ones among them; the first 500 of these,
    and of those that are open there, stops marked as protective; and since when a venue has not answered."""
    now, multipliers = rules.clock_and_multipliers(session)
    groups = select(TABLE.c.status, func.count()).where(SENT).group_by(TABLE.c.status)
    counted: dict[str, int] = {row[0]: row[1] for row in session.execute(groups)}
    unknown_first = (TABLE.c.status == OrderStatus.UNKNOWN).desc()
    on_the_way = session.execute(select(TABLE).where(SENT).order_by(unknown_first, TABLE.c.seq).limit(MOST))
    is_open = session.execute(select(TABLE).where(OPEN).order_by(TABLE.c.seq).limit(MOST))
    return {
        "sending": sum(counted.values()),
        "unknown": counted.get(OrderStatus.UNKNOWN, 0),
        "on_the_way": [as_json(row, now, multipliers) for row in on_the_way],
        "open_orders": [as_json(row, now, multipliers) for row in is_open],
        "open_orders_total": session.scalar(select(func.count()).select_from(TABLE).where(OPEN)),
        "silent_since": _silent_since(session),
    }


def _silent_since(session: Session) -> str | None:
    """Since when a venue does not answer, of whichever mode."""
    latest = _told(session)
    silent = [at for answers, at in latest.values() if not answers]
    return rfc3339(min(silent)) if silent else None


def answers(session: Session, mode: str) -> bool:
    """Whether the venue of a mode answered when that was written down last."""
    return _told(session).get(mode, (True,))[0]


def _told(session: Session) -> dict[str, tuple[bool, datetime]]:
    # The range of one value, in the order of its index: for equality the planner may walk all that came since.
    last = (
        select(AuditEvent.subject, AuditEvent.after, AuditEvent.created_at)
        .where(AuditEvent.action.between(ANSWERS, ANSWERS))
        .order_by(AuditEvent.action.desc(), AuditEvent.id.desc())
        .limit(10)
    )
    latest: dict[str, tuple[bool, datetime]] = {}
    for mode, after, at in session.execute(last):
        latest.setdefault(mode, (bool(after["answers"]), at))
    return latest


def tell_whether_it_answers(session: Session, actor: Actor, mode: str, now: bool) -> None:
    """Write down that the venue of a mode does not answer any more, or does again, where that is news."""
    if answers(session, mode) is not now:
        log.record(session, actor, ANSWERS, mode, before={"answers": not now}, after={"answers": now})


def to_end(session: Session, named: Collection[str]) -> list[Row[Any]]:
    """All that is open at a venue or on its way there, a protective stop only where its id is `named`."""
    query = select(TABLE).where(or_(OPEN, SENT)).order_by(TABLE.c.seq)
    return [row for row in session.execute(query) if row.type not in PROTECTIVE or str(row.id) in named]


def of_engine(session: Session, account_id: int | None) -> list[Row[Any]]:
    """All that an engine may withdraw: what waits, and what is bound for a venue and has not ended."""
    waits = TABLE.c.status == text("'pending_approval'")
    unsent = text("send_by IS NOT NULL AND status IN ('released', 'sending', 'unknown')")
    query = select(TABLE).where(or_(waits, unsent, OPEN), TABLE.c.account_id == account_id)
    return list(session.execute(query.order_by(TABLE.c.seq)))


def of_account(session: Session, account_id: int) -> list[Row[Any]]:
    """The orders of an engine that are at a broker, or may be, oldest first; at most 500."""
    query = select(TABLE).where(or_(OPEN, SENT), TABLE.c.account_id == account_id)
    return list(session.execute(query.order_by(TABLE.c.seq).limit(MOST)))


def as_json(row: Row[Any], now: datetime, multipliers: Multipliers) -> Shown:
    return submit.as_json(row, now, multipliers) | {
        "protective": row.type in PROTECTIVE,
        "venue_order_id": venue_order_id(row.id),
    }


def has_ended(row: Row[Any]) -> bool:
    return is_final(OrderStatus(row.status), bound=True)
