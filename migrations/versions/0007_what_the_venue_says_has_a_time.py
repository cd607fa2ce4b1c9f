"""What a venue says of an order has an instant of its own, and is so whatever the desk had decided since; and whoever
is to take the place of an order asks whether one has taken it already, which must not read every order."""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

RELEASED_BEFORE = """
    o.status IN ('blocked', 'pending_approval', 'rejected', 'expired', 'canceled')
    OR o.trading_mode <> 'disabled' AND (o.expires_at IS NULL OR o.decided_at < o.expires_at)
"""
RELEASED = """
    o.status IN ('blocked', 'pending_approval', 'rejected', 'expired', 'canceled')
    OR o.trading_mode <> 'disabled'
    AND (o.expires_at IS NULL OR o.decided_at < o.expires_at OR o.venue_id IS NOT NULL)
"""


def upgrade() -> None:
    op.execute("ALTER TABLE orders ADD COLUMN venue_at timestamptz")
    op.execute("CREATE INDEX ix_orders_replaces ON orders (replaces) WHERE replaces IS NOT NULL")
    _exchange(RELEASED_BEFORE, RELEASED)


def downgrade() -> None:
    _exchange(RELEASED, RELEASED_BEFORE)
    op.execute("DROP INDEX ix_orders_replaces")
    op.execute("ALTER TABLE orders DROP COLUMN venue_at")


def _exchange(rule: str, other: str) -> None:
    """One rule of the function that orders are held to, in its own text."""
    source = (
        op.get_bind().exec_driver_sql("SELECT prosrc FROM pg_proc WHERE proname = 'order_is_sound'").scalar_one()
    )
    rule, other = (" ".join(text.split()) for text in (rule, other))
    if source.count(rule) != 1:
        raise RuntimeError("the function order_is_sound is not as the migration before left it")
    op.execute(
        "CREATE OR REPLACE FUNCTION order_is_sound(o orders) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$"
        f"{source.replace(rule, other)}$$"
    )
