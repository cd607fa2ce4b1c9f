"""Who controls an account: the rule that keeps people from approving their own engines' orders.

Accounts are given by their ids. An edge says that one account controls another directly; control is transitive.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from app.domain.roles import Role


class SelfApproval(StrEnum):
    """Whether a person may approve orders of engines that they control."""

    NEVER = "never"
    ALONE = "alone"  # only while no other active person may approve


@dataclass(frozen=True, slots=True)
class Control:
    """`controller` controls `controlled` directly.

    It owns or created the service account, created one of its tokens, or set the password or removed the second
    factor that the other person has not replaced yet.
    """

    controller: int
    controlled: int


def controllers(account: int, edges: Iterable[Control]) -> frozenset[int]:
    """The account itself and every account that controls it, directly or through others."""
    direct: dict[int, set[int]] = {}
    for edge in edges:
        direct.setdefault(edge.controlled, set()).add(edge.controller)
    found, unvisited = {account}, [account]
    while unvisited:
        new = direct.get(unvisited.pop(), set()) - found
        found |= new
        unvisited.extend(new)
    return frozenset(found)


def share_a_controller(one: int, other: int, edges: Iterable[Control]) -> bool:
    """Whether one account, or an account that controls it, also controls the other.

    Such an account does not approve the orders of such an engine, and two such approvers count as one.
    """
    known = tuple(edges)
    return not controllers(one, known).isdisjoint(controllers(other, known))


_RANK = {Role.VIEWER: 0, Role.OPERATOR: 1, Role.ADMIN: 2}


def may_own(owner: Role, owned: Role) -> bool:
    """Whether a person of role `owner` is high enough for a service account of role `owned`.

    A script's role must not exceed its owner's; an engine's owner must be more than a viewer.
    """
    return _RANK.get(owner, -1) >= (_RANK[Role.OPERATOR] if owned is Role.ENGINE else _RANK[owned])
