"""The seals of the record: a chain of SHA-256 digests, one for each event, built off the path of an order.

Each digest covers its event and the digest before it, so nothing that is sealed can be altered, removed, inserted
or reordered without the chain breaking at that place; and whoever rewrites the whole chain is caught by a head
that was kept elsewhere. (Schneier and Kelsey, Secure Audit Logs to Support Computer Forensics, 1999.)
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, insert, select, text
from sqlalchemy.orm import Session

from app import strict_json
from app.desk.errors import Invalid
from app.desk.times import rfc3339
from app.desk.transaction import changing_rules, reading, recording
from app.models import AuditSeal

GENESIS = bytes(32)
BATCH = 2000
SEALERS_LOCK = 0x5365616C  # "Seal": one sealer at a time

EVENTS = """
    SELECT id, created_at, actor, action, subject, before::text AS before, after::text AS after, note, request_id
    FROM audit_events WHERE id > :after AND id <= :last ORDER BY id LIMIT :most
"""


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
        number, _, digest = written.strip().partition(":")
        try:
            head = cls(int(number), bytes.fromhex(digest))
        except ValueError:
            raise Invalid({"head": ["must be ID:HEX, as `audit head` prints it"]}) from None
        if len(head.digest) != 32:
            raise Invalid({"head": ["must have a digest of 64 hexadecimal digits"]})
        return head


@dataclass(frozen=True, slots=True)
class Verdict:
    """What `verify` found. `fault` is None when the record is whole; `unsealed` events are not covered yet."""

    sealed: int
    unsealed: int
    head: Head
    fault: str | None = None


def digest(previous: bytes, event: Row[Any]) -> bytes:
    """The seal of an event after the seal before it. JSONB's own text is canonical, also after a restore."""
    values = [
        event.id, rfc3339(event.created_at), event.actor, event.action, event.subject,
        event.before, event.after, event.note, event.request_id,
    ]  # fmt: skip
    return hashlib.sha256(previous + strict_json.dumps(values).encode()).digest()


def seal() -> Head | None:
    """Seal what is not sealed yet; the new head, or None when there was nothing to do."""
    # Whoever writes events holds the lock shared: once it was ours alone, no earlier event is still on its way.
    with changing_rules() as session:
        last = session.scalar(text("SELECT max(id) FROM audit_events")) or 0
    head = None
    while (sealed := _seal_batch(last)) is not None:
        head = sealed
    return head


def _seal_batch(last: int) -> Head | None:
    with recording() as session:
        session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": SEALERS_LOCK})
        position, head = _end(session)
        events = session.execute(text(EVENTS), {"after": head.event_id, "last": last, "most": BATCH}).all()
        if not events:
            return None
        seals = []
        for event in events:
            position += 1
            head = Head(event.id, digest(head.digest, event))
            seals.append({"position": position, "event_id": head.event_id, "digest": head.digest})
        session.execute(insert(AuditSeal), seals)
        return head


def _end(session: Session) -> tuple[int, Head]:
    found = session.execute(
        select(AuditSeal.position, AuditSeal.event_id, AuditSeal.digest)
        .order_by(AuditSeal.position.desc())
        .limit(1)
    ).one_or_none()
    return (found.position, Head(found.event_id, found.digest)) if found else (0, Head(0, GENESIS))


def head() -> Head:
    """The end of the chain, to be kept elsewhere; `0:000…` when nothing is sealed."""
    with reading() as session:
        return _end(session)[1]


def verify(kept: Head | None = None) -> Verdict:
    """Walk the whole chain; names the first event that was altered, removed, inserted or reordered.

    `kept` is a head from elsewhere: the chain must still pass through it.
    """
    with reading() as session:
        count, end = _end(session)
        total = session.scalar(text("SELECT count(*) FROM audit_events WHERE id > :id"), {"id": end.event_id}) or 0
        fault = _first_fault(session, end, kept)
        return Verdict(sealed=count, unsealed=int(total), head=end, fault=fault)


def _first_fault(session: Session, end: Head, kept: Head | None) -> str | None:
    previous = GENESIS
    passed_kept = kept is None or kept.event_id == 0
    events = _stream(session, end)
    event = next(events, None)
    for position, seal in enumerate(_seals(session), 1):
        if seal.position != position:
            return f"the seal at position {position} was removed: event {seal.event_id} does not follow"
        if event is None or event.id > seal.event_id:
            return f"event {seal.event_id} was removed"
        if event.id < seal.event_id:
            return f"event {event.id} was inserted, or its seal removed"
        previous = digest(previous, event)
        if previous != seal.digest:
            return f"event {event.id} was altered or reordered"
        if kept is not None and kept.event_id == event.id:
            if kept.digest != previous:
                return f"the head kept elsewhere does not match at event {event.id}: the chain was rewritten"
            passed_kept = True
        event = next(events, None)
    if event is not None:
        return f"event {event.id} was inserted, or its seal removed"
    if not passed_kept and kept is not None:
        return f"event {kept.event_id}, the head kept elsewhere, was removed"
    return None


def _seals(session: Session) -> Iterator[Row[Any]]:
    position = 0
    query = "SELECT position, event_id, digest FROM audit_seals WHERE position > :p ORDER BY position LIMIT :most"
    while rows := session.execute(text(query), {"p": position, "most": BATCH}).all():
        yield from rows
        position = rows[-1].position


def _stream(session: Session, end: Head) -> Iterator[Row[Any]]:
    """The events that ought to be sealed, in order."""
    after = 0
    rows: Sequence[Row[Any]]
    while rows := session.execute(text(EVENTS), {"after": after, "last": end.event_id, "most": BATCH}).all():
        yield from rows
        after = rows[-1].id
