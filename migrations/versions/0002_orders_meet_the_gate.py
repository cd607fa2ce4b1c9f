"""Orders, and the seals of the record."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _orders()
    _seals()


def _orders() -> None:
    amount = sa.Numeric(27, 9)
    instant = sa.DateTime(timezone=True)
    op.create_table(
        "orders",
        sa.Column("seq", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("engine", sa.Text(), nullable=False),
        sa.Column("client_order_id", sa.Text(), nullable=False),
        sa.Column("ticker", sa.Text(), nullable=False),
        sa.Column("side", sa.Text(), nullable=False),
        sa.Column("qty", amount),
        sa.Column("notional", amount),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("time_in_force", sa.Text(), nullable=False),
        sa.Column("limit_price", amount),
        sa.Column("stop_price", amount),
        sa.Column("reference_price", amount),
        sa.Column("signal_layer", sa.Text()),
        sa.Column("strategy", sa.Text()),
        sa.Column("rationale", sa.Text()),
        sa.Column("trading_mode", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("reasons", postgresql.JSONB(), server_default=sa.text("'[]'::jsonb"), nullable=False),
        sa.Column("created_at", instant, server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("expires_at", instant),
        sa.Column("decided_at", instant),
        sa.Column("decided_by", sa.Text()),
        sa.Column("decision_note", sa.Text()),
        sa.CheckConstraint("length(client_order_id) BETWEEN 1 AND 128", name=op.f("ck_orders_client_order_id")),
        sa.CheckConstraint(
            "ticker ~ '^[A-Z0-9]+([./-][A-Z0-9]+)*$' AND length(ticker) <= 20", name=op.f("ck_orders_ticker")
        ),
        sa.CheckConstraint("side IN ('buy', 'sell')", name=op.f("ck_orders_side")),
        sa.CheckConstraint("num_nonnulls(qty, notional) = 1", name=op.f("ck_orders_qty_or_notional")),
        sa.CheckConstraint(
            "least(qty, notional, limit_price, stop_price, reference_price) > 0"
            " AND greatest(qty, notional, limit_price, stop_price, reference_price) < 'NaN'",
            name=op.f("ck_orders_positive"),
        ),
        sa.CheckConstraint("type IN ('market', 'limit', 'stop', 'stop_limit')", name=op.f("ck_orders_type")),
        sa.CheckConstraint(
            "(limit_price IS NOT NULL) = (type IN ('limit', 'stop_limit'))"
            " AND (stop_price IS NOT NULL) = (type IN ('stop', 'stop_limit'))",
            name=op.f("ck_orders_prices"),
        ),
        sa.CheckConstraint(
            "time_in_force IN ('day', 'gtc', 'ioc', 'fok', 'opg', 'cls')", name=op.f("ck_orders_time_in_force")
        ),
        sa.CheckConstraint("signal_layer IN ('macro', 'competitive')", name=op.f("ck_orders_signal_layer")),
        sa.CheckConstraint("trading_mode IN ('disabled', 'paper', 'live')", name=op.f("ck_orders_trading_mode")),
        sa.CheckConstraint(
            "status IN ('blocked', 'pending_approval', 'released', 'rejected', 'expired', 'canceled')",
            name=op.f("ck_orders_status"),
        ),
        sa.CheckConstraint("(status = 'pending_approval') = (decided_at IS NULL)", name=op.f("ck_orders_decided")),
        sa.CheckConstraint("(decided_at IS NULL) = (decided_by IS NULL)", name=op.f("ck_orders_decider")),
        sa.CheckConstraint(
            "status <> 'pending_approval' OR expires_at IS NOT NULL", name=op.f("ck_orders_deadline")
        ),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_orders")),
        sa.UniqueConstraint("id", name=op.f("uq_orders_id")),
        sa.UniqueConstraint("account_id", "client_order_id", name=op.f("uq_orders_account_id_client_order_id")),
    )
    partial = {
        "ix_orders_pending": (["expires_at", "id"], "status = 'pending_approval'"),
        "ix_orders_decided": (["decided_at", "seq"], "status <> 'pending_approval'"),
        "ix_orders_rate": (["account_id", "created_at"], "status <> 'blocked'"),
    }
    for name, (columns, where) in partial.items():
        op.create_index(name, "orders", columns, postgresql_where=sa.text(where))
    for column in ("ticker", "status", "account_id"):
        op.create_index(op.f(f"ix_orders_{column}_seq"), "orders", [column, "seq"])


def _seals() -> None:
    op.create_table(
        "audit_seals",
        sa.Column("position", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("event_id", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column(
            "sealed_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.CheckConstraint("length(digest) = 32", name=op.f("ck_audit_seals_digest")),
        sa.PrimaryKeyConstraint("position", name=op.f("pk_audit_seals")),
        sa.UniqueConstraint("event_id", name=op.f("uq_audit_seals_event_id")),
    )
    op.execute(
        """
        CREATE TRIGGER audit_seals_are_final BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_seals
        FOR EACH STATEMENT EXECUTE FUNCTION audit_events_are_final()
        """
    )
    op.execute("ALTER TABLE audit_seals ENABLE ALWAYS TRIGGER audit_seals_are_final")


def downgrade() -> None:
    raise RuntimeError("orders and seals are part of the record: restore a backup instead")
