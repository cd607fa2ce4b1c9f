"""What people are to be told: an outbox, written in the transaction of the event itself, and who is to be told."""

from __future__ import annotations

import uuid
from datetime import datetime

from sqlalchemy import (
    DDL,
    BigInteger,
    CheckConstraint,
    DateTime,
    Identity,
    Index,
    Integer,
    Text,
    Uuid,
    event,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from app.extensions import Model
from app.models.audit import AuditEvent


class NoticeReceiver(Model):
    """An address that people are told at, and how it fares. The address itself, a secret, is in the environment.

    Nothing is written to the outbox where there is none. Nobody looks before `try_at`; `claim` is whose turn it is
    to speak to it until then. `failing_since` and `last_error` are None once it has taken a message.
    """

    __tablename__ = "notice_receivers"

    key: Mapped[str] = mapped_column(Text, primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    kinds: Mapped[list[str]] = mapped_column(ARRAY(Text))
    seen_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=text("clock_timestamp()"))
    try_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=text("clock_timestamp()"))
    claim: Mapped[uuid.UUID | None] = mapped_column(Uuid)
    tries: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    told_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    failing_since: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    last_error: Mapped[str | None] = mapped_column(Text)


class Notice(Model):
    """One event for one receiver, until it is `settled_at`: told, overtaken by what came after it, or given up.

    The facts are those of the audit event `event_id`; of what has none (an order that is about to expire), those
    of `subject`.
    """

    __tablename__ = "notices"
    __table_args__ = (
        CheckConstraint("outcome IN ('told', 'overtaken', 'given_up')", name="outcome"),
        CheckConstraint("(settled_at IS NULL) = (outcome IS NULL)", name="settled"),
        # What is still to be told: flat however much there was.
        Index("ix_notices_undelivered", "receiver", "id", postgresql_where=text("settled_at IS NULL")),
        # Of each order it is said once that it is about to expire.
        Index(
            "uq_notices_expiring",
            "receiver",
            "subject",
            unique=True,
            postgresql_where=text("kind = 'order_expiring'"),
        ),
        Index(None, "created_at"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    # No foreign keys: they would lock rows for acts that have nothing to wait for.
    receiver: Mapped[str] = mapped_column(Text)
    kind: Mapped[str] = mapped_column(Text)
    subject: Mapped[str] = mapped_column(Text)
    event_id: Mapped[int | None] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=text("clock_timestamp()"))
    settled_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    outcome: Mapped[str | None] = mapped_column(Text)
    why: Mapped[str | None] = mapped_column(Text)


# Part of the function that announces events (app/models/audit.py), which is not called at all for orders that the
# gate decided by itself: on the path of those nothing is added. Of the others it looks into an empty table where
# nobody is to be told, and writes a row for each receiver where somebody is. Whoever writes the event, the
# command in a shell without NOTIFY_URLS too, has it told. With the rights of the owner: a halt must not fail
# because a role has not been given those of new tables yet.
ANNOUNCED_AND_TOLD = """
    CREATE OR REPLACE FUNCTION audit_events_are_announced() RETURNS trigger LANGUAGE plpgsql
    SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    BEGIN
        PERFORM pg_notify('countersign_state', '');
        IF NEW.action IN ('order.submit', 'order.expire', 'order.unknown', 'mode.change', 'lockout.create') THEN
            INSERT INTO notices (receiver, kind, subject, event_id)
            SELECT key, told.kind, NEW.subject, NEW.id
            FROM (SELECT CASE NEW.action
                    WHEN 'order.submit' THEN 'order_waits'
                    WHEN 'order.expire' THEN 'order_expired'
                    WHEN 'order.unknown' THEN 'order_unknown'
                    WHEN 'lockout.create' THEN 'lockout'
                    ELSE replace(NEW.after ->> 'trading_mode', 'disabled', 'halted')
                  END AS kind) AS told, notice_receivers
            WHERE told.kind = ANY (kinds);
        END IF;
        RETURN NULL;
    END $$
"""

# After the function that it takes the place of.
event.listen(AuditEvent.__table__, "after_create", DDL(ANNOUNCED_AND_TOLD))
