"""Real PostgreSQL for tests: TEST_DATABASE_URL, or the embedded one, which is brought up when it does not run."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import sql
from sqlalchemy.engine import URL, make_url

from app.db.embedded import EmbeddedPostgres
from app.settings import PROJECT

PREFIX = "countersign_test_"

# Empties all tables, whichever there are. TRUNCATE makes new files for every table and index, which takes five to
# ten times as long as deleting a few rows, so it is used only where a table is large. The lock waits, as TRUNCATE
# does, for requests of an earlier test that are still in progress. All deletes are one statement, for foreign keys
# are checked at its end. The triggers that no session can switch off are disabled by name.
EMPTY = """
    DO $$
    DECLARE
        tables text;
        deletes text;
        is_large boolean;
        disable text;
        enable text;
    BEGIN
        SELECT string_agg(format('%I', relname), ', '),
               string_agg(format('%I AS (DELETE FROM %I)', 'from_' || relname, relname), ', '),
               bool_or(pg_relation_size(oid) > 256 * 1024)
        INTO tables, deletes, is_large
        FROM pg_class
        WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND relname <> 'alembic_version';
        SELECT string_agg(format('ALTER TABLE %s DISABLE TRIGGER %I', tgrelid::regclass, tgname), '; '),
               string_agg(format('ALTER TABLE %s ENABLE ALWAYS TRIGGER %I', tgrelid::regclass, tgname), '; ')
        INTO disable, enable
        FROM pg_trigger WHERE tgenabled = 'A';

        EXECUTE 'LOCK TABLE ' || tables || ' IN ACCESS EXCLUSIVE MODE';
        EXECUTE disable;
        IF is_large THEN
            EXECUTE 'TRUNCATE ' || tables || ' RESTART IDENTITY';
        ELSE
            EXECUTE 'WITH ' || deletes || ' SELECT 1';
            PERFORM setval(format('%I', sequencename)::regclass, start_value, false) FROM pg_sequences
            WHERE schemaname = 'public' AND last_value IS NOT NULL;
        END IF;
        EXECUTE enable;
        INSERT INTO risk_configs DEFAULT VALUES;
    END $$
"""


@contextmanager
def postgres(*, durable: bool = False) -> Iterator[URL]:
    """The URL of a server on which databases may be created; `durable` makes a commit wait for the disk."""
    given = os.environ.get("TEST_DATABASE_URL")
    if given:
        yield make_url(given).set(drivername="postgresql+psycopg")
        return
    folder = "bench-postgres" if durable else "test-postgres"
    with EmbeddedPostgres(PROJECT / "instance" / folder, durable=durable) as server:
        yield make_url(server.dsn()).set(drivername="postgresql+psycopg")


@contextmanager
def new_database(server: URL) -> Iterator[URL]:
    """An empty database of its own, dropped at the end. What killed runs left behind is dropped too."""
    name = f"{PREFIX}{os.getpid()}_{secrets.token_hex(4)}"
    with connect(server) as connection:
        for (old,) in connection.execute("SELECT datname FROM pg_database WHERE datname LIKE %s", [f"{PREFIX}%"]):
            if not _alive(int(old.removeprefix(PREFIX).split("_")[0])):
                _drop(connection, old)
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    try:
        yield server.set(database=name)
    finally:
        with connect(server) as connection:
            _drop(connection, name)


def connect(url: URL) -> psycopg.Connection[Any]:
    """A connection that commits each statement by itself."""
    dsn = url.set(drivername="postgresql").render_as_string(hide_password=False)
    return psycopg.connect(dsn, autocommit=True)


def _drop(connection: psycopg.Connection[Any], name: str) -> None:
    connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
