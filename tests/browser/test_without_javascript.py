"""Everything that stops or gates trading works as plain forms."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Complaints, LockOut, OpenPage, SendOrder, SignIn
from tests.browser.parts import (
    MACRO,
    PAPER,
    PENDING,
    approve,
    card,
    decisions,
    expect_mode,
    expect_switch,
    fill_lockout,
    lock_form,
    order,
    reject,
    row,
    rows,
    switch,
    waiting,
)
from tests.serving import Server

Stored = Callable[[str], Any]


@pytest.fixture
def plain(open_page: OpenPage, sign_in: SignIn) -> Page:
    page = open_page(java_script_enabled=False)
    sign_in(page)
    return page


def confirm(page: Page) -> None:
    page.get_by_role("main").get_by_role("button").click()


def test_halting_is_one_click(plain: Page, stored: Stored) -> None:
    plain.get_by_role("button", name="Halt trading").click()
    expect_mode(plain, "HALTED")
    expect(plain.get_by_role("status").filter(has_text="Trading is halted")).to_be_visible()
    assert stored("mode") == "disabled"


def test_resuming_asks_for_a_reason(plain: Page, server: Server) -> None:
    server.sql("UPDATE risk_configs SET trading_mode = 'disabled'")
    plain.reload()
    plain.get_by_role("button", name="Resume in paper…").click()
    confirm(plain)
    expect(plain.get_by_role("alert")).to_contain_text("reason")
    plain.get_by_label("Reason").fill("the exchange is back")
    confirm(plain)
    expect_mode(plain, "PAPER")


def test_going_live_asks_for_the_word(open_page: OpenPage, sign_in: SignIn, stored: Stored) -> None:
    page = open_page(java_script_enabled=False)
    sign_in(page, "admin")
    page.get_by_role("button", name="Go live…").click()
    page.get_by_label("Reason").fill("open for business")
    confirm(page)
    assert stored("mode") == "paper"
    page.get_by_label("Reason").fill("open for business")
    page.get_by_label("Type LIVE").fill("live")
    confirm(page)
    expect_mode(page, "LIVE")


def test_the_paper_switch_asks_and_changes(plain: Page) -> None:
    switch(plain, PAPER).click()
    expect(plain.get_by_role("main")).to_contain_text("wait for a person's approval")
    plain.get_by_role("link", name="Cancel").click()
    expect_switch(plain, PAPER, on=False)
    switch(plain, PAPER).click()
    confirm(plain)
    expect_switch(plain, PAPER, on=True)
    expect(card(plain, PAPER)).to_contain_text("Require approval for paper orders")


def test_a_layer_switch_works(plain: Page) -> None:
    switch(plain, MACRO).click()
    confirm(plain)
    expect_switch(plain, MACRO, on=False)
    switch(plain, MACRO).click()
    confirm(plain)
    expect_switch(plain, MACRO, on=True)


def test_a_lockout_is_made_extended_and_removed(plain: Page, server: Server) -> None:
    fill_lockout(plain, "aapl", "news")
    lock_form(plain).get_by_role("button", name="Lock out").click()
    expect(row(plain, "AAPL")).to_contain_text("UTC")
    row(plain, "AAPL").get_by_role("button", name="+1 h").click()
    assert server.sql("SELECT expires_at - created_at = interval '2 hours' FROM symbol_lockouts") == [(True,)]
    row(plain, "AAPL").get_by_role("button", name="Remove").click()
    confirm(plain)
    expect(rows(plain)).to_have_count(0)


def test_errors_stand_at_their_fields_and_what_was_typed_stays(plain: Page, complaints: Complaints) -> None:
    complaints.expect("status of 422")
    fill_lockout(plain, "no such$", "a long reason", "0")
    lock_form(plain).get_by_role("button", name="Lock out").click()
    form = lock_form(plain)
    expect(form.get_by_label("Ticker")).to_have_attribute("aria-invalid", "true")
    expect(form.get_by_label("Ticker")).to_have_value("no such$")
    expect(form.get_by_label("Reason")).to_have_value("a long reason")
    expect(form).to_contain_text("Ticker contains a space")
    expect(form).to_contain_text("Duration (minutes) must be from 1 to")


def test_the_timeout_is_saved(plain: Page) -> None:
    card(plain, PENDING).get_by_label("Approval timeout (minutes)").fill("45")
    card(plain, PENDING).get_by_role("button", name="Save timeout").click()
    expect(card(plain, PENDING).get_by_label("Approval timeout (minutes)")).to_have_value("45")


def test_an_admin_mends_a_broken_configuration(open_page: OpenPage, sign_in: SignIn, server: Server) -> None:
    server.sql("UPDATE risk_configs SET config = '{\"operator_approval\": 7}'::jsonb")
    page = open_page(java_script_enabled=False)
    sign_in(page, "admin")
    page.get_by_role("button", name="Set all three").click()
    confirm(page)
    expect_switch(page, PAPER, on=True)


def test_the_page_says_that_it_does_not_update_itself(plain: Page, lock_out: LockOut) -> None:
    expect(plain.locator("noscript p")).to_be_visible()
    lock_out("TSLA")
    plain.locator("noscript a").click()
    expect(row(plain, "TSLA")).to_be_visible()


def test_signing_out(plain: Page) -> None:
    plain.get_by_role("button", name="Sign out").click()
    expect(plain.get_by_role("heading", name="Sign in")).to_be_visible()
    plain.goto("/trading")
    expect(plain.get_by_role("heading", name="Sign in")).to_be_visible()


def test_an_order_is_approved_in_one_click(plain: Page, send_order: SendOrder, server: Server) -> None:
    send_order("AAPL")
    send_order("MSFT")
    plain.reload()
    expect(order(plain, "AAPL")).to_contain_text("until")
    approve(plain, "AAPL").click()
    expect(plain.get_by_role("status").filter(has_text="Buy 10 AAPL is released.")).to_be_visible()
    expect(waiting(plain)).to_have_count(1)
    expect(decisions(plain)).to_have_text(re.compile(r"Released.*AAPL.*olga", re.DOTALL))
    assert server.sql("SELECT ticker FROM orders WHERE status = 'released'") == [("AAPL",)]


def test_with_real_money_approving_asks_first(plain: Page, send_order: SendOrder, server: Server) -> None:
    server.sql("UPDATE risk_configs SET trading_mode = 'live'")
    send_order("AAPL")
    plain.reload()
    approve(plain, "AAPL").click()
    expect(plain.get_by_role("main")).to_contain_text("Buy 10 AAPL goes to the market at once, with real money.")
    assert server.sql("SELECT status FROM orders") == [("pending_approval",)]
    confirm(plain)
    expect(plain.get_by_role("status").filter(has_text="Buy 10 AAPL is released.")).to_be_visible()


def test_rejecting_an_order_asks_why(plain: Page, send_order: SendOrder, server: Server) -> None:
    send_order("AAPL", notional="2500")
    plain.reload()
    reject(plain, "AAPL").click()
    expect(plain.get_by_role("main")).to_contain_text("Buy 2500 notional of AAPL")
    confirm(plain)
    expect(plain.get_by_role("alert")).to_contain_text("Reason is required.")
    plain.get_by_label("Reason").fill("too large")
    confirm(plain)
    expect(plain.get_by_role("status").filter(has_text="is rejected.")).to_be_visible()
    assert server.sql("SELECT status, decision_note FROM orders") == [("rejected", "too large")]


def test_a_locked_order_says_why_and_goes_on_waiting(
    plain: Page, send_order: SendOrder, lock_out: LockOut, server: Server
) -> None:
    send_order("AAPL")
    lock_out("AAPL", "guidance withdrawn")
    plain.reload()
    expect(order(plain, "AAPL")).to_contain_text("Not approvable now: AAPL is locked out until")
    approve(plain, "AAPL").click(force=True)
    expect(plain.get_by_role("alert").filter(has_text="AAPL is locked out until")).to_be_visible()
    assert server.sql("SELECT status FROM orders") == [("pending_approval",)]


def test_changing_the_mode_says_what_is_lost(plain: Page, send_order: SendOrder, server: Server) -> None:
    server.sql("UPDATE risk_configs SET trading_mode = 'live'")
    send_order("AAPL")
    plain.reload()
    plain.get_by_role("button", name="Back to paper…").click()
    expect(plain.get_by_role("main")).to_contain_text("The order that waits for approval will be canceled.")
