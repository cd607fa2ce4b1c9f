"""Locking symbols out by hand."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import DESKTOP, Complaints, LockOut, OpenPage, SignIn
from tests.browser.parts import (
    API,
    LOCKOUTS,
    answer,
    awake,
    card,
    count_changes,
    dialog,
    fill_lockout,
    lock_form,
    look_again,
    row,
    rows,
)
from tests.crowds import symbols_are_locked_out
from tests.serving import Server


def lock(page: Page) -> None:
    lock_form(page).get_by_role("button", name="Lock out").click()


def test_there_is_none_at_first(desk_page: Page) -> None:
    expect(card(desk_page, LOCKOUTS)).to_contain_text("No symbol is locked out.")
    expect(rows(desk_page)).to_have_count(0)
    expect(lock_form(desk_page).get_by_label("Duration (minutes)")).to_have_value("60")


def test_a_symbol_is_locked_out_for_an_hour(desk_page: Page, server: Server) -> None:
    awake(desk_page)
    lock_form(desk_page).get_by_label("Ticker").press_sequentially("brk.b")
    expect(lock_form(desk_page).get_by_label("Ticker")).to_have_value("BRK.B")
    lock_form(desk_page).get_by_label("Reason").fill("Earnings at four")
    lock(desk_page)
    made = row(desk_page, "BRK.B")
    for text in (
        "manual",
        "Earnings at four",
        "olga",
        re.compile(r"59m \d\ds"),
        re.compile(r"until \d\d:\d\d:\d\d UTC|until 2"),
    ):
        expect(made).to_contain_text(text)
    assert server.sql(
        "SELECT ticker, reason, expires_at - created_at = interval '1 hour' FROM symbol_lockouts"
    ) == [("BRK.B", "Earnings at four", True)]


def test_the_form_is_empty_again_after_success(desk_page: Page) -> None:
    awake(desk_page)
    fill_lockout(desk_page, "aapl", "news", "5")
    lock(desk_page)
    expect(row(desk_page, "AAPL")).to_be_visible()
    for label, value in (("Ticker", ""), ("Reason", ""), ("Duration (minutes)", "60")):
        expect(lock_form(desk_page).get_by_label(label)).to_have_value(value)
    expect(lock_form(desk_page).get_by_label("Ticker")).to_be_focused()


@pytest.mark.parametrize(("choice", "minutes"), [("15 m", "15"), ("1 h", "60"), ("4 h", "240"), ("1 day", "1440")])
def test_a_quick_choice_fills_the_duration(desk_page: Page, choice: str, minutes: str) -> None:
    lock_form(desk_page).get_by_role("button", name=choice, exact=True).click()
    expect(lock_form(desk_page).get_by_label("Duration (minutes)")).to_have_value(minutes)
    expect(lock_form(desk_page).get_by_role("button", name=choice, exact=True)).to_have_attribute(
        "aria-pressed", "true"
    )


def test_the_servers_errors_stand_at_their_fields(desk_page: Page, complaints: Complaints) -> None:
    complaints.expect("status of 422")
    awake(desk_page)
    fill_lockout(desk_page, "no such$", "", "0")
    lock(desk_page)
    form = lock_form(desk_page)
    for label, message in (
        ("Ticker", "Ticker contains a space"),
        ("Reason", "Reason "),
        ("Duration (minutes)", "Duration (minutes) must be from 1 to"),
    ):
        field = form.get_by_label(label)
        expect(field).to_have_attribute("aria-invalid", "true")
        expect(field).to_have_accessible_description(re.compile(re.escape(message)))
    expect(form.get_by_label("Ticker")).to_be_focused()
    expect(rows(desk_page)).to_have_count(0)


def test_errors_go_once_it_is_mended(desk_page: Page, complaints: Complaints) -> None:
    complaints.expect("status of 422")
    awake(desk_page)
    fill_lockout(desk_page, "aapl", "news", "an hour")
    lock(desk_page)
    duration = lock_form(desk_page).get_by_label("Duration (minutes)")
    expect(duration).to_be_focused()
    expect(duration).to_have_accessible_description("Duration (minutes) must be a whole number.")
    duration.fill("10")
    lock(desk_page)
    expect(row(desk_page, "AAPL")).to_be_visible()
    expect(lock_form(desk_page).locator("[aria-invalid=true]")).to_have_count(0)


def test_a_double_click_locks_out_once(desk_page: Page, server: Server) -> None:
    awake(desk_page)
    fill_lockout(desk_page, "aapl", "news")
    lock_form(desk_page).get_by_role("button", name="Lock out").dblclick()
    expect(row(desk_page, "AAPL")).to_have_count(1)
    expect(lock_form(desk_page).get_by_label("Ticker")).to_have_value("")
    assert server.sql("SELECT count(*) FROM symbol_lockouts") == [(1,)]


def test_a_star_is_shown_as_every_symbol(desk_page: Page) -> None:
    awake(desk_page)
    fill_lockout(desk_page, "*", "exchange outage")
    lock(desk_page)
    expect(row(desk_page, "*")).to_contain_text("every symbol")


def test_what_strangers_wrote_stays_text(desk_page: Page, lock_out: LockOut) -> None:
    nasty = "<img src=x onerror=alert(1)> {{ 7*7 }} ${1} \u202e'\"</script>"
    lock_out("EVIL", nasty, kind="news_shock")
    awake(desk_page)
    expect(row(desk_page, "EVIL")).to_contain_text(nasty.replace("\u202e", "[U+202E]"))
    expect(row(desk_page, "EVIL")).to_contain_text("news shock")


def test_an_hour_is_added_in_place_without_a_question(desk_page: Page, lock_out: LockOut) -> None:
    lock_out("AAPL", minutes=30)
    desk_page.reload()  # a row that just came is not pressed
    awake(desk_page)
    button = row(desk_page, "AAPL").get_by_role("button", name="+1 h", exact=True)
    expect(button).to_have_accessible_description("AAPL")
    button.click()
    expect(row(desk_page, "AAPL")).to_contain_text(re.compile(r"1h (29|30)m"))
    expect(row(desk_page, "AAPL")).to_have_count(1)
    expect(button).to_be_focused()


def test_removing_asks_first(desk_page: Page, lock_out: LockOut, server: Server) -> None:
    lock_out("AAPL", "guidance withdrawn")
    desk_page.reload()  # a row that just came is not pressed
    awake(desk_page)
    remove = row(desk_page, "AAPL").get_by_role("button", name="Remove", exact=True)
    remove.click()
    expect(dialog(desk_page)).to_contain_text("Orders in AAPL can pass the gate again at once.")
    expect(dialog(desk_page)).to_contain_text("guidance withdrawn")
    answer(desk_page, "Cancel")
    expect(remove).to_be_focused()
    assert server.sql("SELECT count(*) FROM symbol_lockouts") == [(1,)]
    remove.click()
    answer(desk_page, "Remove lockout")
    expect(rows(desk_page)).to_have_count(0)
    expect(card(desk_page, LOCKOUTS).get_by_role("heading")).to_be_focused()
    assert server.sql("SELECT count(*) FROM symbol_lockouts") == [(0,)]


def test_removing_says_what_would_still_hold_the_symbol(desk_page: Page, lock_out: LockOut) -> None:
    lock_out("AAPL")
    lock_out("*", "exchange outage", 120)
    desk_page.reload()  # a row that just came is not pressed
    awake(desk_page)
    expect(rows(desk_page)).to_have_count(2)
    row(desk_page, "AAPL").get_by_role("button", name="Remove").click()
    expect(dialog(desk_page)).to_contain_text("AAPL stays locked out by another lockout")


def test_removing_one_that_is_gone_says_so(
    desk_page: Page, lock_out: LockOut, server: Server, complaints: Complaints
) -> None:
    complaints.expect("status of 404")
    lock_out("AAPL")
    desk_page.reload()  # a row that just came is not pressed
    awake(desk_page)
    row(desk_page, "AAPL").get_by_role("button", name="Remove").click()
    expect(dialog(desk_page)).to_be_visible()
    desk_page.route(f"{API}/state", lambda route: None)  # else the dialog may say so before the click
    server.sql("DELETE FROM symbol_lockouts")
    answer(desk_page, "Remove lockout")
    desk_page.unroute(f"{API}/state")
    expect(
        card(desk_page, LOCKOUTS).get_by_role("alert").filter(has_text="has ended or was removed already")
    ).to_be_visible()
    expect(rows(desk_page)).to_have_count(0)


def test_the_question_says_what_is_no_longer_so(desk_page: Page, lock_out: LockOut, server: Server) -> None:
    lock_out("AAPL")
    lock_out("*", "exchange outage", 120)
    desk_page.reload()  # a row that just came is not pressed
    awake(desk_page)
    row(desk_page, "AAPL").get_by_role("button", name="Remove").click()
    expect(dialog(desk_page)).to_contain_text("AAPL stays locked out by another lockout")
    alert = dialog(desk_page).get_by_role("alert")
    server.sql("DELETE FROM symbol_lockouts WHERE ticker = '*'")
    look_again(desk_page)
    expect(alert).to_have_text("By now it is otherwise: Orders in AAPL can pass the gate again at once.")
    yes = dialog(desk_page).get_by_role("button", name="Remove lockout")
    expect(yes).to_be_enabled()
    server.sql("DELETE FROM symbol_lockouts")
    look_again(desk_page)
    expect(alert).to_have_text("It was removed meanwhile.")
    expect(yes).to_be_disabled()


NOTE_WHAT_IT_SAYS = """(row) => {
  window.said = [row.textContent];
  new MutationObserver(() => window.said.push(row.textContent))
    .observe(row, { subtree: true, childList: true, characterData: true });
}"""


def test_it_counts_down_and_leaves_by_itself(desk_page: Page, lock_out: LockOut, server: Server) -> None:
    lock_out("AAPL")
    server.sql("UPDATE symbol_lockouts SET expires_at = clock_timestamp() + interval '6 seconds'")
    desk_page.reload()
    awake(desk_page)
    asked = count_changes(desk_page, "/state")
    row(desk_page, "AAPL").evaluate(NOTE_WHAT_IT_SAYS)
    expect(rows(desk_page)).to_have_count(0)
    left = [int(seconds) for seconds in re.findall(r"\b(\d)s", desk_page.evaluate("said.join(' ')"))]
    assert len(set(left)) > 1
    assert left == sorted(left, reverse=True)
    expect(card(desk_page, LOCKOUTS)).to_contain_text("No symbol is locked out.")
    expect(desk_page.get_by_role("status").filter(has_text="The lockout of AAPL has ended.")).to_be_visible()
    assert asked == []


def test_the_soonest_to_end_comes_first(desk_page: Page, lock_out: LockOut) -> None:
    for ticker, minutes in (("LATE", 300), ("SOON", 10), ("NEXT", 60)):
        lock_out(ticker, minutes=minutes)
    expect(rows(desk_page).locator(".ticker")).to_have_text([re.compile(t) for t in ("SOON", "NEXT", "LATE")])


def middle(button: Locator) -> tuple[float, float]:
    box = button.bounding_box()
    assert box
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def says(page: Page, *rows_in_order: str) -> None:
    expect(rows(page)).to_have_text([re.compile(rf"^\s*{text}", re.DOTALL) for text in rows_in_order])


@pytest.mark.parametrize("kind", ["finger", "mouse"])
def test_the_one_that_got_an_hour_stays_beneath_the_hand(
    open_page: OpenPage, sign_in: SignIn, lock_out: LockOut, server: Server, kind: str
) -> None:
    lock_out("SOON", minutes=10)
    lock_out("NEXT", minutes=60)
    page = open_page(viewport=DESKTOP, has_touch=kind == "finger")
    sign_in(page)
    awake(page)
    press = page.touchscreen.tap if kind == "finger" else page.mouse.click
    extend = row(page, "SOON").get_by_role("button", name="+1 h")
    extend.scroll_into_view_if_needed()
    place = middle(extend)
    for left in (r"1h (09|10)m", r"2h (09|10)m"):
        press(*place)
        expect(row(page, "SOON")).to_contain_text(re.compile(left))
        expect(extend).to_have_attribute("aria-disabled", "false")
        says(page, "SOON", "NEXT")
    assert dict(server.sql("SELECT ticker, expires_at - created_at FROM symbol_lockouts")) == {
        "SOON": timedelta(minutes=130),
        "NEXT": timedelta(minutes=60),
    }
    press(*middle(card(page, LOCKOUTS).get_by_role("heading")))
    says(page, "NEXT", "SOON")


def test_nothing_moves_beneath_a_pointer_when_another_person_removes_one(
    desk_page: Page, lock_out: LockOut, server: Server
) -> None:
    for ticker, minutes in (("AAA", 10), ("BBB", 20), ("CCC", 30)):
        lock_out(ticker, minutes=minutes)
    desk_page.reload()  # a row that just came is not pressed
    awake(desk_page)
    expect(rows(desk_page)).to_have_count(3)
    meant = row(desk_page, "BBB").get_by_role("button", name="Remove")
    meant.hover()
    place = middle(meant)
    server.sql("DELETE FROM symbol_lockouts WHERE ticker = 'AAA'")
    lock_out("NEW", minutes=1)
    look_again(desk_page)
    says(desk_page, r"AAA.*\bremoved", "BBB", "CCC", "NEW")
    expect(row(desk_page, "AAA").get_by_role("button", name="Remove")).to_be_disabled()
    desk_page.mouse.click(*place)
    expect(dialog(desk_page)).to_contain_text("Remove the lockout of BBB?")
    answer(desk_page, "Cancel")
    desk_page.mouse.move(0, 0)
    desk_page.get_by_role("heading", name="Active Lockouts").focus()
    says(desk_page, "NEW", "BBB", "CCC")


def test_one_that_ends_while_the_keyboard_is_in_the_list_says_so_in_its_place(
    desk_page: Page, lock_out: LockOut, server: Server
) -> None:
    lock_out("AAA", minutes=10)
    lock_out("BBB", minutes=20)
    desk_page.reload()  # a row that just came is not pressed
    awake(desk_page)
    expect(rows(desk_page)).to_have_count(2)
    desk_page.keyboard.press("Tab")  # what has the focus now is shown to have it
    row(desk_page, "AAA").get_by_role("button", name="+1 h").focus()
    server.sql(
        "UPDATE symbol_lockouts SET expires_at = clock_timestamp() + interval '5 seconds' WHERE ticker = 'AAA'"
    )
    look_again(desk_page)
    says(desk_page, r"AAA.*\bended", "BBB")
    expect(row(desk_page, "AAA").get_by_role("button", name="+1 h")).to_be_focused()
    desk_page.get_by_role("heading", name="Active Lockouts").focus()
    says(desk_page, "BBB")


def test_the_script_takes_the_servers_rows_over(page: Page, sign_in: SignIn, lock_out: LockOut) -> None:
    for ticker in ("AAPL", "MSFT"):
        lock_out(ticker)
    sign_in(page)
    awake(page)
    expect(rows(page)).to_have_count(2)
    expect(row(page, "AAPL")).to_contain_text(re.compile(r"59m \d\ds"))
    expect(rows(page)).to_have_count(2)


@pytest.mark.parametrize("role", ["operator", "viewer"])
def test_very_many_scroll_in_a_box_of_their_own(page: Page, sign_in: SignIn, server: Server, role: str) -> None:
    symbols_are_locked_out(server, 200)
    sign_in(page, role)
    awake(page)
    expect(rows(page)).to_have_count(200)
    assert page.evaluate("document.documentElement.scrollHeight") < 3000
    last = rows(page).last
    expect(last).not_to_be_in_viewport()
    box = card(page, LOCKOUTS).locator(".lockouts-scroll")
    if role == "viewer":  # nothing in it can have the focus
        box.focus()
        page.keyboard.press("End")
    else:
        last.get_by_role("button", name="Remove").focus()
    expect(last).to_be_in_viewport()


@pytest.mark.parametrize("foreign", ["ß", "ſpy", "ı", "ﬁs", "K\u212a", "A\u200bB"])
def test_a_ticker_of_other_letters_is_never_mapped_to_another_one(
    desk_page: Page, server: Server, complaints: Complaints, foreign: str
) -> None:
    complaints.expect("status of 422")
    awake(desk_page)
    ticker = lock_form(desk_page).get_by_label("Ticker")
    ticker.press_sequentially(foreign)
    shown = "".join(letter.upper() if letter.isascii() else letter for letter in foreign)
    expect(ticker).to_have_value(shown)
    assert ticker.evaluate("field => getComputedStyle(field).textTransform") == "none", "it shows what it holds"
    expect(ticker).to_have_attribute("aria-invalid", "true")
    [wrong] = [letter for letter in foreign if not letter.isascii()]
    expect(ticker).to_have_accessible_description(re.compile(rf"must not contain .*U\+{ord(wrong):04X}"))
    lock_form(desk_page).get_by_label("Reason").fill("news")
    lock(desk_page)
    expect(ticker).to_be_focused()
    expect(ticker).to_have_value(shown)
    expect(ticker).to_have_attribute("aria-invalid", "true")
    assert server.sql("SELECT count(*) FROM symbol_lockouts") == [(0,)]


def test_the_caret_stays_where_it_is_typed(desk_page: Page) -> None:
    awake(desk_page)
    ticker = lock_form(desk_page).get_by_label("Ticker")
    ticker.press_sequentially("aﬁl")
    for _ in range(2):
        ticker.press("ArrowLeft")
    for number, letter in enumerate("bc.ßd", start=1):
        ticker.press_sequentially(letter)
        assert ticker.evaluate("field => [field.selectionStart, field.selectionEnd]") == [1 + number, 1 + number]
    expect(ticker).to_have_value("ABC.ßDﬁL")
    ticker.press("Backspace")
    assert ticker.evaluate("field => field.selectionStart") == 5
    expect(ticker).to_have_value("ABC.ßﬁL")


def test_a_padded_option_symbol_can_be_pasted_whole(desk_page: Page) -> None:
    awake(desk_page)
    ticker = lock_form(desk_page).get_by_label("Ticker")
    ticker.focus()
    desk_page.keyboard.insert_text("  aapl  261218c00200000 ")
    expect(ticker).to_have_value("  AAPL  261218C00200000 ")
    expect(ticker).not_to_have_attribute("aria-invalid", "true")
    expect(card(desk_page, LOCKOUTS)).to_contain_text("Would hold no waiting order of AAPL261218C00200000.")
