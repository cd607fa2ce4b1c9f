"""Who controls an account, which accounts are suspended, and when a session last proved who uses it."""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # The creator of earlier rows is unknown: NULL.
    op.execute("""
        ALTER TABLE accounts
            ADD COLUMN created_by_id bigint CONSTRAINT fk_accounts_created_by_id REFERENCES accounts (id),
            ADD COLUMN password_set_by_id bigint
                CONSTRAINT fk_accounts_password_set_by_id REFERENCES accounts (id),
            ADD COLUMN second_factor_removed_by_id bigint
                CONSTRAINT fk_accounts_second_factor_removed_by_id REFERENCES accounts (id),
            ADD COLUMN suspended_at timestamptz,
            ADD CONSTRAINT ck_accounts_only_people_have_passwords_to_change CHECK (
                password_hash IS NOT NULL OR num_nonnulls(password_set_by_id, second_factor_removed_by_id) = 0
            ),
            ADD CONSTRAINT ck_accounts_people_are_not_suspended CHECK (
                password_hash IS NULL OR suspended_at IS NULL
            )
    """)
    op.execute("CREATE INDEX ix_accounts_owner_id ON accounts (owner_id) WHERE owner_id IS NOT NULL")
    op.execute("""
        ALTER TABLE tokens ADD COLUMN created_by_id bigint
            CONSTRAINT fk_tokens_created_by_id REFERENCES accounts (id)
    """)
    op.execute("ALTER TABLE web_sessions ADD COLUMN confirmed_at timestamptz")
    op.execute("UPDATE web_sessions SET confirmed_at = created_at")
    op.execute("""
        ALTER TABLE web_sessions ALTER confirmed_at SET NOT NULL, ALTER confirmed_at SET DEFAULT now()
    """)
    op.execute("ALTER TABLE orders ADD COLUMN self_approved boolean NOT NULL DEFAULT false")


def downgrade() -> None:
    raise RuntimeError("who created accounts and tokens is kept: restore the dump that was made before")
