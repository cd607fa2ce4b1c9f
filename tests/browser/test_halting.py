"""One click stops everything."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import PHONE, Complaints, LockOut, OpenPage, SignIn
from tests.browser.parts import API, awake, count_changes, dialog, expect_mode, hold, refuse, row
from tests.serving import Server

Stored = Callable[[str], Any]

# A browser that is told to keep nothing, and a frame that belongs to nobody.
REFUSE_EVERYTHING = """
const refuse = () => { throw new DOMException('refused', 'SecurityError'); };
for (const name of ['localStorage', 'sessionStorage']) Object.defineProperty(window, name, { get: refuse });
for (const name of ['request', 'query']) LockManager.prototype[name] = async () => refuse();
for (const name of ['BroadcastChannel', 'AudioContext', 'Notification']) {
  window[name] = class { constructor() { refuse(); } };
}
HTMLCanvasElement.prototype.getContext = () => null;
"""


@pytest.mark.parametrize("mode", ["paper", "live"])
def test_one_click_halts_without_a_question(desk_page: Page, server: Server, stored: Stored, mode: str) -> None:
    server.sql("UPDATE risk_configs SET trading_mode = %s", mode)
    desk_page.reload()
    expect_mode(desk_page, mode.upper())
    desk_page.get_by_role("button", name="Halt trading").click()
    expect(dialog(desk_page)).to_be_hidden()
    expect_mode(desk_page, "HALTED")
    assert stored("mode") == "disabled"


def test_it_works_in_the_first_instant_of_the_page(page: Page, sign_in: SignIn, stored: Stored) -> None:
    sign_in(page)
    page.goto("/trading", wait_until="commit")
    page.get_by_role("button", name="Halt trading").click()
    expect_mode(page, "HALTED")
    assert stored("mode") == "disabled"


@pytest.mark.parametrize("refused", [REFUSE_EVERYTHING, REFUSE_EVERYTHING.replace("'BroadcastChannel', ", "")])
def test_it_works_and_the_page_follows_the_desk_whatever_else_the_browser_refuses(
    page: Page, sign_in: SignIn, lock_out: LockOut, stored: Stored, complaints: Complaints, refused: str
) -> None:
    complaints.expect("uncaught: Cannot set properties of null")  # of the icon, which is drawn last
    page.add_init_script(refused)
    sent = count_changes(page, "/mode")
    sign_in(page)
    awake(page)
    lock_out("TSLA")
    expect(row(page, "TSLA")).to_be_visible()
    page.get_by_role("button", name="Halt trading").click()
    expect_mode(page, "HALTED")
    assert set(sent) == {"PUT"}  # more than one where the machine is slow: the page sends a halt again
    assert stored("mode") == "disabled"


def test_it_is_in_reach_at_the_end_of_a_long_page_on_a_phone(
    open_page: OpenPage, sign_in: SignIn, lock_out: LockOut
) -> None:
    for number in range(12):
        lock_out(f"SYM{number}")
    page = open_page(viewport=PHONE, has_touch=True, is_mobile=True)
    sign_in(page)
    page.evaluate("window.scrollTo(0, document.body.scrollHeight)")
    halt = page.get_by_role("button", name="Halt trading")
    expect(halt).to_be_in_viewport(ratio=1)
    box = halt.bounding_box()
    assert box
    assert min(box["height"], box["width"]) >= 44
    halt.tap()
    expect_mode(page, "HALTED")


def test_a_double_click_halts_once_and_never_resumes(desk_page: Page, server: Server, stored: Stored) -> None:
    sent = count_changes(desk_page, "/mode")
    awake(desk_page)
    desk_page.get_by_role("button", name="Halt trading").dblclick()
    expect_mode(desk_page, "HALTED")
    expect(dialog(desk_page)).to_be_hidden()
    assert stored("mode") == "disabled"
    assert set(sent) == {"PUT"}  # halting twice is harmless; nothing else was sent
    assert server.sql("SELECT count(*) FROM audit_events WHERE action = 'mode.change'") == [(1,)]


def test_it_still_works_when_the_page_believes_it_is_halted(
    desk_page: Page, server: Server, stored: Stored
) -> None:
    server.sql("UPDATE risk_configs SET trading_mode = 'disabled'")
    hold(desk_page, "/state")
    desk_page.reload()
    awake(desk_page)
    server.sql("UPDATE risk_configs SET trading_mode = 'paper'")
    desk_page.get_by_role("button", name="Halt trading").click()
    expect(desk_page.get_by_role("status").filter(has_text="Trading is halted already.")).to_be_visible()
    assert stored("mode") == "disabled"


def test_a_halt_that_failed_is_said_loudly(desk_page: Page, stored: Stored, complaints: Complaints) -> None:
    complaints.expect("status of 503")
    awake(desk_page)
    refuse(desk_page, "/mode", 503, "the database does not answer")
    desk_page.get_by_role("button", name="Halt trading").click()
    alert = desk_page.get_by_role("alert").filter(has_text="HALT NOT CONFIRMED. the database does not answer")
    expect(alert).to_be_visible()
    expect_mode(desk_page, "PAPER")
    desk_page.unroute(f"{API}/mode")
    expect_mode(desk_page, "HALTED")  # it is asked for again by itself
    expect(alert).to_be_hidden()
    assert stored("mode") == "disabled"


def test_a_halt_with_an_ended_session_is_said_to_be_none(
    desk_page: Page, stored: Stored, complaints: Complaints
) -> None:
    complaints.expect("status of 401")
    awake(desk_page)
    desk_page.context.clear_cookies()
    desk_page.get_by_role("button", name="Halt trading").click()
    alert = desk_page.get_by_role("alert").filter(has_text="HALT")
    expect(alert).to_contain_text("NOT HALTED: your session has ended. Sign in and halt again.")
    assert stored("mode") == "paper"


def test_a_halt_without_an_answer_is_not_called_a_halt(desk_page: Page, complaints: Complaints) -> None:
    complaints.expect("ERR_FAILED")
    awake(desk_page)

    def lose(route: Route) -> None:
        route.abort()

    desk_page.route(f"{API}/mode", lose)
    desk_page.route(f"{API}/state", lose)
    desk_page.get_by_role("button", name="Halt trading").click()
    expect(desk_page.get_by_role("alert").filter(has_text="may or may not have been made")).to_be_visible()
    expect_mode(desk_page, "PAPER")
    desk_page.unroute(f"{API}/state")  # until a read tells what became of it
    expect(desk_page.get_by_role("alert").filter(has_text="NOT HALTED as of")).to_be_visible()
    expect_mode(desk_page, "PAPER")
    desk_page.get_by_role("button", name="Stop trying").click()
    expect(desk_page.get_by_role("alert").filter(has_text="HALT")).to_have_count(0)
    expect(desk_page.get_by_role("button", name="Halt trading")).to_be_visible()
