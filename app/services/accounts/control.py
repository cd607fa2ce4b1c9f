"""Who controls an account, read in the transaction that depends on it. The rule is app/domain/control.py."""

from __future__ import annotations

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from app.domain.control import Control, share_a_controller
from app.domain.roles import Act, Role, may
from app.models import Account
from app.services.actor import Actor

# One step up from an account. Creating a person's account gives no control over the person. Revoked tokens count
# too, because orders that were sent with them may still be pending.
_DIRECT = """
    SELECT unnest(ARRAY[owner_id, password_set_by_id, second_factor_removed_by_id,
                        CASE WHEN password_hash IS NULL THEN created_by_id END]) AS controller
    FROM accounts WHERE accounts.id = reached.account_id
    UNION ALL
    SELECT created_by_id FROM tokens WHERE tokens.account_id = reached.account_id
"""
EDGES = text(f"""
    WITH RECURSIVE reached (account_id) AS (
        SELECT unnest(CAST(:accounts AS bigint[]))
        UNION
        SELECT controller FROM reached, LATERAL ({_DIRECT}) AS direct WHERE controller IS NOT NULL
    )
    SELECT DISTINCT controller, reached.account_id
    FROM reached, LATERAL ({_DIRECT}) AS direct
    WHERE controller <> reached.account_id
""")  # noqa: S608 - made of constants

DECIDERS = tuple(role.value for role in Role if may(role, Act.DECIDE_ORDERS))


def edges(session: Session, *accounts: int) -> frozenset[Control]:
    """Every edge that leads to one of the accounts, directly or through others."""
    rows = session.execute(EDGES, {"accounts": list(accounts)})
    return frozenset(Control(controller, controlled) for controller, controlled in rows)


def controls(session: Session, actor: Actor, account_id: int) -> bool:
    """Whether the actor, or an account that controls the actor's, controls `account_id`. The command line controls
    nothing."""
    if actor.account_id is None:
        return False
    return share_a_controller(actor.account_id, account_id, edges(session, actor.account_id, account_id))


def is_only_approver(session: Session, actor: Actor) -> bool:
    """Whether the actor is a signed-in person, and no other active person may approve orders."""
    approvers = select(Account.id).where(
        Account.password_hash.is_not(None), Account.deactivated_at.is_(None), Account.role.in_(DECIDERS)
    )
    return actor.session_hash is not None and list(session.scalars(approvers)) == [actor.account_id]
