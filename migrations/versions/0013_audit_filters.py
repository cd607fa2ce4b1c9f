"""Audit events are found by their order and by their instrument."""

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

DERIVATIVE = (
    r"^(.*:)?(([A-Z0-9]+[FGHJKMNQUVXZ])([0-9]|[0-9]{3})?([0-9])|([A-Z0-9]+)(=F|[1-9]!)"
    r"|([A-Z0-9]{1,6}[0-9]{6}[CP][0-9]{8}))(CME|CBT|CMX|NYM|NYB)?$"
)
TICKER = "coalesce(after ->> 'ticker', before ->> 'ticker')"
INSTRUMENT_KEY = rf"regexp_replace(translate({TICKER}, './-_', ''), '{DERIVATIVE}', '\3\5\6\8')"


def upgrade() -> None:
    op.execute("CREATE INDEX ix_audit_events_subject_id ON audit_events (subject, id)")
    op.execute(f"""
        CREATE INDEX ix_audit_events_instrument ON audit_events ({INSTRUMENT_KEY}, action, id)
        WHERE starts_with(action, 'order.') OR starts_with(action, 'lockout.')
    """)


def downgrade() -> None:
    op.execute("DROP INDEX ix_audit_events_instrument")
    op.execute("DROP INDEX ix_audit_events_subject_id")
