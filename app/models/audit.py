"""The record: every change as one event, written in the transaction of the change itself."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import DDL, BigInteger, DateTime, Identity, Index, Text, event, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.extensions import Model


class AuditEvent(Model):
    """Who did what when. Rows are only ever added: a trigger refuses UPDATE, DELETE and TRUNCATE."""

    __tablename__ = "audit_events"
    __table_args__ = (
        Index(None, "action", "id"),
        Index("ix_audit_events_lower_actor_id", func.lower(text("actor")), "id"),
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

for statement in APPEND_ONLY:
    event.listen(AuditEvent.__table__, "after_create", DDL(statement))
