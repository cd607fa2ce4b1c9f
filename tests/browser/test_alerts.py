"""A sound and a notification when an order comes in: off until switched on, for those who look elsewhere."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import SendOrder, SignIn
from tests.browser.parts import awake, dialog

# Audio that only counts, and notifications that are only listed; nobody looks at the page.
STUBS = """
window.played = 0;
class Node { connect() {} }
class Value { setValueAtTime() {} linearRampToValueAtTime() {} exponentialRampToValueAtTime() {} }
window.AudioContext = class {
  state = 'suspended';
  currentTime = 0;
  async resume() { this.state = 'running'; }
  createGain() { return Object.assign(new Node(), { gain: new Value() }); }
  createOscillator() {
    return Object.assign(new Node(), { frequency: {}, start() { window.played += 1; }, stop() {} });
  }
};
window.notices = [];
window.Notification = class {
  static permission = 'granted';
  static requestPermission = async () => 'granted';
  constructor(title) { window.notices.push(title); }
  close() {}
};
document.hasFocus = () => false;
"""
NOTES = 2  # of one sound


def button(page: Page) -> Locator:
    return page.get_by_role("button", name="Alerts")


def expect_played(page: Page, notes: int) -> None:
    """Exactly so many; the last may still be on their way."""
    page.wait_for_function("notes => window.played >= notes", arg=notes)
    assert page.evaluate("window.played") == notes


@pytest.fixture
def stubbed(page: Page, sign_in: SignIn) -> Page:
    page.add_init_script(STUBS)
    sign_in(page)
    awake(page)
    return page


def test_they_are_switched_on_tell_of_what_comes_in_and_are_remembered(
    stubbed: Page, send_order: SendOrder
) -> None:
    expect(button(stubbed)).to_have_text("Alerts off")
    button(stubbed).click()
    dialog(stubbed).get_by_label("Sound").check()
    dialog(stubbed).get_by_label("Notification").check()
    stubbed.wait_for_function("() => window.played > 0")  # a sample
    dialog(stubbed).get_by_role("button", name="Close").click()
    expect(button(stubbed)).to_have_text("Alerts on")
    expect(button(stubbed)).to_be_focused()
    send_order("AAPL")
    stubbed.wait_for_function("() => window.notices.length > 0")
    assert stubbed.evaluate("window.notices") == ["AAPL buy 10 waits for approval"]
    expect_played(stubbed, 2 * NOTES)
    stubbed.reload()
    awake(stubbed)
    expect(button(stubbed)).to_have_text("Alerts muted")
    expect(button(stubbed)).to_have_accessible_description(re.compile("no sound before your first click"))
    stubbed.get_by_role("heading", name="Active Lockouts").click()
    expect(button(stubbed)).to_have_text("Alerts on")
    send_order("MSFT")
    stubbed.wait_for_function("() => window.notices.length > 0")
    assert stubbed.evaluate("window.notices") == ["MSFT buy 10 waits for approval"]  # none of what waited already
    expect_played(stubbed, NOTES)


def test_they_are_off_unless_switched_on(stubbed: Page, send_order: SendOrder) -> None:
    send_order("AAPL")
    expect(stubbed).to_have_title("(1) Trading · Countersign")
    assert stubbed.evaluate("[window.played, window.notices.length]") == [0, 0]


def test_a_browser_that_refuses_is_quoted(desk_page: Page) -> None:
    awake(desk_page)
    button(desk_page).click()
    box = dialog(desk_page).get_by_label("Notification")
    box.click()
    expect(dialog(desk_page).get_by_role("alert")).to_contain_text("refuses notifications from this site")
    expect(box).not_to_be_checked()
    dialog(desk_page).get_by_role("button", name="Close").click()
    expect(button(desk_page)).to_have_text("Alerts refused")
