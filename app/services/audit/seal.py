"""The seals of the record: a chain of SHA-256 digests, one for each event, built off the path of an order.

Each digest covers its event and the digest before it, so nothing that is sealed can be altered, removed, inserted
or reordered without the chain breaking at that place; and whoever rewrites the whole chain is caught by a head
that was kept elsewhere. (Schneier and Kelsey, Secure Audit Logs to Support Computer Forensics, 1999.)
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from psycopg.errors import LockNotAvailable
from sqlalchemy import Result, Row, select, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from app.db.transaction import between_writers, noting, reading
from app.models import AuditSeal
from app.services.audit import log
from app.services.errors import Invalid

SEALERS_LOCK = 0x5365616C  # "Seal": one sealer at a time
BATCH = 500  # a few milliseconds of hashing: the processes that seal answer requests too
MOST_AT_ONCE = 5000

# What a seal covers, as text that depends neither on the settings of a session nor on a dump and restore: jsonb
# and numeric have one way of being written, and an instant is its seconds since 1970.
COVERED = """
    id, extract(epoch FROM created_at)::text AS created_at, actor, action, subject,
    before::text AS before, after::text AS after, note, request_id
"""
TO_SEAL = f"SELECT {COVERED} FROM audit_events WHERE id > :after AND id <= :last ORDER BY id LIMIT {BATCH}"  # noqa: S608 - made of constants
# now() is the same throughout a transaction, so that it could be hashed before it is written.
WRITE = """
    INSERT INTO audit_seals (position, event_id, digest, sealed_at)
    SELECT :position + number, event_id, decode(digest, 'hex'), now()
    FROM unnest(CAST(:ids AS bigint[]), CAST(:digests AS text[])) WITH ORDINALITY made (event_id, digest, number)
"""
EVENTS = f"SELECT {COVERED} FROM audit_events ORDER BY id"  # noqa: S608 - likewise
SEALS = """
    SELECT position, event_id, digest, extract(epoch FROM sealed_at)::text AS sealed_at
    FROM audit_seals ORDER BY position
"""
COUNT_UNSEALED = """
    SELECT count(*) FROM audit_events WHERE id > (SELECT coalesce(max(event_id), 0) FROM audit_seals)
"""
WRITTEN_HEAD = re.compile(r"(\d{1,19}):([0-9a-f]{64})", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Head:
    """The end of the chain: the last sealed event and its digest. Written as `ID:HEX`."""

    event_id: int
    digest: bytes

    def __str__(self) -> str:
        return f"{self.event_id}:{self.digest.hex()}"

    @classmethod
    def parse(cls, written: str) -> Head:
        """Raises Invalid when `written` is not what `audit head` prints."""
        found = WRITTEN_HEAD.fullmatch(written.strip())
        if found is None:
            raise Invalid({"head": ["must be ID:HEX, as `audit head` prints it"]})
        return cls(int(found[1]), bytes.fromhex(found[2]))


START = Head(0, bytes(32))


@dataclass(frozen=True, slots=True)
class Verdict:
    """What `verify` found: how many events are sealed and whole, and the head of these.

    `fault` says what is wrong with the event after them, None when there is none; `unsealed` events came after all
    that is sealed, and are not covered yet.
    """

    sealed: int = 0
    head: Head = START
    fault: str | None = None
    unsealed: int = 0


def seal(most: int = MOST_AT_ONCE) -> Head | None:
    """Seal the oldest events that are not sealed yet, about `most` of them.

    The new head; None when there was nothing to seal, or no instant between those who write.
    """
    with reading() as session:
        if log.latest_id(session) <= _end(session)[1].event_id:
            return None  # and nobody had to wait
    last, head = _last_settled(), None
    for _ in range(0, most, BATCH):
        sealed = _seal_batch(last)
        if sealed is None:
            break
        head = sealed
    return head


def _last_settled() -> int:
    """The newest event before which none is still on its way: numbers are given out before the commit, so that a
    later one may be seen earlier. 0 when it cannot be told just now."""
    try:
        with between_writers() as session:
            return log.latest_id(session)
    except OperationalError as error:
        if isinstance(error.orig, LockNotAvailable):
            return 0
        raise


def _seal_batch(last: int) -> Head | None:
    with noting() as session:
        session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": SEALERS_LOCK})
        position, head = _end(session)
        events = session.execute(text(TO_SEAL), {"after": head.event_id, "last": last}).all()
        if not events:
            return None
        sealed_at = session.execute(text("SELECT extract(epoch FROM now())::text")).scalar_one()
        seals = []
        for event in events:
            head = Head(event.id, digest(head.digest, sealed_at, event))
            seals.append(head)
        columns = {"ids": [seal.event_id for seal in seals], "digests": [seal.digest.hex() for seal in seals]}
        session.execute(text(WRITE), {"position": position, **columns})
        return head


def digest(previous: bytes, sealed_at: str, event: Row[Any]) -> bytes:
    """The seal of an event after the seal before it. What is sealed stays sealed: this can never change."""
    return hashlib.sha256(previous + json.dumps([sealed_at, *event], separators=(",", ":")).encode()).digest()


def _end(session: Session) -> tuple[int, Head]:
    query = select(AuditSeal.position, AuditSeal.event_id, AuditSeal.digest).order_by(AuditSeal.position.desc())
    found = session.execute(query.limit(1)).one_or_none()
    return (found.position, Head(found.event_id, found.digest)) if found else (0, START)


def head() -> Head:
    """The end of the chain, to be kept elsewhere; `0:000…` when nothing is sealed."""
    with reading() as session:
        return _end(session)[1]


def verify(kept: Head | None = None) -> Verdict:
    """Walk the whole record; name the first event that was altered, removed, inserted or reordered.

    `kept` is a head from elsewhere: the chain must still pass through it. A million events take no more memory
    than a few do.
    """
    with reading() as session:
        with _stream(session, EVENTS) as events, _stream(session, SEALS) as seals:
            verdict = _walk(iter(events), iter(seals), kept)
        return replace(verdict, unsealed=session.execute(text(COUNT_UNSEALED)).scalar_one())


def _walk(events: Iterator[Row[Any]], seals: Iterator[Row[Any]], kept: Head | None) -> Verdict:
    sealed, head = 0, START
    passed = kept in (None, START)
    event = next(events, None)
    for seal in seals:
        fault = _fault(sealed + 1, head, seal, event)
        if fault or event is None:
            return Verdict(sealed, head, fault)
        sealed, head = sealed + 1, Head(event.id, seal.digest)
        if kept and not passed and head.event_id >= kept.event_id:
            passed = head == kept
            if not passed:
                return Verdict(sealed, head, f"event {kept.event_id} is not that of the head that was kept")
        event = next(events, None)
    if event is not None and event.id <= head.event_id:
        return Verdict(sealed, head, f"event {event.id} is there twice")
    if kept and not passed:
        lost = f"what came after event {head.event_id} was removed, up to the head that was kept: {kept.event_id}"
        return Verdict(sealed, head, lost)
    return Verdict(sealed, head)


def _fault(position: int, before: Head, seal: Row[Any], event: Row[Any] | None) -> str | None:
    """Why `seal` is not the one at `position`, that of `event`, the next event after `before`."""
    if event is None or event.id > seal.event_id:
        return f"event {seal.event_id} was removed, or its seal was moved"
    if event.id < seal.event_id:
        return f"event {event.id} was inserted, or its seal was removed or moved"
    if seal.position != position:
        return (
            f"what was between event {before.event_id} and event {event.id} was removed, or seals were renumbered"
        )
    if seal.digest != digest(before.digest, seal.sealed_at, event):
        return f"event {event.id} is not what was sealed: it was altered or reordered, or its seal was"
    return None


def _stream(session: Session, query: str) -> Result[Any]:
    """The rows one by one, from a cursor of the server: a table may be larger than the memory."""
    return session.execute(text(query), execution_options={"yield_per": 2000})
