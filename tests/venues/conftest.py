"""Fixtures: a venue of ours, by itself or behind the real server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy.engine import URL

from tests.serving import Server
from tests.venues.behind import Both, desk_before_a_venue
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
