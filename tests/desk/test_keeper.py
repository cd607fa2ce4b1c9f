"""The keeper: one of all the workers writes down what has expired and seals the record, about every second."""

from __future__ import annotations

import logging
import math
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from flask import Flask
from sqlalchemy import text
from sqlalchemy.engine import URL

from app.db import migrate
from app.db.transaction import noting
from app.server import background
from app.services.audit import seal
from app.services.audit.seal import Head, Verdict
from tests.at_once import Caller, in_time, timed, until
from tests.conftest import Api
from tests.database import new_database
from tests.serving import Desk, Server, application, serve

ORDER = {"ticker": "AAPL", "side": "buy", "qty": "1", "type": "market"}
LEADERS = f"""
    SELECT substring(application_name FROM 'countersign keeper (\\d+)')::int
    FROM pg_locks JOIN pg_stat_activity USING (pid)
    WHERE locktype = 'advisory' AND granted AND datname = current_database()
        AND (classid::bigint << 32) + objid::bigint = {background.LEADER_LOCK}
"""
Served = tuple[Server, Path]

PENDING = "SELECT count(*) FROM orders WHERE status = 'pending_approval'"
UNSEALED = "SELECT count(*) FROM audit_events WHERE id NOT IN (SELECT event_id FROM audit_seals)"


def waiting_orders(desk: Desk, engine: Any, count: int) -> list[str]:
    """Orders that wait for a person, with the deadline that an engine of paper orders gets; their ids."""
    desk.sql("""UPDATE risk_configs SET config = '{"operator_approval": {"auto_approve_paper": false}}'""")
    made = [
        engine.post("/orders", ORDER | {"client_order_id": f"{time.monotonic_ns()}"}).json for _ in range(count)
    ]
    assert {order["status"] for order in made} == {"pending_approval"}
    return [order["id"] for order in made]


def pass_deadlines(desk: Desk) -> None:
    desk.sql("UPDATE orders SET expires_at = clock_timestamp() WHERE status = 'pending_approval'")


# One round


@pytest.fixture
def engine(desk: Desk, api: Any) -> Api:
    made: Api = api("engine")
    return made


def turn(app: Flask, round_: background.Round) -> None:
    with app.app_context():
        round_.once()


def test_a_round_writes_down_what_has_expired_and_seals_it(desk: Desk, app: Flask, engine: Api) -> None:
    ids = waiting_orders(desk, engine, 3)
    turn(app, background.Round())
    assert desk.sql(PENDING) == [(3,)], "their time has not come"
    pass_deadlines(desk)
    turn(app, background.Round())
    assert desk.sql("SELECT DISTINCT status, decided_by, decided_at = expires_at FROM orders") == [
        ("expired", "system:deadline", True)
    ]
    events = desk.sql("SELECT subject, actor, request_id FROM audit_events WHERE action = 'order.expire'")
    assert sorted(event[:2] for event in events) == sorted((id_, "system:deadline") for id_ in ids)
    [round_id] = {event[2] for event in events}
    assert re.fullmatch("keeper-[0-9a-f]{12}", round_id), "one round"
    assert desk.sql(UNSEALED) == [(0,)]
    turn(app, background.Round())
    assert len(desk.sql("SELECT 1 FROM audit_events WHERE action = 'order.expire'")) == 3, "once"


def test_more_than_fit_into_one_transaction_expire_in_one_round(desk: Desk, app: Flask, engine: Api) -> None:
    waiting_orders(desk, engine, 1)
    columns = "account_id, engine, ticker, side, qty, type, time_in_force, trading_mode, status"
    desk.sql(
        f"INSERT INTO orders (client_order_id, created_at, expires_at, {columns})"
        f" SELECT 'n' || n, now() - interval '2 s', now() - interval '1 s', {columns}"
        " FROM orders, generate_series(1, 2500) n"
    )
    turn(app, background.Round())
    assert desk.sql(PENDING) == [(1,)]


def test_a_seal_that_fails_does_not_stop_expiry(
    desk: Desk, app: Flask, engine: Api, caplog: pytest.LogCaptureFixture
) -> None:
    waiting_orders(desk, engine, 1)
    pass_deadlines(desk)
    desk.sql("ALTER TABLE audit_seals RENAME TO gone")
    round_ = background.Round()
    try:
        for _ in range(3):
            turn(app, round_)
    finally:
        desk.sql("ALTER TABLE gone RENAME TO audit_seals")
    assert desk.sql(PENDING) == [(0,)]
    [record] = caplog.records  # one for three rounds: app/lib/outages.py
    assert record.levelno == logging.WARNING
    assert re.fullmatch(
        r'the keeper could not seal the record: .*"audit_seals" does not exist.*', record.getMessage()
    )


def test_expiry_that_fails_does_not_stop_sealing(
    desk: Desk, app: Flask, engine: Api, caplog: pytest.LogCaptureFixture
) -> None:
    waiting_orders(desk, engine, 1)
    desk.sql("ALTER TABLE orders RENAME TO gone")
    try:
        turn(app, background.Round())
    finally:
        desk.sql("ALTER TABLE gone RENAME TO orders")
    assert desk.sql(UNSEALED) == [(0,)]
    assert "the keeper could not write down what has expired" in caplog.text


def test_a_mistake_of_ours_is_logged_with_its_traceback_and_stops_nothing(
    desk: Desk, app: Flask, engine: Api, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise KeyError("a mistake")

    monkeypatch.setattr(seal, "seal", broken)
    waiting_orders(desk, engine, 1)
    pass_deadlines(desk)
    turn(app, background.Round())
    assert desk.sql(PENDING) == [(0,)]
    assert "the keeper could not seal the record" in caplog.text
    assert "KeyError: 'a mistake'" in caplog.text


@pytest.mark.alone
def test_a_sealer_elsewhere_that_takes_long_is_waited_for_in_bounds(desk: Desk, app: Flask, engine: Api) -> None:

    def sitting() -> float:
        waiting_orders(desk, engine, 2)
        pass_deadlines(desk)
        with app.app_context(), noting() as session:
            session.execute(text(f"SELECT pg_advisory_xact_lock({seal.SEALERS_LOCK})"))
            took, _ = timed(lambda: turn(app, background.Round()))
        return took if desk.sql(PENDING) == [(0,)] else math.inf

    in_time(sitting, 4)


def test_a_head_goes_to_the_log_when_it_is_new_and_at_most_once_a_minute(
    desk: Desk, app: Flask, engine: Api, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO, "app.server.background")
    now = 1000.0
    monkeypatch.setattr(background.time, "monotonic", lambda: now)  # type: ignore[attr-defined]
    round_, said = background.Round(), "the record is sealed up to {}".format

    def head() -> Head:
        with app.app_context():
            return seal.head()

    turn(app, round_)
    first = head()
    assert caplog.messages == [said(first)]
    desk.add_token("another", "viewer")
    now += 59
    turn(app, round_)
    assert head() != first
    assert len(caplog.messages) == 1, "not yet"
    now += 1
    turn(app, round_)
    assert caplog.messages == [said(first), said(head())], "what was sealed in between is not forgotten"
    now += 100
    turn(app, round_)
    assert len(caplog.messages) == 2, "nothing new, nothing said"


# The real server


@pytest.fixture(scope="module")
def shared(postgres_server: URL, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Three workers of their own, for their log is read and they are killed."""
    instance = tmp_path_factory.mktemp("kept")
    with new_database(postgres_server) as url, application(url, instance) as app:
        with app.app_context():
            migrate.upgrade(url)
        with serve(app, url, instance, workers=3) as server:
            yield server, instance / "server.log"


@pytest.fixture
def served(shared: Served) -> Server:
    shared[0].reset()
    return shared[0]


def leader(server: Server) -> int:
    """The process that leads; there is never more than one."""
    found = until(lambda: server.sql(LEADERS), what="nobody leads")
    assert len(found) == 1
    return int(found[0][0])


def workers(server: Server) -> set[int]:
    children = psutil.Process(server.process.pid).children()
    return {child.pid for child in children if child.status() != psutil.STATUS_ZOMBIE}


def test_readyz_says_who_leads(served: Server) -> None:
    [(pid,)] = until(
        lambda: served.sql(
            "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1"
            f" AND (classid::bigint << 32) + objid::bigint = {background.LEADER_LOCK}"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
    )
    caller, seen = Caller(served.url), {}

    def both() -> bool:
        details = caller("GET", "//readyz").json["leader"]
        seen[details.pop("state")] = details
        return {"this_process", "another_process"} <= set(seen)

    until(both, 30, f"three workers answer, and one of them leads: {seen}")
    assert seen["this_process"] == {}
    other = seen["another_process"]
    assert (other["session"], other["application"]) == (pid, f"countersign keeper {leader(served)}")
    assert other["idle_seconds"] < 15
    assert other["connected_at"].endswith("Z")
    assert "address" not in other


def test_the_first_head_is_in_the_log_and_no_noise(shared: Served) -> None:
    server, log = shared
    server.add_token("engine", "engine")
    [line] = until(lambda: re.findall(r"the record is sealed up to (\d+:\w+)", log.read_text()))
    with server.app.app_context():
        assert seal.verify(Head.parse(line)).fault is None
    assert "the keeper" not in log.read_text()


@pytest.mark.alone
def test_expiry_is_written_down_within_two_seconds_and_sealed(served: Server) -> None:
    def sitting() -> float:
        served.reset()
        leader(served)
        waiting_orders(served, Caller(served.url, served.add_token("engine", "engine")), 5)
        pass_deadlines(served)
        return timed(lambda: until(lambda: served.sql(PENDING) == [(0,)]))[0]

    in_time(sitting, 2.5)
    until(lambda: served.sql(UNSEALED) == [(0,)], 5)
    with served.app.app_context():
        # The account and its token, and of each order that it came and that it expired.
        assert seal.verify() == Verdict(12, seal.head())


@pytest.mark.alone
def test_when_the_leader_is_killed_another_takes_over(served: Server) -> None:
    engine = Caller(served.url, served.add_token("engine", "engine"))
    led = []

    def sitting() -> float:
        first = leader(served)
        assert first in workers(served)
        led.append(first)
        psutil.Process(first).kill()
        took, _ = timed(lambda: until(lambda: served.sql(LEADERS) not in ([], [(first,)])))
        until(lambda: answers(engine))
        waiting_orders(served, engine, 1)
        pass_deadlines(served)
        until(lambda: served.sql(PENDING) == [(0,)], 3)
        return took

    in_time(sitting, 3)
    assert len(set(led)) == len(led) >= 3


def answers(caller: Caller) -> bool:
    with suppress(OSError):
        return caller("GET", "//readyz").status == 200
    return False


def test_a_leader_that_loses_its_connection_gives_the_lead_up_and_somebody_has_it_soon(served: Server) -> None:
    leader(served)
    backends = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'countersign keeper%'"
    )
    alive = "SELECT 1 FROM pg_stat_activity WHERE application_name LIKE 'countersign keeper%'"
    for _ in range(2):
        until(lambda: len(served.sql(f"{alive} AND datname = current_database()")) == 3)
        assert len(served.sql(f"{backends} AND datname = current_database()")) == 3
        waiting_orders(served, Caller(served.url, served.add_token("engine", "engine")), 1)
        pass_deadlines(served)
        until(lambda: served.sql(PENDING) == [(0,)], 6)
        until(lambda: len(served.sql(LEADERS)) == 1, 5)


def test_a_stopped_server_leaves_no_keeper_behind(served: Server) -> None:
    """The last one here: nobody serves after it."""
    leader(served)
    served.process.terminate()
    assert served.process.wait(30) == 0, "its workers are given 15 seconds"
    assert until(lambda: served.sql(LEADERS) == [], 2)
