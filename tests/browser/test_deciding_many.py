"""Several orders, one confirmation, and a result for each."""

from __future__ import annotations

import re

from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import AsScript, Complaints, LockOut, SendOrder, SignIn
from tests.browser.parts import (
    PENDING,
    announced,
    answer,
    awake,
    bulk,
    card,
    come,
    dialog,
    heading,
    order,
    select,
    waiting,
)
from tests.serving import Server

CROWDED = 60_000  # milliseconds: a machine that does much besides takes a while to decide and to show a hundred


def open_desk(page: Page, sign_in: SignIn, *tickers: str) -> None:
    sign_in(page)
    awake(page)
    for ticker in tickers:
        select(page, ticker)


def press(page: Page, name: str) -> None:
    bulk(page).get_by_role("button", name=name).click()


def stored(server: Server) -> dict[str, str]:
    return {str(ticker): str(status) for ticker, status in server.sql("SELECT ticker, status FROM orders")}


def test_selecting_says_how_many(page: Page, sign_in: SignIn, send_order: SendOrder) -> None:
    for ticker in ("AAPL", "MSFT", "TSLA"):
        send_order(ticker)
    open_desk(page, sign_in)
    expect(bulk(page)).to_be_hidden()
    select(page, "AAPL")
    expect(bulk(page)).to_contain_text("1 selected")
    every = page.get_by_label("Select all")
    assert every.evaluate("box => box.indeterminate")
    every.check()
    expect(bulk(page)).to_contain_text("3 selected")
    press(page, "Clear")
    expect(bulk(page)).to_be_hidden()
    expect(every).not_to_be_checked()
    expect(order(page, "AAPL").get_by_role("checkbox")).not_to_be_checked()


def test_approving_many_asks_once_and_names_them(
    page: Page, sign_in: SignIn, send_order: SendOrder, server: Server
) -> None:
    send_order("AAPL", reference_price="187.505")
    send_order("MSFT", "sell", notional="5000")
    send_order("TSLA")
    send_order("NVDA")
    open_desk(page, sign_in, "AAPL", "MSFT", "TSLA")
    press(page, "Approve 3")
    expect(dialog(page)).to_contain_text("Approve 3 orders?")
    expect(dialog(page)).to_contain_text("Buy 10 AAPL, sell 5,000.00 notional of MSFT, buy 10 TSLA.")
    expect(dialog(page)).to_contain_text("Together worth 6,875.05, and 1 order of unknown value.")
    answer(page, "Approve 3 orders")
    for ticker in ("AAPL", "MSFT", "TSLA"):
        expect(order(page, ticker)).to_contain_text("Released by olga")
    expect(announced(page, "3 orders approved.")).to_be_visible()
    expect(order(page, "NVDA")).to_be_focused()
    assert stored(server) == dict.fromkeys(("AAPL", "MSFT", "TSLA"), "released") | {"NVDA": "pending_approval"}


def test_one_stale_row_hides_none_of_the_others(
    page: Page, sign_in: SignIn, send_order: SendOrder, as_script: AsScript, server: Server
) -> None:
    ids = {ticker: send_order(ticker) for ticker in ("AAPL", "MSFT", "TSLA")}
    open_desk(page, sign_in, "AAPL", "MSFT", "TSLA")
    press(page, "Approve 3")
    as_script("operator", "POST", f"/approvals/{ids['MSFT']}/reject", {"reason": "no"})
    page.route("**/state", lambda route: None)
    answer(page, "Approve 3 orders")
    expect(order(page, "AAPL")).to_contain_text("Released by olga")
    expect(order(page, "TSLA")).to_contain_text("Released by olga")
    expect(order(page, "MSFT")).to_contain_text(
        re.compile(r"Not approved: the order is rejected already, by script at \d\d:\d\d:\d\d UTC")
    )
    page.unroute("**/state")
    expect(announced(page, "2 orders approved. 1 not: MSFT was rejected by script.")).to_be_visible()
    assert stored(server) == {"AAPL": "released", "MSFT": "rejected", "TSLA": "released"}


def test_those_that_cannot_be_approved_are_left_alone_and_that_is_said(
    page: Page, sign_in: SignIn, send_order: SendOrder, lock_out: LockOut, server: Server
) -> None:
    for ticker in ("AAPL", "MSFT"):
        send_order(ticker)
    lock_out("MSFT")
    open_desk(page, sign_in, "AAPL", "MSFT")
    expect(bulk(page).get_by_role("button", name="Reject 2")).to_be_visible()
    press(page, "Approve 1")
    expect(dialog(page)).to_contain_text("1 of those selected cannot be approved now and is left alone.")
    answer(page, "Approve 1 order")
    expect(order(page, "AAPL")).to_contain_text("Released by olga")
    expect(order(page, "MSFT")).to_be_focused()
    assert stored(server) == {"AAPL": "released", "MSFT": "pending_approval"}


def test_rejecting_many_takes_one_reason(
    page: Page, sign_in: SignIn, send_order: SendOrder, lock_out: LockOut, server: Server, complaints: Complaints
) -> None:
    complaints.expect("status of 422")
    for ticker in ("AAPL", "MSFT"):
        send_order(ticker)
    lock_out("MSFT")
    open_desk(page, sign_in, "AAPL", "MSFT")
    press(page, "Reject 2")
    dialog(page).get_by_label("Reason").fill("x" * 501)
    dialog(page).get_by_role("button", name="Reject 2 orders").click()
    expect(dialog(page).get_by_label("Reason")).to_have_attribute("aria-invalid", "true")
    dialog(page).get_by_label("Reason").fill("the feed is wrong")
    answer(page, "Reject 2 orders")
    expect(announced(page, "2 orders rejected.")).to_be_visible()
    expect(heading(page)).to_be_focused()
    assert server.sql("SELECT DISTINCT status, decision_note FROM orders") == [("rejected", "the feed is wrong")]


def test_a_no_to_the_question_decides_nothing(
    page: Page, sign_in: SignIn, send_order: SendOrder, server: Server
) -> None:
    send_order()
    open_desk(page, sign_in, "AAPL")
    press(page, "Approve 1")
    answer(page, "Cancel")
    expect(bulk(page)).to_contain_text("1 selected")
    assert stored(server) == {"AAPL": "pending_approval"}


def test_with_real_money_the_question_says_so(
    page: Page, sign_in: SignIn, send_order: SendOrder, server: Server
) -> None:
    server.sql("UPDATE risk_configs SET trading_mode = 'live'")
    send_order()
    open_desk(page, sign_in, "AAPL")
    press(page, "Approve 1")
    expect(dialog(page)).to_contain_text("Approve 1 order with REAL MONEY?")
    expect(dialog(page)).to_have_attribute("data-grave", "true")


def crowd(server: Server, many: int) -> None:
    """As many orders as there may be, like the one that an engine sent."""
    server.sql(
        "INSERT INTO orders (account_id, engine, client_order_id, ticker, side, qty, type, time_in_force,"
        " trading_mode, status, expires_at, rationale)"
        " SELECT account_id, engine, 'more-' || n, 'SYM' || n, side, n, type, time_in_force, trading_mode, status,"
        " expires_at + n * interval '1 second', repeat('a long rationale ', 20)"
        " FROM orders, generate_series(1, %s) AS n",
        many,
    )


def test_more_requests_than_one_decide_a_long_list(
    page: Page, sign_in: SignIn, send_order: SendOrder, server: Server
) -> None:
    send_order()
    crowd(server, 119)
    open_desk(page, sign_in)
    sent: list[int] = []
    page.on(
        "request",
        lambda asked: (
            sent.append(len(asked.post_data_json["decisions"]))  # type: ignore[index]
            if asked.url.endswith("/decisions")
            else None
        ),
    )
    page.get_by_label("Select all").check()
    press(page, "Approve 120")
    answer(page, "Approve 120 orders")
    expect(announced(page, "120 orders approved.")).to_be_visible(timeout=CROWDED)
    assert sum(sent) == 120
    assert server.sql("SELECT count(*) FROM orders WHERE status = 'released'") == [(120,)]


def test_the_one_that_was_released_instead_is_seen_among_very_many(
    page: Page, sign_in: SignIn, send_order: SendOrder, as_script: AsScript, server: Server
) -> None:
    first = send_order()
    crowd(server, 149)
    open_desk(page, sign_in)
    page.get_by_label("Select all").check()
    press(page, "Reject 150")
    dialog(page).get_by_label("Reason").fill("the feed is wrong")
    as_script("operator", "POST", f"/approvals/{first}/approve", {})
    expect(order(page, "AAPL")).to_contain_text("Released by script")
    batches: list[Route] = []

    def hold_the_last(route: Route) -> None:
        batches.append(route)
        if len(batches) < 3:
            route.continue_()

    page.route("**/approvals/decisions", hold_the_last)
    answer(page, "Reject 150 orders")
    why = "Not rejected: the order is released already, by script"
    expect(order(page, "AAPL")).to_contain_text(why, timeout=CROWDED)  # while the rest is still under way
    expect(bulk(page)).to_contain_text("100 of 150 decided…", timeout=CROWDED)
    come(page, batches, 3).continue_()
    expect(announced(page, "149 orders rejected. 1 not: AAPL was released by script.")).to_be_visible(
        timeout=CROWDED
    )
    expect(order(page, "AAPL")).to_contain_text(why)
    expect(order(page, "AAPL")).to_contain_text("Released by script")
    assert server.sql("SELECT status, count(*) FROM orders GROUP BY status ORDER BY status") == [
        ("rejected", 149),
        ("released", 1),
    ]


def test_one_that_ended_long_before_the_answer_still_has_a_row_to_say_so(
    page: Page, sign_in: SignIn, send_order: SendOrder, as_script: AsScript
) -> None:
    first = send_order()
    send_order("MSFT")
    open_desk(page, sign_in, "AAPL", "MSFT")
    press(page, "Reject 2")
    dialog(page).get_by_label("Reason").fill("the feed is wrong")
    as_script("operator", "POST", f"/approvals/{first}/approve", {})
    expect(order(page, "AAPL")).to_contain_text("Released by script")
    page.wait_for_timeout(6500)  # longer than a row stays that nobody asked about
    answer(page, "Reject 2 orders")
    expect(order(page, "AAPL")).to_contain_text("Not rejected: the order is released already, by script")


def test_where_a_request_fails_nothing_more_is_decided(
    page: Page, sign_in: SignIn, send_order: SendOrder, server: Server, complaints: Complaints
) -> None:
    complaints.expect("ERR_FAILED")
    send_order()
    crowd(server, 59)
    open_desk(page, sign_in)
    sent: list[str] = []
    page.route("**/approvals/decisions", lambda route: (sent.append(route.request.url), route.abort()))
    page.get_by_label("Select all").check()
    press(page, "Approve 60")
    answer(page, "Approve 60 orders")
    expect(
        announced(page, "0 orders approved. 50 not known: no answer. 10 not tried, still selected.")
    ).to_be_visible()
    expect(order(page, "AAPL")).to_contain_text("It still waits.")
    expect(bulk(page)).to_contain_text("10 selected")  # those that were not sent
    assert len(sent) == 1
    assert server.sql("SELECT count(*) FROM orders WHERE status = 'pending_approval'") == [(60,)]


def test_where_an_answer_is_lost_it_counts_the_known_the_unknown_and_the_untried(
    page: Page, sign_in: SignIn, send_order: SendOrder, server: Server, complaints: Complaints
) -> None:
    complaints.expect("ERR_FAILED")
    send_order()
    crowd(server, 119)
    open_desk(page, sign_in)
    sent: list[str] = []

    def lose_the_second(route: Route) -> None:
        sent.append(route.request.url)
        if len(sent) == 1:
            route.continue_()
            return
        page.route("**/state", lambda read: read.abort())  # nor does a read tell, for now
        route.fetch()
        route.abort()

    page.route("**/approvals/decisions", lose_the_second)
    page.get_by_label("Select all").check()
    press(page, "Approve 120")
    answer(page, "Approve 120 orders")
    told = "50 orders approved. 50 not known: no answer. 20 not tried, still selected."
    expect(announced(page, told)).to_be_visible()
    expect(bulk(page)).to_contain_text("20 selected")
    expect(waiting(page).filter(has_text="Not known whether approved: no answer.")).to_have_count(50)
    expect(waiting(page).filter(has_text="Not approved")).to_have_count(0)
    assert len(sent) == 2
    page.unroute("**/state")
    expect(waiting(page).filter(has_text="Not known")).to_have_count(0)
    assert server.sql("SELECT count(*) FROM orders WHERE status = 'released'") == [(100,)]


def test_of_more_than_are_shown_it_says_how_many_are_not(
    page: Page, sign_in: SignIn, send_order: SendOrder, server: Server
) -> None:
    send_order()
    crowd(server, 511)
    open_desk(page, sign_in)
    expect(waiting(page)).to_have_count(500)
    expect(card(page, PENDING)).to_contain_text("12 more wait and are not shown.")
    expect(card(page, PENDING).locator(".count")).to_have_text("512")
    expect(page).to_have_title("(512) Trading · Countersign")
    # The list scrolls in itself: what stops trading stays within reach.
    box = card(page, PENDING).bounding_box()
    assert box
    assert box["height"] < 900
