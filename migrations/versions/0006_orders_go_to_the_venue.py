"""Released orders go on to a venue, where one is connected: until when, how often tried, and what is known of them."""

from collections.abc import Mapping

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

COLUMNS = {
    "send_by": "timestamptz",
    "sent_at": "timestamptz",
    "try_at": "timestamptz",
    "tries": "integer NOT NULL DEFAULT 0",
    "venue_id": "text",
    "venue_words": "text",
    "filled_qty": "numeric(27, 9)",
    "filled_avg_price": "numeric(27, 9)",
    "cancel_asked_at": "timestamptz",
    "replaces": "uuid",
}
SOUND_BEFORE = {
    "client_order_id": "length(o.client_order_id) BETWEEN 1 AND 128",
    "ticker": "o.ticker ~ '^[A-Z0-9]+([./-][A-Z0-9]+)*$' AND length(o.ticker) <= 20",
    "side": "o.side IN ('buy', 'sell')",
    "qty_or_notional": "num_nonnulls(o.qty, o.notional) = 1",
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
    "status": "o.status IN ('blocked', 'pending_approval', 'released', 'rejected', 'expired', 'canceled')",
    "decided": "(o.status = 'pending_approval') = (o.decided_at IS NULL)",
    "decider": "(o.decided_at IS NULL) = (o.decided_by IS NULL)",
    "deadline": "o.status <> 'pending_approval' OR o.expires_at IS NOT NULL",
    "expires_at": "o.expires_at > o.created_at AND o.expires_at < '9999-01-01+00'",
    "released": """
        o.status <> 'released'
        OR o.trading_mode <> 'disabled' AND (o.expires_at IS NULL OR o.decided_at < o.expires_at)
    """,
    "expired": "o.status <> 'expired' OR o.expires_at IS NOT NULL AND o.decided_at = o.expires_at",
    "reasons": "jsonb_typeof(o.reasons) = 'array' AND (o.status = 'blocked') = (o.reasons <> '[]'::jsonb)",
    "rejected": "o.status <> 'rejected' OR o.decision_note IS NOT NULL",
    "words": "length(o.strategy) <= 200 AND length(o.rationale) <= 4000 AND length(o.decision_note) <= 500",
}

SOUND = SOUND_BEFORE | {
    "status": """
        o.status IN ('blocked', 'pending_approval', 'released', 'rejected', 'expired', 'canceled', 'sending',
            'unknown', 'accepted', 'partially_filled', 'filled', 'replaced', 'venue_rejected', 'venue_canceled',
            'venue_expired')
    """,
    "released": """
        o.status IN ('blocked', 'pending_approval', 'rejected', 'expired', 'canceled')
        OR o.trading_mode <> 'disabled' AND (o.expires_at IS NULL OR o.decided_at < o.expires_at)
    """,
    "reasons": """
        jsonb_typeof(o.reasons) = 'array'
        AND (o.status = 'canceled' OR (o.status = 'blocked') = (o.reasons <> '[]'::jsonb))
    """,
    "sending": "o.status <> 'sending' OR o.send_by IS NOT NULL AND o.sent_at IS NOT NULL",
    "send_by": "o.sent_at <= o.send_by",
    "filled": "o.filled_qty >= 0 AND o.filled_avg_price >= 0",
}


def upgrade() -> None:
    op.execute(f"ALTER TABLE orders {', '.join(f'ADD COLUMN {name} {kind}' for name, kind in COLUMNS.items())}")
    _hold_to(SOUND)
    op.execute(
        "CREATE INDEX ix_orders_to_send ON orders (try_at)"
        " WHERE send_by IS NOT NULL AND status IN ('released', 'sending', 'unknown')"
    )
    op.execute("CREATE INDEX ix_orders_open ON orders (seq) WHERE status IN ('accepted', 'partially_filled')")


def downgrade() -> None:
    op.execute("DROP INDEX ix_orders_open")
    op.execute("DROP INDEX ix_orders_to_send")
    _hold_to(SOUND_BEFORE)
    op.execute(f"ALTER TABLE orders {', '.join(f'DROP COLUMN {name}' for name in COLUMNS)}")


def _hold_to(rules: Mapping[str, str]) -> None:
    """What was held to the rules before is held to these too: they allow more, or speak of what is new."""
    which = " ".join(f"WHEN ({' '.join(rule.split())}) IS FALSE THEN '{name}'" for name, rule in rules.items())
    op.execute(f"""
        CREATE OR REPLACE FUNCTION order_is_sound(o orders) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$
        DECLARE
            broken text := CASE {which} END;
        BEGIN
            IF broken IS NOT NULL THEN
                RAISE check_violation USING
                    MESSAGE = 'the order breaks the rule ' || broken, TABLE = 'orders',
                    CONSTRAINT = 'ck_orders_' || broken;
            END IF;
            RETURN true;
        END $$
    """)
