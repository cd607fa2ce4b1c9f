"""Fixtures: a venue of ours, by itself or behind the real server."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from flask import Flask
from sqlalchemy.engine import URL

from app.services.actor import Actor
from app.services.execution.brokers.alpaca import Alpaca
from app.services.execution.dispatcher import Dispatch
from app.services.orders import submit
from tests.desk.orders import account, new_order
from tests.serving import Desk, Server
from tests.venues.behind import Both, desk_before_a_venue
from tests.venues.sending import PATIENCE, WITHIN, Release
from tests.venues.stand_in import Venue, standing_in


@pytest.fixture(scope="module")
def shared(postgres_server: URL, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    with desk_before_a_venue(postgres_server, tmp_path_factory.mktemp("sending")) as both:
        yield both


@pytest.fixture
def server(shared: Both) -> Server:
    """An empty desk that sends its paper orders to `venue_behind`."""
    shared[0].reset()
    return shared[0]


@pytest.fixture
def venue_behind(shared: Both) -> Venue:
    shared[1].forget()
    return shared[1]


@pytest.fixture
def venue() -> Iterator[Venue]:
    """One for a dispatch of the test's own."""
    with standing_in() as venue:
        yield venue


@pytest.fixture
def dispatch(venue: Venue, app: Flask, desk: Desk) -> Iterator[Dispatch]:
    alpaca = Alpaca(venue.account, "paper", PATIENCE)
    with app.app_context(), closing(alpaca):
        yield Dispatch({"paper": alpaca}, WITHIN)


@pytest.fixture
def engine(desk: Desk) -> Actor:
    return account(desk, "momentum", "engine")


@pytest.fixture
def alice(desk: Desk) -> Actor:
    return account(desk, "alice", "operator")


@pytest.fixture
def release(dispatch: Dispatch, engine: Actor) -> Release:
    """An order that the gate lets pass; nobody sends it yet."""

    def released(**changes: Any) -> uuid.UUID:
        shown, _ = submit.submit(engine, new_order(**changes), dispatch.send_within)
        assert shown["status"] == "released"
        return uuid.UUID(shown["id"])

    return released
