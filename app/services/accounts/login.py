"""Signing people in and out, and slowing down those who guess.

A stranger must not be able to lock an operator out, so nothing here ever closes an account. Tries are counted
for an address and for an address on one account; when many addresses try one account, each address gets
fewer tries, but a new one always has some. A browser in which the person signed in before carries a mark,
and is counted for itself alone (OWASP: Slow Down Online Guessing Attacks with Device Cookies).
"""

from __future__ import annotations

import hashlib
import ipaddress
import secrets
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

import psycopg
from sqlalchemy import ColumnElement, delete, func, insert, select, text, update
from sqlalchemy.orm import Session

from app.db.transaction import changing_rules, look_up, noting, one_at_a_time, reading, recording
from app.domain.roles import Role
from app.models import Account, SignInAttempt, SignInStep, WebSession
from app.services.accounts import two_factor, users
from app.services.accounts.login_throttle import throttle
from app.services.actor import Actor
from app.services.audit import log
from app.services.errors import ConfirmationRequired, Invalid, NotFound, TooManyTries
from app.services.orders.transitions import CHANNEL, MANY

WINDOW = text("interval '15 minutes'")
WINDOW_SECONDS = 15 * 60
TRIES_FOR_ADDRESS = 30
TRIES_FOR_ADDRESS_ON_ACCOUNT = 8
TRIES_UNDER_ATTACK = 3
ATTACKED_ABOVE = 40  # tries on one account by all strangers together
TRIES_FOR_DEVICE = 10
TRIES_FOR_ALL_DEVICES = 30

ALIVE = "web_sessions.created_at > now() - interval '7 days' AND seen_at > now() - interval '12 hours'"
HOLDER = f"""
    SELECT accounts.id, name, role, seen_at < now() - interval '1 minute',
           num_nonnulls(password_set_by_id, second_factor_removed_by_id) > 0
    FROM web_sessions JOIN accounts ON accounts.id = account_id
    WHERE id_hash = %(id_hash)s AND {ALIVE}
"""  # noqa: S608 - made of constants
# Of many credentials at once.
HOLDING = f"""
    SELECT tokens.id, NULL, role FROM tokens JOIN accounts ON accounts.id = account_id
    WHERE tokens.id = ANY (%(tokens)s::text[]) AND revoked_at IS NULL AND suspended_at IS NULL
    UNION ALL
    SELECT NULL, id_hash, role FROM web_sessions JOIN accounts ON accounts.id = account_id
    WHERE id_hash = ANY (%(sessions)s::bytea[]) AND {ALIVE}
"""  # noqa: S608 - made of constants
STEP_HOLDS = "sign_in_steps.created_at > now() - interval '5 minutes'"
PERSON = select(Account.id, Account.name, Account.role)
SEEN = "UPDATE web_sessions SET seen_at = now() WHERE id_hash = %(id_hash)s RETURNING seen_at"


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A person with a session, which is known by the hash of its secret."""

    account_id: int
    name: str
    role: Role
    session_hash: bytes
    must_change_password: bool = False

    def actor(self, request_id: str) -> Actor:
        return Actor(self.name, self.role, request_id, self.account_id)


@dataclass(frozen=True, slots=True)
class CodeNeeded:
    """The password was right, and a code is asked for; `secret` names this sign-in for a few minutes."""

    secret: str


def sign_in(
    name: str,
    password: str,
    *,
    address: str,
    device_names: dict[str, str],
    request_id: str,
    replaces: object = None,
    browser: str = "",
) -> tuple[SignedIn, str] | CodeNeeded | None:
    """The person and the secret of a new session, or None when name or password is wrong.

    Where the person has a second factor, `finish` is to follow. `device_names` maps the names that signed in with
    this browser before to the browser's mark for each. The session `replaces` that this browser had before ends.
    Raises TooManyTries.
    """
    mark = device_names.get(_key(name))
    attempt, account = _check_password(
        name.strip(), password, network(address), _mark_hash(mark) if mark else None
    )
    if account is None:
        return None
    with recording() as session:
        session.execute(delete(SignInAttempt).where(SignInAttempt.id == attempt))
        session.execute(delete(WebSession).where(text(f"NOT ({ALIVE})")))
        session.execute(delete(SignInStep).where(text(f"NOT ({STEP_HOLDS})")))
        if isinstance(replaces, str):
            session.execute(delete(WebSession).where(WebSession.id_hash == _hash(replaces)))
        # It may have been changed, or the account deactivated, while the password was looked at.
        if not users.still_opens(session, account):
            return None
        if two_factor.is_on(session, account.id):
            secret = secrets.token_urlsafe(32)
            session.execute(insert(SignInStep).values(id_hash=_hash(secret), account_id=account.id))
            return CodeNeeded(secret)
        return _begin(session, account, request_id, {"address": address}, browser)


def finish(
    secret: str,
    written: str,
    *,
    address: str,
    device_names: dict[str, str],
    request_id: str,
    browser: str = "",
) -> tuple[SignedIn, str] | None:
    """The second step: the person and the secret of a new session, or None when the code is wrong.

    `written` is a code of the authenticator, or a recovery code. Raises TooManyTries, and NotFound where the first
    step was too long ago.
    """
    step = SignInStep.id_hash == _hash(secret)
    too_late = NotFound("that took too long, or was done already: sign in again")
    with reading() as session:
        account = session.execute(PERSON.join(SignInStep).where(step, text(STEP_HOLDS))).one_or_none()
    if account is None:
        raise too_late
    mark = device_names.get(_key(account.name))
    door = f"browser:{_mark_hash(mark)}" if mark else two_factor.STRANGERS
    try:
        proof = two_factor.check(account.id, written, door=door, recovery=True)
        with recording() as session:
            proof.spend(session)
            gone = session.scalar(delete(SignInStep).where(step).returning(SignInStep.account_id))
            # Deactivating, and every change of a password, removes the step.
            if gone is None:
                raise too_late
            told = {"address": address, "second_factor": proof.kind}
            made = _begin(session, account, request_id, told, browser)
            if proof.kind == "recovery_code":
                log.record(session, made[0].actor(request_id), "second_factor.use_recovery_code", account.name)
            return made
    except two_factor.WrongCode:
        return None


def _begin(
    session: Session, account: Any, request_id: str, told: dict[str, Any], browser: str
) -> tuple[SignedIn, str]:
    """A session, in the transaction of the caller."""
    secret = secrets.token_urlsafe(32)
    person = SignedIn(account.id, account.name, Role(account.role), _hash(secret))
    session.execute(
        insert(WebSession).values(
            id_hash=person.session_hash, account_id=person.account_id, address=told["address"], browser=browser
        )
    )
    session.execute(update(Account).where(Account.id == account.id).values(signed_in_at=func.now()))
    log.record(session, person.actor(request_id), "session.sign_in", person.name, after=told)
    return person, secret


def prove_password(actor: Actor, password: str, *, address: str) -> Any:
    """The account of this actor, who has typed the password once more; tries are counted for the session.

    Raises Invalid (of `password`) when it is wrong, and TooManyTries.
    """
    door = actor.session_hash.hex() if actor.session_hash else None
    attempt, account = _check_password(actor.name, password, network(address), door)
    if account is None:
        raise Invalid({"password": ["is wrong"]})
    with noting() as session:
        session.execute(delete(SignInAttempt).where(SignInAttempt.id == attempt))
    return account


def confirm(actor: Actor, password: str, written: str, *, address: str) -> two_factor.Proof | None:
    """Note that the signed-in person has just given the password, and a code where they have a second factor.

    The code is spent; it is returned for what takes a code in the same request. Raises Invalid, WrongCode or
    TooManyTries.
    """
    prove_password(actor, password, address=address)
    proof = two_factor.for_act(actor, written) if two_factor.has(actor) else None
    with recording() as session:
        actor.require_credential(session)
        if proof is not None:
            proof.spend(session)
        session.execute(
            update(WebSession)
            .where(WebSession.id_hash == actor.session_hash)
            .values(confirmed_at=func.clock_timestamp())
        )
    return replace(proof, is_spent=True) if proof is not None else None


def is_confirmed(actor: Actor) -> bool:
    """Whether the person needs no `confirm` now for what takes one."""
    with reading() as session:
        try:
            actor.require_confirmation(session)
        except ConfirmationRequired:
            return False
    return True


def signed_in(secret: str) -> SignedIn | None:
    """Whose session this is, or None when it has ended."""
    known_by = {"id_hash": _hash(secret)}
    row = look_up(HOLDER, known_by)
    if row is None:
        return None
    account_id, name, role, long_ago, must_change_password = row
    if long_ago:
        look_up(SEEN, known_by)
    return SignedIn(account_id, name, Role(role), known_by["id_hash"], must_change_password)


def roles_of(connection: psycopg.Connection[Any], credentials: Collection[str | bytes]) -> dict[str | bytes, Role]:
    """Of these ids of tokens and hashes of sessions those that hold, each with the role that it gives."""
    asked = {
        "tokens": [each for each in credentials if isinstance(each, str)],
        "sessions": [each for each in credentials if isinstance(each, bytes)],
    }
    return {token or session: Role(role) for token, session, role in connection.execute(HOLDING, asked)}


def sign_out(actor: Actor, secret: str) -> None:
    """End this session; its cookie is worth nothing afterwards."""
    # Like a rule: what is being decided with it is finished first, and what comes later sees that it has ended.
    with changing_rules(actor) as session:
        session.execute(delete(WebSession).where(WebSession.id_hash == _hash(secret)))
        session.execute(select(func.pg_notify(CHANNEL, MANY)))  # whoever waits with it looks again
        log.record(session, actor, "session.sign_out", actor.name)


def _check_password(name: str, password: str, address: str, device: str | None) -> tuple[int, Any]:
    """The try that was counted, and the account that the password opens, or None. Raises TooManyTries, from memory
    where this source was refused a moment ago or has a queue of checks under way."""
    key = _key(name)
    sources = [f"device {device}"] if device else [address, f"{address} {key}"]
    with throttle().admit(*sources, known=device is not None):
        attempt = _count_try(key, address, device)
        return attempt, users.password_matches(name, password)


def _count_try(name: str, address: str, device: str | None) -> int:
    """Write the try down before the password is looked at: guesses sent all at once count one by one."""
    mine = (SignInAttempt.name == name) & (SignInAttempt.address == address) & SignInAttempt.device.is_(None)
    # Not under the lock of the rules: a flood of strangers must not stand in front of a halt. Nor may it take the
    # connections that others read and decide with.
    with one_at_a_time.of("signing in"), noting() as session:
        session.execute(text("SELECT pg_advisory_xact_lock(hashtext('sign_in_attempts'))"))
        session.execute(delete(SignInAttempt).where(SignInAttempt.attempted_at < func.now() - WINDOW))

        def count(which: ColumnElement[bool]) -> int:
            return session.scalar(select(func.count()).select_from(SignInAttempt).where(which)) or 0

        by_devices = (SignInAttempt.name == name) & SignInAttempt.device.is_not(None)
        if device is not None and count(by_devices) >= TRIES_FOR_ALL_DEVICES:
            device = None  # that many marks are not one person's: they were copied, or made
        if device is not None:
            buckets = [(SignInAttempt.device == device, TRIES_FOR_DEVICE, f"device {device}")]
        else:
            by_strangers = (SignInAttempt.name == name) & SignInAttempt.device.is_(None)
            attacked = count(by_strangers) >= ATTACKED_ABOVE
            buckets = [
                (mine, TRIES_UNDER_ATTACK if attacked else TRIES_FOR_ADDRESS_ON_ACCOUNT, f"{address} {name}"),
                (
                    (SignInAttempt.address == address) & SignInAttempt.device.is_(None),
                    TRIES_FOR_ADDRESS,
                    address,
                ),
            ]
        for which, most, source in buckets:
            if count(which) >= most:
                seconds = _seconds_left(session, which)
                throttle().refuse(source, seconds)
                raise TooManyTries(seconds)
        return session.scalars(
            insert(SignInAttempt).values(name=name, address=address, device=device).returning(SignInAttempt.id)
        ).one()


def _seconds_left(session: Session, which: ColumnElement[bool]) -> int:
    """Until the oldest of these tries is forgotten."""
    age = func.extract("epoch", func.clock_timestamp() - func.min(SignInAttempt.attempted_at))
    return max(1, int(session.scalars(select(func.ceil(WINDOW_SECONDS - age)).where(which)).one()))


def network(address: str) -> str:
    """What counts as one address: an IPv6 customer has a whole /64 to try from."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:64]
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped:  # as a socket that listens on both protocols names an IPv4 client
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)


def _key(name: str) -> str:
    """What tells accounts apart, of a name as it was typed."""
    return name.strip().lower()[:64]


def _mark_hash(mark: str) -> str:
    return hashlib.sha256(mark.encode()).hexdigest()


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
