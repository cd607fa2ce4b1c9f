"""What a venue says of an order has an instant of its own; and whoever is to take the place of an order asks whether
one has taken it already, which must not read every order."""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE orders ADD COLUMN venue_at timestamptz")
    op.execute("CREATE INDEX ix_orders_replaces ON orders (replaces) WHERE replaces IS NOT NULL")


def downgrade() -> None:
    op.execute("DROP INDEX ix_orders_replaces")
    op.execute("ALTER TABLE orders DROP COLUMN venue_at")
