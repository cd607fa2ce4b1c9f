"""Symbol lockouts. A row holds until `expires_at`; removing one deletes it, and the audit trail keeps it."""

from __future__ import annotations

import uuid
from datetime import datetime

from sqlalchemy import CheckConstraint, DateTime, Index, Text, Uuid, text
from sqlalchemy.orm import Mapped, mapped_column

from app.domain.instruments import EVERY_SYMBOL, MAX_TICKER_LENGTH, TICKER_PATTERN
from app.extensions import Model
from app.models.instruments import INSTRUMENT_KEY


class SymbolLockout(Model):
    """A ticker, or `*` for every symbol, that may not be traded until `expires_at` (exclusive)."""

    __tablename__ = "symbol_lockouts"
    __table_args__ = (
        CheckConstraint(f"ticker = '{EVERY_SYMBOL}' OR ticker ~ '{TICKER_PATTERN}'", name="ticker_form"),
        CheckConstraint(f"length(ticker) BETWEEN 1 AND {MAX_TICKER_LENGTH}", name="ticker_length"),
        CheckConstraint(r"length(reason) <= 500 AND reason ~ '\S'", name="reason"),
        CheckConstraint("lockout_type IN ('manual', 'news_shock', 'cooldown')", name="lockout_type"),
        # Python cannot read a year beyond 9999, and extending adds up.
        CheckConstraint("expires_at > created_at AND expires_at < '9999-01-01+00'", name="expires_at"),
        # The gate's look-up, which finds every spelling: flat however many ended rows there are.
        Index("ix_symbol_lockouts_instrument", text(INSTRUMENT_KEY), "expires_at"),
        Index(None, "expires_at", "id"),
    )

    id: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True, server_default=text("gen_random_uuid()"))
    ticker: Mapped[str] = mapped_column(Text)
    reason: Mapped[str] = mapped_column(Text)
    lockout_type: Mapped[str] = mapped_column(Text, server_default=text("'manual'"))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=text("clock_timestamp()"))
    created_by: Mapped[str] = mapped_column(Text)
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
