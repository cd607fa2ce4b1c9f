"""A venue whose failures are counted for the monitor: in one place, whoever asked and whatever they make of it."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from app.lib import metrics
from app.services.execution.brokers.base import (
    Answer,
    NoAnswer,
    NotSent,
    Refused,
    Report,
    Venue,
    VenueError,
    VenueOrder,
)

KINDS: Mapping[type[VenueError], str] = {NotSent: "not_sent", NoAnswer: "no_answer", Refused: "refused"}


class Counted:
    """The same venue, and what it raises is counted by kind in `countersign_venue_errors_total`."""

    def __init__(self, venue: Venue) -> None:
        self._venue = venue
        self.name = venue.name
        self.patience = venue.patience
        self.refuses_duplicates = venue.refuses_duplicates
        for kind in KINDS.values():  # so that the first increase of each is seen
            metrics.VENUE_ERRORS.labels(self.name, kind)

    @contextmanager
    def _counting(self) -> Iterator[None]:
        try:
            yield
        except VenueError as error:
            metrics.VENUE_ERRORS.labels(self.name, KINDS.get(type(error), "other")).inc()
            raise

    def send(self, order: VenueOrder) -> Report:
        with self._counting():
            return self._venue.send(order)

    def find(self, client_order_id: str) -> Report | None:
        with self._counting():
            return self._venue.find(client_order_id)

    def open_orders(self) -> Sequence[Report]:
        with self._counting():
            return self._venue.open_orders()

    def updates(self) -> Generator[Report | None, None, None]:
        with self._counting():
            yield from self._venue.updates()

    def cancel(self, venue_id: str) -> None:
        with self._counting():
            self._venue.cancel(venue_id)

    def read(self, path: str, query: Mapping[str, Any]) -> Answer:
        with self._counting():
            return self._venue.read(path, query)

    def close(self) -> None:
        self._venue.close()
