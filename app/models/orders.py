"""Orders, from the moment an engine sent them to their end."""

from __future__ import annotations

import uuid
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    Identity,
    Index,
    Numeric,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.extensions import Model

AMOUNT = Numeric(27, 9)  # 18 digits before the point and 9 after it


class Order(Model):
    """An order as it was sent, with what was decided about it.

    `seq` is the order in which orders came in. `status` is what was written down last: whether an order that waits
    has expired is computed from `expires_at` and the database's clock.
    """

    __tablename__ = "orders"
    __table_args__ = (
        UniqueConstraint("account_id", "client_order_id"),
        CheckConstraint("length(client_order_id) BETWEEN 1 AND 128", name="client_order_id"),
        CheckConstraint("ticker ~ '^[A-Z0-9]+([./-][A-Z0-9]+)*$' AND length(ticker) <= 20", name="ticker"),
        CheckConstraint("side IN ('buy', 'sell')", name="side"),
        CheckConstraint("num_nonnulls(qty, notional) = 1", name="qty_or_notional"),
        # least() passes nulls over, and there is always a quantity or a notional.
        CheckConstraint(
            "least(qty, notional, limit_price, stop_price, reference_price) > 0"
            " AND greatest(qty, notional, limit_price, stop_price, reference_price) < 'NaN'",
            name="positive",
        ),
        CheckConstraint("type IN ('market', 'limit', 'stop', 'stop_limit')", name="type"),
        CheckConstraint(
            "(limit_price IS NOT NULL) = (type IN ('limit', 'stop_limit'))"
            " AND (stop_price IS NOT NULL) = (type IN ('stop', 'stop_limit'))",
            name="prices",
        ),
        CheckConstraint("time_in_force IN ('day', 'gtc', 'ioc', 'fok', 'opg', 'cls')", name="time_in_force"),
        CheckConstraint("signal_layer IN ('macro', 'competitive')", name="signal_layer"),
        CheckConstraint("trading_mode IN ('disabled', 'paper', 'live')", name="trading_mode"),
        CheckConstraint(
            "status IN ('blocked', 'pending_approval', 'released', 'rejected', 'expired', 'canceled')",
            name="status",
        ),
        CheckConstraint("(status = 'pending_approval') = (decided_at IS NULL)", name="decided"),
        CheckConstraint("(decided_at IS NULL) = (decided_by IS NULL)", name="decider"),
        CheckConstraint("status <> 'pending_approval' OR expires_at IS NOT NULL", name="deadline"),
        # Python cannot read a year beyond 9999.
        CheckConstraint("expires_at > created_at AND expires_at < '9999-01-01+00'", name="expires_at"),
        # The last line: whatever a mistake writes, nothing is released while halted or too late.
        CheckConstraint(
            "status <> 'released'"
            " OR trading_mode <> 'disabled' AND (expires_at IS NULL OR decided_at < expires_at)",
            name="released",
        ),
        CheckConstraint(
            "status <> 'expired' OR expires_at IS NOT NULL AND decided_at = expires_at", name="expired"
        ),
        CheckConstraint(
            "jsonb_typeof(reasons) = 'array' AND (status = 'blocked') = (reasons <> '[]'::jsonb)", name="reasons"
        ),
        CheckConstraint("status <> 'rejected' OR decision_note IS NOT NULL", name="rejected"),
        CheckConstraint(
            "length(strategy) <= 200 AND length(rationale) <= 4000 AND length(decision_note) <= 500", name="words"
        ),
        # What waits: flat however many orders there have been.
        Index("ix_orders_pending", "expires_at", "id", postgresql_where=text("status = 'pending_approval'")),
        # What was decided last.
        Index("ix_orders_decided", "decided_at", "seq", postgresql_where=text("status <> 'pending_approval'")),
        Index("ix_orders_rate", "account_id", "created_at", postgresql_where=text("status <> 'blocked'")),
        Index(None, "ticker", "seq"),
        Index(None, "status", "seq"),
        Index(None, "account_id", "seq"),
    )

    seq: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    id: Mapped[uuid.UUID] = mapped_column(Uuid, unique=True, server_default=text("gen_random_uuid()"))
    # No foreign key: it would lock the account's row for every order of its engine, shared with all others that
    # are under way, and accounts are never removed.
    account_id: Mapped[int] = mapped_column(BigInteger)
    engine: Mapped[str] = mapped_column(Text)
    client_order_id: Mapped[str] = mapped_column(Text)
    ticker: Mapped[str] = mapped_column(Text)
    side: Mapped[str] = mapped_column(Text)
    qty: Mapped[Decimal | None] = mapped_column(AMOUNT)
    notional: Mapped[Decimal | None] = mapped_column(AMOUNT)
    type: Mapped[str] = mapped_column(Text)
    time_in_force: Mapped[str] = mapped_column(Text)
    limit_price: Mapped[Decimal | None] = mapped_column(AMOUNT)
    stop_price: Mapped[Decimal | None] = mapped_column(AMOUNT)
    reference_price: Mapped[Decimal | None] = mapped_column(AMOUNT)
    signal_layer: Mapped[str | None] = mapped_column(Text)
    strategy: Mapped[str | None] = mapped_column(Text)
    rationale: Mapped[str | None] = mapped_column(Text)
    trading_mode: Mapped[str] = mapped_column(Text)
    status: Mapped[str] = mapped_column(Text)
    reasons: Mapped[list[dict[str, Any]]] = mapped_column(JSONB, server_default=text("'[]'::jsonb"))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=text("clock_timestamp()"))
    expires_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    decided_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    decided_by: Mapped[str | None] = mapped_column(Text)
    decision_note: Mapped[str | None] = mapped_column(Text)
