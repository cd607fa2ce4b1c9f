"""An operator approves an order that waits."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from tests.browser.conftest import AsScript, Complaints, OpenPage, SendOrder, SignIn
from tests.browser.parts import (
    API,
    PENDING,
    announced,
    answer,
    approve,
    awake,
    card,
    come,
    count_changes,
    dialog,
    heading,
    hold,
    look_again,
    order,
    reject,
    waiting,
)
from tests.crowds import orders_wait
from tests.serving import Server


def status(server: Server, ticker: str = "AAPL") -> str:
    return str(server.sql("SELECT status FROM orders WHERE ticker = %s", ticker)[0][0])


def open_desk(page: Page, sign_in: SignIn, role: str = "operator") -> None:
    sign_in(page, role)
    awake(page)


def test_the_row_shows_what_one_needs_to_decide(page: Page, sign_in: SignIn, send_order: SendOrder) -> None:
    send_order(
        "BTC/USD",
        "sell",
        qty="1234.5",
        type="stop_limit",
        stop_price="64000",
        limit_price="63990.125",
        reference_price="64250",
        time_in_force="gtc",
        signal_layer="macro",
        strategy="ma_cross",
        rationale="The short average fell through the long one.",
    )
    open_desk(page, sign_in)
    for text in (
        "sell",
        "BTC/USD",
        "1,234.5",
        "value 79,316,625.00",
        "stop 64,000.00, limit 63,990.125",
        "gtc · ref. 64,250.00",
        "ma_cross",
        "The short average fell through the long one.",
        "momentum-bot",
        "paper · macro",
        re.compile(r"29m \d\ds|30m 00s"),
    ):
        expect(order(page, "BTC/USD")).to_contain_text(text)
    expect(card(page, PENDING).locator(".count")).to_have_text("1")
    expect(page).to_have_title("(1) Trading · Countersign")


def test_a_notional_is_never_read_as_a_quantity(page: Page, sign_in: SignIn, send_order: SendOrder) -> None:
    send_order("AAPL", notional="2500.5")
    send_order("MSFT", qty="0.000000001")
    send_order("AAPL261218C00200000", qty="3", type="limit", limit_price="5")
    send_order("ESZ6", qty="1", type="limit", limit_price="900")
    open_desk(page, sign_in)
    expect(order(page, "AAPL").locator(".size")).to_have_text(re.compile(r"2,500\.50\s+notional"))
    expect(order(page, "MSFT").locator(".size")).to_have_text(re.compile(r"0\.000000001\s+value unknown"))
    expect(order(page, "AAPL261218C00200000").locator(".size")).to_have_text(re.compile(r"3\s+value 1,500\.00"))
    expect(order(page, "ESZ6").locator(".size")).to_have_text(re.compile(r"1\s+contract size unknown"))


def test_the_script_takes_the_servers_rows_over_as_they_are(
    page: Page, sign_in: SignIn, send_order: SendOrder
) -> None:
    send_order("AAPL", type="limit", limit_price="187.5", qty="1000.25", rationale="x" * 200)
    send_order("MSFT", "sell", notional="10", strategy="drift")
    send_order("ESZ6", qty="1", type="limit", limit_price="900")
    page.route("**/js/trading.js", lambda route: route.fulfill(body="", content_type="text/javascript"))
    sign_in(page)
    words = (
        "rows => rows.map(row => row.innerText.replace(/until .* UTC|\\d+m \\d\\ds/, 'T').replace(/\\s+/g, ' '))"
    )
    servers = waiting(page).evaluate_all(words)
    page.unroute("**/js/trading.js")
    page.reload()
    awake(page)
    assert waiting(page).evaluate_all(words) == servers
    assert len(servers) == 3


def test_in_paper_trading_one_click_approves(
    page: Page, sign_in: SignIn, send_order: SendOrder, server: Server
) -> None:
    send_order()
    open_desk(page, sign_in)
    approve(page, "AAPL").click()
    expect(dialog(page)).to_be_hidden()
    expect(order(page, "AAPL")).to_contain_text(re.compile(r"Released by olga at \d\d:\d\d:\d\d UTC"))
    expect(order(page, "AAPL").get_by_role("button")).to_have_count(0)
    expect(card(page, PENDING).locator(".count")).to_have_text("0")
    expect(page).to_have_title("Trading · Countersign")
    assert server.sql("SELECT status, decided_by FROM orders") == [("released", "olga")]
    page.mouse.move(5, 5)
    expect(waiting(page)).to_have_count(0)
    expect(card(page, PENDING)).to_contain_text("No order waits for approval.")


def test_with_real_money_it_is_asked_once(
    page: Page, sign_in: SignIn, send_order: SendOrder, server: Server
) -> None:
    server.sql("UPDATE risk_configs SET trading_mode = 'live'")
    send_order(type="limit", limit_price="187.5")
    open_desk(page, sign_in)
    approve(page, "AAPL").click()
    expect(dialog(page)).to_contain_text("Approve buy 10 AAPL with REAL MONEY?")
    expect(dialog(page)).to_contain_text("Limit 187.50, value 1,875.00")
    answer(page, "Cancel")
    expect(approve(page, "AAPL")).to_be_focused()
    assert status(server) == "pending_approval"
    approve(page, "AAPL").click()
    answer(page, "Approve")
    expect(order(page, "AAPL")).to_contain_text("Released by olga")
    assert status(server) == "released"


def test_a_double_click_sends_one_request_and_never_hits_the_next_row(
    page: Page, sign_in: SignIn, send_order: SendOrder, server: Server
) -> None:
    ids = [send_order("AAPL"), send_order("MSFT")]
    open_desk(page, sign_in)
    sent = count_changes(page, f"/approvals/{ids[0]}/approve")
    other = count_changes(page, f"/approvals/{ids[1]}/approve")
    approve(page, "AAPL").dblclick()
    expect(order(page, "AAPL")).to_contain_text("Released by olga")
    order(page, "AAPL").locator(".decide").click()
    page.wait_for_timeout(300)
    assert (sent, other) == (["POST"], [])
    assert status(server, "MSFT") == "pending_approval"


def test_while_it_is_on_the_way_the_row_says_so(page: Page, sign_in: SignIn, send_order: SendOrder) -> None:
    order_id = send_order()
    open_desk(page, sign_in)
    held = hold(page, f"/approvals/{order_id}/approve")
    approve(page, "AAPL").click()
    expect(approve(page, "AAPL")).to_have_text("Approving…")
    expect(approve(page, "AAPL")).to_have_attribute("aria-disabled", "true")
    come(page, held).continue_()
    expect(order(page, "AAPL")).to_contain_text("Released by olga")


def test_the_focus_goes_to_the_next_order_and_at_last_to_the_heading(
    page: Page, sign_in: SignIn, send_order: SendOrder
) -> None:
    for ticker in ("AAPL", "MSFT"):
        send_order(ticker)
    open_desk(page, sign_in)
    approve(page, "AAPL").focus()
    page.keyboard.press("Enter")
    expect(order(page, "MSFT")).to_be_focused()
    approve(page, "MSFT").focus()
    page.keyboard.press("Enter")
    expect(heading(page)).to_be_focused()


def test_the_loser_of_a_race_is_told_who_decided_and_when(
    page: Page, sign_in: SignIn, send_order: SendOrder, as_script: AsScript, complaints: Complaints
) -> None:
    complaints.expect("status of 409")
    order_id = send_order()
    open_desk(page, sign_in)
    page.route(f"{API}/state", lambda route: None)
    as_script("operator", "POST", f"/approvals/{order_id}/reject", {"reason": "too large"})
    approve(page, "AAPL").click()
    expect(order(page, "AAPL")).to_contain_text(
        re.compile(r"Not approved: the order is rejected already, by script at \d\d:\d\d:\d\d UTC")
    )
    expect(order(page, "AAPL")).to_contain_text("Rejected by script at")
    expect(order(page, "AAPL").get_by_role("button")).to_have_count(0)
    expect(announced(page, "Not approved: the order is rejected already, by script")).to_be_visible()


def test_nobody_approves_an_order_of_their_own_engine(
    page: Page, sign_in: SignIn, send_order: SendOrder, server: Server, complaints: Complaints
) -> None:
    complaints.expect("status of 403")
    send_order()
    open_desk(page, sign_in)
    server.sql(
        "UPDATE accounts SET owner_id = (SELECT id FROM accounts WHERE name = 'olga') WHERE name = 'momentum-bot'"
    )
    approve(page, "AAPL").click()
    expect(order(page, "AAPL")).to_contain_text("another person must approve its orders")
    expect(approve(page, "AAPL")).to_be_focused()
    assert status(server) == "pending_approval"


def test_without_an_answer_nothing_is_called_approved(
    page: Page, sign_in: SignIn, send_order: SendOrder, server: Server, complaints: Complaints
) -> None:
    complaints.expect("ERR_FAILED")
    send_order()
    open_desk(page, sign_in)
    page.route("**/approvals/*/approve", lambda route: route.abort())
    approve(page, "AAPL").click()
    expect(order(page, "AAPL")).to_contain_text("It still waits.")  # so the read after it says
    expect(approve(page, "AAPL")).to_have_attribute("aria-disabled", "false")
    page.unroute("**/approvals/*/approve")
    approve(page, "AAPL").click()
    expect(order(page, "AAPL")).to_contain_text("Released by olga")
    assert status(server) == "released"


@pytest.mark.parametrize(
    ("press", "past", "end"), [(approve, "approved", "Released"), (reject, "rejected", "Rejected")]
)
def test_an_answer_that_is_lost_is_not_called_a_no(
    page: Page,
    sign_in: SignIn,
    send_order: SendOrder,
    server: Server,
    complaints: Complaints,
    press: Callable[[Page, str], Locator],
    past: str,
    end: str,
) -> None:
    complaints.expect("ERR_FAILED")
    send_order()
    open_desk(page, sign_in)
    look_again(page)

    def lose_the_answer(route: Route) -> None:
        page.route(f"{API}/state", lambda read: read.abort())  # nor does a read tell, for now
        route.fetch()
        route.abort()

    page.route("**/approvals/*/*", lose_the_answer)
    press(page, "AAPL").click()
    if past == "rejected":
        dialog(page).get_by_label("Reason").fill("too large")
        answer(page, "Reject")
    expect(order(page, "AAPL")).to_contain_text(f"Not known whether {past}: no answer.")
    expect(announced(page, f"AAPL: Not known whether {past}: no answer.")).to_be_visible()
    expect(order(page, "AAPL")).not_to_contain_text(f"Not {past}")
    assert status(server) == end.lower()
    page.unroute(f"{API}/state")
    expect(order(page, "AAPL")).to_contain_text(f"{end} by olga")  # the first good read tells
    expect(order(page, "AAPL")).not_to_contain_text("Not known")


def test_orders_that_come_in_are_announced_and_counted(
    page: Page, sign_in: SignIn, send_order: SendOrder, server: Server
) -> None:
    open_desk(page, sign_in)
    expect(card(page, PENDING)).to_contain_text("No order waits for approval.")
    send_order("TSLA", "sell")
    expect(announced(page, "Sell 10 TSLA waits for approval.")).to_be_visible()
    expect(order(page, "TSLA")).to_be_visible()
    expect(page).to_have_title("(1) Trading · Countersign")
    orders_wait(server, 4)
    look_again(page)
    expect(announced(page, "4 orders came in that wait for approval.")).to_be_visible()


def test_what_another_decides_stays_in_its_place_and_says_so(
    page: Page, sign_in: SignIn, send_order: SendOrder, as_script: AsScript
) -> None:
    ids = {ticker: send_order(ticker) for ticker in ("AAPL", "MSFT", "TSLA")}
    open_desk(page, sign_in)
    approve(page, "MSFT").hover()
    approve(page, "MSFT").focus()
    before = order(page, "MSFT").bounding_box()
    as_script("operator", "POST", f"/approvals/{ids['AAPL']}/approve", {})
    send_order("NVDA")
    expect(order(page, "AAPL")).to_contain_text("Released by script at")
    expect(order(page, "NVDA")).to_be_visible()
    page.wait_for_timeout(6000)  # longer than it stays where no pointer is over the list
    assert order(page, "MSFT").bounding_box() == before
    expect(approve(page, "MSFT")).to_be_focused()
    page.mouse.move(5, 5)
    expect(order(page, "AAPL")).to_have_count(0)
    expect(approve(page, "MSFT")).to_be_focused()


def test_changing_the_mode_says_what_is_lost(
    page: Page, sign_in: SignIn, send_order: SendOrder, server: Server
) -> None:
    for ticker in ("AAPL", "MSFT"):
        send_order(ticker)
    open_desk(page, sign_in, "admin")
    page.get_by_role("button", name="Go live…").click()
    expect(dialog(page)).to_contain_text("All 2 orders that wait for approval will be canceled.")
    dialog(page).get_by_label("Reason").fill("open for business")
    dialog(page).get_by_label("Type LIVE").fill("LIVE")
    answer(page, "Go live")
    expect(order(page, "AAPL")).to_contain_text("Canceled by ada")
    assert status(server) == "canceled"


def test_halting_is_still_one_click_and_cancels_what_waits(
    page: Page, sign_in: SignIn, send_order: SendOrder
) -> None:
    send_order()
    open_desk(page, sign_in)
    page.get_by_role("button", name="Halt trading").click()
    expect(dialog(page)).to_be_hidden()
    expect(order(page, "AAPL")).to_contain_text("Canceled by olga")


def test_a_viewer_sees_the_orders_and_nothing_to_press(page: Page, sign_in: SignIn, send_order: SendOrder) -> None:
    send_order()
    open_desk(page, sign_in, "viewer")
    expect(order(page, "AAPL")).to_contain_text("momentum-bot")
    expect(order(page, "AAPL").get_by_role("button")).to_have_count(0)
    expect(order(page, "AAPL").get_by_role("checkbox")).to_have_count(0)
    expect(page.get_by_label("Select all")).to_have_count(0)
    order(page, "AAPL").click()
    page.keyboard.press("a")
    page.keyboard.press("?")
    expect(dialog(page)).to_be_hidden()


@pytest.mark.parametrize("viewport", [(1440, 900), (390, 844)])
def test_it_is_the_first_thing_below_the_mode_bar(
    open_page: OpenPage, sign_in: SignIn, send_order: SendOrder, viewport: tuple[int, int]
) -> None:
    send_order()
    page = open_page(viewport={"width": viewport[0], "height": viewport[1]})
    open_desk(page, sign_in)
    expect(approve(page, "AAPL")).to_be_in_viewport(ratio=1)
    expect(reject(page, "AAPL")).to_be_in_viewport(ratio=1)


def test_what_engines_wrote_stays_text(page: Page, sign_in: SignIn, send_order: SendOrder) -> None:
    nasty = "<img src=x onerror=alert(1)> {{ 7*7 }} '\"</script>"
    send_order("AAPL", strategy=nasty, rationale=nasty)
    open_desk(page, sign_in)
    expect(order(page, "AAPL").locator(".strategy")).to_have_text(nasty)
    expect(order(page, "AAPL").locator(".rationale").first).to_have_text(nasty)
