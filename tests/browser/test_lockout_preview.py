"""Beneath the lockout form: how many waiting orders the typed ticker would hold."""

from __future__ import annotations

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import SendOrder, SignIn
from tests.browser.parts import approve, awake, fill_lockout, lock_form, look_again, order
from tests.serving import Server


def preview(page: Page) -> Locator:
    return lock_form(page).locator(".preview")


@pytest.fixture
def crowded(page: Page, sign_in: SignIn, send_order: SendOrder) -> Page:
    """The page with two orders of AAPL and one of BRK.B that wait."""
    for ticker in ("AAPL", "AAPL", "BRK.B"):
        send_order(ticker)
    sign_in(page)
    awake(page)
    return page


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("AAPL", "Would hold 2 waiting orders of AAPL."),
        ("  aapl ", "Would hold 2 waiting orders of AAPL."),
        ("brk.b", "Would hold 1 waiting order of BRK.B."),
        ("brkb", "Would hold 1 waiting order of BRKB."),
        ("MSFT", "Would hold no waiting order of MSFT."),
        ("*", "Would hold all 3 waiting orders."),
        ("", ""),
        ("no such$", ""),
        ("constructor", "Would hold no waiting order of CONSTRUCTOR."),
    ],
)
def test_it_counts_what_the_server_would_hold(crowded: Page, typed: str, said: str) -> None:
    lock_form(crowded).get_by_label("Ticker").fill(typed)
    expect(preview(crowded)).to_have_text(said)


def test_it_says_that_contracts_on_the_ticker_are_counted(crowded: Page, send_order: SendOrder) -> None:
    send_order("AAPL261218C00200000")
    send_order("ESZ6")
    field = lock_form(crowded).get_by_label("Ticker")
    for typed, said in (
        ("AAPL", "Would hold 3 waiting orders of AAPL, options and futures included."),
        ("ES", "Would hold 1 waiting order of ES, options and futures included."),
        ("ESZ26", "Would hold 1 waiting order of ESZ26."),
        ("AAPL261218C00200000", "Would hold 1 waiting order of AAPL261218C00200000."),
    ):
        field.fill(typed)
        expect(preview(crowded)).to_have_text(said)


def test_with_nothing_waiting_it_says_so(desk_page: Page) -> None:
    awake(desk_page)
    lock_form(desk_page).get_by_label("Ticker").fill("*")
    expect(preview(desk_page)).to_have_text("Would hold no waiting order: none waits.")


def test_it_follows_what_is_decided_and_what_comes(crowded: Page, send_order: SendOrder) -> None:
    lock_form(crowded).get_by_label("Ticker").fill("BRK.B")
    approve(crowded, "BRK.B").click()
    expect(preview(crowded)).to_have_text("Would hold no waiting order of BRK.B.")
    send_order("BRK.B")
    expect(preview(crowded)).to_have_text("Would hold 1 waiting order of BRK.B.")


def test_one_that_has_timed_out_is_not_counted(crowded: Page, server: Server) -> None:
    server.sql("UPDATE orders SET expires_at = clock_timestamp() + interval '2 seconds' WHERE ticker = 'BRK.B'")
    look_again(crowded)
    crowded.route("**/state", lambda route: None)
    lock_form(crowded).get_by_label("Ticker").fill("BRK.B")
    expect(preview(crowded)).to_have_text("Would hold no waiting order of BRK.B.")


def test_it_counts_those_that_are_not_shown_too(crowded: Page, server: Server) -> None:
    server.sql(
        "INSERT INTO orders (account_id, engine, client_order_id, ticker, side, qty, type, time_in_force,"
        " trading_mode, status, expires_at)"
        " SELECT account_id, engine, 'more-' || n, 'LAST', side, 1, type, time_in_force, trading_mode, status,"
        " expires_at + interval '1 minute' FROM orders, generate_series(1, 600) AS n WHERE ticker = 'BRK.B'"
    )
    look_again(crowded)
    lock_form(crowded).get_by_label("Ticker").fill("last")
    expect(preview(crowded)).to_have_text("Would hold 600 waiting orders of LAST.")


def test_it_is_what_happens(crowded: Page) -> None:
    fill_lockout(crowded, "aapl", "news")
    lock_form(crowded).get_by_role("button", name="Lock out").click()
    expect(order(crowded, "AAPL").locator(".held:visible")).to_have_count(2)
    expect(preview(crowded)).to_have_text("")
