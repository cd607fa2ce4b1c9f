"""Where a person is signed in, and ending that."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row, delete, func, select, text
from sqlalchemy.orm import Session

from app.desk import audit
from app.desk.actor import Actor
from app.desk.errors import NotFound
from app.desk.moves import CHANNEL, MANY
from app.desk.transaction import changing_rules, reading
from app.models import SignInStep, WebSession
from app.sign_in import ALIVE

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
    with changing_rules() as session:
        actor.require_credential(session)
        ended = session.execute(
            delete(WebSession)
            .where(WebSession.id_hash == id_hash, WebSession.account_id == actor.account_id)
            .returning(WebSession.address, WebSession.browser)
        ).one_or_none()
        if ended is None:
            raise NotFound("this session is over already")
        tell_all(session)
        before = {"address": ended.address, "browser": ended.browser}
        audit.record(session, actor, "session.end", actor.name, before=before)


def end_all(actor: Actor, *, but_this: bool) -> int:
    """End all of the actor's own, or all others; how many."""
    with changing_rules() as session:
        actor.require_credential(session)
        kept = actor.session_hash if but_this else None
        ended = end_of(session, actor.account_id, but=kept)
        audit.record(session, actor, "session.end", actor.name, before={"sessions": ended}, after={"sessions": 0})
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
