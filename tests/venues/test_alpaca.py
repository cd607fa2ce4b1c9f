"""The adapter for Alpaca says what is known after each try, and no more than that."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from app.domain.order_status import OrderStatus
from app.services.execution.brokers.alpaca import STATUSES, Alpaca
from app.services.execution.brokers.base import NoAnswer, NotSent, Refused, VenueOrder
from tests.venues.stand_in import KEY, Venue, standing_in

PATIENCE = 1.0
PAGE = 500  # orders, the most that Alpaca lists at once


@pytest.fixture
def venue() -> Iterator[Venue]:
    with standing_in() as venue:
        yield venue


@pytest.fixture
def alpaca(venue: Venue) -> Iterator[Alpaca]:
    with closing(Alpaca(venue.account, "paper", PATIENCE)) as made:
        yield made


def order(number: int = 1, **changes: Any) -> VenueOrder:
    values = {"type": "market", "qty": Decimal(10)} | changes
    return VenueOrder(f"cs-{number}", "AAPL", "buy", time_in_force="day", **values)


def test_an_order_is_placed_with_exact_numbers(venue: Venue, alpaca: Alpaca) -> None:
    report = alpaca.send(order(type="limit", qty=Decimal("0.000000001"), limit_price=Decimal("100000000.10")))
    [placed] = venue.known("cs-1")
    assert (placed["qty"], placed["limit_price"], placed["notional"]) == ("0.000000001", "100000000.1", None)
    assert (report.client_order_id, report.status, report.venue_id) == ("cs-1", OrderStatus.ACCEPTED, placed["id"])


def test_a_second_one_with_the_same_id_is_found_and_not_placed(venue: Venue, alpaca: Alpaca) -> None:
    first = alpaca.send(order())
    venue.fill("cs-1", "10", "151.25")
    again = alpaca.send(order())
    assert (again.venue_id, again.status) == (first.venue_id, OrderStatus.FILLED)
    assert (again.filled_qty, again.filled_avg_price) == (10, Decimal("151.25"))
    assert len(venue.orders) == 1


def test_a_rejection_is_told_as_the_venue_gave_it(venue: Venue, alpaca: Alpaca) -> None:
    venue.rejects = {"code": 40310000, "message": "insufficient buying power"}
    report = alpaca.send(order())
    assert report.status is OrderStatus.VENUE_REJECTED
    assert "insufficient buying power" in report.words
    assert report.venue_id is None


def test_what_was_accepted_without_a_word_is_not_known(venue: Venue, alpaca: Alpaca) -> None:
    venue.hangs_up = True
    with pytest.raises(NoAnswer):
        alpaca.send(order())
    found = alpaca.find("cs-1")
    assert found
    assert found.status is OrderStatus.ACCEPTED


def test_what_takes_too_long_is_not_known(venue: Venue, alpaca: Alpaca) -> None:
    venue.after = 3 * PATIENCE
    began = time.monotonic()
    with pytest.raises(NoAnswer):
        alpaca.send(order())
    assert time.monotonic() - began < 2.5 * PATIENCE
    assert len(venue.orders) == 1


@pytest.mark.parametrize("status", [408, 500, 502, 503, 504])
def test_a_failure_of_the_venue_is_not_known(venue: Venue, alpaca: Alpaca, status: int) -> None:
    venue.fails = status
    with pytest.raises(NoAnswer):
        alpaca.send(order())


@pytest.mark.parametrize("status", [401, 429])
def test_what_was_turned_away_was_not_sent(venue: Venue, alpaca: Alpaca, status: int) -> None:
    venue.fails = status
    with pytest.raises(NotSent):
        alpaca.send(order())


def test_without_a_connection_nothing_was_sent(venue: Venue, alpaca: Alpaca) -> None:
    venue.go_away()
    for ask in (lambda: alpaca.send(order()), lambda: alpaca.find("cs-1"), alpaca.open_orders):
        with pytest.raises(NotSent):
            ask()
    venue.come()
    assert alpaca.send(order()).status is OrderStatus.ACCEPTED


def test_it_says_that_there_is_none(alpaca: Alpaca) -> None:
    assert alpaca.find("cs-1") is None


@pytest.mark.parametrize("status", [404, 500])
def test_only_the_venue_itself_can_say_that_there_is_none(
    venue: Venue, alpaca: Alpaca, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy in between that knows no such address knows nothing of orders."""
    monkeypatch.setattr(venue, "look", lambda *_: (status, "<html>not here</html>"))
    with pytest.raises(NoAnswer):
        alpaca.find("cs-1")


@pytest.mark.parametrize(
    "answer", [None, [], {}, {"id": "1", "client_order_id": "cs-1", "status": "dancing"}, 1.5]
)
def test_an_answer_that_makes_no_sense_is_none(
    venue: Venue, alpaca: Alpaca, answer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(venue, "place", lambda _: (200, answer))
    with pytest.raises(NoAnswer):
        alpaca.send(order())


def test_all_that_are_open_are_listed_page_by_page(venue: Venue, alpaca: Alpaca) -> None:
    for number in range(PAGE + 5):
        venue.place({"client_order_id": f"cs-{number}", "qty": "1"})
    venue.end("cs-3", "filled")
    listed = [report.client_order_id for report in alpaca.open_orders()]
    assert sorted(listed) == sorted(f"cs-{number}" for number in range(PAGE + 5) if number != 3)


def test_it_is_canceled_and_what_has_ended_is_not(venue: Venue, alpaca: Alpaca) -> None:
    report = alpaca.send(order())
    assert report.venue_id
    alpaca.cancel(report.venue_id)
    found = alpaca.find("cs-1")
    assert found
    assert found.status is OrderStatus.VENUE_CANCELED
    for wrong in (report.venue_id, "nothing"):
        with pytest.raises(Refused):
            alpaca.cancel(wrong)


def test_every_word_of_alpacas_has_a_status() -> None:
    """https://docs.alpaca.markets/docs/orders-at-alpaca#order-lifecycle"""
    assert set(STATUSES) == {
        *(
            "new",
            "partially_filled",
            "filled",
            "done_for_day",
            "canceled",
            "expired",
            "replaced",
            "pending_cancel",
        ),
        *("pending_replace", "pending_review", "accepted", "pending_new", "accepted_for_bidding", "stopped"),
        *("rejected", "suspended", "calculated", "held"),
    }


def test_what_it_says_of_itself_is_handed_on(alpaca: Alpaca) -> None:
    answer = alpaca.read("/account", {})
    assert answer.status == 200
    assert b'"ACTIVE"' in answer.body


def test_the_key_is_not_written_anywhere(alpaca: Alpaca, venue: Venue) -> None:
    account = venue.account
    assert KEY["APCA-API-SECRET-KEY"] not in repr(account) + repr(alpaca) + repr(vars(alpaca))


def test_a_duplicate_that_cannot_be_found_yet_is_not_rejected(
    venue: Venue, alpaca: Alpaca, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That it is refused as a duplicate proves that it is there."""
    alpaca.send(order())
    look = venue.look
    not_found = (404, {"code": 40410000, "message": "order not found"})
    monkeypatch.setattr(
        venue, "look", lambda method, path, query: not_found if "by_client" in path else look(method, path, query)
    )
    with pytest.raises(NoAnswer):
        alpaca.send(order())


def test_an_answer_about_another_order_is_none(
    venue: Venue, alpaca: Alpaca, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = venue.place
    monkeypatch.setattr(venue, "place", lambda body: (200, place(body)[1] | {"client_order_id": "cs-2"}))
    with pytest.raises(NoAnswer):
        alpaca.send(order())


@pytest.mark.parametrize("status", [301, 302, 307])
def test_a_redirect_is_no_rejection(status: int, venue: Venue, alpaca: Alpaca) -> None:
    venue.fails = status
    with pytest.raises(NoAnswer):
        alpaca.send(order())


def test_a_list_without_end_is_given_up(venue: Venue, alpaca: Alpaca, monkeypatch: pytest.MonkeyPatch) -> None:
    one = {"status": "new", "filled_qty": "0", "submitted_at": "2026-03-02T10:00:00Z"}
    page = [{**one, "id": str(number), "client_order_id": f"x{number}"} for number in range(PAGE)]
    monkeypatch.setattr(venue, "look", lambda method, path, query: (200, page))
    with pytest.raises(NoAnswer, match="does not end"):
        alpaca.open_orders()


def test_an_order_of_others_that_makes_no_sense_is_left_out(venue: Venue, alpaca: Alpaca) -> None:
    alpaca.send(order())
    alpaca.send(order(2))
    [theirs] = venue.known("cs-2")
    theirs["filled_qty"] = "many"
    assert [report.client_order_id for report in alpaca.open_orders()] == ["cs-1"]


def test_an_answer_without_end_is_given_up(venue: Venue, alpaca: Alpaca, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.services.execution.brokers.alpaca.LARGEST", 1000)
    monkeypatch.setattr(venue, "look", lambda method, path, query: (200, ["x" * 2000]))
    with pytest.raises(NoAnswer, match="too large"):
        alpaca.open_orders()


@pytest.mark.parametrize("words", ["pending_cancel", "done_for_day", "calculated"])
def test_what_is_filled_in_parts_stays_so_whatever_else_is_said(words: str, venue: Venue, alpaca: Alpaca) -> None:
    alpaca.send(order())
    venue.fill("cs-1", "4", "151")
    venue.end("cs-1", words)
    report = alpaca.find("cs-1")
    assert report
    assert (report.status, report.filled_qty, report.ending) == (
        OrderStatus.PARTIALLY_FILLED,
        4,
        words == "pending_cancel",
    )


def test_an_instant_is_read_to_the_microsecond(venue: Venue, alpaca: Alpaca) -> None:
    alpaca.send(order())
    venue.known("cs-1")[0]["updated_at"] = "2026-03-02T10:00:00.123456789Z"
    report = alpaca.find("cs-1")
    assert report
    assert report.at == datetime(2026, 3, 2, 10, 0, 0, 123456, UTC)


def test_a_rejection_is_words_that_can_be_written_down(venue: Venue, alpaca: Alpaca) -> None:
    venue.rejects = {"code": 40310000, "message": "no\0no"}
    report = alpaca.send(order())
    assert "\0" not in report.words
