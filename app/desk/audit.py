"""The record of who did what when."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, func, insert, literal_column, select
from sqlalchemy.orm import Session

from app.desk.actor import Actor
from app.desk.errors import NotFound
from app.desk.times import RFC3339
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


MAX_LISTED = 4096  # bytes of `before` or `after`, as text
COMPRESSED = 4 * MAX_LISTED  # what has as many even as it is stored is not decompressed to find out

# An event as JSON text, written by the database: a whole configuration may have a mebibyte. `before` and `after`
# are null where the thing did not exist, and where either is too large for a list.
IS_LARGE = (
    f"CASE WHEN pg_column_size({{0}}) > {COMPRESSED} THEN true ELSE octet_length({{0}}::text) > {MAX_LISTED} END"
)
WRITTEN = f"""
    json_build_object('id', id, 'created_at', {RFC3339.format("created_at")}, 'actor', actor, 'action', action,
        'subject', subject, 'before', CASE WHEN NOT {{is_large}} THEN before END,
        'after', CASE WHEN NOT {{is_large}} THEN after END, 'note', note, 'request_id', request_id,
        'truncated', {{is_large}})::text
"""
LISTED: ColumnElement[str] = literal_column(
    WRITTEN.format(
        is_large=f"(coalesce({IS_LARGE.format('before')}, false) OR coalesce({IS_LARGE.format('after')}, false))"
    )
)
WHOLE: ColumnElement[str] = literal_column(WRITTEN.format(is_large="false"))
NO_SUCH = "there is no such event"


def event(event_id: int) -> str:
    """One event as JSON text, whole. Raises NotFound."""
    with reading() as session:
        found: str | None = session.scalar(select(WHOLE).where(AuditEvent.id == event_id))
    if found is None:
        raise NotFound(NO_SUCH)
    return found


def events(
    *,
    action: str | None = None,
    actor: str | None = None,
    before_id: int | None = None,
    limit: int = 50,
    whole: bool = False,
) -> Sequence[tuple[int, str]]:
    """Up to `limit` events, newest first: the id of each, and the event as JSON text, cut unless `whole`.

    `before_id` continues after an earlier page.
    """
    query = select(AuditEvent.id, WHOLE if whole else LISTED).order_by(AuditEvent.id.desc()).limit(limit)
    if action is not None:
        query = query.where(AuditEvent.action == action)
    if actor is not None:
        query = query.where(func.lower(AuditEvent.actor) == actor.lower())  # as names are told apart
    if before_id is not None:
        query = query.where(AuditEvent.id < before_id)
    with reading() as session:
        return [(event_id, written) for event_id, written in session.execute(query)]


def latest_id(session: Session) -> int:
    """The number of the newest event that is visible, 0 when there is none."""
    return session.scalar(select(func.max(AuditEvent.id))) or 0
