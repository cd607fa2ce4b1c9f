"""One snapshot of the desk for the page, and when it counts as another."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from app.services.reporting import snapshot
from tests.at_once import seats_taken, until
from tests.conftest import Api
from tests.serving import Desk
from tests.web.conftest import Record
from tests.web.orders import HOLDS, KEYS, configure, end_lockouts, order, sent, set_deadline, waiting

LOCKOUT = {"ticker": "AAPL", "reason": "x", "duration_minutes": 5}


def tag(client: Api) -> str:
    return str(client.get("/state").headers["ETag"])


def test_it_shows_what_the_other_routes_show(admin: Api) -> None:
    admin.put("/approval-config", {"auto_approve_paper": False})
    admin.put("/signal-layers", {"macro": False})
    admin.post("/lockouts", LOCKOUT)
    admin.put("/mode", {"trading_mode": "disabled"})
    shown = admin.get("/state").json
    assert shown["trading_mode"] == admin.get("/mode").json["trading_mode"]
    assert shown["approval_config"] == admin.get("/approval-config").json
    assert shown["signal_layers"] == admin.get("/signal-layers").json
    assert shown["lockouts"] == admin.get("/lockouts").json["items"]
    assert shown["lockouts_total"] == 1
    assert shown["config_version"] == admin.get("/config").json["version"]
    assert (shown["config_error"], shown["config_warnings"]) == (None, [])
    assert (shown["approvals"], shown["recent_orders"]) == ([], [])
    assert (shown["approvals_by_ticker"], shown["approvals_total"]) == ({}, 0)


def test_the_time_is_that_of_the_database(operator: Api, desk: Desk) -> None:
    ((before,),) = desk.sql("SELECT clock_timestamp()")
    shown = operator.get("/state").json["server_time"]
    ((after,),) = desk.sql("SELECT clock_timestamp()")
    assert before <= datetime.fromisoformat(shown) <= after
    assert shown.endswith("Z")


def test_all_who_ask_at_once_share_one_snapshot_and_each_sees_what_they_did(
    app: Flask, operator: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken, go_on = snapshot.snapshot, threading.Event()
    begun: list[int] = []
    taken_along = seats_taken(monkeypatch)

    def slowly() -> dict[str, Any]:
        begun.append(1)
        found = taken()
        assert go_on.wait(10)
        return found

    monkeypatch.setattr(snapshot, "snapshot", slowly)
    with ThreadPoolExecutor(20) as pool:

        def ask() -> Future[TestResponse]:
            return pool.submit(lambda: Api(app.test_client(), None).get("/state", headers=operator.headers))

        first = ask()
        until(lambda: begun)
        operator.put("/signal-layers", {"macro": False})
        others = [ask() for _ in range(15)]
        until(
            lambda: len(taken_along) == 14, what="one of the fifteen is to look, and the others wait for that one"
        )
        go_on.set()
        assert first.result().json["signal_layers"]["macro"] is True
        assert {other.result().json["signal_layers"]["macro"] for other in others} == {False}
        assert len({(other.result().headers["ETag"], other.result().text) for other in others}) == 1
    assert len(begun) == 2


class TestTheTag:
    def test_is_the_same_as_long_as_the_same_is_shown(self, operator: Api) -> None:
        first, second = operator.get("/state"), operator.get("/state")
        assert first.json["server_time"] != second.json["server_time"]
        assert first.headers["ETag"] == second.headers["ETag"]

    def test_spares_the_client_what_it_has_already(self, operator: Api) -> None:
        answer = operator.get("/state", headers={"If-None-Match": tag(operator)})
        assert (answer.status_code, answer.data) == (304, b"")
        assert answer.headers["ETag"] == tag(operator)

    @pytest.mark.parametrize(
        "change",
        [
            lambda client: client.put("/approval-config", {"auto_approve_paper": False}),
            lambda client: client.put("/approval-config", {"approval_timeout_minutes": 31}),
            lambda client: client.put("/signal-layers", {"macro": False}),
            lambda client: client.put("/mode", {"trading_mode": "disabled"}),
            lambda client: client.post("/lockouts", LOCKOUT),
            lambda client: client.put("/config", {"config": {"unknown": 1}}, headers={"If-Match": "*"}),
        ],
    )
    def test_changes_with_every_change(self, admin: Api, change: Callable[[Api], Any]) -> None:
        before = tag(admin)
        version = admin.get("/state").json["state_version"]
        assert change(admin).status_code in (200, 201)
        answer = admin.get("/state", headers={"If-None-Match": before})
        assert answer.status_code == 200
        assert answer.headers["ETag"] != before
        assert answer.json["state_version"] > version

    def test_changes_when_a_lockout_is_extended_and_when_it_is_removed(self, operator: Api) -> None:
        row = operator.post("/lockouts", LOCKOUT).json
        seen = [tag(operator)]
        operator.patch(f"/lockouts/{row['id']}", {"extend_minutes": 1})
        seen.append(tag(operator))
        operator.delete(f"/lockouts/{row['id']}")
        seen.append(tag(operator))
        assert len(set(seen)) == 3

    def test_changes_when_a_lockout_ends_though_nothing_was_written(self, operator: Api, desk: Desk) -> None:
        operator.post("/lockouts", LOCKOUT)
        before = operator.get("/state")
        assert len(before.json["lockouts"]) == 1
        end_lockouts(desk)
        rows = desk.sql("SELECT count(*) FROM audit_events"), desk.sql("SELECT xmin FROM symbol_lockouts")
        after = operator.get("/state", headers={"If-None-Match": before.headers["ETag"]})
        assert after.status_code == 200
        assert (after.json["lockouts"], after.json["lockouts_total"]) == ([], 0)
        assert (
            desk.sql("SELECT count(*) FROM audit_events"),
            desk.sql("SELECT xmin FROM symbol_lockouts"),
        ) == rows

    def test_changes_with_everything_that_becomes_of_an_order(
        self, engine: Api, operator: Api, holding: None
    ) -> None:
        seen = [tag(operator)]
        made = []
        for _ in range(3):
            made.append(waiting(engine))
            seen.append(tag(operator))
        operator.post(f"/approvals/{made[0]['id']}/approve", {})
        seen.append(tag(operator))
        operator.post(f"/approvals/{made[1]['id']}/reject", {"reason": "no"})
        seen.append(tag(operator))
        engine.post(f"/orders/{made[2]['id']}/cancel", None)
        seen.append(tag(operator))
        operator.post("/lockouts", LOCKOUT)
        seen.append(tag(operator))
        sent(engine, "blocked")
        seen.append(tag(operator))
        assert len(set(seen)) == len(seen)

    def test_stays_when_an_order_is_sent_again(self, engine: Api, operator: Api, holding: None) -> None:
        body = order()
        engine.post("/orders", body)
        before = tag(operator)
        assert engine.post("/orders", body).status_code == 200
        assert engine.post("/orders", body | {"qty": "11"}).status_code == 409
        assert tag(operator) == before

    def test_changes_when_an_order_expires_though_nothing_was_written(
        self, engine: Api, operator: Api, desk: Desk, record: Record, holding: None
    ) -> None:
        made = waiting(engine)
        record.new()
        before = operator.get("/state")
        assert (len(before.json["approvals"]), before.json["approvals_total"]) == (1, 1)
        set_deadline(desk, made, -0.01)
        rows = desk.sql("SELECT xmin FROM orders")
        after = operator.get("/state", headers={"If-None-Match": before.headers["ETag"]})
        assert after.status_code == 200
        assert after.headers["ETag"] != before.headers["ETag"]
        shown = [after.json[key] for key in ("approvals", "approvals_by_ticker", "approvals_total")]
        assert shown == [[], {}, 0]
        assert after.json["state_version"] == before.json["state_version"]
        assert (record.new(), desk.sql("SELECT xmin FROM orders")) == ([], rows)

    def test_changes_when_a_lockout_that_held_an_order_ends(
        self, engine: Api, operator: Api, desk: Desk, holding: None
    ) -> None:
        waiting(engine)
        operator.post("/lockouts", LOCKOUT)
        before = operator.get("/state")
        end_lockouts(desk)
        after = operator.get("/state", headers={"If-None-Match": before.headers["ETag"]})
        assert [before.json["approvals"][0]["approvable"], after.json["approvals"][0]["approvable"]] == [
            False,
            True,
        ]

    @pytest.mark.parametrize("header", ["If-Match", "If-Modified-Since", "Range"])
    def test_is_the_only_condition(self, operator: Api, header: str) -> None:
        assert operator.get("/state", headers={header: '"nothing"'}).status_code == 200


class TestOrdersThatWait:
    def test_are_those_of_the_approvals_with_their_value_and_the_blockers_in_words(
        self, engine: Api, operator: Api, holding: None
    ) -> None:
        waiting(engine, qty="1.5", type="limit", limit_price="10")
        waiting(engine, qty=..., notional="99.90")
        waiting(engine, ticker="MSFT")
        operator.post("/lockouts", LOCKOUT)
        shown = operator.get("/state").json["approvals"]
        listed = operator.get("/approvals").json["items"]
        assert [{key: one[key] for key in (*KEYS, "approvable", "blockers")} for one in shown] == listed
        assert [one["value"] for one in shown] == ["15", "99.9", None]
        assert [len(one["blocked_because"]) for one in shown] == [1, 1, 0]
        assert "AAPL is locked out" in shown[0]["blocked_because"][0]

    def test_are_counted_by_ticker(self, engine: Api, operator: Api, desk: Desk, holding: None) -> None:
        for ticker in ("MSFT", "AAPL", "MSFT", "BTC/USD"):
            last = waiting(engine, ticker=ticker)
        set_deadline(desk, last, -1)
        shown = operator.get("/state").json
        assert shown["approvals_by_ticker"] == {"AAPL": 1, "MSFT": 2}
        assert shown["approvals_total"] == 3

    def test_five_hundred_are_shown_and_all_are_counted(self, engine: Api, operator: Api, desk: Desk) -> None:
        configure(desk, HOLDS)
        waiting(engine)
        desk.sql(
            "INSERT INTO orders (account_id, engine, client_order_id, ticker, side, qty, type, time_in_force,"
            "                    trading_mode, status, expires_at)"
            " SELECT account_id, engine, 'copy-' || n, ticker, side, qty, type, time_in_force,"
            "        trading_mode, status, expires_at + n * interval '1 s' FROM orders, generate_series(1, 502) n"
        )
        shown = operator.get("/state").json
        assert (len(shown["approvals"]), shown["approvals_total"]) == (500, 503)
        assert shown["approvals_by_ticker"] == {"AAPL": 503}
        ends = [one["expires_at"] for one in shown["approvals"]]
        assert ends == sorted(ends)


class TestRecentOrders:
    def test_are_what_was_decided_last_newest_first(
        self, engine: Api, operator: Api, desk: Desk, holding: None
    ) -> None:
        first, second, third, _ = (waiting(engine) for _ in range(4))
        set_deadline(desk, second, -1)
        engine.get(f"/orders/{second['id']}")
        operator.post(f"/approvals/{third['id']}/reject", {"reason": "no"})
        operator.post(f"/approvals/{first['id']}/approve", {"note": "go"})
        operator.post("/lockouts", LOCKOUT)
        blocked = sent(engine, "blocked")
        shown = operator.get("/state").json["recent_orders"]
        assert [one["id"] for one in shown] == [made["id"] for made in (blocked, first, third, second)]
        assert [one["status"] for one in shown] == ["blocked", "released", "rejected", "expired"]
        assert shown == [engine.get(f"/orders/{one['id']}").json for one in shown]

    def test_are_the_last_fifty(self, engine: Api, operator: Api) -> None:
        made = [sent(engine, "released")["id"] for _ in range(52)]
        assert [one["id"] for one in operator.get("/state").json["recent_orders"]] == made[:1:-1]


class TestAConfigurationThatCannotBeRead:
    @pytest.mark.parametrize(
        ("stored", "key", "approval_is_known", "layers_are_known"),
        [
            (
                '{"operator_approval": {"auto_approve_paper": "no"}}',
                "operator_approval.auto_approve_paper",
                False,
                True,
            ),
            ('{"operator_approval": null}', "operator_approval", False, True),
            ('{"signal_layers": {"macro": 0}}', "signal_layers.macro", True, False),
            ('{"position_limits": {"max_order_value": "lots"}}', "position_limits.max_order_value", True, True),
            ('{"order_rate": {"max_orders": 5}}', "order_rate.per_seconds", True, True),
        ],
    )
    def test_is_shown_as_such_and_never_as_a_default(
        self, operator: Api, desk: Desk, stored: str, key: str, approval_is_known: bool, layers_are_known: bool
    ) -> None:
        desk.sql("UPDATE risk_configs SET config = %s::jsonb", stored)
        shown = operator.get("/state").json
        assert shown["config_error"]["key"] == key
        assert shown["config_error"]["detail"].startswith(("must be ", "is missing"))
        assert (shown["approval_config"] is not None) is approval_is_known
        assert (shown["signal_layers"] is not None) is layers_are_known

    def test_everything_else_is_still_shown(self, operator: Api, desk: Desk) -> None:
        operator.post("/lockouts", LOCKOUT)
        desk.sql("""UPDATE risk_configs SET config = '{"operator_approval": 1, "signal_layers": 2}'""")
        shown = operator.get("/state").json
        assert (shown["trading_mode"], len(shown["lockouts"])) == ("paper", 1)

    def test_changes_the_tag_though_it_was_put_there_by_hand(self, operator: Api, desk: Desk) -> None:
        before = tag(operator)
        desk.sql("""UPDATE risk_configs SET config = '{"operator_approval": 1}'""")
        assert tag(operator) != before

    def test_a_limit_that_is_misspelt_is_a_warning(self, operator: Api, desk: Desk) -> None:
        desk.sql(
            """UPDATE risk_configs SET config = '{"position_limits": {"max_order_valeu": 1}, "x": {"y": 1}}'"""
        )
        shown = operator.get("/state").json
        assert shown["config_warnings"] == ["position_limits.max_order_valeu"]
        assert shown["config_error"] is None


def test_five_hundred_lockouts_are_listed_and_all_are_counted(operator: Api, desk: Desk) -> None:
    desk.sql(
        "INSERT INTO symbol_lockouts (ticker, reason, created_by, expires_at)"
        " SELECT 'T' || n, 'x', 'sql', now() + n * interval '1 minute' FROM generate_series(1, 503) n"
    )
    shown = operator.get("/state").json
    assert (len(shown["lockouts"]), shown["lockouts_total"]) == (500, 503)
    assert shown["lockouts"][0]["ticker"] == "T1"
    ends = [datetime.fromisoformat(row["expires_at"]) for row in shown["lockouts"]]
    assert ends == sorted(ends)
    assert ends[-1] - ends[0] == timedelta(minutes=499)
