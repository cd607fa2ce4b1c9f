"""Who may do what: the one table of rights. Routes name an act, and the act names the roles."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class Role(StrEnum):
    """viewer < operator < admin for people and their scripts; engine, apart, for what submits orders."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"
    ENGINE = "engine"


PEOPLE_ROLES = (Role.VIEWER, Role.OPERATOR, Role.ADMIN)


class Act(StrEnum):
    """Something that a role may or may not do."""

    READ_DESK = "read_desk"
    READ_RULES = "read_rules"  # lockouts, mode and layers: what an engine must know to trade sensibly
    OPERATE = "operate"  # halt and paper mode, lockouts, layers, paper approval, timeout
    LOCK_OUT_AUTOMATICALLY = "lock_out_automatically"  # lockouts of type news_shock and cooldown
    GO_LIVE = "go_live"
    CHANGE_LIVE_APPROVAL = "change_live_approval"
    REPLACE_CONFIG = "replace_config"
    READ_ORDERS = "read_orders"  # an engine reads only its own
    DECIDE_ORDERS = "decide_orders"  # approve and reject
    TRADE = "trade"  # submit orders and withdraw them
    MANAGE_ACCOUNTS = "manage_accounts"  # people, their roles, tokens


_EVERY_PERSON = frozenset(PEOPLE_ROLES)
_OPERATORS = frozenset({Role.OPERATOR, Role.ADMIN})
_ADMINS = frozenset({Role.ADMIN})
_ENGINES = frozenset({Role.ENGINE})

RIGHTS: Mapping[Act, frozenset[Role]] = {
    Act.READ_DESK: _EVERY_PERSON,
    Act.READ_RULES: _EVERY_PERSON | _ENGINES,
    Act.OPERATE: _OPERATORS,
    Act.LOCK_OUT_AUTOMATICALLY: _OPERATORS | _ENGINES,
    Act.GO_LIVE: _ADMINS,
    Act.CHANGE_LIVE_APPROVAL: _ADMINS,
    Act.REPLACE_CONFIG: _ADMINS,
    Act.READ_ORDERS: _EVERY_PERSON | _ENGINES,
    Act.DECIDE_ORDERS: _OPERATORS,
    Act.TRADE: _ENGINES,
    Act.MANAGE_ACCOUNTS: _ADMINS,
}


def may(role: Role, act: Act) -> bool:
    """Whether `role` may do `act`. An act that is not in the table is nobody's."""
    return role in RIGHTS.get(act, frozenset())
