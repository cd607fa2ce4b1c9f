"""A lockout holds every spelling of its symbol, and is found by what they have in common; and an engine reads its own
orders by when they came in, those that may still change or the others, without passing any of the rest."""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

CHANGING = "('pending_approval', 'released', 'sending', 'unknown', 'accepted', 'partially_filled')"


def upgrade() -> None:
    op.execute(
        "CREATE INDEX ix_symbol_lockouts_instrument ON symbol_lockouts (translate(ticker, '/.-', ''), expires_at)"
    )
    for name, status in (("changing", "IN"), ("ended", "NOT IN")):
        op.execute(
            f"CREATE INDEX ix_orders_{name} ON orders (account_id, side, created_at, seq)"
            f" WHERE status {status} {CHANGING}"
        )


def downgrade() -> None:
    op.execute("DROP INDEX ix_orders_ended")
    op.execute("DROP INDEX ix_orders_changing")
    op.execute("DROP INDEX ix_symbol_lockouts_instrument")
