"""What becomes of orders is heard from the venue's stream as it happens, and asked for where that leaves something
out."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from decimal import Decimal
from threading import Event, Thread
from typing import Any

import pytest
from flask import Flask

from app.domain.order_status import OrderStatus
from app.services.execution.brokers.alpaca import Alpaca
from app.services.execution.brokers.base import NoAnswer, NotSent, VenueOrder
from app.services.execution.dispatcher import Dispatch
from app.services.execution.order_updates import venue_order_id
from app.services.execution.reconciler import Listener
from app.settings import AlpacaAccount
from tests.at_once import Caller, until
from tests.serving import TESTER, Desk, Server
from tests.venues.sending import PATIENCE, Release, actions, status
from tests.venues.stand_in import Venue


@contextmanager
def following(app: Flask, dispatch: Dispatch, venue: Venue) -> Iterator[Listener]:
    end, listener = Event(), Listener(dispatch, "paper")

    def follow() -> None:
        with app.app_context():
            listener.follow(lambda: not end.is_set())

    thread = Thread(target=follow, daemon=True)
    thread.start()
    try:
        until(lambda: venue.listeners and listener.followed)
        yield listener
    finally:
        end.set()
        thread.join(30)
        assert not thread.is_alive()


def test_a_fill_is_heard_without_asking(
    app: Flask, release: Release, dispatch: Dispatch, venue: Venue, desk: Desk
) -> None:
    order_id = release()
    dispatch.forward(order_id, TESTER)
    with following(app, dispatch, venue):
        before = list(venue.asked)
        venue.fill(venue_order_id(order_id), "4", "151")
        until(lambda: status(desk, order_id) == "partially_filled")
        venue.fill(venue_order_id(order_id), "6", "151.5")
        until(lambda: status(desk, order_id) == "filled")
        assert venue.asked == before
    [(qty, price)] = desk.sql("SELECT filled_qty, filled_avg_price FROM orders WHERE id = %s", order_id)
    assert (qty, price) == (10, Decimal("151.5"))


def test_what_happened_before_it_was_listened_to_is_asked_for(
    app: Flask, release: Release, dispatch: Dispatch, venue: Venue, desk: Desk
) -> None:
    order_id = release()
    dispatch.forward(order_id, TESTER)
    venue.fill(venue_order_id(order_id), "10", "151")
    with following(app, dispatch, venue) as listener:
        listener.ask()
    assert status(desk, order_id) == "filled"


def test_while_it_lasts_the_venue_is_seldom_asked(
    app: Flask, release: Release, dispatch: Dispatch, venue: Venue
) -> None:
    dispatch.forward(release(), TESTER)
    with following(app, dispatch, venue) as listener:
        for _ in range(5):
            listener.ask()
        assert venue.asked.count("GET /v2/orders") == 1
    for _ in range(2):
        listener.ask()
    assert venue.asked.count("GET /v2/orders") == 3


def test_older_news_does_not_take_anything_back(
    app: Flask, release: Release, dispatch: Dispatch, venue: Venue, desk: Desk
) -> None:
    order_id = release()
    dispatch.forward(order_id, TESTER)
    [order] = venue.known(venue_order_id(order_id))
    with following(app, dispatch, venue):
        venue.fill(venue_order_id(order_id), "4", "151")
        until(lambda: status(desk, order_id) == "partially_filled")
        venue.tell("partial_fill", {**order, "filled_qty": "1", "status": "partially_filled"})
        venue.tell("new", {**order, "filled_qty": "0", "status": "new"})
        venue.fill(venue_order_id(order_id), "6", "151")
        until(lambda: status(desk, order_id) == "filled")
    assert actions(desk, order_id).count("order.venue") == 3


@pytest.mark.parametrize(
    "told",
    [
        {"client_order_id": "somebody else's"},
        {"client_order_id": "cs-not a number"},
        {"client_order_id": venue_order_id(uuid.UUID(int=7))},
    ],
)
def test_the_orders_of_others_at_the_same_account_are_left_alone(
    told: dict[str, Any], app: Flask, release: Release, dispatch: Dispatch, venue: Venue, desk: Desk
) -> None:
    order_id = release()
    dispatch.forward(order_id, TESTER)
    [order] = venue.known(venue_order_id(order_id))
    with following(app, dispatch, venue):
        venue.tell("fill", {**order, **told, "status": "filled"})
        venue.end(venue_order_id(order_id), "expired")
        until(lambda: status(desk, order_id) == "venue_expired")


@pytest.fixture
def alpaca(venue: Venue) -> Iterator[Alpaca]:
    with closing(Alpaca(venue.account, "paper", PATIENCE)) as made:
        yield made


def test_the_end_of_the_stream_is_told(alpaca: Alpaca, venue: Venue) -> None:
    updates = alpaca.updates()
    assert next(updates) is None
    until(lambda: venue.listeners)
    venue.end_stream()
    with pytest.raises(NoAnswer):
        list(updates)


def test_without_a_stream_that_is_told(alpaca: Alpaca, venue: Venue) -> None:
    venue.end_stream()
    with pytest.raises(NotSent):
        next(alpaca.updates())


def test_a_wrong_key_is_told(venue: Venue) -> None:
    account = AlpacaAccount("somebody", "nothing", venue.url, venue.stream_url)
    with pytest.raises(NotSent, match="does not accept the key"):
        next(Alpaca(account, "paper", PATIENCE).updates())


@pytest.mark.parametrize("message", [b"\xff", b"[1]", b"{}"])
def test_nonsense_ends_it(message: bytes, alpaca: Alpaca, venue: Venue) -> None:
    updates = alpaca.updates()
    assert next(updates) is None
    until(lambda: venue.listeners)
    for line in list(venue.listeners):
        line.send(message)
    with pytest.raises(NoAnswer):
        list(updates)


def test_one_order_that_makes_no_sense_does_not_deafen_for_the_others(alpaca: Alpaca, venue: Venue) -> None:
    updates = alpaca.updates()
    assert next(updates) is None
    until(lambda: venue.listeners)
    alpaca.send(VenueOrder("cs-1", "AAPL", "buy", "market", "day", qty=Decimal(10)))
    for odd in ({"status": "odd"}, {"status": "new", "filled_qty": "NaN"}, {"status": "new", "filled_qty": "-1"}):
        venue.tell("new", {"id": "1", "client_order_id": "theirs", **odd})
    venue.fill("cs-1", "10", "151")
    heard = next(report for report in updates if report is not None)
    assert (heard.client_order_id, heard.status) == ("cs-1", OrderStatus.FILLED)
    updates.close()


def test_the_server_follows_it(server: Server, venue_behind: Venue) -> None:
    """By the real server: its leader hears of a fill although it cannot ask for what is open."""
    engine = Caller(server.url, server.add_token("momentum", "engine"))
    until(lambda: venue_behind.listeners)
    venue_behind.lists_nothing = True
    order = engine.post(
        "/orders", {"client_order_id": "1", "ticker": "AAPL", "side": "buy", "qty": "10", "type": "market"}
    ).json
    assert order["status"] == OrderStatus.ACCEPTED
    venue_behind.fill(venue_order_id(uuid.UUID(order["id"])), "10", "151")
    until(lambda: engine.get(f"/orders/{order['id']}").json["status"] == OrderStatus.FILLED)
