"""Every control, by the keyboard alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from playwright.sync_api import Page, expect

from tests.browser.conftest import LockOut, SignIn
from tests.browser.parts import (
    LOCKOUTS,
    MACRO,
    PAPER,
    awake,
    card,
    dialog,
    expect_mode,
    expect_switch,
    lock_form,
    row,
    rows,
    switch,
)

TABS = 60  # more than there are controls


def tab_to(page: Page, name: str, description: str | None = None) -> None:
    """Press Tab until the control of that accessible name has the focus."""
    for _ in range(TABS):
        page.keyboard.press("Tab")
        focused = page.locator(":focus")
        found = focused.count() and page.evaluate(ACCESSIBLE_NAME) == name
        if found and (description is None or description in page.evaluate(DESCRIPTION)):
            return
    raise AssertionError(f"Tab never reaches {name}")


ACCESSIBLE_NAME = """() => {
  const element = document.activeElement;
  const labelled = element.getAttribute('aria-labelledby');
  if (labelled) return document.getElementById(labelled).textContent.trim();
  if (element.labels?.length) return element.labels[0].textContent.trim();
  return element.textContent.trim();
}"""
DESCRIPTION = """() => (document.activeElement.getAttribute('aria-describedby') ?? '').split(' ')
  .map((id) => document.getElementById(id)?.textContent ?? '').join(' ')"""


def test_the_focus_is_always_to_be_seen(desk_page: Page) -> None:
    awake(desk_page)
    desk_page.keyboard.press("Tab")
    expect(desk_page.get_by_role("link", name="Skip to the content")).to_be_in_viewport()
    seen = 0
    while True:
        desk_page.keyboard.press("Tab")
        focused = desk_page.locator(":focus")
        if not focused.count():  # past the last control
            break
        seen += 1
        expect(focused).to_be_in_viewport()
        assert focused.evaluate("(element) => getComputedStyle(element).outlineStyle") == "solid"
    assert seen > 15


def test_the_paper_switch(desk_page: Page) -> None:
    awake(desk_page)
    tab_to(desk_page, PAPER)
    desk_page.keyboard.press("Space")
    expect(dialog(desk_page).get_by_role("button", name="Cancel")).to_be_focused()
    desk_page.keyboard.press("Tab")
    desk_page.keyboard.press("Enter")
    expect_switch(desk_page, PAPER, on=True)
    expect(switch(desk_page, PAPER)).to_be_focused()


def test_a_layer_switch(desk_page: Page) -> None:
    awake(desk_page)
    tab_to(desk_page, MACRO)
    desk_page.keyboard.press("Enter")
    expect_switch(desk_page, MACRO, on=False)
    expect(switch(desk_page, MACRO)).to_be_focused()


def test_halting_and_going_live(page: Page, sign_in: SignIn, stored: Callable[[str], Any]) -> None:
    sign_in(page, "admin")
    awake(page)
    tab_to(page, "Halt trading")
    page.keyboard.press("Enter")
    expect_mode(page, "HALTED")
    page.evaluate("document.activeElement.blur()")
    tab_to(page, "Go live…")
    page.keyboard.press("Enter")
    expect(dialog(page).get_by_label("Reason")).to_be_focused()
    page.keyboard.type("open for business")
    page.keyboard.press("Tab")
    page.keyboard.type("live")
    page.keyboard.press("Enter")
    expect_mode(page, "LIVE")
    assert stored("mode") == "live"


def test_a_lockout_from_form_to_removal(desk_page: Page) -> None:
    awake(desk_page)
    tab_to(desk_page, "Ticker")
    desk_page.keyboard.type("brk.b")
    desk_page.keyboard.press("Tab")
    desk_page.keyboard.type("news")
    tab_to(desk_page, "15 m")
    desk_page.keyboard.press("Enter")
    tab_to(desk_page, "Lock out")
    desk_page.keyboard.press("Enter")
    expect(row(desk_page, "BRK.B")).to_contain_text("14m")
    expect(lock_form(desk_page).get_by_label("Ticker")).to_be_focused()
    tab_to(desk_page, "+1 h", "BRK.B")
    desk_page.keyboard.press("Enter")
    expect(row(desk_page, "BRK.B")).to_contain_text("1h 14m")
    tab_to(desk_page, "Remove", "BRK.B")
    desk_page.keyboard.press("Enter")
    expect(dialog(desk_page)).to_be_visible()
    desk_page.keyboard.press("Tab")
    desk_page.keyboard.press("Enter")
    expect(rows(desk_page)).to_have_count(0)
    expect(card(desk_page, LOCKOUTS).get_by_role("heading")).to_be_focused()


def test_a_stray_enter_at_a_question_is_a_no(desk_page: Page, lock_out: LockOut) -> None:
    lock_out("AAPL")
    desk_page.reload()
    awake(desk_page)
    row(desk_page, "AAPL").get_by_role("button", name="Remove").focus()
    desk_page.keyboard.press("Enter")
    expect(dialog(desk_page)).to_be_visible()
    desk_page.keyboard.press("Enter")
    expect(dialog(desk_page)).to_be_hidden()
    expect(row(desk_page, "AAPL")).to_be_visible()
