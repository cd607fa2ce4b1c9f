"""What a monitor is told of the desk: how things stand, and what was decided.

Both are read from the database when somebody asks, and cost an order nothing. How things stand is one look by
partial indexes. What was decided is counted from the record, each event once: it is written in the transaction of
the decision itself, whoever makes it (a worker of any machine, the keeper, the command), so a count can neither
miss one nor have one that was rolled back, as counting beside the decision would.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg

from app.domain.order_status import OrderStatus
from app.domain.risk_config import TradingMode
from app.extensions import db
from app.services import rules

if TYPE_CHECKING:
    from collections.abc import Iterator

FIGURES = "figures"  # a pool that keeps nothing: who asks has a connection for as long as that takes

# The statuses are written out, or the partial indexes would not be used.
LOOK = """
    SELECT trading_mode, config::text, waiting.*,
        (SELECT coalesce(json_object_agg(status, number), '{}') FROM (
            SELECT status, count(*) AS number FROM orders
            WHERE send_by IS NOT NULL AND status IN ('released', 'sending', 'unknown') GROUP BY status
            UNION ALL
            SELECT status, count(*) FROM orders WHERE status IN ('accepted', 'partially_filled') GROUP BY status
        ) AS at_the_venue),
        (SELECT count(*) FROM symbol_lockouts WHERE expires_at > now()),
        undelivered.*,
        coalesce((SELECT extract(epoch FROM now() - created_at)::float8 FROM audit_events
                  WHERE id > (SELECT coalesce(max(event_id), 0) FROM audit_seals) ORDER BY id LIMIT 1), 0)
    FROM (
        SELECT count(*), coalesce(extract(epoch FROM now() - min(created_at))::float8, 0),
               extract(epoch FROM min(expires_at) - now())::float8
        FROM orders WHERE status = 'pending_approval' AND expires_at > now()
    ) AS waiting CROSS JOIN (
        SELECT count(*), coalesce(extract(epoch FROM now() - min(created_at))::float8, 0)
        FROM notices WHERE settled_at IS NULL
    ) AS undelivered LEFT JOIN risk_configs ON is_active
"""

BATCH = 5000  # events of one count: some twenty milliseconds
# Numbers are given out before the commit, so an event may become visible after a later one. Nothing that writes
# events goes on for so long, so what is missing after that was rolled back.
ON_THE_WAY_FOR = 180.0  # seconds
MOST_MISSING = 4 * BATCH

# What an event counts as. An order that the gate held is counted twice, when it came and when it was decided.
OUTCOME = """
    CASE action WHEN 'order.submit' THEN after ->> 'status' WHEN 'order.approve' THEN 'approved'
                WHEN 'order.reject' THEN 'rejected' WHEN 'order.cancel' THEN 'canceled'
                WHEN 'order.expire' THEN 'expired' END
"""
# Of the reasons of one order the first; that a change of the mode canceled it is said by the note alone.
REASON = """
    CASE WHEN action = 'order.cancel' AND was = 'pending_approval' AND note IS NOT NULL THEN 'mode_changed'
         ELSE coalesce(after #>> '{reasons,0,code}', '') END
"""
COUNT = f"""
    WITH place AS MATERIALIZED (
        SELECT newest, least(%(last)s + {BATCH}, newest) AS upto
        FROM (SELECT coalesce(max(id), 0) AS newest FROM audit_events) AS record
    ), new AS MATERIALIZED (
        SELECT id, action, subject, note, before ->> 'status' AS was, after, {OUTCOME} AS outcome
        FROM audit_events
        WHERE id > %(last)s AND id <= (SELECT upto FROM place) OR id = ANY(%(missing)s)
    )
    SELECT newest, upto, extract(epoch FROM now())::float8,
        ARRAY(SELECT id FROM new WHERE id <= %(last)s),
        ARRAY(SELECT generate_series(%(last)s + 1, upto) EXCEPT SELECT id FROM new),
        ARRAY(SELECT json_build_array('decisions', outcome, {REASON}, count(*)) FROM new
              WHERE outcome IS NOT NULL GROUP BY outcome, {REASON})
        || ARRAY(SELECT json_build_array('reasons', reason ->> 'code', '', count(*))
                 FROM new, LATERAL jsonb_array_elements(after -> 'reasons') AS reason
                 WHERE action = 'order.submit' GROUP BY reason ->> 'code')
        || ARRAY(SELECT json_build_array('modes', after ->> 'trading_mode', '', count(*)) FROM new
                 WHERE action = 'mode.change' GROUP BY after ->> 'trading_mode')
        || ARRAY(SELECT json_build_array('venue', after ->> 'status', '', count(*)) FROM new
                 WHERE action = 'order.venue' AND was <> after ->> 'status' GROUP BY after ->> 'status'),
        ARRAY(SELECT json_build_array(outcome, slot, count(*), sum(waited)) FROM (
                  SELECT outcome, waited,
                         (SELECT count(*) FROM unnest(%(bounds)s::float8[]) AS bound WHERE bound < waited) AS slot
                  FROM (SELECT outcome, extract(epoch FROM (after ->> 'decided_at')::timestamptz
                                                           - orders.created_at)::float8 AS waited
                        FROM new JOIN orders
                            ON orders.id = CASE WHEN was = 'pending_approval' THEN subject::uuid END
                        WHERE outcome IS NOT NULL) AS decided) AS slotted
              GROUP BY outcome, slot)
    FROM place
"""  # noqa: S608 - made of constants
# How long orders waited, in seconds; the last slot is for what waited longer.
WAITED = (1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 14_400.0, 86_400.0)


@dataclass(frozen=True, slots=True)
class Figures:
    """How things stand. `next_expiry` is in how many seconds the first order expires, None where none waits;
    `at_venue` is how many orders are on their way or open, by status; `undelivered` is how many notices nobody has
    taken yet, each counted for each of its receivers, and then the age in seconds of the oldest; `unsealed_for` is
    that of the oldest event without a seal."""

    mode: str | None  # None where there is no configuration
    config_is_valid: bool
    waiting: int
    oldest_waits_for: float
    next_expiry: float | None
    at_venue: Mapping[str, int]
    lockouts: int
    undelivered: int
    undelivered_for: float
    unsealed_for: float


@dataclass(frozen=True, slots=True)
class Tally:
    """What was decided since somebody began to count. All of it can be written as JSON.

    `last` is the newest event that was counted, None before the beginning; `missing` are numbers before it that
    were not to be seen yet, and since when. `counts` are by kind, outcome and reason; of `waited`, by outcome, how
    many there are in each slot of WAITED, and then the seconds in all.
    """

    last: int | None
    missing: Mapping[str, float]
    counts: Mapping[str, int]
    waited: Mapping[str, list[float]]


NOTHING = Tally(None, {}, {}, {})


@contextmanager
def asking() -> Iterator[psycopg.Connection[Any]]:
    """A connection to ask on, which is closed whatever happens. Raises DBAPIError where there is none."""
    with closing(db.engines[FIGURES].raw_connection()) as connection:
        driver: Any = connection.driver_connection
        yield driver


def look(connection: psycopg.Connection[Any]) -> Figures:
    """How things stand now. Raises psycopg.Error."""
    row = connection.execute(LOOK).fetchone()
    if row is None:
        raise RuntimeError("the statement was to have a row")
    mode, stored, *standing = row
    is_valid = stored is not None and rules.read_config(stored)[1] is None
    return Figures(mode, is_valid, *standing)


def count(connection: psycopg.Connection[Any], tally: Tally) -> tuple[Tally, bool]:
    """The tally with what was decided since; and whether there may be more. Raises psycopg.Error.

    It begins with what comes after its first call. Where the record is shorter than it was, another one took its
    place, and it begins anew.
    """
    missing = [int(number) for number in tally.missing]
    given = {"last": tally.last or 0, "missing": missing, "bounds": list(WAITED)}
    if tally.last is None:
        return _from_here(connection, tally), False
    row = connection.execute(COUNT, given).fetchone()
    if row is None:
        raise RuntimeError("the statement was to have a row")
    newest, upto, now, found, not_seen, counted, waited = row
    if newest < tally.last:
        return _from_here(connection, tally), False
    late = {str(number) for number in found}
    still = {number: since for number, since in tally.missing.items() if number not in late}
    still |= {str(number): now for number in not_seen}
    waiting_for = {number: since for number, since in still.items() if now - since < ON_THE_WAY_FOR}
    return Tally(
        last=upto,
        missing=dict(list(waiting_for.items())[-MOST_MISSING:]),
        counts=_added(tally.counts, counted),
        waited=_waited(tally.waited, waited),
    ), upto < newest


def _from_here(connection: psycopg.Connection[Any], tally: Tally) -> Tally:
    row = connection.execute("SELECT coalesce(max(id), 0) FROM audit_events").fetchone()
    return Tally(int(row[0]) if row else 0, {}, tally.counts, tally.waited)


def _added(counts: Mapping[str, int], more: list[list[Any]]) -> dict[str, int]:
    sums = dict(counts)
    for kind, outcome, reason, number in more:
        key = f"{kind} {outcome} {reason}"
        sums[key] = sums.get(key, 0) + number
    return sums


def _waited(slots: Mapping[str, list[float]], more: list[list[Any]]) -> dict[str, list[float]]:
    sums = {outcome: list(numbers) for outcome, numbers in slots.items()}
    for outcome, slot, number, seconds in more:
        numbers = sums.setdefault(outcome, [0.0] * (len(WAITED) + 2))
        numbers[slot] += number
        numbers[-1] += seconds
    return sums


def of_kind(tally: Tally, kind: str) -> dict[tuple[str, str], int]:
    """The counts of one kind (`decisions`, `reasons`, `modes`, `venue`), by outcome and reason."""
    found = {}
    for key, number in tally.counts.items():
        which, outcome, reason = key.split(" ")
        if which == kind:
            found[outcome, reason] = number
    return found


MODES = tuple(mode.value for mode in TradingMode)
AT_VENUE = tuple(
    status.value
    for status in (
        OrderStatus.RELEASED,
        OrderStatus.SENDING,
        OrderStatus.UNKNOWN,
        OrderStatus.ACCEPTED,
        OrderStatus.PARTIALLY_FILLED,
    )
)
