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
from dataclasses import dataclass
from typing import Any

import psycopg
from sqlalchemy import ColumnElement, delete, func, insert, select, text
from sqlalchemy.orm import Session

from app import accounts
from app.desk import audit
from app.desk.actor import Actor
from app.desk.errors import DeskError
from app.desk.moves import CHANNEL, MANY
from app.desk.transaction import changing_rules, look_up, noting, recording
from app.domain.roles import Role
from app.models import SignInAttempt, WebSession

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
    SELECT accounts.id, name, role, seen_at < now() - interval '1 minute'
    FROM web_sessions JOIN accounts ON accounts.id = account_id
    WHERE id_hash = %(id_hash)s AND {ALIVE}
"""  # noqa: S608 - made of constants
# Of many credentials at once.
HOLDING = f"""
    SELECT tokens.id, NULL, role FROM tokens JOIN accounts ON accounts.id = account_id
    WHERE tokens.id = ANY (%(tokens)s::text[]) AND revoked_at IS NULL
    UNION ALL
    SELECT NULL, id_hash, role FROM web_sessions JOIN accounts ON accounts.id = account_id
    WHERE id_hash = ANY (%(sessions)s::bytea[]) AND {ALIVE}
"""  # noqa: S608 - made of constants
SEEN = "UPDATE web_sessions SET seen_at = now() WHERE id_hash = %(id_hash)s RETURNING seen_at"


class TooManyTries(DeskError):
    """Wait `retry_after` seconds; the password was not looked at."""

    code = "too_many_tries"

    def __init__(self, retry_after: int) -> None:
        minutes = -(-retry_after // 60)
        super().__init__(f"too many failed tries: wait {minutes} minute{'s'[: minutes > 1]} and try again")
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A person with a session, which is known by the hash of its secret."""

    account_id: int
    name: str
    role: Role
    session_hash: bytes


def sign_in(
    name: str,
    password: str,
    *,
    address: str,
    device_names: dict[str, str],
    request_id: str,
    replaces: object = None,
) -> tuple[SignedIn, str] | None:
    """The person and the secret of a new session, or None when name or password is wrong.

    `device_names` maps the names that signed in with this browser before to the browser's mark for each.
    The session `replaces` that this browser had before ends. Raises TooManyTries.
    """
    key = name.strip().lower()[:64]
    mark = device_names.get(key)
    device = hashlib.sha256(mark.encode()).hexdigest() if mark else None
    attempt = _count_try(key, _network(address), device)
    account = accounts.password_matches(name.strip(), password)
    if account is None:
        return None
    secret = secrets.token_urlsafe(32)
    person = SignedIn(account.id, account.name, Role(account.role), _hash(secret))
    actor = Actor(person.name, person.role, request_id, person.account_id)
    with recording() as session:
        session.execute(delete(SignInAttempt).where(SignInAttempt.id == attempt))
        session.execute(delete(WebSession).where(text(f"NOT ({ALIVE})")))
        if isinstance(replaces, str):
            session.execute(delete(WebSession).where(WebSession.id_hash == _hash(replaces)))
        session.execute(insert(WebSession).values(id_hash=person.session_hash, account_id=person.account_id))
        audit.record(session, actor, "session.sign_in", person.name, after={"address": address})
    return person, secret


def signed_in(secret: str) -> SignedIn | None:
    """Whose session this is, or None when it has ended."""
    known_by = {"id_hash": _hash(secret)}
    row = look_up(HOLDER, known_by)
    if row is None:
        return None
    account_id, name, role, long_ago = row
    if long_ago:
        look_up(SEEN, known_by)
    return SignedIn(account_id, name, Role(role), known_by["id_hash"])


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
    with changing_rules() as session:
        session.execute(delete(WebSession).where(WebSession.id_hash == _hash(secret)))
        session.execute(select(func.pg_notify(CHANNEL, MANY)))  # whoever waits with it looks again
        audit.record(session, actor, "session.sign_out", actor.name)


def _count_try(name: str, address: str, device: str | None) -> int:
    """Write the try down before the password is looked at: guesses sent all at once count one by one."""
    mine = (SignInAttempt.name == name) & (SignInAttempt.address == address) & SignInAttempt.device.is_(None)
    # Not under the lock of the rules: a flood of strangers must not stand in front of a halt.
    with noting() as session:
        session.execute(text("SELECT pg_advisory_xact_lock(hashtext('sign_in_attempts'))"))
        session.execute(delete(SignInAttempt).where(SignInAttempt.attempted_at < func.now() - WINDOW))

        def count(which: ColumnElement[bool]) -> int:
            return session.scalar(select(func.count()).select_from(SignInAttempt).where(which)) or 0

        by_devices = (SignInAttempt.name == name) & SignInAttempt.device.is_not(None)
        if device is not None and count(by_devices) >= TRIES_FOR_ALL_DEVICES:
            device = None  # that many marks are not one person's: they were copied, or made
        if device is not None:
            buckets = [(SignInAttempt.device == device, TRIES_FOR_DEVICE)]
        else:
            by_strangers = (SignInAttempt.name == name) & SignInAttempt.device.is_(None)
            attacked = count(by_strangers) >= ATTACKED_ABOVE
            buckets = [
                (mine, TRIES_UNDER_ATTACK if attacked else TRIES_FOR_ADDRESS_ON_ACCOUNT),
                (
                    (SignInAttempt.address == address) & SignInAttempt.device.is_(None),
                    TRIES_FOR_ADDRESS,
                ),
            ]
        for which, most in buckets:
            if count(which) >= most:
                raise TooManyTries(_seconds_left(session, which))
        return session.scalars(
            insert(SignInAttempt).values(name=name, address=address, device=device).returning(SignInAttempt.id)
        ).one()


def _seconds_left(session: Session, which: ColumnElement[bool]) -> int:
    """Until the oldest of these tries is forgotten."""
    age = func.extract("epoch", func.clock_timestamp() - func.min(SignInAttempt.attempted_at))
    return max(1, int(session.scalars(select(func.ceil(WINDOW_SECONDS - age)).where(which)).one()))


def _network(address: str) -> str:
    """What counts as one address: an IPv6 customer has a whole /64 to try from."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:64]
    if parsed.version == 6:
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
