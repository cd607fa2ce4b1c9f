"""A halt says what it does not reach at the venue, and the second step ends that there."""

from __future__ import annotations

import time
from typing import Any

import psutil
import pytest

from tests.at_once import Caller, until
from tests.desk.orders import body
from tests.serving import Server
from tests.venues.stand_in import Venue

HALT: dict[str, Any] = {"trading_mode": "disabled"}
CANCEL = HALT | {"cancel_open_orders": True}
STOP = {"type": "stop", "side": "sell", "stop_price": "90", "time_in_force": "gtc"}


class Day:
    """Two orders are open at the venue: one to buy, and the stop that protects what was bought before."""

    def __init__(self, server: Server, venue: Venue) -> None:
        self.server, self.venue = server, venue
        self.engine = Caller(server.url, server.add_token("momentum", "engine"))
        self.operator = Caller(server.url, server.add_token("olga", "operator"))
        self.limit, self.stop = self.send(type="limit", limit_price="100"), self.send(**STOP)

    def send(self, **changes: Any) -> str:
        made = self.engine.post("/orders", body(**changes)).json
        assert made["status"] == "accepted", made
        return str(made["id"])

    def status(self, order_id: str) -> str:
        return str(self.engine.get(f"/orders/{order_id}").json["status"])

    def there(self, order_id: str) -> str:
        [order] = self.venue.known(f"cs-{order_id}")
        return str(order["status"])


@pytest.fixture
def day(server: Server, venue_behind: Venue) -> Day:
    return Day(server, venue_behind)


def test_a_halt_says_what_is_open_and_leaves_it_alone(day: Day) -> None:
    answer = day.operator.put("/mode", HALT).json
    assert {key: answer[key] for key in ("trading_mode", "sending", "unknown", "open_orders_total")} == {
        "trading_mode": "disabled",
        "sending": 0,
        "unknown": 0,
        "open_orders_total": 2,
    }
    assert [(order["id"], order["protective"]) for order in answer["open_orders"]] == [
        (day.limit, False),
        (day.stop, True),
    ]
    assert "canceled_orders" not in answer
    time.sleep(1.5)
    assert (day.there(day.limit), day.there(day.stop)) == ("new", "new")


def test_the_page_and_the_state_say_it_too(day: Day) -> None:
    day.operator.put("/mode", HALT)
    state = day.operator.get("/state").json
    assert state["venue"]["open_orders_total"] == 2
    assert [order["status"] for order in state["venue"]["open_orders"]] == ["accepted", "accepted"]


def test_the_second_step_cancels_all_but_protective_stops(day: Day) -> None:
    day.operator.put("/mode", HALT)
    answer = day.operator.put("/mode", CANCEL).json
    assert [(order["id"], order["status"], order["ended"]) for order in answer["canceled_orders"]] == [
        (day.limit, "venue_canceled", True)
    ]
    assert [order["id"] for order in answer["open_orders"]] == [day.stop]
    assert (day.there(day.limit), day.there(day.stop)) == ("canceled", "new")
    events = day.server.sql(
        "SELECT actor, subject FROM audit_events WHERE action = 'order.cancel_at_venue' ORDER BY id"
    )
    assert events == [("olga", day.limit)]


def test_it_can_be_one_step(day: Day) -> None:
    answer = day.operator.put("/mode", CANCEL).json
    assert answer["trading_mode"] == "disabled"
    assert [order["ended"] for order in answer["canceled_orders"]] == [True]


def test_a_protective_stop_goes_where_it_is_named(day: Day) -> None:
    answer = day.operator.put("/mode", CANCEL | {"protective_stops": [day.stop]}).json
    assert {order["id"] for order in answer["canceled_orders"]} == {day.limit, day.stop}
    assert answer["open_orders"] == []
    assert (day.there(day.limit), day.there(day.stop)) == ("canceled", "canceled")


def test_it_can_be_named_in_capitals(day: Day) -> None:
    answer = day.operator.put("/mode", CANCEL | {"protective_stops": [day.stop.upper()]}).json
    assert answer["not_open"] == []
    assert day.there(day.stop) == "canceled"


@pytest.mark.parametrize("named", ["no", [5], ["no"]])
def test_stops_that_cannot_be_read_stay_and_all_else_is_canceled(day: Day, named: Any) -> None:
    answer = day.operator.put("/mode", CANCEL | {"protective_stops": named})
    assert (answer.status, [*answer.json["ignored"]]) == (200, ["protective_stops"])
    assert day.operator.get("/mode").json == {"trading_mode": "disabled"}
    assert (day.there(day.limit), day.there(day.stop)) == ("canceled", "new")


def test_nothing_is_canceled_where_it_cannot_be_read_whether_to(day: Day) -> None:
    answer = day.operator.put("/mode", CANCEL | {"cancel_open_orders": "yes", "protective_stops": [day.stop]})
    assert (answer.status, [*answer.json["ignored"]]) == (200, ["cancel_open_orders"])
    assert "canceled_orders" not in answer.json
    assert (day.there(day.limit), day.there(day.stop)) == ("new", "new")


def test_names_of_what_is_not_open_are_told(day: Day) -> None:
    nobodys = "00000000-0000-4000-8000-000000000000"
    answer = day.operator.put("/mode", CANCEL | {"protective_stops": [nobodys, nobodys]}).json
    assert answer["not_open"] == [nobodys]
    assert day.there(day.stop) == "new"
    again = day.operator.put("/mode", CANCEL | {"protective_stops": [day.limit, day.stop]}).json
    assert again["not_open"] == [day.limit]


def test_a_venue_that_does_not_answer_does_not_keep_a_halt_waiting(day: Day) -> None:
    day.venue.slow = 5.0
    began = time.monotonic()
    answer = day.operator.put("/mode", CANCEL)
    took = time.monotonic() - began
    assert (answer.status, answer.json["trading_mode"]) == (200, "disabled")
    assert [order["ended"] for order in answer.json["canceled_orders"]] == [False]
    assert took < 4
    day.venue.slow = 0.0
    until(lambda: day.there(day.limit) == "canceled", 30, "nobody asks for its end again")
    until(lambda: day.status(day.limit) == "venue_canceled", 30)
    assert day.there(day.stop) == "new"


def test_what_was_filled_meanwhile_is_said(day: Day) -> None:
    day.venue.fill(f"cs-{day.limit}", "10", "99.5")
    answer = day.operator.put("/mode", CANCEL).json
    [order] = answer["canceled_orders"] or [day.engine.get(f"/orders/{day.limit}").json | {"ended": True}]
    assert (order["status"], order["ended"], order["filled_qty"]) == ("filled", True, "10")


def test_without_a_venue_the_answer_is_as_before(desk: Any, operator: Any) -> None:
    answer = operator.put("/mode", CANCEL | {"protective_stops": []})
    assert (answer.status_code, answer.json) == (200, {"trading_mode": "disabled", "ignored": {}})
    assert "venue" not in operator.get("/state").json


def test_what_was_not_confirmed_ends_though_the_process_that_was_asked_is_gone(day: Day) -> None:
    """All are marked before the first is spoken of."""
    order_ids = [day.limit, *(day.send(type="limit", limit_price="100") for _ in range(19))]
    day.venue.slow = 1.0
    answer = day.operator.put("/mode", CANCEL).json
    assert {order["id"] for order in answer["canceled_orders"]} == set(order_ids)
    assert all(order["cancel_asked_at"] for order in answer["canceled_orders"])
    for worker in psutil.Process(day.server.process.pid).children():
        worker.kill()
    day.venue.slow = 0.0
    until(lambda: {day.there(order_id) for order_id in order_ids} == {"canceled"}, 60)
    assert day.there(day.stop) == "new"


def test_a_halt_counts_and_names_what_is_on_its_way(day: Day) -> None:
    day.venue.hangs_up = True
    sent = day.engine.post("/orders", body()).json
    assert sent["status"] == "sending"
    day.venue.fails = 503
    answer = day.operator.put("/mode", HALT).json
    assert (answer["sending"], answer["unknown"]) == (1, 0)
    assert [(order["id"], order["venue_order_id"]) for order in answer["on_the_way"]] == [
        (sent["id"], f"cs-{sent['id']}")
    ]


def test_an_engine_withdraws_all_that_is_open_of_its_own(day: Day) -> None:
    for _ in range(30):
        day.send(type="limit", limit_price="100")
    day.operator.put("/approval-config", {"auto_approve_paper": False})
    waits = day.engine.post("/orders", body()).json
    day.venue.slow = 0.5
    began = time.monotonic()
    results = day.engine("DELETE", "//v2/orders").json
    assert {result["status"] for result in results} == {200}
    assert len(results) == 33
    assert time.monotonic() - began < 20
    assert day.status(waits["id"]) == "canceled"
    day.venue.slow = 0.0
    until(lambda: {order["status"] for order in day.venue.orders.values()} == {"canceled"}, 60)
