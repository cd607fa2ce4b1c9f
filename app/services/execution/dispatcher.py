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
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, func, select, text
from sqlalchemy.orm import Session

from app.db.transaction import glancing, reading, recording
from app.domain.order_status import ON_THE_WAY, OPEN_AT_VENUE, Mover, OrderStatus, is_final, is_legal, status_at
from app.lib.outages import OutageLog, is_outage
from app.services import rules
from app.services.actor import Actor
from app.services.errors import Conflict, Decided, Invalid
from app.services.execution import open_orders, order_updates, replacement
from app.services.execution.brokers.base import NoAnswer, NotSent, Report, Venue, VenueError, VenueOrder
from app.services.execution.order_updates import by_itself, in_the_name_of, venue_order_id
from app.services.orders import queries, submit, transitions
from app.services.orders.submit import TABLE, Shown
from app.services.trading import config

log = logging.getLogger(__name__)

ROUND = 200  # orders, the most that a bulk decision releases
AT_ONCE = 8  # of them, with the venue
FRESH = 2.0  # seconds after its claim in which an order is sent: whoever was held up for longer leaves it alone
PATIENCES = 3  # how many times the longest request it takes, after that, until "not found" is believed
CONFIRMED_WITHIN = 1.5  # seconds: a stop is answered within two, whatever the venue does

TO_SEND = text("send_by IS NOT NULL AND status IN ('released', 'sending', 'unknown')")
Step = Callable[[], None]  # what is left to do once nothing is locked any more


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
        self._outage = OutageLog(log, "orders could not be sent on, the database does not answer")

    def close(self) -> None:
        for venue in self.venues.values():
            venue.close()

    def send_within(self, mode: str) -> int | None:
        """For how many seconds after its release an order of that mode may be sent; None where it is not."""
        return self._within if mode in self.venues else None

    def _failed(self, error: Exception, what: str, order_id: uuid.UUID) -> None:
        """Log it: an outage as a whole, anything else with its traceback."""
        if is_outage(error):
            self._outage.failed(error)
        else:
            log.exception(what, order_id, exc_info=error)

    # Sending

    def forward(self, order_id: uuid.UUID, actor: Actor) -> None:
        """Send an order in the request that released it. What goes wrong is taken up again by `once`."""
        try:
            self._take_up(order_id, in_the_name_of(actor), at_once=True)()
        except Exception as error:
            self._failed(error, "order %s could not be forwarded at once", order_id)

    def sent_on(self, actor: Actor, shown: Shown) -> Shown:
        """The order that was just released, after it was sent, where it is bound for a venue."""
        if shown["status"] != OrderStatus.RELEASED or "send_by" not in shown:
            return shown
        order_id = uuid.UUID(shown["id"])
        self.forward(order_id, actor)
        try:
            return submit.get(actor, order_id)
        except Exception as error:  # it is released, and may be sent: no error is to say otherwise
            self._failed(error, "what became of order %s cannot be told now", order_id)
            return shown

    def once(self) -> None:
        """One round: all that is due is sent, looked for, or given up; several at a time, for the venue may be
        slow."""
        query = select(TABLE.c.id).where(TO_SEND, TABLE.c.try_at <= func.now()).order_by(TABLE.c.try_at)
        with reading() as session:
            due = list(session.scalars(query.limit(ROUND)))
        self._outage.succeeded()
        _each(self._once, due)

    def _once(self, order_id: uuid.UUID) -> None:
        try:
            self._take_up(order_id, by_itself())()
        except Exception as error:
            self._failed(error, "order %s could not be taken up", order_id)
            with recording() as session:  # or it would stand in front of the others for ever
                row = order_updates.locked(session, order_id)
                if row is not None:
                    order_updates.write(
                        session, row, try_at=submit.database_now(session) + order_updates.backoff(row.tries)
                    )

    def _take_up(self, order_id: uuid.UUID, actor: Actor, *, at_once: bool = False) -> Step:
        """Under the row's lock: what is to be done next, and that nobody else does it meanwhile."""
        with recording() as session:
            row = order_updates.locked(session, order_id)
            now = submit.database_now(session)
            if row is None or row.send_by is None or not (at_once or row.try_at <= now):
                return _nothing
            status = OrderStatus(row.status)
            if status is OrderStatus.RELEASED:
                return self._claim(session, row, actor)
            if status not in ON_THE_WAY:
                return _nothing
            order_updates.write(session, row, try_at=now + order_updates.backoff(row.tries), tries=row.tries + 1)
            if (venue := self.venues.get(row.trading_mode)) is not None:
                return lambda: self._look(row, venue, actor, now)
            self._park(session, row, now, actor)
        return _nothing

    def _claim(self, session: Session, row: Row[Any], actor: Actor) -> Step:
        """Ask the gate once more, and write down that it goes; or that it does not, and why. Only for what is
        not at the venue for certain."""
        now, desk = rules.in_force(session, row.ticker)
        place = replacement.place_of(session, row)
        reasons = order_updates.why_not(session, row, desk, now, place)
        if reasons or row.cancel_asked_at is not None:
            order_updates.end(session, actor, row, now, Mover.DISPATCH, reasons)
            if place is not None and place.cancel_asked_at is not None:
                log.error("order %s is not sent, and %s that it was to replace has been ended", row.id, place.id)
            return _nothing
        venue = self.venues.get(row.trading_mode)
        if venue is None:  # its key was taken away since
            order_updates.write(session, row, try_at=order_updates.next_try(row, now), tries=row.tries + 1)
            return _nothing
        if place is not None and not replacement.is_free(place):
            order_updates.write(session, row, try_at=order_updates.next_try(row, now), tries=row.tries + 1)
            return lambda: self._make_room(row, place, venue, actor)
        order_updates.move(
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
        claim = Claim(order_updates.order_for(row), row.id, venue, now, time.monotonic())
        return lambda: self._send(claim, actor)

    def _make_room(self, row: Row[Any], place: Row[Any], venue: Venue, actor: Actor) -> None:
        """Never are the order that is replaced and the one that replaces it both at the venue; but nor is there to
        be neither for longer than it takes."""
        with recording() as session:
            order_updates.ask_for_their_end(session, actor, [place.id])
        self.end_there(place, venue, actor)
        with reading() as session:
            free = replacement.is_free(session.execute(select(TABLE).where(TABLE.c.id == place.id)).one())
        if free:
            self._take_up(row.id, actor, at_once=True)()

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
            self.heard(claim.order_id, claim.venue, report, actor)()

    def _unsent(self, claim: Claim, actor: Actor, why: str) -> None:
        """It certainly is not at the venue: as before its claim, unless somebody else has taken it up since."""
        with recording() as session:
            row = order_updates.locked(session, claim.order_id)
            if row is None or row.status != OrderStatus.SENDING or row.sent_at != claim.sent_at:
                return
            order_updates.move(
                session,
                actor,
                row,
                Mover.DISPATCH,
                OrderStatus.RELEASED,
                "order.unsent",
                sent_at=None,
                venue_words=why,
                try_at=order_updates.next_try(row, submit.database_now(session)),
            )

    # Finding out

    def _look(self, seen: Row[Any], venue: Venue, actor: Actor, asked_at: datetime) -> None:
        """Ask the venue what became of an order that it was told of, or was about to be."""
        try:
            report = venue.find(venue_order_id(seen.id))
        except VenueError as error:
            log.warning("%s cannot say what became of order %s: %s", venue.name, seen.id, error)
            with recording() as session:
                row = order_updates.locked(session, seen.id)
                if row is not None:
                    self._park(session, row, submit.database_now(session), actor)
            return
        (self.heard(seen.id, venue, report, actor) if report else self._missing(seen, venue, actor, asked_at))()

    def _missing(self, seen: Row[Any], venue: Venue, actor: Actor, asked_at: datetime) -> Step:
        """The venue had no such order when it was asked: not yet, or, after a while, for certain."""
        with recording() as session:
            row = order_updates.locked(session, seen.id)
            now = submit.database_now(session)
            if row is None or row.status not in ON_THE_WAY or row.sent_at != seen.sent_at:
                return _nothing
            believed = row.sent_at + timedelta(seconds=FRESH + PATIENCES * venue.patience)
            if asked_at < believed:
                order_updates.write(session, row, try_at=max(now, min(row.try_at, believed)))
                return _nothing
            if row.cancel_asked_at is not None:
                order_updates.end(session, actor, row, now, Mover.DISPATCH, [])
            elif row.status == OrderStatus.SENDING and venue.refuses_duplicates:
                return self._claim(session, row, actor)
            elif now >= row.send_by and venue.refuses_duplicates:
                order_updates.end(session, actor, row, now, Mover.DISPATCH, [order_updates.TOO_LATE])
            else:
                self._park(session, row, now, actor, at_once=True)
        return _nothing

    def _park(
        self, session: Session, row: Row[Any], now: datetime, actor: Actor, *, at_once: bool = False
    ) -> None:
        """Nobody can tell: from its deadline on that is said, loudly; looking for it goes on."""
        if row.status == OrderStatus.SENDING and (at_once or now >= row.send_by):
            log.error("it is UNKNOWN whether order %s is at the venue: a person must look", row.id)
            order_updates.move(session, actor, row, Mover.DISPATCH, OrderStatus.UNKNOWN, "order.unknown")

    def heard(self, order_id: uuid.UUID, venue: Venue, report: Report, actor: Actor) -> Step:
        """Write down what the venue says, where it is news."""
        with recording() as session:
            row = order_updates.locked(session, order_id)
            if row is None or row.send_by is None or self.venues.get(row.trading_mode) is not venue:
                return _nothing  # of another desk at that account
            status = OrderStatus(row.status)
            older = report.status in OPEN_AT_VENUE and report.filled_qty < (row.filled_qty or 0)
            if older or not (status is report.status or is_legal(status, report.status, Mover.VENUE)):
                return _nothing  # the stream and the answers overtake each other
            said = {
                "venue_id": report.venue_id or row.venue_id,
                "venue_words": report.words,
                "filled_qty": report.filled_qty,
                "filled_avg_price": report.filled_avg_price,
            }
            if status is OrderStatus.CANCELED:
                log.error("order %s was given up, but is %s at %s", order_id, report.words, venue.name)
                said["reasons"] = []
            if status is not report.status or any(getattr(row, name) != value for name, value in said.items()):
                order_updates.move(
                    session, actor, row, Mover.VENUE, report.status, "order.venue", venue_at=report.at, **said
                )
            ending = row.cancel_asked_at is not None
            if status is OrderStatus.CANCELED and report.status in OPEN_AT_VENUE and not ending:
                order_updates.ask_for_their_end(session, by_itself(), [row.id])
                ending = True
        if ending and report.status in OPEN_AT_VENUE and not report.ending:
            return lambda: _try_to_cancel(venue, report.venue_id, order_id)
        return _nothing

    # Replacing and ending

    def replace(
        self, actor: Actor, order_id: uuid.UUID, changes: Mapping[str, Any], client_order_id: str
    ) -> tuple[Shown, bool]:
        """Submit a new order, the old one with `changes`, that takes its place once the gate lets it pass: an
        order like any other. The new one, and whether it was made now. The old one goes where the new one is not
        blocked; what of it is at the venue ends there before the new one is sent.

        Raises Decided where the old one is final, Invalid where it has no such price, or is by notional and not by
        quantity, Conflict `mode_changed` where it is of another mode than the present one.
        """
        with reading() as session:
            row = submit.visible(session, actor, order_id)
            old = submit.as_json(row, *rules.clock_and_multipliers(session))
            again = replacement.made_before(session, row, client_order_id)
        if is_final(OrderStatus(old["status"]), bound=row.send_by is not None) and not again:
            raise Decided(old)
        if errors := {name: ["has no place in this order"] for name in _out_of_place(row, changes)}:
            raise Invalid(errors)
        if row.trading_mode != (mode := config.trading_mode().value) and not again:
            raise Conflict(f"the order is of the mode {row.trading_mode}, and the mode is {mode}", "mode_changed")
        same = {name: getattr(row, name) for name in submit.SENT}
        sent = {**same, **changes, "client_order_id": client_order_id}
        new, made = submit.submit(actor, submit.NewOrder(**sent), self.send_within, replaces=order_id)
        if made and new["status"] != OrderStatus.BLOCKED:
            if old["status"] in (OrderStatus.PENDING_APPROVAL, OrderStatus.RELEASED):
                with suppress(Decided):  # it went on meanwhile: then the new one waits for its end
                    self.cancel(actor, order_id)
            new = self.sent_on(actor, new)
        return new, made

    @submit.patiently
    def cancel(self, actor: Actor, order_id: uuid.UUID) -> Shown:
        """The engine withdraws an order that waits or was not sent yet; of one that is at the venue, or may be,
        the end is asked for there. Raises Decided where it is final, Conflict `venue_not_connected` where the
        venue that has it cannot be spoken to any more."""
        there: Venue | None = None
        decided: Shown | None = None
        with recording() as session:
            row = submit.locked(session, actor, order_id)
            now = submit.database_now(session)
            status = status_at(OrderStatus(row.status), row.expires_at, now)
            if status is OrderStatus.RELEASED and row.send_by is not None:
                order_updates.end(session, actor, row, now, Mover.ENGINE, [])
            elif status in ON_THE_WAY | OPEN_AT_VENUE:
                there = self.venues.get(row.trading_mode)
                if there is None:
                    raise Conflict(f"no venue is connected for the mode {row.trading_mode}", "venue_not_connected")
                order_updates.ask_for_their_end(session, actor, [row.id])
            else:
                shown, won = submit.settle(session, Mover.ENGINE, OrderStatus.CANCELED, actor, None, order_id)
                decided = None if won else shown
        if decided is not None:  # out here: an expiry that was found out is written down all the same
            raise Decided(decided)
        if there is not None:
            self.end_there(row, there, actor)
        return submit.get(actor, order_id)

    def withdraw_all(self, actor: Actor) -> list[tuple[Shown, bool]]:
        """The engine withdraws all that is open of its own. Each as it is afterwards, and whether it has ended by
        this or its end is asked for. Without a venue the newest released ones are among them, which have not."""
        with reading() as session:
            rows = open_orders.of_engine(session, actor.account_id)
        with recording() as session:
            transitions.withdraw_waiting(session, actor)
        self._end_all(actor, [row for row in rows if row.status != OrderStatus.PENDING_APPROVAL])
        with reading() as session:
            at = rules.clock_and_multipliers(session)
            after = _by_id(session, rows)
        found = [(submit.as_json(after[row.id], *at), _is_withdrawn(after[row.id])) for row in rows]
        if self.venues:
            return found
        still_open = queries.chosen(actor, is_open=True, limit=open_orders.MOST)
        return found + [(shown, False) for shown in still_open if shown["status"] == OrderStatus.RELEASED]

    def outstanding(self, *, of_a_stop: bool = False) -> Shown:
        """What a halt does not reach (`open_orders.outstanding`); nothing where there is no venue."""
        if not self.venues:
            return {}
        with glancing() if of_a_stop else reading() as session:
            return open_orders.outstanding(session)

    def cancel_open(self, actor: Actor, named: Collection[str]) -> list[Shown]:
        """Ask the venues for the end of all that is open there or on its way, of a protective stop only where its
        id is `named`. What became of each within a second and a half; the rest is asked for until it has ended.
        """
        with glancing() as session:
            rows = open_orders.to_end(session, named)
        self._end_all(actor, rows)
        with glancing() as session:
            at = rules.clock_and_multipliers(session)
            after = _by_id(session, rows)
        return [
            open_orders.as_json(after[row.id], *at) | {"ended": open_orders.has_ended(after[row.id])}
            for row in rows
        ]

    def _end_all(self, actor: Actor, rows: Sequence[Row[Any]]) -> None:
        """All are marked before the first is spoken of: whatever becomes of this process, they are asked for."""
        if not rows:
            return
        with recording(of_a_stop=True) as session:
            order_updates.ask_for_their_end(session, actor, [row.id for row in rows])
        _each(lambda order_id: self._cancel_quietly(actor, order_id), [row.id for row in rows], CONFIRMED_WITHIN)

    def _cancel_quietly(self, actor: Actor, order_id: uuid.UUID) -> None:
        try:
            with suppress(Decided):  # it has ended by itself
                self.cancel(actor, order_id)
        except Exception as error:
            self._failed(error, "the end of order %s could not be asked for", order_id)

    def end_there(self, row: Row[Any], venue: Venue, actor: Actor) -> None:
        """Have an order end at its venue, if it can be found there; where that does not come about it is asked for
        again by whoever hears of it next."""
        try:
            if row.venue_id is None:
                report = venue.find(venue_order_id(row.id))
                if report is None:
                    return
                self.heard(row.id, venue, report, actor)()  # which asks for its end
            else:
                _try_to_cancel(venue, row.venue_id, row.id)
            report = venue.find(venue_order_id(row.id))
        except VenueError as error:
            log.warning("the end of order %s is asked for again: %s", row.id, error)
        else:
            if report is not None and (report.ending or report.status not in OPEN_AT_VENUE):
                self.heard(row.id, venue, report, actor)()


def _nothing() -> None:
    """What is left to do where nothing is."""


def _each(work: Callable[[uuid.UUID], None], order_ids: Sequence[uuid.UUID], within: float | None = None) -> None:
    """Several at a time, for the venue may be slow; the rest goes on after `within` seconds."""
    if not order_ids:
        return
    pool = ThreadPoolExecutor(min(len(order_ids), AT_ONCE))
    try:
        wait([pool.submit(copy_context().run, work, order_id) for order_id in order_ids], within)
    finally:
        pool.shutdown(wait=False)


def _by_id(session: Session, rows: Sequence[Row[Any]]) -> dict[uuid.UUID, Row[Any]]:
    found = session.execute(select(TABLE).where(TABLE.c.id.in_([row.id for row in rows])))
    return {row.id: row for row in found}


def _is_withdrawn(row: Row[Any]) -> bool:
    if row.status in (OrderStatus.CANCELED, OrderStatus.VENUE_CANCELED):
        return True
    return row.cancel_asked_at is not None and not open_orders.has_ended(row)


def _out_of_place(row: Row[Any], changes: Mapping[str, Any]) -> list[str]:
    return [
        name for name in ("qty", "limit_price", "stop_price") if name in changes and getattr(row, name) is None
    ]


def _try_to_cancel(venue: Venue, venue_id: str | None, order_id: uuid.UUID) -> None:
    """Where it does not come about it is tried again by whoever hears of the order next."""
    try:
        if venue_id is not None:
            venue.cancel(venue_id)
    except VenueError as error:
        log.warning("%s did not cancel order %s: %s", venue.name, order_id, error)
