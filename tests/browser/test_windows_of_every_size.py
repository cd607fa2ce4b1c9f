"""Figures stay whole and everything stays within reach, in windows between a phone's and a wall's."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Complaints, LockOut, OpenPage, SendOrder, SignIn
from tests.browser.parts import (
    COMPETITIVE,
    LIVE,
    LOCKOUTS,
    MACRO,
    PAPER,
    PENDING,
    awake,
    card,
    dialog,
    heading,
    order,
    rows,
    waiting,
)
from tests.browser.reflow import faults
from tests.serving import Server

# Figures whose parts lie on more than one line, though no comma ends a line there.
BROKEN = """() => ['size', 'worth', 'prices', 'terms']
  .flatMap((name) => [...document.querySelectorAll(`[data-slot=${name}]`)])
  .flatMap((slot) => [...slot.childNodes].filter((node) => node.nodeType === Node.TEXT_NODE))
  .flatMap((node) => [...node.data.matchAll(/[\\d,.]+/g)].map((found) => {
    const range = document.createRange();
    range.setStart(node, found.index);
    range.setEnd(node, found.index + found[0].length);
    return [found[0], range.getClientRects().length, range.getBoundingClientRect().right
      - node.parentElement.closest('td').getBoundingClientRect().right];
  }))
  .filter(([, lines, beyond]) => lines > 1 || beyond > 0)"""
SIZES = (
    {"qty": "1234567890", "reference_price": "1.0721"},
    {"qty": "12345.678901234"},
    {"notional": "125000000", "reference_price": "100"},
    {
        "qty": "99999999999.5",
        "type": "limit",
        "limit_price": "99999999999.99",
        "reference_price": "99999999999.99",
    },
    {"qty": "123456789012345678.123456789"},
)


@pytest.mark.parametrize("width", [1440, 1280, 1024, 930, 390])
def test_a_figure_is_never_broken_where_it_would_read_as_a_smaller_one(
    open_page: OpenPage, sign_in: SignIn, send_order: SendOrder, width: int
) -> None:
    for number, size in enumerate(SIZES):  # drawn by the server, and the last one by the page
        send_order(f"SYM{number}", **size)
    page = open_page(viewport={"width": width, "height": 900})
    sign_in(page)
    awake(page)
    send_order("LATER", qty="1234567890123")
    expect(order(page, "LATER")).to_be_visible()
    expect(page.get_by_text("1,234,567,890,123", exact=True)).to_be_visible()
    assert page.evaluate(BROKEN) == []


@pytest.mark.parametrize("width", [1440, 1280, 1024, 950, 930])
def test_nothing_is_beside_the_window(open_page: OpenPage, sign_in: SignIn, lock_out: LockOut, width: int) -> None:
    lock_out("*", "FOMC at two; nobody trades before that", 90)
    lock_out("EUR/USD", "Deliveries come out at four", 25 * 60, "news_shock")
    page = open_page(viewport={"width": width, "height": 900})
    sign_in(page)
    awake(page)
    expect(rows(page)).to_have_count(2)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    right = "element => element.getBoundingClientRect().right"
    edge = page.locator(".lockouts-scroll").evaluate(right)
    for button in rows(page).get_by_role("button").all():
        assert button.evaluate(right) <= edge


@pytest.mark.parametrize(("width", "height"), [(844, 390), (720, 450), (360, 225)])
def test_in_a_low_window_an_order_can_be_seen_and_halt_be_reached(
    open_page: OpenPage,
    sign_in: SignIn,
    send_order: SendOrder,
    complaints: Complaints,
    width: int,
    height: int,
) -> None:
    complaints.expect("ERR_FAILED")
    for number in range(4):
        send_order(f"SYM{number}")
    page = open_page(viewport={"width": width, "height": height})
    sign_in(page)
    awake(page)
    page.get_by_label("Select all").check()
    page.route("**/state", lambda route: route.abort())
    page.route("**/stream", lambda route: route.abort())
    page.evaluate("window.dispatchEvent(new Event('focus'))")
    expect(page.get_by_text("Live updates lost")).to_be_attached()
    reject = order(page, "SYM2").get_by_role("button", name="Reject")
    reject.scroll_into_view_if_needed()
    reject.click(trial=True)
    page.get_by_role("button", name="Halt trading").click(trial=True)


def test_of_many_orders_one_is_whole_in_their_box_with_text_of_twice_the_size(
    open_page: OpenPage, sign_in: SignIn, send_order: SendOrder
) -> None:
    for number in range(9):
        send_order(f"SYM{number}", rationale="SMA(2) crossed above SMA(4) at the close, " * 4)
    page = open_page(viewport={"width": 360, "height": 780})
    sign_in(page)
    awake(page)
    page.evaluate("document.documentElement.style.setProperty('font-size', '32px')")
    height = "element => element.getBoundingClientRect().height"
    assert order(page, "SYM0").evaluate(height) <= page.locator(".waiting-scroll").evaluate(height)
    bar = page.locator("#modebar").bounding_box()
    parts = [page.locator(name).bounding_box() for name in (".badge", "button.halt", ".mode-acts")]
    assert bar is not None
    gaps = bar["height"] - sum(part["height"] for part in parts if part)
    assert gaps < 32 * 2.5, "empty messages take no room"


def test_on_a_phone_what_is_said_in_passing_lies_above_the_selection(
    open_page: OpenPage, sign_in: SignIn, send_order: SendOrder, lock_out: LockOut
) -> None:
    for number in range(3):
        send_order(f"SYM{number}")
    page = open_page(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    sign_in(page)
    awake(page)
    page.get_by_label("Select all").check()
    lock_out("SYM1", "Exchange outage; call the desk before you remove this one")
    toast = page.locator(".toast[data-shown=true]")
    expect(toast).to_be_visible()
    box, bulk = toast.bounding_box(), page.locator(".bulk").bounding_box()
    assert box is not None
    assert bulk is not None
    assert box["y"] + box["height"] <= bulk["y"]


# The question before forty orders and twenty stops are ended at the venue, as the page's own script puts it.
TWENTY_STOPS = """async () => {
  const { src } = document.querySelector('script[type=module]');
  const { question } = await import(src.replace('trading', 'venue_words'));
  const row = (name, number, more) => ({
    id: `${name}${number}`, ticker: `${name}${number}`, side: 'sell',
    qty: '1000000.5', limit_price: '123456789.12', ...more,
  });
  const stop = { type: 'stop_limit', stop_price: '123456789.123456', protective: true };
  const open_orders = [
    ...Array.from({ length: 40 }, (_, number) => row('L', number, { type: 'limit' })),
    ...Array.from({ length: 20 }, (_, number) => row('S', number, stop)),
  ];
  const asked = question({ on_the_way: [], sending: 0, open_orders, open_orders_total: 60 });
  document.querySelector('[x-data=confirmDialog]')._x_dataStack[0].ask({ ...asked, stale: () => null });
}"""


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (390, 844)])
def test_however_many_stops_there_are_to_choose_the_question_and_its_answers_stay_in_sight(
    open_page: OpenPage, sign_in: SignIn, width: int, height: int
) -> None:
    page = open_page(viewport={"width": width, "height": height})
    sign_in(page)
    awake(page)
    page.evaluate(TWENTY_STOPS)
    box = page.get_by_role("dialog")
    expect(box.get_by_role("checkbox")).to_have_count(20)
    for part in (
        box.get_by_role("heading", name="Cancel 40 orders at the venue?"),
        box.get_by_text("and 34 more"),
        box.get_by_role("checkbox").first,
        box.get_by_role("button", name="Leave them open"),
        box.get_by_role("button", name="Cancel at the venue"),
    ):
        expect(part).to_be_in_viewport(ratio=1)
    box.get_by_role("checkbox").last.check()
    expect(box.get_by_role("heading")).to_be_in_viewport(ratio=1)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_switches_stand_above_the_queue_which_begins_in_the_first_screen(
    open_page: OpenPage, sign_in: SignIn, send_order: SendOrder
) -> None:
    send_order("AAPL")
    page = open_page(viewport={"width": 1440, "height": 900})
    sign_in(page, "admin")
    awake(page)
    regions = page.get_by_role("main").get_by_role("region")
    named = [region.get_attribute("aria-label") for region in regions.all() if region.is_visible()]
    assert named[:6] == [MACRO, COMPETITIVE, PAPER, LIVE, PENDING, LOCKOUTS]
    boxes = {name: card(page, name).bounding_box() for name in named[:6] if name}
    tops = [box["y"] for box in boxes.values() if box]
    assert tops[0] == tops[1] == tops[2] == tops[3] < tops[4] < tops[5], "the switches are one row"
    lefts = [box["x"] for box in list(boxes.values())[:4] if box]
    assert lefts == sorted(set(lefts)), "in the order of the document"
    expect(heading(page)).to_be_in_viewport(ratio=1)
    expect(waiting(page).first).to_be_in_viewport(ratio=1)
    row = waiting(page).first.bounding_box()
    assert row
    assert row["y"] + row["height"] <= 450, "half of the first screen is left for the queue"


EVERY_STRIP = """() => {
  for (const strip of document.querySelectorAll('.strip-body')) strip.hidden = false;
  const [said] = document.querySelectorAll('.strip-body p');
  said.textContent = 'HALT NOT CONFIRMED. No answer from the server. Halting, trying again…';
}"""
# A question with everything that questions have.
ASK_FOR_EVERYTHING = """() => {
  const dialog = document.querySelector('[x-data=confirmDialog]');
  dialog._x_dataStack[0].ask({
    title: 'Live Order Approval: auto-approve live orders of AAPL261218C00200000?',
    text: 'From now on orders that pass the gate trade REAL MONEY. All 412 pending orders will be canceled.',
    act: 'Auto-approve live orders', dismiss: 'Leave them open', grave: true,
    needReason: true, needWord: 'LIVE', needCode: true, problem: 'The trading mode is no longer PAPER.',
    errors: { reason: 'Say why.', code: 'Type the six digits that your authenticator shows.', word: 'Type LIVE.' },
    choicesTitle: 'Stops stay unless chosen.',
    choices: [{ id: '1', label: 'sell 1,000,000.5 AAPL261218C00200000, stop 123,456,789.12' }],
  });
}"""
LONG_NAME = "a-person-with-a-name-that-is-as-long-as-names-may-possibly-be-64"


@pytest.fixture
def crowded(
    open_page: OpenPage, sign_in: SignIn, send_order: SendOrder, lock_out: LockOut, server: Server
) -> Page:
    """The Trading page of an admin with orders, decisions and lockouts of every length."""
    for number, size in enumerate(SIZES):
        send_order(f"LONGSYMBOL{number}", rationale="SMA(2) crossed above SMA(4) at the close, " * 4, **size)
    lock_out("*", "FOMC at two; nobody trades before that", 90)
    lock_out(
        "EUR/USD", "https://example.com/a/very/long/address?without=a&single=space&in=it", 25 * 60, "news_shock"
    )
    server.sql(
        """INSERT INTO audit_events (actor, action, subject, note, request_id) VALUES
           ('ada', 'mode.change', 'trading_mode', %s, 'r')""",
        "a-reason-without-a-space-that-is-longer-than-a-line-of-a-phone",
    )
    page = open_page(viewport={"width": 390, "height": 900}, reduced_motion="reduce")
    sign_in(page, "admin")
    awake(page)
    expect(waiting(page)).to_have_count(len(SIZES))
    page.evaluate("document.getElementById('last-day').scrollIntoView()")
    expect(page.locator("#last-day h2")).to_be_visible()
    return page


def test_nothing_of_the_trading_page_is_cut_off_covered_or_scrolled_sideways(crowded: Page) -> None:
    crowded.get_by_label("Select all").check()
    crowded.evaluate(EVERY_STRIP)
    assert faults(crowded) == []


def test_nothing_of_a_dialog_is_cut_off_covered_or_scrolled_sideways(crowded: Page) -> None:
    found = []
    crowded.evaluate(ASK_FOR_EVERYTHING)
    found += faults(crowded, "dialog[open]")
    dialog(crowded).get_by_role("button", name="Leave them open").click()
    for name in ("keys", "alerts"):
        crowded.evaluate("(id) => document.getElementById(id).showModal()", name)
        found += faults(crowded, "dialog[open]")
        dialog(crowded).get_by_role("button", name="Close").click()
    assert crowded.locator("dialog").count() == 3, "each dialog of the page is measured"
    assert found == [], "\n".join(found)


def test_nothing_that_a_viewer_sees_of_a_broken_configuration_is_cut_off(
    open_page: OpenPage, sign_in: SignIn, server: Server
) -> None:
    server.sql(
        """UPDATE risk_configs SET trading_mode = 'disabled',
           config = '{"operator_approval": {"auto_approve_paper": "perhaps"}}'"""
    )
    page = open_page(viewport={"width": 390, "height": 900})
    for role in ("viewer", "admin"):
        page.goto("about:blank")  # a page that is still open would be told that its session has ended
        page.context.clear_cookies()
        sign_in(page, role)
        awake(page)
        assert faults(page) == []


def test_nothing_of_the_other_pages_is_cut_off_covered_or_scrolled_sideways(
    crowded: Page, sign_in: SignIn, server: Server, complaints: Complaints
) -> None:
    complaints.expect("status of 404")
    server.add_user(LONG_NAME, "operator")
    server.add_token("momentum", "engine", owner=LONG_NAME)
    server.add_token("night-script", "admin", allow_live=True)
    found = []
    for path in ("/audit", "/accounts", "/account", "/docs/api", "/nowhere"):
        crowded.goto(path)
        found += [f"{path}: {fault}" for fault in faults(crowded)]
    for path, form in (
        ("/trading", "form[action='/trading/mode']:not([hidden])"),
        ("/accounts", f"form[action='/accounts/people/{LONG_NAME}/deactivate']"),
        ("/accounts", f"form[action='/accounts/people/{LONG_NAME}/password']"),
    ):
        crowded.goto(path)
        crowded.locator(form).first.evaluate("form => form.submit()")
        expect(crowded.locator(".sheet")).to_be_visible()
        found += [f"after {form}: {fault}" for fault in faults(crowded)]
    crowded.goto("/account")
    crowded.get_by_label("Password", exact=True).first.fill(sign_in.passwords["ada"])  # type: ignore[attr-defined]
    crowded.get_by_role("button", name="Set it up").click()
    expect(crowded.get_by_role("heading", name="Set up a second factor")).to_be_visible()
    found += [f"second factor: {fault}" for fault in faults(crowded)]
    crowded.context.clear_cookies()
    crowded.goto("/login")
    found += [f"/login: {fault}" for fault in faults(crowded)]
    assert found == [], "\n".join(found)
