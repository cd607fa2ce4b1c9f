"""Orders time out under one's eyes, by the server's clock."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Complaints, OpenPage, SendOrder, SignIn
from tests.browser.parts import API, PENDING, announced, approve, awake, card, dialog, look_again, order, reject
from tests.serving import Server


def shorten(server: Server, ticker: str, seconds: float) -> None:
    """An order of an hour ago, with so many seconds left."""
    server.sql(
        "UPDATE orders SET created_at = created_at - interval '1 hour',"
        " expires_at = clock_timestamp() + make_interval(secs => %s) WHERE ticker = %s",
        seconds,
        ticker,
    )


# Seconds since the epoch, and for how long at most the machine let the page do nothing meanwhile.
NOTE_WHEN_IT_GOES = """(button) => {
  let last = Date.now();
  window.stalled = 0;
  const looks = setInterval(() => {
    window.stalled = Math.max(window.stalled, (Date.now() - last) / 1000);
    last = Date.now();
    if (button.checkVisibility()) return;
    window.gone = last / 1000;
    clearInterval(looks);
  }, 20);
}"""


# Seconds by which the server's clock, as the page knows it, is ahead of this machine's.
AHEAD = """() => {
  const { desk } = document.querySelector('.approvals')._x_dataStack[0].$store;
  return -(desk.msLeft({ expires_at: '1970-01-01T00:00:00Z' }) + Date.now()) / 1000;
}"""


def no_more_answers(page: Page) -> None:
    page.route(f"{API}/state", lambda route: None)


def test_the_bar_empties(page: Page, sign_in: SignIn, send_order: SendOrder, server: Server) -> None:
    send_order("AAPL")
    send_order("MSFT")
    server.sql(
        "UPDATE orders SET created_at = now() - interval '10 minutes', expires_at = now() + interval '10 minutes'"
        " WHERE ticker = 'AAPL'"
    )
    sign_in(page)
    awake(page)
    left = "bar => bar.value / bar.max"
    assert order(page, "AAPL").locator("progress").evaluate(left) == pytest.approx(0.5, abs=0.01)
    assert order(page, "MSFT").locator("progress").evaluate(left) == pytest.approx(1, abs=0.01)


def test_it_loses_its_buttons_within_a_second_though_no_poll_answers(
    page: Page, sign_in: SignIn, send_order: SendOrder, server: Server
) -> None:
    send_order("AAPL")
    send_order("MSFT")
    shorten(server, "AAPL", 4)
    sign_in(page)
    awake(page)
    look_again(page)
    no_more_answers(page)
    expect(order(page, "AAPL")).to_contain_text(re.compile(r"\b[1-4]s"))
    page.mouse.move(5, 5)
    approve(page, "AAPL").evaluate(NOTE_WHEN_IT_GOES)
    expect(approve(page, "AAPL")).to_be_hidden()
    gone, stalled = page.evaluate("[gone, stalled]")
    [(deadline,)] = server.sql("SELECT extract(epoch FROM expires_at)::float8 FROM orders WHERE ticker = 'AAPL'")
    # Never early by the server's clock as the page knows it: from the middle of a read, and to the millisecond.
    ahead = page.evaluate(AHEAD)
    assert abs(ahead) < 0.5
    assert -0.001 <= gone + ahead - deadline < 1 + stalled
    expect(reject(page, "AAPL")).to_be_hidden()
    expect(order(page, "AAPL").get_by_role("checkbox")).to_be_hidden()
    expect(order(page, "AAPL")).to_contain_text("Timed out")
    expect(announced(page, "Buy 10 AAPL: timed out.")).to_be_visible()
    expect(card(page, PENDING).locator(".count")).to_have_text("1")
    expect(page).to_have_title("(1) Trading · Countersign")
    expect(order(page, "AAPL")).to_have_count(0)  # after a while
    expect(approve(page, "MSFT")).to_be_visible()


def test_the_clock_is_the_servers(open_page: OpenPage, sign_in: SignIn, send_order: SendOrder) -> None:
    page = open_page()
    page.clock.install()
    page.clock.set_system_time("2031-01-01T00:00:00Z")
    send_order()
    sign_in(page)
    awake(page)
    expect(order(page, "AAPL")).to_contain_text(re.compile(r"29m \d\ds|30m 00s"))
    expect(approve(page, "AAPL")).to_be_visible()


def test_one_that_times_out_while_one_is_asked_is_not_decided(
    page: Page, sign_in: SignIn, send_order: SendOrder, server: Server, complaints: Complaints
) -> None:
    complaints.expect("status of 409")
    send_order()
    sign_in(page)
    awake(page)
    reject(page, "AAPL").click()
    dialog(page).get_by_label("Reason").fill("no")
    shorten(server, "AAPL", -1)
    dialog(page).get_by_role("button", name="Reject").click()
    expect(order(page, "AAPL")).to_contain_text("Not rejected: the order is expired already, by its deadline at")
    expect(order(page, "AAPL")).to_contain_text("Timed out at")


def test_the_focus_stays_while_others_time_out(
    page: Page, sign_in: SignIn, send_order: SendOrder, server: Server
) -> None:
    for ticker in ("AAPL", "MSFT", "TSLA"):
        send_order(ticker)
    sign_in(page)
    awake(page)
    approve(page, "MSFT").focus()
    shorten(server, "AAPL", 3)
    shorten(server, "TSLA", 2)  # it moves to the top
    look_again(page)
    expect(order(page, "TSLA")).to_contain_text("Timed out")
    expect(order(page, "AAPL")).to_contain_text("Timed out")
    expect(order(page, "AAPL")).to_have_count(0)
    expect(approve(page, "MSFT")).to_be_focused()
