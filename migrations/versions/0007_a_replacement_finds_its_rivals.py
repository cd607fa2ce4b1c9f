"""An order that is to take another's place asks whether one has taken it already: that must not read every order."""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE INDEX ix_orders_replaces ON orders (replaces) WHERE replaces IS NOT NULL")


def downgrade() -> None:
    op.execute("DROP INDEX ix_orders_replaces")
