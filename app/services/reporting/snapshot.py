"""One snapshot of the desk, as a page shows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import Row, func, select

from app.db.transaction import reading
from app.domain.gate import Reason
from app.domain.instruments import Multipliers
from app.domain.risk_config import ConfigInvalid, OperatorApproval, PortfolioRiskConfig, SignalLayers, read_section
from app.lib.threadpool import in_slices
from app.lib.timestamps import rfc3339
from app.models import SymbolLockout
from app.services import rules
from app.services.audit import log
from app.services.orders import approvals, queries
from app.services.trading import config, lockouts

MOST_LOCKOUTS = 500
MOST_APPROVALS = 500
MOST_RECENT_ORDERS = 50


def snapshot() -> dict[str, Any]:
    """Everything on the Trading page, read at one instant.

    Settings that cannot be read are None, never a default that is not in force; `config_error` says why.
    `lockouts` holds the first 500, `lockouts_total` counts them all; `approvals` holds the 500 orders that expire
    next, and `approvals_by_ticker` and `approvals_total` count all that wait.
    """
    with reading() as session:
        row = config.active_row(session, with_config=False)
        stored = config.known_sections(session)
        active = lockouts.active(session, limit=MOST_LOCKOUTS)
        total = len(active)
        if total == MOST_LOCKOUTS:
            total = (
                session.scalar(select(func.count()).select_from(SymbolLockout).where(lockouts.is_active())) or 0
            )
        now, desk = rules.in_force(session)
        multipliers = desk.config.instruments.multipliers
        by_ticker = approvals.tally(session, now)
        waiting = approvals.waiting(session, now, desk, limit=MOST_APPROVALS)
        return {
            "trading_mode": row.trading_mode,
            "config_error": _config_error(stored),
            "config_warnings": _warnings(stored),
            "approval_config": _section(stored, OperatorApproval, "operator_approval"),
            "signal_layers": _section(stored, SignalLayers, "signal_layers"),
            "lockouts": [lockouts.as_json(lockout) for lockout in in_slices(active)],
            "lockouts_total": total,
            "approvals": [_waiting(*found, multipliers) for found in in_slices(waiting)],
            "approvals_by_ticker": by_ticker,
            "approvals_total": sum(by_ticker.values()),
            "recent_orders": queries.recent(session, multipliers, limit=MOST_RECENT_ORDERS),
            "config_version": row.version,
            "second_factor_for_live": row.second_factor_for_live,
            "state_version": log.latest_id(session),
            "server_time": rfc3339(now),
        }


def _waiting(row: Row[Any], blockers: Sequence[Reason], multipliers: Multipliers) -> dict[str, Any]:
    """An order that waits, and in words why it cannot be approved."""
    return approvals.as_json(row, blockers, multipliers) | {
        "blocked_because": [reason.detail for reason in blockers],
    }


def _section(stored: dict[str, Any], kind: Any, name: str) -> dict[str, Any] | None:
    try:
        return asdict(read_section(kind, name, stored.get(name, {}))[0])
    except ConfigInvalid:
        return None


def _config_error(stored: dict[str, Any]) -> dict[str, str] | None:
    try:
        PortfolioRiskConfig.from_db_json(stored)
    except ConfigInvalid as error:
        return {
            "key": error.key,
            "detail": error.problem,
            "fixable_by": config.fixable_by(error.key, stored),
        }
    return None


def _warnings(stored: dict[str, Any]) -> list[str]:
    """Keys inside known sections that mean nothing: put there by hand, and perhaps meant as a limit."""
    try:
        return PortfolioRiskConfig.from_db_json(stored).unknown_in_sections
    except ConfigInvalid:
        return []
