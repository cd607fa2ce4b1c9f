"""What `serve` waits for before it listens: a database that is not up yet, and the migration lock."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from flask import Flask
from psycopg import sql
from sqlalchemy.engine import URL, make_url

from app.db import migrate
from app.db.advisory_locks import LockHolder, holder_query
from app.server import startup
from app.server.startup import wait_for_database
from app.settings import SettingsError
from tests.at_once import until
from tests.commands import countersign, on_database, refused
from tests.database import connect, new_database
from tests.pgbouncer import relay
from tests.serving import free_port
from tests.test_serve import serving


def on_port(url: URL, port: int) -> URL:
    return url.set(host="127.0.0.1", port=port, query={})


# A server that refuses every connection with one error. A process of its own, for libpq's ping holds the GIL.
REFUSING_SERVER = """
import socketserver, struct, sys

class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        while length := self.rfile.read(4):
            request = self.rfile.read(struct.unpack("!i", length)[0] - 4)
            if request[:4] == struct.pack("!i", 80877103):  # a request for TLS
                self.wfile.write(b"N")
                continue
            fields = f"SFATAL\\0C{sys.argv[1]}\\0M{sys.argv[2]}\\0\\0".encode()
            self.wfile.write(b"E" + struct.pack("!i", len(fields) + 4) + fields)
            return

with socketserver.TCPServer(("127.0.0.1", 0), Handler) as server:
    print(server.server_address[1], flush=True)
    server.serve_forever()
"""


@contextmanager
def refusing(sqlstate: str, message: str) -> Iterator[URL]:
    command = [sys.executable, "-c", REFUSING_SERVER, sqlstate, message]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield make_url(f"postgresql+psycopg://a:b@127.0.0.1:{process.stdout.readline().strip()}/x")
        finally:
            process.kill()


# The database


def test_waits_for_a_database_that_comes_up_and_logs_two_lines(
    database: URL, caplog: pytest.LogCaptureFixture
) -> None:
    port = free_port()
    stop = threading.Event()

    def come_up() -> None:
        time.sleep(0.7)
        with relay(database, port):
            stop.wait(20)

    thread = threading.Thread(target=come_up)
    thread.start()
    try:
        wait_for_database(on_port(database, port))
    finally:
        stop.set()
        thread.join()
    first, last = caplog.messages
    assert first.startswith("the database does not answer yet, waiting for up to 30 s: ")
    assert "Connection refused" in first
    assert last.startswith("the database answers after ")


def test_a_database_that_answers_is_not_mentioned(database: URL, caplog: pytest.LogCaptureFixture) -> None:
    wait_for_database(database)
    assert caplog.messages == []


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(startup, "DATABASE_TIMEOUT", 0.6)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    "url", ["postgresql+psycopg://a:b@127.0.0.1:1/x", "postgresql+psycopg://a:b@no-such-host.invalid/x"]
)
def test_gives_up_on_a_database_that_stays_away(url: str) -> None:
    with pytest.raises(SettingsError, match=r"^DATABASE_URL: the database did not answer within 1 s: .+$"):
        wait_for_database(make_url(url))


@pytest.mark.usefixtures("impatient")
def test_waits_for_a_server_that_is_starting_up_in_any_language() -> None:
    with refusing("57P03", "das Datenbanksystem startet") as url, pytest.raises(SettingsError) as refusal:
        wait_for_database(url)
    assert "did not answer within 1 s: " in str(refusal.value)
    assert str(refusal.value).endswith("das Datenbanksystem startet")


@pytest.mark.parametrize(("sqlstate", "message"), [("28P01", "Passwort falsch"), ("3D000", "keine Datenbank")])
def test_a_refusal_ends_the_wait_immediately(sqlstate: str, message: str) -> None:
    with refusing(sqlstate, message) as url:
        began = time.monotonic()
        with pytest.raises(SettingsError, match=rf"^MIGRATION_DATABASE_URL: .* refuses .*{message}$"):
            wait_for_database(url, "MIGRATION_DATABASE_URL")
    assert time.monotonic() - began < 10


def test_serve_ends_immediately_where_the_database_does_not_exist(database: URL, tmp_path: Path) -> None:
    environment = on_database(database.set(database="no_such_database"), tmp_path)
    line = refused(countersign(environment | {"PORT": str(free_port())}, "serve", seconds=20))
    assert line.startswith("DATABASE_URL: the database refuses the connection: ")
    assert "no_such_database" in line


def test_serve_waits_for_its_database(app: Flask, database: URL, tmp_path: Path) -> None:
    port = free_port()
    environment = on_database(on_port(database, port), tmp_path) | {"WEB_CONCURRENCY": "1"}
    with serving(tmp_path / "instance", tmp_path, **environment) as served:
        until(lambda: "the database does not answer yet" in served.output, what="it does not say that it waits")
        with relay(database, port):
            served.wait_until_ready()
            assert served.stop() == 0
        assert served.output.count("the database does not answer yet") == 1
        assert served.output.count("the database answers after") == 1


# The migration lock


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (("LOCK_TIMEOUT", 1.0), ("LOCK_RETRY_EVERY", 0.05), ("LOCK_REPORT_AFTER", 0.1)):
        monkeypatch.setattr(migrate, name, seconds)


@pytest.mark.usefixtures("quick")
def test_names_the_session_that_holds_the_migration_lock_and_gives_up(
    app: Flask, database: URL, caplog: pytest.LogCaptureFixture
) -> None:
    with connect(database) as holder, app.app_context():
        holder.execute("SET application_name = 'left by a pooler'")
        holder.execute("SELECT pg_advisory_lock(%s)", [migrate.MIGRATION_LOCK])
        pid = holder.info.backend_pid
        with pytest.raises(SettingsError) as refusal:
            migrate.upgrade(database)
    session = f'session {pid}, application "left by a pooler", role '
    assert "the migration lock was not free within 1 s: held by " + session in str(refusal.value)
    assert "connected since 20" in str(refusal.value)
    assert "pg_terminate_backend" in str(refusal.value)
    [message] = caplog.messages
    assert message.startswith("waiting for the migration lock, for up to 1 s more: it is held by " + session)


@pytest.mark.usefixtures("quick")
def test_migrates_once_the_lock_is_free(app: Flask, database: URL, caplog: pytest.LogCaptureFixture) -> None:
    holder = connect(database)
    holder.execute("SELECT pg_advisory_lock(%s)", [migrate.MIGRATION_LOCK])
    threading.Timer(0.5, holder.close).start()
    with app.app_context():
        migrate.upgrade(database)
    assert len([line for line in caplog.messages if "waiting for the migration lock" in line]) == 1


def test_a_role_without_rights_sees_who_holds_a_lock(postgres_server: URL) -> None:
    with new_database(postgres_server) as url, connect(url) as holder, connect(url) as other:
        holder.execute("SET application_name = 'migration'")
        holder.execute("SELECT pg_advisory_lock(%s)", [migrate.MIGRATION_LOCK])
        pid = holder.info.backend_pid
        role = sql.Identifier(f"countersign_test_role_{pid}")
        other.execute(sql.SQL("CREATE ROLE {}").format(role))
        try:
            other.execute(sql.SQL("SET ROLE {}").format(role))
            row = other.execute(holder_query(migrate.MIGRATION_LOCK)).fetchone()
        finally:
            other.execute("RESET ROLE")
            other.execute(sql.SQL("DROP ROLE {}").format(role))
    assert row is not None
    seen = LockHolder.from_row(row)
    assert (seen.pid, seen.application) == (pid, "migration")
    assert (seen.address, seen.connected_at, seen.idle_seconds) == (None, None, None)
    assert str(seen) == f'session {seen.pid}, application "migration", role {seen.role}'
