"""Stop means stop: a change of the rules waits for whoever decides, sees what they did, and waits in bounds."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from flask import Flask
from sqlalchemy import text

from app.db.transaction import RULES_LOCK, changing_rules, noting, recording
from app.domain.order_status import LockoutType
from app.domain.risk_config import TradingMode
from app.domain.roles import Role
from app.services.accounts import login, sessions, users
from app.services.accounts.login_throttle import TooManyAtOnce
from app.services.errors import Conflict, NotFound, TooManyTries
from app.services.trading import config, lockouts
from tests.at_once import in_time, timed, until
from tests.conftest import Api
from tests.database import connect
from tests.desk.orders import Act, account
from tests.serving import TESTER, Desk


@pytest.fixture(autouse=True)
def nobody_stalls() -> None:
    """Somebody does."""


@contextmanager
def holder(desk: Desk, kind: str = "_shared") -> Iterator[psycopg.Connection[Any]]:
    """Somebody who decides right now, by the rules as they are."""
    dsn = desk.database.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(dsn) as connection:
        connection.execute(f"SELECT pg_advisory_xact_lock{kind}({RULES_LOCK})")
        yield connection


def halt() -> Any:
    return config.change_mode(TESTER, TradingMode.DISABLED)


def lock_out() -> Any:
    return lockouts.create(TESTER, ticker="AAPL", reason="r", duration_minutes=1, lockout_type=LockoutType.MANUAL)


def replace() -> Any:
    return config.replace(TESTER, {"order_rate": {"max_orders": 0, "per_seconds": 1}}, expected_versions=None)


CHANGES: dict[str, Callable[[], Any]] = {
    "a halt": halt,
    "a lockout": lock_out,
    "a tighter limit": replace,
    "an approval setting": lambda: config.change_approval_config(TESTER, {"auto_approve_paper": False}),
    "a signal layer": lambda: config.change_signal_layers(TESTER, {"macro": False}),
}


@pytest.mark.usefixtures("any_machine")
@pytest.mark.parametrize("what", CHANGES)
def test_it_is_not_acknowledged_while_somebody_decides_by_the_old_rules(desk: Desk, app: Flask, what: str) -> None:
    rules = "SELECT config, trading_mode, (SELECT count(*) FROM symbol_lockouts) FROM risk_configs"
    before = desk.sql(rules)
    with holder(desk):
        act = Act(app, CHANGES[what])
        assert act.waits(desk)
        assert desk.sql(rules) == before
    assert not isinstance(act.done(), Exception), act.result
    assert desk.sql(rules) != before
    assert desk.sql("SELECT count(*) FROM audit_events") == [(1,)]


@pytest.mark.usefixtures("any_machine")
def test_nobody_decides_while_the_rules_change(desk: Desk, app: Flask) -> None:
    with holder(desk, kind=""):
        act = Act(app, lambda: users.add_token(TESTER, "engine", Role.ENGINE))
        assert act.waits(desk)
    assert "." in act.done()


@pytest.mark.alone
@pytest.mark.usefixtures("any_machine")
def test_those_who_decide_do_not_wait_for_each_other(desk: Desk, app: Flask) -> None:
    with holder(desk), app.app_context():

        def both() -> None:
            with recording() as one, recording() as other:
                assert one.scalar(text("SELECT 1")) == other.scalar(text("SELECT 1"))

        in_time(lambda: timed(both)[0])


@pytest.mark.usefixtures("any_machine")
def test_what_the_holder_did_is_seen_after_the_wait(desk: Desk, app: Flask) -> None:
    """The lock is taken in a statement of its own: one statement has one snapshot, from before the wait."""
    with holder(desk) as connection:
        connection.execute(
            """UPDATE risk_configs SET config = '{"operator_approval": {"approval_timeout_minutes": 77}}'"""
        )
        act = Act(app, CHANGES["an approval setting"])
        assert act.waits(desk)
    assert act.done().approval_timeout_minutes == 77
    assert desk.sql("SELECT config FROM risk_configs") == [
        ({"operator_approval": {"approval_timeout_minutes": 77, "auto_approve_paper": False}},)
    ]
    [(before,)] = desk.sql("SELECT before FROM audit_events")
    assert before["approval_timeout_minutes"] == 77


@pytest.mark.usefixtures("any_machine")
def test_a_change_of_mode_that_waited_leaves_the_mode_as_it_is_then(desk: Desk, app: Flask) -> None:
    with holder(desk) as connection:
        connection.execute("UPDATE risk_configs SET trading_mode = 'disabled'")
        act = Act(
            app,
            lambda: config.change_mode(TESTER, TradingMode.LIVE, leaving=TradingMode.PAPER, reason="stale"),
        )
        assert act.waits(desk)
    refused = act.done()
    assert isinstance(refused, Conflict)
    assert refused.code == "mode_changed"
    assert desk.sql("SELECT trading_mode FROM risk_configs") == [("disabled",)]


@pytest.mark.usefixtures("any_machine")
def test_somebody_at_the_database_itself_is_waited_for_too(desk: Desk, app: Flask) -> None:
    """Who changes the row by hand takes no lock of ours, so the row is locked as well."""
    dsn = desk.database.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(dsn) as by_hand:
        by_hand.execute("UPDATE risk_configs SET trading_mode = 'disabled'")
        act = Act(
            app, lambda: config.change_mode(TESTER, TradingMode.LIVE, leaving=TradingMode.PAPER, reason="stale")
        )
        assert act.waits(desk, "transactionid")
    refused = act.done()
    assert isinstance(refused, Conflict)
    assert refused.code == "mode_changed"
    assert desk.sql("SELECT trading_mode FROM risk_configs") == [("disabled",)]


@pytest.mark.usefixtures("any_machine")
def test_a_lockout_that_waited_is_as_long_as_was_asked(desk: Desk, app: Flask) -> None:
    with holder(desk):
        act = Act(app, lock_out)
        assert act.waits(desk)
        [(released,)] = desk.sql("SELECT clock_timestamp()")
    lockout = act.done()
    assert lockout.created_at >= released
    assert (lockout.expires_at - lockout.created_at).total_seconds() == 60


@pytest.mark.alone
def test_a_holder_who_stalls_is_cut_off_and_a_stop_is_acknowledged_in_time(
    desk: Desk, app: Flask, operator: Api
) -> None:
    """One of our own connections stalls in the middle of a transaction, and never comes to its end."""

    def sitting() -> float:
        """idle_in_transaction_session_timeout ends the stalled one."""
        desk.sql("UPDATE risk_configs SET trading_mode = 'paper', version = 1")
        stalled, wake = threading.Event(), threading.Event()

        def stall() -> None:
            with recording() as session:
                session.execute(
                    text("INSERT INTO symbol_lockouts (ticker, reason, created_by, expires_at)"
                         " VALUES ('STALLED', 'r', 'x', now() + interval '1 hour')")
                )  # fmt: skip
                stalled.set()
                wake.wait(30)

        act = Act(app, stall)
        try:
            assert stalled.wait(10)
            waited, halted = timed(lambda: operator.put("/mode", {"trading_mode": "disabled"}))
        finally:
            wake.set()
        assert isinstance(act.done(), Exception), "the stalled act hears that it did not happen"
        assert desk.sql("SELECT count(*) FROM symbol_lockouts") == [(0,)]
        if halted.status_code == 503:
            return math.inf
        assert (halted.status_code, halted.json["trading_mode"]) == (200, "disabled")
        assert desk.sql("SELECT trading_mode, version FROM risk_configs") == [("disabled", 2)]
        return waited

    in_time(sitting)


@pytest.mark.usefixtures("any_machine")
def test_a_halt_does_not_wait_for_those_who_try_to_sign_in(desk: Desk, app: Flask, operator: Api) -> None:
    with app.app_context(), noting() as session:
        session.execute(text("SELECT pg_advisory_xact_lock(hashtext('sign_in_attempts'))"))
        act = Act(app, lambda: login.sign_in("x", "y", address="1.2.3.4", device_names={}, request_id="r"))
        assert act.waits(desk)
        assert operator.put("/mode", {"trading_mode": "disabled"}).status_code == 200
    act.done()


CONNECTIONS = """SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'countersign' AND {}"""
AT_WORK = CONNECTIONS.format("state <> 'idle'")


@pytest.mark.usefixtures("any_machine")
def test_a_flood_of_an_accounts_changes_stands_behind_itself_alone(
    desk: Desk, app: Flask, api: Callable[..., Api], operator: Api
) -> None:
    """The lock of the rules is given to whoever came first; a halt and another operator's lockout come last."""
    flooder, started = api("engine"), threading.Semaphore(0)
    news = {"ticker": "AAPL", "reason": "news", "duration_minutes": 5, "lockout_type": "news_shock"}

    def flood() -> int:
        started.release()
        return int(flooder.post("/lockouts", news).status_code)

    with holder(desk):
        floods = [Act(app, flood) for _ in range(20)]
        for _ in floods:
            assert started.acquire(timeout=20)
        assert floods[0].waits(desk)
        locks = Act(app, lambda: operator.post("/lockouts", news | {"ticker": "MSFT"}).status_code)
        halts = Act(app, lambda: operator.put("/mode", {"trading_mode": "disabled"}).status_code)
        until(lambda: desk.sql(AT_WORK) >= [(2,)])
    assert (halts.done(), locks.done()) == (200, 201)
    assert {act.done() for act in floods} == {201}
    made = desk.sql("SELECT action, after ->> 'ticker' FROM audit_events WHERE actor <> 'cli:tests' ORDER BY id")
    assert made.index(("mode.change", None)) <= 2
    assert made.index(("lockout.create", "MSFT")) <= 3


@pytest.mark.usefixtures("any_machine")
def test_a_session_that_is_over_is_said_to_be_so_without_the_lock(desk: Desk, app: Flask) -> None:
    person = account(desk, "vera", "viewer")
    with holder(desk, kind=""), app.app_context():
        with pytest.raises(NotFound):
            sessions.end(person, b"none")
        assert sessions.end_all(person, but_this=True) == 0
    assert desk.sql("SELECT count(*) FROM audit_events") == [(0,)]


@pytest.mark.usefixtures("any_machine")
def test_strangers_who_try_to_sign_in_leave_the_connections_to_others(
    desk: Desk, app: Flask, operator: Api
) -> None:
    with connect(desk.database) as other:
        other.execute("SELECT pg_advisory_lock(hashtext('sign_in_attempts'))")
        tries = [
            Act(app, lambda: login.sign_in("x", "y", address="1.2.3.4", device_names={}, request_id="r"))
            for _ in range(12)
        ]
        assert tries[0].waits(desk) or tries[1].waits(desk)
        assert operator.get("/state").status_code == 200
        assert desk.sql(AT_WORK) == [(1,)]
        other.execute("SELECT pg_advisory_unlock_all()")
    assert {type(act.done()) for act in tries} <= {type(None), TooManyTries, TooManyAtOnce}


@pytest.mark.usefixtures("any_machine")
def test_a_change_that_fails_after_the_lock_gives_it_back(desk: Desk, app: Flask) -> None:
    with app.app_context():
        with pytest.raises(Conflict):
            config.change_mode(TESTER, TradingMode.LIVE, leaving=TradingMode.DISABLED, reason="wrong")
        with changing_rules(TESTER) as session:
            assert session.scalar(text("SELECT 1")) == 1
    with holder(desk, kind=""):
        pass
