"""What is at the venue shows on the page, and after a halt a second step ends it there."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect
from sqlalchemy.engine import URL

from app.web.api.trading import OUTSTANDING
from tests.at_once import Caller, until
from tests.browser.conftest import DESKTOP, PHONE, Complaints, OpenPage, Profiles, SignIn
from tests.browser.parts import announced, answer, awake, card, decisions, dialog, expect_mode
from tests.browser.reflow import faults
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
    expect(decisions(desk_page).first).to_contain_text("now: working")
    venue.fill(f"cs-{made['id']}", "4", "99.5")
    expect(there(desk_page, "AAPL")).to_contain_text("Partly filled")
    expect(there(desk_page, "AAPL")).to_contain_text("4 filled at 99.50")
    venue.fill(f"cs-{made['id']}", "6", "99.6")
    expect(there(desk_page, "AAPL")).to_be_hidden()
    expect(decisions(desk_page).first).to_contain_text("now: filled")
    expect(alarm(desk_page)).to_be_hidden()


@pytest.mark.usefixtures("limit", "stop")
def test_a_halt_says_what_is_left_and_the_second_step_leaves_stops_alone(desk_page: Page, venue: Venue) -> None:
    expect(there(desk_page, "MSFT")).to_contain_text("stop order")
    expect(alarm(desk_page)).to_be_hidden()
    desk_page.get_by_role("button", name="Halt trading").click()
    expect_mode(desk_page, "HALTED")
    expect(announced(desk_page, "2 orders are still open at the venue.")).to_be_visible()
    expect(alarm(desk_page).get_by_role("alert")).to_contain_text(
        ["Trading is halted, but orders are still open at the venue."]
    )
    expect(alarm(desk_page)).to_contain_text("2 open: 1 stop order.")
    cancel_button(desk_page).click()
    expect(dialog(desk_page)).to_contain_text("Cancel 1 order at the venue?")
    expect(dialog(desk_page)).to_contain_text("Buy 10 AAPL.")
    expect(
        dialog(desk_page).get_by_role("checkbox", name=re.compile("sell 10 MSFT, stop 90.00"))
    ).not_to_be_checked()
    answer(desk_page, "Cancel at the venue")
    expect(announced(desk_page, "1 order ended at the venue (buy 10 AAPL: canceled at venue).")).to_be_visible()
    expect(there(desk_page, "AAPL")).to_be_hidden()
    expect(alarm(desk_page)).to_contain_text("Only stop orders are left at the venue. 1 open.")
    expect(alarm(desk_page).get_by_role("button", name="Choose stops to cancel…")).to_be_visible()
    assert sorted(order["status"] for order in venue.orders.values()) == ["canceled", "new"]


@pytest.mark.usefixtures("limit", "stop")
def test_a_stop_goes_where_it_is_chosen(desk_page: Page, venue: Venue) -> None:
    desk_page.get_by_role("button", name="Halt trading").click()
    cancel_button(desk_page).click()
    dialog(desk_page).get_by_role("checkbox").check()
    answer(desk_page, "Cancel at the venue")
    expect(announced(desk_page, "2 orders ended at the venue")).to_be_visible()
    expect(alarm(desk_page)).to_be_hidden()
    expect(card(desk_page, "At the venue").get_by_role("heading")).to_be_focused()
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


@pytest.mark.usefixtures("limit", "stop")
def test_nothing_of_it_is_cut_off_in_narrow_windows_or_with_large_text(desk_page: Page) -> None:
    desk_page.get_by_role("button", name="Halt trading").click()
    expect(cancel_button(desk_page)).to_be_visible()
    expect(there(desk_page, "AAPL")).to_be_visible()
    desk_page.locator(".toast").click()  # it lies over the page for a few seconds, until it is pressed
    assert faults(desk_page) == []


@pytest.mark.usefixtures("limit")
def test_no_changes_nothing(desk_page: Page, venue: Venue) -> None:
    desk_page.get_by_role("button", name="Halt trading").click()
    cancel_button(desk_page).click()
    expect(dialog(desk_page).get_by_role("button", name="Leave them open")).to_be_focused()
    answer(desk_page, "Leave them open")
    expect(alarm(desk_page)).to_contain_text("1 open.")
    assert [order["status"] for order in venue.orders.values()] == ["new"]


@pytest.mark.usefixtures("limit")
def test_a_venue_that_is_silent_is_said(desk_page: Page, venue: Venue) -> None:
    desk_page.get_by_role("button", name="Halt trading").click()
    expect_mode(desk_page, "HALTED")
    venue.slow = 6.0
    cancel_button(desk_page).click()
    answer(desk_page, "Cancel at the venue")
    expect(alarm(desk_page).get_by_role("button", name="Asking the venue…")).to_be_visible()
    expect(announced(desk_page, "The end of 1 order was asked for")).to_be_visible()
    expect(there(desk_page, "AAPL")).to_contain_text(re.compile(r"Cancel asked \d\d:\d\d:\d\d"))
    expect(alarm(desk_page)).to_contain_text("1 open: 1 of them asked to be canceled, not confirmed.")
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
    expect(alarm(page)).to_contain_text("2 open: 1 stop order.")
    expect(cancel_button(page)).to_have_count(0)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def lose(server: Server, *order_ids: str, status: str = "unknown") -> None:
    """As if nobody could tell whether they are there, and nobody looked for them for an hour."""
    for order_id in order_ids:
        server.sql(
            "UPDATE orders SET status = %s, sent_at = now(), try_at = now() + interval '1 h' WHERE id = %s",
            status,
            order_id,
        )


def test_what_nobody_knows_is_said_loudly_and_named(desk_page: Page, server: Server, limit: str) -> None:
    lose(server, limit)
    desk_page.reload()
    said = "It is UNKNOWN whether 1 order is at the venue"
    expect(alarm(desk_page)).to_contain_text(f"{said}: buy 10 AAPL (cs-{limit[:8]}…): search for it at the broker")
    expect(cancel_button(desk_page)).to_be_hidden()
    here = card(desk_page, "At the venue")
    expect(here).to_contain_text("1 order UNKNOWN")
    expect(here.get_by_text("No order is open at the venue.")).to_be_hidden()
    expect(there(desk_page, "AAPL")).to_contain_text("UNKNOWN")
    expect(there(desk_page, "AAPL")).to_contain_text(f"cs-{limit}")


def test_what_may_be_there_can_be_ended_too(desk_page: Page, server: Server, limit: str, stop: str) -> None:
    lose(server, limit, stop)
    desk_page.get_by_role("button", name="Halt trading").click()
    cancel_button(desk_page).click()
    expect(dialog(desk_page)).to_contain_text("1 order that may be there: buy 10 AAPL.")
    expect(
        dialog(desk_page).get_by_role("checkbox", name="sell 10 MSFT, stop 90.00 (may be there)")
    ).to_be_visible()
    answer(desk_page, "Cancel at the venue")
    expect(there(desk_page, "AAPL")).to_be_hidden()
    expect(there(desk_page, "MSFT")).to_be_visible()


@pytest.mark.usefixtures("limit")
def test_an_open_question_says_what_came_since(
    desk_page: Page, server: Server, venue: Venue, engine: Caller
) -> None:
    venue.after = 1.0
    late = threading.Thread(
        target=engine.post, args=("/orders", body(ticker="LATE", type="limit", limit_price="100"))
    )
    late.start()
    until(lambda: server.sql("SELECT 1 FROM orders WHERE ticker = 'LATE'") != [], 20)
    desk_page.get_by_role("button", name="Halt trading").click()
    cancel_button(desk_page).click()
    late.join()
    [[made]] = server.sql("SELECT id FROM orders WHERE ticker = 'AAPL'")
    venue.fill(f"cs-{made}", "10", "99.5")
    expect(dialog(desk_page)).to_contain_text("By now 1 order is open: buy 10 LATE.")
    answer(desk_page, "Cancel at the venue")
    expect(announced(desk_page, "buy 10 LATE: canceled at venue")).to_be_visible()


def test_the_venues_own_words_are_on_the_page(
    open_page: OpenPage, sign_in: SignIn, venue: Venue, engine: Caller
) -> None:
    venue.rejects = {"code": 40310000, "message": "insufficient buying power <img src=x>\u202e"}
    engine.post("/orders", body(ticker="META", type="limit", limit_price="100"))
    for with_script in (True, False):
        page = open_page(java_script_enabled=with_script)
        sign_in(page)
        expect(decisions(page).first).to_contain_text("the venue: insufficient buying power <img src=x>[U+202E]")
        expect(decisions(page).first).to_contain_text("now: rejected by venue")
        expect(decisions(page).first.locator("img")).to_have_count(0)


def test_a_released_order_that_cannot_go_out_does_not_look_done(
    desk_page: Page, venue: Venue, engine: Caller
) -> None:
    venue.fails = 429
    engine.post("/orders", body(ticker="SLOW", type="limit", limit_price="100"))
    expect(decisions(desk_page).first).to_contain_text(re.compile(r"not sent yet \(until \d\d:\d\d:\d\d\)"))
    expect(decisions(desk_page).first).to_contain_text("not sent: the venue is out of order")
    expect(card(desk_page, "At the venue")).to_contain_text("1 order released, not sent yet")
    expect(announced(desk_page, "Buy 10 SLOW was released, but could not be sent in time")).to_be_visible(
        timeout=40_000
    )


@pytest.mark.usefixtures("limit")
def test_where_the_answer_cannot_tell_what_is_there_nothing_is_taken_for_ended(
    desk_page: Page, complaints: Complaints
) -> None:
    complaints.expect("ERR_FAILED")
    desk_page.get_by_role("button", name="Halt trading").click()
    expect(cancel_button(desk_page)).to_be_visible()
    nothing = dict.fromkeys(OUTSTANDING)
    desk_page.route("**/mode", lambda route: route.fulfill(json={"trading_mode": "disabled", **nothing}))
    desk_page.route("**/state", lambda route: route.abort())
    desk_page.evaluate("window.dispatchEvent(new Event('focus'))")
    expect(desk_page.get_by_text("Live updates lost")).to_be_visible()  # no read that could tell is under way
    cancel_button(desk_page).click()
    answer(desk_page, "Cancel at the venue")
    expect(alarm(desk_page)).to_contain_text("What is at the venue cannot be told now")
    expect(there(desk_page, "AAPL")).to_be_visible()


@pytest.mark.usefixtures("limit")
def test_a_venue_that_has_gone_away_is_said_with_since_when(desk_page: Page, venue: Venue) -> None:
    try:
        venue.go_away()
        since = re.compile(r"as of \d\d:\d\d:\d\d UTC; the venue has not answered since", re.IGNORECASE)
        expect(card(desk_page, "At the venue")).to_contain_text(since, timeout=60_000)
        expect(alarm(desk_page)).to_contain_text(since)
    finally:
        venue.come()
    expect(alarm(desk_page)).to_be_hidden(timeout=60_000)


def test_without_a_script_what_is_left_is_said_and_can_be_ended(
    open_page: OpenPage, sign_in: SignIn, server: Server, venue: Venue, limit: str, stop: str
) -> None:
    server.sql("UPDATE risk_configs SET trading_mode = 'disabled'")
    page = open_page(java_script_enabled=False)
    sign_in(page)
    expect(alarm(page)).to_contain_text("Trading is halted, but orders are still open at the venue.")
    expect(alarm(page)).to_contain_text("2 open: 1 stop order.")
    cancel_button(page).click()
    expect(page.get_by_role("listitem")).to_have_text(["buy 10 AAPL"])
    page.get_by_role("checkbox", name="sell 10 MSFT, stop 90.00").check()
    page.get_by_role("button", name="Cancel at the venue").click()
    expect(announced(page, "The end of 2 orders was asked for at the venue; ended so far: 2.")).to_be_visible()
    assert {order["status"] for order in venue.orders.values()} == {"canceled"}
    assert limit != stop


def test_without_a_script_the_alarm_is_never_empty(
    open_page: OpenPage, sign_in: SignIn, server: Server, limit: str
) -> None:
    lose(server, limit, status="sending")
    server.sql("UPDATE risk_configs SET trading_mode = 'disabled'")
    page = open_page(java_script_enabled=False)
    sign_in(page)
    expect(alarm(page)).to_contain_text("Trading is halted, but orders were on the way to the venue.")
    expect(there(page, "AAPL")).to_contain_text("Being sent")


def test_drawn_by_the_server_or_by_the_script_it_reads_the_same(
    open_page: OpenPage, sign_in: SignIn, server: Server, engine: Caller, limit: str, stop: str
) -> None:
    """Nothing is read out anew, and nothing moves, when the script takes over."""
    others = [
        engine.post("/orders", body(ticker=name, type="limit", limit_price="100")).json["id"]
        for name in ("A", "B")
    ]
    lose(server, others[0])
    lose(server, others[1], status="sending")
    server.sql("UPDATE risk_configs SET trading_mode = 'disabled'")
    assert limit != stop

    def seen(script: bool) -> list[str]:
        page = open_page(java_script_enabled=script)
        sign_in(page)
        if script:
            awake(page)
        return [" ".join(part.inner_text().split()) for part in (alarm(page), card(page, "At the venue"))]

    assert seen(script=True) == seen(script=False)
