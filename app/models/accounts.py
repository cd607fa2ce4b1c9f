"""Who may come in: people and service accounts, their tokens and sessions, and the failed tries."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    LargeBinary,
    Text,
    func,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from app.extensions import Model


class Account(Model):
    """A person (with a password) or a service account (with tokens). The name never changes.

    A deactivated account has no valid sessions or tokens and gets no new ones. A service account is
    suspended when its owner is deactivated or demoted: its tokens are refused until it is resumed.
    """

    __tablename__ = "accounts"
    __table_args__ = (
        CheckConstraint("role IN ('viewer', 'operator', 'admin', 'engine')", name="role"),
        CheckConstraint("name ~ '^[A-Za-z0-9][A-Za-z0-9._@-]*$' AND length(name) <= 64", name="name"),
        CheckConstraint("role <> 'engine' OR password_hash IS NULL", name="engine_has_no_password"),
        CheckConstraint(
            "password_hash IS NOT NULL OR num_nonnulls(password_set_by_id, second_factor_removed_by_id) = 0",
            name="only_people_have_passwords_to_change",
        ),
        CheckConstraint("password_hash IS NULL OR suspended_at IS NULL", name="people_are_not_suspended"),
        # "Alice" and "alice" would be one name on the record to whoever reads it.
        Index("uq_accounts_lower_name", func.lower(text("name")), unique=True),
        Index("ix_accounts_owner_id", "owner_id", postgresql_where=text("owner_id IS NOT NULL")),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    role: Mapped[str] = mapped_column(Text)
    password_hash: Mapped[str | None] = mapped_column(Text)
    owner_id: Mapped[int | None] = mapped_column(ForeignKey("accounts.id"))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=text("now()"))
    deactivated_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    signed_in_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    suspended_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    # Who controls the account (app/domain/control.py): None where the command line did it, or where it is unknown.
    created_by_id: Mapped[int | None] = mapped_column(ForeignKey("accounts.id"))
    # Another person, until the person has changed the password.
    password_set_by_id: Mapped[int | None] = mapped_column(ForeignKey("accounts.id"))
    second_factor_removed_by_id: Mapped[int | None] = mapped_column(ForeignKey("accounts.id"))


class Token(Model):
    """A bearer token. Its secret has 256 random bits, so a plain SHA-256 of it is safe to keep."""

    __tablename__ = "tokens"
    __table_args__ = (CheckConstraint("length(secret_hash) = 32", name="secret_hash"),)

    id: Mapped[str] = mapped_column(Text, primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"), index=True)
    secret_hash: Mapped[bytes] = mapped_column(LargeBinary)
    allow_live: Mapped[bool] = mapped_column(server_default=text("false"))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=text("now()"))
    revoked_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    created_by: Mapped[str | None] = mapped_column(Text)
    created_by_id: Mapped[int | None] = mapped_column(ForeignKey("accounts.id"))
    # Written by app/services/accounts/token_usage.py, up to a minute late.
    last_used_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class WebSession(Model):
    """A person who is signed in. Signing out deletes the row, so that a copied cookie is worth nothing."""

    __tablename__ = "web_sessions"
    __table_args__ = (CheckConstraint("length(id_hash) = 32", name="id_hash"),)

    id_hash: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"), index=True)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=text("now()"))
    seen_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=text("now()"))
    # When the person last gave the password, and the code where they have a second factor; signing in counts.
    confirmed_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=text("now()"))
    address: Mapped[str] = mapped_column(Text, server_default=text("''"))
    browser: Mapped[str] = mapped_column(Text, server_default=text("''"))


class SignInStep(Model):
    """A person whose password was right, and who is still to give a code. It opens nothing by itself: it is kept
    apart from the sessions so that no question about sessions can take it for one."""

    __tablename__ = "sign_in_steps"
    __table_args__ = (CheckConstraint("length(id_hash) = 32", name="id_hash"),)

    id_hash: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"), index=True)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=text("now()"))


class SignInAttempt(Model):
    """A try at signing in that failed or is still being checked; a success removes it.

    `device` is the hash of the mark that a browser got when this person signed in with it before, or null.
    """

    __tablename__ = "sign_in_attempts"
    __table_args__ = (
        Index(None, "address", "attempted_at"),
        Index(None, "name", "attempted_at"),
        Index(None, "device", "attempted_at"),
        Index(None, "attempted_at"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    attempted_at: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), server_default=text("clock_timestamp()")
    )
    name: Mapped[str] = mapped_column(Text)
    address: Mapped[str] = mapped_column(Text)
    device: Mapped[str | None] = mapped_column(Text)
