"""People are told of what waits and what stopped: an outbox, and who is to be told."""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE notice_receivers (
            key text NOT NULL,
            name text NOT NULL,
            kinds text[] NOT NULL,
            seen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
            try_at timestamptz NOT NULL DEFAULT clock_timestamp(),
            claim uuid,
            tries integer NOT NULL DEFAULT 0,
            told_at timestamptz,
            failing_since timestamptz,
            last_error text,
            CONSTRAINT pk_notice_receivers PRIMARY KEY (key)
        )
        """
    )
    op.execute(
        """
        CREATE TABLE notices (
            id bigint GENERATED ALWAYS AS IDENTITY,
            receiver text NOT NULL,
            kind text NOT NULL,
            subject text NOT NULL,
            event_id bigint,
            created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
            settled_at timestamptz,
            outcome text,
            why text,
            CONSTRAINT pk_notices PRIMARY KEY (id),
            CONSTRAINT ck_notices_outcome CHECK (outcome IN ('told', 'overtaken', 'given_up')),
            CONSTRAINT ck_notices_settled CHECK ((settled_at IS NULL) = (outcome IS NULL))
        )
        """
    )
    op.execute("CREATE INDEX ix_notices_undelivered ON notices (receiver, id) WHERE settled_at IS NULL")
    op.execute(
        "CREATE UNIQUE INDEX uq_notices_expiring ON notices (receiver, subject) WHERE kind = 'order_expiring'"
    )
    op.execute("CREATE INDEX ix_notices_created_at ON notices (created_at)")
    op.execute(
        """
        CREATE OR REPLACE FUNCTION audit_events_are_announced() RETURNS trigger LANGUAGE plpgsql
        SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
        BEGIN
            PERFORM pg_notify('countersign_state', '');
            IF NEW.action IN ('order.submit', 'order.expire', 'order.unknown', 'mode.change', 'lockout.create') THEN
                INSERT INTO notices (receiver, kind, subject, event_id)
                SELECT key, told.kind, NEW.subject, NEW.id
                FROM (SELECT CASE NEW.action
                        WHEN 'order.submit' THEN 'order_waits'
                        WHEN 'order.expire' THEN 'order_expired'
                        WHEN 'order.unknown' THEN 'order_unknown'
                        WHEN 'lockout.create' THEN 'lockout'
                        ELSE replace(NEW.after ->> 'trading_mode', 'disabled', 'halted')
                      END AS kind) AS told, notice_receivers
                WHERE told.kind = ANY (kinds);
            END IF;
            RETURN NULL;
        END $$
        """
    )


def downgrade() -> None:
    raise RuntimeError("what people were told and decided stays: restore the dump that was made before")
