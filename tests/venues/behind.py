"""The real server, with a venue of ours behind it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.engine import URL

from app.db import migrate
from tests.database import new_database
from tests.serving import Server, application, serve
from tests.venues.stand_in import KEY, Venue, standing_in

Both = tuple[Server, Venue]


@contextmanager
def desk_before_a_venue(postgres_server: URL, instance: Path) -> Iterator[Both]:
    """Two workers, and where they send orders: never later than eight seconds after the release."""
    with standing_in() as venue:
        settings = {
            "ALPACA_PAPER_KEY_ID": KEY["APCA-API-KEY-ID"],
            "ALPACA_PAPER_SECRET_KEY": KEY["APCA-API-SECRET-KEY"],
            "ALPACA_PAPER_URL": venue.url,
            "ALPACA_PAPER_STREAM_URL": venue.stream_url,
            "SEND_WITHIN": "8",
            "VENUE_PATIENCE": "2",
        }
        with new_database(postgres_server) as url, application(url, instance, **settings) as here:
            with here.app_context():
                migrate.upgrade(url)
            with serve(here, url, instance, settings=settings) as made:
                yield made, venue
