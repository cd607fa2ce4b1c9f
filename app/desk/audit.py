"""The record of who did what when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import product
from typing import Any

from sqlalchemy import ColumnElement, Select, false, func, insert, literal_column, select, text, union_all
from sqlalchemy.orm import Session

from app.desk.actor import Actor
from app.desk.errors import NotFound
from app.desk.times import RFC3339
from app.desk.transaction import reading
from app.models import AuditEvent

Json = dict[str, Any]

# Every action that is written anywhere; the audit page offers them as a filter.
ACTIONS = (
    "account.change_owner",
    "account.change_password",
    "account.change_role",
    "account.create",
    "account.deactivate",
    "account.reactivate",
    "account.reset_password",
    "account.resume",
    "account.suspend",
    "approval_config.change",
    "config.replace",
    "lockout.create",
    "lockout.extend",
    "lockout.remove",
    "mode.change",
    "order.approve",
    "order.cancel",
    "order.cancel_at_venue",
    "order.expire",
    "order.reject",
    "order.send",
    "order.submit",
    "order.unknown",
    "order.unsent",
    "order.venue",
    "second_factor.enrol",
    "second_factor.remove",
    "second_factor.renew_recovery_codes",
    "second_factor.turn_off",
    "second_factor.use_recovery_code",
    "second_factor_for_live.change",
    "session.end",
    "session.sign_in",
    "session.sign_out",
    "signal_layers.change",
    "token.create",
    "token.revoke",
    "venue.answers",
)


def record(
    session: Session,
    actor: Actor,
    action: str,
    subject: str,
    *,
    before: Json | None = None,
    after: Json | None = None,
    note: str | None = None,
) -> None:
    """Add an event to the transaction of the change itself: both are there afterwards, or neither.

    `before` and `after` are the thing's JSON on either side of the change, None where it did not exist.
    """
    if action not in ACTIONS:
        raise ValueError(f"{action} is not in ACTIONS")
    session.execute(
        insert(AuditEvent).values(
            actor=actor.name,
            action=action,
            subject=subject,
            before=before,
            after=after,
            note=note,
            request_id=actor.request_id,
        )
    )


MAX_LISTED = 4096  # bytes of `before` or `after`, as text
COMPRESSED = 4 * MAX_LISTED  # what has as many even as it is stored is not decompressed to find out

# An event as JSON text, written by the database: a whole configuration may have a mebibyte. `before` and `after`
# are null where the thing did not exist, and where either is too large for a list.
IS_LARGE = (
    f"CASE WHEN pg_column_size({{0}}) > {COMPRESSED} THEN true ELSE octet_length({{0}}::text) > {MAX_LISTED} END"
)
WRITTEN = f"""
    json_build_object('id', id, 'created_at', {RFC3339.format("created_at")}, 'actor', actor, 'action', action,
        'subject', subject, 'before', CASE WHEN NOT {{is_large}} THEN before END,
        'after', CASE WHEN NOT {{is_large}} THEN after END, 'note', note, 'request_id', request_id,
        'truncated', {{is_large}})::text
"""
LISTED: ColumnElement[str] = literal_column(
    WRITTEN.format(
        is_large=f"(coalesce({IS_LARGE.format('before')}, false) OR coalesce({IS_LARGE.format('after')}, false))"
    )
)
WHOLE: ColumnElement[str] = literal_column(WRITTEN.format(is_large="false"))
NO_SUCH = "there is no such event"


def event(event_id: int) -> str:
    """One event as JSON text, whole. Raises NotFound."""
    with reading() as session:
        found: str | None = session.scalar(select(WHOLE).where(AuditEvent.id == event_id))
    if found is None:
        raise NotFound(NO_SUCH)
    return found


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events are listed. `actor` is the beginning of a name; `people` leaves out engines and `system:`."""

    actions: tuple[str, ...] = ()
    actor: str = ""
    people: bool = False
    since: datetime | None = None  # inclusive
    until: datetime | None = None  # exclusive


EVERY_EVENT = EventFilter()
MAX_WALKS = 200
# Ids are given out a moment before the time of an event, and a transaction takes seconds at most.
ID_SKEW = timedelta(minutes=1)
# Every name is found by one step along the index on it, however many events it has.
ACTORS = text("""
    WITH RECURSIVE actors (name) AS (
        (SELECT lower(actor) FROM audit_events ORDER BY lower(actor) LIMIT 1)
        UNION ALL
        SELECT (SELECT lower(actor) FROM audit_events WHERE lower(actor) > actors.name
                ORDER BY lower(actor) LIMIT 1)
        FROM actors WHERE actors.name IS NOT NULL
    )
    SELECT name FROM actors WHERE starts_with(name, lower(:prefix)) AND NOT (
        :people AND (starts_with(name, 'system:')
                     OR name IN (SELECT lower(accounts.name) FROM accounts WHERE role = 'engine'))
    )
""")


def events(
    wanted: EventFilter = EVERY_EVENT, *, before_id: int | None = None, limit: int = 50, whole: bool = False
) -> Sequence[tuple[int, str]]:
    """Up to `limit` events, newest first: the id of each, and the event as JSON text, cut unless `whole`.

    `before_id` continues after an earlier page.
    """
    with reading() as session:
        ids = _ids(session, wanted, before_id, limit)
        query = select(AuditEvent.id, WHOLE if whole else LISTED).where(AuditEvent.id.in_(ids))
        found = session.execute(query.order_by(AuditEvent.id.desc()))
        return [(event_id, written) for event_id, written in found]


def _ids(session: Session, wanted: EventFilter, before_id: int | None, limit: int) -> Select[Any]:
    """The newest `limit` ids: one walk along an index for each pair of an actor and an action."""
    ranges: list[ColumnElement[bool]] = [] if before_id is None else [AuditEvent.id < before_id]
    if wanted.since is not None:
        ranges += [AuditEvent.created_at >= wanted.since, AuditEvent.id >= _id_at(session, wanted.since - ID_SKEW)]
    if wanted.until is not None:
        ranges += [AuditEvent.created_at < wanted.until, AuditEvent.id < _id_at(session, wanted.until + ID_SKEW)]
    actors: list[str | None] = [None]
    if wanted.actor or wanted.people:
        actors = [*session.scalars(ACTORS, {"prefix": wanted.actor, "people": wanted.people})]
    newest = select(AuditEvent.id).where(*ranges).order_by(AuditEvent.id.desc()).limit(limit)
    pairs = [*product(actors, wanted.actions or [None])]
    if len(pairs) > MAX_WALKS:
        newest = newest.where(func.lower(AuditEvent.actor).in_(actors)) if actors != [None] else newest
        return newest.where(AuditEvent.action.in_(wanted.actions)) if wanted.actions else newest
    walks = [newest.where(false())]
    for actor, action in pairs:
        walk = newest if actor is None else newest.where(func.lower(AuditEvent.actor) == actor)
        walks.append(walk if action is None else walk.where(AuditEvent.action == action))
    found = union_all(*(select(walk.subquery()) for walk in walks)).subquery()
    return select(found.c.id).order_by(found.c.id.desc()).limit(limit)


def _id_at(session: Session, instant: datetime) -> int:
    """The lowest id from which on events are as late as `instant`, by bisection: there is no index on the time."""
    low, high = 1, latest_id(session) + 1
    while low < high:
        middle = (low + high) // 2
        query = select(AuditEvent.id, AuditEvent.created_at).where(AuditEvent.id >= middle)
        found = session.execute(query.order_by(AuditEvent.id).limit(1)).one()
        if found.created_at >= instant:
            high = middle
        else:
            low = found.id + 1
    return low


def latest_id(session: Session) -> int:
    """The number of the newest event that is visible, 0 when there is none."""
    return session.scalar(select(func.max(AuditEvent.id))) or 0
