"""axe-core finds nothing and nothing is wider than the window, in every page and state, light and dark."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Page, expect

from app.settings import PROJECT
from tests.browser.conftest import DESKTOP, PHONE, Complaints, LockOut, OpenPage, SendOrder, SignIn
from tests.browser.parts import (
    PAPER,
    approve,
    awake,
    bulk,
    come_near_until,
    dialog,
    fill_lockout,
    last_day,
    lock_form,
    look_again,
    order,
    reject,
    switch,
    waiting,
)
from tests.browser.screenshots import PAST_EVENTS, PAST_LOCKOUTS, PAST_ORDERS
from tests.serving import Server

AXE = Path(PROJECT / "node_modules/axe-core/axe.min.js")
STANDARDS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
FIND = """async (tags) => {
  const { violations } = await axe.run(document, {
    runOnly: { type: 'tag', values: tags }, resultTypes: ['violations'],
  });
  return violations.map((v) => [v.id, v.nodes.map((node) => `${node.target.join(' ')}: ${node.failureSummary}`)]);
}"""
SMALL = """(least) => [...document.querySelectorAll('button, a:not(.skip), select, summary')]
  .map((element) => [element.getBoundingClientRect(), element.outerHTML.slice(0, 80)])
  .filter(([box]) => box.width && Math.min(box.width, box.height) < least)
  .map(([, html]) => html)
"""
LEAST_TARGET = 24
ZOOMED = {"width": 720, "height": 450}  # 1440 at 200 %


@pytest.fixture(params=[DESKTOP, PHONE], ids=["1440", "390"])
def seen(request: pytest.FixtureRequest, open_page: OpenPage) -> Page:
    phone = request.param is PHONE
    return open_page(viewport=request.param, reduced_motion="reduce", has_touch=phone, is_mobile=phone)


def check(page: Page) -> None:
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE.read_text())
    schemes: tuple[Literal["light", "dark"], ...] = ("light", "dark")
    for scheme in schemes:
        page.emulate_media(color_scheme=scheme)
        assert page.evaluate(FIND, STANDARDS) == [], scheme
    fits(page)


def fits(page: Page) -> None:
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def crowd(lock_out: LockOut) -> None:
    lock_out("AAPL", "News shock: guidance withdrawn", 59, "news_shock")
    lock_out("BTC/USD", "x" * 400, 1, "cooldown")
    lock_out("*", "Exchange outage; call the desk before you remove this one", 100_000)


def crowd_of_orders(send_order: SendOrder, lock_out: LockOut, server: Server) -> None:
    """Orders of every kind: about to time out, locked, of a long name, with a long rationale, and decided ones."""
    lock_out("LOCKED", "Exchange outage; call the desk before you remove this one")
    send_order("AAPL", type="limit", limit_price="187.5", reference_price="188", rationale="Short.")
    send_order("ABCDEFGHIJKLMNOPQRST", "sell", notional="123456789012345678.123456789", rationale="long " * 300)
    prices = {"stop_price": "123456789012345678.123456789", "limit_price": "123456789012345678.123456789"}
    send_order("BTC/USD", qty="0.123456789", type="stop_limit", strategy="s" * 200, **prices)
    server.sql("UPDATE orders SET expires_at = now() + interval '50 seconds' WHERE ticker = 'AAPL'")
    server.sql("UPDATE risk_configs SET config = '{}'")
    send_order("LOCKED")
    send_order("FREE", "sell", notional="1200.5")
    server.sql(
        "UPDATE orders SET status = 'pending_approval', decided_at = NULL, decided_by = NULL, reasons = '[]',"
        " expires_at = now() + interval '1 day' WHERE ticker = 'LOCKED'"
    )


def test_signing_in(seen: Page, complaints: Complaints) -> None:
    complaints.expect("status of 401")
    seen.goto("/login")
    check(seen)
    seen.get_by_label("Name").fill("nobody")
    seen.get_by_label("Password").fill("wrong")
    seen.get_by_role("button", name="Sign in").click()
    expect(seen.get_by_role("alert")).to_be_visible()
    check(seen)


def test_trading_empty_and_full(seen: Page, sign_in: SignIn, lock_out: LockOut) -> None:
    sign_in(seen, "admin")
    awake(seen)
    check(seen)
    crowd(lock_out)
    look_again(seen)
    expect(seen.get_by_role("status").filter(has_text="locked out")).to_be_visible()
    check(seen)


@pytest.mark.parametrize("mode", ["live", "disabled"])
def test_trading_in_the_other_modes(seen: Page, sign_in: SignIn, server: Server, mode: str) -> None:
    server.sql("UPDATE risk_configs SET trading_mode = %s", mode)
    sign_in(seen, "admin")
    awake(seen)
    check(seen)


def test_trading_with_a_question_open(seen: Page, sign_in: SignIn) -> None:
    sign_in(seen, "admin")
    awake(seen)
    switch(seen, PAPER).click()
    expect(dialog(seen)).to_be_visible()
    check(seen)
    seen.keyboard.press("Escape")
    seen.get_by_role("button", name="Alerts").click()
    check(seen)
    seen.keyboard.press("Escape")
    seen.get_by_role("button", name="Go live…").click()
    dialog(seen).get_by_role("button", name="Go live").click()
    expect(dialog(seen).get_by_label("Reason")).to_have_attribute("aria-invalid", "true")
    check(seen)


def test_trading_with_errors_and_lost_updates(seen: Page, sign_in: SignIn, complaints: Complaints) -> None:
    complaints.expect("status of 422", "ERR_FAILED")
    sign_in(seen, "operator")
    awake(seen)
    fill_lockout(seen, "no such$", "", "0")
    lock_form(seen).get_by_role("button", name="Lock out").click()
    expect(lock_form(seen).locator("[aria-invalid=true]")).to_have_count(3)
    check(seen)
    seen.route("**/api/admin/trading/state", lambda route: route.abort())
    seen.evaluate("window.dispatchEvent(new Event('focus'))")
    expect(seen.get_by_text("Live updates lost")).to_be_visible()
    check(seen)


def test_trading_with_a_broken_configuration(seen: Page, sign_in: SignIn, server: Server) -> None:
    server.sql("""UPDATE risk_configs SET config = '{"operator_approval": 7}'::jsonb""")
    sign_in(seen, "admin")
    awake(seen)
    check(seen)


def test_trading_before_a_viewer(seen: Page, sign_in: SignIn, lock_out: LockOut) -> None:
    crowd(lock_out)
    sign_in(seen, "viewer")
    awake(seen)
    check(seen)


def test_trading_with_orders_that_wait(
    seen: Page, sign_in: SignIn, send_order: SendOrder, lock_out: LockOut, server: Server, complaints: Complaints
) -> None:
    complaints.expect("ERR_FAILED")
    crowd_of_orders(send_order, lock_out, server)
    sign_in(seen, "operator")
    awake(seen)
    expect(waiting(seen)).to_have_count(4)
    check(seen)
    order(seen, "BTC/USD").get_by_role("checkbox").check()
    seen.locator("summary:visible").first.click()
    expect(bulk(seen)).to_be_visible()
    check(seen)
    seen.route("**/approvals/*/approve", lambda route: route.abort())
    approve(seen, "AAPL").click()
    expect(order(seen, "AAPL")).to_contain_text("It still waits.")
    check(seen)
    bulk(seen).get_by_role("button", name="Approve 1").click()
    expect(dialog(seen)).to_be_visible()
    check(seen)
    seen.keyboard.press("Escape")
    reject(seen, "AAPL").click()
    dialog(seen).get_by_label("Reason").fill("no")
    dialog(seen).get_by_role("button", name="Reject").click()
    expect(order(seen, "AAPL")).to_contain_text("Rejected by olga")
    check(seen)


def test_the_list_of_keys(page: Page, sign_in: SignIn, send_order: SendOrder) -> None:
    send_order()
    sign_in(page)
    awake(page)
    page.keyboard.press("?")
    expect(dialog(page)).to_be_visible()
    check(page)


def test_very_many_orders_that_wait_before_a_viewer(
    seen: Page, sign_in: SignIn, send_order: SendOrder, server: Server
) -> None:
    send_order()
    server.sql(
        "INSERT INTO orders (account_id, engine, client_order_id, ticker, side, qty, type, time_in_force,"
        " trading_mode, status, expires_at, rationale)"
        " SELECT account_id, engine, 'more-' || n, 'SYM' || n, side, n, type, time_in_force, trading_mode, status,"
        " expires_at, repeat('a long rationale ', 20) FROM orders, generate_series(1, 40) AS n"
    )
    sign_in(seen, "viewer")
    awake(seen)
    expect(waiting(seen)).to_have_count(41)
    check(seen)


def test_the_last_24_hours(seen: Page, sign_in: SignIn, server: Server) -> None:
    for rows in (PAST_ORDERS, PAST_LOCKOUTS, PAST_EVENTS):
        server.sql(rows)
    sign_in(seen)
    numbers = last_day(seen).get_by_text("In numbers")
    come_near_until(seen, numbers)
    numbers.click()
    check(seen)


def test_the_api(seen: Page) -> None:
    seen.goto("/docs/api")
    for summary in seen.locator("summary").all():
        summary.click()
    check(seen)


def test_audit(seen: Page, sign_in: SignIn, lock_out: LockOut) -> None:
    crowd(lock_out)
    sign_in(seen, path="/audit")
    check(seen)
    for summary in seen.locator("summary").all():
        summary.click()
    check(seen)


def test_questions_and_errors_without_javascript(open_page: OpenPage, sign_in: SignIn) -> None:
    page = open_page(viewport=PHONE)
    sign_in(page)
    page.route("**/js/trading.js", lambda route: route.fulfill(body="", content_type="text/javascript"))
    page.reload()
    switch(page, PAPER).click()
    expect(page.get_by_role("link", name="Cancel")).to_be_visible()
    check(page)


def test_a_page_that_is_not_there(page: Page, sign_in: SignIn, complaints: Complaints) -> None:
    complaints.expect("status of 404")
    sign_in(page)
    page.goto("/nowhere")
    check(page)


@pytest.mark.parametrize("path", ["/trading", "/audit"])
def test_at_twice_the_size(
    open_page: OpenPage, sign_in: SignIn, send_order: SendOrder, lock_out: LockOut, server: Server, path: str
) -> None:
    crowd(lock_out)
    crowd_of_orders(send_order, lock_out, server)
    page = open_page(viewport=ZOOMED, device_scale_factor=2)
    sign_in(page, "admin", path=path)
    fits(page)


def test_targets_are_large_enough(
    open_page: OpenPage, sign_in: SignIn, send_order: SendOrder, lock_out: LockOut, server: Server
) -> None:
    crowd(lock_out)
    crowd_of_orders(send_order, lock_out, server)
    page = open_page(viewport=PHONE, has_touch=True, is_mobile=True)
    sign_in(page, "admin")
    awake(page)
    assert page.evaluate(SMALL, LEAST_TARGET) == []
