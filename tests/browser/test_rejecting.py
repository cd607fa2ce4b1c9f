"""An operator rejects an order that waits, and says why."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import AsScript, Complaints, SendOrder, SignIn
from tests.browser.parts import API, answer, awake, card, dialog, heading, look_again, order, reject
from tests.serving import Server


@pytest.fixture
def asked(desk_page: Page, send_order: SendOrder) -> Page:
    """The page with the question about an order open."""
    send_order()
    desk_page.reload()
    awake(desk_page)
    reject(desk_page, "AAPL").click()
    expect(dialog(desk_page)).to_be_visible()
    return desk_page


def stored(server: Server) -> list[tuple[object, ...]]:
    return server.sql("SELECT status, decided_by, decision_note FROM orders")


def test_it_asks_for_a_reason(asked: Page, server: Server) -> None:
    expect(dialog(asked)).to_contain_text("Reject buy 10 AAPL?")
    expect(dialog(asked)).to_contain_text("momentum-bot receives the rejection and your reason.")
    reason = dialog(asked).get_by_label("Reason")
    expect(reason).to_be_focused()
    dialog(asked).get_by_role("button", name="Reject").click()
    expect(reason).to_have_attribute("aria-invalid", "true")
    assert stored(server) == [("pending_approval", None, None)]
    reason.fill("too close to the close")
    answer(asked, "Reject")
    expect(order(asked, "AAPL")).to_contain_text("Rejected by olga at")
    expect(heading(asked)).to_be_focused()
    expect(card(asked, "Recent decisions")).to_contain_text("“too close to the close”")
    assert stored(server) == [("rejected", "olga", "too close to the close")]


def test_escape_leaves_it_waiting(asked: Page, server: Server) -> None:
    asked.keyboard.press("Escape")
    expect(dialog(asked)).to_be_hidden()
    expect(reject(asked, "AAPL")).to_be_focused()
    assert stored(server) == [("pending_approval", None, None)]


def test_a_reason_that_is_refused_can_be_mended(asked: Page, server: Server, complaints: Complaints) -> None:
    complaints.expect("status of 422")
    dialog(asked).get_by_label("Reason").fill("x" * 501)
    dialog(asked).get_by_role("button", name="Reject").click()
    reason = dialog(asked).get_by_label("Reason")
    expect(reason).to_have_accessible_description("Reason must have 1 to 500 characters.")
    expect(reason).to_have_value("x" * 501)
    reason.fill("short")
    answer(asked, "Reject")
    expect(order(asked, "AAPL")).to_contain_text("Rejected by olga")
    assert stored(server) == [("rejected", "olga", "short")]


def test_one_that_was_approved_meanwhile_says_by_whom(
    page: Page, sign_in: SignIn, send_order: SendOrder, as_script: AsScript, server: Server, complaints: Complaints
) -> None:
    complaints.expect("status of 409")
    order_id = send_order()
    sign_in(page)
    awake(page)
    reject(page, "AAPL").click()
    dialog(page).get_by_label("Reason").fill("no")
    look_again(page)
    page.route(f"{API}/state", lambda route: None)
    as_script("operator", "POST", f"/approvals/{order_id}/approve", {"note": "agreed by phone"})
    answer(page, "Reject")
    expect(order(page, "AAPL")).to_contain_text("Not rejected: the order is released already, by script at")
    assert stored(server) == [("released", "script", "agreed by phone")]


def test_the_question_says_so_once_the_order_waits_no_more(
    asked: Page, as_script: AsScript, server: Server
) -> None:
    [(order_id,)] = server.sql("SELECT id FROM orders")
    dialog(asked).get_by_label("Reason").fill("no")
    as_script("operator", "POST", f"/approvals/{order_id}/approve", {})
    expect(dialog(asked).get_by_role("alert")).to_contain_text("Released by script at")
    dialog(asked).get_by_label("Reason").press("Enter")
    expect(dialog(asked)).to_be_visible()
    answer(asked, "Cancel")
    expect(order(asked, "AAPL")).to_contain_text("Released by script at")
