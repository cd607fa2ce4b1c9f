"""What is written to the record is announced to whoever listens."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE FUNCTION audit_events_are_announced() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            PERFORM pg_notify('countersign_state', '');
            RETURN NULL;
        END $$
        """
    )
    op.execute(
        """
        CREATE TRIGGER audit_events_are_announced AFTER INSERT ON audit_events FOR EACH ROW
        WHEN (NEW.action <> 'order.submit' OR NEW.after ->> 'status' = 'pending_approval')
        EXECUTE FUNCTION audit_events_are_announced()
        """
    )


def downgrade() -> None:
    op.execute("DROP TRIGGER audit_events_are_announced ON audit_events")
    op.execute("DROP FUNCTION audit_events_are_announced()")
