"""The record of who did what when."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import product
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Row,
    Select,
    Text,
    false,
    func,
    insert,
    literal,
    literal_column,
    select,
    text,
    tuple_,
    union_all,
)
from sqlalchemy.orm import Session

from app.db.transaction import reading
from app.domain.instruments import instrument_key
from app.lib.timestamps import RFC3339
from app.models import AuditEvent
from app.models import audit as audit_table
from app.services.actor import Actor
from app.services.errors import NotFound

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
EITHER_IS_LARGE = f"(coalesce({IS_LARGE.format('before')}, false) OR coalesce({IS_LARGE.format('after')}, false))"
LISTED: ColumnElement[str] = literal_column(WRITTEN.format(is_large=EITHER_IS_LARGE))
WHOLE: ColumnElement[str] = literal_column(WRITTEN.format(is_large="false"))
NO_SUCH = "there is no such event"

# The columns of an exported event. `before` and `after` are NULL where `is_large`, see `whole_row`.
COLUMNS = ("id", "created_at", "actor", "action", "subject", "before", "after", "note", "request_id")


def _columns(is_large: str) -> list[ColumnElement[Any]]:
    written = {"created_at": RFC3339.format("created_at")} | {
        name: f"CASE WHEN NOT {is_large} THEN {name}::text END" for name in ("before", "after")
    }
    texts: list[ColumnElement[Any]] = [literal_column(written.get(name, name)).label(name) for name in COLUMNS]
    return [*texts, literal_column(is_large).label("is_large")]


LISTED_COLUMNS, WHOLE_COLUMNS = _columns(EITHER_IS_LARGE), _columns("false")


def event(event_id: int) -> str:
    """One event as JSON text, whole. Raises NotFound."""
    with reading() as session:
        found: str | None = session.scalar(select(WHOLE).where(AuditEvent.id == event_id))
    if found is None:
        raise NotFound(NO_SUCH)
    return found


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events are listed. `actor` is the beginning of a name; `people` leaves out engines and `system:`.

    `ticker` selects events of orders and lockouts of its instrument, `order` the events of one order.
    """

    actions: tuple[str, ...] = ()
    actor: str = ""
    people: bool = False
    ticker: str | None = None
    order: uuid.UUID | None = None
    since: datetime | None = None  # inclusive
    until: datetime | None = None  # exclusive


EVERY_EVENT = EventFilter()
MAX_WALKS = 200
# Ids are given out a moment before the time of an event, and a transaction takes seconds at most.
ID_SKEW = timedelta(minutes=1)
END_OF_LIST = 2**63 - 1
# As the index on the instrument has them.
HAS_TICKER = text(audit_table.HAS_TICKER)
COLUMN: Mapping[str, ColumnElement[str]] = {
    "instrument_key": literal_column(audit_table.INSTRUMENT_KEY, Text),
    **{name: AuditEvent.__table__.c[name] for name in ("subject", "action")},
}
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
    with _newest_ids(wanted, before_id, limit) as (session, ids):
        query = select(AuditEvent.id, WHOLE if whole else LISTED).where(AuditEvent.id.in_(ids))
        found = session.execute(query.order_by(AuditEvent.id.desc()))
        return [(event_id, written) for event_id, written in found]


def rows(wanted: EventFilter, *, before_id: int | None = None, limit: int) -> Sequence[Row[Any]]:
    """Up to `limit` events, newest first, with COLUMNS as text and `is_large`."""
    with _newest_ids(wanted, before_id, limit) as (session, ids):
        query = select(*LISTED_COLUMNS).select_from(AuditEvent).where(AuditEvent.id.in_(ids))
        return session.execute(query.order_by(AuditEvent.id.desc())).all()


def whole_row(event_id: int) -> Row[Any]:
    """One event as in `rows`, with `before` and `after` of any size."""
    with reading() as session:
        return session.execute(select(*WHOLE_COLUMNS).where(AuditEvent.id == event_id)).one()


@contextmanager
def _newest_ids(wanted: EventFilter, before_id: int | None, limit: int) -> Iterator[tuple[Session, Select[Any]]]:
    """A transaction, and the newest `limit` ids in it.

    Of a table whose statistics are old the planner expects so few rows that it would read and sort all of them, so
    sorts and bitmap scans are disabled: what remains is to walk an index in order.
    """
    with reading() as session:
        session.execute(text("SET LOCAL enable_bitmapscan = off; SET LOCAL enable_sort = off"))
        yield session, _ids(session, wanted, before_id, limit)


def _ids(session: Session, wanted: EventFilter, before_id: int | None, limit: int) -> Select[Any]:
    """The newest `limit` ids, merged from index scans that each return them in descending order."""
    first, end = 0, END_OF_LIST if before_id is None else before_id
    conditions: list[ColumnElement[bool]] = []
    if wanted.since is not None:
        first = _id_at(session, wanted.since - ID_SKEW)
        conditions.append(AuditEvent.created_at >= wanted.since)
    if wanted.until is not None:
        end = min(end, _id_at(session, wanted.until + ID_SKEW))
        conditions.append(AuditEvent.created_at < wanted.until)
    actors: list[str | None] = [None]
    if wanted.actor or wanted.people:
        actors = [*session.scalars(ACTORS, {"prefix": wanted.actor, "people": wanted.people})]
    ids = _Ids(first, end, limit, conditions)
    if wanted.order is not None:
        scans = [_of_order(ids, wanted, wanted.order, actors)]
    elif wanted.ticker is not None:
        scans = _of_instrument(ids, wanted, wanted.ticker, actors)
    else:
        scans = _of_actors(ids, wanted.actions, actors)
    found = union_all(*(select(scan.subquery()) for scan in [ids.newest().where(false()), *scans])).subquery()
    return select(found.c.id).order_by(found.c.id.desc()).limit(limit)


@dataclass(frozen=True, slots=True)
class _Ids:
    """The newest `limit` ids from `first` to before `end` that meet the conditions."""

    first: int
    end: int
    limit: int
    conditions: Sequence[ColumnElement[bool]]

    def newest(self) -> Select[Any]:
        """The planner chooses the index."""
        query = select(AuditEvent.id).where(AuditEvent.id >= self.first, AuditEvent.id < self.end)
        return query.where(*self.conditions).order_by(AuditEvent.id.desc()).limit(self.limit)

    def of(self, columns: Sequence[ColumnElement[Any]], values: Sequence[str]) -> Select[Any]:
        """By the index on (*columns, id). For equality the planner may scan the index on `id` alone and pass
        every later event; a range of one value leaves it no such choice."""
        place = tuple_(*columns, AuditEvent.id)
        one_value = [literal(value, Text) for value in values]
        query = select(AuditEvent.id).where(
            place >= tuple_(*one_value, literal(self.first, AuditEvent.id.type)),
            place < tuple_(*one_value, literal(self.end, AuditEvent.id.type)),
            *self.conditions,
        )
        return query.order_by(*(column.desc() for column in (*columns, AuditEvent.id))).limit(self.limit)


def _of_order(ids: _Ids, wanted: EventFilter, order: uuid.UUID, actors: Sequence[str | None]) -> Select[Any]:
    query = ids.of([COLUMN["subject"]], [str(order)])
    query = query.where(AuditEvent.action.in_(_of_kind(wanted, "order.")))
    if wanted.ticker is not None:
        query = query.where(COLUMN["instrument_key"] == instrument_key(wanted.ticker))
    return query if actors == [None] else query.where(func.lower(AuditEvent.actor).in_(actors))


def _of_instrument(ids: _Ids, wanted: EventFilter, ticker: str, actors: Sequence[str | None]) -> list[Select[Any]]:
    key, actions = instrument_key(ticker), _of_kind(wanted, "order.", "lockout.")
    if actors == [None]:
        columns = [COLUMN["instrument_key"], COLUMN["action"]]
        return [ids.of(columns, [key, action]).where(HAS_TICKER) for action in actions]
    # Either may be the rarer one, the actor or the instrument.
    newest = ids.newest().where(HAS_TICKER, COLUMN["instrument_key"] == key, AuditEvent.action.in_(actions))
    if len(actors) > MAX_WALKS:
        return [newest.where(func.lower(AuditEvent.actor).in_(actors))]
    return [newest.where(func.lower(AuditEvent.actor) == actor) for actor in actors]


def _of_kind(wanted: EventFilter, *prefixes: str) -> list[str]:
    return [action for action in wanted.actions or ACTIONS if action.startswith(prefixes)]


def _of_actors(ids: _Ids, actions: Sequence[str], actors: Sequence[str | None]) -> list[Select[Any]]:
    """One scan for each pair of an actor and an action."""
    newest = ids.newest()
    any_action: Sequence[str | None] = [None]
    pairs = [*product(actors, actions or any_action)]
    if len(pairs) > MAX_WALKS:
        newest = newest.where(func.lower(AuditEvent.actor).in_(actors)) if actors != [None] else newest
        return [newest.where(AuditEvent.action.in_(actions)) if actions else newest]
    walks = []
    for actor, action in pairs:
        walk = newest if actor is None else newest.where(func.lower(AuditEvent.actor) == actor)
        walks.append(walk if action is None else walk.where(AuditEvent.action == action))
    return walks


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
