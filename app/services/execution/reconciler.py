"""What becomes of orders at the venues, from their streams as it happens, and by asking."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any

from sqlalchemy import Row, select, text

from app.db.transaction import reading, recording
from app.lib import logs
from app.lib.outages import OutageLog, is_outage
from app.services.execution import open_orders
from app.services.execution.brokers.base import Report, Venue, VenueError
from app.services.execution.dispatcher import Dispatch
from app.services.execution.order_updates import by_itself, ours, venue_order_id
from app.services.orders.submit import TABLE

log = logging.getLogger(__name__)

# Seconds between two questions about open orders: where the venue tells of them by itself, or none is open that
# anybody knows of; and of a process that does not lead, for the one that does may be frozen.
SELDOM, RARELY = 10.0, 30.0
LONGEST_PAUSE = 30.0  # seconds, of a venue that does not answer
SILENT_AFTER = 3  # questions in a row without an answer, until that is said
ENOUGH = 3  # orders that it cannot tell of, after which the others are left for the next round

GIVEN_UP = text("status = 'canceled' AND send_by IS NOT NULL")


class Listener:
    """Of one venue, in one process."""

    def __init__(self, dispatch: Dispatch, mode: str) -> None:
        self.mode = mode
        self.venue: Venue = dispatch.venues[mode]
        self.followed = False  # whether it tells of its orders by itself
        self._dispatch = dispatch
        self._asked = float("-inf")  # by the monotonic clock
        self._failures = 0
        self._outage = OutageLog(log, f"{self.venue.name} does not answer")
        self._unwritten = OutageLog(log, "order updates could not be written down")

    def follow(self, goes_on: Callable[[], bool]) -> None:
        """Hear what becomes of orders from the venue's own stream, until that ends or nothing `goes_on`. Raises
        VenueError. What happened before is asked for by `ask`, at once."""
        with closing(self.venue.updates()) as updates:
            try:
                for report in updates:
                    if not goes_on():
                        return
                    if not self.followed:
                        self.followed, self._asked = True, float("-inf")
                    if report is not None and (order_id := ours(report.client_order_id)) is not None:
                        with logs.round_of("follow"):  # each piece of news has an id of its own
                            self._hear(order_id, report)
            finally:
                self.followed = False

    def ask(self, *, leads: bool = True) -> None:
        """One round of asking what became of the orders that are open there, if it is time for one."""
        since = time.monotonic() - self._asked
        if since < (RARELY if not leads else min(LONGEST_PAUSE, 2.0**self._failures - 1)):
            return
        with reading() as session:
            rows = session.execute(select(TABLE).where(open_orders.OPEN, TABLE.c.trading_mode == self.mode)).all()
        # A stream may leave something out, and what was given up may have come there all the same.
        quiet = not rows or (self.followed and all(row.cancel_asked_at is None for row in rows))
        if quiet and not self._failures and since < SELDOM:
            return
        self._asked = time.monotonic()
        try:
            listed = self.venue.open_orders()
        except VenueError as error:
            self._outage.failed(error)
            self._failures += 1
        else:
            self._outage.succeeded()
            self._failures = 0
            self._compare(rows, {report.client_order_id: report for report in listed})
        # Not once only: to write it down may fail, and who leads now may have asked in vain before.
        if leads and (self._failures == 0 or self._failures >= SILENT_AFTER):
            with reading() as session:
                known = open_orders.answers(session, self.mode)
            if known is not (self._failures == 0):
                with recording() as session:
                    open_orders.tell_whether_it_answers(session, by_itself(), self.mode, self._failures == 0)

    def _compare(self, rows: Sequence[Row[Any]], listed: dict[str, Report]) -> None:
        failures = 0
        for row in rows:
            try:
                report = listed.pop(venue_order_id(row.id), None) or self.venue.find(venue_order_id(row.id))
            except VenueError as error:
                log.warning("%s cannot tell of order %s: %s", self.venue.name, row.id, error)
                failures += 1
                if failures == ENOUGH:
                    return
            else:
                if report is None:
                    log.error("%s does not know order %s, which was open there", self.venue.name, row.id)
                else:
                    self._hear(row.id, report)
        strays = {order_id: report for name, report in listed.items() if (order_id := ours(name)) is not None}
        if strays:
            with reading() as session:
                given_up = session.scalars(select(TABLE.c.id).where(TABLE.c.id.in_(list(strays)), GIVEN_UP)).all()
            for order_id in given_up:
                self._hear(order_id, strays[order_id])

    def _hear(self, order_id: uuid.UUID, report: Report) -> None:
        try:
            self._dispatch.heard(order_id, self.venue, report, by_itself())()
        except Exception as error:  # of one order, which is no reason not to hear of the others
            if is_outage(error):
                self._unwritten.failed(error)
            else:
                log.exception("what became of order %s could not be written down", order_id)
        else:
            self._unwritten.succeeded()
