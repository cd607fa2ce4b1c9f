"""Large reads are made a few at a time in a worker, and in slices, so that a halt does not wait for them."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing

import pytest
from flask import Flask

from app.settings import PROJECT
from app.web.security import rate_limit
from tests.at_once import Caller, timed, until
from tests.conftest import Api
from tests.desk.orders import Hammer, Line, account, place_waiting
from tests.serving import Server
from tests.web.conftest import assert_problem


@pytest.fixture
def busy(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """Take all slots of this worker, and make requests that wait for one give up soon."""
    monkeypatch.setattr(rate_limit, "SLOT_TIMEOUT", 0.1)
    made = app.extensions["bounds"]
    monkeypatch.setattr(made, "_large_reads", rate_limit.Slots(0))
    monkeypatch.setattr(made, "_lists", rate_limit.Slots(0))


LARGE = ("/audit", "/audit/1", "/config")
LISTS = ("/orders", "/approvals", "/lockouts")


@pytest.mark.usefixtures("busy")
def test_reads_beyond_the_slots_are_told_to_come_again(admin: Api, api: Callable[..., Api]) -> None:
    for path in LARGE + LISTS:
        answer = admin.get(path)
        assert_problem(answer, 503, "busy")
        assert answer.headers["Retry-After"] == "1"
    engine = api("engine")
    assert engine.client.get("/v2/orders", headers=engine.headers).status_code == 503
    assert admin.client.get("/trading", headers=admin.headers).status_code == 503


@pytest.mark.usefixtures("busy")
def test_small_reads_and_all_that_stops_need_no_slot(admin: Api) -> None:
    for path in ("/mode", "/state", "/approval-config", "/signal-layers"):
        assert admin.get(path).status_code == 200
    assert admin.post("/lockouts", {"ticker": "AAPL", "reason": "x", "duration_minutes": 5}).status_code == 201
    assert admin.put("/mode", {"trading_mode": "disabled"}).status_code == 200


def test_slot_is_given_back_whatever_comes_of_the_request(admin: Api) -> None:
    for _ in range(2 * max(rate_limit.LARGE_READS_AT_ONCE, rate_limit.LISTS_AT_ONCE)):
        assert admin.get("/audit?limit=0").status_code == 422
        assert admin.get("/audit/999").status_code == 404
        assert admin.get("/orders?limit=0").status_code == 422
        assert admin.client.get("/trading", headers=admin.headers).status_code == 200


def test_the_next_read_takes_the_slot_that_is_given_back() -> None:
    slots = rate_limit.Slots(1)
    assert slots.take()
    got: list[bool] = []
    waiting = threading.Thread(target=lambda: got.append(slots.take()))
    waiting.start()
    until(lambda: slots._waiting == 1)
    slots.give_back()
    waiting.join(10)
    assert got == [True]


def test_no_more_than_a_short_queue_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_limit, "MAX_QUEUE", 0)
    slots = rate_limit.Slots(1)
    assert slots.take()
    took, taken = timed(slots.take)
    assert (taken, took < 1) == (False, True)


def flood(server: Server, paths: list[str], readers: int) -> float:
    """Seconds that a halt takes while that many viewers read without end."""
    viewer, operator = server.add_token("vera", "viewer"), server.add_token("olga", "operator")
    turns = iter(range(10**9))

    def read(line: Line) -> None:
        Caller(server.url, viewer).get(paths[next(turns) % len(paths)])

    with Hammer(server, read, threads=readers), closing(Line(server, operator)) as line:
        until(lambda: next(turns) > 2 * readers, seconds=60)
        took, reply = timed(lambda: line.put("/mode", {"trading_mode": "disabled"}))
    assert reply.status == 200, reply.text
    return took


@pytest.mark.alone
def test_halt_takes_less_than_two_seconds_while_large_events_are_read(server: Server) -> None:
    admin = server.add_token("ada", "admin")
    with closing(Line(server, admin)) as line:
        for number in range(24):
            config = {"note": f"{number}" + "x1y2" * 260_000}
            assert line.put("/config", {"config": config}, If_Match="*").status == 200
    assert flood(server, ["/audit?limit=200", "/audit/20", "/config"], 6) < 2


@pytest.mark.alone
def test_halt_takes_less_than_two_seconds_while_whole_pages_are_read(server: Server) -> None:
    place_waiting(server, account(server, "placed", "engine"), 500)
    assert flood(server, ["//trading?rows=all"], 16) < 2


IN_SLICES = """
from gevent import monkey; monkey.patch_all()
import time
import gevent
from app.lib.threadpool import in_slices

ticks = []
def tick():
    while True:
        gevent.sleep(0.005)
        ticks.append(time.monotonic())

gevent.spawn(tick)
gevent.sleep(0)
for _ in in_slices(range(100)):
    until = time.perf_counter() + 0.003
    while time.perf_counter() < until:
        pass
print(len(ticks))
"""


def test_other_greenlets_run_between_slices() -> None:
    done = subprocess.run(
        [sys.executable, "-c", IN_SLICES], capture_output=True, text=True, check=True, cwd=PROJECT
    )
    assert int(done.stdout) > 10
