"""Few log lines about an outage: one when it begins, one a minute, one when it ends."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from flask import Flask
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.engine import URL
from sqlalchemy.exc import OperationalError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app.lib.outages import QUIET_SECONDS, REPEAT_EVERY, OutageLog, is_outage
from app.web.http import errors
from tests.at_once import Caller, until
from tests.conftest import Api
from tests.outage import breakable
from tests.serving import application

REFUSED = "connection refused\nIs the server running?"
log = logging.getLogger("tests.outages")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def outage(clock: Clock) -> OutageLog:
    return OutageLog(log, "nothing could be sent", clock=clock)


def test_an_outage_of_five_minutes_has_six_lines(
    outage: OutageLog, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(300):
        outage.failed(REFUSED)
        clock.now += 1
    clock.now += QUIET_SECONDS
    for _ in range(100):
        outage.succeeded()
        clock.now += 1
    assert caplog.messages == [
        "nothing could be sent: connection refused",
        *(
            f"nothing could be sent, for {minute * 60} s now (failures: {minute * 60 + 1}): connection refused"
            for minute in range(1, 5)
        ),
        "nothing could be sent: over after 299 s (failures: 300)",
    ]


def test_an_outage_goes_on_while_some_calls_succeed(
    outage: OutageLog, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(50):
        outage.failed(REFUSED)
        clock.now += 0.5
        outage.succeeded()
        clock.now += 0.5
    assert len(caplog.messages) == 1


def test_another_outage_begins_with_a_line_of_its_own(
    outage: OutageLog, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        outage.failed(REFUSED)
        clock.now += QUIET_SECONDS
        outage.succeeded()
        assert not outage.is_on
    assert [message.partition(": ")[2] for message in caplog.messages] == [
        "connection refused",
        "over after 0 s (failures: 1)",
    ] * 2


def test_without_failures_nothing_is_logged(outage: OutageLog, caplog: pytest.LogCaptureFixture) -> None:
    outage.succeeded()
    assert caplog.messages == []


@given(steps=st.lists(st.tuples(st.booleans(), st.floats(0, 20)), max_size=80))
@settings(max_examples=200)
def test_lines_are_bounded_by_time_and_always_come_in_order(steps: list[tuple[bool, float]]) -> None:
    """A line at the beginning, then at most one a minute, then one at the end, whatever happens when."""
    clock, lines = Clock(), []
    last_failure = 0.0

    class Collect(logging.Logger):
        def log(self, level: int, message: object, *args: object, **more: Any) -> None:
            lines.append((clock.now, clock.now - last_failure, str(message) % args))

    outage = OutageLog(Collect("collect"), "it fails", clock=clock)
    for fails, pause in steps:
        if fails:
            last_failure = clock.now
            outage.failed("no")
        else:
            outage.succeeded()
        clock.now += pause
    state, last = "over", 0.0
    for at, quiet, line in lines:
        kind = "over" if ": over" in line else "repeated" if " s now" in line else "begun"
        assert kind == "begun" if state == "over" else kind in ("repeated", "over")
        assert kind != "repeated" or at - last >= REPEAT_EVERY
        assert kind != "over" or quiet >= QUIET_SECONDS
        state, last = kind, at
    assert outage.is_on is (state != "over")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (psycopg.OperationalError("gone"), True),
        (OperationalError("SELECT", {}, psycopg.OperationalError("gone")), True),
        (PoolTimeout("none free"), True),
        (ProgrammingError("SELECT", {}, psycopg.errors.UndefinedTable("no table")), False),
        (psycopg.errors.UndefinedTable("no table"), False),
        (KeyError("a mistake"), False),
    ],
)
def test_tells_an_outage_from_a_mistake(error: Exception, expected: bool) -> None:
    assert is_outage(error) is expected


# Requests


@pytest.fixture
def without_database(database: URL, tmp_path: Path) -> Iterator[Flask]:
    with application(database.set(host="127.0.0.1", port=1, query={}), tmp_path) as app:
        yield app


def test_requests_of_an_outage_are_counted_in_one_line(
    without_database: Flask, clock: Clock, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    outages = errors.Outages(logging.getLogger("tests.requests"), clock=clock)
    without_database.extensions["outages"] = outages
    client = without_database.test_client()
    headers = {"Authorization": "Bearer a.b"}
    for _ in range(40):
        assert client.get("/api/admin/trading/mode", headers=headers).status_code == 503
        assert client.get("/readyz").status_code == 503
        clock.now += 2
    began, repeated = [record.getMessage() for record in caplog.records if record.name == "tests.requests"]
    assert began.startswith("requests get 503, the database does not answer: ")
    assert repeated.startswith("requests get 503, the database does not answer, for 60 s now (failures: 61): ")
    assert not any(record.exc_info for record in caplog.records)


def test_a_request_that_the_database_answers_ends_the_outage(
    app: Flask, operator: Api, clock: Clock, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    outages = errors.Outages(logging.getLogger("tests.requests"), clock=clock)
    monkeypatch.setitem(app.extensions, "outages", outages)
    outages.database.failed(REFUSED)
    outages.busy.failed("a lock")
    clock.now += QUIET_SECONDS
    assert app.test_client().get("/healthz").status_code == 200
    assert outages.is_on, "it needs no database"
    assert operator.get("/mode").status_code == 200
    assert not outages.is_on
    assert [message.partition(": ")[2] for message in caplog.messages[-2:]] == ["over after 0 s (failures: 1)"] * 2


# The real server


def test_a_real_outage_of_some_seconds_has_few_lines(tmp_path: Path) -> None:
    """In each of two processes, one line of each source when it begins, and one when it ends."""
    log_file = tmp_path / "instance" / "server.log"
    with breakable(tmp_path) as (server, cluster):
        caller = Caller(server.url, server.add_token("reader", "operator"))
        until(lambda: caller.get("/mode").status == 200)
        before = len(log_file.read_text().splitlines())
        cluster.kill()
        failures, ends = 0, time.monotonic() + 4
        while time.monotonic() < ends:
            failures += caller.get("/mode").status == 503
            failures += caller("GET", "//readyz").status == 503
        during = log_file.read_text().splitlines()[before:]
        cluster.come_back()
        until(lambda: caller("GET", "//readyz").status == 200, 60)

        def ended() -> bool:
            caller.get("/mode")
            lines = log_file.read_text()
            return (
                lines.count("the database does not answer: over") >= 1 and "keeper has no database: over" in lines
            )

        until(ended, 60, "it does not say that it is over")
        whole = log_file.read_text().splitlines()[before:]
    assert failures > 50
    assert "Traceback" not in "\n".join(whole)
    for what in ("requests get 503, the database does not answer: ", "the keeper has no database: "):
        begun = [line for line in during if what in line]
        assert 1 <= len(begun) <= 2, during
    assert len(during) <= 20, "\n".join(during)
