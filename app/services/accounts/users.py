"""People, service accounts, their tokens and roles."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from typing import Any, Self

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import Row, func, insert, select, update
from sqlalchemy.orm import Session

from app.db.transaction import changing_rules, look_up, reading, recording
from app.domain.roles import PEOPLE_ROLES, Role
from app.lib.threadpool import aside
from app.models import Account, Token
from app.services.accounts.token_usage import last_used
from app.services.actor import Actor
from app.services.audit import log
from app.services.errors import Conflict, Invalid, NotFound
from app.services.orders.submit import HOLDER, SUSPENDED
from app.services.orders.transitions import CHANNEL, MANY
from app.services.trading import config

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}", re.ASCII)
TOKEN_ID = re.compile(r"[0-9a-f]{16}", re.ASCII)
MIN_PASSWORD_LENGTH = 8  # NIST SP 800-63B, section 5.1.1.2, which also wants it to be no mere variant of the name
LEAST_BESIDE_THE_NAME = 3  # characters of a password that are not the person's name
MAX_PASSWORD_LENGTH = 256
EASY_TO_GUESS = "is easy to guess: use four or more unrelated words, or one that a password manager generates"

# OWASP's Password Storage Cheat Sheet. The library's defaults take 64 MiB for each concurrent sign-in.
HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
# Of a password that nobody knows. Checked against when there is no such account, so that the time taken does
# not tell whether there is one; written out, for making one takes as long whenever a command starts.
NOBODYS_HASH = "$argon2id$v=19$m=19456,t=2,p=1$i6K8nOT+c//VWJe6Azj4kw$+Q5B0o4BjU3JcpECRrvheyi0/nzHRPndDutC/0ZwVUA"


HOLDER_OF = f"""
    SELECT {HOLDER} FROM tokens JOIN accounts ON accounts.id = account_id
    WHERE tokens.id = %(token_id)s AND revoked_at IS NULL
"""  # noqa: S608 - made of constants

ALL_IDS = "SELECT array_agg(id) FROM tokens WHERE revoked_at IS NULL"


@dataclass(frozen=True, slots=True)
class TokenHolder:
    """The account behind a valid token."""

    account_id: int
    name: str
    role: Role
    allow_live: bool
    token_id: str
    is_suspended: bool


def hash_password(name: str, password: str, field: str = "password") -> str:
    """The hash of a new password. Raises Invalid, of `field`, when it is too short, too long, little but the name,
    or easy to guess."""
    # Its lists take 30 ms to load, and most commands and workers never set a password.
    from app.services.accounts.password_strength import is_easy_to_guess

    if not MIN_PASSWORD_LENGTH <= len(password) <= MAX_PASSWORD_LENGTH:
        raise Invalid({field: [f"must have {MIN_PASSWORD_LENGTH} to {MAX_PASSWORD_LENGTH} characters"]})
    if len(password.lower().replace(name.lower(), "")) < LEAST_BESIDE_THE_NAME:
        raise Invalid({field: ["must not be made of the name"]})
    if aside(is_easy_to_guess, password):
        raise Invalid({field: [EASY_TO_GUESS]})
    return aside(HASHER.hash, password)


def require_second_factor(session: Session, actor: Actor, proof: config.Proof | None) -> None:
    """Where going live takes a second factor, spend the code that was given for making, restoring or demoting an
    admin, or making an admin's token. The command line needs none. Raises Forbidden or Invalid.

    Without it, a stolen session could make an admin, who sets up a second factor of their own and goes live, or
    demote one, and with that remove what guards that person's password and second factor.
    """
    if actor.account_id is None or not config.active_row(session).second_factor_for_live:
        return
    if proof is None:
        raise Invalid({"totp_code": ["is required: the code of your authenticator"]})
    proof.spend(session)


def add_person(actor: Actor, name: str, role: Role, password: str, proof: config.Proof | None = None) -> None:
    """Create a person who signs in with a password. Raises Invalid, or Conflict when the name is taken.

    A password that another person gave has to be changed at the first sign-in; one from the command line does not.
    Creating an admin takes a recent confirmation of the actor's password, and `require_second_factor`.
    """
    _check_name(name)
    if role not in PEOPLE_ROLES:
        raise Invalid({"role": ["an engine has no password: make it a token instead"]})
    password_hash = hash_password(name, password)
    with recording() as session:
        actor.require_credential(session)
        _lock_names(session)
        if role is Role.ADMIN:
            actor.require_confirmation(session)
            require_second_factor(session, actor, proof)
        if find(session, name) is not None:
            raise Conflict(f"there is an account named {name} already", "name_taken")
        session.execute(
            insert(Account).values(
                name=name,
                role=role.value,
                password_hash=password_hash,
                created_by_id=actor.account_id,
                password_set_by_id=actor.account_id,
            )
        )
        log.record(session, actor, "account.create", name, after={"name": name, "role": role.value})


def any_person() -> bool:
    """Whether anybody could sign in."""
    with reading() as session:
        return session.scalar(select(Account.id).where(Account.password_hash.is_not(None)).limit(1)) is not None


def add_token(
    actor: Actor,
    name: str,
    role: Role,
    *,
    owner: str | None = None,
    allow_live: bool = False,
    proof: config.Proof | None = None,
) -> str:
    """Make a token for the account `name`, which is made too on first use, and return it as `ID.SECRET`.

    It is shown this once: only a hash is kept. Raises Invalid or Conflict when the account has another role or
    another owner, or when there is no such owner. An operator's or admin's token takes a recent confirmation of
    the actor's password, an admin's also `require_second_factor`.
    """
    _check_name(name)
    token_id, secret = secrets.token_hex(8), secrets.token_urlsafe(32)
    # Exclusive: an approval in progress is finished before the actor or the owner begins to control the account.
    with changing_rules(actor) as session:
        actor.require_credential(session)
        if role in (Role.OPERATOR, Role.ADMIN):
            actor.require_confirmation(session)
        if role is Role.ADMIN:
            require_second_factor(session, actor, proof)
        _lock_names(session)
        account_id = _account_for_token(session, actor, name, role, owner)
        session.execute(
            insert(Token).values(
                id=token_id,
                account_id=account_id,
                secret_hash=_hash(secret),
                allow_live=allow_live,
                created_by=actor.name,
                created_by_id=actor.account_id,
            )
        )
        log.record(
            session,
            actor,
            "token.create",
            token_id,
            after={"account": name, "role": role.value, "owner": owner, "allow_live": allow_live},
        )
    return f"{token_id}.{secret}"


def _account_for_token(session: Session, actor: Actor, name: str, role: Role, owner: str | None) -> int:
    owner_id = None if owner is None else find_owner(session, owner).id
    account = find(session, name)
    if account is None:
        log.record(
            session,
            actor,
            "account.create",
            name,
            after={"name": name, "role": role.value, "owner": owner},
        )
        return session.scalars(
            insert(Account)
            .values(name=name, role=role.value, owner_id=owner_id, created_by_id=actor.account_id)
            .returning(Account.id)
        ).one()
    if account.deactivated_at is not None:
        raise Conflict(f"the account {account.name} is deactivated, and gets no tokens", "account_deactivated")
    if account.suspended_at is not None:
        raise Conflict(
            f"the account {account.name} is suspended: give it another owner before it gets tokens", SUSPENDED
        )
    if account.password_hash is not None and actor.account_id not in (None, account.id):
        # Whoever has it acts under that person's name, and approves what they themselves may not.
        raise Conflict(
            f"the account {account.name} is a person's: their tokens are theirs to make, or the shell's",
            "not_yours",
        )
    if account.role != role:
        raise Conflict(f"the account {account.name} has the role {account.role}, not {role}", "role_differs")
    if owner_id is not None and account.owner_id != owner_id:
        # Ownership keeps people from approving their own engine's orders: it is given once.
        if account.owner_id is not None:
            raise Conflict(f"the account {account.name} has another owner already", "owner_differs")
        session.execute(update(Account).where(Account.id == account.id).values(owner_id=owner_id))
    return int(account.id)


def find_owner(session: Session, name: str) -> Account:
    """The active person of that name. Raises Invalid, of `owner`."""
    person = find(session, name)
    if person is None or person.password_hash is None:
        raise Invalid({"owner": [f"there is no person named {name}"]})
    if person.deactivated_at is not None:
        raise Invalid({"owner": [f"{person.name} is deactivated: name an active person"]})
    return person


def revoke_token(actor: Actor, token_id: str) -> None:
    """End a token at once. Raises NotFound when there is none, or when it has been revoked before."""
    unknown = NotFound(f"there is no token {token_id} that could be revoked")
    if not TOKEN_ID.fullmatch(token_id):
        raise unknown
    # Like a rule: what is being decided with it is finished first, and what comes later sees that it has ended.
    with changing_rules(actor) as session:
        actor.require_credential(session)
        revoked = session.execute(
            update(Token)
            .where(Token.id == token_id, Token.revoked_at.is_(None), Token.account_id == Account.id)
            .values(revoked_at=func.clock_timestamp())
            .returning(Account.name, Account.role, Token.allow_live)
        ).one_or_none()
        if revoked is None:
            raise unknown
        # Whoever waits for an order with it is to look again, and finds that it has ended.
        session.execute(select(func.pg_notify(CHANNEL, MANY)))
        before = {"account": revoked.name, "role": revoked.role, "allow_live": revoked.allow_live}
        log.record(session, actor, "token.revoke", token_id, before=before)


@dataclass(frozen=True, slots=True)
class Claim:
    """A token as it was shown, `ID.SECRET`, of which nothing is known yet."""

    token_id: str
    secret_hash: bytes

    @classmethod
    def read(cls, token: str) -> Self | None:
        """None when it cannot be a token at all."""
        token_id, _, secret = token.partition(".")
        if not secret or not token.isascii() or "\0" in token or len(token) > 200:
            return None
        return cls(token_id, _hash(secret))

    def look_up(self) -> TokenHolder | None:
        """The account that it belongs to, or None when it is unknown, wrong or revoked."""
        return self.checked(look_up(HOLDER_OF, {"token_id": self.token_id}))

    def checked(self, row: tuple[Any, ...] | None) -> TokenHolder | None:
        """`look_up`, with the row of HOLDER at hand."""
        if row is None or not hmac.compare_digest(row[0], self.secret_hash):
            return None
        _, allow_live, account_id, name, role, is_suspended = row
        last_used().note(self.token_id)
        return TokenHolder(account_id, name, Role(role), allow_live, self.token_id, is_suspended)


def token_ids() -> frozenset[str]:
    """Those of all tokens that hold."""
    row = look_up(ALL_IDS, {})
    return frozenset((row and row[0]) or ())


def password_matches(name: str, password: str) -> Row[int, str, str, str | None] | None:
    """The account (`id`, `name`, `role`) that `password` opens, or None; takes the same time either way."""
    with reading() as session:
        row = session.execute(
            select(Account.id, Account.name, Account.role, Account.password_hash).where(
                func.lower(Account.name) == name.lower(),
                Account.password_hash.is_not(None),
                Account.deactivated_at.is_(None),
            )
        ).one_or_none()
    # The database connection is back in the pool by now: hashing takes as long as twenty queries.
    matches = aside(_verifies, row.password_hash if row else NOBODYS_HASH, password[:MAX_PASSWORD_LENGTH])
    return row if matches else None


def is_password_of(account: Any, password: str) -> bool:
    """Whether `password` is that of an account from `password_matches`."""
    return aside(_verifies, account.password_hash, password)


def still_opens(session: Session, account: Any) -> bool:
    """Whether the password of an account from `password_matches` is still the one that was looked at."""
    same = select(Account.id).where(
        Account.id == account.id,
        Account.password_hash == account.password_hash,
        Account.deactivated_at.is_(None),
    )
    return session.scalar(same) is not None


def _verifies(password_hash: str, password: str) -> bool:
    try:
        return HASHER.verify(password_hash, password)
    except (VerificationError, InvalidHashError):
        return False


def _check_name(name: str) -> None:
    if not NAME.fullmatch(name):
        raise Invalid(
            {"name": ["must be 1 to 64 letters, digits or any of . _ - @, beginning with a letter or a digit"]}
        )


def _lock_names(session: Session) -> None:
    """Two that make the same account at once: the second one waits, and finds it."""
    session.execute(select(func.pg_advisory_xact_lock(func.hashtext("accounts"))))


def find(session: Session, name: str) -> Account | None:
    """The account of that name, however it is spelt. Not even asked for is what can be no name: some of it the
    database does not take."""
    if not NAME.fullmatch(name):
        return None
    return session.scalar(select(Account).where(func.lower(Account.name) == name.lower()))


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
