"""What people are to be told is written with the event itself, once for each of them, and stays until then."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import errors
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from app.db.transaction import noting, recording
from app.domain.notifications import Digest, Kind, warn_from
from app.domain.order_status import LockoutType
from app.domain.risk_config import TradingMode
from app.services.actor import Actor
from app.services.audit import log
from app.services.notifications import outbox
from app.services.orders import approvals, transitions
from app.services.orders import submit as orders
from app.services.trading import config, lockouts
from tests.at_once import results_of
from tests.desk.orders import SWEEPER, let_expire, new_order, place_waiting, transaction
from tests.serving import TESTER, Desk

ALL = frozenset(Kind)
OUTBOX = "SELECT receiver, kind FROM notices WHERE settled_at IS NULL ORDER BY id"
OUTCOMES = "SELECT kind, outcome FROM notices ORDER BY id"


@pytest.fixture(autouse=True)
def _in_the_application(app: Flask, desk: Desk) -> Any:
    with app.app_context():
        yield


@pytest.fixture
def told(desk: Desk) -> None:
    """There is one receiver, `a`, that is told of everything."""
    outbox.register({"a": "1 json"}, ALL)


def lock(ticker: str = "AAPL") -> None:
    lockouts.create(TESTER, ticker=ticker, reason="earnings", duration_minutes=60, lockout_type=LockoutType.MANUAL)


def halt() -> None:
    config.change_mode(TESTER, TradingMode.DISABLED)


def submit(engine: Actor, **changes: Any) -> str:
    return str(orders.submit(engine, new_order(**changes))[0]["id"])


def undelivered(desk: Desk) -> int:
    [(number,)] = desk.sql("SELECT count(*) FROM notices WHERE settled_at IS NULL")
    return int(number)


def let_pass(desk: Desk) -> None:
    """What is gathered has been, and the pause between two messages is over."""
    desk.sql("UPDATE notices SET created_at = created_at - interval '1 min'")
    desk.sql("UPDATE notice_receivers SET told_at = told_at - interval '1 min'")


def claimed(desk: Desk, key: str = "a") -> tuple[outbox.Claim, Digest]:
    let_pass(desk)
    claim = outbox.claim(key)
    assert claim is not None
    return claim, outbox.digest(claim)[0]


# Written with the event


def test_where_nobody_is_to_be_told_nothing_is_written(desk: Desk, engine: Actor) -> None:
    submit(engine)
    lock()
    halt()
    assert desk.sql("SELECT count(*) FROM notices") == [(0,)]


@pytest.mark.usefixtures("told")
def test_an_order_that_waits_is_written_down_and_none_that_the_gate_decides(desk: Desk, engine: Actor) -> None:
    waits = submit(engine)
    lock("MSFT")
    submit(engine, ticker="MSFT")
    desk.sql("UPDATE risk_configs SET config = '{}'")
    submit(engine)
    assert desk.sql("SELECT DISTINCT status FROM orders ORDER BY 1") == [
        ("blocked",),
        ("pending_approval",),
        ("released",),
    ]
    found = desk.sql("SELECT kind, subject FROM notices ORDER BY id")
    assert found[0] == ("order_waits", waits)
    assert [kind for kind, _ in found] == ["order_waits", "lockout"]


def test_everybody_gets_a_row_of_their_own_for_each_event_that_they_asked_for(desk: Desk, engine: Actor) -> None:
    outbox.register({"a": "1 json"}, {Kind.HALTED, Kind.LOCKOUT})
    outbox.register({"b": "2 json"}, {Kind.LIVE, Kind.ORDER_EXPIRED, Kind.LOCKOUT})
    let_expire(desk, submit(engine))
    transitions.expire_due(SWEEPER)
    lock()
    halt()
    config.change_mode(TESTER, TradingMode.PAPER, leaving=TradingMode.DISABLED, reason="r")
    config.change_mode(TESTER, TradingMode.LIVE, leaving=TradingMode.PAPER, reason="r")
    assert sorted(desk.sql(OUTBOX)) == [
        *(("a", "halted"), ("a", "lockout"), ("b", "live"), ("b", "lockout"), ("b", "order_expired")),
    ]


@pytest.mark.usefixtures("told")
def test_every_change_of_the_mode_has_its_kind(desk: Desk) -> None:
    halt()
    config.change_mode(TESTER, TradingMode.PAPER, leaving=TradingMode.DISABLED, reason="r")
    config.change_mode(TESTER, TradingMode.LIVE, leaving=TradingMode.PAPER, reason="r")
    assert desk.sql(OUTBOX) == [("a", "halted"), ("a", "paper"), ("a", "live")]


@pytest.mark.usefixtures("told")
def test_a_lockout_that_is_rolled_back_is_told_to_nobody(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    record = log.record

    def records_and_fails(*args: Any, **kwargs: Any) -> None:
        record(*args, **kwargs)
        args[0].flush()
        raise RuntimeError("in the middle")

    monkeypatch.setattr(log, "record", records_and_fails)
    with pytest.raises(RuntimeError, match="in the middle"):
        lock()
    assert desk.sql("SELECT count(*) FROM symbol_lockouts") == [(0,)]
    assert desk.sql("SELECT count(*) FROM notices") == [(0,)]
    monkeypatch.undo()
    lock()
    assert desk.sql(OUTBOX) == [("a", "lockout")]


@pytest.mark.usefixtures("told")
def test_what_is_not_committed_yet_is_not_told_and_not_lost_behind_what_is(desk: Desk) -> None:
    """It has the lower number."""
    with transaction(desk) as slow:
        slow.execute("INSERT INTO notices (receiver, kind, subject) VALUES ('a', 'halted', 'trading_mode')")
        halt()
        claim = outbox.claim("a")
        assert claim is not None
        assert len(claim.ids) == 1
        outbox.told(claim)
        assert outbox.due() == []
    assert outbox.due() == ["a"]
    assert undelivered(desk) == 1


@pytest.mark.usefixtures("told")
def test_nobody_who_writes_waits_for_whoever_tells(desk: Desk, engine: Actor) -> None:
    """Whatever the one who tells does with his rows, for as long as he likes."""
    submit(engine)
    with transaction(desk) as teller:
        teller.execute("SELECT * FROM notice_receivers FOR UPDATE")
        teller.execute("SELECT * FROM notices FOR UPDATE")
        results_of(lambda: within(desk, lambda: submit(engine)), lambda: within(desk, lambda: lock("MSFT")))
        results_of(lambda: within(desk, halt))
        assert outbox.claim("a") is None, "and another leader passes over it"
    assert [kind for _, kind in desk.sql(OUTBOX)].count("order_waits") == 2


def within(desk: Desk, act: Any) -> None:
    with desk.app.app_context():
        act()


# About to expire


def warn(desk: Desk, seconds: int = 300) -> list[str]:
    outbox.warn(timedelta(seconds=seconds))
    return [id_ for (id_,) in desk.sql("SELECT subject FROM notices WHERE kind = 'order_expiring' ORDER BY id")]


@pytest.mark.usefixtures("told")
def test_an_order_whose_deadline_is_near_is_written_down_once(desk: Desk, engine: Actor) -> None:
    [near] = place_waiting(desk, engine, 1, minutes=30)
    [far] = place_waiting(desk, engine, 1, minutes=30)
    assert warn(desk) == []
    desk.sql(
        "UPDATE orders SET created_at = created_at - interval '1 h', expires_at = now() + interval '4 min'"
        " WHERE id = %s",
        near,
    )
    assert warn(desk) == [near]
    assert warn(desk) == [near]
    claim, digest = claimed(desk)
    assert digest.expiring.number == 1
    outbox.told(claim)
    assert warn(desk) == [near], "also once it was told"
    assert written_for(desk, far) == []


def written_for(desk: Desk, order_id: str) -> list[Any]:
    return desk.sql("SELECT kind FROM notices WHERE subject = %s", order_id)


@pytest.mark.usefixtures("told")
def test_it_is_written_down_for_everybody_and_never_of_what_is_decided_or_late(desk: Desk, engine: Actor) -> None:
    outbox.register({"b": "2 json"}, {Kind.ORDER_EXPIRING})
    outbox.register({"c": "3 json"}, ALL - {Kind.ORDER_EXPIRING})
    waits, approved, late = place_waiting(desk, engine, 3, minutes=30)
    near = "UPDATE orders SET created_at = created_at - interval '1 h', expires_at = now() + interval '{}'"
    desk.sql(near.format("1 min"))
    approvals.approve(TESTER, uuid.UUID(approved), None)
    desk.sql(near.format("0 s") + " WHERE id = %s", late)
    warn(desk)
    found = desk.sql("SELECT receiver, subject FROM notices WHERE kind = 'order_expiring' ORDER BY 1")
    assert found == [("a", waits), ("b", waits)]


@pytest.mark.usefixtures("told")
@given(
    st.integers(-3600, 0),
    st.integers(1, 3600),
    st.integers(10, 7200),
)
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_database_and_the_domain_agree_on_when(
    desk: Desk, engine: Actor, created: int, expires: int, before: int
) -> None:
    desk.sql("DELETE FROM notices")
    desk.sql("DELETE FROM orders")
    place_waiting(desk, engine, 1)
    [(created_at, expires_at)] = desk.sql(
        "UPDATE orders SET created_at = now() + make_interval(secs => %s),"
        " expires_at = now() + make_interval(secs => %s) RETURNING created_at, expires_at",
        created,
        expires,
    )
    from_ = warn_from(created_at, expires_at, timedelta(seconds=before))
    [(earlier,)] = desk.sql("SELECT now()")
    written = bool(warn(desk, before))
    [(later,)] = desk.sql("SELECT now()")
    assert not (written and later < from_)
    assert written or earlier < from_ or later >= expires_at


# Claimed, told, or not


@pytest.mark.usefixtures("told")
def test_a_halt_goes_out_at_once_and_what_may_come_by_the_hundred_is_gathered(desk: Desk, engine: Actor) -> None:
    submit(engine)
    assert outbox.due() == []
    assert outbox.claim("a") is None
    desk.sql("UPDATE notices SET created_at = created_at - interval '3 s'")
    assert outbox.due() == ["a"]
    claim = outbox.claim("a")
    assert claim is not None
    outbox.told(claim)
    submit(engine)
    desk.sql("UPDATE notices SET created_at = created_at - interval '3 s'")
    assert outbox.due() == [], "nor is one message sent right after the other"
    halt()
    assert outbox.due() == ["a"]
    claim = outbox.claim("a")
    assert claim is not None
    digest, _ = outbox.digest(claim)
    assert (digest.mode, digest.modes.first[0].canceled, digest.waiting.number) == ("disabled", 2, 0)


@pytest.mark.usefixtures("told")
def test_of_two_who_claim_at_once_one_has_it(desk: Desk, app: Flask) -> None:
    def claim() -> outbox.Claim | None:
        with app.app_context():
            return outbox.claim("a")

    for _ in range(5):
        halt()
        found = [each for each in results_of(*[claim] * 4) if each is not None]
        assert len(found) == 1
        outbox.told(found[0])
        config.change_mode(TESTER, TradingMode.PAPER, leaving=TradingMode.DISABLED, reason="r")
        desk.sql("UPDATE notices SET settled_at = now(), outcome = 'told' WHERE settled_at IS NULL")


@pytest.mark.usefixtures("told")
def test_a_claim_ends_by_itself_and_whoever_had_it_disturbs_nobody(desk: Desk) -> None:
    halt()
    first = outbox.claim("a")
    assert first is not None
    assert outbox.due() == []
    desk.sql("UPDATE notice_receivers SET try_at = now()")
    second = outbox.claim("a")
    assert second is not None
    assert second.ids == first.ids
    outbox.not_told(first, "too late", timedelta(hours=1))
    assert desk.sql("SELECT claim, tries, last_error FROM notice_receivers") == [(second.token, 0, None)]
    outbox.told(second)
    assert desk.sql(OUTCOMES) == [("halted", "told")]


def test_what_one_has_taken_stays_to_be_told_to_the_other(desk: Desk) -> None:
    outbox.register({"a": "1 json", "b": "2 json"}, ALL)
    halt()
    for key in ("a", "b"):
        claim = outbox.claim(key)
        assert claim is not None
        if key == "a":
            outbox.told(claim)
        else:
            outbox.not_told(claim, "it answered 500", timedelta(seconds=60))
    assert desk.sql(OUTBOX) == [("b", "halted")]
    assert undelivered(desk) == 1
    assert outbox.due() == []
    [(tries, why, since, wait)] = desk.sql(
        "SELECT tries, last_error, failing_since <= now(), try_at > now() + interval '50 s'"
        " FROM notice_receivers WHERE key = 'b'"
    )
    assert (tries, why, since, wait) == (1, "it answered 500", True, True)
    desk.sql("UPDATE notice_receivers SET try_at = now()")
    again = outbox.claim("b")
    assert again is not None
    assert again.tries == 1
    outbox.told(again)
    assert desk.sql("SELECT tries, last_error, failing_since FROM notice_receivers WHERE key = 'b'") == [
        (0, None, None)
    ]
    assert undelivered(desk) == 0


@pytest.mark.usefixtures("told")
def test_of_an_order_that_was_decided_meanwhile_nobody_has_to_be_told_that_it_waits(
    desk: Desk, engine: Actor
) -> None:
    first, second = submit(engine), submit(engine, ticker="MSFT")
    approvals.approve(TESTER, uuid.UUID(first), None)
    claim, digest = claimed(desk)
    assert [order.ticker for order in digest.waiting.first] == ["MSFT"]
    assert sorted(desk.sql(OUTCOMES), key=str) == [("order_waits", "overtaken"), ("order_waits", None)]
    approvals.approve(TESTER, uuid.UUID(second), None)
    outbox.not_told(claim, "no", timedelta())
    assert outbox.claim("a") is None, "and where nothing is left there is nothing to tell"
    assert undelivered(desk) == 0


@pytest.mark.usefixtures("told")
def test_nor_that_one_waits_whose_deadline_is_over_though_nobody_has_written_it_down(
    desk: Desk, engine: Actor
) -> None:
    late = submit(engine)
    let_expire(desk, late)
    let_pass(desk)
    assert outbox.claim("a") is None
    assert desk.sql("SELECT status FROM orders") == [("pending_approval",)]
    assert desk.sql(OUTCOMES) == [("order_waits", "overtaken")]


@pytest.mark.usefixtures("told")
def test_what_was_overtaken_is_settled_bit_by_bit_and_in_the_end_the_rest_is_told(
    desk: Desk, engine: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "MOST", 3)
    for _ in range(7):
        let_expire(desk, submit(engine))
    submit(engine, ticker="MSFT")
    let_pass(desk)
    for left in (5, 2):
        assert outbox.claim("a") is None
        assert undelivered(desk) == left
        assert outbox.due() == ["a"], "at once"
    claim, digest = claimed(desk)
    assert [order.ticker for order in digest.waiting.first] == ["MSFT"]
    outbox.told(claim)
    assert undelivered(desk) == 0


@pytest.mark.usefixtures("told")
def test_an_order_is_told_once_in_a_message_by_the_latest_of_it(desk: Desk, engine: Actor) -> None:
    late, near = submit(engine), submit(engine, ticker="MSFT")
    desk.sql("UPDATE orders SET created_at = created_at - interval '1 h', expires_at = now() + interval '1 min'")
    warn(desk)
    let_expire(desk, late)
    transitions.expire_due(SWEEPER)
    _, digest = claimed(desk)
    assert [order.ticker for order in digest.expiring.first] == ["MSFT"]
    assert [order.ticker for order in digest.expired.first] == ["AAPL"]
    assert digest.waiting.number == 0
    assert written_for(desk, near) == [("order_waits",), ("order_expiring",)]


@pytest.mark.usefixtures("told")
def test_thousands_become_one_message_that_names_a_few(desk: Desk, engine: Actor) -> None:
    place_waiting(desk, engine, 10_000)
    halt()
    claim, digest = claimed(desk)
    assert len(claim.ids) == 1
    assert digest.modes.first[0].canceled == 10_000
    outbox.told(claim)
    place_waiting(desk, engine, 2000)
    desk.sql("UPDATE orders SET expires_at = clock_timestamp() WHERE status = 'pending_approval'")
    while transitions.expire_due(SWEEPER):
        pass
    claim, digest = claimed(desk)
    assert (digest.expired.number, len(digest.expired.first), len(claim.ids)) == (2000, 5, 2000)
    outbox.told(claim)
    assert undelivered(desk) == 0


@pytest.mark.usefixtures("told")
def test_after_long_the_mode_comes_first_and_the_rest_in_bounded_messages(
    desk: Desk, engine: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "MOST", 3)
    for ticker in ("A", "B", "C", "D"):
        lock(ticker)
    halt()
    seen = []
    for _ in range(2):
        claim, digest = claimed(desk)
        seen.append((digest.modes.number, [lockout.ticker for lockout in digest.lockouts.first]))
        outbox.told(claim)
    assert seen == [(1, ["A", "B"]), (0, ["C", "D"])]
    assert undelivered(desk) == 0


@pytest.mark.usefixtures("told")
def test_an_order_of_which_nobody_knows_whether_it_is_at_the_broker(desk: Desk, engine: Actor) -> None:
    [order] = place_waiting(desk, engine, 1)
    desk.sql("UPDATE orders SET status = 'unknown', decided_at = created_at, decided_by = 'olga', send_by = now()")
    with recording() as session:
        log.record(session, SWEEPER, "order.unknown", order, after={"status": "unknown"})
    assert desk.sql(OUTBOX) == [("a", "order_unknown")]
    _, digest = claimed(desk)
    assert [each.ticker for each in digest.unknown.first] == ["AAPL"]


@pytest.mark.usefixtures("told")
def test_what_is_told_is_what_was_done(desk: Desk, engine: Actor) -> None:
    submit(engine, ticker="BRK.B", type="limit", limit_price=480)
    lock()
    _, digest = claimed(desk)
    [order], [lockout] = digest.waiting.first, digest.lockouts.first
    assert (order.ticker, order.side, order.engine, order.type, order.qty, order.limit_price) == (
        *("BRK.B", "buy", "momentum", "limit"),
        *(10, 480),
    )
    assert [(order.expires_at,)] == desk.sql("SELECT expires_at FROM orders")
    assert (lockout.ticker, lockout.reason, lockout.by) == ("AAPL", "earnings", "cli:tests")
    assert [(lockout.expires_at,)] == desk.sql("SELECT expires_at FROM symbol_lockouts")
    assert digest.mode == "paper"


@pytest.mark.parametrize("outcome", [("NULL", "'told'"), ("now()", "NULL"), ("now()", "'lost'")])
def test_what_is_settled_has_an_outcome_and_nothing_else_has(outcome: tuple[str, str], desk: Desk) -> None:
    with pytest.raises(errors.CheckViolation):
        desk.sql(
            "INSERT INTO notices (receiver, kind, subject, settled_at, outcome)"
            f" VALUES ('a', 'lockout', 'x', {', '.join(outcome)})"
        )


# In the end


@pytest.mark.usefixtures("told")
def test_what_could_not_be_told_for_a_day_is_given_up_and_why_is_kept(desk: Desk) -> None:
    halt()
    claim = outbox.claim("a")
    assert claim is not None
    outbox.not_told(claim, "it answered 500", timedelta())
    assert outbox.tidy() == []
    desk.sql("UPDATE notices SET created_at = now() - interval '25 h'")
    assert outbox.tidy() == [("1 json", "it answered 500", 1)]
    assert desk.sql("SELECT outcome, why FROM notices") == [("given_up", "it answered 500")]
    assert outbox.tidy() == []
    assert undelivered(desk) == 0
    desk.sql("UPDATE notices SET created_at = now() - interval '9 days'")
    outbox.tidy()
    assert desk.sql("SELECT count(*) FROM notices") == [(0,)]


def test_who_is_in_nobodys_settings_any_more_is_forgotten_and_a_restart_forgets_nobody(desk: Desk) -> None:
    outbox.register({"a": "1 json", "b": "2 json"}, ALL)
    halt()
    desk.sql("UPDATE notice_receivers SET seen_at = now() - interval '1 day'")
    outbox.register({"b": "1 json"}, ALL)
    assert desk.sql("SELECT key, name FROM notice_receivers") == [("b", "1 json")]
    assert desk.sql(OUTBOX) == [("b", "halted")]


def test_nothing_that_is_old_makes_it_slow(desk: Desk, engine: Actor) -> None:
    """It looks about every second: by the index of what is not settled, however much is."""
    outbox.register({"a": "1 json"}, ALL)
    desk.sql(
        "INSERT INTO notices (receiver, kind, subject, settled_at, outcome)"
        " SELECT 'a', 'lockout', 'x', now(), 'told' FROM generate_series(1, 20000)"
    )
    desk.sql("ANALYZE notices")
    query = outbox.TO_TELL.replace(":key", "'a'").replace(":most", "100")
    plan = "\n".join(line for (line,) in desk.sql(f"EXPLAIN {query}"))
    assert "ix_notices_undelivered" in plan


@pytest.fixture
def surprised(desk: Desk, engine: Actor) -> None:
    """Many orders wait of which the planner knows nothing: it has counted when there were old ones only."""
    desk.sql(
        "INSERT INTO orders (account_id, engine, client_order_id, ticker, side, qty, type, time_in_force,"
        " trading_mode, status, decided_at, decided_by)"
        " SELECT %s, 'momentum', 'old-' || n, 'AAPL', 'buy', 10, 'market', 'day', 'paper', 'released', now(), 'x'"
        " FROM generate_series(1, 20000) n",
        engine.account_id,
    )
    desk.sql(
        "INSERT INTO notices (receiver, kind, subject, settled_at, outcome)"
        " SELECT 'a', 'order_waits', id::text, now(), 'told' FROM orders"
    )
    desk.sql("ANALYZE orders, notices")
    outbox.register({"a": "1 json"}, ALL)
    place_waiting(desk, engine, MANY)
    desk.sql("UPDATE orders SET created_at = now() - interval '1 h' WHERE status = 'pending_approval'")
    desk.sql(
        "INSERT INTO notices (receiver, kind, subject, event_id)"
        " SELECT 'a', 'order_waits', id::text, seq FROM orders WHERE status = 'pending_approval'"
    )


MANY = 2000


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for each in plan.get("Plans", ()):
        yield from nodes(each)


def ran(query: str, **given: Any) -> list[dict[str, Any]]:
    """What the database did for it, step by step."""
    with noting() as session:
        [explained] = session.scalars(text(f"EXPLAIN (ANALYZE, FORMAT JSON) {query}"), given)
    return list(nodes(explained[0]["Plan"]))


def looked_at(steps: list[dict[str, Any]]) -> float:
    """How many rows, those included that were left out again."""
    rows = (
        "Actual Rows",
        "Rows Removed by Filter",
        "Rows Removed by Join Filter",
        "Rows Removed by Index Recheck",
    )
    return sum(step["Actual Loops"] * sum(step.get(name, 0) for name in rows) for step in steps)


@pytest.mark.usefixtures("surprised")
def test_thousands_that_wait_all_at_once_are_each_looked_at_once_or_twice(desk: Desk) -> None:
    """Not each with each of the others: then nobody was told anything, and pages had no connection left."""
    unsettled = [id_ for (id_,) in desk.sql("SELECT id FROM notices WHERE settled_at IS NULL")]
    assert len(unsettled) == MANY
    assert looked_at(ran(outbox.OVERTAKEN, ids=unsettled)) <= 4 * MANY
    before = timedelta(hours=1)
    assert len(warn(desk, 3600)) == MANY
    steps = ran(outbox.WARN, before=before)
    assert looked_at(steps) <= 4 * MANY
    assert steps[0]["Tuples Inserted"] == steps[0]["Conflicting Tuples"] == 0, "passed over, not tried again"
    claim, digest = claimed(desk)
    assert (len(claim.ids), digest.expiring.number) == (2 * MANY, MANY)


@pytest.mark.usefixtures("told")
def test_a_claim_that_takes_long_gives_its_connection_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "TO_TELL", "SELECT ARRAY[1] FROM pg_sleep(8) WHERE :key <> '' AND :most > 0")
    halt()
    with pytest.raises(OperationalError, match="statement timeout"):
        outbox.claim("a")
