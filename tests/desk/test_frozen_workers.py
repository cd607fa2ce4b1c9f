"""A halt passes workers that are stopped (SIGSTOP) while they hold the rules lock, or wait for it."""

from __future__ import annotations

import itertools
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import psycopg
import pytest
from flask import Flask

from app.db import transaction
from app.db.transaction import RULES_LOCK, SHARE_RULES
from app.services.trading import config
from tests.at_once import timed, until
from tests.conftest import Api
from tests.database import connect
from tests.desk.orders import Act
from tests.serving import TESTER, Desk

# A worker as the database sees it: for each line it begins a transaction on a new connection. It is frozen before
# it reads the result.
WORKER = """
import sys
import psycopg
opened = []
for line in sys.stdin:
    opened.append(psycopg.connect(sys.argv[1], application_name="countersign"))
    opened[-1].pgconn.send_query(f"BEGIN; {line}".encode())
    print(opened[-1].info.backend_pid, flush=True)
"""
WAITING = f"""
    SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND pid = %s
        AND (classid::bigint << 32) + objid::bigint = {RULES_LOCK}
"""


@pytest.fixture(autouse=True)
def nobody_stalls() -> None:
    """Workers are frozen here: the time-outs are those of the service."""


class Workers:
    """Processes that queue for the rules lock while this test holds it, are frozen, and are granted it then."""

    def __init__(self, desk: Desk, processes: list[subprocess.Popen[str]], lock: psycopg.Connection[Any]) -> None:
        self.desk = desk
        self._turns = itertools.cycle(processes)
        self._processes = processes
        self._lock = lock
        self._holds = False

    def queue(self, *statements: str) -> int:
        """Let the next worker wait for the lock; the process id of its database session."""
        if not self._holds:
            self._lock.execute(f"SELECT pg_advisory_lock({RULES_LOCK})")
            self._holds = True
        process = next(self._turns)
        assert process.stdin
        assert process.stdout
        print(" ".join("; ".join(statements).split()), file=process.stdin, flush=True)
        pid = int(process.stdout.readline())
        until(lambda: self.desk.sql(WAITING, pid))
        return pid

    def freeze(self) -> None:
        for process in self._processes:
            process.send_signal(signal.SIGSTOP)
        self._lock.close()


@pytest.fixture
def workers(desk: Desk, operator: Api) -> Iterator[Workers]:
    dsn = desk.database.set(drivername="postgresql").render_as_string(hide_password=False)
    with ExitStack() as stack:
        processes = [stack.enter_context(_process(dsn)) for _ in range(4)]
        yield Workers(desk, processes, stack.enter_context(connect(desk.database)))


@contextmanager
def _process(dsn: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", WORKER, dsn]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def halt(operator: Api) -> float:
    """Seconds until the halt was acknowledged."""
    took, answer = timed(lambda: operator.put("/mode", {"trading_mode": "disabled"}))
    assert answer.status_code == 200, answer.text
    assert operator.get("/mode").json["trading_mode"] == "disabled"
    return took


def test_halt_passes_frozen_workers_that_hold_and_await_the_lock(workers: Workers, operator: Api) -> None:
    for _ in range(8):  # changes of the rules with decisions between them: no two can be granted together
        workers.queue(SHARE_RULES)
        workers.queue(transaction.OWN_RULES)
    workers.freeze()
    assert halt(operator) < 2


def test_halt_passes_a_frozen_halt_of_which_nothing_is_committed(
    workers: Workers, operator: Api, desk: Desk
) -> None:
    for _ in range(8):
        workers.queue(transaction.OWN_RULES, "UPDATE risk_configs SET trading_mode = 'live'")
    workers.freeze()
    assert halt(operator) < 2
    [(before,)] = desk.sql("SELECT before FROM audit_events WHERE action = 'mode.change'")
    assert before == {"trading_mode": "paper"}


def test_halt_passes_a_worker_that_is_frozen_while_it_reads_a_large_result(
    workers: Workers, operator: Api, desk: Desk
) -> None:
    """No time-out of PostgreSQL ends a session that waits for its client to read."""
    holder = workers.queue(transaction.OWN_RULES, "SELECT repeat('x', 50000000)")
    workers.freeze()
    until(lambda: desk.sql("SELECT wait_event FROM pg_stat_activity WHERE pid = %s", holder) == [("ClientWrite",)])
    assert halt(operator) < 2


def test_rule_change_whose_wait_a_halt_cancels_is_made_all_the_same(
    app: Flask, workers: Workers, api: Callable[..., Api], operator: Api, desk: Desk
) -> None:
    admin = api("admin")
    workers.queue(SHARE_RULES)
    change = Act(app, lambda: admin.put("/signal-layers", {"macro": False}).status_code)
    until(lambda: desk.sql("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted") == [(2,)])
    workers.freeze()
    assert halt(operator) < 2
    assert change.done() == 200
    actions = desk.sql("SELECT action FROM audit_events WHERE actor <> 'cli:tests' ORDER BY action")
    assert actions == [("mode.change",), ("signal_layers.change",)]


def test_halt_waits_for_a_session_of_another_program(app: Flask, desk: Desk) -> None:
    """An administrator at psql is not disconnected."""
    with connect(desk.database) as administrator:
        administrator.execute(f"BEGIN; SELECT pg_advisory_xact_lock({RULES_LOCK})")
        halting = Act(app, lambda: config.change_mode(TESTER, config.TradingMode.DISABLED))
        assert halting.waits(desk)
        halting.thread.join(0.8)
        administrator.execute("COMMIT")
    assert halting.done().current == "disabled"
