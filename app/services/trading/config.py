"""The risk configuration and the trading mode: reading them, and changing them without losing anything."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Protocol, TypeVar

from sqlalchemy import Text, bindparam, column, func, select, text, update
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Session, defer

from app.db.transaction import changing_rules, reading
from app.domain.risk_config import (
    SECTIONS,
    ConfigInvalid,
    OperatorApproval,
    PortfolioRiskConfig,
    SignalLayers,
    TradingMode,
    read_section,
)
from app.domain.roles import Act, Role
from app.lib.timestamps import RFC3339
from app.models import AuditEvent, RiskConfig
from app.services.actor import Actor
from app.services.audit import log
from app.services.errors import Conflict, Forbidden, Invalid, Stale
from app.services.orders import transitions

Section = TypeVar("Section", OperatorApproval, SignalLayers)

SECOND_FACTOR_REQUIRED = "second_factor_required"
# The keys of each section that an operator may set, and the route that sets them.
OPERATORS_MAY_SET = {
    "operator_approval": ("PUT /approval-config", ("auto_approve_paper", "approval_timeout_minutes")),
    "signal_layers": ("PUT /signal-layers", ("macro", "competitive")),
}


class Proof(Protocol):
    """A second factor that was shown, and counts once."""

    def spend(self, session: Session) -> None:
        """Raises Forbidden where it counts no more."""


@dataclass(frozen=True, slots=True)
class ModeChange:
    """What a change of mode did: the mode before and the one now (equal when nothing changed)."""

    previous: TradingMode
    current: TradingMode


NO_CONFIG = "there is no active risk configuration: nothing can be released"


def active_row(session: Session, *, lock: bool = False, with_config: bool = True) -> RiskConfig:
    """The active configuration row, without the JSON itself unless `with_config`: it may have a mebibyte.

    Raises Conflict `config_missing` when someone has removed it by hand.
    """
    query = select(RiskConfig).where(text("is_active")).execution_options(populate_existing=True)
    if not with_config:
        query = query.options(defer(RiskConfig.config, raiseload=True))
    row: RiskConfig | None = session.scalar(query.with_for_update() if lock else query)
    if row is None:
        raise Conflict(NO_CONFIG, "config_missing")
    return row


def read() -> RiskConfig:
    """The active row: `config`, `trading_mode`, `version`, `updated_at`, `updated_by`."""
    with reading() as session:
        return active_row(session)


# Written by the database: to read a mebibyte of JSON and write it again would hold up the worker.
WRITTEN = text(
    f"""
    SELECT version, json_build_object('trading_mode', trading_mode, 'config', config, 'version', version,
                                      'updated_at', {RFC3339.format("updated_at")}, 'updated_by', updated_by)::text
    FROM risk_configs WHERE is_active
    """  # noqa: S608 - made of constants
)


def written() -> tuple[int, str]:
    """The version of the active row, and the row as JSON text."""
    with reading() as session:
        found = session.execute(WRITTEN).one_or_none()
    if found is None:
        raise Conflict(NO_CONFIG, "config_missing")
    version, row = found
    return version, row


def trading_mode() -> TradingMode:
    with reading() as session:
        return TradingMode(active_row(session, with_config=False).trading_mode)


def second_factor_for_live() -> bool:
    with reading() as session:
        return active_row(session, with_config=False).second_factor_for_live


def approval_config() -> OperatorApproval:
    """The approval settings in force. Raises Conflict `config_invalid` where they cannot be read."""
    return _section_in_force(OperatorApproval, "operator_approval")


def signal_layers() -> SignalLayers:
    """The signal layers in force. Raises Conflict `config_invalid` where they cannot be read."""
    return _section_in_force(SignalLayers, "signal_layers")


def change_approval_config(actor: Actor, changes: dict[str, Any]) -> OperatorApproval:
    """Merge `changes` (a non-empty subset of the three settings) into the stored configuration.

    Raises Forbidden when they touch live approval and the actor is no admin.
    """
    if "require_approval_for_live" in changes:
        actor.require(Act.CHANGE_LIVE_APPROVAL, "only an admin may change require_approval_for_live")
    return _merge(actor, OperatorApproval, "operator_approval", changes, "approval_config.change")


def change_signal_layers(actor: Actor, changes: dict[str, Any]) -> SignalLayers:
    """Merge `changes` (a non-empty subset of `macro` and `competitive`) into the stored configuration."""
    return _merge(actor, SignalLayers, "signal_layers", changes, "signal_layers.change")


def known_sections(session: Session) -> dict[str, Any]:
    """The stored configuration less the sections that mean nothing to the gate, however large these are."""
    query = text("SELECT key, value FROM risk_configs, jsonb_each(config) WHERE is_active AND key = ANY (:names)")
    typed = query.columns(column("key", Text), column("value", JSONB))
    rows = session.execute(typed, {"names": [*SECTIONS]}).all()
    return {row.key: row.value for row in rows}


def _section_in_force(kind: type[Section], name: str) -> Section:
    with reading() as session:
        active_row(session, with_config=False)  # or there is none
        stored = known_sections(session)
    section = stored.get(name, {})
    try:
        return read_section(kind, name, section)[0]
    except ConfigInvalid as error:
        raise Conflict(f"{error}; {_how_to_fix(name, section)}", "config_invalid") from error


def unreadable_keys(name: str, stored: Any) -> list[str]:
    """The keys of a section that have to be set before it can be read: each that cannot be, or all."""
    known = list(SECTIONS[name].__dataclass_fields__)
    if not isinstance(stored, dict):
        return known
    return [key for key in known if key in stored and not _is_readable(name, {key: stored[key]})]


def _is_readable(name: str, section: dict[str, Any]) -> bool:
    try:
        read_section(SECTIONS[name], name, section)
    except ConfigInvalid:
        return False
    return True


def fixable_by(key: str, config: dict[str, Any]) -> Role:
    """The least role that can make the section of `key` readable again."""
    name = key.partition(".")[0]
    if name not in OPERATORS_MAY_SET or not set(unreadable_keys(name, config[name])) <= set(
        OPERATORS_MAY_SET[name][1]
    ):
        return Role.ADMIN
    return Role.OPERATOR


def _how_to_fix(name: str, stored: Any) -> str:
    route, _ = OPERATORS_MAY_SET[name]
    keys = " and ".join(unreadable_keys(name, stored))
    if fixable_by(name, {name: stored}) is Role.OPERATOR:
        return f"an operator can fix it: {route} with {keys}"
    return f"an admin can fix it: {route} with {keys}, or PUT /config"


def _merge(actor: Actor, kind: type[Section], name: str, changes: dict[str, Any], action: str) -> Section:
    with changing_rules(actor) as session:
        actor.require_credential(session)
        row = active_row(session, lock=True)
        stored = row.config.get(name, {})
        try:
            previous: Section | None = read_section(kind, name, stored)[0]
        except ConfigInvalid:
            previous = None
        merged = _section_in_force_after(kind, name, stored, changes)
        if merged == previous:
            return merged
        # Merged by the database, so that the numbers of every other key stay what they were, digit by digit.
        section = func.coalesce(RiskConfig.config[name], text("'{}'::jsonb"))
        patch = bindparam("patch", changes, JSONB)
        whole = RiskConfig.config.op("||")(
            func.jsonb_build_object(name, section.op("||")(patch) if isinstance(stored, dict) else patch)
        )
        _write(session, actor, config=whole)
        log.record(
            session,
            actor,
            action,
            name,
            before=asdict(previous) if previous else {name: stored},
            after=asdict(merged),
        )
        return merged


def _section_in_force_after(kind: type[Section], name: str, stored: Any, changes: dict[str, Any]) -> Section:
    """The section once `changes` are merged in; Conflict when it would still not be readable."""
    complete = set(changes) >= set(kind.__dataclass_fields__)
    if not isinstance(stored, dict) and not complete:
        raise Conflict(
            f"{name} is not an object in the stored configuration; {_how_to_fix(name, stored)}", "config_invalid"
        )
    merged = {**(stored if isinstance(stored, dict) else {}), **changes}
    try:
        return read_section(kind, name, merged)[0]
    except ConfigInvalid as error:
        raise Conflict(f"{error}; {_how_to_fix(name, merged)}", "config_invalid") from error


def _write(session: Session, actor: Actor, **values: Any) -> None:
    session.execute(
        update(RiskConfig)
        .where(text("is_active"))
        .values(
            version=RiskConfig.version + 1,
            updated_at=func.clock_timestamp(),
            updated_by=actor.name,
            **values,
        )
        .execution_options(synchronize_session=False)
    )


def replace(actor: Actor, config: dict[str, Any], *, expected_versions: frozenset[int] | None) -> RiskConfig:
    """Replace the whole configuration, if its version is among `expected_versions` (None: whatever it is).

    Raises Stale when it is not, and Invalid when the new one cannot be read or has unknown keys inside a known
    section: a misspelt limit must not be no limit.
    """
    actor.require(Act.REPLACE_CONFIG, "only an admin may replace the configuration")
    _check_replacement(config)
    with changing_rules(actor) as session:
        actor.require_credential(session)
        row = active_row(session, lock=True)
        _check_version(row, expected_versions)
        same = session.scalar(
            select(RiskConfig.config == bindparam("new", config, JSONB)).where(text("is_active"))
        )
        if not same:
            before = row.config
            _write(session, actor, config=bindparam("new", config, JSONB))
            log.record(session, actor, "config.replace", "risk_config", before=before, after=config)
            row = active_row(session)
        return row


def _check_version(row: RiskConfig, expected: frozenset[int] | None) -> None:
    if expected is not None and row.version not in expected:
        raise Stale(f"the configuration is at version {row.version} by now: read it again")


def _check_replacement(config: dict[str, Any]) -> None:
    try:
        read = PortfolioRiskConfig.from_db_json(config)
    except ConfigInvalid as error:
        raise Invalid({f"config.{error.key}": [error.problem]}) from error
    if read.unknown_in_sections:
        raise Invalid({f"config.{key}": ["is not a known key"] for key in read.unknown_in_sections})


def change_mode(
    actor: Actor,
    to: TradingMode,
    *,
    leaving: TradingMode | None = None,
    reason: str | None = None,
    expected_versions: frozenset[int] | None = None,
    second_factor: Proof | None = None,
) -> ModeChange:
    """Change the trading mode. To `disabled` nothing else is needed: stopping is cheap.

    Every other change names the mode that it leaves, so that a stale page cannot undo a halt (Conflict
    `mode_changed`), and a reason (Invalid without). Going live needs an admin, and a token made for it.
    Where the desk says so it takes a `second_factor` too (Forbidden `second_factor_required`).
    With `expected_versions` it is also Stale when anything in the configuration has changed since.
    A change cancels every order that still waits, in the same transaction.
    """
    if to is not TradingMode.DISABLED:
        errors = {name: ["is required"] for name, value in (("from", leaving), ("reason", reason)) if not value}
        if errors:
            raise Invalid(errors)
    if to is TradingMode.LIVE:
        actor.require(Act.GO_LIVE, "going live takes an admin, and a token only if it was made with --allow-live")
    with changing_rules(actor, halts=to is TradingMode.DISABLED) as session:
        actor.require_credential(session)
        row = active_row(session, lock=True, with_config=False)
        present = TradingMode(row.trading_mode)
        if to is not TradingMode.DISABLED:
            if present is not leaving:
                raise Conflict(f"the trading mode is {present} by now, not {leaving}", "mode_changed")
            # The mode may have left and come back: a halt that was undone and done again is another halt.
            _check_version(row, expected_versions)
        if to is TradingMode.LIVE and row.second_factor_for_live:
            if second_factor is None:
                raise Forbidden(
                    "going live takes a second factor, which a person gives on the page: no token or command can",
                    SECOND_FACTOR_REQUIRED,
                )
            second_factor.spend(session)
        if present is not to:
            _write(session, actor, trading_mode=to.value)
            log.record(
                session,
                actor,
                "mode.change",
                "trading_mode",
                before={"trading_mode": present.value},
                after={"trading_mode": to.value},
                note=reason,
            )
            transitions.cancel_waiting(session, actor, f"the trading mode was changed from {present} to {to}")
        return ModeChange(previous=present, current=to)


def require_second_factor_for_live(actor: Actor, required: bool, second_factor: Proof | None) -> bool:
    """Say whether going live takes a second factor; whether that was a change. Either way it takes one itself:
    nobody asks of others what they do not have, and a session that was left open cannot lift it.

    The shell of the machine, which has the database, lifts it without. Raises Forbidden.
    """
    from_the_shell = actor.account_id is None and not required
    actor.require(Act.MANAGE_ACCOUNTS, "only an admin may say what going live takes")
    if second_factor is None and not from_the_shell:
        raise Forbidden("this takes a second factor: a person gives a code", SECOND_FACTOR_REQUIRED)
    with changing_rules(actor) as session:
        actor.require_credential(session)
        actor.require_confirmation(session)
        row = active_row(session, lock=True, with_config=False)
        if second_factor is not None:
            second_factor.spend(session)
        if row.second_factor_for_live == required:
            return False
        # The version grows, so a question about going live that lay open is void.
        _write(session, actor, second_factor_for_live=required)
        name = "second_factor_for_live"
        log.record(session, actor, f"{name}.change", name, before={name: not required}, after={name: required})
        return True


def mode_of_account() -> TradingMode:
    """The mode whose account is meant where the account at the venue is asked for: the present one. While trading
    is disabled it is the one that was left for that, so that nobody is shown the account of real money who did not
    trade it; paper where the record does not say."""
    with reading() as session:
        present = TradingMode(active_row(session, with_config=False).trading_mode)
        if present is not TradingMode.DISABLED:
            return present
        changes = select(AuditEvent.before, AuditEvent.after).where(AuditEvent.action == "mode.change")
        last = session.execute(changes.order_by(AuditEvent.id.desc()).limit(1)).one_or_none()
    if last is None or last.after != {"trading_mode": present.value} or last.before == last.after:
        return TradingMode.PAPER
    return TradingMode(last.before["trading_mode"])
