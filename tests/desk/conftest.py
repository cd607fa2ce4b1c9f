from __future__ import annotations

from collections.abc import Iterator

import pytest
from flask import Flask
from sqlalchemy.engine import URL

from app.db import migrate
from tests.database import new_database


@pytest.fixture(scope="module")
def migrated(postgres_server: URL, app: Flask) -> Iterator[URL]:
    """A database with the newest tables, as the migrations make them, to be looked at only."""
    with new_database(postgres_server) as url:
        with app.app_context():
            migrate.upgrade(url)
        yield url
