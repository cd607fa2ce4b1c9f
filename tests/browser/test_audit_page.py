"""Who did what, when."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from tests.browser.conftest import LockOut, OpenPage, SendOrder, SignIn
from tests.browser.parts import MACRO, awake, expect_switch, switch


def test_a_change_is_told_with_before_and_after(page: Page, sign_in: SignIn) -> None:
    sign_in(page)
    awake(page)
    switch(page, MACRO).click()
    expect_switch(page, MACRO, on=False)
    page.get_by_role("link", name="Audit").click()
    first = page.get_by_role("listitem").first
    for text in ("olga", "signal_layers.change", "macro", "UTC"):
        expect(first).to_contain_text(text)
    expect(first.locator("del")).to_have_text("was true")
    expect(first.locator("ins")).to_have_text("now false")
    expect(first.locator(".change")).to_have_count(1)  # what stayed the same is not listed
    first.get_by_text("Full record").click()
    expect(first.locator("pre").last).to_contain_text('"competitive": true')


def test_of_what_came_only_that_is_told_which_it_came_with(
    page: Page, sign_in: SignIn, send_order: SendOrder
) -> None:
    send_order("AAPL", rationale="the trend")
    sign_in(page, path="/audit?action=order.submit")
    told = page.get_by_role("listitem").first
    expect(told.get_by_text("rationale", exact=True)).to_be_visible()
    expect(told.locator(".change").filter(has_text="null")).to_have_count(0)
    told.get_by_text("Full record").click()
    expect(told.locator("pre").last).to_contain_text('"notional": null')


def test_it_can_be_filtered_and_cleared(page: Page, sign_in: SignIn, lock_out: LockOut) -> None:
    lock_out("AAPL", "guidance withdrawn")
    sign_in(page, path="/audit")
    page.get_by_label("Action").select_option("lockout.create")
    page.get_by_role("button", name="Filter").click()
    expect(page.get_by_role("listitem")).to_have_count(1)
    expect(page.get_by_role("listitem")).to_contain_text("guidance withdrawn")
    page.get_by_label("Who").fill("nobody at all")
    page.get_by_role("button", name="Filter").click()
    expect(page.get_by_role("main")).to_contain_text("No event matches this filter.")
    expect(page.get_by_label("Who")).to_have_value("nobody at all")
    page.get_by_role("link", name="Clear").click()
    expect(page.get_by_label("Action")).to_have_value("")
    assert page.get_by_role("listitem").count() > 1


def test_older_events_are_a_page_away(page: Page, sign_in: SignIn, lock_out: LockOut) -> None:
    for number in range(60):
        lock_out(f"SYM{number}")
    sign_in(page, path="/audit")
    page.get_by_label("Action").select_option("lockout.create")
    page.get_by_role("button", name="Filter").click()
    expect(page.get_by_role("listitem")).to_have_count(50)
    page.get_by_role("link", name="Older events").click()
    expect(page.get_by_role("listitem")).to_have_count(10)
    expect(page.get_by_role("listitem").last).to_contain_text("SYM0")


def test_it_needs_no_javascript(open_page: OpenPage, sign_in: SignIn, lock_out: LockOut) -> None:
    lock_out("AAPL", "<b>bold</b> reason")
    page = open_page(java_script_enabled=False)
    sign_in(page, path="/audit")
    expect(page.get_by_role("list")).to_contain_text("<b>bold</b> reason")
