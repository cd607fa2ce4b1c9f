"""Which database session holds an advisory lock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class LockHolder:
    """A database session that holds a lock. What the current role may not see of it is None."""

    pid: int
    application: str | None
    role: str | None
    address: str | None  # None also for a client on a Unix socket
    connected_at: datetime | None
    idle_seconds: float | None  # since its last statement ended; None while one runs

    @classmethod
    def from_row(cls, row: Sequence[Any]) -> LockHolder:
        return cls(*row)

    def __str__(self) -> str:
        words = [f"session {self.pid}"]
        if self.application:
            words.append(f'application "{self.application}"')
        if self.role:
            words.append(f"role {self.role}")
        if self.address:
            words.append(f"from {self.address}")
        if self.connected_at:
            words.append(f"connected since {self.connected_at:%Y-%m-%d %H:%M:%S%z}")
        if self.idle_seconds is not None:
            words.append(f"idle for {self.idle_seconds:.0f} s")
        return ", ".join(words)


def holder_query(key: int) -> str:
    """SQL for the session that holds the advisory lock `key` exclusively; its row makes a LockHolder."""
    return f"""
        SELECT locks.pid, nullif(sessions.application_name, ''), sessions.usename::text,
               host(sessions.client_addr), sessions.backend_start,
               CASE WHEN sessions.state LIKE 'idle%' THEN
                   greatest(0, extract(epoch FROM clock_timestamp() - sessions.state_change))::float8 END
        FROM pg_locks AS locks LEFT JOIN pg_stat_activity AS sessions ON sessions.pid = locks.pid
        WHERE locks.locktype = 'advisory' AND locks.granted AND locks.mode = 'ExclusiveLock'
            AND locks.database = (SELECT oid FROM pg_database WHERE datname = current_database())
            AND locks.classid = {key >> 32} AND locks.objid = {key & 0xFFFFFFFF} AND locks.objsubid = 1
    """  # noqa: S608 - made of a number
