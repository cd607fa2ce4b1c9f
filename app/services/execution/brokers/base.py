"""Where released orders go: one small protocol, and an adapter for each venue.

An adapter speaks to its venue and nothing else: it knows neither the database nor the desk, holds no lock, and
never tries again by itself. What it raises says what is known, which is all that `desk.dispatch` decides by.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol

from app.domain.order_status import OrderStatus


@dataclass(frozen=True, slots=True)
class VenueOrder:
    """An order as a venue is told of it. `client_order_id` is the same at every try."""

    client_order_id: str
    ticker: str
    side: str
    type: str
    time_in_force: str
    qty: Decimal | None = None
    notional: Decimal | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """What a venue says of an order. `status` is one of `lifecycle.VENUE_SAYS`; `words` are the venue's own, of a
    rejection as it gave it; `filled_avg_price` is None while nothing is filled."""

    client_order_id: str
    status: OrderStatus
    words: str
    venue_id: str | None = None
    filled_qty: Decimal = Decimal(0)
    filled_avg_price: Decimal | None = None
    at: datetime | None = None  # when it became so
    ending: bool = False  # its end is asked for already


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer of the venue that is handed on as it is."""

    status: int
    body: bytes


class VenueError(Exception):
    """The venue did not do as it was asked; the message is for people."""


class NotSent(VenueError):
    """It certainly knows nothing of the request: no connection came about, or it turned the request away
    unread."""


class NoAnswer(VenueError):
    """It may have taken the request, or not: a time-out, a connection that broke, an answer that makes no
    sense."""


class Refused(VenueError):
    """It understood, and said no."""


class Venue(Protocol):
    """One account at a venue. Every request takes at most `patience` seconds; `send` may take a second one,
    to find out why it was refused, and `open_orders` a few."""

    name: str
    patience: float
    # Whether a second order with a client order id that it knows is refused: only to such a one is it sent again.
    refuses_duplicates: bool

    def send(self, order: VenueOrder) -> Report:
        """Place it. A rejection is a Report too. Raises NotSent or NoAnswer."""

    def find(self, client_order_id: str) -> Report | None:
        """What became of it; None where the venue says that it has no such order. Raises NotSent or NoAnswer."""

    def open_orders(self) -> Sequence[Report]:
        """All that are open there, whoever placed them. Raises NotSent or NoAnswer."""

    def updates(self) -> Generator[Report | None, None, None]:
        """What becomes of orders, whoever placed them, as it happens: None once it is listened to, and every
        second or so without news. Goes on until it is closed. Raises NotSent or NoAnswer where it has ended."""

    def cancel(self, venue_id: str) -> None:
        """Ask for its end; what became of it is told by `find`. Raises Refused, NotSent or NoAnswer."""

    def close(self) -> None:
        """Give its connections back."""

    def read(self, path: str, query: Mapping[str, Any]) -> Answer:
        """What it says of itself: the account, positions, assets, clock, calendar. Raises NotSent or NoAnswer."""
