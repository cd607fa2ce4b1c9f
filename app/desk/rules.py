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
from app.domain.symbols import EVERY_SYMBOL, SEPARATORS

NO_CONFIG = "there is no active risk configuration: nothing can be released"

# One statement, one snapshot. The instants of lockouts leave the database as numbers: parsing them is what takes
# time.
RULES_WITH = """
    SELECT clock_timestamp(), trading_mode, config::text,
           (SELECT coalesce(json_agg(json_build_array(ticker, extract(epoch FROM expires_at), reason)), '[]')
            FROM ({lockouts}) AS holding)
    FROM risk_configs WHERE is_active
"""
# `now()` finds by the index; `clock_timestamp()` is exact but, being volatile, never an index condition.
ACTIVE = "expires_at > now() AND expires_at > clock_timestamp()"
# `symbols.instrument` in SQL, as the index has it.
INSTRUMENT = f"translate({{}}, '{SEPARATORS}', '')"
# Of the lockouts of a ticker only the one that ends last matters to the gate, however many there are.
LAST = f"""
    (SELECT ticker, expires_at, reason FROM symbol_lockouts
     WHERE {INSTRUMENT.format("ticker")} = {INSTRUMENT.format("{whose}")} AND {ACTIVE}
     ORDER BY expires_at DESC LIMIT 1)
"""  # noqa: S608 - made of constants
LAST_OF_EACH = f"""
    SELECT DISTINCT ON ({INSTRUMENT.format("ticker")}) ticker, expires_at, reason FROM symbol_lockouts
    WHERE {ACTIVE} ORDER BY {INSTRUMENT.format("ticker")}, expires_at DESC
"""  # noqa: S608 - made of constants
# For orders of the one `{ticker}`, which is to be filled in with a parameter.
RULES_FOR_ONE = RULES_WITH.format(
    lockouts=f"{LAST.format(whose='{ticker}')} UNION ALL {LAST.format(whose=repr(EVERY_SYMBOL))}"
)
FOR_ALL = text(RULES_WITH.format(lockouts=LAST_OF_EACH))
FOR_ONE = text(RULES_FOR_ONE.format(ticker=":ticker"))


@lru_cache(maxsize=32)
def read_config(stored: str) -> tuple[PortfolioRiskConfig, ConfigInvalid | None]:
    """The stored configuration, and why it cannot be read where that is so. Cached by the text itself, so that a
    configuration that was changed by hand, without a new version, is never mistaken for the old one."""
    return PortfolioRiskConfig.read_what_can_be_read(strict_json.loads_stored(stored))


def desk_from(mode: str, stored: str, lockouts: Iterable[tuple[str, float, str]]) -> Desk:
    """The gate's view of the desk, from a row of RULES_FOR_ONE."""
    config, error = read_config(stored)
    holding = tuple(
        Lockout(ticker, datetime.fromtimestamp(float(ends), UTC), reason) for ticker, ends, reason in lockouts
    )
    return Desk(TradingMode(mode), config, holding, error)


def in_force(session: Session, ticker: str | None = None) -> tuple[datetime, Desk]:
    """The database's now and the desk at that instant, with the last lockouts of `ticker` and `*`, or of all."""
    asked = session.execute(FOR_ALL) if ticker is None else session.execute(FOR_ONE, {"ticker": ticker})
    found = asked.one_or_none()
    if found is None:
        raise Conflict(NO_CONFIG, "config_missing")
    now, mode, stored, lockouts = found
    return now, desk_from(mode, stored, lockouts)
