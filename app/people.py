"""What admins do with accounts. All of it is a change of the rules: it waits for what is being decided, and two
who act upon each other at once are taken one after the other, each judged by what the one before has left."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, func, select, text, update
from sqlalchemy.orm import Session

from app import accounts, second_factor, sessions
from app.desk import audit, config
from app.desk.actor import Actor
from app.desk.errors import Conflict, Forbidden, Invalid, NotFound
from app.desk.transaction import changing_rules, reading
from app.domain.roles import PEOPLE_ROLES, Act, Role
from app.models import Account, Token
from app.second_factor import Proof

PEOPLE = f"""
    SELECT accounts.id, name, role, accounts.created_at, deactivated_at, signed_in_at,
           factors.confirmed_at IS NOT NULL AS second_factor,
           (SELECT count(*) FROM web_sessions WHERE account_id = accounts.id AND {sessions.ALIVE}) AS sessions,
           (SELECT count(*) FROM tokens WHERE account_id = accounts.id AND revoked_at IS NULL) AS tokens
    FROM accounts LEFT JOIN second_factors AS factors ON factors.account_id = accounts.id
    WHERE password_hash IS NOT NULL
    ORDER BY deactivated_at IS NOT NULL, lower(name)
"""  # noqa: S608 - made of constants
TOKENS = """
    SELECT tokens.id, accounts.name, accounts.role, owners.name AS owner, allow_live,
           tokens.created_at, created_by, last_used_at, revoked_at
    FROM tokens JOIN accounts ON accounts.id = account_id
    LEFT JOIN accounts AS owners ON owners.id = accounts.owner_id
    ORDER BY revoked_at IS NOT NULL, revoked_at DESC, lower(accounts.name), tokens.created_at DESC
    LIMIT :most
"""
MOST_TOKENS = 500


def people() -> list[Row[Any]]:
    """Everybody who can sign in, or could until they were deactivated: `id`, `name`, `role`, `created_at`,
    `deactivated_at`, `signed_in_at`, `second_factor`, and how many open `sessions` and `tokens` that hold."""
    with reading() as session:
        return list(session.execute(text(PEOPLE)))


def tokens() -> list[Row[Any]]:
    """Up to 500 tokens, those that hold first: `id`, `name` and `role` of the account, `owner`, `allow_live`,
    `created_at`, `created_by`, `last_used_at` (a minute late at most), `revoked_at`."""
    with reading() as session:
        return list(session.execute(text(TOKENS), {"most": MOST_TOKENS}))


def role_of(name: str) -> Role | None:
    """The role of the account of that name, None where there is none."""
    with reading() as session:
        account = accounts.find(session, name)
        return Role(account.role) if account else None


def first_password() -> str:
    """96 random bits."""
    return secrets.token_urlsafe(12)


@dataclass(frozen=True, slots=True)
class Gate:
    """What an act that makes, restores or demotes an admin takes where going live takes a second factor: a code of
    one's own. Or whoever has a session could make an admin, who sets up a second factor of their own and goes
    live; or demote one, and so be rid of what guards that person's password and second factor."""

    actor: Actor
    proof: Proof | None

    def pass_(self, session: Session) -> None:
        """Raises Forbidden or Invalid where the proof is wanting. The shell of the machine needs none."""
        if self.actor.account_id is None or not config.active_row(session).second_factor_for_live:
            return
        if self.proof is None:
            raise Invalid({"totp_code": ["is required: the code of your authenticator"]})
        self.proof.spend(session)


def add(actor: Actor, name: str, role: Role, password: str, proof: Proof | None = None) -> None:
    """A person. Raises as `accounts.add_person` does."""
    actor.require(Act.MANAGE_ACCOUNTS, "only an admin may add people")
    accounts.add_person(actor, name, role, password, proof_for_admins=Gate(actor, proof).pass_)


def set_role(actor: Actor, name: str, role: Role, proof: Proof | None = None) -> bool:
    """Give a person another role; whether that is a change. Their sessions go on with it, at once, but no session
    becomes an admin's: it may have begun when less guarded it. Their tokens end: none gets more than it was made
    for. Raises Conflict `last_admin` where nobody would be left."""
    if role not in PEOPLE_ROLES:
        raise Invalid({"role": ["people are viewers, operators or admins"]})
    with changing_rules(actor) as session:
        account = _other(session, actor, name)
        if account.role == role:
            return False
        if Role.ADMIN in (role, account.role):
            Gate(actor, proof).pass_(session)
        _keep_an_admin(session, account)
        before = {"role": account.role}
        session.execute(update(Account).where(Account.id == account.id).values(role=role.value))
        revoked = _revoke_tokens(session, account.id)
        ended = sessions.end_of(session, account.id) if role is Role.ADMIN else 0
        sessions.tell_all(session)
        told = {"revoked_tokens": revoked, "ended_sessions": ended}
        after = {"role": role.value} | {name: value for name, value in told.items() if value}
        audit.record(session, actor, "account.change_role", account.name, before=before, after=after)
        return True


def deactivate(actor: Actor, name: str) -> None:
    """Nobody signs in as this person, or this service account, until it is reactivated; what is open ends at once.
    Raises Conflict `last_admin` where no admin would be left."""
    with changing_rules(actor) as session:
        account = _other(session, actor, name, people_only=False)
        if account.deactivated_at is not None:
            raise Conflict(f"the account {account.name} is deactivated already", "account_deactivated")
        _keep_an_admin(session, account)
        session.execute(
            update(Account).where(Account.id == account.id).values(deactivated_at=func.clock_timestamp())
        )
        ended = {"sessions": sessions.end_of(session, account.id), "tokens": _revoke_tokens(session, account.id)}
        before = {"active": True, "role": account.role} | ended
        audit.record(session, actor, "account.deactivate", account.name, before=before, after={"active": False})


def reactivate(actor: Actor, name: str, proof: Proof | None = None) -> None:
    """They may sign in again, with the password that they had; tokens that ended stay so."""
    with changing_rules(actor) as session:
        account = _other(session, actor, name, people_only=False)
        if account.deactivated_at is None:
            raise Conflict(f"the account {account.name} is active already", "account_active")
        if account.role == Role.ADMIN:
            Gate(actor, proof).pass_(session)
        session.execute(update(Account).where(Account.id == account.id).values(deactivated_at=None))
        before, after = {"active": False}, {"active": True, "role": account.role}
        audit.record(session, actor, "account.reactivate", account.name, before=before, after=after)


def reset_password(actor: Actor, name: str, password: str, proof: Proof | None = None) -> None:
    """Give a person another password. Their sessions end; the second factor stays."""
    password_hash = accounts.hash_password(name, password)
    with changing_rules(actor) as session:
        account = _other(session, actor, name)
        if account.role == Role.ADMIN:
            Gate(actor, proof).pass_(session)
        session.execute(update(Account).where(Account.id == account.id).values(password_hash=password_hash))
        ended = sessions.end_of(session, account.id)
        audit.record(session, actor, "account.reset_password", account.name, before={"sessions": ended})


def remove_second_factor(actor: Actor, name: str, proof: Proof | None = None) -> None:
    """Of a person who has lost it: from then on the password alone signs them in; their sessions end. Raises
    Conflict where it is off."""
    with changing_rules(actor) as session:
        account = _other(session, actor, name)
        if account.role == Role.ADMIN:
            Gate(actor, proof).pass_(session)
        if not second_factor.forget(session, account.id):
            raise Conflict(f"the second factor of {account.name} is off already", "second_factor_off")
        sessions.end_of(session, account.id)
        before, after = {"second_factor": True}, {"second_factor": False}
        audit.record(session, actor, "second_factor.remove", account.name, before=before, after=after)


def change_password(actor: Actor, checked: Any, new: str) -> int:
    """One's own; `checked` is the account from `sign_in.prove_password`. All other sessions end; how many. Tokens
    go on: they do not know the password."""
    password_hash = accounts.hash_password(actor.name, new, "new_password")
    with changing_rules(actor) as session:
        actor.require_credential(session)
        if not accounts.still_opens(session, checked):
            raise Forbidden("the password was changed a moment ago", "credential_revoked")
        session.execute(update(Account).where(Account.id == checked.id).values(password_hash=password_hash))
        ended = sessions.end_of(session, checked.id, but=actor.session_hash)
        audit.record(session, actor, "account.change_password", actor.name, before={"other_sessions": ended})
        return ended


def _other(session: Session, actor: Actor, name: str, *, people_only: bool = True) -> Account:
    """The account to act upon, which is never one's own: nobody raises their own role, and nobody locks themselves
    out by a slip. Whoever acts is an admin to this moment, not only when they were looked up."""
    actor.require_credential(session)
    actor.require(Act.MANAGE_ACCOUNTS, "only an admin may do this")
    account = accounts.find(session, name)
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
