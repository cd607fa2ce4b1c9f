"""Which process leads, that is, holds the leader's advisory lock and runs the background jobs."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from app.db.advisory_locks import LockHolder
from app.lib.outages import OutageLog
from app.lib.timestamps import rfc3339

log = logging.getLogger(__name__)

# A leader at work ends a statement on its connection about every second; its jobs take less than this.
STALLED_AFTER = 15.0  # seconds


class Election:
    """What this process knows of the leader: for its log, and for /readyz.

    A leader elsewhere is normal and logged once. A leader that has done nothing for a while is stopped, or its
    session was left behind without a client. No other process can lead then, which is logged as an outage.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._holder: LockHolder | None = None
        self._leads = False
        self._stalled = OutageLog(log, "the leader does nothing, and no other process can lead", clock=clock)

    @property
    def leads(self) -> bool:
        """Whether this process is the leader."""
        return self._leads

    def won(self, pid: int) -> None:
        """This process leads, by its session `pid`."""
        if not self._leads:
            log.info("this process leads the background jobs, by database session %d", pid)
        self._leads, self._holder = True, None
        self._stalled.succeeded(certainly=True)

    def lost(self) -> None:
        """This process does not lead any more, or cannot tell who leads."""
        self._leads, self._holder = False, None

    def seen(self, holder: LockHolder | None) -> None:
        """Another session holds the lock; None where it has just let go."""
        known, self._holder = self._holder, holder
        if holder is None:
            return
        if known is None or known.pid != holder.pid:
            log.info("another process leads the background jobs: %s", holder)
        if _is_stalled(holder):
            advice = "end it with SELECT pg_terminate_backend(pid) if its process is stopped or gone"
            self._stalled.failed(f"the lock is held by {holder}; {advice}")
        else:
            self._stalled.succeeded(certainly=True)

    def details(self) -> dict[str, Any]:
        """For /readyz: without addresses and roles, for anybody may read it."""
        if self._leads:
            return {"state": "this_process"}
        holder = self._holder
        if holder is None:
            return {"state": "unknown"}
        return {
            "state": "stalled" if _is_stalled(holder) else "another_process",
            "session": holder.pid,
            "application": holder.application,
            "connected_at": holder.connected_at and rfc3339(holder.connected_at),
            "idle_seconds": None if holder.idle_seconds is None else round(holder.idle_seconds),
        }


def _is_stalled(holder: LockHolder) -> bool:
    return holder.idle_seconds is not None and holder.idle_seconds > STALLED_AFTER


# One for a process, as the connection that holds the lock is.
election = Election()
