"""Orders that cannot be approved now carry a lock and say why; rejecting them still works."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Complaints, LockOut, SendOrder, SignIn
from tests.browser.parts import (
    answer,
    approve,
    awake,
    count_changes,
    dialog,
    expect_mode,
    look_again,
    order,
    reject,
    row,
)
from tests.serving import Server


@pytest.fixture
def locked(page: Page, sign_in: SignIn, send_order: SendOrder, lock_out: LockOut) -> Page:
    """The page with an order whose symbol is locked out, and one that can be approved."""
    send_order("AAPL")
    send_order("MSFT")
    lock_out("AAPL", "guidance withdrawn")
    sign_in(page)
    awake(page)
    return page


def test_the_reason_stands_in_the_row_and_at_the_button(locked: Page) -> None:
    reason = "Not approvable now: AAPL is locked out until"
    expect(order(locked, "AAPL").locator(".held")).to_contain_text(reason)
    expect(order(locked, "AAPL").locator(".held")).to_contain_text("guidance withdrawn")
    expect(approve(locked, "AAPL")).to_have_attribute("aria-disabled", "true")
    description = locked.evaluate(
        "button => button.getAttribute('aria-describedby').split(' ')"
        ".map(id => document.getElementById(id).textContent).join(' ')",
        approve(locked, "AAPL").element_handle(),
    )
    assert reason in description
    assert "AAPL" in description
    expect(order(locked, "MSFT").locator(".held")).to_be_hidden()
    expect(approve(locked, "MSFT")).to_have_attribute("aria-disabled", "false")


def test_pressing_it_sends_nothing(locked: Page, server: Server) -> None:
    sent: list[str] = []
    locked.on("request", lambda request: sent.append(request.url) if request.method != "GET" else None)
    approve(locked, "AAPL").click(force=True)
    order(locked, "AAPL").click(position={"x": 300, "y": 10})
    locked.keyboard.press("a")
    locked.wait_for_timeout(300)
    assert sent == []
    assert server.sql("SELECT DISTINCT status FROM orders") == [("pending_approval",)]


def test_rejecting_still_works(locked: Page, server: Server) -> None:
    reject(locked, "AAPL").click()
    dialog(locked).get_by_label("Reason").fill("not today")
    answer(locked, "Reject")
    expect(order(locked, "AAPL")).to_contain_text("Rejected by olga")
    assert server.sql("SELECT status FROM orders WHERE ticker = 'AAPL'") == [("rejected",)]


def test_the_lock_goes_with_the_lockout(locked: Page, server: Server) -> None:
    row(locked, "AAPL").get_by_role("button", name="Remove").click()
    answer(locked, "Remove lockout")
    expect(order(locked, "AAPL").locator(".held")).to_be_hidden()
    expect(approve(locked, "AAPL")).to_have_attribute("aria-disabled", "false")
    approve(locked, "AAPL").click()
    expect(order(locked, "AAPL")).to_contain_text("Released by olga")


def test_every_reason_is_told(page: Page, sign_in: SignIn, send_order: SendOrder, server: Server) -> None:
    send_order("AAPL", signal_layer="macro", reference_price="500")
    server.sql(
        "UPDATE risk_configs SET config = config ||"
        """ '{"signal_layers": {"macro": false}, "position_limits": {"max_order_value": 1000}}'"""
    )
    sign_in(page)
    awake(page)
    for reason in ("the signal layer macro is switched off", "the value 5000 is above 1000"):
        expect(order(page, "AAPL").locator(".held")).to_contain_text(reason)


def test_a_lockout_made_beneath_ones_eyes_locks_the_row(
    page: Page, sign_in: SignIn, send_order: SendOrder, lock_out: LockOut
) -> None:
    send_order("AAPL")
    sign_in(page)
    awake(page)
    approve(page, "AAPL").focus()
    lock_out("*", "exchange outage")
    look_again(page)
    expect(order(page, "AAPL").locator(".held")).to_contain_text("every symbol is locked out until")
    expect(approve(page, "AAPL")).to_be_focused()
    expect(approve(page, "AAPL")).to_have_attribute("aria-disabled", "true")


def test_one_that_was_locked_since_the_last_look_is_refused_with_the_reason(
    page: Page, sign_in: SignIn, send_order: SendOrder, lock_out: LockOut, complaints: Complaints
) -> None:
    complaints.expect("status of 409")
    send_order("AAPL")
    sign_in(page)
    awake(page)
    look_again(page)
    page.route("**/state", lambda route: None)
    lock_out("AAPL", "guidance withdrawn")
    approve(page, "AAPL").click()
    expect(order(page, "AAPL")).to_contain_text("Not approved: AAPL is locked out until")
    expect(approve(page, "AAPL")).to_be_focused()


def test_with_real_money_the_open_question_says_so_and_takes_no_yes(
    page: Page, sign_in: SignIn, send_order: SendOrder, lock_out: LockOut, server: Server
) -> None:
    server.sql("UPDATE risk_configs SET trading_mode = 'live'")
    order_id = send_order("AAPL")
    sign_in(page)
    awake(page)
    sent = count_changes(page, f"/approvals/{order_id}/approve")
    approve(page, "AAPL").click()
    yes = dialog(page).get_by_role("button", name="Approve")
    expect(yes).not_to_have_attribute("aria-disabled", "true")
    lock_out("AAPL", "guidance withdrawn")
    expect(dialog(page).get_by_role("alert")).to_contain_text("Not approvable now: AAPL is locked out until")
    expect(yes).to_have_attribute("aria-disabled", "true")
    yes.focus()
    yes.press("Enter")
    expect(dialog(page)).to_be_visible()
    assert sent == []
    box = page.get_by_text("Halt trading", exact=True).bounding_box()
    assert box
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    expect_mode(page, "HALTED")
    expect(dialog(page)).to_be_hidden()
