"""What is news to whoever looks at the desk: that something was written, or has ended by the clock.

What is written to the record is announced on CHANNEL by a trigger (app/models/audit.py), in the same transaction.
Two things are not, and are found by looking: orders that the gate decided by itself, and what ends with nobody
doing anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg

from app.db.transaction import look_up

CHANNEL = "countersign_state"  # hears nothing but that there is news

# Numbers are given out before the commit, so an event may become visible after a later one. Whatever becomes
# visible among the last events changes the newest of them, the oldest, or how many there are.
LOOK = """
    SELECT coalesce(newest, 0), (newest, oldest, number)::text, now(),
           least((SELECT min(expires_at) FROM symbol_lockouts WHERE expires_at > now()),
                 (SELECT min(expires_at) FROM orders WHERE status = 'pending_approval' AND expires_at > now()))
    FROM (SELECT max(id) AS newest, min(id) AS oldest, count(*) AS number
          FROM (SELECT id FROM audit_events ORDER BY id DESC LIMIT 200) AS last) AS record
"""


@dataclass(frozen=True, slots=True)
class Look:
    """The desk at the instant `now`, as far as it is news."""

    version: int  # `state_version` of /state
    written: str  # differs from that of another look when anything was written between them
    now: datetime
    next_end: datetime | None  # of the next lockout that ends, or order that expires

    def is_news_after(self, earlier: Look | None) -> bool:
        """Whether the desk looks different now."""
        if earlier is None or self.written != earlier.written:
            return True
        return earlier.next_end is not None and earlier.next_end <= self.now

    @property
    def seconds_to_next_end(self) -> float | None:
        return None if self.next_end is None else (self.next_end - self.now).total_seconds()


def look(connection: psycopg.Connection[Any]) -> Look:
    """On a connection that commits each statement by itself, so that `now` is of this statement."""
    row = connection.execute(LOOK).fetchone()
    if row is None:
        raise RuntimeError("the statement was to have a row")
    return Look(*row)


def version() -> int:
    """`state_version` of /state."""
    row = look_up("SELECT coalesce(max(id), 0) FROM audit_events", {})
    return int(row[0]) if row else 0
