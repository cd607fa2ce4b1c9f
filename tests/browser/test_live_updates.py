"""The page follows the desk: what others do, what time does, and when it cannot."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from playwright.sync_api import Page, expect

from tests.browser.conftest import Complaints, LockOut, OpenPage, SignIn
from tests.browser.parts import (
    API,
    MACRO,
    PAPER,
    answer,
    awake,
    expect_mode,
    expect_switch,
    fill_lockout,
    lock_form,
    look_again,
    row,
    rows,
    switch,
)
from tests.serving import Server

# The answer is made now and comes later, whether or not the page still wants it.
DELAY_THE_NEXT_READ = """() => {
  const fetch = window.fetch;
  window.fetch = (url, options) => {
    if (!url.endsWith('/state')) return fetch(url, options);
    window.fetch = fetch;
    const answered = fetch(url, { ...options, signal: undefined });
    return new Promise((resolve) => { window.release = () => resolve(answered); });
  };
}"""


def test_two_pages_see_each_others_changes(open_page: OpenPage, sign_in: SignIn) -> None:
    one, other = open_page(), open_page()
    sign_in(one, "operator")
    sign_in(other, "admin")
    awake(other)
    awake(one)
    fill_lockout(one, "aapl", "news")
    lock_form(one).get_by_role("button", name="Lock out").click()
    expect(row(other, "AAPL")).to_contain_text("olga")  # by polling alone
    switch(other, PAPER).click()
    answer(other, "Require approval")
    one.get_by_role("button", name="Halt trading").click()
    expect_mode(other, "HALTED")
    expect_switch(one, PAPER, on=True)


def test_what_others_did_is_announced(desk_page: Page, lock_out: LockOut) -> None:
    awake(desk_page)
    lock_out("TSLA")
    look_again(desk_page)
    expect(
        desk_page.get_by_role("status").filter(has_text=re.compile("TSLA is locked out until .* UTC"))
    ).to_be_visible()


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
    desk_page.wait_for_load_state("networkidle")
    desk_page.evaluate(DELAY_THE_NEXT_READ)
    look_again(desk_page)
    switch(desk_page, MACRO).click()
    expect_switch(desk_page, MACRO, on=False)
    desk_page.evaluate("window.release()")
    desk_page.wait_for_timeout(300)
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


def test_an_unchanged_desk_costs_a_304(desk_page: Page) -> None:
    awake(desk_page)
    desk_page.wait_for_load_state("networkidle")
    with desk_page.expect_response("**/state") as again:
        pass  # the next poll
    assert again.value.status == 304


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
