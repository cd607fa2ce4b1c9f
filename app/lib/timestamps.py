"""How instants are written."""

from __future__ import annotations

from datetime import UTC, datetime

# `rfc3339` in SQL.
RFC3339 = """to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""


def rfc3339(instant: datetime) -> str:
    """The instant in UTC with microseconds and `Z`, as in `2026-03-01T14:30:00.000000Z`."""
    return instant.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
