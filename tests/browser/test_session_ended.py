"""Signed out in the middle of it: said, and nothing is lost."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from tests.browser.conftest import Complaints, SignIn
from tests.browser.parts import MACRO, awake, card, expect_switch, fill_lockout, lock_form, look_again, row, switch
from tests.serving import Server

ENDED = "Your session has ended."


def sign_in_again(page: Page, sign_in: SignIn) -> None:
    page.get_by_role("link", name="Sign in").click()
    page.get_by_label("Name").fill("olga")
    page.get_by_label("Password").fill(sign_in.passwords["olga"])  # type: ignore[attr-defined]
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/trading")


def test_what_was_typed_is_there_after_signing_in_again(
    page: Page, sign_in: SignIn, complaints: Complaints
) -> None:
    complaints.expect("status of 401")
    sign_in(page)
    awake(page)
    page.context.clear_cookies()
    fill_lockout(page, "msft", "a reason that took a while", "90")
    lock_form(page).get_by_role("button", name="Lock out").click()
    expect(page.get_by_role("alert").filter(has_text=ENDED).first).to_be_visible()
    sign_in_again(page, sign_in)
    form = lock_form(page)
    expect(form.get_by_label("Ticker")).to_have_value("MSFT")
    expect(form.get_by_label("Reason")).to_have_value("a reason that took a while")
    expect(form.get_by_label("Duration (minutes)")).to_have_value("90")
    form.get_by_role("button", name="Lock out").click()
    expect(row(page, "MSFT")).to_be_visible()


def test_a_switch_stays_and_says_why(desk_page: Page, complaints: Complaints) -> None:
    complaints.expect("status of 401")
    awake(desk_page)
    desk_page.context.clear_cookies()
    switch(desk_page, MACRO).click()
    expect(card(desk_page, MACRO).get_by_role("alert")).to_contain_text(ENDED)
    expect_switch(desk_page, MACRO, on=True)


def test_reading_notices_it_too(desk_page: Page, complaints: Complaints) -> None:
    complaints.expect("status of 401")
    awake(desk_page)
    desk_page.context.clear_cookies()
    look_again(desk_page)
    expect(desk_page.get_by_role("alert").filter(has_text=ENDED)).to_be_visible()
    expect(desk_page.get_by_text("Live updates lost")).to_be_hidden()


def test_it_is_said_though_nobody_touches_the_page(
    desk_page: Page, server: Server, complaints: Complaints
) -> None:
    complaints.expect("status of 401")
    awake(desk_page)
    look_again(desk_page)
    server.sql("DELETE FROM web_sessions")
    expect(desk_page.get_by_role("alert").filter(has_text=ENDED)).to_be_visible()
    expect(desk_page.get_by_text("Live updates lost")).to_be_hidden()


def test_signing_in_on_another_page_brings_this_one_back(
    page: Page, sign_in: SignIn, complaints: Complaints
) -> None:
    complaints.expect("status of 401")
    sign_in(page)
    awake(page)
    fill_lockout(page, "msft", "half typed")
    page.context.clear_cookies()
    look_again(page)
    expect(page.get_by_role("alert").filter(has_text=ENDED)).to_be_visible()
    other = page.context.new_page()
    sign_in(other)
    other.close()
    page.evaluate("window.dispatchEvent(new Event('focus'))")
    expect(page.get_by_text(ENDED)).to_be_hidden()
    expect(lock_form(page).get_by_label("Reason")).to_have_value("half typed")
    awake(page)
    switch(page, MACRO).click()
    expect_switch(page, MACRO, on=False)
