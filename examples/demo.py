"""`make demo`: a desk of its own, the example engine before it, and a sign-in for whoever wants to try.

It keeps everything in a folder of its own (`instance/demo`), whatever the environment says: it touches neither the
desk of `make run` nor anybody's real database.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any, Self

import httpx

from app.settings import LIVE_VENUE_CREDENTIALS, PROJECT, Settings, SettingsError
from examples.desk_client import Desk
from examples.moving_average import GOOG, SERIES, Bar, end_as_by_ctrl_c, replay

COUNTERSIGN = Path(sys.executable).with_name("countersign")
NOT_OURS = (
    "DATABASE_URL",
    "MIGRATION_DATABASE_URL",
    "SECRET_KEY",
    "HOST",
    "TRUSTED_PROXIES",
    *LIVE_VENUE_CREDENTIALS,
)
START_WITHIN, STOP_WITHIN = 60.0, 30.0  # seconds
FREE_FOR, LOCKED_FOR = 11, 12  # rounds of bars: how long the opening's first two scenes last

Server = subprocess.Popen[bytes]


class Failed(RuntimeError):
    """The demo cannot go on; the message is for a person."""


def main() -> None:
    parser = argparse.ArgumentParser(description="A desk with an example engine. PORT says where: 8000 if unset.")
    parser.add_argument("--instance", type=Path, default=PROJECT / "instance" / "demo")
    parser.add_argument("--pace", type=float, default=1.0, help="seconds between two bars")
    given = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    end_as_by_ctrl_c()
    try:
        demonstrate(given.instance.resolve(), given.pace)
    except (Failed, SettingsError) as error:
        sys.exit(f"demo: {error}")
    except KeyboardInterrupt:
        say("--- The desk is closed.")


def demonstrate(instance: Path, pace: float) -> None:
    """Run until Ctrl-C; raises Failed."""
    environment = {name: value for name, value in os.environ.items() if name not in NOT_OURS}
    environment["INSTANCE_PATH"] = str(instance)
    settings = Settings.from_environment(environment)
    url = f"http://{settings.host}:{settings.port}"
    try:
        socket.create_server((settings.host, settings.port)).close()
    except OSError as error:
        problem = os.strerror(error.errno or 0)
        raise Failed(f"PORT {settings.port}: {problem}. Another one: make demo PORT=8001") from None
    say("--- Starting the desk ...")
    guest, password = f"guest-{secrets.token_hex(2)}", secrets.token_urlsafe(12)
    # Somebody must be there before the desk starts, or it makes a first person of its own.
    countersign(environment, "user", "add", guest, "--role", "admin", "--password-stdin", given=password)
    log = instance / "server.log"
    with serving(environment, log) as server:
        engine = countersign(environment, "token", "add", "moving-average", "--role", "engine")
        operator = countersign(environment, "token", "add", "demo", "--role", "operator")
        wait_until_ready(server, url, log)
        print(
            f"\n    Sign in at {url}/trading with\n\n"
            f"        name:     {guest}\n        password: {password}\n\n"
            f"    An engine replays real prices of {', '.join(one.ticker for one in SERIES)}, and asks the desk\n"
            "    about each order. Lock one out, and the others go on.\n"
            "    Ctrl-C ends it all.\n",
            flush=True,
        )
        try:
            asyncio.run(play(url, engine, operator, pace, server))
        except ExceptionGroup as group:
            raise group.exceptions[0] from None


def countersign(environment: dict[str, str], *arguments: str, given: str = "") -> str:
    """Run the command; what it printed."""
    command = [str(COUNTERSIGN), *arguments]
    done = subprocess.run(command, env=environment, input=given, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failed(done.stderr.strip().removeprefix("countersign: "))
    return done.stdout.strip()


@contextmanager
def serving(environment: dict[str, str], log: Path) -> Iterator[Server]:
    """The desk as `make run` starts it; it has ended when the block has."""
    with log.open("wb") as out:
        # In a session of its own: Ctrl-C goes to the demo, which first withdraws what waits.
        server = subprocess.Popen(
            [COUNTERSIGN, "serve"], env=environment, stdout=out, stderr=out, start_new_session=True
        )
    try:
        yield server
    finally:
        server.terminate()
        try:
            server.wait(STOP_WITHIN)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()


def wait_until_ready(server: Server, url: str, log: Path) -> None:
    deadline = time.monotonic() + START_WITHIN
    while server.poll() is None and time.monotonic() < deadline:
        with suppress(httpx.TransportError):
            if httpx.get(f"{url}/readyz", timeout=5, trust_env=False).is_success:
                return
        time.sleep(0.1)
    raise Failed(f"the desk does not start:\n{log.read_text(errors='replace')[-1000:]}")


async def play(url: str, engine_token: str, operator_token: str, pace: float, server: Server) -> None:
    """The engine trades for as long as the desk runs; the demo's operator opens, then leaves it to the guest."""
    async with (
        Operator(url, operator_token) as operator,
        Desk(url, engine_token) as desk,
        asyncio.TaskGroup() as tasks,
    ):
        tasks.create_task(watch(server))
        engine, coming = replay(desk, say)
        rounds = ticking(coming)
        await operator.tidy_up()
        say("--- Paper orders need no approval yet: the desk releases them at once.")
        await engine.trade(islice(rounds, FREE_FOR), pace)
        lockout = await operator.lock_out()
        say(f"--- {GOOG.ticker} is locked out, as on the page: its orders are blocked, the others go on.")
        await engine.trade(islice(rounds, LOCKED_FOR), pace)
        await operator.leave_it_to_people(lockout)
        say(
            "--- The lockout is gone, and from now on paper orders wait for a person, a minute at most. Your turn:"
        )
        say("--- approve and reject, lock out, halt; or do nothing, and see them time out.")
        await engine.trade(rounds, pace)
        say("--- The prices have ended. The desk stays open until Ctrl-C.")


async def watch(server: Server) -> None:
    while server.poll() is None:
        await asyncio.sleep(0.5)
    raise Failed("the desk has ended; server.log in the folder of the demo says why")


class Operator:
    """The demo's own operator, over the JSON routes that are there for everybody's scripts."""

    def __init__(self, url: str, token: str) -> None:
        self._http = httpx.AsyncClient(
            base_url=f"{url}/api/admin/trading",
            headers={"Authorization": f"Bearer {token}"},
            timeout=30,
            trust_env=False,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._http.aclose()

    async def tidy_up(self) -> None:
        """Undo what guests of earlier demos did: paper mode, layers on, no lockouts, nothing to approve."""
        mode = (await self._ask("GET", "/mode"))["trading_mode"]
        if mode != "paper":
            await self._ask("PUT", "/mode", {"trading_mode": "paper", "from": mode, "reason": "the demo begins"})
        await self._ask("PUT", "/signal-layers", {"macro": True, "competitive": True})
        await self._ask("PUT", "/approval-config", {"auto_approve_paper": True, "approval_timeout_minutes": 1})
        while lockouts := (await self._ask("GET", "/lockouts"))["items"]:
            for lockout in lockouts:
                await self._release(lockout["id"])

    async def lock_out(self) -> str:
        """Lock one of the engine's tickers out; the lockout's id."""
        reason = "the demo shows a lockout, and will remove it"
        body = {"ticker": GOOG.ticker, "reason": reason, "duration_minutes": 1}
        return str((await self._ask("POST", "/lockouts", body))["id"])

    async def leave_it_to_people(self, lockout_id: str) -> None:
        await self._ask("PUT", "/approval-config", {"auto_approve_paper": False})
        await self._release(lockout_id)

    async def _release(self, lockout_id: str) -> None:
        answer = await self._request("DELETE", f"/lockouts/{lockout_id}")
        if answer.status_code not in (204, 404):  # 404: the guest was quicker, or it has ended
            raise Failed(f"the lockout stays: {answer.text}")

    async def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        answer = await self._request(method, path, json=body)
        if not answer.is_success:
            raise Failed(f"{method} {path}: {answer.text}\nWithout its folder instance/demo the demo begins anew.")
        told: dict[str, Any] = answer.json()
        return told

    async def _request(self, method: str, path: str, **more: Any) -> httpx.Response:
        try:
            return await self._http.request(method, path, **more)
        except httpx.TransportError as error:
            await asyncio.sleep(10)  # where the desk has ended, `watch` says so first
            raise Failed(f"the desk does not answer: {error}") from None


def ticking(rounds: Iterable[list[Bar]]) -> Iterator[list[Bar]]:
    """The same bars; on a terminal the last line shows the latest of each symbol."""
    latest: dict[str, Bar] = {}
    for bars in rounds:
        latest |= {bar.ticker: bar for bar in bars}
        if sys.stdout.isatty():
            shown = "   ".join(f"{bar.ticker} {bar.close} ({bar.at})" for bar in latest.values())
            print(f"\r\033[K{shown}", end="", flush=True)
        yield bars


def say(line: str) -> None:
    start = "\r\033[K" if sys.stdout.isatty() else ""
    print(f"{start}{datetime.now():%H:%M:%S}  {line}", flush=True)


if __name__ == "__main__":
    main()
