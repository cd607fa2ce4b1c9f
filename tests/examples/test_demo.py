"""`make demo`: a newcomer watches orders arrive, signs in, decides, and presses Ctrl-C."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import psutil
from sqlalchemy.engine import make_url

from app.db.embedded import EmbeddedPostgres
from app.settings import PROJECT
from tests.at_once import until
from tests.commands import bare
from tests.database import connect
from tests.serving import free_port
from tests.test_serve import left, none_left, sign_in, signed_in

SIGN_IN = re.compile(r"name: +(\S+)\s+password: (\S+)")
API = "/api/admin/trading"
README = (PROJECT / "README.md").read_text()


class Demo:
    """A running demo, in a process group of its own, as a terminal gives it."""

    def __init__(self, instance: Path, log: Path, port: int, **environment: str) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._log = log
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "examples.demo", "--instance", str(instance), "--pace", "0.02"],
                cwd=PROJECT,
                env=bare(PORT=str(port), **environment),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        return self._log.read_text()

    def until_it_says(self, words: str) -> None:
        until(lambda: words in self.output or self.process.poll() is not None, 120, f"never said {words}")
        assert words in self.output, self.output

    def press_ctrl_c(self) -> int:
        os.killpg(self.process.pid, signal.SIGINT)
        return self.process.wait(40)


@contextmanager
def demo(instance: Path, tmp_path: Path, **environment: str) -> Iterator[Demo]:
    made = Demo(instance, tmp_path / "output", free_port(), **environment)
    try:
        yield made
    finally:
        if made.process.poll() is None:
            made.process.kill()
            made.process.wait()
        for process in left(instance):
            with suppress(psutil.Error):
                process.kill()


def page_token(client: httpx.Client) -> str:
    [token] = re.findall(r'<meta name="csrf-token" content="([^"]+)"', client.get("/trading").text)
    return str(token)


def test_a_newcomer_sees_every_kind_of_decision_and_takes_part(tmp_path: Path) -> None:
    instance = tmp_path / "demo"
    elsewhere = {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/real", "SECRET_KEY": "x", "HOST": "0.0.0.0"}
    with demo(instance, tmp_path, INSTANCE_PATH=str(tmp_path / "real"), **elsewhere) as shown:
        for words in (
            ": RELEASED. Traded.",
            ": BLOCKED, GOOG is locked out",
            "EURUSD SMA",
            ": WAITS for a person, 1 min at most",
        ):
            shown.until_it_says(words)
        [(name, password)] = SIGN_IN.findall(shown.output)
        with httpx.Client(base_url=shown.url) as client:
            assert sign_in(client, name, password).status_code == 303
            assert signed_in(client)
            client.headers["X-CSRFToken"] = page_token(client)
            first, second = (order["id"] for order in client.get(f"{API}/approvals").json()["items"][:2])
            approved = client.post(f"{API}/approvals/{first}/approve", json={"note": "go"})
            rejected = client.post(f"{API}/approvals/{second}/reject", json={"reason": "no"})
            assert (approved.status_code, rejected.status_code) == (200, 200), approved.text + rejected.text
            assert client.get(f"{API}/lockouts").json()["items"] == []
        shown.until_it_says(f": APPROVED by {name}: go. Traded.")
        shown.until_it_says(f": REJECTED by {name}: no. Not traded.")
        with connect(make_url(EmbeddedPostgres(instance / "postgres").dsn())) as database:
            database.execute("UPDATE orders SET expires_at = clock_timestamp() WHERE status = 'pending_approval'")
        shown.until_it_says(": TIMED OUT, nobody decided. Not traded.")
        waiting = shown.output.count("WAITS")
        until(lambda: shown.output.count("WAITS") > waiting)
        for line in re.findall(r"^\d\d:\d\d:\d\d  ((?!sma-).*?)(?: until \[\.\.\.\])?$", README, re.MULTILINE):
            assert line in shown.output, "the README shows something else"
        assert shown.press_ctrl_c() == 0
        assert ": CANCELED by moving-average. Not traded." in shown.output
        assert shown.output.endswith("The desk is closed.\n")
        assert "Traceback" not in shown.output
        none_left(instance)
    assert not (tmp_path / "real").exists()
    kept = [path for path in instance.rglob("*") if path.is_file() and "data" not in path.parts]
    assert not any(password in path.read_text(errors="replace") for path in kept)


def test_it_begins_anew_on_the_desk_of_an_earlier_demo_and_sigterm_ends_it_too(tmp_path: Path) -> None:
    instance = tmp_path / "demo"
    with demo(instance, tmp_path) as shown:
        shown.until_it_says(": WAITS for a person")
        [(name, password)] = SIGN_IN.findall(shown.output)
        with httpx.Client(base_url=shown.url) as client:
            sign_in(client, name, password)
            client.headers["X-CSRFToken"] = page_token(client)
            everything = {"ticker": "*", "reason": "lunch", "duration_minutes": 600}
            assert client.post(f"{API}/lockouts", json=everything).status_code == 201
            assert client.put(f"{API}/signal-layers", json={"competitive": False}).status_code == 200
            assert client.put(f"{API}/mode", json={"trading_mode": "disabled"}).status_code == 200
        shown.process.terminate()
        assert shown.process.wait(40) == 0
        none_left(instance)
    with demo(instance, tmp_path) as again:
        again.until_it_says(": RELEASED. Traded.")
        assert SIGN_IN.findall(again.output) != [(name, password)]
        assert "BLOCKED" not in again.output.partition("RELEASED")[0]


def test_when_the_desk_ends_so_does_the_demo(tmp_path: Path) -> None:
    instance = tmp_path / "demo"
    with demo(instance, tmp_path) as shown:
        shown.until_it_says(": RELEASED. Traded.")
        [server] = [process for process in left(instance) if process.ppid() == shown.process.pid]
        server.terminate()
        assert shown.process.wait(40) == 1
        assert shown.output.endswith("demo: the desk has ended; server.log in the folder of the demo says why\n")
        assert "Traceback" not in shown.output


def test_a_port_in_use_is_said_in_one_line_before_anything_is_made(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        shown = Demo(tmp_path / "demo", tmp_path / "output", port)
        assert shown.process.wait(20) == 1
    assert shown.output == f"demo: PORT {port}: Address already in use. Another one: make demo PORT=8001\n"
    assert not (tmp_path / "demo").exists()
