"""Bringing a database to the tables of this version."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from flask import current_app
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.engine import URL
from sqlalchemy.pool import NullPool

from app.settings import SettingsError, shipped

MIGRATION_LOCK = 0x4D696772617465  # "Migrate"
OLDEST_SERVER = 14


def upgrade(url: URL) -> None:
    """Migrate the database at `url`. Several that start at once take turns; the later ones find it done.

    Raises SettingsError when the server is too old, the database cannot hold every character, or its tables
    are of a version that is not known here.
    """
    engine = create_engine(url, poolclass=NullPool, connect_args={"connect_timeout": 10})
    with engine.connect() as connection:
        _check_server(connection)
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": MIGRATION_LOCK})
        connection.commit()
        # Closing the connection gives the lock back, whatever happens.
        alembic = Config(str(migrations() / "alembic.ini"))
        alembic.set_main_option("script_location", str(migrations()))
        alembic.attributes["connection"] = connection
        try:
            command.upgrade(alembic, "head")
        except CommandError as error:  # made by a newer version of the application, say
            raise SettingsError(f"DATABASE_URL: the tables cannot be brought to this version: {error}") from error
        connection.commit()
    current_app.logger.info("the database is at the newest version")


def migrations() -> Path:
    return shipped("migrations")


def _check_server(connection: Connection) -> None:
    version = int(connection.scalar(text("SHOW server_version_num")) or 0) // 10_000
    if version < OLDEST_SERVER:
        raise SettingsError(f"DATABASE_URL: PostgreSQL {OLDEST_SERVER} or newer is needed, this is {version}")
    encoding = connection.scalar(text("SHOW server_encoding"))
    if encoding != "UTF8":
        raise SettingsError(f"DATABASE_URL: the database must be encoded in UTF8, not {encoding}")
    connection.rollback()
