"""What the gate and the people decided lately, and why."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import AsScript, LockOut, SendOrder, SignIn
from tests.browser.parts import DECISIONS, approve, awake, card, decisions, look_again
from tests.serving import Server


def test_there_is_none_at_first(desk_page: Page) -> None:
    awake(desk_page)
    expect(card(desk_page, DECISIONS)).to_contain_text("No order has been decided yet.")


def test_each_outcome_is_told_in_words_with_who_and_why(
    page: Page, sign_in: SignIn, send_order: SendOrder, as_script: AsScript, lock_out: LockOut, server: Server
) -> None:
    send_order("LATE", "sell")
    server.sql("UPDATE orders SET expires_at = clock_timestamp()")
    as_script("operator", "POST", f"/approvals/{send_order('GOOD')}/approve", {"note": "agreed by phone"})
    as_script("operator", "POST", f"/approvals/{send_order('POOR')}/reject", {"reason": "too large"})
    as_script("engine", "POST", f"/orders/{send_order('BACK')}/cancel", {})
    lock_out("HELD", "guidance withdrawn")
    send_order("HELD", notional="1200.5")
    server.sql("UPDATE risk_configs SET config = '{}'")
    as_script(
        "engine",
        "POST",
        "/orders",
        {"client_order_id": "free", "ticker": "FREE", "side": "buy", "qty": "1234", "type": "market"},
    )
    sign_in(page)
    awake(page)
    for ticker, told in {
        "GOOD": r"Released.*“agreed by phone”.*script.*momentum-bot",
        "POOR": r"Rejected.*“too large”.*script",
        "BACK": r"Canceled.*momentum-bot",
        "HELD": r"Blocked.*1,200\.50.*notional.*HELD is locked out until .*guidance withdrawn.*the gate",
        "FREE": r"Released.*buy.*1,234.*the gate",
        "LATE": r"Timed out.*sell.*the deadline",
    }.items():
        expect(decisions(page).filter(has_text=ticker)).to_have_text(re.compile(told, re.DOTALL))
    expect(decisions(page).first).to_contain_text("FREE")  # the newest
    expect(decisions(page).first).to_contain_text(re.compile(r"\d\d:\d\d:\d\d"))


@pytest.mark.parametrize("script", [True, False])
def test_where_nobody_gave_a_reason_it_says_what_it_was(
    page: Page, sign_in: SignIn, send_order: SendOrder, as_script: AsScript, server: Server, script: bool
) -> None:
    late = send_order("LATE", type="limit", limit_price="187.5")
    server.sql("UPDATE orders SET expires_at = clock_timestamp()")
    as_script("operator", "GET", f"/orders/{late}", None)  # which writes down that it has expired
    as_script("operator", "POST", f"/approvals/{send_order('GOOD', strategy='ma_cross')}/approve", {})
    as_script("operator", "POST", f"/approvals/{send_order('NOTE')}/approve", {"note": "agreed by phone"})
    if not script:  # the server's own rows say the same
        page.route("**/js/trading.js", lambda route: route.fulfill(body="", content_type="text/javascript"))
    sign_in(page)
    if script:
        awake(page)
    for ticker, told in {
        "LATE": r"Nobody decided in time\.\s+limit 187\.50 · no strategy named",
        "GOOD": r"\s*market · ma_cross",
        "NOTE": r"\s*“agreed by phone”",
    }.items():
        why = decisions(page).filter(has_text=ticker).locator(".reasons")
        expect(why).to_have_text(re.compile(rf"^\s*{told}\s*$"))


def test_what_one_decides_comes_to_the_top(page: Page, sign_in: SignIn, send_order: SendOrder) -> None:
    send_order("AAPL")
    send_order("MSFT")
    sign_in(page)
    awake(page)
    approve(page, "AAPL").click()
    expect(decisions(page).first).to_contain_text("AAPL")
    approve(page, "MSFT").click()
    expect(decisions(page).first).to_contain_text("MSFT")
    expect(decisions(page)).to_have_count(2)


def test_it_follows_the_gate(page: Page, sign_in: SignIn, send_order: SendOrder, lock_out: LockOut) -> None:
    lock_out("*", "exchange outage")
    sign_in(page)
    awake(page)
    send_order("AAPL")
    look_again(page)
    expect(decisions(page)).to_have_text(re.compile("Blocked.*every symbol is locked out", re.DOTALL))


def test_the_last_fifty_are_shown(page: Page, sign_in: SignIn, send_order: SendOrder, server: Server) -> None:
    send_order("AAPL")
    server.sql(
        "INSERT INTO orders (account_id, engine, client_order_id, ticker, side, qty, type, time_in_force,"
        " trading_mode, status, decided_at, decided_by)"
        " SELECT account_id, engine, 'old-' || n, 'OLD' || n, 'buy', 1, 'market', 'day', 'paper', 'released',"
        " now() - n * interval '1 day', 'system:gate' FROM orders, generate_series(1, 60) AS n"
    )
    sign_in(page)
    awake(page)
    expect(decisions(page)).to_have_count(50)
    expect(decisions(page).nth(49)).to_contain_text(re.compile(r"20\d\d-\d\d-\d\d \d\d:\d\d"))
