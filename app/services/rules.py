"""The rules in force, as the gate wants them: mode, configuration and the lockouts that matter."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from functools import lru_cache

from sqlalchemy import text
from sqlalchemy.orm import Session

from app.domain.gate import Desk, Lockout
from app.domain.instruments import Multipliers, instrument
from app.domain.risk_config import ConfigInvalid, Instruments, PortfolioRiskConfig, TradingMode, read_section
from app.lib import strict_json
from app.models.instruments import INSTRUMENT_KEY
from app.services.errors import Conflict

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
# Of the lockouts with one key only the one that ends last matters to the gate, however many there are.
LAST_OF_EACH = f"""
    SELECT DISTINCT ON ({INSTRUMENT_KEY}) ticker, expires_at, reason FROM symbol_lockouts
    WHERE {ACTIVE} ORDER BY {INSTRUMENT_KEY}, expires_at DESC
"""  # noqa: S608 - made of constants


def rules_for_one(keys: str) -> str:
    """The rules with the lockouts that block one instrument; `keys` is the parameter with its `lockout_keys`."""
    last_of_some = f"""
        SELECT last.* FROM unnest(CAST({keys} AS text[])) AS blocking (key) CROSS JOIN LATERAL (
            SELECT ticker, expires_at, reason FROM symbol_lockouts
            WHERE {INSTRUMENT_KEY} = blocking.key AND {ACTIVE}
            ORDER BY expires_at DESC LIMIT 1
        ) AS last
    """  # noqa: S608 - made of constants
    return RULES_WITH.format(lockouts=last_of_some)


FOR_ALL = text(RULES_WITH.format(lockouts=LAST_OF_EACH))
FOR_ONE = text(rules_for_one(":keys"))
# The section, and not the whole of a configuration that may be large.
CLOCK_AND_MULTIPLIERS = text("""
    SELECT clock_timestamp(), (SELECT CAST(config -> 'instruments' AS text) FROM risk_configs WHERE is_active)
""")


@lru_cache(maxsize=32)
def read_config(stored: str) -> tuple[PortfolioRiskConfig, ConfigInvalid | None]:
    """The stored configuration, and why it cannot be read where that is so. Cached by the text itself, so that a
    configuration that was changed by hand, without a new version, is never mistaken for the old one."""
    return PortfolioRiskConfig.read_what_can_be_read(strict_json.loads_stored(stored))


def desk_from(mode: str, stored: str, lockouts: Iterable[tuple[str, float, str]]) -> Desk:
    """The gate's view of the desk, from a row of `rules_for_one`."""
    config, error = read_config(stored)
    holding = tuple(
        Lockout(ticker, datetime.fromtimestamp(float(ends), UTC), reason) for ticker, ends, reason in lockouts
    )
    return Desk(TradingMode(mode), config, holding, error)


def in_force(session: Session, ticker: str | None = None) -> tuple[datetime, Desk]:
    """The database's now and the desk at that instant, with the last lockouts that block `ticker`, or of all."""
    if ticker is None:
        asked = session.execute(FOR_ALL)
    else:
        asked = session.execute(FOR_ONE, {"keys": list(instrument(ticker).lockout_keys)})
    found = asked.one_or_none()
    if found is None:
        raise Conflict(NO_CONFIG, "config_missing")
    now, mode, stored, lockouts = found
    return now, desk_from(mode, stored, lockouts)


def clock_and_multipliers(session: Session) -> tuple[datetime, Multipliers]:
    """The database's now and the configured contract sizes: what an order is shown by."""
    now, stored = session.execute(CLOCK_AND_MULTIPLIERS).one()
    return now, read_multipliers(stored)


@lru_cache(maxsize=32)
def read_multipliers(stored: str | None) -> Multipliers:
    """From the stored section, which is as text the key of the cache; none where it cannot be read."""
    with suppress(ConfigInvalid):
        section = {} if stored is None else strict_json.loads_stored(stored)
        return read_section(Instruments, "instruments", section)[0].multipliers
    return Multipliers()
