"""Live-order approval: an admin's to change, everybody's to see."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from playwright.sync_api import Page, expect

from tests.browser.conftest import SignIn
from tests.browser.parts import LIVE, answer, card, count_changes, dialog, expect_switch, switch


def test_an_admin_switches_it_off_after_a_grave_question(
    page: Page, sign_in: SignIn, stored: Callable[[str], Any]
) -> None:
    sign_in(page, "admin")
    expect_switch(page, LIVE, on=True)
    switch(page, LIVE).click()
    expect(dialog(page)).to_contain_text("REAL MONEY")
    answer(page, "Auto-approve live orders")
    expect_switch(page, LIVE, on=False)
    expect(card(page, LIVE)).to_contain_text("Auto-approve live orders")
    assert stored("config")["operator_approval"]["require_approval_for_live"] is False


def test_an_operator_sees_it_and_why_it_is_not_theirs(desk_page: Page) -> None:
    sent = count_changes(desk_page, "/approval-config")
    expect(switch(desk_page, LIVE)).to_have_attribute("aria-disabled", "true")
    expect(card(desk_page, LIVE)).to_contain_text("Only an admin can change this.")
    switch(desk_page, LIVE).click(force=True)
    expect(dialog(desk_page)).to_be_hidden()
    assert sent == []
