"""Telling people who are elsewhere: from an outbox that is written with the event itself, to each receiver apart.

A trigger fills the outbox (app/models/notifications.py); this module empties it. A receiver
is spoken to by one process at a time, which claims it for a while, under no lock and in no transaction while it
speaks: one that is killed or frozen loses nothing, and tells at most that one message twice. All that a receiver
is still to be told goes into one message, however much has happened and however long it was away.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

from sqlalchemy import Row, text

from app.db.transaction import noting, reading
from app.domain.notifications import MODE_KINDS, NAMED, Digest, Kind, Lockout, ModeChange, Order, Some

Told = TypeVar("Told")

LEASE = timedelta(seconds=40)  # for which a receiver is spoken to by one process; longer than a message may take
GATHER = timedelta(seconds=2)  # that the first of many waits for the others
PAUSE = timedelta(seconds=10)  # between two messages; nothing that is gathered is worth more of them
GIVEN_UP_AFTER = timedelta(days=1)
MOST = 10_000  # events in one message
KEPT = timedelta(days=8)  # longer than an order can wait, or it would be told twice that it is about to expire
UNSEEN = timedelta(minutes=5)  # then an address is no longer in anybody's settings

REGISTER = """
    INSERT INTO notice_receivers (key, name, kinds) VALUES (:key, :name, :kinds)
    ON CONFLICT (key) DO UPDATE SET name = excluded.name, kinds = excluded.kinds, seen_at = clock_timestamp()
"""
FORGET = """
    WITH gone AS (DELETE FROM notice_receivers WHERE seen_at < clock_timestamp() - CAST(:unseen AS interval))
    DELETE FROM notices WHERE settled_at IS NULL
        AND receiver NOT IN (SELECT key FROM notice_receivers
                             WHERE seen_at >= clock_timestamp() - CAST(:unseen AS interval))
"""
# `notifications.warn_from` in SQL. The partial index finds pending orders by their deadline. Those in the outbox
# already are passed over, and not by NOT EXISTS: see OVERTAKEN.
WARN = """
    INSERT INTO notices (receiver, kind, subject)
    SELECT key, 'order_expiring', orders.id::text FROM notice_receivers, orders
    WHERE 'order_expiring' = ANY (kinds) AND status = 'pending_approval'
        AND expires_at > now() AND expires_at <= now() + CAST(:before AS interval)
        AND now() >= expires_at - least(CAST(:before AS interval), (expires_at - created_at) / 2)
        AND (SELECT true FROM notices
             WHERE receiver = key AND subject = orders.id::text AND kind = 'order_expiring') IS NOT TRUE
    ON CONFLICT (receiver, subject) WHERE kind = 'order_expiring' DO NOTHING
"""
# The mode goes out at once; what may come by the hundred is gathered.
AT_ONCE = ", ".join(f"'{kind}'" for kind in MODE_KINDS)
IS_DUE = f"""
    try_at <= clock_timestamp() AND EXISTS (
        SELECT FROM notices WHERE receiver = key AND settled_at IS NULL
            AND (kind IN ({AT_ONCE})
                 OR created_at <= clock_timestamp() - CAST(:gather AS interval)
                     AND (told_at IS NULL OR told_at <= clock_timestamp() - CAST(:pause AS interval))))
"""
DUE = f"SELECT key FROM notice_receivers WHERE {IS_DUE} ORDER BY try_at"  # noqa: S608
# Not FOR UPDATE: whoever writes an event must never wait for this row, come what may.
CLAIM = f"""
    UPDATE notice_receivers SET claim = :claim, try_at = clock_timestamp() + CAST(:lease AS interval)
    WHERE key = (SELECT key FROM notice_receivers WHERE key = :key AND {IS_DUE} FOR NO KEY UPDATE SKIP LOCKED)
    RETURNING tries
"""  # noqa: S608
# What is visible now: numbers are given out before the commit, so "up to the newest" would take in what is not.
# With a bound, for whoever was away for long; the mode before all else.
TO_TELL = f"""
    SELECT array_agg(id) FROM (
        SELECT id FROM notices WHERE receiver = :key AND settled_at IS NULL
        ORDER BY kind NOT IN ({AT_ONCE}), id LIMIT :most
    ) AS first
"""  # noqa: S608 - made of constants
# Nobody has to be told any more that an order waits which was decided meanwhile; that it expired is told apart.
# One look by the unique key for each row, whatever the planner believes. NOT EXISTS would be a join, and while it
# believes that hardly any order waits, for thousands came just now, one that compares each row with each order.
OVERTAKEN = """
    UPDATE notices SET settled_at = clock_timestamp(), outcome = 'overtaken'
    WHERE id = ANY (:ids) AND settled_at IS NULL
        AND CASE WHEN kind IN ('order_waits', 'order_expiring') THEN
                (SELECT status = 'pending_approval' AND expires_at > statement_timestamp()
                 FROM orders WHERE id = CAST(subject AS uuid)) IS NOT TRUE END
    RETURNING id
"""
PRESENT = "SELECT (SELECT trading_mode FROM risk_configs WHERE is_active) AS mode, clock_timestamp() AS now"

# Of each kind the first few, with how many there are.
ORDERS = """
    SELECT * FROM (
        SELECT orders.*, kind, count(*) OVER same AS number,
               row_number() OVER (same ORDER BY orders.expires_at, orders.seq) AS place
        FROM (SELECT CAST(subject AS uuid) AS order_id, min(kind) AS kind FROM notices
              WHERE id = ANY (:ids) AND kind LIKE 'order%' GROUP BY subject) AS told
        JOIN orders ON orders.id = order_id
        WINDOW same AS (PARTITION BY kind)
    ) AS numbered WHERE place <= :most ORDER BY place
"""
EVENTS = """
    SELECT *, CASE WHEN action = 'mode.change' THEN
               (SELECT count(*) FROM audit_events AS other WHERE other.action = 'order.cancel'
                    AND other.id > numbered.id AND other.request_id = numbered.request_id) END AS canceled
    FROM (
        SELECT audit_events.*, count(*) OVER same AS number,
               row_number() OVER (same ORDER BY audit_events.id DESC) AS place
        FROM audit_events JOIN notices ON event_id = audit_events.id
        WHERE notices.id = ANY (:ids) AND action IN ('mode.change', 'lockout.create')
        WINDOW same AS (PARTITION BY action)
    ) AS numbered WHERE place <= :most ORDER BY id
"""
# Of orders that are in the outbox more than once, the word that min() picks: what expires is no news beside what
# has, and 'order_expired' < 'order_expiring' < 'order_unknown' < 'order_waits'.

SETTLE = """
    UPDATE notices SET settled_at = clock_timestamp(), outcome = 'told'
    WHERE id = ANY (:ids) AND settled_at IS NULL
"""
TOOK_IT = """
    UPDATE notice_receivers SET told_at = clock_timestamp(), try_at = clock_timestamp(), claim = NULL, tries = 0,
        failing_since = NULL, last_error = NULL
    WHERE key = :key AND claim = :claim
"""
DID_NOT = """
    UPDATE notice_receivers SET try_at = clock_timestamp() + CAST(:after AS interval), claim = NULL,
        tries = tries + 1, failing_since = coalesce(failing_since, clock_timestamp()), last_error = :why
    WHERE key = :key AND claim = :claim
"""
GIVE_UP = """
    UPDATE notices SET settled_at = clock_timestamp(), outcome = 'given_up', why = last_error
    FROM notice_receivers
    WHERE key = receiver AND settled_at IS NULL AND created_at < clock_timestamp() - CAST(:after AS interval)
    RETURNING name, why
"""
PRUNE = (
    "DELETE FROM notices WHERE settled_at IS NOT NULL AND created_at < clock_timestamp() - CAST(:kept AS interval)"
)
# Whoever claims has one of the connections that pages need too.
SOON = "SET LOCAL statement_timeout = '2s'"

MOMENTS = {"gather": GATHER, "pause": PAUSE}


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to tell one receiver of the rows `ids` of the outbox, for a while; `tries` were in vain before."""

    key: str
    token: uuid.UUID
    tries: int
    ids: Sequence[int]


def register(names: Mapping[str, str], kinds: Collection[Kind]) -> None:
    """Who is to be told, by key, and of what. Those that nobody has registered in a while are forgotten, with what
    they were still to be told; a restart is no such while."""
    with noting() as session:
        for key, name in names.items():
            session.execute(text(REGISTER), {"key": key, "name": name, "kinds": sorted(kinds)})
        session.execute(text(FORGET), {"unseen": UNSEEN})


def warn(before: timedelta) -> None:
    """Put into the outbox, once, each order that waits and whose deadline is so near."""
    with noting() as session:
        session.execute(text(WARN), {"before": before})


def due() -> list[str]:
    """The keys of those who have something to be told, and may be spoken to now."""
    with reading() as session:
        return list(session.scalars(text(DUE), MOMENTS))


def claim(key: str) -> Claim | None:
    """The right to tell that receiver what there is; None where there is nothing, or the right is another's.

    However much there is, it looks at no more than a message takes: what was overtaken is settled bit by bit.
    """
    token = uuid.uuid4()
    with noting() as session:
        session.execute(text(SOON))
        claimed = {"key": key, "claim": token, "lease": LEASE, **MOMENTS}
        tries = session.scalar(text(CLAIM), claimed)
        if tries is None:
            return None
        first = session.scalar(text(TO_TELL), {"key": key, "most": MOST}) or []
        overtaken = set(session.scalars(text(OVERTAKEN), {"ids": first}))
        ids = [each for each in first if each not in overtaken]
        if not ids:
            session.execute(
                text("UPDATE notice_receivers SET try_at = now(), claim = NULL WHERE key = :key"), claimed
            )
            return None
    return Claim(key, token, tries, ids)


def digest(claim: Claim) -> tuple[Digest, datetime]:
    """What there is to tell, and the instant of it."""
    with reading() as session:
        present = session.execute(text(PRESENT)).one()
        which = {"ids": claim.ids, "most": NAMED}
        orders = session.execute(text(ORDERS), which).all()
        events = session.execute(text(EVENTS), which).all()
    return (
        Digest(
            mode=present.mode or "disabled",
            modes=_some([row for row in events if row.action == "mode.change"], _mode_change),
            unknown=_some([row for row in orders if row.kind == Kind.ORDER_UNKNOWN], _order),
            expiring=_some([row for row in orders if row.kind == Kind.ORDER_EXPIRING], _order),
            waiting=_some([row for row in orders if row.kind == Kind.ORDER_WAITS], _order),
            expired=_some([row for row in orders if row.kind == Kind.ORDER_EXPIRED], _order),
            lockouts=_some([row for row in events if row.action == "lockout.create"], _lockout),
        ),
        present.now,
    )


def _some(rows: Sequence[Row[Any]], read: Callable[[Row[Any]], Told]) -> Some[Told]:
    return Some([read(row) for row in rows], rows[0].number if rows else 0)


def _order(row: Row[Any]) -> Order:
    return Order(
        ticker=row.ticker,
        side=row.side,
        engine=row.engine,
        type=row.type,
        # The one that a person can act by, or has missed.
        expires_at=None if row.kind == Kind.ORDER_UNKNOWN else row.expires_at,
        qty=row.qty,
        notional=row.notional,
        limit_price=row.limit_price,
        stop_price=row.stop_price,
    )


def _mode_change(row: Row[Any]) -> ModeChange:
    before, after = row.before["trading_mode"], row.after["trading_mode"]
    return ModeChange(before, after, row.actor, row.created_at, row.note, row.canceled)


def _lockout(row: Row[Any]) -> Lockout:
    told = row.after
    ends = datetime.fromisoformat(told["expires_at"])
    return Lockout(told["ticker"], told["reason"], told["created_by"], ends)


def told(claim: Claim) -> None:
    """The receiver has taken the message, whoever may claim it by now."""
    with noting() as session:
        session.execute(text(SETTLE), {"ids": claim.ids})
        session.execute(text(TOOK_IT), {"key": claim.key, "claim": claim.token})


def not_told(claim: Claim, why: str, after: timedelta) -> None:
    """It has not, or nobody knows: it is tried again `after` a while."""
    with noting() as session:
        session.execute(text(DID_NOT), {"key": claim.key, "claim": claim.token, "why": why, "after": after})


def tidy() -> list[tuple[str, str | None, int]]:
    """Give up what could not be told for a day, and remove what is long settled; of what was given up the name of
    the receiver, why, and how much."""
    with noting() as session:
        given_up = session.execute(text(GIVE_UP), {"after": GIVEN_UP_AFTER}).all()
        session.execute(text(PRUNE), {"kept": KEPT})
    reasons = sorted({(row.name, row.why) for row in given_up}, key=str)
    return [(name, why, sum((row.name, row.why) == (name, why) for row in given_up)) for name, why in reasons]
