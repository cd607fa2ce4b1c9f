"""Tickers of options, futures and pairs are accepted, and one key finds every spelling of an instrument."""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

TICKER = r"^(\^[./_:=^&!-]*)?[A-Z0-9][A-Z0-9./_:=^&!-]*$"
DERIVATIVE = (
    r"^(.*:)?(([A-Z0-9]+[FGHJKMNQUVXZ])([0-9]|[0-9]{3})?([0-9])|([A-Z0-9]+)(=F|[1-9]!)"
    r"|([A-Z0-9]{1,6}[0-9]{6}[CP][0-9]{8}))(CME|CBT|CMX|NYM|NYB)?$"
)
INSTRUMENT_KEY = rf"regexp_replace(translate(ticker, './-_', ''), '{DERIVATIVE}', '\3\5\6\8')"

# Every rule, because the function is replaced as a whole.
SOUND = {
    "client_order_id": "length(o.client_order_id) BETWEEN 1 AND 128",
    "ticker": f"o.ticker ~ '{TICKER}' AND length(o.ticker) <= 32",
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


def upgrade() -> None:
    op.execute(f"""
        CREATE OR REPLACE FUNCTION order_is_sound(o orders) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$
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
    """)
    op.execute(f"""
        ALTER TABLE symbol_lockouts
            DROP CONSTRAINT ck_symbol_lockouts_ticker_form, DROP CONSTRAINT ck_symbol_lockouts_ticker_length,
            ADD CONSTRAINT ck_symbol_lockouts_ticker_form CHECK (ticker = '*' OR ticker ~ '{TICKER}'),
            ADD CONSTRAINT ck_symbol_lockouts_ticker_length CHECK (length(ticker) BETWEEN 1 AND 32)
    """)
    op.execute("DROP INDEX ix_symbol_lockouts_instrument")
    op.execute("DROP INDEX ix_symbol_lockouts_ticker_expires_at")
    op.execute(f"CREATE INDEX ix_symbol_lockouts_instrument ON symbol_lockouts ({INSTRUMENT_KEY}, expires_at)")
    op.execute("DROP INDEX ix_orders_ticker_seq")
    op.execute(f"CREATE INDEX ix_orders_instrument ON orders ({INSTRUMENT_KEY}, seq)")


def downgrade() -> None:
    raise RuntimeError("tickers that the earlier version refuses may be stored: restore the dump made before")
