"""GET /history: the last 24 hours at a glance."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask

from app.domain.last_day import Outcome
from app.services.reporting import last_day
from app.web.api.history import LastDay
from tests.conftest import Api
from tests.serving import Desk
from tests.web.orders import HOLDS, LOCKOUT, configure, sent, set_deadline, waiting

# An order that was decided so many minutes before the present hour began, by whom, after so many seconds.
DECIDED = """
    INSERT INTO orders (account_id, engine, client_order_id, ticker, side, qty, type, time_in_force, trading_mode,
                        status, reasons, created_at, expires_at, decided_at, decided_by, decision_note)
    SELECT 1, 'bot', gen_random_uuid(), 'AAPL', 'buy', 10, 'market', 'day', 'paper', became,
           CASE became WHEN 'blocked' THEN '[{"code": "trading_disabled", "detail": "x"}]' ELSE '[]' END::jsonb,
           at - %s * interval '1 s', CASE became WHEN 'expired' THEN at END, at, %s,
           CASE became WHEN 'rejected' THEN 'no' END
    FROM (SELECT %s AS became, date_trunc('hour', clock_timestamp()) - %s * interval '1 minute' AS at) AS one
"""
COUNTS = [str(outcome) for outcome in Outcome]


@pytest.fixture(autouse=True)
def anew(app: Flask, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is remembered of the desk of another test."""
    monkeypatch.setitem(app.extensions, "history", LastDay())
    monkeypatch.setattr("app.web.api.history.KEPT_FOR", 0)


def decided(desk: Desk, status: str, by: str, *, minutes: float, seconds: float = 0) -> None:
    desk.sql(DECIDED, seconds, by, status, minutes)


def counts(hour: dict[str, Any]) -> dict[str, int]:
    return {name: hour[name] for name in COUNTS if hour[name]}


def now_hours(answer: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = answer.json["hours"]
    return found


def test_an_empty_day_has_24_full_hours_of_nothing(operator: Api) -> None:
    answer = operator.get("/history")
    assert answer.status_code == 200
    starts = [datetime.fromisoformat(hour["start"]) for hour in now_hours(answer)]
    assert len(starts) == 24
    assert starts[0] == datetime.fromisoformat(answer.json["since"])
    now = datetime.fromisoformat(answer.json["server_time"])
    assert starts[-1] == now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    assert all(counts(hour) == {} and hour["median_seconds"] is None for hour in now_hours(answer))
    assert (answer.json["lockouts"], answer.json["modes"], answer.json["more_lockouts"]) == ([], [], False)


def test_each_outcome_is_counted_in_its_hour_by_who_decided(operator: Api, desk: Desk) -> None:
    for status, by in [
        ("blocked", "system:gate"),
        ("released", "system:gate"),
        ("filled", "system:gate"),
        ("released", "olga"),
        ("venue_rejected", "olga"),
        ("rejected", "olga"),
        ("expired", "system:deadline"),
        ("canceled", "bot"),
        ("canceled", "system:dispatch"),
    ]:
        decided(desk, status, by, minutes=90, seconds=1)
    hours = now_hours(operator.get("/history"))
    wanted = {"blocked": 1, "released": 2, "approved": 2, "rejected": 1, "expired": 1, "canceled": 2}
    assert counts(hours[-3]) == wanted
    assert [counts(hour) for hour in hours if hour is not hours[-3]] == [{}] * 23


def test_the_edges_of_an_hour_and_of_the_day(operator: Api, desk: Desk) -> None:
    decided(desk, "released", "olga", minutes=60)  # on the stroke: of the hour that begins then
    decided(desk, "released", "olga", minutes=60.001)
    decided(desk, "released", "olga", minutes=23 * 60)
    decided(desk, "released", "olga", minutes=23 * 60 + 0.001)  # before the first
    hours = now_hours(operator.get("/history"))
    assert [hour["approved"] for hour in hours] == [1] + [0] * 20 + [1, 1, 0]


def test_how_long_people_took_is_of_people_alone(operator: Api, desk: Desk) -> None:
    for seconds in (10, 20, 30, 40, 200):
        decided(desk, "rejected" if seconds == 20 else "released", "olga", minutes=30, seconds=seconds)
    decided(desk, "expired", "system:deadline", minutes=30, seconds=1800)
    decided(desk, "canceled", "olga", minutes=30, seconds=1800)
    decided(desk, "released", "system:gate", minutes=30, seconds=0)
    hour = now_hours(operator.get("/history"))[-2]
    assert (hour["decided_by_people"], hour["median_seconds"], hour["p90_seconds"]) == (5, 30.0, 136.0)


def test_what_has_expired_counts_though_nobody_wrote_it_down(
    engine: Api, operator: Api, desk: Desk, holding: None
) -> None:
    late, _ = waiting(engine), waiting(engine)
    set_deadline(desk, late, -1)
    assert desk.sql("SELECT DISTINCT status FROM orders") == [("pending_approval",)]
    hours = now_hours(operator.get("/history"))
    assert sum(hour["expired"] for hour in hours) == 1
    assert sum(sum(hour[name] for name in COUNTS) for hour in hours) == 1


def test_what_is_done_today_is_seen(engine: Api, operator: Api, desk: Desk) -> None:
    sent(engine, "released")
    configure(desk, HOLDS)
    operator.post(f"/approvals/{waiting(engine)['id']}/approve", {})
    operator.post(f"/approvals/{waiting(engine)['id']}/reject", {"reason": "no"})
    waiting(engine)
    operator.put("/mode", {"trading_mode": "disabled"})
    hours = now_hours(operator.get("/history"))
    total = {name: sum(hour[name] for hour in hours) for name in COUNTS}
    assert total == {"blocked": 0, "released": 1, "approved": 1, "rejected": 1, "expired": 0, "canceled": 1}
    [mode] = operator.get("/history").json["modes"]
    assert (mode["from"], mode["to"], mode["reason"]) == ("paper", "disabled", None)
    assert mode["by"].startswith("operator")


def test_lockouts_are_there_with_their_ends_also_those_that_were_removed(operator: Api, desk: Desk) -> None:
    desk.sql(
        "INSERT INTO symbol_lockouts (ticker, reason, created_by, created_at, expires_at) VALUES"
        " ('PAST', 'r', 'x', now() - interval '3 days', now() - interval '2 days'),"
        " ('OVER', 'r', 'x', now() - interval '5 h', now() - interval '4 h')"
    )
    operator.post("/lockouts", LOCKOUT | {"ticker": "HELD"})
    gone = operator.post("/lockouts", LOCKOUT | {"ticker": "GONE"}).json
    operator.delete(f"/lockouts/{gone['id']}")
    found = {lock["ticker"]: lock for lock in operator.get("/history").json["lockouts"]}
    assert list(found) == ["OVER", "HELD", "GONE"]
    assert found["HELD"]["removed_at"] is found["OVER"]["removed_by"] is None
    removed = found["GONE"]
    assert {key: removed[key] for key in gone} == gone
    assert removed["removed_by"] == gone["created_by"]
    assert gone["created_at"] < removed["removed_at"] < gone["expires_at"]


def test_of_very_many_lockouts_it_says_that_there_are_more(operator: Api, desk: Desk) -> None:
    desk.sql(
        "INSERT INTO symbol_lockouts (ticker, reason, created_by, expires_at)"
        " SELECT 'T' || n, 'r', 'x', now() + n * interval '1 minute' FROM generate_series(1, 501) n"
    )
    answer = operator.get("/history").json
    assert (len(answer["lockouts"]), answer["more_lockouts"]) == (500, True)


def test_it_is_not_for_engines_and_not_for_strangers(api: Callable[..., Api]) -> None:
    assert [api(role).get("/history").status_code for role in ("viewer", "engine", None)] == [200, 403, 401]


def test_a_busy_hour_that_is_over_is_counted_once(app: Flask, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(last_day, "BUSY_HOUR", 2)
    known: dict[datetime, Any] = {}
    for minutes in (30, 31, 200, 201, 320):
        decided(desk, "released", "olga", minutes=minutes)

    def approved() -> list[int]:
        return [hour["approved"] for hour in last_day.last_day(known)["hours"][-7:]]

    with app.app_context():
        assert approved() == [1, 0, 2, 0, 0, 2, 0]
        assert len(known) == 1, "one that ended just now may still change, and one that is not busy costs nothing"
        decided(desk, "released", "olga", minutes=200)
        decided(desk, "released", "olga", minutes=30)
        assert approved() == [1, 0, 2, 0, 0, 3, 0]
        known[datetime(2020, 1, 1, tzinfo=UTC)] = {}
        last_day.last_day(known)
        assert len(known) == 1


def test_it_is_found_by_indexes_however_many_orders_and_events_there_were(app: Flask, desk: Desk) -> None:
    desk.sql(
        DECIDED.replace("FROM (SELECT", "FROM generate_series(1, 20000), (SELECT"),
        0,
        "system:gate",
        "released",
        9999,
    )
    desk.sql("ANALYZE orders")
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    for query in (last_day.DECIDED, last_day.LATE):
        sql = query.text.replace(":start", "%s").replace(":end", "%s").replace("'system:%'", "'system:%%'")
        plan = "\n".join(row for (row,) in desk.sql(f"EXPLAIN {sql}", hour - timedelta(hours=1), hour))
        assert "using ix_orders" in plan, plan
        assert "Seq Scan" not in plan


def test_the_answer_is_kept_for_a_while_as_long_as_it_took(
    operator: Api, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.web.api.history.KEPT_FOR", 1e6)
    first = operator.get("/history").json
    decided(desk, "released", "olga", minutes=30)
    assert operator.get("/history").json == first
