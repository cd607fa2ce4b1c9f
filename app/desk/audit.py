"""The record of who did what when."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import func, insert, select
from sqlalchemy.orm import Session

from app.desk.actor import Actor
from app.desk.times import rfc3339
from app.desk.transaction import reading
from app.models import AuditEvent

Json = dict[str, Any]

# Every action that is written anywhere; the audit page offers them as a filter.
ACTIONS = (
    "account.change_owner",
    "account.change_password",
    "account.change_role",
    "account.create",
    "account.deactivate",
    "account.reactivate",
    "account.reset_password",
    "account.resume",
    "account.suspend",
    "approval_config.change",
    "config.replace",
    "lockout.create",
    "lockout.extend",
    "lockout.remove",
    "mode.change",
    "order.approve",
    "order.cancel",
    "order.cancel_at_venue",
    "order.expire",
    "order.reject",
    "order.send",
    "order.submit",
    "order.unknown",
    "order.unsent",
    "order.venue",
    "second_factor.enrol",
    "second_factor.remove",
    "second_factor.renew_recovery_codes",
    "second_factor.turn_off",
    "second_factor.use_recovery_code",
    "second_factor_for_live.change",
    "session.end",
    "session.sign_in",
    "session.sign_out",
    "signal_layers.change",
    "token.create",
    "token.revoke",
    "venue.answers",
)


def record(
    session: Session,
    actor: Actor,
    action: str,
    subject: str,
    *,
    before: Json | None = None,
    after: Json | None = None,
    note: str | None = None,
) -> None:
    """Add an event to the transaction of the change itself: both are there afterwards, or neither.

    `before` and `after` are the thing's JSON on either side of the change, None where it did not exist.
    """
    if action not in ACTIONS:
        raise ValueError(f"{action} is not in ACTIONS")
    session.execute(
        insert(AuditEvent).values(
            actor=actor.name,
            action=action,
            subject=subject,
            before=before,
            after=after,
            note=note,
            request_id=actor.request_id,
        )
    )


def as_json(event: AuditEvent) -> Json:
    """An audit event as JSON; `before` and `after` are None where the thing did not exist."""
    return {
        "id": event.id,
        "created_at": rfc3339(event.created_at),
        "actor": event.actor,
        "action": event.action,
        "subject": event.subject,
        "before": event.before,
        "after": event.after,
        "note": event.note,
        "request_id": event.request_id,
    }


def events(
    *, action: str | None = None, actor: str | None = None, before_id: int | None = None, limit: int = 50
) -> Sequence[AuditEvent]:
    """Up to `limit` events, newest first; `before_id` continues after an earlier page."""
    query = select(AuditEvent).order_by(AuditEvent.id.desc()).limit(limit)
    if action is not None:
        query = query.where(AuditEvent.action == action)
    if actor is not None:
        query = query.where(func.lower(AuditEvent.actor) == actor.lower())  # as names are told apart
    if before_id is not None:
        query = query.where(AuditEvent.id < before_id)
    with reading() as session:
        return session.scalars(query).all()


def latest_id(session: Session) -> int:
    """The number of the newest event that is visible, 0 when there is none."""
    return session.scalar(select(func.max(AuditEvent.id))) or 0
