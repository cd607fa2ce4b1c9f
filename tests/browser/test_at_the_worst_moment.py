"""What an operator met at the worst moment of the day: overtaken questions, veils, old tabs, dead servers."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from playwright.sync_api import Page, expect

from tests.browser.conftest import PHONE, AsScript, Complaints, OpenPage, SendOrder, SignIn, StopClock
from tests.browser.parts import (
    API,
    LOCKOUTS,
    PAPER,
    answer,
    approve,
    awake,
    card,
    dialog,
    expect_mode,
    look_again,
    order,
    row,
    switch,
)
from tests.serving import Server

Stored = Callable[[str], Any]


def halt(page: Page) -> None:
    page.get_by_role("button", name="Halt trading").click()


def sign_in_anew_beside(page: Page, sign_in: SignIn) -> None:
    """In another tab of the same browser."""
    awake(page)
    other = page.context.new_page()
    other.goto("/trading")
    other.get_by_role("button", name="Sign out").click()
    sign_in(other)


def test_a_question_that_lay_open_does_not_undo_a_newer_halt(
    desk_page: Page, server: Server, stored: Stored, complaints: Complaints
) -> None:
    """Halted, resumed and halted again meanwhile: the mode is the same as before, the halt is not."""
    complaints.expect("412")
    server.sql("UPDATE risk_configs SET trading_mode = 'disabled'")
    desk_page.reload()
    awake(desk_page)
    desk_page.get_by_role("button", name="Resume in paper…").click()
    dialog(desk_page).get_by_label("Reason").fill("all clear")
    desk_page.route(f"{API}/state", lambda route: None)
    desk_page.evaluate("window.dispatchEvent(new Event('focus'))")  # from now on no read tells what is new
    server.sql("UPDATE risk_configs SET version = version + 2")
    dialog(desk_page).get_by_role("button", name="Resume in paper").click()
    expect(desk_page.get_by_role("alert").filter(has_text="Nothing was changed")).to_contain_text(
        "the desk was changed while you were deciding"
    )
    assert stored("mode") == "disabled"


def test_a_question_says_that_it_was_overtaken_by_a_newer_halt(
    desk_page: Page, as_script: AsScript, stored: Stored
) -> None:
    as_script("operator", "PUT", "/mode", {"trading_mode": "disabled"})
    expect_mode(desk_page, "HALTED")
    desk_page.get_by_role("button", name="Resume in paper…").click()
    resume = {"trading_mode": "paper", "from": "disabled", "reason": "all clear"}
    as_script("operator", "PUT", "/mode", resume)
    as_script("operator", "PUT", "/mode", {"trading_mode": "disabled"})
    expect(dialog(desk_page).get_by_role("alert")).to_contain_text("The desk was changed while you were deciding")
    expect(dialog(desk_page).get_by_role("button", name="Resume")).to_have_attribute("aria-disabled", "true")
    answer(desk_page, "Cancel")
    assert stored("mode") == "disabled"


def test_a_switch_that_somebody_else_has_turned_is_not_asked_about_any_more(
    desk_page: Page, as_script: AsScript
) -> None:
    awake(desk_page)
    switch(desk_page, PAPER).click()
    as_script("operator", "PUT", "/approval-config", {"auto_approve_paper": False})
    expect(dialog(desk_page).get_by_role("alert")).to_have_text(
        "This changed while you were deciding: already done."
    )
    expect(dialog(desk_page).locator("[type=submit]")).to_have_attribute("aria-disabled", "true")
    answer(desk_page, "Cancel")


def test_halt_is_one_click_though_a_dialog_is_open(desk_page: Page, stored: Stored) -> None:
    awake(desk_page)
    switch(desk_page, PAPER).click()
    expect(dialog(desk_page)).to_be_visible()
    box = desk_page.get_by_text("Halt trading", exact=True).bounding_box()
    assert box is not None
    desk_page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    expect_mode(desk_page, "HALTED")
    expect(dialog(desk_page)).to_be_hidden()
    assert stored("mode") == "disabled"
    assert stored("config") == {}


def test_a_click_elsewhere_beside_a_dialog_does_nothing(desk_page: Page, stored: Stored) -> None:
    awake(desk_page)
    switch(desk_page, PAPER).click()
    desk_page.mouse.click(5, 600)
    expect(dialog(desk_page)).to_be_visible()
    assert stored("mode") == "paper"


def test_halt_works_on_a_page_of_an_older_session(
    desk_page: Page, sign_in: SignIn, stored: Stored, complaints: Complaints
) -> None:
    complaints.expect("403", "401")  # the page may hear of it between signing out and in
    sign_in_anew_beside(desk_page, sign_in)
    halt(desk_page)
    expect_mode(desk_page, "HALTED")
    assert stored("mode") == "disabled"


def test_any_other_act_on_a_page_of_an_older_session_begins_anew(
    desk_page: Page, sign_in: SignIn, stored: Stored, complaints: Complaints
) -> None:
    complaints.expect("403", "401")  # the page may hear of it between signing out and in
    sign_in_anew_beside(desk_page, sign_in)
    form = card(desk_page, LOCKOUTS).locator("form").first
    form.get_by_label("Ticker").fill("AAPL")
    form.get_by_label("Reason").fill("halt pending")
    with desk_page.expect_navigation():
        form.get_by_role("button", name="Lock out").click()
    awake(desk_page)
    expect(form.get_by_label("Reason")).to_have_value("halt pending")
    form.get_by_role("button", name="Lock out").click()
    expect(row(desk_page, "AAPL")).to_be_visible()


def test_a_halt_that_nobody_answered_is_settled_by_the_next_good_read(
    desk_page: Page, server: Server, complaints: Complaints
) -> None:
    complaints.expect("Failed to load resource")
    awake(desk_page)
    desk_page.route(f"{API}/mode", lambda route: route.abort())
    halt(desk_page)
    alert = desk_page.get_by_role("alert").filter(has_text="NOT HALTED")
    expect(alert).to_contain_text("Halting, trying again…")
    desk_page.unroute(f"{API}/mode")
    expect_mode(desk_page, "HALTED")
    expect(alert).to_have_count(0)


def test_a_slow_halt_can_be_pressed_again(desk_page: Page, stored: Stored) -> None:
    awake(desk_page)
    held: list[Any] = []
    pressed_again: list[bool] = []
    desk_page.route(f"{API}/mode", lambda route: route.continue_() if pressed_again else held.append(route))
    halt(desk_page)
    expect(desk_page.get_by_role("button", name="Halting…")).to_be_visible()
    desk_page.wait_for_timeout(2100)
    assert len(held) == 7  # the first, and after 1.5 s one on each connection
    pressed_again.append(True)
    desk_page.get_by_role("button", name="Halting…").click()
    expect_mode(desk_page, "HALTED")
    assert stored("mode") == "disabled"


def test_a_broken_configuration_is_not_drawn_as_orders_that_flow(desk_page: Page, server: Server) -> None:
    server.sql("""UPDATE risk_configs SET config = '{"position_limits": {"max_order_value": "abc"}}'""")
    desk_page.reload()
    awake(desk_page)
    expect(desk_page.locator(".mode-words")).to_have_text(re.compile("blocks every order"))
    banner = card(desk_page, "Broken configuration")
    expect(banner).to_contain_text("position_limits.max_order_value")
    expect(banner.get_by_text("approval values")).to_be_hidden()
    expect(banner).to_contain_text("PUT /api/admin/trading/config")


def test_a_dialog_fits_a_phone(open_page: OpenPage, sign_in: SignIn, server: Server) -> None:
    phone = open_page(viewport=PHONE)
    sign_in(phone)
    server.sql(
        "INSERT INTO symbol_lockouts (ticker, reason, created_by, expires_at)"
        " VALUES ('ABCDEFGHIJKLMNOPQRST', 'a long name', 'x', now() + interval '1 hour')"
    )
    phone.reload()
    awake(phone)
    row(phone, "ABCDEFGHIJKLMNOPQRST").get_by_role("button", name="Remove").click()
    opened = dialog(phone)
    expect(opened).to_be_visible()
    assert opened.evaluate("d => [...d.querySelectorAll('*')].every(e => e.scrollWidth <= d.clientWidth)")
    expect(opened.get_by_role("button", name="Remove lockout")).to_be_in_viewport(ratio=1)


def test_a_click_that_met_a_moved_list_is_not_held_against_the_row_for_long(
    page: Page, stop_clock: StopClock, sign_in: SignIn, send_order: SendOrder, server: Server
) -> None:
    stop_clock(page)
    send_order("BBB")
    sign_in(page)
    awake(page)
    page.clock.run_for(1000)
    box = approve(page, "BBB").bounding_box()
    assert box
    timeout = "{operator_approval,approval_timeout_minutes}"
    server.sql("UPDATE risk_configs SET config = jsonb_set(config, %s, '20')", timeout)
    send_order("ZZZ")  # comes in above, for it is the first to time out
    look_again(page)
    order(page, "ZZZ").wait_for()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    moved = order(page, "ZZZ").get_by_text("The list had just moved: look again.")
    expect(moved).to_be_visible()
    page.clock.run_for(3000)
    expect(moved).to_be_visible()
    page.clock.run_for(3500)
    expect(moved).to_be_hidden()
    assert server.sql("SELECT DISTINCT status FROM orders") == [("pending_approval",)]
