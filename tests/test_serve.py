"""`countersign serve`: started, signed in to, stopped, killed and started again, as on an operator's machine."""

from __future__ import annotations

import os
import re
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from sqlalchemy.engine import URL

from app.settings import PROJECT
from tests.at_once import Caller, results_of, until
from tests.commands import COUNTERSIGN, Environment, bare, countersign, on_database, refused, said
from tests.database import connect, new_database
from tests.serving import free_port

PASSWORD = re.compile(r"name: +admin\s+password: (\S+)")
LOCKOUT = {"ticker": "AAPL", "reason": "r", "duration_minutes": 60}


def left(instance: Path) -> list[psutil.Process]:
    """Every process that lives by this instance folder: gunicorn, the supervisor, PostgreSQL."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.status() != psutil.STATUS_ZOMBIE and (
                process.environ().get("INSTANCE_PATH") == str(instance)
                or Path(process.cwd()).is_relative_to(instance)
                or any(str(instance) in word for word in process.cmdline())
            ):
                found.append(process)
    return found


def postgres_parents(instance: Path) -> dict[int, int]:
    """The parent of each process of PostgreSQL, by number. Sessions may end while they are listed."""
    parents = {}
    for process in left(instance):
        with suppress(psutil.NoSuchProcess):
            if process.name() == "postgres":
                parents[process.pid] = process.ppid()
    return parents


def none_left(instance: Path, seconds: float = 20) -> None:
    until(lambda: not left(instance), seconds, f"still there: {left(instance)}")


class Serve:
    """A `countersign serve` with a process group of its own, as a terminal gives it."""

    def __init__(self, environment: Environment, log: Path, command: str, cwd: Path) -> None:
        self.url = f"http://127.0.0.1:{environment['PORT']}"
        self._log = log
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                [command, "serve"],
                env=environment,
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        return self._log.read_text()

    def ready(self) -> bool:
        with suppress(OSError):
            return Caller(self.url)("GET", "//readyz", seconds=5).status == 200
        return False

    def wait_until_ready(self, seconds: float = 60) -> Serve:
        until(lambda: self.ready() or self.process.poll() is not None, seconds, "it does not answer")
        assert self.process.poll() is None, self.output
        return self

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(30)


@contextmanager
def serving(
    instance: Path, tmp_path: Path, *, command: str = COUNTERSIGN, cwd: Path = Path("/"), **more: str
) -> Iterator[Serve]:
    """It serves when the block begins; whatever happens, nothing of it is left in the end."""
    environment = bare(INSTANCE_PATH=str(instance), PORT=str(free_port())) | more
    made = Serve(environment, tmp_path / f"log-{time.monotonic_ns()}", command, cwd)
    try:
        yield made
    finally:
        if made.process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(made.process.pid, signal.SIGKILL)
            made.process.wait()
        if "DATABASE_URL" not in more:
            with suppress(AssertionError):
                none_left(instance, 10)
            for process in left(instance):
                with suppress(psutil.Error):
                    process.kill()


def sign_in(client: httpx.Client, name: str, password: str) -> httpx.Response:
    page = client.get("/login").text
    [field] = [tag for tag in re.findall("<input[^>]*>", page) if "csrf_token" in tag][:1]
    [token] = re.findall('value="([^"]+)"', field)
    return client.post("/login", data={"csrf_token": token, "name": name, "password": password})


def signed_in(client: httpx.Client) -> bool:
    return client.get("/trading").status_code == 200


@dataclass
class First:
    """What the first start on an empty folder left behind."""

    instance: Path
    output: str
    password: str
    cookies: httpx.Cookies
    token: str
    lockout: dict[str, Any]
    exit_status: int


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Iterator[First]:
    """The first start: somebody signs in, a script locks a symbol out, SIGTERM."""
    folder = tmp_path_factory.mktemp("serve")
    instance = folder / "instance"
    with serving(instance, folder) as desk:
        desk.wait_until_ready()
        password = PASSWORD.findall(desk.output)[0]
        with httpx.Client(base_url=desk.url) as client:
            wrong = sign_in(client, "admin", "not the password")
            assert wrong.status_code == 401
            assert sign_in(client, "admin", password).status_code == 303
            assert signed_in(client)
            cookies = client.cookies
        token = said(
            countersign(bare(INSTANCE_PATH=str(instance)), "token", "add", "script", "--role", "admin")
        ).strip()
        lockout = Caller(desk.url, token).post("/lockouts", LOCKOUT)
        assert lockout.status == 201
        status = desk.stop()
        yield First(instance, desk.output, password, cookies, token, lockout.json, status)


def lockouts(desk: Serve, first: First) -> list[str]:
    return [row["id"] for row in Caller(desk.url, first.token).get("/lockouts").json["items"]]


def test_the_first_start_prints_name_and_password_once(first: First) -> None:
    assert PASSWORD.findall(first.output) == [first.password]
    assert first.output.count(first.password) == 1
    assert len(first.password) >= 16
    assert "Traceback" not in first.output


def test_sigterm_stops_the_server_and_then_its_database(first: First) -> None:
    assert first.exit_status == 0
    none_left(first.instance)


def test_what_was_done_is_sealed_and_the_log_has_a_head_of_it(first: First) -> None:
    [head] = re.findall(r"the record is sealed up to (\d+:[0-9a-f]{64})", first.output)
    verified = countersign(bare(INSTANCE_PATH=str(first.instance)), "audit", "verify", "--head", head)
    assert "events sealed and whole" in said(verified)
    none_left(first.instance)


def test_what_is_secret_in_the_instance_folder_is_its_owners_alone(first: First) -> None:
    for path in (first.instance / "secret_key", first.instance / "postgres" / "password"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    kept = [path for path in first.instance.rglob("*") if path.is_file() and "data" not in path.parts]
    assert not any(first.password in path.read_text(errors="replace") for path in kept)


def test_a_second_start_prints_no_password_keeps_everybody_signed_in_and_ends_with_ctrl_c(
    first: First, tmp_path: Path
) -> None:
    with serving(first.instance, tmp_path) as desk:
        desk.wait_until_ready()
        assert psutil.Process(desk.process.pid).cmdline()[-2:] == ["gunicorn", "wsgi:app"]
        assert "password" not in desk.output
        with httpx.Client(base_url=desk.url, cookies=first.cookies) as client:
            assert signed_in(client)
        with httpx.Client(base_url=desk.url) as client:
            assert not signed_in(client)
            assert sign_in(client, "ADMIN", first.password).status_code == 303
        assert first.lockout["id"] in lockouts(desk, first)
        began = time.monotonic()
        os.killpg(desk.process.pid, signal.SIGINT)  # Ctrl-C goes to everything in the terminal
        assert desk.process.wait(30) == 0
        assert time.monotonic() - began < 10, "the keeper keeps nobody"
        none_left(first.instance)
        assert "Traceback" not in desk.output


def test_after_kill_9_of_postgresql_the_desk_comes_back_with_every_acknowledged_act(
    first: First, tmp_path: Path
) -> None:
    with serving(first.instance, tmp_path) as desk:
        desk.wait_until_ready()
        script = Caller(desk.url, first.token)
        acknowledged = [script.post("/lockouts", LOCKOUT).json["id"]]
        for _ in range(2):
            before = postgres_parents(first.instance)
            [server] = [pid for pid, parent in before.items() if parent not in before]
            os.kill(server, signal.SIGKILL)
            killed = time.monotonic()
            refusals = 0
            while True:
                with suppress(OSError):
                    reply = script.post("/lockouts", LOCKOUT)
                    if reply.status == 201 and time.monotonic() - killed > 0.5:
                        acknowledged.append(reply.json["id"])
                        break
                    if reply.status == 201:
                        acknowledged.append(reply.json["id"])
                    else:
                        assert reply.status == 503, reply.text
                        assert reply.json["code"] in ("database_unavailable", "busy")
                        refusals += 1
                assert time.monotonic() - killed < 15, desk.output
                time.sleep(0.1)
            assert server not in postgres_parents(first.instance)
            assert refusals
        assert set(acknowledged) <= set(lockouts(desk, first))
        assert desk.process.poll() is None
        assert desk.stop() == 0
    none_left(first.instance)


def test_after_kill_9_of_the_server_it_can_be_started_again_at_once_on_its_port(
    first: First, tmp_path: Path
) -> None:
    port = str(free_port())
    with serving(first.instance, tmp_path, PORT=port) as desk:
        desk.wait_until_ready()
        acknowledged = Caller(desk.url, first.token).post("/lockouts", LOCKOUT).json["id"]
        desk.process.kill()  # the master alone: its workers still hold the port
        desk.process.wait()
        with serving(first.instance, tmp_path, PORT=port) as again:
            until(lambda: "Listening at" in again.output, 30, "it does not get the port")
            again.wait_until_ready()
            assert acknowledged in lockouts(again, first)
            assert Caller(again.url, first.token).post("/lockouts", LOCKOUT).status == 201
            assert "password" not in again.output
            assert again.stop() == 0
    none_left(first.instance)


def test_two_first_starts_at_once_share_one_desk(tmp_path: Path) -> None:
    instance = tmp_path / "instance"
    with serving(instance, tmp_path) as one, serving(instance, tmp_path) as other:
        results_of(one.wait_until_ready, other.wait_until_ready, seconds=90)
        [password] = PASSWORD.findall(one.output + other.output)
        with httpx.Client(base_url=other.url) as client:
            assert sign_in(client, "admin", password).status_code == 303
            cookies = client.cookies
        with httpx.Client(base_url=one.url, cookies=cookies) as client:
            assert signed_in(client), "one secret key, one database"
        assert one.stop() == 0
        with httpx.Client(base_url=other.url, cookies=cookies) as client:
            assert signed_in(client), "the database stays for as long as somebody uses it"
        assert other.stop() == 0
        none_left(instance)


def test_a_port_in_use_is_said_in_one_line_before_anything_is_made(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        instance = tmp_path / "instance"
        line = refused(countersign(bare(INSTANCE_PATH=str(instance), PORT=str(port)), "serve"))
    assert line == f"HOST 127.0.0.1, PORT {port}: Address already in use"
    assert not instance.exists()
    assert left(instance) == []


def test_a_host_that_is_none_of_ours_is_said_in_one_line(database: URL, tmp_path: Path) -> None:
    environment = on_database(database, tmp_path)
    for host in ("192.0.2.1", "no-such-host.invalid"):
        line = refused(countersign(environment | {"HOST": host, "PORT": "8000"}, "serve"))
        assert line.startswith(f"HOST {host}, PORT 8000: ")


def test_gunicorn_by_itself_names_an_invalid_setting_in_one_line(database: URL, tmp_path: Path) -> None:
    missing = f"countersign: no embedded database in {tmp_path / 'postgres'}: "
    for environment, line in (
        (on_database(database, tmp_path) | {"PORT": "many"}, "countersign: PORT must be a whole number from 1 to"),
        (bare(INSTANCE_PATH=str(tmp_path)), missing),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "gunicorn", "wsgi:app"],
            env=environment,
            cwd=PROJECT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1
        assert done.stderr.startswith(line)
        assert len(done.stderr.splitlines()) == 1


def test_on_a_database_of_ones_own_it_migrates_and_makes_nobody(postgres_server: URL, tmp_path: Path) -> None:
    with new_database(postgres_server) as url:
        environment = on_database(url, tmp_path / "unused")
        with serving(tmp_path / "unused", tmp_path, **environment, WEB_CONCURRENCY="1") as desk:
            desk.wait_until_ready()
            assert "password" not in desk.output
            assert desk.stop() == 0
            assert "Traceback" not in desk.output
        with connect(url) as connection:
            assert connection.execute("SELECT count(*) FROM accounts").fetchall() == [(0,)]
            assert connection.execute("SELECT trading_mode FROM risk_configs").fetchall() == [("paper",)]
    assert not (tmp_path / "unused").exists()
