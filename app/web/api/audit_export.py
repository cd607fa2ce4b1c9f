"""Audit events as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Row

from app.lib.threadpool import in_slices
from app.services.audit import log

MAX_ROWS = 10_000  # of one answer
MAX_CHARACTERS = 8 * 1024 * 1024  # of one answer, exceeded by at most one event
BATCH = 1000  # events of one transaction; each has at most about 8 KiB unless it is large
# A spreadsheet evaluates a cell that begins with one of these as a formula.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def export(wanted: log.EventFilter, *, before_id: int | None, limit: int) -> tuple[bytes, int | None]:
    """The newest events as CSV in UTF-8, and the id before which to continue, None after the last event.

    The text is complete before it is sent: a slow client holds neither a transaction nor a slot.
    """
    written, last_id = io.StringIO(), before_id
    writer = csv.writer(written)
    writer.writerow(log.COLUMNS)
    for count, row in enumerate(in_slices(_rows(wanted, before_id, limit + 1))):
        if count == limit or written.tell() > MAX_CHARACTERS:
            return written.getvalue().encode(), last_id
        found = log.whole_row(row.id) if row.is_large else row
        writer.writerow(_cell(value) for value in found[: len(log.COLUMNS)])
        last_id = row.id
    return written.getvalue().encode(), None


def _rows(wanted: log.EventFilter, before_id: int | None, limit: int) -> Iterator[Row[Any]]:
    """Up to `limit` events, a batch per transaction."""
    while limit > 0:
        batch = log.rows(wanted, before_id=before_id, limit=min(limit, BATCH))
        yield from batch
        if len(batch) < BATCH:
            return
        before_id, limit = batch[-1].id, limit - BATCH


def _cell(value: str | int | None) -> str | int | None:
    """The value, with a leading apostrophe where a spreadsheet would evaluate it."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA_STARTS) else value
