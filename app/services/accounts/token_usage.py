"""When each token was last used, without a write on the path of an order.

Each process keeps the times in memory. It writes them once a minute (app/server/background.py) and before the
accounts page shows them, so a killed process loses at most a minute. No decision depends on them.
"""

from __future__ import annotations

import time

from flask import current_app
from sqlalchemy import text

from app.db.transaction import noting

EVERY = 60.0  # seconds

# Rows that another process is writing at this moment get its time, which is as good; so nobody waits for anybody.
WRITE = text("""
    WITH used AS (SELECT unnest(CAST(:tokens AS text[])) AS id, unnest(CAST(:ages AS float8[])) AS age),
    free AS MATERIALIZED (
        SELECT id, clock_timestamp() - make_interval(secs => age) AS at FROM tokens JOIN used USING (id)
        FOR NO KEY UPDATE OF tokens SKIP LOCKED
    )
    UPDATE tokens SET last_used_at = free.at FROM free
    WHERE tokens.id = free.id AND (last_used_at IS NULL OR last_used_at < free.at)
""")


class LastUsed:
    """What a process has not written down yet."""

    def __init__(self) -> None:
        self._noted: dict[str, float] = {}  # by token, on the monotonic clock

    def note(self, token_id: str) -> None:
        self._noted[token_id] = time.monotonic()

    def write(self) -> None:
        """Write down what was noted; what cannot be written now is kept for the next time."""
        noted, self._noted = self._noted, {}
        if not noted:
            return
        now = time.monotonic()
        try:
            with noting() as session:
                ages = [now - at for at in noted.values()]
                session.execute(WRITE, {"tokens": list(noted), "ages": ages})
        except BaseException:
            self._noted = noted | self._noted
            raise


def last_used() -> LastUsed:
    """The notes of this application."""
    found: LastUsed = current_app.extensions["last_used"]
    return found
