"""Starting again is gated: a reason, the mode that one leaves, and for live an admin and the typed word."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import AsScript, Complaints, SendOrder, SignIn
from tests.browser.parts import API, answer, awake, card, dialog, expect_mode, mode, refuse
from tests.serving import Server

Stored = Callable[[str], Any]


def set_mode(server: Server, to: str) -> None:
    server.sql("UPDATE risk_configs SET trading_mode = %s", to)


def ask(page: Page, button: str) -> None:
    awake(page)
    page.get_by_role("button", name=button).click()
    expect(dialog(page)).to_be_visible()


def test_resuming_asks_for_a_reason(desk_page: Page, server: Server, stored: Stored) -> None:
    set_mode(server, "disabled")
    desk_page.reload()
    ask(desk_page, "Resume in paper…")
    dialog(desk_page).get_by_role("button", name="Resume in paper").click()
    reason = dialog(desk_page).get_by_label("Reason")
    expect(reason).to_be_focused()
    expect(reason).to_have_attribute("aria-invalid", "true")
    assert stored("mode") == "disabled"
    reason.fill("the exchange is back")
    answer(desk_page, "Resume in paper")
    expect_mode(desk_page, "PAPER")
    expect(mode(desk_page)).to_be_focused()
    assert stored("mode") == "paper"
    assert server.sql("SELECT note FROM audit_events WHERE action = 'mode.change'") == [("the exchange is back",)]


def test_escape_leaves_it_halted(desk_page: Page, server: Server, stored: Stored) -> None:
    set_mode(server, "disabled")
    desk_page.reload()
    ask(desk_page, "Resume in paper…")
    desk_page.keyboard.press("Escape")
    expect(dialog(desk_page)).to_be_hidden()
    expect(desk_page.get_by_role("button", name="Resume in paper…")).to_be_focused()
    assert stored("mode") == "disabled"


@pytest.mark.parametrize("leaving", ["disabled", "paper"])
@pytest.mark.parametrize("word", ["LIVE", "live"])
def test_an_admin_goes_live_with_a_reason_and_the_word(
    page: Page, sign_in: SignIn, server: Server, stored: Stored, leaving: str, word: str
) -> None:
    set_mode(server, leaving)
    sign_in(page, "admin")
    ask(page, "Go live…")
    dialog(page).get_by_label("Reason").fill("open for business")
    dialog(page).get_by_label("Type LIVE").fill(word)
    answer(page, "Go live")
    expect_mode(page, "LIVE")
    assert stored("mode") == "live"


def test_without_the_word_nobody_goes_live(page: Page, sign_in: SignIn, stored: Stored) -> None:
    sign_in(page, "admin")
    ask(page, "Go live…")
    dialog(page).get_by_label("Reason").fill("open for business")
    for word in ("", "LIVES"):
        dialog(page).get_by_label("Type LIVE").fill(word)
        dialog(page).get_by_role("button", name="Go live").click()
        expect(dialog(page).get_by_label("Type LIVE")).to_have_attribute("aria-invalid", "true")
    assert stored("mode") == "paper"


def test_an_operator_is_not_offered_to_go_live(desk_page: Page) -> None:
    awake(desk_page)
    expect(desk_page.get_by_role("button", name="Go live…")).to_have_count(0)


def test_back_to_paper_from_live(desk_page: Page, server: Server, stored: Stored) -> None:
    set_mode(server, "live")
    desk_page.reload()
    ask(desk_page, "Back to paper…")
    dialog(desk_page).get_by_label("Reason").fill("the close")
    answer(desk_page, "Back to paper")
    expect_mode(desk_page, "PAPER")
    assert stored("mode") == "paper"


def test_a_stale_page_cannot_undo_a_halt(
    page: Page, sign_in: SignIn, server: Server, stored: Stored, complaints: Complaints
) -> None:
    complaints.expect("status of 409")
    sign_in(page, "admin")
    ask(page, "Go live…")
    page.route(f"{API}/state", lambda route: None)
    page.evaluate("window.dispatchEvent(new Event('focus'))")  # from now on no read tells what is new
    set_mode(server, "disabled")
    dialog(page).get_by_label("Reason").fill("open for business")
    dialog(page).get_by_label("Type LIVE").fill("LIVE")
    answer(page, "Go live")
    page.unroute(f"{API}/state")
    expect(
        page.get_by_role("alert").filter(has_text="Nothing was changed: the trading mode is no longer PAPER.")
    ).to_be_visible()
    expect_mode(page, "HALTED")
    assert stored("mode") == "disabled"


def test_the_question_says_that_others_wait_and_that_somebody_has_halted(
    page: Page, sign_in: SignIn, send_order: SendOrder, as_script: AsScript, stored: Stored
) -> None:
    send_order("AAPL")
    sign_in(page, "admin")
    ask(page, "Go live…")
    expect(dialog(page)).to_contain_text("The order that waits for approval will be canceled.")
    go = dialog(page).get_by_role("button", name="Go live")
    alert = dialog(page).get_by_role("alert")
    send_order("MSFT")
    expect(alert).to_have_text("By now 2 orders wait for approval: all will be canceled.")
    expect(go).not_to_have_attribute("aria-disabled", "true")
    dialog(page).get_by_label("Reason").fill("open for business")
    dialog(page).get_by_label("Type LIVE").fill("LIVE")
    as_script("operator", "PUT", "/mode", {"trading_mode": "disabled"})
    expect(alert).to_have_text("The trading mode is HALTED by now, no longer PAPER.")
    expect(go).to_have_attribute("aria-disabled", "true")
    dialog(page).get_by_label("Type LIVE").press("Enter")
    expect(dialog(page)).to_be_visible()
    answer(page, "Cancel")
    assert stored("mode") == "disabled"


def test_what_was_typed_outlives_a_no(desk_page: Page, server: Server, complaints: Complaints) -> None:
    complaints.expect("status of 500")
    set_mode(server, "disabled")
    desk_page.reload()
    ask(desk_page, "Resume in paper…")
    dialog(desk_page).get_by_label("Reason").fill("a long and careful reason")
    refuse(desk_page, "/mode", 500, "something went wrong on our side")
    dialog(desk_page).get_by_role("button", name="Resume in paper").click()
    expect(dialog(desk_page).get_by_role("alert")).to_contain_text("something went wrong on our side")
    expect(dialog(desk_page).get_by_label("Reason")).to_have_value("a long and careful reason")
    answer(desk_page, "Cancel")
    expect_mode(desk_page, "HALTED")


def test_the_header_never_covers_the_cards(desk_page: Page) -> None:
    box = card(desk_page, "Macro Signal Layer").bounding_box()
    header = desk_page.locator(".modebar").bounding_box()
    assert box
    assert header
    assert box["y"] >= header["y"] + header["height"]
