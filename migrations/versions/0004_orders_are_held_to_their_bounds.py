"""Orders are held to their bounds by the database too: the last line, whatever a mistake writes."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

BOUNDS = {
    "expires_at": "expires_at > created_at AND expires_at < '9999-01-01+00'",
    "released": (
        "status <> 'released' OR trading_mode <> 'disabled' AND (expires_at IS NULL OR decided_at < expires_at)"
    ),
    "expired": "status <> 'expired' OR expires_at IS NOT NULL AND decided_at = expires_at",
    "reasons": "jsonb_typeof(reasons) = 'array' AND (status = 'blocked') = (reasons <> '[]'::jsonb)",
    "rejected": "status <> 'rejected' OR decision_note IS NOT NULL",
    "words": "length(strategy) <= 200 AND length(rationale) <= 4000 AND length(decision_note) <= 500",
}


def upgrade() -> None:
    # One statement, one pass over the table. Some databases of before the first release have them already.
    changes = [
        f"DROP CONSTRAINT IF EXISTS ck_orders_{name}, ADD CONSTRAINT ck_orders_{name} CHECK ({bound})"
        for name, bound in BOUNDS.items()
    ]
    op.execute(f"ALTER TABLE orders {', '.join(changes)}")


def downgrade() -> None:
    op.execute(f"ALTER TABLE orders {', '.join(f'DROP CONSTRAINT ck_orders_{name}' for name in BOUNDS)}")
