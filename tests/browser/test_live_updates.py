"""The page follows the desk: what others do, what time does, and when it cannot."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from playwright.sync_api import Page, expect

from tests.browser.conftest import Complaints, LockOut, OpenPage, SendOrder, SignIn
from tests.browser.parts import (
    API,
    MACRO,
    PAPER,
    answer,
    approve,
    awake,
    expect_mode,
    expect_switch,
    fill_lockout,
    lock_form,
    look_again,
    order,
    row,
    rows,
    switch,
)
from tests.serving import Server

# Less than the beats of a stream are apart, and than a page that has one waits before it asks by itself.
SOON = 9000  # milliseconds

KEEP_THE_STREAM = """
window.EventSource = class extends EventSource {
  constructor(url) {
    super(url);
    window.stream = this;
  }
};
"""

# The answer is made now, in full, and comes later, whether or not the page still wants it.
DELAY_THE_NEXT_READ = """() => {
  const fetch = window.fetch;
  window.fetch = (url, options) => {
    if (!url.endsWith('/state')) return fetch(url, options);
    window.fetch = fetch;
    const answered = fetch(url, { ...options, headers: { Accept: 'application/json' }, signal: undefined });
    const whole = answered.then((response) => response.clone().text());
    return new Promise((resolve) => {
      window.release = async () => {
        resolve(answered);
        await whole;
        await new Promise((after) => { setTimeout(after, 100); });
      };
    });
  };
}"""

# What the switch says meanwhile, be it for a moment.
RELEASE = """async (button) => {
  const said = [];
  const look = () => said.push(button.getAttribute('aria-checked'));
  new MutationObserver(look).observe(button, { attributeFilter: ['aria-checked'] });
  await window.release();
  return said;
}"""


def expect_soon(page: Page, ticker: str) -> None:
    """A lockout that was just made comes with the news of the stream: not by reading now and then."""
    expect(row(page, ticker)).to_be_visible(timeout=SOON)
    expect(page.get_by_text("Live updates lost")).to_be_hidden()


def test_two_pages_see_each_others_changes(open_page: OpenPage, sign_in: SignIn) -> None:
    one, other = open_page(), open_page()
    sign_in(one, "operator")
    sign_in(other, "admin")
    awake(other)
    awake(one)
    fill_lockout(one, "aapl", "news")
    lock_form(one).get_by_role("button", name="Lock out").click()
    expect_soon(other, "AAPL")
    expect(row(other, "AAPL")).to_contain_text("olga")
    switch(other, PAPER).click()
    answer(other, "Require approval")
    one.get_by_role("button", name="Halt trading").click()
    expect_mode(other, "HALTED")
    expect_switch(one, PAPER, on=True)


def test_news_is_read_at_once_and_nothing_without_news(page: Page, sign_in: SignIn, lock_out: LockOut) -> None:
    asked: list[str] = []
    page.clock.install()
    lock_out("AAPL")
    sign_in(page)
    awake(page)
    page.on("request", lambda request: asked.append(request.url.rpartition("/")[2]))
    asked.append("the reads of the beginning")
    while asked:
        asked.clear()
        page.wait_for_timeout(1000)
    page.clock.fast_forward(7000)  # without the stream it would ask
    lock_out("TSLA")
    expect_soon(page, "TSLA")
    assert asked == ["state"]


def test_one_stream_does_for_all_tabs_and_passes_on(page: Page, sign_in: SignIn, lock_out: LockOut) -> None:
    """Six would take all the connections that a browser opens to one server, and leave none to halt with."""
    asked: list[str] = []
    page.context.on("request", lambda request: asked.append(request.url.rpartition("/")[2]))
    sign_in(page)
    tabs = [page.context.new_page() for _ in range(7)]
    for tab in tabs:
        tab.goto("/trading")
        awake(tab)
    assert asked.count("stream") == 1
    lock_out("TSLA")
    for tab in tabs:
        expect_soon(tab, "TSLA")
    page.close()
    lock_out("AAPL")
    for tab in tabs:
        expect_soon(tab, "AAPL")
    assert asked.count("stream") == 2
    tabs[-1].get_by_role("button", name="Halt trading").click()
    expect_mode(tabs[0], "HALTED")


def test_what_others_did_is_announced(desk_page: Page, lock_out: LockOut) -> None:
    awake(desk_page)
    lock_out("TSLA")
    expect(
        desk_page.get_by_role("status").filter(has_text=re.compile("TSLA is locked out until .* UTC"))
    ).to_be_visible()


def test_without_its_stream_the_page_says_so_polls_and_heals(
    page: Page, sign_in: SignIn, lock_out: LockOut, complaints: Complaints
) -> None:
    complaints.expect("status of 503")
    page.clock.install()
    page.add_init_script(KEEP_THE_STREAM)
    sign_in(page)
    awake(page)
    page.wait_for_function("() => window.stream?.readyState === EventSource.OPEN")
    strip = page.get_by_role("status").filter(has_text="Live updates lost")
    page.route(f"{API}/stream", lambda route: route.fulfill(status=503))
    page.evaluate("window.stream.dispatchEvent(new Event('error'))")
    page.clock.fast_forward(3500)
    expect(strip.get_by_text("Reading every 5 seconds instead")).to_be_visible()
    expect(strip).to_contain_text(re.compile(r"last good state \d\d:\d\d:\d\d UTC"))
    expect(strip.get_by_text("What you see may be out of date")).to_be_hidden()
    expect(page.locator("main")).not_to_have_attribute("data-stale", "true")
    with page.expect_response("**/state") as again:
        page.clock.fast_forward(6000)
    assert again.value.status == 304  # an unchanged desk costs next to nothing
    lock_out("TSLA")
    page.clock.fast_forward(6000)
    expect(row(page, "TSLA")).to_be_visible()
    page.unroute(f"{API}/stream")
    page.clock.fast_forward(30_000)
    expect(strip).to_be_hidden()
    lock_out("AAPL")
    expect_soon(page, "AAPL")


def test_a_stream_that_says_nothing_is_none(page: Page, sign_in: SignIn) -> None:
    page.clock.install()
    silent = True
    # Not `unroute`: without a route the browser sends the request that was held back, and no second one is needed.
    page.route(f"{API}/stream", lambda route: None if silent else route.continue_())
    with page.expect_request(f"{API}/stream"):
        sign_in(page)
    awake(page)
    page.clock.fast_forward(3500)
    strip = page.get_by_role("status").filter(has_text="Live updates lost")
    expect(strip).to_be_visible()
    silent = False
    with page.expect_request(f"{API}/stream"):
        page.clock.fast_forward(27_000)
    expect(strip).to_be_hidden()


def test_lost_updates_are_said_with_the_time_and_heal(
    desk_page: Page, server: Server, complaints: Complaints
) -> None:
    complaints.expect("ERR_FAILED")
    awake(desk_page)
    desk_page.route(f"{API}/state", lambda route: route.abort())
    desk_page.evaluate("window.dispatchEvent(new Event('focus'))")
    strip = desk_page.get_by_role("status").filter(has_text="Live updates lost")
    expect(strip).to_contain_text(re.compile(r"last good state \d\d:\d\d:\d\d UTC"))
    expect(desk_page.locator("main")).to_have_attribute("data-stale", "true")
    server.sql("UPDATE risk_configs SET trading_mode = 'disabled'")
    desk_page.unroute(f"{API}/state")
    expect(strip).to_be_hidden()
    expect_mode(desk_page, "HALTED")
    expect(desk_page.locator("main")).not_to_have_attribute("data-stale", "true")


def test_halting_works_while_updates_are_lost(
    desk_page: Page, stored: Callable[[str], Any], complaints: Complaints
) -> None:
    complaints.expect("ERR_FAILED")
    awake(desk_page)
    desk_page.route(f"{API}/state", lambda route: route.abort())
    desk_page.evaluate("window.dispatchEvent(new Event('focus'))")
    expect(desk_page.get_by_text("Live updates lost")).to_be_visible()
    desk_page.get_by_role("button", name="Halt trading").click()
    expect_mode(desk_page, "HALTED")
    assert stored("mode") == "disabled"


def test_an_older_answer_never_lies_over_a_newer_one(desk_page: Page) -> None:
    awake(desk_page)
    look_again(desk_page)
    desk_page.evaluate(DELAY_THE_NEXT_READ)
    look_again(desk_page)
    switch(desk_page, MACRO).click()
    expect_switch(desk_page, MACRO, on=False)
    assert "true" not in switch(desk_page, MACRO).evaluate(RELEASE)
    expect_switch(desk_page, MACRO, on=False)


def test_time_left_is_the_servers_whatever_this_clock_says(
    open_page: OpenPage, sign_in: SignIn, lock_out: LockOut
) -> None:
    page = open_page()
    page.clock.install()
    page.clock.set_system_time("2031-01-01T00:00:00Z")
    lock_out("AAPL", minutes=30)
    sign_in(page)
    awake(page)
    expect(row(page, "AAPL")).to_contain_text(re.compile(r"(29m \d\ds|30m 00s)"))


def test_the_tab_tells_how_many_wait_and_the_mode(desk_page: Page, send_order: SendOrder) -> None:
    icon = desk_page.locator("link[rel=icon]")
    seen: list[str] = []

    def another_icon() -> str:
        if seen:
            expect(icon).not_to_have_attribute("href", seen[-1])
        seen.append(str(icon.get_attribute("href")))
        return seen[-1]

    awake(desk_page)
    expect(icon).to_have_attribute("href", re.compile("^data:image/png"))
    another_icon()
    send_order("AAPL")
    expect(desk_page).to_have_title("(1) Trading · Countersign")
    one = another_icon()
    send_order("MSFT")
    expect(desk_page).to_have_title("(2) Trading · Countersign")
    another_icon()
    approve(desk_page, "MSFT").press("Enter")
    expect(desk_page).to_have_title("(1) Trading · Countersign")
    assert another_icon() == one
    desk_page.get_by_role("button", name="Halt trading").click()
    expect(desk_page).to_have_title("Trading · Countersign")
    expect(order(desk_page, "AAPL")).to_contain_text("Canceled")
    another_icon()
    assert len(set(seen)) == 4


def test_200_lockouts_are_drawn_quickly(page: Page, sign_in: SignIn, server: Server) -> None:
    server.sql(
        "INSERT INTO symbol_lockouts (id, ticker, reason, lockout_type, created_at, created_by, expires_at)"
        " SELECT gen_random_uuid(), 'SYM' || n, 'many', 'manual', now(), 'script',"
        " now() + n * interval '1 minute' + interval '1 hour'"
        " FROM generate_series(1, 200) AS n"
    )
    sign_in(page)
    awake(page)
    expect(rows(page)).to_have_count(200)
    expect(row(page, "SYM200")).to_contain_text("4h")
