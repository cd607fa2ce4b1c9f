"""From released to the venue's last word: at most one order there for each of ours, and none forgotten.

An order is written down as `sending` and committed before any byte goes out, and no lock and no transaction is
open while the venue is spoken to. What became of a try that nobody can tell of is asked of the venue, by the
client order id that is the same at every try; "not found" counts only once no request can be under way any more.
Nothing here needs a leader: whoever takes a step up does so under the row's lock, and puts off the next look.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing, suppress
from contextvars import copy_context
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, func, or_, select, text, update
from sqlalchemy.orm import Session

from app.desk import audit, moves, orders, replacing, rules
from app.desk.actor import Actor
from app.desk.errors import Decided, Invalid
from app.desk.orders import TABLE, Shown
from app.desk.transaction import reading, recording
from app.domain import gate
from app.domain.lifecycle import (
    ON_THE_WAY,
    OPEN_AT_VENUE,
    Mover,
    OrderStatus,
    is_final,
    is_legal,
    status_at,
)
from app.domain.risk import TradingMode
from app.domain.roles import Role
from app.models import Order
from app.venues import NoAnswer, NotSent, Report, Venue, VenueError, VenueOrder

log = logging.getLogger("gunicorn.error.dispatch")

DISPATCH = "system:dispatch"
ROUND = 200  # orders, the most that a bulk decision releases
AT_ONCE = 8  # of them, with the venue
FRESH = 2.0  # seconds after its claim in which an order is sent: whoever was held up for longer leaves it alone
PATIENCES = 3  # how many times the longest request it takes until "not found" is believed
SELDOM = 10.0  # seconds between two questions about open orders, where the venue tells of them by itself
SOONEST, LATEST = 1.0, 30.0  # seconds between two tries

TO_SEND = text("send_by IS NOT NULL AND status IN ('released', 'sending', 'unknown')")
OPEN = text("status IN ('accepted', 'partially_filled')")
SENT = text("status IN ('sending', 'unknown')")
PROTECTIVE = ("stop", "stop_limit")  # what ends a position that goes wrong: without it nothing would
MOST_OPEN = 500
CONFIRMED_WITHIN = 1.5  # seconds: a stop is answered within two, whatever the venue does
# Besides what the gate says.
WHY_NOT_SENT = ("send_deadline", "mode_changed", replacing.FILLED["code"], replacing.RIVAL["code"])
Step = Callable[[], None]  # what is left to do once nothing is locked any more

ACTOR = Actor(DISPATCH, Role.ADMIN, "dispatch")
TOO_LATE = {
    "code": "send_deadline",
    "detail": "it could not be sent to the venue in time, and is not sent any more",
}


OURS = "cs-"


def venue_order_id(order_id: uuid.UUID) -> str:
    """The client order id that the venue knows an order by."""
    return f"{OURS}{order_id}"


def _ours(client_order_id: str) -> uuid.UUID | None:
    """The order that it may be, if any."""
    try:
        return uuid.UUID(client_order_id.removeprefix(OURS)) if client_order_id.startswith(OURS) else None
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to send an order once, now."""

    order: VenueOrder
    order_id: uuid.UUID
    venue: Venue
    sent_at: datetime
    since: float  # by the monotonic clock


class Dispatch:
    """The way to the venues. `venues` are by trading mode; where there is none, a released order is for its engine
    to execute. `send_within` is in seconds."""

    def __init__(self, venues: Mapping[str, Venue], send_within: int) -> None:
        self.venues = venues
        self._within = send_within
        self._followed: set[str] = set()  # the modes whose venue tells of its orders by itself
        self._asked: dict[str, float] = {}  # when it was asked about them last, by the monotonic clock

    def close(self) -> None:
        for venue in self.venues.values():
            venue.close()

    def send_within(self, mode: str) -> int | None:
        """For how many seconds after its release an order of that mode may be sent; None where it is not."""
        return self._within if mode in self.venues else None

    def forward(self, order_id: uuid.UUID, actor: Actor) -> None:
        """Send an order in the request that released it. What goes wrong is taken up again by `once`."""
        try:
            self._take_up(order_id, _in_the_name_of(actor), at_once=True)()
        except Exception:
            log.exception("order %s could not be forwarded at once", order_id)

    def sent_on(self, actor: Actor, shown: Shown) -> Shown:
        """The order that was just released, after it was sent, where it is bound for a venue."""
        if shown["status"] != OrderStatus.RELEASED or "send_by" not in shown:
            return shown
        self.forward(uuid.UUID(shown["id"]), actor)
        return orders.get(actor, uuid.UUID(shown["id"]))

    def once(self) -> None:
        """One round: all that is due is sent, looked for, or given up; several at a time, for the venue may be
        slow."""
        due = self._due()
        if not due:
            return
        with ThreadPoolExecutor(min(len(due), AT_ONCE)) as pool:
            for order_id in due:
                pool.submit(copy_context().run, self._once, order_id)

    def _once(self, order_id: uuid.UUID) -> None:
        try:
            self._take_up(order_id, ACTOR)()
        except Exception:
            log.exception("order %s could not be taken up", order_id)

    def follow(self, mode: str, goes_on: Callable[[], bool]) -> None:
        """Hear what becomes of orders at a venue from its own stream, until that ends or nothing `goes_on`. Raises
        VenueError. What happened before is asked for by `listen`, at once."""
        venue = self.venues[mode]
        with closing(venue.updates()) as updates:
            try:
                for report in updates:
                    if not goes_on():
                        return
                    if mode not in self._followed:
                        self._asked.pop(mode, None)
                        self._followed.add(mode)
                    if report is not None and (order_id := _ours(report.client_order_id)) is not None:
                        self._hear_quietly(order_id, venue, report)
            finally:
                self._followed.discard(mode)

    def listen(self) -> None:
        """One round of asking what became of the orders that are open at the venues: seldom where a stream tells
        of them, for it may leave something out."""
        for mode, venue in self.venues.items():
            if mode in self._followed and time.monotonic() - self._asked.get(mode, -SELDOM) < SELDOM:
                continue
            with reading() as session:
                rows = session.execute(select(TABLE).where(OPEN, TABLE.c.trading_mode == mode)).all()
            if not rows:
                continue
            self._asked[mode] = time.monotonic()
            try:
                found = {report.client_order_id: report for report in venue.open_orders()}
                for row in rows:
                    report = found.get(venue_order_id(row.id)) or venue.find(venue_order_id(row.id))
                    if report is not None:
                        self._hear_quietly(row.id, venue, report)
            except VenueError as error:
                log.warning("%s does not answer: %s", venue.name, error)

    def _hear_quietly(self, order_id: uuid.UUID, venue: Venue, report: Report) -> None:
        try:
            self._heard(order_id, venue, report, ACTOR)()
        except Exception:  # of one order, which is no reason not to hear of the others
            log.exception("what became of order %s could not be written down", order_id)

    def replace(
        self, actor: Actor, order_id: uuid.UUID, changes: Mapping[str, Any], client_order_id: str
    ) -> tuple[Shown, bool]:
        """Submit a new order, the old one with `changes`, that takes its place once the gate lets it pass: an
        order like any other. The new one, and whether it was made now. The old one goes where the new one is not
        blocked; what of it is at the venue ends there before the new one is sent. Raises Decided where the old
        one is final, Invalid where it has no such price, or is by notional and not by quantity.
        """
        with reading() as session:
            row = orders.visible(session, actor, order_id)
            old = orders.as_json(row, orders.database_now(session))
        if is_final(OrderStatus(old["status"]), bound=row.send_by is not None):
            raise Decided(old)
        if errors := {name: ["has no place in this order"] for name in _out_of_place(row, changes)}:
            raise Invalid(errors)
        same = {name: getattr(row, name) for name in orders.SENT}
        sent = {**same, **changes, "client_order_id": client_order_id}
        new, made = orders.submit(actor, orders.NewOrder(**sent), self.send_within, replaces=order_id)
        if made and new["status"] != OrderStatus.BLOCKED:
            if old["status"] in (OrderStatus.PENDING_APPROVAL, OrderStatus.RELEASED):
                with suppress(Decided):  # it went on meanwhile: then the new one waits for its end
                    self.cancel(actor, order_id)
            new = self.sent_on(actor, new)
        return new, made

    @orders.patiently
    def cancel(self, actor: Actor, order_id: uuid.UUID) -> Shown:
        """The engine withdraws an order that waits or was not sent yet; of one that is at the venue, or may be,
        the end is asked for there. Raises Decided where it is final."""
        rest: Step = _nothing
        decided: Shown | None = None
        with recording() as session:
            row = orders.locked(session, actor, order_id)
            now = orders.database_now(session)
            status = status_at(OrderStatus(row.status), row.expires_at, now)
            if status is OrderStatus.RELEASED and row.send_by is not None:
                _end(session, actor, row, now, Mover.ENGINE, [])
            elif status in ON_THE_WAY | OPEN_AT_VENUE:
                _ask_for_its_end(session, actor, row, now)
                rest = self._step(lambda venue: self._cancel_there(row, venue, actor), row)
            else:
                shown, won = orders.settle(session, Mover.ENGINE, OrderStatus.CANCELED, actor, None, order_id)
                decided = None if won else shown
        if decided is not None:  # out here: an expiry that was found out is written down all the same
            raise Decided(decided)
        rest()
        return orders.get(actor, order_id)

    def outstanding(self) -> Shown:
        """What a halt does not reach: how many orders are on their way to a venue, or may be, and the first 500
        that are open there, protective stops marked; nothing where there is no venue."""
        if not self.venues:
            return {}
        with reading() as session:
            now = orders.database_now(session)
            sent = session.execute(select(TABLE.c.status).where(SENT)).all()
            found = session.execute(select(TABLE).where(OPEN).order_by(TABLE.c.seq).limit(MOST_OPEN)).all()
            total = session.scalar(select(func.count()).select_from(TABLE).where(OPEN))
        return {
            "sending": len(sent),
            "unknown": sum(row.status == OrderStatus.UNKNOWN for row in sent),
            "open_orders": [_open_order(row, now) for row in found],
            "open_orders_total": total,
        }

    def cancel_open(self, actor: Actor, named: Collection[str]) -> list[Shown]:
        """Ask the venues for the end of all that is open there or on its way, of a protective stop only where its
        id is `named`. What became of each within a second and a half; the rest is asked for until it has ended.
        """
        with reading() as session:
            query = select(TABLE).where(or_(OPEN, SENT)).order_by(TABLE.c.seq)
            rows = [row for row in session.execute(query) if row.type not in PROTECTIVE or str(row.id) in named]
        if not rows:
            return []
        pool = ThreadPoolExecutor(min(len(rows), AT_ONCE))
        try:
            wait(
                [pool.submit(copy_context().run, self._cancel_quietly, actor, row.id) for row in rows],
                CONFIRMED_WITHIN,
            )
        finally:
            pool.shutdown(wait=False)
        with reading() as session:
            now = orders.database_now(session)
            found = session.execute(select(TABLE).where(TABLE.c.id.in_([row.id for row in rows]))).all()
        after = {row.id: row for row in found}
        return [_open_order(after[row.id], now) | {"ended": _has_ended(after[row.id])} for row in rows]

    def _cancel_quietly(self, actor: Actor, order_id: uuid.UUID) -> None:
        try:
            self.cancel(actor, order_id)
        except Decided:
            """It has ended by itself."""
        except Exception:
            log.exception("the end of order %s could not be asked for", order_id)

    def _due(self) -> list[uuid.UUID]:
        query = select(TABLE.c.id).where(TO_SEND, TABLE.c.try_at <= func.now()).order_by(TABLE.c.try_at)
        with reading() as session:
            return list(session.scalars(query.limit(ROUND)))

    def _take_up(self, order_id: uuid.UUID, actor: Actor, *, at_once: bool = False) -> Step:
        """Under the row's lock: what is to be done next, and that nobody else does it meanwhile."""
        with recording() as session:
            row = session.execute(select(TABLE).where(TABLE.c.id == order_id).with_for_update()).one()
            now = orders.database_now(session)
            status = OrderStatus(row.status)
            if row.send_by is None or not (at_once or row.try_at <= now):
                return _nothing
            if status is OrderStatus.RELEASED:
                return self._claim(session, row, actor)
            if status not in ON_THE_WAY:
                return _nothing
            _write(session, row, try_at=now + _backoff(row.tries), tries=row.tries + 1)
            if row.trading_mode in self.venues:
                return self._step(lambda venue: self._look(row, venue, actor), row)
            self._park(session, row, now, actor)
        return _nothing

    def _claim(self, session: Session, row: Row[Any], actor: Actor) -> Step:
        """Ask the gate once more, and write down that it goes; or that it does not, and why. Only for what is
        not at the venue for certain."""
        now, desk = rules.in_force(session, row.ticker)
        place = replacing.place_of(session, row)
        reasons = _reasons(row, desk, now)
        if place is not None:
            reasons += replacing.why_not(session, row, place)
        if reasons or row.cancel_asked_at is not None:
            _end(session, actor, row, now, Mover.DISPATCH, reasons)
            return _nothing
        venue = self.venues.get(row.trading_mode)
        waits_for = None if place is None or replacing.is_free(place) else place
        if venue is None or waits_for is not None:  # its key was taken away since, or its place is not free yet
            _write(session, row, try_at=_next_try(row, now), tries=row.tries + 1)
            return (
                self._step(lambda venue: self._make_room(waits_for, venue, actor), row) if waits_for else _nothing
            )
        _move(
            session,
            actor,
            row,
            Mover.DISPATCH,
            OrderStatus.SENDING,
            "order.send",
            sent_at=now,
            try_at=now + timedelta(seconds=venue.patience + FRESH),
            tries=row.tries + 1,
        )
        claim = Claim(_order_for(row), row.id, venue, now, time.monotonic())
        return lambda: self._send(claim, actor)

    def _send(self, claim: Claim, actor: Actor) -> None:
        try:
            if time.monotonic() - claim.since > FRESH:
                raise NotSent("this process was held up before it could send the order")
            report = claim.venue.send(claim.order)
        except NotSent as error:
            log.warning("order %s was not sent: %s", claim.order_id, error)
            self._unsent(claim, actor, str(error))
        except NoAnswer as error:
            log.warning("it is not known whether %s has order %s: %s", claim.venue.name, claim.order_id, error)
        else:
            self._heard(claim.order_id, claim.venue, report, actor)()

    def _unsent(self, claim: Claim, actor: Actor, why: str) -> None:
        """It certainly is not at the venue: as before its claim, unless somebody else has taken it up since."""
        with recording() as session:
            row = session.execute(select(TABLE).where(TABLE.c.id == claim.order_id).with_for_update()).one()
            if row.status != OrderStatus.SENDING or row.sent_at != claim.sent_at:
                return
            _move(
                session,
                actor,
                row,
                Mover.DISPATCH,
                OrderStatus.RELEASED,
                "order.unsent",
                sent_at=None,
                venue_words=why,
                try_at=_next_try(row, orders.database_now(session)),
            )

    def _look(self, seen: Row[Any], venue: Venue, actor: Actor) -> None:
        """Ask the venue what became of an order that it was told of, or was about to be."""
        try:
            report = venue.find(venue_order_id(seen.id))
        except VenueError as error:
            log.warning("%s cannot say what became of order %s: %s", venue.name, seen.id, error)
            with recording() as session:
                row = session.execute(select(TABLE).where(TABLE.c.id == seen.id).with_for_update()).one()
                self._park(session, row, orders.database_now(session), actor)
            return
        (self._heard(seen.id, venue, report, actor) if report else self._missing(seen, venue, actor))()

    def _missing(self, seen: Row[Any], venue: Venue, actor: Actor) -> Step:
        """The venue has no such order: not yet, or, after a while, for certain."""
        with recording() as session:
            row = session.execute(select(TABLE).where(TABLE.c.id == seen.id).with_for_update()).one()
            now = orders.database_now(session)
            if row.status not in ON_THE_WAY or row.sent_at != seen.sent_at:
                return _nothing
            believed = row.sent_at + timedelta(seconds=PATIENCES * venue.patience)
            if now < believed:
                _write(session, row, try_at=min(row.try_at, believed))
                return _nothing
            if row.cancel_asked_at is not None:
                _end(session, actor, row, now, Mover.DISPATCH, [])
            elif row.status == OrderStatus.SENDING and venue.refuses_duplicates:
                return self._claim(session, row, actor)
            elif now >= row.send_by and venue.refuses_duplicates:
                _end(session, actor, row, now, Mover.DISPATCH, [TOO_LATE])
            else:
                self._park(session, row, now, actor, at_once=True)
        return _nothing

    def _park(
        self, session: Session, row: Row[Any], now: datetime, actor: Actor, *, at_once: bool = False
    ) -> None:
        """Nobody can tell: from its deadline on that is said, loudly; looking for it goes on."""
        if row.status == OrderStatus.SENDING and (at_once or now >= row.send_by):
            log.error("it is UNKNOWN whether order %s is at the venue: a person must look", row.id)
            _move(session, actor, row, Mover.DISPATCH, OrderStatus.UNKNOWN, "order.unknown")

    def _heard(self, order_id: uuid.UUID, venue: Venue, report: Report, actor: Actor) -> Step:
        """Write down what the venue says, where it is news."""
        with recording() as session:
            row = session.execute(select(TABLE).where(TABLE.c.id == order_id).with_for_update()).one_or_none()
            if row is None or self.venues.get(row.trading_mode) is not venue:  # of another desk at that account
                return _nothing
            status = OrderStatus(row.status)
            if report.status in OPEN_AT_VENUE and report.filled_qty < (row.filled_qty or 0):
                return _nothing  # older than what is known: the stream and the answers overtake each other
            if status is not report.status and not is_legal(status, report.status, Mover.VENUE):
                # Final here and open there: it came to the venue after the desk had given it up.
                stray = report.status in OPEN_AT_VENUE and is_final(status, bound=True)
                if stray and report.venue_id and row.cancel_asked_at is None:
                    log.error("order %s is %s, but open at %s: it is canceled there", order_id, status, venue.name)
                    _ask_for_its_end(session, ACTOR, row, orders.database_now(session))
                return (lambda: _try_to_cancel(venue, report)) if stray else _nothing
            said = {
                "venue_id": report.venue_id or row.venue_id,
                "venue_words": report.words,
                "filled_qty": report.filled_qty,
                "filled_avg_price": report.filled_avg_price,
            }
            if status is not report.status or any(getattr(row, name) != value for name, value in said.items()):
                _move(session, actor, row, Mover.VENUE, report.status, "order.venue", **said)
            ending = row.cancel_asked_at is not None and report.status in OPEN_AT_VENUE
        return (lambda: _try_to_cancel(venue, report)) if ending else _nothing

    def _make_room(self, row: Row[Any], venue: Venue, actor: Actor) -> None:
        """The order that another one is to replace: never are both at the venue."""
        with recording() as session:
            _ask_for_its_end(session, actor, row, orders.database_now(session))
        self._cancel_there(row, venue, actor)

    def _cancel_there(self, row: Row[Any], venue: Venue, actor: Actor) -> None:
        try:
            report = venue.find(venue_order_id(row.id))
            if report is None:
                return
            if report.status in OPEN_AT_VENUE:
                _try_to_cancel(venue, report)
                report = venue.find(venue_order_id(row.id)) or report
        except VenueError as error:
            log.warning("the end of order %s is asked for again: %s", row.id, error)
        else:
            self._heard(row.id, venue, report, actor)()

    def _step(self, work: Callable[[Venue], None], row: Row[Any]) -> Step:
        venue = self.venues.get(row.trading_mode)
        return (lambda: work(venue)) if venue is not None else _nothing


def _nothing() -> None:
    """What is left to do where nothing is."""


def _in_the_name_of(actor: Actor) -> Actor:
    """The desk, in the request of that actor."""
    return Actor(DISPATCH, Role.ADMIN, actor.request_id)


def _reasons(row: Row[Any], desk: gate.Desk, now: datetime) -> list[dict[str, str]]:
    """Why a released order may not be sent now: what the gate says, another mode, or its deadline."""
    found = [
        {"code": reason.code.value, "detail": reason.detail}
        for reason in gate.blockers(orders.gate_order(row), desk, now)
    ]
    if desk.mode is not TradingMode.DISABLED and row.trading_mode != desk.mode.value:
        found.append(
            {
                "code": "mode_changed",
                "detail": f"it was released in {row.trading_mode}, and the mode is {desk.mode}",
            }
        )
    return [*found, TOO_LATE] if now >= row.send_by else found


def _out_of_place(row: Row[Any], changes: Mapping[str, Any]) -> list[str]:
    return [
        name for name in ("qty", "limit_price", "stop_price") if name in changes and getattr(row, name) is None
    ]


def _order_for(row: Row[Any]) -> VenueOrder:
    return VenueOrder(
        client_order_id=venue_order_id(row.id),
        ticker=row.ticker,
        side=row.side,
        type=row.type,
        time_in_force=row.time_in_force,
        qty=row.qty,
        notional=row.notional,
        limit_price=row.limit_price,
        stop_price=row.stop_price,
    )


def _open_order(row: Row[Any], now: datetime) -> Shown:
    return orders.as_json(row, now) | {"protective": row.type in PROTECTIVE}


def _has_ended(row: Row[Any]) -> bool:
    return is_final(OrderStatus(row.status), bound=True)


def _next_try(row: Row[Any], now: datetime) -> datetime:
    """Of an order that is not at the venue: also at its deadline, to be told then that it is over."""
    later = now + _backoff(row.tries)
    return min(later, row.send_by) if now < row.send_by else later


def _backoff(tries: int) -> timedelta:
    return timedelta(seconds=min(LATEST, SOONEST * 2**tries))


def _write(session: Session, row: Row[Any], **values: Any) -> None:
    session.execute(update(Order).where(TABLE.c.id == row.id).values(**values))


def _move(
    session: Session, actor: Actor, row: Row[Any], mover: Mover, to: OrderStatus, action: str, **values: Any
) -> None:
    """Move an order whose row is locked, with its event; whoever waits for it is told. What the venue says anew of
    an order that stays where it is passes through here too."""
    before = OrderStatus(row.status)
    if to is not before and not is_legal(before, to, mover):
        raise ValueError(f"{mover} may not move an order from {before} to {to}")
    _write(session, row, status=to.value, **values)
    same = {"engine": row.engine, "client_order_id": row.client_order_id, "ticker": row.ticker}
    told = {
        name: values[name]
        for name in ("venue_id", "venue_words", "filled_qty", "filled_avg_price", "reasons")
        if name in values
    }
    audit.record(
        session,
        actor,
        action,
        str(row.id),
        before={**same, "status": before.value, **{name: orders.amount(getattr(row, name)) for name in told}},
        after={**same, "status": to.value, **{name: orders.amount(value) for name, value in told.items()}},
    )
    moves.tell(session, row.id)


def _end(
    session: Session, actor: Actor, row: Row[Any], now: datetime, mover: Mover, reasons: list[dict[str, str]]
) -> None:
    """Cancel an order that certainly is not at the venue."""
    _move(
        session,
        actor,
        row,
        mover,
        OrderStatus.CANCELED,
        "order.cancel",
        reasons=reasons,
        decided_at=now,
        decided_by=actor.name,
    )


def _ask_for_its_end(session: Session, actor: Actor, row: Row[Any], now: datetime) -> None:
    if row.cancel_asked_at is None:
        _write(session, row, cancel_asked_at=now)
        same = {"engine": row.engine, "client_order_id": row.client_order_id, "ticker": row.ticker}
        audit.record(session, actor, "order.cancel_at_venue", str(row.id), after={**same, "status": row.status})


def _try_to_cancel(venue: Venue, report: Report) -> None:
    """Where it does not come about it is tried again by whoever hears of the order next."""
    try:
        if report.venue_id is not None:
            venue.cancel(report.venue_id)
    except VenueError as error:
        log.warning("%s did not cancel %s: %s", venue.name, report.client_order_id, error)
