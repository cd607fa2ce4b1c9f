"""The migrations and the models make the same database, and migrating is safe however many do it at once."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import create_engine
from sqlalchemy.engine import URL
from sqlalchemy.pool import NullPool

from app import models
from app.db import migrate
from app.extensions import db
from app.settings import SettingsError
from tests.at_once import at_once, results_of
from tests.database import connect, new_database
from tests.desk.catalog import QUERIES, catalog
from tests.serving import SECRET_KEY


@pytest.fixture(scope="module")
def modelled(postgres_server: URL, app: Flask) -> Iterator[URL]:
    with new_database(postgres_server) as url:
        engine = create_engine(url, poolclass=NullPool)
        with app.app_context(), engine.begin() as connection:
            db.metadata.create_all(connection)
        yield url


@pytest.mark.parametrize("kind", QUERIES)
def test_migrations_and_models_make_the_same(kind: str, migrated: URL, modelled: URL) -> None:
    assert catalog(migrated)[kind] == catalog(modelled)[kind]


def test_every_model_has_its_table_and_every_table_its_model(migrated: URL) -> None:
    tables = {line.split(" | ")[0] for line in catalog(migrated)["tables"] if " | r | " in line}
    assert tables == set(db.metadata.tables) == {getattr(models, name).__tablename__ for name in models.__all__}


@pytest.mark.parametrize(
    ("drift", "kind"),
    [
        ("ALTER TABLE symbol_lockouts ALTER created_at SET DEFAULT now()", "columns"),
        ("ALTER TABLE tokens ALTER allow_live DROP NOT NULL", "columns"),
        ("ALTER TABLE risk_configs DROP CONSTRAINT ck_risk_configs_version", "constraints"),
        (
            "DROP INDEX uq_risk_configs_one_active;"
            " CREATE UNIQUE INDEX uq_risk_configs_one_active ON risk_configs (is_active)",
            "indexes",
        ),
        ("ALTER TABLE audit_events ENABLE TRIGGER audit_events_are_final", "triggers"),
        (
            "CREATE OR REPLACE FUNCTION audit_events_are_final() RETURNS trigger LANGUAGE plpgsql"
            " AS 'BEGIN RETURN NULL; END'",
            "functions",
        ),
    ],
)
def test_the_comparison_sees_what_alembics_own_overlooks(drift: str, kind: str, postgres_server: URL) -> None:
    """A comparison that sees nothing would pass for ever."""
    with new_database(postgres_server) as url, connect(url) as connection:
        engine = create_engine(url, poolclass=NullPool)
        with engine.begin() as models_own:
            db.metadata.create_all(models_own)
        before = catalog(url)
        connection.execute(drift)
        after = catalog(url)
        assert kind in [name for name in QUERIES if before[name] != after[name]]


def test_a_new_database_starts_in_paper_mode_with_an_empty_configuration(migrated: URL) -> None:
    with connect(migrated) as connection:
        rows = connection.execute(
            "SELECT is_active, config::text, trading_mode, version FROM risk_configs"
        ).fetchall()
        assert rows == [(True, "{}", "paper", 1)]


def test_migrating_again_changes_nothing(app: Flask, postgres_server: URL) -> None:
    with new_database(postgres_server) as url, app.app_context():
        migrate.upgrade(url)
        with connect(url) as connection:
            connection.execute("UPDATE risk_configs SET trading_mode = 'disabled', version = 7")
            before = catalog(url), connection.execute("SELECT * FROM risk_configs").fetchall()
            migrate.upgrade(url)
            assert (catalog(url), connection.execute("SELECT * FROM risk_configs").fetchall()) == before


def test_several_threads_that_migrate_at_once_take_turns(app: Flask, postgres_server: URL, migrated: URL) -> None:
    with new_database(postgres_server) as url:
        results_of(*[lambda: _upgrade(app, url)] * 6)
        assert catalog(url) == catalog(migrated)
        with connect(url) as connection:
            assert connection.execute("SELECT count(*) FROM risk_configs").fetchall() == [(1,)]
            assert connection.execute("SELECT count(*) FROM alembic_version").fetchall() == [(1,)]


def test_several_processes_that_migrate_at_once_take_turns(
    postgres_server: URL, migrated: URL, tmp_path: Path
) -> None:
    with new_database(postgres_server) as url:
        environment = os.environ | {
            "DATABASE_URL": url.set(drivername="postgresql").render_as_string(hide_password=False),
            "SECRET_KEY": SECRET_KEY,
            "INSTANCE_PATH": str(tmp_path),
        }
        command = [str(Path(sys.executable).with_name("countersign")), "db", "upgrade"]
        processes = [
            subprocess.Popen(command, env=environment, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
            for _ in range(3)
        ]
        try:
            said = [(process.communicate(timeout=60)[1].splitlines(), process.returncode) for process in processes]
        finally:
            for process in processes:
                process.kill()
                process.wait()
        # On a slow machine each also says for whom it waits.
        assert [(lines[-1], status) for lines, status in said] == [
            ("the database is at the newest version", 0)
        ] * 3
        assert catalog(url) == catalog(migrated)
        with connect(url) as connection:
            assert connection.execute("SELECT count(*) FROM risk_configs").fetchall() == [(1,)]


def test_a_migration_that_fails_leaves_nothing_behind_and_gives_the_lock_back(
    app: Flask, postgres_server: URL, migrated: URL
) -> None:
    with new_database(postgres_server) as url, connect(url) as connection, app.app_context():
        connection.execute("CREATE TABLE web_sessions (in_the_way int)")
        [failed] = at_once(lambda: _upgrade(app, url))
        assert "web_sessions" in str(failed)
        assert [line.split(" | ")[0] for line in catalog(url)["tables"]] == ["web_sessions"]
        connection.execute("DROP TABLE web_sessions")
        results_of(lambda: _upgrade(app, url), seconds=20)
        assert catalog(url) == catalog(migrated)


def test_tables_of_a_version_that_is_not_known_here_are_refused_in_one_line(
    app: Flask, postgres_server: URL
) -> None:
    with new_database(postgres_server) as url, connect(url) as connection, app.app_context():
        migrate.upgrade(url)
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        before = catalog(url)
        with pytest.raises(SettingsError, match=r"^DATABASE_URL: .*9999") as caught:
            migrate.upgrade(url)
        assert "\n" not in str(caught.value)
        assert catalog(url) == before


def test_a_database_that_cannot_hold_every_character_is_refused(app: Flask, postgres_server: URL) -> None:
    with connect(postgres_server) as connection, app.app_context():
        name = f"countersign_test_{os.getpid()}_latin1"
        connection.execute(f"CREATE DATABASE {name} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")  # type: ignore[arg-type]
        try:
            with pytest.raises(SettingsError, match="must be encoded in UTF8, not LATIN1"):
                migrate.upgrade(postgres_server.set(database=name))
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")  # type: ignore[arg-type]


def _upgrade(app: Flask, url: URL) -> None:
    with app.app_context():
        migrate.upgrade(url)
