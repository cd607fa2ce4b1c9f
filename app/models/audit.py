"""The record: every change as one event, written in the transaction of the change itself."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    DDL,
    BigInteger,
    CheckConstraint,
    DateTime,
    Identity,
    Index,
    LargeBinary,
    Text,
    event,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.domain.instruments import KEY_SQL
from app.extensions import Model

# Events of orders and lockouts hold a ticker: in `after`, or of a removed lockout in `before`.
HAS_TICKER = "(starts_with(action, 'order.') OR starts_with(action, 'lockout.'))"
INSTRUMENT_KEY = KEY_SQL.format(ticker="coalesce(after ->> 'ticker', before ->> 'ticker')")


class AuditEvent(Model):
    """Who did what when. Rows are only ever added: a trigger refuses UPDATE, DELETE and TRUNCATE."""

    __tablename__ = "audit_events"
    __table_args__ = (
        Index(None, "action", "id"),
        Index("ix_audit_events_lower_actor_id", func.lower(text("actor")), "id"),
        Index(None, "subject", "id"),
        # Every spelling of an instrument. With the action, because most events are order submissions.
        Index(
            "ix_audit_events_instrument", text(INSTRUMENT_KEY), "action", "id", postgresql_where=text(HAS_TICKER)
        ),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=text("clock_timestamp()"))
    actor: Mapped[str] = mapped_column(Text)
    action: Mapped[str] = mapped_column(Text)
    subject: Mapped[str] = mapped_column(Text)
    before: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    after: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    note: Mapped[str | None] = mapped_column(Text)
    request_id: Mapped[str] = mapped_column(Text)


class AuditSeal(Model):
    """The seal of one event: a digest over it and over the seal before it. `position` counts from 1 without a gap.

    Seals are never changed or removed either.
    """

    __tablename__ = "audit_seals"
    __table_args__ = (CheckConstraint("length(digest) = 32", name="digest"),)

    position: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    event_id: Mapped[int] = mapped_column(BigInteger, unique=True)
    digest: Mapped[bytes] = mapped_column(LargeBinary)
    sealed_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=text("clock_timestamp()"))


# ENABLE ALWAYS: session_replication_role = replica would otherwise switch the trigger off.
APPEND_ONLY = (
    """
    CREATE FUNCTION audit_events_are_final() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION 'audit events are never changed or removed' USING ERRCODE = 'restrict_violation';
    END $$
    """,
    """
    CREATE TRIGGER audit_events_are_final BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_events
    FOR EACH STATEMENT EXECUTE FUNCTION audit_events_are_final()
    """,
    "ALTER TABLE audit_events ENABLE ALWAYS TRIGGER audit_events_are_final",
)

SEALS_APPEND_ONLY = (
    """
    CREATE TRIGGER audit_seals_are_final BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_seals
    FOR EACH STATEMENT EXECUTE FUNCTION audit_events_are_final()
    """,
    "ALTER TABLE audit_seals ENABLE ALWAYS TRIGGER audit_seals_are_final",
)

# Notify in the transaction itself, so that every writer is heard, the command too; many in one transaction are one
# notification. Orders that only the gate decided send none: NOTIFY serializes commits, and these are most writes.
# Listeners find those orders by polling (app/services/live/changes.py).
ANNOUNCED = (
    """
    CREATE FUNCTION audit_events_are_announced() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM pg_notify('countersign_state', '');
        RETURN NULL;
    END $$
    """,
    """
    CREATE TRIGGER audit_events_are_announced AFTER INSERT ON audit_events FOR EACH ROW
    WHEN (NEW.action <> 'order.submit' OR NEW.after ->> 'status' = 'pending_approval')
    EXECUTE FUNCTION audit_events_are_announced()
    """,
)

for statement in APPEND_ONLY + ANNOUNCED:
    event.listen(AuditEvent.__table__, "after_create", DDL(statement))
for statement in SEALS_APPEND_ONLY:
    event.listen(AuditSeal.__table__, "after_create", DDL(statement))
