"""Orders are held to the same bounds by one function, which a connection reads once, and not at every statement."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

SOUND = {
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
RULES = {name: " ".join(rule.split()) for name, rule in SOUND.items()}


def upgrade() -> None:
    which = " ".join(f"WHEN ({rule}) IS FALSE THEN '{name}'" for name, rule in RULES.items())
    op.execute(f"""
        CREATE FUNCTION order_is_sound(o orders) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$
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
    changes = [f"DROP CONSTRAINT ck_orders_{name}" for name in RULES]
    op.execute(
        f"ALTER TABLE orders {', '.join(changes)}, ADD CONSTRAINT ck_orders_sound CHECK (order_is_sound(orders))"
    )


def downgrade() -> None:
    # A rule here reads `o.column`; a CHECK has the columns themselves.
    changes = [f"ADD CONSTRAINT ck_orders_{name} CHECK ({rule.replace('o.', '')})" for name, rule in RULES.items()]
    op.execute(f"ALTER TABLE orders DROP CONSTRAINT ck_orders_sound, {', '.join(changes)}")
    op.execute("DROP FUNCTION order_is_sound(orders)")
