"""Service accounts whose owner may no longer be responsible for them: suspended, and later resumed.

Called in a transaction that holds the rules lock exclusively, so that no order of a suspended engine is decided or
sent under the old state. Tokens of a suspended account are refused, and valid again once it is resumed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from sqlalchemy import func, select, text, update
from sqlalchemy.orm import Session

from app.domain.control import may_own
from app.domain.roles import Role
from app.models import Account
from app.services import rules
from app.services.actor import Actor
from app.services.audit import log
from app.services.execution import open_orders
from app.services.orders import transitions
from app.services.orders.submit import TABLE, Shown

PENDING = text("orders.status = 'pending_approval' AND orders.expires_at > clock_timestamp()")


@dataclass(frozen=True, slots=True)
class Stopped:
    """A service account that is suspended or deactivated, or would be.

    `pending` orders are canceled; those `at_broker` stay there until a person cancels them.
    """

    name: str
    role: Role
    pending: int
    at_broker: Sequence[Shown] = field(default=(), repr=False)


def owned(session: Session, owner_id: int) -> list[Account]:
    """The service accounts of a person, by name."""
    query = select(Account).where(Account.owner_id == owner_id, Account.password_hash.is_(None))
    return list(session.scalars(query.order_by(func.lower(Account.name))))


def to_suspend(session: Session, owner_id: int, role: Role | None) -> list[Account]:
    """The accounts of a person that a role of theirs does not allow, without those that are suspended already.

    Without a role (the person is deactivated) none is allowed.
    """
    return [
        account
        for account in owned(session, owner_id)
        if account.suspended_at is None and not (role and may_own(role, Role(account.role)))
    ]


def preview(session: Session, accounts: Iterable[Account]) -> list[Stopped]:
    """What suspending these accounts would do."""
    return [_stopped(session, account, _count_pending(session, account.id)) for account in accounts]


def suspend(session: Session, actor: Actor, accounts: Iterable[Account], why: str) -> list[Stopped]:
    """Suspend accounts and cancel the pending orders of the engines among them. `why` completes "suspended: "."""
    stopped = []
    for account in accounts:
        _set(session, account, func.clock_timestamp())
        found = cancel_pending(session, actor, account, f"{account.name} is suspended: {why}")
        stopped.append(found)
        after = {"suspended": True, "canceled_orders": found.pending, "orders_at_broker": len(found.at_broker)}
        before = {"suspended": False}
        log.record(session, actor, "account.suspend", account.name, before=before, after=after, note=why)
    return stopped


def cancel_pending(session: Session, actor: Actor, account: Account, why: str) -> Stopped:
    """Cancel the pending orders of an engine; what is at the broker is only listed."""
    return _stopped(session, account, transitions.cancel_of_account(session, actor, account.id, why))


def resume(session: Session, actor: Actor, owner_id: int, role: Role) -> list[str]:
    """Resume the suspended accounts that a person with this role may own; their names."""
    resumed = []
    for account in owned(session, owner_id):
        if account.suspended_at is not None and may_own(role, Role(account.role)):
            lift(session, actor, account)
            resumed.append(account.name)
    return resumed


def lift(session: Session, actor: Actor, account: Account) -> None:
    """End the suspension of one account."""
    _set(session, account, None)
    before, after = {"suspended": True}, {"suspended": False}
    log.record(session, actor, "account.resume", account.name, before=before, after=after)


def is_stopped(session: Session, account_id: int) -> bool:
    """Whether an account is suspended or deactivated."""
    stopped = Account.suspended_at.is_not(None) | Account.deactivated_at.is_not(None)
    return session.scalar(select(Account.id).where(Account.id == account_id, stopped)) is not None


def _set(session: Session, account: Account, suspended_at: object) -> None:
    session.execute(update(Account).where(Account.id == account.id).values(suspended_at=suspended_at))


def _count_pending(session: Session, account_id: int) -> int:
    query = select(func.count()).select_from(TABLE).where(TABLE.c.account_id == account_id, PENDING)
    return session.scalar(query) or 0


def _stopped(session: Session, account: Account, pending: int) -> Stopped:
    at = rules.clock_and_multipliers(session)
    at_broker = [open_orders.as_json(row, *at) for row in open_orders.of_account(session, account.id)]
    return Stopped(account.name, Role(account.role), pending, at_broker)
