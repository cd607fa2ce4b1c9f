"""The last 24 hours at a glance: drawn once somebody comes near, and told in numbers as well."""

from __future__ import annotations

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.at_once import until
from tests.browser.conftest import PHONE, AsScript, Complaints, LockOut, OpenPage, SendOrder, SignIn
from tests.browser.parts import API, awake, come_near, come_near_until
from tests.browser.parts import last_day as section
from tests.browser.screenshots import PAST_EVENTS, PAST_LOCKOUTS, PAST_ORDERS
from tests.crowds import orders_wait
from tests.serving import Server

# Whether anything was drawn on it, and in how many colours.
COLOURS = """canvas => {
  const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  const seen = new Set();
  for (let at = 0; at < data.length; at += 4) if (data[at + 3] === 255) seen.add(data.slice(at, at + 3).join());
  return [...seen];
}"""


def nothing_in(page: Page) -> Locator:
    return section(page).get_by_text("Nothing was decided in the last 24 hours.")


@pytest.fixture
def busy(server: Server) -> None:
    """A day behind the desk."""
    for rows in (PAST_ORDERS, PAST_LOCKOUTS, PAST_EVENTS):
        server.sql(rows)


def test_nothing_of_it_is_fetched_before_somebody_comes_near(
    open_page: OpenPage, sign_in: SignIn, server: Server
) -> None:
    server.add_token("momentum-bot", "engine")
    orders_wait(server, 30)
    page = open_page(viewport=PHONE)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url.rpartition("/")[2]))
    with page.expect_response("**/state"):
        sign_in(page)
    awake(page)
    page.wait_for_timeout(500)
    assert "history" not in asked
    assert "uplot.js" not in asked
    come_near(page)
    expect(section(page).get_by_text("by the hour")).to_be_visible()
    assert asked.count("history") == 1
    come_near_until(page, nothing_in(page))


def test_a_day_is_drawn_and_told_in_numbers(page: Page, sign_in: SignIn, busy: None) -> None:
    sign_in(page)
    here = section(page)
    come_near_until(page, here.locator("canvas").first)
    expect(here.locator("canvas")).to_have_count(2)
    assert len(here.locator("canvas").first.evaluate(COLOURS)) > 6
    legend = here.locator(".legend")
    for name in ("Released by the gate", "Approved", "Canceled", "Timed out", "Rejected", "Blocked"):
        expect(legend).to_contain_text(name)
    expect(here.locator(".lane")).to_have_count(5)
    here.get_by_text("In numbers").click()
    table = here.get_by_role("table")
    expect(table.get_by_role("row")).to_have_count(25)
    shown = [int(text.replace(",", "")) for text in legend.locator("strong").all_inner_texts()]
    columns = [table.locator(f"td:nth-of-type({place})").all_inner_texts() for place in range(1, 7)]
    assert [sum(map(int, column)) for column in columns] == shown
    assert min(shown) > 0
    told = here.get_by_role("listitem").filter(has_text="Every symbol")
    expect(told).to_contain_text("by olga: Prices frozen at the venue")
    expect(told).to_contain_text("removed")
    expect(here.get_by_role("listitem").filter(has_text="HALTED to PAPER by ada: prices are back")).to_be_visible()


def test_the_arrow_keys_go_from_hour_to_hour(page: Page, sign_in: SignIn, busy: None) -> None:
    sign_in(page)
    charts = section(page).get_by_role("group", name="Charts by hour")
    come_near_until(page, charts)
    charts.focus()
    page.keyboard.press("End")
    said = section(page).get_by_role("status")
    expect(said).to_contain_text("–")
    last = said.inner_text()
    page.keyboard.press("ArrowLeft")
    expect(said).not_to_have_text(last)
    page.keyboard.press("ArrowRight")
    expect(said).to_have_text(last)


def test_it_is_drawn_anew_for_another_width_and_another_theme(
    page: Page, sign_in: SignIn, busy: None, complaints: Complaints
) -> None:
    complaints.expect("willReadFrequently")
    sign_in(page)
    canvas = section(page).locator("canvas").first
    come_near_until(page, canvas)
    light = set(canvas.evaluate(COLOURS))
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(
        f"light => !({COLOURS})(document.querySelector('#last-day canvas')).some(one => light.includes(one))",
        arg=[one for one in light if one not in ("0,0,0", "255,255,255")],
    )
    page.set_viewport_size(PHONE)
    expect(section(page).locator("canvas")).to_have_count(2)
    page.wait_for_function("document.querySelector('#last-day canvas').clientWidth < 390")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_what_happens_meanwhile_comes_within_a_minute(
    page: Page,
    sign_in: SignIn,
    send_order: SendOrder,
    as_script: AsScript,
    lock_out: LockOut,
) -> None:
    page.clock.install()
    sign_in(page)
    come_near_until(page, nothing_in(page))
    as_script("operator", "POST", f"/approvals/{send_order('AAPL')}/approve", {})
    lock_out("TSLA")

    def comes() -> bool:
        with page.expect_response("**/history"):
            page.clock.fast_forward(76_000)
        page.wait_for_timeout(200)
        return section(page).locator(".legend").get_by_text("Approved 1").is_visible()

    until(comes, 70)
    expect(section(page).locator(".lane-name", has_text="TSLA")).to_be_visible()


def test_where_it_cannot_be_read_that_is_said_and_tried_again(
    page: Page, sign_in: SignIn, complaints: Complaints
) -> None:
    complaints.expect("status of 503")
    page.clock.install()
    problem = {"title": "No", "status": 503, "detail": "the desk is busy", "code": "busy"}
    page.route(f"{API}/history", lambda route: route.fulfill(status=503, json=problem))
    sign_in(page)
    come_near(page)
    expect(section(page).get_by_role("alert")).to_have_text("Not read: the desk is busy")
    page.unroute(f"{API}/history")
    page.clock.fast_forward(76_000)
    expect(section(page).get_by_text("by the hour")).to_be_visible()
    expect(section(page).get_by_role("alert")).to_have_text("")
    come_near_until(page, nothing_in(page))
