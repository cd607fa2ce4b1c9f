"""The first tables: configuration, lockouts, accounts and the record.

A new database starts in paper mode with an empty configuration.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "accounts",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=True),
        sa.Column("owner_id", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "name ~ '^[A-Za-z0-9][A-Za-z0-9._@-]*$' AND length(name) <= 64", name=op.f("ck_accounts_name")
        ),
        sa.CheckConstraint(
            "role <> 'engine' OR password_hash IS NULL", name=op.f("ck_accounts_engine_has_no_password")
        ),
        sa.CheckConstraint("role IN ('viewer', 'operator', 'admin', 'engine')", name=op.f("ck_accounts_role")),
        sa.ForeignKeyConstraint(["owner_id"], ["accounts.id"], name=op.f("fk_accounts_owner_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_accounts")),
    )
    op.create_index("uq_accounts_lower_name", "accounts", [sa.literal_column("lower(name)")], unique=True)
    op.create_table(
        "audit_events",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("before", postgresql.JSONB(), nullable=True),
        sa.Column("after", postgresql.JSONB(), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_events")),
    )
    op.create_index(op.f("ix_audit_events_action_id"), "audit_events", ["action", "id"], unique=False)
    op.create_index("ix_audit_events_lower_actor_id", "audit_events", [sa.literal_column("lower(actor)"), "id"])
    op.create_table(
        "risk_configs",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("is_active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("config", postgresql.JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False),
        sa.Column("trading_mode", sa.Text(), server_default=sa.text("'paper'"), nullable=False),
        sa.Column("version", sa.BigInteger(), server_default=sa.text("1"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_by", sa.Text(), server_default=sa.text("'setup'"), nullable=False),
        sa.CheckConstraint("jsonb_typeof(config) = 'object'", name=op.f("ck_risk_configs_config_object")),
        sa.CheckConstraint(
            "NOT jsonb_path_exists(config, 'strict $.**{64 to last}')", name=op.f("ck_risk_configs_config_depth")
        ),
        sa.CheckConstraint(
            "trading_mode IN ('disabled', 'paper', 'live')", name=op.f("ck_risk_configs_trading_mode")
        ),
        sa.CheckConstraint("version >= 1", name=op.f("ck_risk_configs_version")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_risk_configs")),
    )
    op.create_index(
        "uq_risk_configs_one_active",
        "risk_configs",
        ["is_active"],
        unique=True,
        postgresql_where=sa.text("is_active"),
    )
    op.create_table(
        "sign_in_attempts",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column(
            "attempted_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("device", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sign_in_attempts")),
    )
    op.create_index(
        op.f("ix_sign_in_attempts_address_attempted_at"),
        "sign_in_attempts",
        ["address", "attempted_at"],
        unique=False,
    )
    op.create_index(op.f("ix_sign_in_attempts_attempted_at"), "sign_in_attempts", ["attempted_at"], unique=False)
    op.create_index(
        op.f("ix_sign_in_attempts_device_attempted_at"),
        "sign_in_attempts",
        ["device", "attempted_at"],
        unique=False,
    )
    op.create_index(
        op.f("ix_sign_in_attempts_name_attempted_at"),
        "sign_in_attempts",
        ["name", "attempted_at"],
        unique=False,
    )
    op.create_table(
        "symbol_lockouts",
        sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("ticker", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("lockout_type", sa.Text(), server_default=sa.text("'manual'"), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "expires_at > created_at AND expires_at < '9999-01-01+00'",
            name=op.f("ck_symbol_lockouts_expires_at"),
        ),
        sa.CheckConstraint(
            "lockout_type IN ('manual', 'news_shock', 'cooldown')",
            name=op.f("ck_symbol_lockouts_lockout_type"),
        ),
        sa.CheckConstraint(
            "ticker = '*' OR ticker ~ '^[A-Z0-9]+([./-][A-Z0-9]+)*$'",
            name=op.f("ck_symbol_lockouts_ticker_form"),
        ),
        sa.CheckConstraint(r"length(reason) <= 500 AND reason ~ '\S'", name=op.f("ck_symbol_lockouts_reason")),
        sa.CheckConstraint("length(ticker) BETWEEN 1 AND 20", name=op.f("ck_symbol_lockouts_ticker_length")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_symbol_lockouts")),
    )
    op.create_index(
        op.f("ix_symbol_lockouts_expires_at_id"), "symbol_lockouts", ["expires_at", "id"], unique=False
    )
    op.create_index(
        op.f("ix_symbol_lockouts_ticker_expires_at"),
        "symbol_lockouts",
        ["ticker", "expires_at"],
        unique=False,
    )
    op.create_table(
        "tokens",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("secret_hash", sa.LargeBinary(), nullable=False),
        sa.Column("allow_live", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("length(secret_hash) = 32", name=op.f("ck_tokens_secret_hash")),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_tokens_account_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tokens")),
    )
    op.create_index(op.f("ix_tokens_account_id"), "tokens", ["account_id"], unique=False)
    op.create_table(
        "web_sessions",
        sa.Column("id_hash", sa.LargeBinary(), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("length(id_hash) = 32", name=op.f("ck_web_sessions_id_hash")),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_web_sessions_account_id")),
        sa.PrimaryKeyConstraint("id_hash", name=op.f("pk_web_sessions")),
    )
    op.create_index(op.f("ix_web_sessions_account_id"), "web_sessions", ["account_id"], unique=False)
    op.execute(
        """
        CREATE FUNCTION audit_events_are_final() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION 'audit events are never changed or removed' USING ERRCODE = 'restrict_violation';
        END $$
        """
    )
    op.execute(
        """
        CREATE TRIGGER audit_events_are_final BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_events
        FOR EACH STATEMENT EXECUTE FUNCTION audit_events_are_final()
        """
    )
    op.execute("ALTER TABLE audit_events ENABLE ALWAYS TRIGGER audit_events_are_final")
    op.execute("INSERT INTO risk_configs DEFAULT VALUES")


def downgrade() -> None:
    # There is nothing older to go back to, and the record is never dropped by a tool.
    raise RuntimeError("the first migration cannot be undone: restore a backup instead")
