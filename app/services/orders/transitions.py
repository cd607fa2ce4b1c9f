"""What ends the waiting of orders, whoever comes: one statement, one event for each, exactly one winner."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

from sqlalchemy import TextClause, func, select, text
from sqlalchemy.orm import Session

from app.db.transaction import recording, taking
from app.domain.order_status import Mover, OrderStatus, is_legal
from app.services.actor import Actor

DEADLINE = "system:deadline"
CHANNEL = "countersign_orders"  # hears the id of every order that stops waiting
LEFT_TO_THE_REQUEST = timedelta(seconds=1)  # that released an order, to send it, before somebody looks after it
MANY = "*"  # what it hears where that were very many

# One statement for whatever ends the waiting of one order or of many, with one event for each. The clock is read
# once, at its start: for one order that is after its row lock was granted, because a guard that waits for the lock
# itself would judge by the time before the wait. What is late expires, whoever came.
MOVE = """
    WITH clock AS MATERIALIZED (SELECT clock_timestamp() AS now), moved AS (
        UPDATE orders SET
            status = CASE WHEN expires_at > clock.now THEN :to ELSE 'expired' END,
            decided_at = CASE WHEN expires_at > clock.now THEN clock.now ELSE expires_at END,
            decided_by = CASE WHEN expires_at > clock.now THEN :by ELSE :deadline END,
            decision_note = CASE WHEN expires_at > clock.now THEN :note END,
            self_approved = expires_at > clock.now AND :self_approved,
            send_by = CASE WHEN expires_at > clock.now THEN clock.now + CAST(:send_within AS interval) END,
            try_at = CASE WHEN expires_at > clock.now THEN clock.now + CAST(:left_to_the_request AS interval) END
        FROM clock
        WHERE orders.status = 'pending_approval' AND {which}
        RETURNING id, engine, client_order_id, ticker, orders.status, decided_at, decided_by, decision_note,
            self_approved
    ), recorded AS (
        INSERT INTO audit_events (actor, action, subject, before, after, note, request_id)
        SELECT decided_by,
               CASE status WHEN 'released' THEN 'order.approve' WHEN 'rejected' THEN 'order.reject'
                           WHEN 'canceled' THEN 'order.cancel' ELSE 'order.expire' END,
               id::text,
               same || jsonb_build_object('status', 'pending_approval', 'decided_at', NULL, 'decided_by', NULL),
               same || jsonb_build_object('status', status, 'decided_by', decided_by, 'decided_at',
                   to_char(decided_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'))
                   || CASE WHEN self_approved THEN jsonb_build_object('self_approved', true)
                           ELSE jsonb_build_object() END,
               decision_note, :request_id
        FROM moved, LATERAL (SELECT jsonb_build_object(
            'engine', engine, 'client_order_id', client_order_id, 'ticker', ticker) AS same) AS unchanged
    ), told AS (
        SELECT pg_notify('{channel}', {told}) FROM moved {once}
    )
    SELECT count(*) FILTER (WHERE status = :to), (SELECT count(*) FROM told) FROM moved
"""


def _statement(which: str, *, many: bool = False) -> TextClause:
    told, once = (f"'{MANY}'", "LIMIT 1") if many else ("id::text", "")
    return text(MOVE.format(which=which, channel=CHANNEL, told=told, once=once))


ONE = _statement("orders.id = :order_id")
ONE_LATE = _statement("orders.id = :order_id AND expires_at <= clock.now")
ALL = _statement("TRUE", many=True)
OF_ENGINE = _statement("orders.account_id = :account_id")
ALL_OF_ENGINE = _statement("orders.account_id = :account_id", many=True)
# Several sweepers never collide, and none waits for an order that somebody is just deciding. An array, because IN
# would be evaluated again for every row where the planner believes that few wait.
DUE = _statement(
    """orders.id = ANY (ARRAY(
        SELECT id FROM orders WHERE status = 'pending_approval' AND expires_at <= statement_timestamp()
        ORDER BY expires_at, id LIMIT :most FOR UPDATE SKIP LOCKED
    ))"""
)


def move(
    session: Session,
    mover: Mover,
    to: OrderStatus,
    actor: Actor,
    note: str | None,
    order_id: uuid.UUID,
    *,
    send_within: int | None = None,
    self_approved: bool = False,
) -> bool:
    """Move an order whose row is locked, if it still waits; whether this was the move. When late, it expires.

    Where it is released it may be sent to its venue for `send_within` seconds; None where it is not."""
    which = {"order_id": order_id, "self_approved": self_approved}
    return _run(session, ONE, mover, to, actor, note, **which, **_sending(send_within)) == 1


def _sending(within: int | None) -> dict[str, timedelta | None]:
    if within is None:
        return {"send_within": None, "left_to_the_request": None}
    return {"send_within": timedelta(seconds=within), "left_to_the_request": LEFT_TO_THE_REQUEST}


def tell(session: Session, order_id: uuid.UUID) -> None:
    """Let whoever waits for an order know of it, once this transaction is committed."""
    session.execute(select(func.pg_notify(CHANNEL, str(order_id))))


def expire_if_late(session: Session, actor: Actor, order_id: uuid.UUID) -> None:
    """Write down that an order whose row is locked has expired, if it has and nobody did."""
    _run(session, ONE_LATE, Mover.CLOCK, OrderStatus.EXPIRED, actor, None, order_id=order_id)


def cancel_waiting(session: Session, actor: Actor, note: str) -> int:
    """Cancel every order that waits, within a change of the mode; how many that were."""
    return _cancel_many(session, ALL, Mover.MODE_CHANGE, actor, note)


def cancel_of_account(session: Session, actor: Actor, account_id: int, note: str) -> int:
    """Cancel every pending order of an engine that is suspended or deactivated; how many."""
    return _cancel_many(session, ALL_OF_ENGINE, Mover.SUSPENSION, actor, note, account_id=account_id)


def _cancel_many(
    session: Session, statement: TextClause, mover: Mover, actor: Actor, note: str, **which: Any
) -> int:
    # A halt that takes long is still better than one that fails, because very many wait or somebody keeps a row.
    # Nothing is released meanwhile: this transaction has the lock on the rules to itself.
    session.connection().exec_driver_sql("SET LOCAL statement_timeout = '60s'; SET LOCAL lock_timeout = '10s'")
    with taking(session, 60):
        return _run(session, statement, mover, OrderStatus.CANCELED, actor, note, **which)


def withdraw_waiting(session: Session, actor: Actor) -> int:
    """Cancel every order of an engine that waits; how many that were."""
    which = {"account_id": actor.account_id}
    return _run(session, OF_ENGINE, Mover.ENGINE, OrderStatus.CANCELED, actor, None, **which)


def expire_due(actor: Actor, *, most: int = 1000) -> int:
    """Write down what has expired, up to `most` orders; how many that were."""
    with recording() as session:
        return _run(session, DUE, Mover.CLOCK, OrderStatus.EXPIRED, actor, None, most=most)


def _run(
    session: Session,
    statement: TextClause,
    mover: Mover,
    to: OrderStatus,
    actor: Actor,
    note: str | None,
    **which: Any,
) -> int:
    """Run a form of MOVE; how many orders became `to`."""
    if not is_legal(OrderStatus.PENDING_APPROVAL, to, mover):
        raise ValueError(f"{mover} may not move an order to {to}")
    values = {
        "to": to.value,
        "by": actor.name,
        "deadline": DEADLINE,
        "note": note,
        "request_id": actor.request_id,
        "self_approved": False,
        **_sending(None),
    }
    return int(session.execute(statement, {**values, **which}).one()[0])
