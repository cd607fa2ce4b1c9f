"""What happened in the last 24 hours, for a picture at a glance."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from app.db.transaction import reading
from app.domain.last_day import HOUR, Outcome, hours_until, percentile
from app.lib.timestamps import rfc3339
from app.models import AuditEvent, SymbolLockout
from app.services.orders.submit import database_now
from app.services.trading.lockouts import as_json

Json = dict[str, Any]

MOST_LOCKOUTS = 500
MOST_MODES = 200
AT_ONCE = 500  # events

# One pass over what was decided in an hour, by its own index: literally `<> 'pending_approval'`, or that is not
# used. Nothing is sorted, so a million orders need no room. What a person decided, with the seconds that it took.
DECIDED = text("""
    SELECT count(*) FILTER (WHERE status = 'blocked'),
           count(*) FILTER (WHERE went_on AND by_the_system),
           count(*) FILTER (WHERE went_on AND NOT by_the_system),
           count(*) FILTER (WHERE status = 'rejected'),
           count(*) FILTER (WHERE status = 'expired'),
           count(*) FILTER (WHERE status = 'canceled'),
           array_agg(extract(epoch FROM decided_at - created_at)::float8)
               FILTER (WHERE status = 'rejected' OR went_on AND NOT by_the_system)
    FROM orders, LATERAL (SELECT decided_by LIKE 'system:%' AS by_the_system,
                                 status NOT IN ('blocked', 'rejected', 'expired', 'canceled') AS went_on) AS what
    WHERE orders.status <> 'pending_approval' AND decided_at >= :start AND decided_at < :end
""")
# What has expired and nobody has written down yet: few, for the keeper comes by every second.
LATE = text("""
    SELECT count(*) FROM orders WHERE status = 'pending_approval' AND expires_at >= :start AND expires_at < :end
""")
BUSY_HOUR = 5000  # decisions: then it is worth remembering


def last_day(known: dict[datetime, Json] | None = None) -> Json:
    """Decisions by the hour and outcome, how long people took for theirs, lockouts from when to when, and changes
    of the mode, since the full hour (UTC) 23 hours ago. By the database's clock, all at one instant.

    Of very many lockouts those that end last, and of very many changes of the mode the newest. `known` are busy
    hours that were over when they were counted, by when they began: these are not counted again, and new ones
    added.
    """
    known = {} if known is None else known
    with reading() as session:
        now = database_now(session)
        hours = hours_until(now)
        for old in known.keys() - set(hours):
            del known[old]
        modes = [_mode(event) for event in _events(session, "mode.change", hours[0])]
        lockouts = _lockouts(session, hours[0])
        return {
            "since": rfc3339(hours[0]),
            "server_time": rfc3339(now),
            "hours": [known.get(hour) or _count(session, hour, now, known) for hour in hours],
            "lockouts": lockouts[:MOST_LOCKOUTS],
            "more_lockouts": len(lockouts) > MOST_LOCKOUTS,
            "modes": modes[:MOST_MODES][::-1],
        }


def _count(session: Session, hour: datetime, now: datetime, known: dict[datetime, Json]) -> Json:
    window = {"start": hour, "end": min(hour + HOUR, now)}
    *counts, seconds = session.execute(DECIDED, window).one()
    by_outcome = dict(zip(map(str, Outcome), counts, strict=True))
    by_outcome[Outcome.EXPIRED] += session.execute(LATE, window).scalar_one()
    counted = {"start": rfc3339(hour), **by_outcome, **_time_to_decision(sorted(seconds or []))}
    # What is decided is on the record within a minute, and what could not be sent is taken back within another: an
    # hour later nothing of it changes any more.
    if now - hour > 2 * HOUR and sum(counts) >= BUSY_HOUR:
        known[hour] = counted
    return counted


def _time_to_decision(seconds: list[float]) -> Json:
    median, p90 = percentile(seconds, 0.5), percentile(seconds, 0.9)
    return {
        "decided_by_people": len(seconds),
        "median_seconds": None if median is None else round(median, 1),
        "p90_seconds": None if p90 is None else round(p90, 1),
    }


def _lockouts(session: Session, since: datetime) -> list[Json]:
    """Those of which some part lies in the window, soonest begin first; of those that were removed the record
    keeps the whole row."""
    ended_by_time = session.scalars(
        select(SymbolLockout)
        .where(SymbolLockout.expires_at > since)
        .order_by(SymbolLockout.expires_at.desc(), SymbolLockout.id.desc())
        .limit(MOST_LOCKOUTS + 1)
    ).all()
    found = [as_json(row) | {"removed_at": None, "removed_by": None} for row in ended_by_time]
    for event in _events(session, "lockout.remove", since, most=MOST_LOCKOUTS + 1):
        removed = {"removed_at": rfc3339(event.created_at), "removed_by": event.actor}
        found.append((event.before or {}) | removed)
    # Of too many those go first that were over first.
    found.sort(key=lambda lock: lock["removed_at"] or lock["expires_at"], reverse=True)
    return sorted(found[: MOST_LOCKOUTS + 1], key=lambda lock: lock["created_at"])


def _mode(event: AuditEvent) -> Json:
    return {
        "at": rfc3339(event.created_at),
        "from": (event.before or {}).get("trading_mode"),
        "to": (event.after or {}).get("trading_mode"),
        "by": event.actor,
        "reason": event.note,
    }


def _events(session: Session, action: str, since: datetime, most: int = MOST_MODES) -> Iterator[AuditEvent]:
    """Events of one action, newest first, until one is older: by the index on their numbers, which grow with
    time."""
    before, left = 2**63 - 1, most
    while left > 0:
        query = select(AuditEvent).where(AuditEvent.action == action, AuditEvent.id < before)
        batch = session.scalars(query.order_by(AuditEvent.id.desc()).limit(min(AT_ONCE, left))).all()
        for event in batch:
            if event.created_at < since:
                return
            yield event
        if len(batch) < min(AT_ONCE, left):
            return
        before, left = batch[-1].id, left - len(batch)
