"""What admins do with accounts. All of it is a change of the rules: it waits for what is being decided, and two
who act upon each other at once are taken one after the other, each judged by what the one before has left."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, func, select, text, update
from sqlalchemy.orm import Session

from app.db.transaction import changing_rules, reading
from app.domain.control import may_own
from app.domain.roles import PEOPLE_ROLES, Act, Role
from app.models import Account, Token
from app.services.accounts import control, sessions, suspension, two_factor, users
from app.services.accounts.login import ALIVE
from app.services.accounts.suspension import Stopped
from app.services.accounts.two_factor import Proof
from app.services.actor import Actor
from app.services.audit import log
from app.services.errors import Conflict, Forbidden, Invalid, NotFound

PEOPLE = f"""
    SELECT accounts.id, name, role, accounts.created_at, deactivated_at, signed_in_at,
           factors.confirmed_at IS NOT NULL AS second_factor,
           num_nonnulls(password_set_by_id, second_factor_removed_by_id) > 0 AS must_change_password,
           (SELECT count(*) FROM web_sessions WHERE account_id = accounts.id AND {ALIVE}) AS sessions,
           (SELECT count(*) FROM tokens WHERE account_id = accounts.id AND revoked_at IS NULL) AS tokens
    FROM accounts LEFT JOIN second_factors AS factors ON factors.account_id = accounts.id
    WHERE password_hash IS NOT NULL
    ORDER BY deactivated_at IS NOT NULL, lower(name)
"""  # noqa: S608 - made of constants
TOKENS = """
    SELECT tokens.id, accounts.name, accounts.role, owners.name AS owner, allow_live,
           tokens.created_at, created_by, last_used_at, revoked_at,
           accounts.suspended_at IS NOT NULL AS is_suspended, accounts.password_hash IS NOT NULL AS is_persons
    FROM tokens JOIN accounts ON accounts.id = account_id
    LEFT JOIN accounts AS owners ON owners.id = accounts.owner_id
    ORDER BY revoked_at IS NOT NULL, revoked_at DESC, lower(accounts.name), tokens.created_at DESC
    LIMIT :most
"""
MOST_TOKENS = 500
CONTROLS_ACCOUNT = (
    "you control this account (you, or a person who controls yours, own it, created it, or created one of its"
    " tokens): another admin has to give it another owner"
)


def people() -> list[Row[Any]]:
    """Everybody who can sign in, or could until they were deactivated: `id`, `name`, `role`, `created_at`,
    `deactivated_at`, `signed_in_at`, `second_factor`, `must_change_password`, and how many open `sessions` and
    `tokens` that hold."""
    with reading() as session:
        return list(session.execute(text(PEOPLE)))


def tokens() -> list[Row[Any]]:
    """Up to 500 tokens, those that hold first: `id`, `name` and `role` of the account, `owner`, `allow_live`,
    `created_at`, `created_by`, `last_used_at` (a minute late at most), `revoked_at`, and of the account
    `is_suspended` and `is_persons`."""
    with reading() as session:
        return list(session.execute(text(TOKENS), {"most": MOST_TOKENS}))


def role_of(name: str) -> Role | None:
    """The role of the account of that name, None where there is none."""
    with reading() as session:
        account = users.find(session, name)
        return Role(account.role) if account else None


def first_password() -> str:
    """96 random bits."""
    return secrets.token_urlsafe(12)


@dataclass(frozen=True, slots=True)
class Effects:
    """What a change of a person's role or state did, or would do, to the service accounts that they own."""

    changed: bool = True
    stopped: Sequence[Stopped] = ()  # suspended; or the account itself, where a service account is deactivated
    resumed: Sequence[str] = ()


def preview(name: str, role: Role | None) -> Sequence[Stopped]:
    """The service accounts that giving this person that role would suspend; without a role, deactivating them, or
    that service account."""
    with reading() as session:
        account = users.find(session, name)
        return () if account is None else suspension.preview(session, _to_stop(session, account, role))


def _to_stop(session: Session, account: Account, role: Role | None) -> list[Account]:
    if account.password_hash is None:
        return [account] if role is None else []
    # A promotion suspends nothing, whatever an admin has given this person to own.
    is_lower = role is None or not may_own(role, Role(account.role))
    return suspension.to_suspend(session, account.id, role) if is_lower else []


def add(actor: Actor, name: str, role: Role, password: str, proof: Proof | None = None) -> None:
    """A person. Raises as `accounts.add_person` does."""
    actor.require(Act.MANAGE_ACCOUNTS, "only an admin may add people")
    users.add_person(actor, name, role, password, proof)


def set_role(actor: Actor, name: str, role: Role, proof: Proof | None = None) -> Effects:
    """Give a person another role. Their sessions go on with it, at once, but no session becomes an admin's: it may
    have begun when less guarded it. Their tokens end: none gets more than it was made for.

    Service accounts of theirs are suspended where the new role is too low for them, and resumed where it suffices.
    Raises Conflict `last_admin` where no admin would be left."""
    if role not in PEOPLE_ROLES:
        raise Invalid({"role": ["people are viewers, operators or admins"]})
    with changing_rules(actor) as session:
        account = _other(session, actor, name)
        if account.role == role:
            return Effects(changed=False)
        if role is Role.ADMIN:
            actor.require_confirmation(session)
        if Role.ADMIN in (role, account.role):
            users.require_second_factor(session, actor, proof)
        _keep_an_admin(session, account)
        before, to_stop = {"role": account.role}, _to_stop(session, account, role)
        session.execute(update(Account).where(Account.id == account.id).values(role=role.value))
        revoked = _revoke_tokens(session, account.id)
        ended = sessions.end_of(session, account.id) if role is Role.ADMIN else 0
        sessions.tell_all(session)
        told = {"revoked_tokens": revoked, "ended_sessions": ended}
        after = {"role": role.value} | {name: value for name, value in told.items() if value}
        log.record(session, actor, "account.change_role", account.name, before=before, after=after)
        stopped = suspension.suspend(session, actor, to_stop, f"its owner {account.name} is {role} now")
        resumed = [] if account.deactivated_at else suspension.resume(session, actor, account.id, role)
        return Effects(stopped=stopped, resumed=resumed)


def deactivate(actor: Actor, name: str) -> Effects:
    """Bar a person or service account from signing in until it is reactivated. Open sessions end immediately,
    and pending orders of an engine are canceled. Service accounts that the person owns are suspended.

    Raises Conflict `last_admin` where no admin would be left."""
    with changing_rules(actor) as session:
        account = _other(session, actor, name, people_only=False)
        if account.deactivated_at is not None:
            raise Conflict(f"the account {account.name} is deactivated already", "account_deactivated")
        _keep_an_admin(session, account)
        to_stop = _to_stop(session, account, None)
        session.execute(
            update(Account).where(Account.id == account.id).values(deactivated_at=func.clock_timestamp())
        )
        ended = {"sessions": sessions.end_of(session, account.id), "tokens": _revoke_tokens(session, account.id)}
        before = {"active": True, "role": account.role} | ended
        log.record(session, actor, "account.deactivate", account.name, before=before, after={"active": False})
        if account.password_hash is not None:
            why = f"its owner {account.name} was deactivated"
            return Effects(stopped=suspension.suspend(session, actor, to_stop, why))
        return Effects(
            stopped=[suspension.cancel_pending(session, actor, account, f"{account.name} was deactivated")]
        )


def reactivate(actor: Actor, name: str, proof: Proof | None = None) -> Effects:
    """They may sign in again, with the password that they had; tokens that ended stay so. Service accounts of
    theirs that were suspended are resumed."""
    with changing_rules(actor) as session:
        account = _other(session, actor, name, people_only=False)
        if account.deactivated_at is None:
            raise Conflict(f"the account {account.name} is active already", "account_active")
        if account.role == Role.ADMIN:
            users.require_second_factor(session, actor, proof)
        session.execute(update(Account).where(Account.id == account.id).values(deactivated_at=None))
        before, after = {"active": False}, {"active": True, "role": account.role}
        log.record(session, actor, "account.reactivate", account.name, before=before, after=after)
        return Effects(resumed=suspension.resume(session, actor, account.id, Role(account.role)))


def change_owner(actor: Actor, name: str, owner: str, proof: Proof | None = None) -> Effects:
    """Give a service account another owner, which also resumes it.

    Raises Forbidden `controls_account` for an admin who controls the account, directly or through another: they
    could give an engine away and then approve its orders. Raises Invalid for an owner who is not active, or of too
    low a role.
    """
    with changing_rules(actor) as session:
        actor.require_credential(session)
        actor.require(Act.MANAGE_ACCOUNTS, "only an admin may do this")
        account = users.find(session, name)
        if account is None:
            raise NotFound(f"there is no account named {name}")
        if account.password_hash is not None:
            raise Invalid({"name": [f"{account.name} is a person: only service accounts have an owner"]})
        if control.controls(session, actor, account.id):
            raise Forbidden(CONTROLS_ACCOUNT, "controls_account")
        person = users.find_owner(session, owner)
        if not may_own(Role(person.role), Role(account.role)):
            raise Invalid(
                {"owner": [f"{person.name} is {person.role}, too low for {account.role} {account.name}"]}
            )
        if account.owner_id == person.id and account.suspended_at is None:
            return Effects(changed=False)
        if account.role == Role.ADMIN:
            users.require_second_factor(session, actor, proof)
        old = None if account.owner_id is None else session.get(Account, account.owner_id)
        session.execute(update(Account).where(Account.id == account.id).values(owner_id=person.id))
        before, after = {"owner": old.name if old else None}, {"owner": person.name}
        log.record(session, actor, "account.change_owner", account.name, before=before, after=after)
        if account.suspended_at is None:
            return Effects()
        suspension.lift(session, actor, account)
        return Effects(resumed=[account.name])


def reset_password(actor: Actor, name: str, password: str, proof: Proof | None = None) -> None:
    """Give a person another password, which they have to change at the next sign-in, unless it comes from the
    command line. Until then the actor controls them. Their sessions end; the second factor stays."""
    password_hash = users.hash_password(name, password)
    with changing_rules(actor) as session:
        account = _other(session, actor, name)
        actor.require_confirmation(session)
        if account.role == Role.ADMIN:
            users.require_second_factor(session, actor, proof)
        session.execute(
            update(Account)
            .where(Account.id == account.id)
            .values(password_hash=password_hash, password_set_by_id=actor.account_id)
        )
        ended = sessions.end_of(session, account.id)
        log.record(session, actor, "account.reset_password", account.name, before={"sessions": ended})


def remove_second_factor(actor: Actor, name: str, proof: Proof | None = None) -> None:
    """Of a person who has lost it: from then on the password alone signs them in; their sessions end. They have to
    change the password at the next sign-in, and until then the actor controls them; not so from the command line.
    Raises Conflict where it is off."""
    with changing_rules(actor) as session:
        account = _other(session, actor, name)
        actor.require_confirmation(session)
        if account.role == Role.ADMIN:
            users.require_second_factor(session, actor, proof)
        if not two_factor.forget(session, account.id):
            raise Conflict(f"the second factor of {account.name} is off already", "second_factor_off")
        session.execute(
            update(Account).where(Account.id == account.id).values(second_factor_removed_by_id=actor.account_id)
        )
        sessions.end_of(session, account.id)
        before, after = {"second_factor": True}, {"second_factor": False}
        log.record(session, actor, "second_factor.remove", account.name, before=before, after=after)


def change_password(actor: Actor, checked: Any, new: str) -> int:
    """One's own; `checked` is the account from `login.prove_password`. All other sessions end; how many. Tokens
    go on: they do not know the password. From then on no other person controls this one."""
    if users.is_password_of(checked, new):
        raise Invalid({"new_password": ["must differ from the current one"]})
    password_hash = users.hash_password(actor.name, new, "new_password")
    with changing_rules(actor) as session:
        actor.require_credential(session)
        if not users.still_opens(session, checked):
            raise Forbidden("the password was changed a moment ago", "credential_revoked")
        session.execute(
            update(Account)
            .where(Account.id == checked.id)
            .values(password_hash=password_hash, password_set_by_id=None, second_factor_removed_by_id=None)
        )
        ended = sessions.end_of(session, checked.id, but=actor.session_hash)
        log.record(session, actor, "account.change_password", actor.name, before={"other_sessions": ended})
        return ended


def _other(session: Session, actor: Actor, name: str, *, people_only: bool = True) -> Account:
    """The account to act upon, which is never one's own: nobody raises their own role, and nobody locks themselves
    out by a slip. Whoever acts is an admin to this moment, not only when they were looked up."""
    actor.require_credential(session)
    actor.require(Act.MANAGE_ACCOUNTS, "only an admin may do this")
    account = users.find(session, name)
    if account is None or (people_only and account.password_hash is None):
        raise NotFound(f"there is no {'person' if people_only else 'account'} named {name}")
    if account.id == actor.account_id:
        raise Conflict("this is your own account: another admin has to do that", "own_account")
    return account


def _keep_an_admin(session: Session, account: Account) -> None:
    others = select(func.count()).where(
        Account.role == Role.ADMIN.value,
        Account.password_hash.is_not(None),
        Account.deactivated_at.is_(None),
        Account.id != account.id,
    )
    is_one = account.role == Role.ADMIN and account.password_hash is not None and account.deactivated_at is None
    if is_one and not session.scalar(others):
        raise Conflict(
            f"the account {account.name} is that of the last admin: make another one first", "last_admin"
        )


def _revoke_tokens(session: Session, account_id: int) -> list[str]:
    query = update(Token).where(Token.account_id == account_id, Token.revoked_at.is_(None))
    revoked = session.scalars(query.values(revoked_at=func.clock_timestamp()).returning(Token.id)).all()
    return sorted(revoked)
