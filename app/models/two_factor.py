"""The second factor of a person: the secret of an authenticator, codes for when it is lost, and wrong tries."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, DateTime, ForeignKey, Identity, Index, LargeBinary, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from app.extensions import Model


class SecondFactor(Model):
    """It counts once it is confirmed. `last_step` is the time step of the code that was used last."""

    __tablename__ = "second_factors"
    __table_args__ = (
        CheckConstraint("length(started_in) = 32", name="started_in"),
        CheckConstraint("last_step >= 0", name="last_step"),
    )

    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"), primary_key=True, autoincrement=False)
    sealed_secret: Mapped[bytes] = mapped_column(LargeBinary)
    last_step: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    started_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=text("now()"))
    started_in: Mapped[bytes] = mapped_column(LargeBinary)  # the session that may confirm it
    confirmed_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class RecoveryCode(Model):
    """Counts once in place of a code. It has 80 random bits, so a plain SHA-256 of it is safe to keep."""

    __tablename__ = "recovery_codes"
    __table_args__ = (CheckConstraint("length(code_hash) = 32", name="code_hash"),)

    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"), primary_key=True, autoincrement=False)
    code_hash: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    used_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class SecondFactorTry(Model):
    """A try at a code that failed or is still being checked; a success removes it. `door` is where it was made:
    in which browser that is known, in which session, or '' for all others."""

    __tablename__ = "second_factor_tries"
    __table_args__ = (Index(None, "account_id", "tried_at"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"))
    door: Mapped[str] = mapped_column(Text)
    tried_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=text("clock_timestamp()"))
