"""Where a person is signed in, and ending that."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row, delete, exists, func, select, text
from sqlalchemy.orm import Session

from app.db.transaction import changing_rules, reading
from app.models import SignInStep, WebSession
from app.services.accounts.login import ALIVE
from app.services.actor import Actor
from app.services.audit import log
from app.services.errors import NotFound
from app.services.orders.transitions import CHANNEL, MANY

OVER = "this session is over already"
SHOWN = ("id_hash", "created_at", "seen_at", "address", "browser")


def of(account_id: int) -> list[Row[Any]]:
    """The open sessions of an account (`id_hash`, `created_at`, `seen_at`, `address`, `browser`), the one that was
    seen last first."""
    with reading() as session:
        shown = [getattr(WebSession, name) for name in SHOWN]
        query = select(*shown).where(WebSession.account_id == account_id, text(ALIVE))
        return list(session.execute(query.order_by(WebSession.seen_at.desc(), WebSession.id_hash)))


def end(actor: Actor, id_hash: bytes) -> None:
    """End one of the actor's own. Raises NotFound where it is over, or somebody else's."""
    mine = (WebSession.id_hash == id_hash) & (WebSession.account_id == actor.account_id)
    with reading() as session:  # nobody needs the lock of the rules to hear that there is nothing to end
        if session.scalar(select(WebSession.id_hash).where(mine)) is None:
            raise NotFound(OVER)
    with changing_rules(actor) as session:
        actor.require_credential(session)
        ended = session.execute(
            delete(WebSession).where(mine).returning(WebSession.address, WebSession.browser)
        ).one_or_none()
        if ended is None:
            raise NotFound(OVER)
        tell_all(session)
        before = {"address": ended.address, "browser": ended.browser}
        log.record(session, actor, "session.end", actor.name, before=before)


def end_all(actor: Actor, *, but_this: bool) -> int:
    """End all of the actor's own, or all others; how many. Where there are none nothing is written down."""
    kept = actor.session_hash if but_this else None
    others = (WebSession.account_id == actor.account_id, WebSession.id_hash.is_distinct_from(kept))
    half = SignInStep.account_id == actor.account_id
    with reading() as session:
        if not session.scalar(select(exists().where(*others) | exists().where(half))):
            return 0
    with changing_rules(actor) as session:
        actor.require_credential(session)
        ended = end_of(session, actor.account_id, but=kept)
        log.record(session, actor, "session.end", actor.name, before={"sessions": ended}, after={"sessions": 0})
        return ended


def end_of(session: Session, account_id: int | None, *, but: bytes | None = None) -> int:
    """End the sessions of an account in a transaction that changes the rules, so that what is being decided with
    them is finished first; how many there were. What is half signed in is over too."""
    session.execute(delete(SignInStep).where(SignInStep.account_id == account_id))
    query = delete(WebSession).where(WebSession.account_id == account_id)
    if but is not None:
        query = query.where(WebSession.id_hash != but)
    ended = session.scalars(query.returning(WebSession.id_hash)).all()
    tell_all(session)
    return len(ended)


def tell_all(session: Session) -> None:
    """Whoever waits or listens looks again whether their credential holds."""
    session.execute(select(func.pg_notify(CHANNEL, MANY)))
