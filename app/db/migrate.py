"""Bringing a database to the tables of this version."""

from __future__ import annotations

import os
import time
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from flask import current_app
from psycopg.errors import LockNotAvailable
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool

from app.db.advisory_locks import LockHolder, holder_query
from app.settings import SettingsError, shipped

MIGRATION_LOCK = 0x4D696772617465  # "Migrate"
OLDEST_SERVER = 14
# A migration that waits for a table has everybody wait behind it, halts included: it gives way, and tries again.
PATIENCE = "2s"
TRIES, BETWEEN = 20, 3.0  # seconds
LOCK_TIMEOUT = 60.0  # seconds
LOCK_RETRY_EVERY = 0.5
LOCK_REPORT_AFTER = 1.0  # several servers that start together wait for each other, and for no longer as a rule
LOCK_REPORT_EVERY = 20.0


def upgrade(url: URL) -> None:
    """Migrate the database at `url`. Several that start at once take turns; the later ones find it done.

    Raises SettingsError when the server is too old, the database cannot hold every character, its tables are of a
    version that is not known here, or another session holds the migration lock for a minute, or the tables for a
    minute and a half.
    """
    connecting = {"connect_timeout": 10, "application_name": f"countersign migration {os.getpid()}"}
    engine = create_engine(url, poolclass=NullPool, connect_args=connecting)
    with engine.connect() as connection:
        _check_server(connection)
        _take_lock(connection)
        connection.execute(text(f"SET lock_timeout = '{PATIENCE}'"))
        connection.commit()
        # Closing the connection gives the lock back, whatever happens.
        alembic = Config(str(migrations() / "alembic.ini"))
        alembic.set_main_option("script_location", str(migrations()))
        alembic.attributes["connection"] = connection
        try:
            _migrate(alembic, connection)
        except CommandError as error:  # made by a newer version of the application, say
            raise SettingsError(f"DATABASE_URL: the tables cannot be brought to this version: {error}") from error
        connection.commit()
    current_app.logger.info("the database is at the newest version")


def _take_lock(connection: Connection) -> None:
    """Take the migration lock; while another session holds it, log which. Raises SettingsError after a minute."""
    began = time.monotonic()
    report_at = began + LOCK_REPORT_AFTER
    while not connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), {"key": MIGRATION_LOCK}):
        row = connection.execute(text(holder_query(MIGRATION_LOCK))).first()
        connection.rollback()
        now = time.monotonic()
        holder = str(LockHolder.from_row(row)) if row else "a session that has just ended"
        if now - began >= LOCK_TIMEOUT:
            raise SettingsError(
                f"DATABASE_URL: the migration lock was not free within {LOCK_TIMEOUT:.0f} s: held by {holder}."
                " If that is no migration at work, end it with SELECT pg_terminate_backend(pid), and start again"
            )
        if row and now >= report_at:
            report_at = now + LOCK_REPORT_EVERY
            message = "waiting for the migration lock, for up to %.0f s more: it is held by %s"
            current_app.logger.warning(message, LOCK_TIMEOUT - (now - began), holder)
        time.sleep(LOCK_RETRY_EVERY)
    connection.commit()


def _migrate(alembic: Config, connection: Connection) -> None:
    """Each migration is a transaction of its own, so what is done stays done when one has to wait."""
    for left in range(TRIES - 1, -1, -1):
        try:
            command.upgrade(alembic, "head")
        except OperationalError as error:
            connection.rollback()
            if not isinstance(error.orig, LockNotAvailable):
                raise
            if not left:
                detail = "the tables are in use, by a dump perhaps, and could not be changed: try again later"
                raise SettingsError(f"DATABASE_URL: {detail}") from error
            current_app.logger.warning("the tables are in use: the migration gives way and tries again")
            time.sleep(BETWEEN)
        else:
            return


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
