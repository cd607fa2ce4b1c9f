"""Orders meet the gate: submitted once, decided durably, and moved on by exactly one of all who try."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from decimal import Decimal
from functools import wraps
from typing import Any, ParamSpec, Protocol, TypeVar

from psycopg.errors import LockNotAvailable
from sqlalchemy import Row, func, select
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from app.db.statements import Statement
from app.db.transaction import Decisions, deciding, reading, recording
from app.domain import gate
from app.domain.gate import Outcome
from app.domain.instruments import Multipliers, instrument, instrument_key
from app.domain.order_status import Mover, OrderStatus, status_at
from app.domain.risk_config import TradingMode
from app.lib import metrics, strict_json
from app.lib.timestamps import rfc3339
from app.models import Order
from app.models.instruments import INSTRUMENT_KEY
from app.services import rules
from app.services.actor import Actor
from app.services.errors import Conflict, Forbidden, NotFound
from app.services.orders import transitions

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
Shown = dict[str, Any]  # an order as the routes show it

NO_SUCH = "there is no such order"
CREDENTIAL_REVOKED = "this token has been revoked"
SUSPENDED = "account_suspended"
ACCOUNT_SUSPENDED = (
    "this account is suspended, because its owner was deactivated or demoted: an admin can give it another owner"
)
GATE = "system:gate"
ROW_PATIENCE = 5  # times one second

TABLE = Order.__table__


# Submitting


@dataclass(frozen=True, slots=True)
class NewOrder:
    """An order as an engine sent it; amounts and prices are exact and positive, absent ones None."""

    client_order_id: str
    ticker: str
    side: str
    type: str
    time_in_force: str = "day"
    qty: Decimal | None = None
    notional: Decimal | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    reference_price: Decimal | None = None
    signal_layer: str | None = None
    strategy: str | None = None
    rationale: str | None = None


SENT = tuple(item.name for item in fields(NewOrder))

# What tells whose a token is. Read with the rules, after the lock: an order is of somebody whose token holds then.
HOLDER = "secret_hash, allow_live, accounts.id, name, role, suspended_at IS NOT NULL"
RULES_NOW = rules.rules_for_one("%(lockout_keys)s")
READ = Statement(
    "order_read",
    f"""
    SELECT rules.*, {HOLDER}
    FROM (SELECT) AS always
    LEFT JOIN ({RULES_NOW}) AS rules ON TRUE
    LEFT JOIN tokens ON tokens.id = %(token_id)s AND revoked_at IS NULL
    LEFT JOIN accounts ON accounts.id = account_id
    """,  # noqa: S608 - made of constants
)
# The instant and the count of one statement: both are of after the engine's lock was granted.
COUNT_ACCEPTED = Statement(
    "order_count",
    """
    WITH clock AS MATERIALIZED (SELECT clock_timestamp() AS now)
    SELECT clock.now, (SELECT count(*) FROM orders
                       WHERE account_id = %(account_id)s AND status <> 'blocked'
                         AND created_at > clock.now - make_interval(secs => %(seconds)s))
    FROM clock
    """,
)
# Whether a position is being closed already: by what waits, is on its way, or is open at the venue. Each by its
# own index, however many orders there have been.
CLOSES = f"""
    SELECT FROM orders
    WHERE account_id = %(account_id)s AND side = %(side)s AND client_order_id <> %(client_order_id)s
      AND {INSTRUMENT_KEY} = %(instrument_key)s
"""
IS_BEING_CLOSED = Statement(
    "order_closes",
    f"""
    SELECT EXISTS ({CLOSES} AND status = 'pending_approval' AND expires_at > clock_timestamp())
        OR EXISTS ({CLOSES} AND send_by IS NOT NULL AND status IN ('released', 'sending', 'unknown'))
        OR EXISTS ({CLOSES} AND status IN ('accepted', 'partially_filled'))
    """,
)
WRITTEN = (
    *("id", *SENT, "account_id", "engine", "trading_mode", "status"),
    *("reasons", "created_at", "expires_at", "decided_at", "decided_by", "send_by", "try_at", "replaces"),
)
# The order and its event in one statement: never the one without the other.
WRITE = Statement(
    "order_write",
    f"""
    WITH made AS (
        INSERT INTO orders ({", ".join(WRITTEN)})
        VALUES ({", ".join(f"%({name})s" for name in WRITTEN)})
        ON CONFLICT (account_id, client_order_id) DO NOTHING
        RETURNING id
    )
    INSERT INTO audit_events (actor, action, subject, after, request_id)
    SELECT %(engine)s, 'order.submit', made.id::text, %(after)s::jsonb, %(request_id)s FROM made
    """,  # noqa: S608 - made of constants
)
PREPARE = "; ".join(statement.prepare for statement in (READ, COUNT_ACCEPTED, IS_BEING_CLOSED, WRITE))


class Sender(Protocol):
    """Whoever shows a token that has not been looked up yet."""

    @property
    def token_id(self) -> str: ...

    def confirm(self, holder: tuple[Any, ...] | None) -> Actor:
        """The actor, if the row of HOLDER says that the token is good and may do this; raises otherwise."""


def never(mode: str) -> int | None:
    """For how many seconds after its release an order is sent to a venue: without one, it is not."""
    return None


@metrics.timing_the_gate
def submit(
    sender: Actor | Sender,
    new: NewOrder,
    send_within: Callable[[str], int | None] = never,
    *,
    replaces: uuid.UUID | None = None,
    closes_in: str | None = None,
) -> tuple[Shown, bool]:
    """Decide an order and write it down; the order, and whether it is new.

    The same `client_order_id` again gives the same order; with another body it is a Conflict
    `idempotency_conflict`. Two round trips: lock and read, write and commit; one more where the rate is limited.
    A `sender` whose token has not been looked up yet is confirmed on the way, before anything is decided, and so
    is one whose token may have been revoked since (Forbidden).
    `send_within` tells for a trading mode how long an order that is released may be sent to the venue. One that
    `replaces` another is sent only once that one has ended without a fill. One that closes a position of the
    account of the mode `closes_in` is a Conflict `mode_changed` in another mode, and `already_closing` beside
    another of that engine that is not final.
    """
    asked = {"lockout_keys": list(instrument(new.ticker).lockout_keys), "token_id": sender.token_id}
    with deciding(READ, asked) as decisions:
        now, mode, stored, lockouts, *holder = decisions.first_row
        actor = _confirmed(sender, tuple(holder) if holder[0] else None)
        if now is not None:
            desk = rules.desk_from(mode, stored, lockouts)
            if closes_in is not None:
                _refuse_to_close(decisions, actor, new, desk.mode, closes_in)
            desk, now = _with_rate(decisions, actor, desk, now)
            decided = _decide(actor, new, desk, now)
            # The unique key says whether there is one already, perhaps of this very instant: then that one counts.
            sending = _sending(decided, now, send_within(desk.mode.value))
            written = _parameters(actor, decided) | sending | {"replaces": replaces}
            if decisions.write_and_commit(WRITE, written) == 1:
                return decided | _told_of_sending(sending["send_by"], replaces=replaces), True
    return _same_again(actor, new), False


def _confirmed(sender: Actor | Sender, holder: tuple[Any, ...] | None) -> Actor:
    if not isinstance(sender, Actor):
        return sender.confirm(holder)
    if sender.token_id is not None and holder is None:
        raise Forbidden(CREDENTIAL_REVOKED, "credential_revoked")
    if holder is not None and holder[-1]:
        raise Forbidden(ACCOUNT_SUSPENDED, SUSPENDED)
    return sender


def _refuse_to_close(decisions: Decisions, actor: Actor, new: NewOrder, mode: TradingMode, closes_in: str) -> None:
    """While trading is halted the gate refuses it anyway, and writes that down."""
    if mode is TradingMode.DISABLED or actor.account_id is None:
        return
    if mode.value != closes_in:
        raise Conflict(
            f"the trading mode is {mode} by now, and the position is one of {closes_in}: nothing was sent",
            "mode_changed",
        )
    # After the engine's own lock: of two that close it at once the second one sees the first.
    which = {"account_id": actor.account_id, "client_order_id": new.client_order_id} | {
        "side": new.side,
        "instrument_key": instrument_key(new.ticker),
    }
    [closing] = decisions.count(IS_BEING_CLOSED, which, engine_id=actor.account_id)
    if closing:
        raise Conflict(
            f"an order to {new.side} {new.ticker} is not final yet: with another one the position could be closed"
            " twice over",
            "already_closing",
        )


def _with_rate(decisions: Decisions, actor: Actor, desk: gate.Desk, now: datetime) -> tuple[gate.Desk, datetime]:
    rate = desk.config.order_rate
    if rate.max_orders is None or actor.account_id is None:
        return desk, now
    # Counted in a statement of its own after the lock, or two at once would each count without the other.
    which = {"account_id": actor.account_id, "seconds": rate.per_seconds}
    now, accepted = decisions.count(COUNT_ACCEPTED, which, engine_id=actor.account_id)
    return replace(desk, accepted_lately=accepted), now


def _decide(actor: Actor, new: NewOrder, desk: gate.Desk, now: datetime) -> Shown:
    order = gate_order(new)
    decision = gate.decide(order, desk, now)
    waits = decision.outcome is Outcome.PENDING_APPROVAL
    timeout = timedelta(minutes=desk.config.operator_approval.approval_timeout_minutes)
    at = rfc3339(now)
    return {
        "id": str(uuid.uuid4()),
        "engine": actor.name,
        **{name: amount(getattr(new, name)) for name in SENT},
        "trading_mode": desk.mode.value,
        "status": decision.outcome.value,
        "reasons": [{"code": reason.code.value, "detail": reason.detail} for reason in decision.reasons],
        "value": amount(order.value(desk.config.instruments.multipliers)),
        "created_at": at,
        "expires_at": rfc3339(now + timeout) if waits else None,
        "decided_at": None if waits else at,
        "decided_by": None if waits else GATE,
        "decision_note": None,
    }


def _sending(decided: Shown, now: datetime, within: int | None) -> dict[str, datetime | None]:
    """Until when it may be sent, and when somebody looks after it, should the request that released it not."""
    if decided["status"] != OrderStatus.RELEASED or within is None:
        return {"send_by": None, "try_at": None}
    return {"send_by": now + timedelta(seconds=within), "try_at": now + transitions.LEFT_TO_THE_REQUEST}


def _parameters(actor: Actor, decided: Shown) -> dict[str, Any]:
    return {
        **decided,
        "account_id": actor.account_id,
        "reasons": strict_json.dumps(decided["reasons"]) if decided["reasons"] else "[]",
        "after": strict_json.dumps_texts(decided),
        "request_id": actor.request_id,
    }


def _same_again(actor: Actor, new: NewOrder) -> Shown:
    with reading() as session:
        query = select(TABLE).where(
            TABLE.c.account_id == actor.account_id, TABLE.c.client_order_id == new.client_order_id
        )
        row = session.execute(query).one_or_none()
    if row is None:  # nothing was written either, for there are no rules to decide by
        raise Conflict(rules.NO_CONFIG, "config_missing")
    if different := [name for name in SENT if getattr(row, name) != getattr(new, name)]:
        raise Conflict(
            f"client_order_id {new.client_order_id} was used before for an order with another"
            f" {', '.join(different)}",
            "idempotency_conflict",
        )
    return get(actor, row.id)


# Reading


def gate_order(order: NewOrder | Row[Any]) -> gate.Order:
    """What the gate looks at of an order that comes in, or of one that waits."""
    return gate.Order(
        ticker=order.ticker,
        qty=order.qty,
        notional=order.notional,
        limit_price=order.limit_price,
        stop_price=order.stop_price,
        reference_price=order.reference_price,
        signal_layer=gate.SignalLayer(order.signal_layer) if order.signal_layer else None,
    )


def as_json(order: Row[Any], now: datetime, multipliers: Multipliers) -> Shown:
    """The order as the routes show it, at the database's `now`: what has expired reads `expired`. Its value is by
    the contract sizes that are configured now, as at its approval."""
    status = status_at(OrderStatus(order.status), order.expires_at, now)
    unwritten = status.value != order.status
    return {
        "id": str(order.id),
        "client_order_id": order.client_order_id,
        "engine": order.engine,
        "ticker": order.ticker,
        "side": order.side,
        "qty": amount(order.qty),
        "notional": amount(order.notional),
        "type": order.type,
        "time_in_force": order.time_in_force,
        "limit_price": amount(order.limit_price),
        "stop_price": amount(order.stop_price),
        "reference_price": amount(order.reference_price),
        "signal_layer": order.signal_layer,
        "strategy": order.strategy,
        "rationale": order.rationale,
        "trading_mode": order.trading_mode,
        "status": status.value,
        "reasons": order.reasons,
        "value": amount(gate_order(order).value(multipliers)),
        "created_at": rfc3339(order.created_at),
        "expires_at": _instant(order.expires_at),
        "decided_at": _instant(order.expires_at if unwritten else order.decided_at),
        "decided_by": transitions.DEADLINE if unwritten else order.decided_by,
        "decision_note": order.decision_note,
        **({"self_approved": True} if order.self_approved else {}),
        **_told_of_sending(order.send_by, order),
    }


def _told_of_sending(
    send_by: datetime | None, order: Row[Any] | None = None, replaces: uuid.UUID | None = None
) -> Shown:
    """What is added to an order that is bound for a venue."""
    if send_by is None:
        return {}
    names = ("venue_id", "venue_words", "filled_qty", "filled_avg_price", "venue_at", "cancel_asked_at")
    told = {name: getattr(order, name, None) for name in names}
    told["replaces"] = order.replaces if order is not None else replaces
    return {"send_by": rfc3339(send_by), **{name: plain(value) for name, value in told.items()}}


def amount(value: Any) -> Any:
    """A decimal as its shortest exact string: `10` for 10.000000000; anything else as it is."""
    return gate.plain(value) if isinstance(value, Decimal) else value


def plain(value: Any) -> Any:
    """What a column holds, as JSON shows it."""
    if isinstance(value, datetime):
        return rfc3339(value)
    return str(value) if isinstance(value, uuid.UUID) else amount(value)


def _instant(value: datetime | None) -> str | None:
    return rfc3339(value) if value is not None else None


def database_now(session: Session) -> datetime:
    now: datetime = session.scalars(select(func.clock_timestamp())).one()
    return now


def patiently(work: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Begin again when another transaction keeps the row of an order: each try gives the lock on the rules back,
    so that a stop never waits for longer than one of them."""

    @wraps(work)
    def tried(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        for _ in range(ROW_PATIENCE - 1):
            try:
                return work(*args, **kwargs)
            except OperationalError as error:
                if not isinstance(error.orig, LockNotAvailable):
                    raise
        return work(*args, **kwargs)

    return tried


def get(actor: Actor, order_id: uuid.UUID) -> Shown:
    """One order; an engine sees only its own. What has expired is written down before it is said."""
    return look(actor, order_id)[0]


@patiently
def look(actor: Actor, order_id: uuid.UUID) -> tuple[Shown, float]:
    """`get`, with the seconds until its deadline, 0 where it waits no more."""
    with reading() as session:
        row = visible(session, actor, order_id)
        now, multipliers = rules.clock_and_multipliers(session)
    shown = as_json(row, now, multipliers)
    if shown["status"] != row.status:
        # An approval made in time may not be committed yet: the row lock waits for it.
        with recording() as session:
            locked(session, actor, order_id)
            transitions.expire_if_late(session, actor, order_id)
            now = database_now(session)
            row = visible(session, actor, order_id)
            shown = as_json(row, now, multipliers)
    waits = shown["status"] == OrderStatus.PENDING_APPROVAL
    return shown, (row.expires_at - now).total_seconds() if waits else 0.0


def visible(session: Session, actor: Actor, order_id: uuid.UUID, *, lock: bool = False) -> Row[Any]:
    query = select(TABLE).where(TABLE.c.id == order_id)
    if actor.is_engine:
        query = query.where(TABLE.c.account_id == actor.account_id)
    row = session.execute(query.with_for_update() if lock else query).one_or_none()
    if row is None:
        raise NotFound(NO_SUCH)
    return row


def locked(session: Session, actor: Actor, order_id: uuid.UUID) -> Row[Any]:
    """The order under its row lock, taken in a statement of its own. Raises NotFound."""
    return visible(session, actor, order_id, lock=True)


# Moving on


def settle(
    session: Session,
    mover: Mover,
    to: OrderStatus,
    actor: Actor,
    note: str | None,
    order_id: uuid.UUID,
    *,
    send_within: int | None = None,
    self_approved: bool = False,
) -> tuple[Shown, bool]:
    """Move a locked order out of waiting, if it still waits and its deadline has not passed.

    The order as it is afterwards, and whether this was the move; past its deadline it is written down as expired.
    """
    won = transitions.move(
        session, mover, to, actor, note, order_id, send_within=send_within, self_approved=self_approved
    )
    return as_json(visible(session, actor, order_id), *rules.clock_and_multipliers(session)), won
