"""Orders, from the moment an engine sent them to their end."""

from __future__ import annotations

import uuid
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    DDL,
    BigInteger,
    DateTime,
    Identity,
    Index,
    Integer,
    Numeric,
    Text,
    UniqueConstraint,
    Uuid,
    event,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.domain.instruments import MAX_TICKER_LENGTH, TICKER_PATTERN
from app.extensions import Model
from app.models.instruments import INSTRUMENT_KEY

AMOUNT = Numeric(27, 9)  # 18 digits before the point and 9 after it

# Written out wherever it is asked for, so that the planner finds the index. A released order that goes to no venue
# is its engine's to execute, so nobody here knows of its end.
CHANGING = "('pending_approval', 'released', 'sending', 'unknown', 'accepted', 'partially_filled')"
MAY_CHANGE = f"status IN {CHANGING}"
HAS_ENDED = f"status NOT IN {CHANGING}"
OF_AN_ENGINE = ("account_id", "side", "created_at", "seq")


class Order(Model):
    """An order as it was sent, with what was decided about it.

    `seq` is the order in which orders came in. `status` is what was written down last: whether an order that waits
    has expired is computed from `expires_at` and the database's clock.
    """

    __tablename__ = "orders"
    __table_args__ = (
        UniqueConstraint("account_id", "client_order_id"),
        # What waits: flat however many orders there have been.
        Index("ix_orders_pending", "expires_at", "id", postgresql_where=text("status = 'pending_approval'")),
        # What was decided last.
        Index("ix_orders_decided", "decided_at", "seq", postgresql_where=text("status <> 'pending_approval'")),
        # What is on its way to a venue, and what is open there.
        Index(
            "ix_orders_to_send",
            "try_at",
            postgresql_where=text("send_by IS NOT NULL AND status IN ('released', 'sending', 'unknown')"),
        ),
        Index("ix_orders_open", "seq", postgresql_where=text("status IN ('accepted', 'partially_filled')")),
        Index("ix_orders_replaces", "replaces", postgresql_where=text("replaces IS NOT NULL")),
        Index("ix_orders_rate", "account_id", "created_at", postgresql_where=text("status <> 'blocked'")),
        # An engine's own, by when they came in: each order is in one of the two.
        Index("ix_orders_changing", *OF_AN_ENGINE, postgresql_where=text(MAY_CHANGE)),
        Index("ix_orders_ended", *OF_AN_ENGINE, postgresql_where=text(HAS_ENDED)),
        # Every spelling of an instrument.
        Index("ix_orders_instrument", text(INSTRUMENT_KEY), "seq"),
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
    # Approved by a person who controls the engine, which SELF_APPROVAL allowed.
    self_approved: Mapped[bool] = mapped_column(server_default=text("false"))

    # Of those that are bound for a venue: until when it may be sent, when it was, and when somebody looks next.
    send_by: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    sent_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    try_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    tries: Mapped[int] = mapped_column(Integer, server_default=text("0"))
    # What the venue says of it.
    venue_id: Mapped[str | None] = mapped_column(Text)
    venue_words: Mapped[str | None] = mapped_column(Text)
    venue_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    filled_qty: Mapped[Decimal | None] = mapped_column(AMOUNT)
    filled_avg_price: Mapped[Decimal | None] = mapped_column(AMOUNT)
    cancel_asked_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    # The order whose place it is to take at the venue.
    replaces: Mapped[uuid.UUID | None] = mapped_column(Uuid)


# What must be so of every order, whatever a mistake writes; NULL is no breach. In one function, because PostgreSQL
# reads the tree of each CHECK anew for every statement, and a function once for a connection: with these as twenty
# CHECKs an order took half as long again to write (docs/PERFORMANCE.md).
SOUND = {
    "client_order_id": "length(o.client_order_id) BETWEEN 1 AND 128",
    "ticker": f"o.ticker ~ '{TICKER_PATTERN}' AND length(o.ticker) <= {MAX_TICKER_LENGTH}",
    "side": "o.side IN ('buy', 'sell')",
    "qty_or_notional": "num_nonnulls(o.qty, o.notional) = 1",
    # least() passes nulls over, and there is always a quantity or a notional.
    "positive": """
        least(o.qty, o.notional, o.limit_price, o.stop_price, o.reference_price) > 0
        AND greatest(o.qty, o.notional, o.limit_price, o.stop_price, o.reference_price) < 'NaN'
    """,
    "type": "o.type IN ('market', 'limit', 'stop', 'stop_limit')",
    "prices": """
        (o.limit_price IS NOT NULL) = (o.type IN ('limit', 'stop_limit'))
        AND (o.stop_price IS NOT NULL) = (o.type IN ('stop', 'stop_limit'))
    """,
    "time_in_force": "o.time_in_force IN ('day', 'gtc', 'ioc', 'fok', 'opg', 'cls')",
    "signal_layer": "o.signal_layer IN ('macro', 'competitive')",
    "trading_mode": "o.trading_mode IN ('disabled', 'paper', 'live')",
    "status": """
        o.status IN ('blocked', 'pending_approval', 'released', 'rejected', 'expired', 'canceled', 'sending',
        'unknown', 'accepted', 'partially_filled', 'filled', 'replaced', 'venue_rejected', 'venue_canceled',
        'venue_expired')
    """,
    "decided": "(o.status = 'pending_approval') = (o.decided_at IS NULL)",
    "decider": "(o.decided_at IS NULL) = (o.decided_by IS NULL)",
    "deadline": "o.status <> 'pending_approval' OR o.expires_at IS NOT NULL",
    # Python cannot read a year beyond 9999.
    "expires_at": "o.expires_at > o.created_at AND o.expires_at < '9999-01-01+00'",
    # The last line: nothing is released, or goes on, while halted or too late; but what the venue has, it has.
    "released": """
        o.status IN ('blocked', 'pending_approval', 'rejected', 'expired', 'canceled')
        OR o.trading_mode <> 'disabled'
        AND (o.expires_at IS NULL OR o.decided_at < o.expires_at OR o.venue_id IS NOT NULL)
    """,
    "expired": "o.status <> 'expired' OR o.expires_at IS NOT NULL AND o.decided_at = o.expires_at",
    "reasons": """
        jsonb_typeof(o.reasons) = 'array'
        AND (o.status = 'canceled' OR (o.status = 'blocked') = (o.reasons <> '[]'::jsonb))
    """,
    "rejected": "o.status <> 'rejected' OR o.decision_note IS NOT NULL",
    "words": "length(o.strategy) <= 200 AND length(o.rationale) <= 4000 AND length(o.decision_note) <= 500",
    # Nothing goes to a venue that was not bound for it, and nothing before it was written down that it goes.
    "sending": "o.status <> 'sending' OR o.send_by IS NOT NULL AND o.sent_at IS NOT NULL",
    "send_by": "o.sent_at <= o.send_by",
    "filled": "o.filled_qty >= 0 AND o.filled_avg_price >= 0",
}
WHICH_IS_BROKEN = " ".join(
    f"WHEN ({' '.join(rule.split())}) IS FALSE THEN '{name}'" for name, rule in SOUND.items()
)
ORDER_IS_SOUND = f"""
    CREATE FUNCTION order_is_sound(o orders) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$
    DECLARE
        broken text := CASE {WHICH_IS_BROKEN} END;
    BEGIN
        IF broken IS NOT NULL THEN
            RAISE check_violation USING
                MESSAGE = 'the order breaks the rule ' || broken,
                TABLE = 'orders', CONSTRAINT = 'ck_orders_' || broken;
        END IF;
        RETURN true;
    END $$
"""
HELD_TO_IT = "ALTER TABLE orders ADD CONSTRAINT ck_orders_sound CHECK (order_is_sound(orders))"

for statement in (ORDER_IS_SOUND, HELD_TO_IT):
    event.listen(Order.__table__, "after_create", DDL(statement))
