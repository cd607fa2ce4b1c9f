"""The second factor of people: codes of an authenticator (RFC 6238), and what asks for them.

A code has six digits, so tries are few: five in a quarter of an hour and twenty in a day, from wherever they come,
right passwords or not. They are counted apart for each session and each browser in which the person signed in
before: a thief who knows the password and uses up the tries of strangers keeps nobody out who is at work. Recovery
codes have 80 random bits and take no tries. And halting never asks for a code.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import math
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

import pyotp
from flask import current_app
from sqlalchemy import ColumnElement, delete, func, insert, select, text, update
from sqlalchemy.dialects.postgresql import insert as insert_or
from sqlalchemy.orm import Session

from app.db.transaction import noting, reading, recording
from app.domain import totp as one_time
from app.domain.risk_config import TradingMode
from app.domain.roles import Act
from app.lib import encryption
from app.models import RecoveryCode, SecondFactor, SecondFactorTry
from app.services.actor import Actor
from app.services.audit import log
from app.services.errors import Conflict, Forbidden, Invalid, NotFound, TooManyTries
from app.services.trading import config

ISSUER = "Countersign"
SECRET_BYTES = 20  # RFC 4226, section 4
RECOVERY_CODES = 8
STRANGERS = ""
# How many tries that failed, from one door, in how long. The rest of an unlucky day is the recovery codes', which
# are not counted, the admins' or the shell's.
LONGEST = timedelta(days=1)
BOUNDS = ((timedelta(minutes=15), 5), (LONGEST, 20))
MOST_OF_BROWSERS = 40  # in a day: more known browsers than that are not one person's, so they count as strangers
TO_CONFIRM = timedelta(minutes=15)
NEEDED = config.SECOND_FACTOR_REQUIRED
WRONG = "the code is wrong, or was used before: each counts once, the next one comes within 30 seconds"


class WrongCode(Forbidden):
    """The code was looked at, and does not count."""

    code = "second_factor_wrong"

    def __init__(self) -> None:
        super().__init__(WRONG)


@dataclass(frozen=True, slots=True)
class Proof:
    """A code that was right when it was looked at. Whoever acts upon it spends it in the transaction of the act:
    of two who bring the same code at once one comes too late."""

    account_id: int
    step: int | None  # of a code
    recovery_hash: bytes | None = None
    is_spent: bool = (
        False  # for this very request, which may need it twice (app/services/accounts/login.py, `confirm`)
    )

    @property
    def kind(self) -> str:
        return "code" if self.step is not None else "recovery_code"

    def spend(self, session: Session) -> None:
        """Raises WrongCode where it was used meanwhile, or the second factor is gone."""
        if self.is_spent:
            return
        if self.step is not None:
            spent = session.execute(
                update(SecondFactor)
                .where(
                    SecondFactor.account_id == self.account_id,
                    SecondFactor.confirmed_at.is_not(None),
                    SecondFactor.last_step < self.step,
                )
                .values(last_step=self.step)
                .returning(SecondFactor.account_id)
            )
        else:
            spent = session.execute(
                update(RecoveryCode)
                .where(
                    RecoveryCode.account_id == self.account_id,
                    RecoveryCode.code_hash == self.recovery_hash,
                    RecoveryCode.used_at.is_(None),
                )
                .values(used_at=func.clock_timestamp())
                .returning(RecoveryCode.account_id)
            )
        if spent.one_or_none() is None:
            raise WrongCode


def is_on(session: Session, account_id: int) -> bool:
    """Whether signing in as this person takes a code."""
    return (
        session.scalar(
            select(SecondFactor.account_id).where(
                SecondFactor.account_id == account_id, SecondFactor.confirmed_at.is_not(None)
            )
        )
        is not None
    )


def has(actor: Actor) -> bool:
    """Whether this person has one."""
    with reading() as session:
        return actor.account_id is not None and is_on(session, actor.account_id)


@dataclass(frozen=True, slots=True)
class Standing:
    """How it stands with the second factor of a person."""

    on_since: datetime | None
    recovery_codes_left: int


def standing(account_id: int) -> Standing:
    with reading() as session:
        since = session.scalar(select(SecondFactor.confirmed_at).where(SecondFactor.account_id == account_id))
        left = session.scalar(
            select(func.count()).where(RecoveryCode.account_id == account_id, RecoveryCode.used_at.is_(None))
        )
        return Standing(since, left or 0)


# Looking at codes


def check(account_id: int, written: str, *, door: str = STRANGERS, recovery: bool = False) -> Proof:
    """The proof that `written` is a code of this person, or, where `recovery` says so, one of the recovery codes.

    Raises WrongCode, TooManyTries, or Forbidden `second_factor_required` where there is no second factor.
    """
    with reading() as session:
        if not is_on(session, account_id):
            raise Forbidden("this takes a second factor: set one up on your Account page", NEEDED)
    spare = one_time.read_recovery_code(written) if recovery else None
    if spare is not None:  # whoever has used the tries up keeps nobody from it
        return _look_at_spare(account_id, spare)
    attempt = _count_try(account_id, door)
    step = _step_of(account_id, written)
    if step is None:
        raise WrongCode
    with noting() as session:
        session.execute(delete(SecondFactorTry).where(SecondFactorTry.id == attempt))
    return Proof(account_id, step)


def _look_at_spare(account_id: int, code: str) -> Proof:
    known_by = _hash(code)
    unused = select(RecoveryCode.account_id).where(
        RecoveryCode.account_id == account_id,
        RecoveryCode.code_hash == known_by,
        RecoveryCode.used_at.is_(None),
    )
    with reading() as session:
        if session.scalar(unused) is None:
            raise WrongCode
    return Proof(account_id, None, known_by)


def _step_of(account_id: int, written: str) -> int | None:
    """The time step that `written` is a code of, by the database's clock; None where it is of none that still
    counts."""
    code = one_time.read_code(written)
    with reading() as session:
        row = session.execute(
            select(SecondFactor.sealed_secret, SecondFactor.last_step, func.clock_timestamp().label("now")).where(
                SecondFactor.account_id == account_id
            )
        ).one_or_none()
    if row is None or code is None:
        return None
    totp = pyotp.TOTP(_unseal(row.sealed_secret, account_id))
    found = None
    for step in one_time.steps_at(row.now, row.last_step):  # all of them, so that the time taken tells nothing
        if hmac.compare_digest(totp.generate_otp(step), code):
            found = step
    return found


def _count_try(account_id: int, door: str) -> int:
    """Write the try down before the code is looked at: guesses sent all at once count one by one."""
    mine = SecondFactorTry.account_id == account_id
    with noting() as session:
        session.execute(
            text("SELECT pg_advisory_xact_lock(hashtext('second_factor_tries'), CAST(:id AS int))"),
            {"id": account_id % 2**31},
        )
        now = session.scalars(select(func.clock_timestamp())).one()
        session.execute(delete(SecondFactorTry).where(mine, SecondFactorTry.tried_at <= now - LONGEST))
        if door.startswith("browser:"):
            of_browsers = select(func.count()).where(mine, SecondFactorTry.door.like("browser:%"))
            if (session.scalar(of_browsers) or 0) >= MOST_OF_BROWSERS:
                door = STRANGERS
        here = select(SecondFactorTry.tried_at).where(mine, SecondFactorTry.door == door)
        times = sorted(session.scalars(here))
        for window, most in BOUNDS:
            recent = [at for at in times if at > now - window]
            if len(recent) >= most:
                left = recent[-most] + window - now
                raise TooManyTries(math.ceil(left.total_seconds()), "wrong codes")
        return session.scalars(
            insert(SecondFactorTry).values(account_id=account_id, door=door).returning(SecondFactorTry.id)
        ).one()


# One's own


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What an authenticator is told. The secret is in Base32, as people type it."""

    secret: str
    uri: str


def start(actor: Actor) -> Enrolment:
    """A new secret, which counts once `confirm` has seen a code of it, in the same session. The caller has asked
    for the password. Raises Conflict where a second factor is on already."""
    secret = secrets.token_bytes(SECRET_BYTES)
    account_id, session_hash = _in_person(actor)
    values = {
        "sealed_secret": encryption.seal(_key(), secret, _about(account_id)),
        "started_in": session_hash,
        "started_at": func.clock_timestamp(),
        "last_step": 0,
    }
    with noting() as session:
        made = session.scalar(
            insert_or(SecondFactor)
            .values(account_id=account_id, **values)
            .on_conflict_do_update(
                index_elements=["account_id"], set_=values, where=SecondFactor.confirmed_at.is_(None)
            )
            .returning(SecondFactor.account_id)
        )
    if made is None:
        raise Conflict("your second factor is on already: turn it off first", "second_factor_on")
    return enrolment(actor, _base32(secret))


def enrolment(actor: Actor, secret: str) -> Enrolment:
    """How `secret` is shown. What is kept never is: whoever has the session alone could enrol with it."""
    return Enrolment(secret, pyotp.TOTP(secret).provisioning_uri(name=actor.name, issuer_name=ISSUER))


def confirm(actor: Actor, secret: str, written: str) -> list[str]:
    """Switch it on, if `written` is a code of it; the recovery codes, shown this once. `secret` is what `start`
    gave, to whoever gave the password. Raises NotFound where it does not wait in this session; WrongCode."""
    account_id, session_hash = _in_person(actor)
    begun = SecondFactor.account_id == account_id, *_waits_in(session_hash)
    begin_again = NotFound("this was begun too long ago, or elsewhere: begin again")
    with reading() as session:
        kept = session.scalar(select(SecondFactor.sealed_secret).where(*begun))
    if kept is None or not hmac.compare_digest(_unseal(kept, account_id).encode(), secret.encode()):
        raise begin_again
    attempt = _count_try(account_id, _session_door(actor))
    step = _step_of(account_id, written)
    if step is None:
        raise WrongCode
    with recording() as session:
        actor.require_credential(session)
        session.execute(delete(SecondFactorTry).where(SecondFactorTry.id == attempt))
        on = session.execute(
            update(SecondFactor)
            .where(*begun, SecondFactor.sealed_secret == kept)
            .values(confirmed_at=func.clock_timestamp(), last_step=step)
            .returning(SecondFactor.account_id)
        ).one_or_none()
        if on is None:
            raise begin_again
        log.record(session, actor, "second_factor.enrol", actor.name, after={"second_factor": True})
        return _new_recovery_codes(session, account_id)


def _waits_in(session_hash: bytes) -> tuple[ColumnElement[bool], ...]:
    return (
        SecondFactor.confirmed_at.is_(None),
        SecondFactor.started_in == session_hash,
        SecondFactor.started_at > func.clock_timestamp() - TO_CONFIRM,
    )


def renew_recovery_codes(actor: Actor, written: str) -> list[str]:
    """New recovery codes in place of all others, shown this once. Takes a code of the authenticator."""
    account_id, _ = _in_person(actor)
    proof = check(account_id, written, door=_session_door(actor))
    with recording() as session:
        actor.require_credential(session)
        proof.spend(session)
        log.record(session, actor, "second_factor.renew_recovery_codes", actor.name)
        return _new_recovery_codes(session, account_id)


def turn_off(actor: Actor, written: str) -> None:
    """Back to the password alone. Takes a code, or a recovery code; the caller has asked for the password."""
    account_id, _ = _in_person(actor)
    proof = check(account_id, written, door=_session_door(actor), recovery=True)
    with recording() as session:
        actor.require_credential(session)
        proof.spend(session)
        forget(session, account_id)
        before = {"second_factor": True}
        log.record(session, actor, "second_factor.turn_off", actor.name, before=before)


def forget(session: Session, account_id: int) -> bool:
    """Remove it, in the caller's transaction; whether it was on."""
    session.execute(delete(RecoveryCode).where(RecoveryCode.account_id == account_id))
    gone = session.execute(
        delete(SecondFactor).where(SecondFactor.account_id == account_id).returning(SecondFactor.confirmed_at)
    ).one_or_none()
    return gone is not None and gone.confirmed_at is not None


def _new_recovery_codes(session: Session, account_id: int) -> list[str]:
    session.execute(delete(RecoveryCode).where(RecoveryCode.account_id == account_id))
    codes = [base64.b32encode(secrets.token_bytes(10)).decode() for _ in range(RECOVERY_CODES)]
    session.execute(insert(RecoveryCode), [{"account_id": account_id, "code_hash": _hash(code)} for code in codes])
    return [one_time.show_recovery_code(code) for code in codes]


# What the desk asks of all


def is_required() -> bool:
    """Whether going live takes a second factor."""
    return config.second_factor_for_live()


def for_mode(actor: Actor, to: TradingMode, written: str | None) -> Proof | None:
    """What `config.change_mode` wants to see, None where it wants nothing: stopping never does.

    Raises Forbidden for a token, which has no second factor, and for a person who has none; Invalid where the code
    is missing; WrongCode or TooManyTries.
    """
    if to is not TradingMode.LIVE or not actor.may(Act.GO_LIVE) or not is_required():
        return None
    return for_act(actor, written)


def for_act(actor: Actor, written: str | None) -> Proof:
    """The proof that an act in person takes, where it takes one. Raises as `for_mode` does."""
    if actor.account_id is None or actor.session_hash is None:
        raise Forbidden("this takes a second factor, and so a person: no token may do it", NEEDED)
    if not written:
        with reading() as session:
            if is_on(session, actor.account_id):
                raise Invalid({"totp_code": ["is required: the code of your authenticator"]})
    return check(actor.account_id, written or "", door=_session_door(actor))


# Secrets


def _in_person(actor: Actor) -> tuple[int, bytes]:
    if actor.account_id is None or actor.session_hash is None:
        raise Forbidden("people do this themselves: sign in")
    return actor.account_id, actor.session_hash


def _session_door(actor: Actor) -> str:
    return f"session:{actor.session_hash.hex()}" if actor.session_hash else STRANGERS


def _unseal(kept: bytes, account_id: int) -> str:
    try:
        return _base32(encryption.unseal(_key(), kept, _about(account_id)))
    except encryption.Unreadable:
        raise Conflict(
            "your second factor was set up under another SECRET_KEY: use a recovery code, or have it removed",
            "second_factor_unreadable",
        ) from None


def _key() -> str:
    return str(current_app.secret_key)


def _about(account_id: int) -> str:
    return f"second factor of account {account_id}"


def _base32(secret: bytes) -> str:
    return base64.b32encode(secret).decode()


def _hash(code: str) -> bytes:
    return hashlib.sha256(code.encode()).digest()
