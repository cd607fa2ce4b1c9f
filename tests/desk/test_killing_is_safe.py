"""`kill -9` of a worker at any instant: what was acknowledged is there, nothing is half there."""

from __future__ import annotations

import threading
import time
from contextlib import suppress

import psutil

from tests.at_once import Caller, until
from tests.desk.catalog import ADVISORY_LOCKS
from tests.serving import Server


def workers(server: Server) -> list[psutil.Process]:
    return [p for p in psutil.Process(server.process.pid).children() if p.status() != psutil.STATUS_ZOMBIE]


def hammer(server: Server, disturb: threading.Thread) -> tuple[set[str], int]:
    """Make lockouts from several scripts until the disturbance is over, and enough were made after it; the ids
    that were acknowledged, the failures."""
    script = Caller(server.url, server.add_token("script", "operator"))
    acknowledged: set[str] = set()
    failures: list[object] = []
    latest = time.monotonic() + 40
    over = threading.Event()

    def run(number: int) -> None:
        while not over.is_set() and time.monotonic() < latest:
            body = {"ticker": f"T{number}", "reason": "r", "duration_minutes": 5}
            try:
                reply = script.post("/lockouts", body)
            except OSError as error:
                failures.append(error)
                time.sleep(0.02)
                continue
            if reply.status == 201:
                acknowledged.add(reply.json["id"])
            else:
                assert reply.status == 503, reply.text
                failures.append(reply.text)

    threads = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(6)]
    for thread in [*threads, disturb]:
        thread.start()
    disturb.join(60)
    undisturbed = len(acknowledged)
    until(lambda: len(acknowledged) > undisturbed + 50)
    over.set()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert not disturb.is_alive()
    return acknowledged, len(failures)


def whole(server: Server, acknowledged: set[str]) -> None:
    """Each acknowledged lockout is there; each lockout has its event, and each event its lockout."""
    stored = {id_ for (id_,) in server.sql("SELECT id::text FROM symbol_lockouts")}
    recorded = [id_ for (id_,) in server.sql("SELECT subject FROM audit_events WHERE action = 'lockout.create'")]
    assert len(acknowledged) > 10
    assert acknowledged <= stored
    assert sorted(recorded) == sorted(stored)


def test_killed_workers_lose_nothing_and_are_replaced(server: Server) -> None:
    until(lambda: len(workers(server)) == 2)
    killed = []

    def kill() -> None:
        for _ in range(2):
            time.sleep(0.7)
            victim = until(lambda: [w for w in workers(server) if w.pid not in killed])[0]
            killed.append(victim.pid)
            victim.kill()

    acknowledged, _ = hammer(server, threading.Thread(target=kill, daemon=True))
    assert len(killed) == 2
    whole(server, acknowledged)

    until(lambda: len(workers(server)) == 2 and not {w.pid for w in workers(server)} & set(killed))
    script = Caller(server.url, server.add_token("script", "operator"))

    def answers() -> bool:
        with suppress(OSError):
            return script("GET", "//readyz").status == 200
        return False

    until(answers)
    body = {"ticker": "BACK", "reason": "r", "duration_minutes": 5}
    assert script.post("/lockouts", body).status == 201


def test_killed_connections_lose_nothing_and_are_made_anew(server: Server) -> None:
    def kill() -> None:
        for _ in range(12):
            time.sleep(0.15)
            server.sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND application_name = 'countersign'"
            )

    acknowledged, failures = hammer(server, threading.Thread(target=kill, daemon=True))
    whole(server, acknowledged)
    assert failures < len(acknowledged) + 200
    script = Caller(server.url, server.add_token("script", "operator"))
    assert script.post("/lockouts", {"ticker": "A", "reason": "r", "duration_minutes": 5}).status == 201
    # Background jobs hold locks for moments.
    until(lambda: server.sql(ADVISORY_LOCKS) == [(0,)], what="a lock was left behind")
