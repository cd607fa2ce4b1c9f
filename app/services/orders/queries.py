"""Lists of orders, at the speed of the first day however many there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Select,
    TextClause,
    and_,
    literal,
    select,
    text,
    tuple_,
    union_all,
)
from sqlalchemy.orm import Session

from app.db.transaction import reading
from app.domain.gate import Side
from app.domain.instruments import Multipliers, instrument_key
from app.domain.order_status import OrderStatus
from app.models import Order
from app.models import orders as orders_table
from app.models.instruments import instrument_key_of
from app.services.actor import Actor
from app.services.orders.submit import Shown, as_json
from app.services.rules import clock_and_multipliers

TABLE = Order.__table__
WAITS = text("orders.status = 'pending_approval'")  # literal: a bound status misses the partial index
# As the indexes have them.
MAY_CHANGE, HAS_ENDED = text(f"orders.{orders_table.MAY_CHANGE}"), text(f"orders.{orders_table.HAS_ENDED}")
WALKED = ("instrument_key", "account_id", "status")  # what a list is narrowed by, and has an index with `seq`
COLUMNS: Mapping[str, ColumnElement[Any]] = {**TABLE.c, "instrument_key": instrument_key_of("orders.ticker")}
END_OF_LIST = 2**63 - 1


def page(
    actor: Actor,
    *,
    status: OrderStatus | None = None,
    ticker: str | None = None,
    client_order_id: str | None = None,
    before_seq: int | None = None,
    limit: int = 50,
) -> list[tuple[int, Shown]]:
    """Up to `limit` orders, newest first, each with its place in the list; an engine sees only its own."""
    asked = {
        "client_order_id": client_order_id,
        "instrument_key": None if ticker is None else instrument_key(ticker),
        "account_id": actor.account_id if actor.is_engine else None,
        "status": status.value if status else None,
    }
    with reading() as session:
        now, multipliers = clock_and_multipliers(session)
        is_so = {name: value for name, value in asked.items() if value is not None}
        rows = session.execute(_newest(is_so, now, before_seq or END_OF_LIST, limit)).all()
    return [(row.seq, as_json(row, now, multipliers)) for row in rows]


def _newest(is_so: dict[str, Any], now: datetime, before: int, limit: int) -> Select[Any]:
    if is_so.get("status") == OrderStatus.PENDING_APPROVAL:
        return _waiting(is_so, before, limit).where(TABLE.c.expires_at > now)
    written = _written(is_so, before, limit)
    if is_so.get("status") != OrderStatus.EXPIRED:
        return written
    late = _waiting(is_so, before, limit).where(TABLE.c.expires_at <= now)
    both = union_all(written, late).subquery()
    return select(both).order_by(both.c.seq.desc()).limit(limit)


def _waiting(is_so: dict[str, Any], before: int, limit: int) -> Select[Any]:
    """Of those that wait, or have expired and nobody has written it down: few, found by their own index."""
    others = (COLUMNS[name] == value for name, value in is_so.items() if name != "status")
    return select(TABLE).where(WAITS, *others, TABLE.c.seq < before).order_by(TABLE.c.seq.desc()).limit(limit)


def _written(is_so: dict[str, Any], before: int, limit: int) -> Select[Any]:
    """By the index on (walked, seq). Asked for equality, the planner takes the one on `seq` alone where it thinks
    the value frequent, and passes all that was written since; a range of one value leaves it no such way."""
    walked = None if "client_order_id" in is_so else next(filter(is_so.__contains__, WALKED), None)
    query = select(TABLE).where(*(COLUMNS[name] == value for name, value in is_so.items() if name != walked))
    seq = TABLE.c.seq
    if walked is None:
        return query.where(seq < before).order_by(seq.desc()).limit(limit)
    column = COLUMNS[walked]
    first, last = literal(is_so[walked], column.type), literal(before, seq.type)
    one_value = query.where(column >= first, tuple_(column, seq) < tuple_(first, last))
    return one_value.order_by(column.desc(), seq.desc()).limit(limit)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an engine asks for of its own orders; `after` and `until` are exclusive."""

    account_id: int
    after: datetime | None
    until: datetime | None
    sides: Sequence[str]
    tickers: Sequence[str]
    newest_first: bool
    limit: int


def chosen(
    actor: Actor,
    *,
    is_open: bool | None = None,
    after: datetime | None = None,
    until: datetime | None = None,
    side: str | None = None,
    tickers: Sequence[str] = (),
    newest_first: bool = True,
    limit: int = 50,
) -> list[Shown]:
    """Up to `limit` of an engine's own orders, by when they came in; those that may still change, or the others,
    or all. `after` and `until` are exclusive."""
    if actor.account_id is None:
        return []
    sides = (side,) if side else tuple(Side)
    wanted = Wanted(actor.account_id, after, until, sides, tickers, newest_first, limit)
    with reading() as session:
        now, multipliers = clock_and_multipliers(session)
        rows = session.execute(_chosen(wanted, is_open, now)).all()
    return [as_json(row, now, multipliers) for row in rows]


def _chosen(wanted: Wanted, is_open: bool | None, now: datetime) -> Select[Any]:
    """Of each index and each side no more rows are read than are wanted: the first of all of these are they."""
    late = and_(WAITS, TABLE.c.expires_at <= now)
    walks = []
    for side in wanted.sides:
        if is_open is not False:
            # What has expired and was not written down yet is among these, but for an instant.
            walks.append(_walk(wanted, side, MAY_CHANGE, *([~late] if is_open else [])))
        if is_open is not True:
            walks.append(_walk(wanted, side, HAS_ENDED))
        if is_open is False:
            walks.append(_asked(wanted, side, late))  # a handful, by an index of their own
    found = union_all(*(select(walk.subquery()) for walk in walks)).subquery()
    return select(found).order_by(*_in_order(found, wanted)).limit(wanted.limit)


def _walk(wanted: Wanted, side: str, *conditions: ColumnElement[bool] | TextClause) -> Select[Any]:
    return _asked(wanted, side, *conditions).order_by(*_in_order(TABLE, wanted)).limit(wanted.limit)


def _asked(wanted: Wanted, side: str, *conditions: ColumnElement[bool] | TextClause) -> Select[Any]:
    query = select(TABLE).where(TABLE.c.account_id == wanted.account_id, TABLE.c.side == side, *conditions)
    if wanted.after is not None:
        query = query.where(TABLE.c.created_at > wanted.after)
    if wanted.until is not None:
        query = query.where(TABLE.c.created_at < wanted.until)
    if wanted.tickers:
        keys = dict.fromkeys(instrument_key(ticker) for ticker in wanted.tickers)
        query = query.where(COLUMNS["instrument_key"].in_(keys))
    return query


def _in_order(rows: FromClause, wanted: Wanted) -> list[ColumnElement[Any]]:
    columns = (rows.c.created_at, rows.c.seq)
    return [column.desc() if wanted.newest_first else column.asc() for column in columns]


def recent(session: Session, multipliers: Multipliers, *, limit: int) -> list[Shown]:
    """What was decided last, newest first; of those that expired, what has been written down."""
    query = select(TABLE).where(text("status <> 'pending_approval'"))
    rows = session.execute(query.order_by(TABLE.c.decided_at.desc(), TABLE.c.seq.desc()).limit(limit)).all()
    return [as_json(row, row.created_at, multipliers) for row in rows]
