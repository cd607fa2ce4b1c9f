"""What is at the venue shows on the page, and after a halt a second step ends it there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect
from sqlalchemy.engine import URL

from tests.at_once import Caller
from tests.browser.conftest import DESKTOP, PHONE, OpenPage, Profiles, SignIn
from tests.browser.parts import announced, answer, awake, card, decisions, dialog, expect_mode
from tests.browser.test_accessibility import check
from tests.desk.orders import body
from tests.serving import Server
from tests.venues.behind import Both, desk_before_a_venue
from tests.venues.stand_in import Venue


@pytest.fixture(scope="module")
def both(postgres_server: URL, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    with desk_before_a_venue(postgres_server, tmp_path_factory.mktemp("page")) as made:
        yield made


@pytest.fixture(scope="module")
def profiles(chromium: Browser, both: Both) -> Profiles:
    return Profiles(chromium, both[0].url)


@pytest.fixture
def venue(both: Both) -> Venue:
    both[1].forget()
    return both[1]


@pytest.fixture
def server(both: Both, venue: Venue) -> Server:
    both[0].reset()
    return both[0]


@pytest.fixture
def engine(server: Server) -> Caller:
    return Caller(server.url, server.add_token("momentum", "engine"))


@pytest.fixture
def limit(engine: Caller) -> str:
    made = engine.post("/orders", body(ticker="AAPL", type="limit", limit_price="100")).json
    assert made["status"] == "accepted"
    return str(made["id"])


@pytest.fixture
def stop(engine: Caller) -> str:
    made = engine.post("/orders", body(ticker="MSFT", side="sell", type="stop", stop_price="90")).json
    assert made["status"] == "accepted"
    return str(made["id"])


def there(page: Page, ticker: str) -> Locator:
    return (
        card(page, "At the venue")
        .get_by_role("row")
        .filter(has=page.get_by_text(ticker, exact=True))
        .filter(has=page.get_by_role("cell"))
    )


def alarm(page: Page) -> Locator:
    return card(page, "Orders at the venue")


def cancel_button(page: Page) -> Locator:
    return alarm(page).get_by_role("button", name="Cancel them there…")


def test_an_order_shows_there_until_it_is_filled(desk_page: Page, venue: Venue, engine: Caller) -> None:
    expect(card(desk_page, "At the venue")).to_contain_text("No order is open at the venue.")
    made = engine.post("/orders", body(ticker="AAPL", type="limit", limit_price="100")).json
    expect(there(desk_page, "AAPL")).to_contain_text("nothing filled")
    expect(decisions(desk_page).first).to_contain_text("Working")
    venue.fill(f"cs-{made['id']}", "4", "99.5")
    expect(there(desk_page, "AAPL")).to_contain_text("Partly filled")
    expect(there(desk_page, "AAPL")).to_contain_text("4 filled at 99.50")
    venue.fill(f"cs-{made['id']}", "6", "99.6")
    expect(there(desk_page, "AAPL")).to_be_hidden()
    expect(decisions(desk_page).first).to_contain_text("Filled")
    expect(alarm(desk_page)).to_be_hidden()


@pytest.mark.usefixtures("limit", "stop")
def test_a_halt_says_what_is_left_and_the_second_step_leaves_stops_alone(desk_page: Page, venue: Venue) -> None:
    expect(there(desk_page, "MSFT")).to_contain_text("protective stop")
    expect(alarm(desk_page)).to_be_hidden()
    desk_page.get_by_role("button", name="Halt trading").click()
    expect_mode(desk_page, "HALTED")
    expect(alarm(desk_page)).to_contain_text("Trading is halted, but 2 orders are still open at the venue.")
    cancel_button(desk_page).click()
    expect(dialog(desk_page)).to_contain_text("Cancel 1 order at the venue?")
    expect(dialog(desk_page)).to_contain_text("Buy 10 AAPL.")
    expect(
        dialog(desk_page).get_by_role("checkbox", name=re.compile("sell 10 MSFT, stop 90.00"))
    ).not_to_be_checked()
    answer(desk_page, "Cancel at the venue")
    expect(announced(desk_page, "1 order ended at the venue (buy 10 AAPL: canceled at venue).")).to_be_visible()
    expect(there(desk_page, "AAPL")).to_be_hidden()
    expect(alarm(desk_page)).to_contain_text("1 order is still open at the venue.")
    assert sorted(order["status"] for order in venue.orders.values()) == ["canceled", "new"]


@pytest.mark.usefixtures("limit", "stop")
def test_a_stop_goes_where_it_is_chosen(desk_page: Page, venue: Venue) -> None:
    desk_page.get_by_role("button", name="Halt trading").click()
    cancel_button(desk_page).click()
    dialog(desk_page).get_by_role("checkbox").check()
    answer(desk_page, "Cancel at the venue")
    expect(announced(desk_page, "2 orders ended at the venue")).to_be_visible()
    expect(alarm(desk_page)).to_be_hidden()
    assert {order["status"] for order in venue.orders.values()} == {"canceled"}


@pytest.mark.usefixtures("limit", "stop")
@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["1440", "390"])
def test_everybody_can_use_it(open_page: OpenPage, sign_in: SignIn, viewport: Any) -> None:
    page = open_page(viewport=viewport, reduced_motion="reduce")
    sign_in(page)
    page.get_by_role("button", name="Halt trading").click()
    expect(cancel_button(page)).to_be_visible()
    check(page)
    cancel_button(page).click()
    expect(dialog(page)).to_be_visible()
    check(page)


@pytest.mark.usefixtures("limit")
def test_no_changes_nothing(desk_page: Page, venue: Venue) -> None:
    desk_page.get_by_role("button", name="Halt trading").click()
    cancel_button(desk_page).click()
    answer(desk_page, "Cancel")
    expect(alarm(desk_page)).to_contain_text("1 order is still open")
    assert [order["status"] for order in venue.orders.values()] == ["new"]


@pytest.mark.usefixtures("limit")
def test_a_venue_that_is_silent_is_said(desk_page: Page, venue: Venue) -> None:
    desk_page.get_by_role("button", name="Halt trading").click()
    expect_mode(desk_page, "HALTED")
    venue.slow = 6.0
    cancel_button(desk_page).click()
    answer(desk_page, "Cancel at the venue")
    expect(announced(desk_page, "1 order not confirmed yet")).to_be_visible()
    venue.slow = 0.0
    expect(there(desk_page, "AAPL")).to_be_hidden(timeout=40_000)


@pytest.mark.usefixtures("limit")
def test_the_question_is_over_where_somebody_goes_on_trading(desk_page: Page, server: Server) -> None:
    desk_page.get_by_role("button", name="Halt trading").click()
    cancel_button(desk_page).click()
    operator = Caller(server.url, server.add_token("otto", "operator"))
    assert operator.put("/mode", {"trading_mode": "paper", "from": "disabled", "reason": "x"}).status == 200
    expect(dialog(desk_page)).to_contain_text("Trading is not halted any more")


@pytest.mark.usefixtures("limit", "stop")
def test_who_may_only_look_sees_it_without_the_button(
    open_page: OpenPage, sign_in: SignIn, server: Server
) -> None:
    server.sql("UPDATE risk_configs SET trading_mode = 'disabled'")
    page = open_page(viewport=PHONE)
    sign_in(page, "viewer")
    awake(page)
    expect(alarm(page)).to_contain_text("2 orders are still open")
    expect(cancel_button(page)).to_have_count(0)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def test_what_nobody_knows_is_said_loudly(desk_page: Page, server: Server, limit: str) -> None:
    server.sql("UPDATE orders SET status = 'unknown', try_at = now() + interval '1 h' WHERE id = %s", limit)
    desk_page.reload()
    expect(alarm(desk_page)).to_contain_text("It is UNKNOWN whether 1 order is at the venue")
    expect(card(desk_page, "At the venue")).to_contain_text("1 order UNKNOWN")
