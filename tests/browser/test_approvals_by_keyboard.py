"""Pending approvals by single keys: j, k, x, a, r and ?."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import SendOrder, SignIn, StopClock
from tests.browser.parts import (
    PAPER,
    answer,
    awake,
    bulk,
    dialog,
    expect_mode,
    heading,
    lock_form,
    order,
    select,
    switch,
)
from tests.serving import Server

AT_LEAST_A_GLANCE = 500  # milliseconds


@pytest.fixture
def three(page: Page, sign_in: SignIn, send_order: SendOrder) -> Page:
    """The page with three orders that wait."""
    return with_three_orders(page, sign_in, send_order)


def with_three_orders(page: Page, sign_in: SignIn, send_order: SendOrder) -> Page:
    for ticker in ("AAPL", "MSFT", "TSLA"):
        send_order(ticker)
    sign_in(page)
    awake(page)
    return page


def stored(server: Server) -> list[str]:
    return [str(row[0]) for row in server.sql("SELECT status FROM orders ORDER BY seq")]


def test_j_and_k_move(three: Page) -> None:
    three.keyboard.press("j")
    expect(order(three, "AAPL")).to_be_focused()
    three.keyboard.press("k")
    expect(order(three, "AAPL")).to_be_focused()
    for _ in range(4):
        three.keyboard.press("j")
    expect(order(three, "TSLA")).to_be_focused()
    three.keyboard.press("k")
    expect(order(three, "MSFT")).to_be_focused()


def test_a_approves_and_goes_on_to_the_next(three: Page, server: Server) -> None:
    three.keyboard.press("j")
    three.keyboard.press("a")
    expect(order(three, "AAPL")).to_contain_text("Released by olga")
    expect(order(three, "MSFT")).to_be_focused()
    three.wait_for_timeout(AT_LEAST_A_GLANCE)
    three.keyboard.press("a")
    expect(order(three, "TSLA")).to_be_focused()
    assert stored(server) == ["released", "released", "pending_approval"]


def test_a_key_that_bounces_or_is_held_down_approves_one_order(
    page: Page, stop_clock: StopClock, sign_in: SignIn, send_order: SendOrder, server: Server
) -> None:
    stop_clock(page)
    three = with_three_orders(page, sign_in, send_order)
    three.keyboard.press("j")
    three.keyboard.down("a")
    expect(order(three, "AAPL")).to_contain_text("Released by olga")
    three.clock.run_for(50)
    expect(order(three, "MSFT")).to_be_focused()
    three.keyboard.up("a")
    three.keyboard.press("a")
    three.keyboard.down("a")
    three.clock.run_for(AT_LEAST_A_GLANCE)
    three.keyboard.down("a")  # repeats
    three.wait_for_timeout(300)
    assert stored(server) == ["released", "pending_approval", "pending_approval"]


def test_r_asks_why_and_rejects(three: Page, server: Server) -> None:
    three.keyboard.press("j")
    three.keyboard.press("r")
    expect(dialog(three).get_by_label("Reason")).to_be_focused()
    three.keyboard.type("a jar of k, x and ?")
    three.keyboard.press("Enter")
    expect(order(three, "AAPL")).to_contain_text("Rejected by olga")
    expect(order(three, "MSFT")).to_be_focused()
    assert server.sql("SELECT decision_note FROM orders WHERE status = 'rejected'") == [("a jar of k, x and ?",)]


def test_x_selects(three: Page) -> None:
    three.keyboard.press("j")
    three.keyboard.press("x")
    three.keyboard.press("j")
    three.keyboard.press("x")
    expect(bulk(three)).to_contain_text("2 selected")
    expect(order(three, "MSFT").get_by_role("checkbox")).to_be_checked()
    three.keyboard.press("x")
    expect(bulk(three)).to_contain_text("1 selected")
    expect(order(three, "MSFT")).to_be_focused()


def test_keys_act_from_within_a_row_too(three: Page, server: Server) -> None:
    select(three, "MSFT")
    three.keyboard.press("a")
    expect(order(three, "MSFT")).to_contain_text("Released by olga")
    assert stored(server) == ["pending_approval", "released", "pending_approval"]


def test_without_an_order_in_focus_nothing_is_decided(three: Page, server: Server) -> None:
    for key in ("a", "r", "x"):
        three.keyboard.press(key)
    expect(dialog(three)).to_be_hidden()
    expect(bulk(three)).to_be_hidden()
    three.wait_for_timeout(300)
    assert stored(server) == ["pending_approval"] * 3


def test_what_is_typed_in_a_field_is_no_command(three: Page, server: Server) -> None:
    lock_form(three).get_by_label("Reason").focus()
    three.keyboard.type("jar?")
    expect(lock_form(three).get_by_label("Reason")).to_have_value("jar?")
    expect(dialog(three)).to_be_hidden()
    assert stored(server) == ["pending_approval"] * 3


def test_while_a_question_is_open_keys_do_nothing(three: Page, server: Server) -> None:
    three.keyboard.press("j")
    switch(three, PAPER).click()
    expect(dialog(three)).to_be_visible()
    for key in ("j", "a", "x"):
        three.keyboard.press(key)
    answer(three, "Cancel")
    expect(switch(three, PAPER)).to_be_focused()
    expect(bulk(three)).to_be_hidden()
    assert stored(server) == ["pending_approval"] * 3


def test_with_a_modifier_a_key_is_the_browsers(three: Page, server: Server) -> None:
    three.keyboard.press("j")
    three.keyboard.press("Control+a")
    three.keyboard.press("Alt+a")
    three.wait_for_timeout(300)
    assert stored(server) == ["pending_approval"] * 3


def test_a_question_mark_lists_the_keys_and_can_switch_them_off(three: Page) -> None:
    three.keyboard.press("j")
    three.keyboard.press("?")
    expect(dialog(three)).to_contain_text("approve the order")
    three.keyboard.press("Escape")
    expect(dialog(three)).to_be_hidden()
    expect(order(three, "AAPL")).to_be_focused()
    three.get_by_role("button", name="Keys").click()
    dialog(three).get_by_label("Keys are on").uncheck()
    answer(three, "Close")
    three.keyboard.press("j")
    expect(order(three, "AAPL")).not_to_be_focused()
    three.reload()
    awake(three)
    three.keyboard.press("j")
    expect(three.locator("tr.order:focus")).to_have_count(0)
    three.get_by_role("button", name="Keys").click()
    dialog(three).get_by_label("Keys are on").check()
    answer(three, "Close")
    three.keyboard.press("j")
    expect(order(three, "AAPL")).to_be_focused()


def test_halt_is_one_click_though_the_keys_are_listed(three: Page) -> None:
    three.keyboard.press("?")
    expect(dialog(three)).to_be_visible()
    box = three.get_by_text("Halt trading", exact=True).bounding_box()
    assert box
    three.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    expect_mode(three, "HALTED")


def test_with_real_money_a_stray_enter_is_a_no(
    page: Page, sign_in: SignIn, send_order: SendOrder, server: Server
) -> None:
    server.sql("UPDATE risk_configs SET trading_mode = 'live'")
    send_order()
    sign_in(page)
    awake(page)
    page.keyboard.press("j")
    page.keyboard.press("a")
    expect(dialog(page)).to_contain_text("REAL MONEY")
    page.keyboard.press("Enter")
    expect(dialog(page)).to_be_hidden()
    expect(order(page, "AAPL")).to_be_focused()
    assert stored(server) == ["pending_approval"]


def test_after_the_last_the_heading_has_the_focus(page: Page, sign_in: SignIn, send_order: SendOrder) -> None:
    send_order()
    sign_in(page)
    awake(page)
    page.keyboard.press("j")
    page.keyboard.press("a")
    expect(heading(page)).to_be_focused()
