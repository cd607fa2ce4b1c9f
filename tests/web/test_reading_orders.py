"""Orders are read: by their engine, which sees no others, and by every person."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from app.domain.order_status import ON_THE_WAY, VENUE_SAYS, OrderStatus
from tests.conftest import Api
from tests.serving import Desk
from tests.web.conftest import Record, assert_problem
from tests.web.orders import (
    HOLDS,
    KEYS,
    LOCKOUT,
    NOBODYS_ID,
    WEIRD_IDS,
    client_of,
    configure,
    sent,
    set_deadline,
    stored,
    waiting,
)


def one_of_each(engine: Api, operator: Api, desk: Desk) -> dict[str, dict[str, Any]]:
    """An order of every status, by it."""
    made = {"released": sent(engine, "released")}
    configure(desk, HOLDS)
    for status in ("pending_approval", "rejected", "expired", "canceled"):
        made[status] = waiting(engine)
    operator.post(f"/approvals/{made['rejected']['id']}/reject", {"reason": "no"})
    set_deadline(desk, made["expired"], -1)
    engine.post(f"/orders/{made['canceled']['id']}/cancel", None)
    operator.post("/lockouts", LOCKOUT)
    made["blocked"] = sent(engine, "blocked")
    return made


def ids(client: Api, query: str = "") -> list[str]:
    """The ids of all pages of a list."""
    found, cursor = [], ""
    while True:
        answer = client.get(f"/orders?{query}{cursor}")
        assert answer.status_code == 200, answer.text
        assert set(answer.json) == {"items", "next"}
        found += [order["id"] for order in answer.json["items"]]
        if answer.json["next"] is None:
            return found
        cursor = f"&cursor={answer.json['next']}"


class TestOne:
    def test_is_as_it_was_made(self, engine: Api) -> None:
        made = sent(engine, "released")
        answer = engine.get(f"/orders/{made['id']}")
        assert (answer.status_code, answer.json) == (200, made)
        assert set(answer.json) == KEYS

    @pytest.mark.parametrize("role", ["viewer", "operator", "admin"])
    def test_may_be_read_by_every_person(self, api: Callable[..., Api], engine: Api, role: str) -> None:
        made = sent(engine, "released")
        assert api(role).get(f"/orders/{made['id']}").json == made

    def test_of_another_engine_is_not_there(self, app: Flask, desk: Desk, engine: Api) -> None:
        made = sent(engine, "released")
        other = client_of(app, desk, "other", "engine")
        hidden = assert_problem(other.get(f"/orders/{made['id']}"), 404, "not_found")
        assert hidden == assert_problem(other.get(f"/orders/{NOBODYS_ID}"), 404, "not_found")

    @pytest.mark.parametrize("order_id", WEIRD_IDS)
    @pytest.mark.parametrize("query", ["", "?wait=1"])
    def test_that_never_was_is_404(self, api: Callable[..., Api], order_id: str, query: str) -> None:
        for client in (api("engine"), api("viewer")):
            assert_problem(client.get(f"/orders/{order_id}{query}"), 404, "not_found")

    def test_is_found_by_its_id_in_any_case(self, engine: Api) -> None:
        made = sent(engine, "released")
        assert engine.get(f"/orders/{made['id'].upper()}").json == made

    def test_that_has_expired_says_so_and_that_is_written_down_first(
        self, engine: Api, desk: Desk, record: Record, holding: None
    ) -> None:
        made = waiting(engine)
        set_deadline(desk, made, -1)
        record.new()
        found = engine.get(f"/orders/{made['id']}").json
        assert (found["status"], found["decided_by"]) == ("expired", "system:deadline")
        assert found["decided_at"] == found["expires_at"]
        assert stored(desk, made) == "expired"
        (event,) = record.new()
        assert (event["action"], event["actor"], event["subject"]) == (
            "order.expire",
            "system:deadline",
            made["id"],
        )
        assert engine.get(f"/orders/{made['id']}").json == found
        assert record.new() == []


class TestTheList:
    def test_has_the_newest_first(self, engine: Api, operator: Api) -> None:
        made = [sent(engine, "released") for _ in range(5)]
        for client in (engine, operator):
            answer = client.get("/orders").json
            assert answer == {"items": made[::-1], "next": None}

    def test_of_an_engine_has_its_own_orders_only(
        self, app: Flask, desk: Desk, engine: Api, operator: Api
    ) -> None:
        other = client_of(app, desk, "other", "engine")
        mine, theirs = sent(engine, "released", client_order_id="a"), sent(other, "released", client_order_id="a")
        for query in ("", "ticker=AAPL", "status=released", "client_order_id=a", "limit=1"):
            assert ids(engine, query) == [mine["id"]]
            assert ids(other, query) == [theirs["id"]]
            assert ids(operator, query) == [theirs["id"], mine["id"]]

    def test_is_empty_on_a_new_desk(self, engine: Api) -> None:
        assert engine.get("/orders").json == {"items": [], "next": None}

    @pytest.mark.parametrize(
        "status", [status for status in OrderStatus if status not in (*ON_THE_WAY, *VENUE_SAYS)]
    )
    def test_by_status(self, engine: Api, operator: Api, desk: Desk, status: str) -> None:
        made = one_of_each(engine, operator, desk)
        for client in (engine, operator):
            items = client.get(f"/orders?status={status}").json["items"]
            assert [(item["id"], item["status"]) for item in items] == [(made[status]["id"], status)]

    def test_by_status_counts_by_the_clock_though_nothing_was_written(self, engine: Api, desk: Desk) -> None:
        configure(desk, HOLDS)
        first, second, third = waiting(engine), waiting(engine), waiting(engine)
        set_deadline(desk, first, -1)
        set_deadline(desk, third, -1)
        engine.get(f"/orders/{third['id']}")  # writes it down
        assert ids(engine, "status=expired") == [third["id"], first["id"]]
        assert ids(engine, "status=expired&limit=1") == [third["id"], first["id"]]
        assert ids(engine, "status=pending_approval") == [second["id"]]
        assert stored(desk, first) == "pending_approval"
        statuses = {item["id"]: item["status"] for item in engine.get("/orders").json["items"]}
        assert statuses[first["id"]] == "expired"

    @pytest.mark.parametrize("query", ["", "status=expired", "ticker=AAPL", "client_order_id=late"])
    def test_says_who_decided_an_order_whose_expiry_is_not_written_down(
        self, engine: Api, operator: Api, desk: Desk, holding: None, query: str
    ) -> None:
        made = waiting(engine, client_order_id="late")
        set_deadline(desk, made, -1)
        for client in (engine, operator):
            [item] = client.get(f"/orders?{query}").json["items"]
            decision = {name: item[name] for name in ("status", "decided_by", "decided_at", "decision_note")}
            assert decision == {
                "status": "expired",
                "decided_by": "system:deadline",
                "decided_at": item["expires_at"],
                "decision_note": None,
            }
        assert stored(desk, made) == "pending_approval"
        # Once it is written down, the list answers the same.
        engine.get(f"/orders/{made['id']}")
        assert stored(desk, made) == "expired"
        assert operator.get(f"/orders?{query}").json["items"] == [item]

    def test_by_ticker(self, engine: Api) -> None:
        made = {ticker: sent(engine, "released", ticker=ticker)["id"] for ticker in ("AAPL", "BTC/USD", "BRK.B")}
        for query, ticker in (("AAPL", "AAPL"), ("%20aapl", "AAPL"), ("btc/usd", "BTC/USD"), ("brk.b", "BRK.B")):
            assert ids(engine, f"ticker={query}") == [made[ticker]]
        assert ids(engine, "ticker=AAP") == []
        assert ids(engine, "ticker=*") == []

    def test_by_client_order_id(self, engine: Api) -> None:
        made = {
            given: sent(engine, "released", client_order_id=given)["id"] for given in ("a", "A", "a%", "é" * 128)
        }
        for query, given in (("a", "a"), ("A", "A"), ("a%25", "a%"), ("é" * 128, "é" * 128)):
            assert ids(engine, f"client_order_id={query}") == [made[given]]
        for nothing in ("", "b", "%25", "_", "' OR 1=1"):
            assert ids(engine, f"client_order_id={nothing}") == []

    def test_by_all_of_them_at_once(self, engine: Api, operator: Api, desk: Desk) -> None:
        made = one_of_each(engine, operator, desk)
        for status, found in made.items():
            query = f"status={status}&ticker=AAPL&client_order_id={found['client_order_id']}"
            assert ids(engine, query) == [found["id"]]
            assert ids(engine, query.replace("AAPL", "MSFT")) == []

    @pytest.mark.parametrize("status", ["", "open", "Released", "pending", "released,blocked", "%00", "a" * 3000])
    def test_a_status_that_there_is_not_is_refused_and_is_no_empty_list(self, engine: Api, status: str) -> None:
        assert_problem(engine.get(f"/orders?status={status}"), 422, "invalid", "status")

    def test_of_a_ticker_has_every_spelling_of_it(self, engine: Api) -> None:
        made = [
            sent(engine, "released", ticker=ticker)["id"]
            for ticker in ("ESZ6", "CME:ESZ26", "ESZ2026.CME", "ESH7", "BTC/USD", "btcusd")
        ]
        for asked in ("ESZ6", "ES-Z-2026"):
            assert [one["id"] for one in engine.get(f"/orders?ticker={asked}").json["items"]] == made[2::-1]
        assert [one["id"] for one in engine.get("/orders?ticker=BTC_USD").json["items"]] == made[:3:-1]
        assert engine.get("/orders?ticker=ES").json["items"] == []

    @pytest.mark.parametrize("ticker", ["", "%20", "A B", "ß", "%00", "A" * 33, "%FF"])
    def test_nor_is_a_ticker_that_is_none(self, engine: Api, ticker: str) -> None:
        assert_problem(engine.get(f"/orders?ticker={ticker}"), 422, "invalid", "ticker")

    @pytest.mark.parametrize("given", ["a" * 129, "%00", "a%00b"])
    def test_nor_a_client_order_id_that_cannot_be(self, engine: Api, given: str) -> None:
        assert_problem(engine.get(f"/orders?client_order_id={given}"), 422, "invalid", "client_order_id")

    def test_writes_nothing(self, engine: Api, operator: Api, desk: Desk, record: Record) -> None:
        one_of_each(engine, operator, desk)
        record.new()
        for status in OrderStatus:
            ids(engine, f"status={status}")
        ids(operator)
        assert record.new() == []


class TestPages:
    @pytest.mark.parametrize("limit", [1, 3, 50, 200])
    @pytest.mark.parametrize("query", ["", "status=released&", "ticker=AAPL&"])
    def test_hold_everything_once_and_in_order(self, engine: Api, limit: int, query: str) -> None:
        made = [sent(engine, "released")["id"] for _ in range(7)]
        assert ids(engine, f"{query}limit={limit}") == made[::-1]

    def test_hold_fifty_unless_more_are_asked_for(self, engine: Api) -> None:
        for _ in range(51):
            sent(engine, "released")
        first = engine.get("/orders").json
        assert len(first["items"]) == 50
        assert len(engine.get(f"/orders?cursor={first['next']}").json["items"]) == 1
        assert len(engine.get("/orders?limit=51").json["items"]) == 51

    def test_are_not_moved_by_what_comes_in_between(self, engine: Api) -> None:
        made = [sent(engine, "released")["id"] for _ in range(4)]
        first = engine.get("/orders?limit=2").json
        sent(engine, "released")
        second = engine.get(f"/orders?limit=2&cursor={first['next']}").json
        assert [order["id"] for order in first["items"] + second["items"]] == made[::-1]

    def test_the_cursor_of_a_person_shows_an_engine_nothing_more(
        self, app: Flask, desk: Desk, engine: Api, operator: Api
    ) -> None:
        other = client_of(app, desk, "other", "engine")
        sent(engine, "released"), sent(engine, "released")
        cursor = operator.get("/orders?limit=1").json["next"]
        assert other.get(f"/orders?cursor={cursor}").json == {"items": [], "next": None}

    @pytest.mark.parametrize("limit", ["0", "-1", "201", "1.0", "1e2", "x", "", "٣", "%2B1", "9" * 4000])
    def test_a_limit_is_a_whole_number_from_1_to_200(self, engine: Api, limit: str) -> None:
        assert_problem(engine.get(f"/orders?limit={limit}"), 422, "invalid", "limit")

    @pytest.mark.parametrize("place", ["", "x", "-1", "1.0", "٣", "9" * 19, "1|2", " 1", "1e3", "\0", "NaN"])
    def test_a_forged_cursor_is_refused(self, engine: Api, place: str) -> None:
        cursor = base64.urlsafe_b64encode(place.encode()).decode().rstrip("=")
        assert_problem(engine.get(f"/orders?cursor={cursor}"), 422, "invalid", "cursor")

    @pytest.mark.parametrize("cursor", ["", "x", "====", "!!!", "%00", "é", "A" * 3000, "%FF"])
    def test_so_is_what_is_no_cursor_at_all(self, engine: Api, cursor: str) -> None:
        assert_problem(engine.get(f"/orders?cursor={cursor}"), 422, "invalid", "cursor")
