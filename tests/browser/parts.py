"""The parts of the Trading page, by the names that people and screen readers know them by."""

from __future__ import annotations

import re
from typing import Any

from playwright.sync_api import Locator, Page, Route, expect

from tests.at_once import until

MACRO = "Macro Signal Layer"
COMPETITIVE = "Competitive Signal Layer"
PAPER = "Paper Order Approval"
LIVE = "Live Order Approval"
PENDING = "Pending Approvals"
LOCKOUTS = "Active Lockouts"
DECISIONS = "Recent decisions"
API = "**/api/admin/trading"


def card(page: Page, name: str) -> Locator:
    return page.get_by_role("region", name=name, exact=True)


def switch(page: Page, name: str) -> Locator:
    return card(page, name).get_by_role("switch", name=name)


def expect_switch(page: Page, name: str, on: bool) -> None:
    expect(switch(page, name)).to_have_attribute("aria-checked", "true" if on else "false")


def dialog(page: Page) -> Locator:
    return page.get_by_role("dialog")


def answer(page: Page, button: str) -> None:
    """Press a button of the open dialog, and see it close."""
    dialog(page).get_by_role("button", name=button, exact=True).click()
    expect(dialog(page)).to_be_hidden()


def rows(page: Page) -> Locator:
    """The rows of the list of lockouts, less its head."""
    return card(page, LOCKOUTS).get_by_role("row").filter(has=page.get_by_role("cell"))


def row(page: Page, ticker: str) -> Locator:
    return rows(page).filter(has=page.get_by_role("cell", name=re.compile(rf"^{re.escape(ticker)}( |$)")))


def waiting(page: Page) -> Locator:
    """The rows of the orders that wait, and of those that just stopped waiting."""
    return card(page, PENDING).locator("tr.order")


def order(page: Page, ticker: str) -> Locator:
    return waiting(page).filter(has=page.get_by_text(ticker, exact=True))


def approve(page: Page, ticker: str) -> Locator:
    return order(page, ticker).get_by_role("button", name="Approv")


def reject(page: Page, ticker: str) -> Locator:
    return order(page, ticker).get_by_role("button", name="Reject")


def select(page: Page, ticker: str) -> None:
    order(page, ticker).get_by_role("checkbox").check()


def bulk(page: Page) -> Locator:
    return page.get_by_role("group", name="Decide the selected orders")


def decisions(page: Page) -> Locator:
    """The rows of the orders that were decided."""
    return card(page, DECISIONS).get_by_role("row").filter(has=page.get_by_role("cell"))


def heading(page: Page) -> Locator:
    return card(page, PENDING).get_by_role("heading", name="Pending Approvals")


def announced(page: Page, text: str) -> Locator:
    return page.get_by_role("status").filter(has_text=text)


def mode(page: Page) -> Locator:
    return page.locator(".badge")


def expect_mode(page: Page, label: str) -> None:
    expect(mode(page)).to_contain_text(label)


def lock_form(page: Page) -> Locator:
    return card(page, LOCKOUTS).locator("form").first


def fill_lockout(page: Page, ticker: str, reason: str, minutes: str | None = None) -> None:
    form = lock_form(page)
    form.get_by_label("Ticker").fill(ticker)
    form.get_by_label("Reason").fill(reason)
    if minutes is not None:
        form.get_by_label("Duration (minutes)").fill(minutes)


def look_again(page: Page) -> None:
    """Come back to the page, as from another window: it reads the state at once."""
    with page.expect_response("**/state"):
        page.evaluate("window.dispatchEvent(new Event('focus'))")


def awake(page: Page) -> None:
    """Wait until the script has taken over."""
    page.wait_for_function("() => document.querySelector('.modebar')?._x_dataStack !== undefined")


def refuse(page: Page, path: str, status: int, detail: str, code: str = "refused", **more: Any) -> list[str]:
    """From now on the server's answer to changes at `path` is a no; the methods that asked are listed."""
    asked: list[str] = []

    def say_no(route: Route) -> None:
        if route.request.method == "GET":
            route.fallback()
            return
        asked.append(route.request.method)
        route.fulfill(
            status=status,
            content_type="application/problem+json",
            json={"type": "about:blank", "title": "No", "status": status, "detail": detail, "code": code} | more,
        )

    page.route(f"{API}{path}", say_no)
    return asked


def hold(page: Page, path: str) -> list[Route]:
    """From now on requests to `path` are not answered: they are listed, for the test to answer."""
    held: list[Route] = []

    def keep(route: Route) -> None:
        held.append(route)

    page.route(f"{API}{path}", keep)
    return held


def come(page: Page, held: list[Route], number: int = 1) -> Route:
    """The request of that number, once it has come."""
    while len(held) < number:
        page.wait_for_timeout(20)
    return held[number - 1]


def count_changes(page: Page, path: str) -> list[str]:
    """The methods of the requests for changes that go to `path` from now on."""
    sent: list[str] = []
    page.on(
        "request",
        lambda request: (
            sent.append(request.method) if request.method != "GET" and request.url.endswith(path) else None
        ),
    )
    return sent


def last_day(page: Page) -> Locator:
    return card(page, "Last 24 hours")


def come_near(page: Page) -> None:
    awake(page)
    last_day(page).scroll_into_view_if_needed()
    expect(last_day(page).get_by_role("heading", name="Last 24 hours")).to_be_visible()


def come_near_until(page: Page, there: Locator) -> None:
    """Each worker keeps an answer that took long for up to a minute, and a page asks one of the workers."""

    def is_there() -> bool:
        come_near(page)
        expect(last_day(page).get_by_text("by the hour")).to_be_visible()
        if there.is_visible():
            return True
        page.reload()
        return False

    until(is_there, 70)
