"""A primary and a synchronous standby: when that one takes over, the desk goes on with it, and nothing is lost."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.engine import URL, make_url

from app.db import migrate
from app.db.embedded import EmbeddedPostgres, _programs
from app.settings import Settings
from tests.at_once import API, Caller, until
from tests.commands import bare, countersign, said
from tests.desk.orders import body
from tests.serving import SECRET_KEY, Server, application, serve

EVERY_CONNECTION = {
    "countersign",
    "countersign decisions",
    "countersign credentials",
    "countersign keeper",
    "countersign live",
}


@dataclass
class Pair:
    """Two servers of PostgreSQL, each on a socket of its own."""

    primary: EmbeddedPostgres
    standby: EmbeddedPostgres
    url: str  # names both, the standby first

    def sql(self, server: EmbeddedPostgres, statement: str) -> list[tuple[object, ...]]:
        with psycopg.connect(server.dsn(), autocommit=True) as connection:
            cursor = connection.execute(statement)  # type: ignore[arg-type]
            return cursor.fetchall() if cursor.description else []


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    folder = tmp_path / "pair"
    with EmbeddedPostgres(folder / "a", durable=False) as primary:
        place = make_url(primary.dsn())
        (folder / "b").mkdir(mode=0o700)
        subprocess.run(
            [
                str(_programs() / "pg_basebackup"),
                *("--pgdata", str(folder / "b" / "data"), "--checkpoint=fast", "--write-recovery-conf"),
                *("--dbname", f"{primary.dsn()}&application_name=standby"),
            ],
            check=True,
            capture_output=True,
            env=bare(),
        )
        shutil.copy(folder / "a" / "password", folder / "b" / "password")
        owner = os.stat(folder / "a" / "data")
        for path in [folder / "b" / "data", *(folder / "b" / "data").rglob("*")]:
            os.chown(path, owner.st_uid, owner.st_gid)
        with EmbeddedPostgres(folder / "b", durable=False) as standby:
            hosts = [make_url(server.dsn()).query["host"] for server in (standby, primary)]
            who, names = f"{place.username}:{place.password}", ",".join(map(str, hosts))
            url = f"postgresql://{who}@/{place.database}?host={names}"
            made = Pair(primary, standby, url)
            made.sql(primary, "ALTER SYSTEM SET synchronous_standby_names = 'standby'")
            made.sql(primary, "SELECT pg_reload_conf()")
            until(lambda: made.sql(primary, "SELECT sync_state FROM pg_stat_replication") == [("sync",)])
            yield made


@pytest.fixture
def url(pair: Pair) -> URL:
    found = Settings.from_environment({"DATABASE_URL": pair.url, "SECRET_KEY": SECRET_KEY}).database_url
    assert found is not None
    return found


@pytest.fixture
def server(url: URL, tmp_path: Path) -> Iterator[Server]:
    with application(url, tmp_path) as here:
        with here.app_context():
            migrate.upgrade(url)
        with serve(here, url, tmp_path) as made:
            yield made


class Engine:
    """It sends one order after the other, and each until it is answered."""

    def __init__(self, server: Server) -> None:
        self.line = Caller(server.url, server.add_token("engine", "engine"))
        self.acknowledged: list[str] = []
        self.refused = 0
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self) -> None:
        while not self.over.is_set():
            order = body()
            while not self.over.is_set():
                with suppress(OSError):
                    reply = self.line.post("/orders", order)
                    if reply.status in (200, 201):
                        self.acknowledged.append(reply.json["id"])
                        break
                    assert reply.status == 503, reply.text
                    self.refused += 1
                self.over.wait(0.02)

    def goes_on(self, count: int = 20) -> None:
        before = len(self.acknowledged)
        until(lambda: len(self.acknowledged) > before + count, 60, "no order is acknowledged")


def asking(server: Server, who: Caller, path: str) -> socket.socket:
    """A connection on which this was asked, and no answer read."""
    host, port = server.url.removeprefix("http://").split(":")
    made = socket.create_connection((host, int(port)), timeout=60)
    head = f"GET {API}{path} HTTP/1.1\r\nHost: desk\r\nAuthorization: Bearer {who.token}\r\n\r\n"
    made.sendall(head.encode())
    return made


def open_page(server: Server, person: Caller) -> socket.socket:
    """Somebody who listens, so that a worker does too."""
    page = asking(server, person, "/stream")
    assert page.recv(100).startswith(b"HTTP/1.1 200 ")
    return page


def test_the_desk_goes_on_with_the_standby_that_took_over(
    server: Server, pair: Pair, tmp_path: Path, url: URL
) -> None:
    connected = (
        "SELECT DISTINCT rtrim(application_name, ' 0123456789') FROM pg_stat_activity WHERE datname IS NOT NULL"
    )
    assert pair.sql(pair.standby, "SELECT pg_is_in_recovery()") == [(True,)]
    person = Caller(server.url, server.add_token("person", "operator"))
    engine = Engine(server)
    engine.thread.start()
    engine.goes_on()
    open_page(server, person).close()

    pair.primary.release()  # whoever fails over sees to it that the old primary is gone: it is fenced
    refused = engine.refused
    until(lambda: engine.refused > refused, what="the primary is still there")
    assert person.put("/mode", {"trading_mode": "disabled"}).status == 503
    pair.sql(pair.standby, "ALTER SYSTEM RESET synchronous_standby_names")
    pair.sql(pair.standby, "SELECT pg_promote()")

    engine.goes_on()
    with closing(open_page(server, person)):  # as a page does whose stream has ended
        until(
            lambda: {name for (name,) in pair.sql(pair.standby, connected)} >= EVERY_CONNECTION,
            60,
            "some are missing",
        )
    engine.over.set()
    engine.thread.join(60)
    stored = {str(order) for (order,) in pair.sql(pair.standby, "SELECT id::text FROM orders")}
    assert set(engine.acknowledged) <= stored
    halted = until(lambda: person.put("/mode", {"trading_mode": "disabled"}))
    assert halted.status == 200
    assert person.get("/state").json["trading_mode"] == "disabled"

    settings = bare(DATABASE_URL=pair.url, SECRET_KEY=SECRET_KEY, INSTANCE_PATH=str(tmp_path))
    said(countersign(settings, "db", "upgrade"))
    until(lambda: " 0 not sealed yet" in said(countersign(settings, "audit", "verify")), 30)


def test_on_a_standby_alone_nothing_is_decided_and_the_probe_says_so(
    server: Server, pair: Pair, tmp_path: Path
) -> None:
    """Whoever named the standby only: every act is refused, and none is half done."""
    token, engine = server.add_token("person", "operator"), server.add_token("engine", "engine")
    until(lambda: pair.sql(pair.standby, "SELECT count(*) FROM tokens") == [(2,)])
    alone = make_url(pair.standby.dsn()).set(drivername="postgresql+psycopg")
    with application(alone, tmp_path) as app:
        http = app.test_client()

        def ask(method: str, path: str, credential: str, **more: object) -> int:
            headers = {"Authorization": f"Bearer {credential}"}
            return http.open(path, method=method, headers=headers, **more).status_code  # type: ignore[arg-type]

        api = "/api/admin/trading"
        assert ask("POST", f"{api}/orders", engine, json=body()) == 503
        assert ask("PUT", f"{api}/mode", token, json={"trading_mode": "disabled"}) == 503
        assert ask("GET", f"{api}/mode", token) == 200
        assert http.get("/readyz").status_code == 503
        assert http.get("/healthz").status_code == 200
