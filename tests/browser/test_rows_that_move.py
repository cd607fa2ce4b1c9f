"""One click approves in paper trading, so no click may hit an order that just came beneath the hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.at_once import until
from tests.browser.conftest import PHONE, Complaints, LockOut, OpenPage, SendOrder, SignIn, StopClock
from tests.browser.parts import API, announced, approve, awake, dialog, look_again, order, reject, row
from tests.serving import Server

STACKED = {"width": 1024, "height": 768}  # there the buttons of an order stand one above the other
MOVED = "The list had just moved: look again."
SETTLED = 1000  # milliseconds after which nothing has "just" moved

Press = Callable[[float, float], None]


def statuses(server: Server) -> dict[str, str]:
    return {str(ticker): str(status) for ticker, status in server.sql("SELECT ticker, status FROM orders")}


def middle(button: Locator) -> tuple[float, float]:
    box = button.bounding_box()
    assert box
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def sooner(server: Server, send_order: SendOrder, ticker: str) -> None:
    """An order that comes in and is the first to time out."""
    timeout = "{operator_approval,approval_timeout_minutes}"
    server.sql("UPDATE risk_configs SET config = jsonb_set(config, %s, '20')", timeout)
    send_order(ticker)


@pytest.mark.parametrize("kind", ["finger", "mouse"])
def test_a_tap_does_not_hit_the_order_that_came_in_above(
    open_page: OpenPage,
    stop_clock: StopClock,
    sign_in: SignIn,
    send_order: SendOrder,
    server: Server,
    kind: str,
) -> None:
    page = open_page(viewport=PHONE, has_touch=kind == "finger", is_mobile=kind == "finger")
    stop_clock(page)
    send_order("BBB")
    send_order("CCC")
    sign_in(page)
    awake(page)
    page.clock.run_for(SETTLED)
    place = middle(approve(page, "BBB"))
    press: Press = page.touchscreen.tap if kind == "finger" else page.mouse.click
    sooner(server, send_order, "ZZZ")
    look_again(page)
    order(page, "ZZZ").wait_for()
    press(*place)
    expect(order(page, "ZZZ")).to_contain_text(MOVED)
    expect(announced(page, MOVED)).to_be_visible()
    page.clock.run_for(SETTLED)
    assert set(statuses(server).values()) == {"pending_approval"}
    press(*middle(approve(page, "ZZZ")))
    expect(order(page, "ZZZ")).to_contain_text("Released by olga")
    assert statuses(server) == {"ZZZ": "released", "BBB": "pending_approval", "CCC": "pending_approval"}


def test_the_time_left_goes_on_once_that_was_read(
    open_page: OpenPage, stop_clock: StopClock, sign_in: SignIn, send_order: SendOrder, server: Server
) -> None:
    page = open_page()
    stop_clock(page)
    send_order("BBB")
    sign_in(page)
    awake(page)
    page.clock.run_for(SETTLED)
    place = middle(approve(page, "BBB"))
    sooner(server, send_order, "ZZZ")
    look_again(page)
    order(page, "ZZZ").wait_for()
    page.mouse.click(*place)
    expect(order(page, "ZZZ")).to_contain_text(MOVED)
    page.clock.run_for(6000)
    expect(order(page, "ZZZ")).not_to_contain_text(MOVED)
    shown = order(page, "BBB").locator('[data-slot="left"]')
    times: set[str] = set()

    def ticks() -> bool:
        # Each answer of the server sets the page's clock back to real time, so one second may show nothing new.
        page.clock.run_for(1000)
        times.add(shown.inner_text())
        return len(times) > 2

    until(ticks)


def test_a_click_does_not_hit_the_row_that_the_strip_pushed_down(
    page: Page,
    stop_clock: StopClock,
    sign_in: SignIn,
    send_order: SendOrder,
    server: Server,
    complaints: Complaints,
) -> None:
    complaints.expect("ERR_FAILED")
    stop_clock(page)
    send_order("AA1")
    send_order("AA2")
    sign_in(page)
    awake(page)
    box = approve(page, "AA2").bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 4)
    page.clock.run_for(SETTLED)
    page.route(f"{API}/state", lambda route: route.abort())
    page.evaluate("window.dispatchEvent(new Event('focus'))")
    page.locator(".strip.lost .strip-body").wait_for()
    before = box["y"]
    page.wait_for_function(
        "before => document.querySelectorAll('.approvals [data-slot=approve]')[1]"
        ".getBoundingClientRect().top > before + 30",
        arg=before,
    )
    page.mouse.down()
    page.mouse.up()
    expect(order(page, "AA1")).to_contain_text(MOVED)
    page.clock.run_for(SETTLED)
    assert set(statuses(server).values()) == {"pending_approval"}
    page.mouse.down()  # whoever looked again means it, but what there is to see may be out of date
    page.mouse.up()
    expect(announced(page, "Not approved: what you see may be out of date.")).to_be_visible()
    assert set(statuses(server).values()) == {"pending_approval"}


def comes_beneath(page: Page, button: Locator, place: tuple[float, float]) -> None:
    """Wait until a press there would meet that button."""
    page.wait_for_function(
        "([button, x, y]) => document.elementFromPoint(x, y) === button", arg=[button.element_handle(), *place]
    )


def test_a_click_on_reject_does_not_hit_the_approve_that_the_strip_pushed_down(
    open_page: OpenPage,
    stop_clock: StopClock,
    sign_in: SignIn,
    send_order: SendOrder,
    server: Server,
    complaints: Complaints,
) -> None:
    complaints.expect("ERR_FAILED")
    page = open_page(viewport=STACKED)
    stop_clock(page)
    send_order("AAA")
    sign_in(page)
    awake(page)
    place = middle(reject(page, "AAA"))
    page.mouse.move(*place)
    page.clock.run_for(SETTLED)
    page.route(f"{API}/state", lambda route: route.abort())
    page.evaluate("window.dispatchEvent(new Event('focus'))")
    comes_beneath(page, approve(page, "AAA"), place)
    page.mouse.click(*place)
    expect(order(page, "AAA")).to_contain_text(MOVED)
    assert statuses(server) == {"AAA": "pending_approval"}


def test_a_tap_on_reject_does_not_hit_the_approve_that_a_taller_row_pushed_down(
    open_page: OpenPage,
    stop_clock: StopClock,
    sign_in: SignIn,
    send_order: SendOrder,
    lock_out: LockOut,
    server: Server,
) -> None:
    page = open_page(viewport=STACKED, has_touch=True)
    stop_clock(page)
    for ticker in ("AAA", "BBB"):
        send_order(ticker)
    sign_in(page)
    awake(page)
    page.clock.run_for(SETTLED)
    place = middle(reject(page, "BBB"))
    lock_out("AAA", "Earnings come out after the close, and nobody knows how they will be taken")
    look_again(page)
    comes_beneath(page, approve(page, "BBB"), place)
    page.touchscreen.tap(*place)
    expect(order(page, "BBB")).to_contain_text(MOVED)
    assert set(statuses(server).values()) == {"pending_approval"}


def test_a_click_does_not_hit_the_lockout_that_the_strip_pushed_down(
    open_page: OpenPage,
    stop_clock: StopClock,
    sign_in: SignIn,
    lock_out: LockOut,
    complaints: Complaints,
) -> None:
    complaints.expect("ERR_FAILED")
    page = open_page(viewport={"width": 1440, "height": 1400})
    stop_clock(page)
    lock_out("AAA", minutes=10)
    lock_out("BBB", minutes=60)
    sign_in(page)
    awake(page)
    above, meant = (row(page, ticker).get_by_role("button", name="Remove") for ticker in ("AAA", "BBB"))
    place = middle(meant)
    page.mouse.move(*place)
    page.clock.run_for(SETTLED)
    page.route(f"{API}/state", lambda route: route.abort())
    page.evaluate("window.dispatchEvent(new Event('focus'))")
    comes_beneath(page, above, place)
    page.mouse.click(*place)
    expect(announced(page, MOVED)).to_be_visible()
    expect(dialog(page)).to_be_hidden()
    page.clock.run_for(SETTLED)
    page.mouse.click(*place)  # whoever looked again means it
    page.clock.run_for(SETTLED)
    expect(dialog(page)).to_contain_text("Remove the lockout of AAA?")


def test_scrolling_by_hand_is_not_moving(
    open_page: OpenPage, sign_in: SignIn, send_order: SendOrder, server: Server
) -> None:
    page = open_page(viewport=PHONE)
    for number in range(6):
        send_order(f"SYM{number}")
    sign_in(page)
    awake(page)
    page.wait_for_timeout(SETTLED)
    page.mouse.move(200, 600)
    page.mouse.wheel(0, 500)
    page.wait_for_function("() => window.scrollY >= 500")
    page.mouse.click(*middle(approve(page, "SYM3")))
    expect(order(page, "SYM3")).to_contain_text("Released by olga")


def test_keys_press_a_button_wherever_it_is(
    page: Page, sign_in: SignIn, send_order: SendOrder, server: Server
) -> None:
    send_order("BBB")
    sign_in(page)
    awake(page)
    approve(page, "BBB").focus()
    sooner(server, send_order, "ZZZ")
    order(page, "ZZZ").wait_for()
    page.keyboard.press("Enter")
    expect(order(page, "BBB")).to_contain_text("Released by olga")
    assert statuses(server)["ZZZ"] == "pending_approval"
