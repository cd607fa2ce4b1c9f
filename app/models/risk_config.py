"""The risk configuration: one active row, and the database sees to it that there is no second."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, DateTime, Identity, Index, Text, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.extensions import Model


class RiskConfig(Model):
    """`config` is the JSON that `PortfolioRiskConfig.from_db_json` reads; `version` counts its changes.

    `second_factor_for_live` stands beside the mode that it guards, and not in the JSON: whoever replaces the
    configuration must not switch it off along with it.
    """

    __tablename__ = "risk_configs"
    __table_args__ = (
        CheckConstraint("jsonb_typeof(config) = 'object'", name="config_object"),
        # As deep as a request body may be: Python gives up on what is nested a thousand deep.
        CheckConstraint("NOT jsonb_path_exists(config, 'strict $.**{64 to last}')", name="config_depth"),
        CheckConstraint("trading_mode IN ('disabled', 'paper', 'live')", name="trading_mode"),
        CheckConstraint("version >= 1", name="version"),
        Index("uq_risk_configs_one_active", "is_active", unique=True, postgresql_where=text("is_active")),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=False), primary_key=True)
    is_active: Mapped[bool] = mapped_column(server_default=text("true"))
    config: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default=text("'{}'::jsonb"))
    trading_mode: Mapped[str] = mapped_column(Text, server_default=text("'paper'"))
    version: Mapped[int] = mapped_column(BigInteger, server_default=text("1"))
    updated_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=text("now()"))
    updated_by: Mapped[str] = mapped_column(Text, server_default=text("'setup'"))
    second_factor_for_live: Mapped[bool] = mapped_column(server_default=text("false"))
