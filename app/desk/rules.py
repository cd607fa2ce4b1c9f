"""The rules in force, as the gate wants them: mode, configuration and the lockouts that matter."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache

from sqlalchemy import text
from sqlalchemy.orm import Session

from app import strict_json
from app.desk.errors import Conflict
from app.domain.gate import Desk, Lockout
from app.domain.risk import ConfigInvalid, PortfolioRiskConfig, TradingMode

NO_CONFIG = "there is no active risk configuration: nothing can be released"

# One statement, one snapshot. The instants of lockouts leave the database as numbers: parsing them is what takes
# time. `now()` finds by the index; `clock_timestamp()` is exact but, being volatile, never an index condition.
RULES = """
    SELECT clock_timestamp(), trading_mode, config::text,
           (SELECT coalesce(json_agg(json_build_array(ticker, extract(epoch FROM expires_at), reason)), '[]')
            FROM symbol_lockouts
            WHERE {which} expires_at > now() AND expires_at > clock_timestamp())
    FROM risk_configs WHERE is_active
"""
ALL_LOCKOUTS = text(RULES.format(which=""))
LOCKOUTS_OF_TICKER = text(RULES.format(which="(ticker = :ticker OR ticker = '*') AND"))


@lru_cache(maxsize=32)
def read_config(stored: str) -> tuple[PortfolioRiskConfig, ConfigInvalid | None]:
    """The stored configuration, and why it cannot be read where that is so. Cached by the text itself, so that a
    configuration that was changed by hand, without a new version, is never mistaken for the old one."""
    return PortfolioRiskConfig.read_what_can_be_read(strict_json.loads_stored(stored))


def desk_from(mode: str, stored: str, lockouts: Iterable[tuple[str, float, str]]) -> Desk:
    """The gate's view of the desk, from a row of RULES."""
    config, error = read_config(stored)
    holding = tuple(
        Lockout(ticker, datetime.fromtimestamp(float(ends), UTC), reason) for ticker, ends, reason in lockouts
    )
    return Desk(TradingMode(mode), config, holding, error)


def in_force(session: Session, ticker: str | None = None) -> tuple[datetime, Desk]:
    """The database's now and the desk at that instant, with the lockouts of `ticker` and `*`, or with all."""
    which = ALL_LOCKOUTS if ticker is None else LOCKOUTS_OF_TICKER
    found = session.execute(which, {} if ticker is None else {"ticker": ticker}).one_or_none()
    if found is None:
        raise Conflict(NO_CONFIG, "config_missing")
    now, mode, stored, lockouts = found
    return now, desk_from(mode, stored, lockouts)
