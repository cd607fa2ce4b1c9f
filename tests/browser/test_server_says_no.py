"""When the server refuses, fails, is slow or is gone: the reason is shown, and the switch stays."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Complaints
from tests.browser.parts import (
    API,
    MACRO,
    PAPER,
    answer,
    awake,
    card,
    come,
    count_changes,
    expect_switch,
    fill_lockout,
    hold,
    lock_form,
    look_again,
    refuse,
    row,
    switch,
)


@pytest.mark.parametrize(
    ("status", "detail"),
    [
        (403, "the role operator may not do this"),
        (409, "operator_approval cannot be read"),
        (422, "auto_approve_paper: must be true or false"),
        (500, "something went wrong on our side"),
        (503, "the database cannot be reached"),
    ],
)
def test_the_reason_is_shown_and_the_switch_stays(
    desk_page: Page, complaints: Complaints, status: int, detail: str
) -> None:
    complaints.expect(f"status of {status}")
    awake(desk_page)
    asked = refuse(desk_page, "/approval-config", status, detail)
    switch(desk_page, PAPER).click()
    answer(desk_page, "Require approval")
    expect(card(desk_page, PAPER).get_by_role("alert")).to_contain_text(f"Not changed: {detail}")
    expect_switch(desk_page, PAPER, on=False)
    expect(switch(desk_page, PAPER)).not_to_have_attribute("aria-disabled", "true")
    assert asked == ["PUT"]


def test_an_answer_that_is_no_problem_document_is_told_too(desk_page: Page, complaints: Complaints) -> None:
    complaints.expect("status of 502")
    awake(desk_page)
    desk_page.route(f"{API}/signal-layers", lambda route: route.fulfill(status=502, body="<h1>Bad gateway</h1>"))
    switch(desk_page, MACRO).click()
    expect(card(desk_page, MACRO).get_by_role("alert")).to_contain_text("Not changed: The server answered 502.")
    expect_switch(desk_page, MACRO, on=True)


def test_while_it_waits_it_says_so_and_takes_no_second_click(desk_page: Page) -> None:
    awake(desk_page)
    held = hold(desk_page, "/signal-layers")
    sent = count_changes(desk_page, "/signal-layers")
    switch(desk_page, MACRO).click()
    expect(card(desk_page, MACRO)).to_contain_text("Saving…")
    expect(switch(desk_page, MACRO)).to_have_attribute("aria-disabled", "true")
    expect(switch(desk_page, MACRO)).to_be_focused()
    expect_switch(desk_page, MACRO, on=True)
    switch(desk_page, MACRO).click(force=True)
    assert sent == ["PUT"]
    come(desk_page, held).continue_()
    expect_switch(desk_page, MACRO, on=False)
    expect(card(desk_page, MACRO).get_by_text("Saving…")).to_be_hidden()


def test_no_answer_at_all_claims_nothing(desk_page: Page, complaints: Complaints) -> None:
    complaints.expect("ERR_CONNECTION_REFUSED")
    awake(desk_page)
    desk_page.route(f"{API}/signal-layers", lambda route: route.abort("connectionrefused"))
    switch(desk_page, MACRO).click()
    expect(card(desk_page, MACRO).get_by_role("alert")).to_contain_text("may or may not have been made")
    expect_switch(desk_page, MACRO, on=True)


def test_the_reason_goes_with_the_next_success(desk_page: Page, complaints: Complaints) -> None:
    complaints.expect("status of 500")
    awake(desk_page)
    refuse(desk_page, "/signal-layers", 500, "something went wrong")
    switch(desk_page, MACRO).click()
    expect(card(desk_page, MACRO).get_by_role("alert")).to_contain_text("something went wrong")
    desk_page.unroute(f"{API}/signal-layers")
    switch(desk_page, MACRO).click()
    expect_switch(desk_page, MACRO, on=False)
    expect(card(desk_page, MACRO)).not_to_contain_text("something went wrong")


def test_a_lockout_that_failed_keeps_what_was_typed(desk_page: Page, complaints: Complaints) -> None:
    complaints.expect("status of 500")
    awake(desk_page)
    refuse(desk_page, "/lockouts", 500, "something went wrong")
    fill_lockout(desk_page, "AAPL", "a long reason", "90")
    lock_form(desk_page).get_by_role("button", name="Lock out").click()
    expect(lock_form(desk_page).get_by_role("alert").first).to_contain_text("Not locked out: something went wrong")
    expect(lock_form(desk_page).get_by_label("Reason")).to_have_value("a long reason")
    desk_page.unroute(f"{API}/lockouts")
    lock_form(desk_page).get_by_role("button", name="Lock out").click()
    expect(row(desk_page, "AAPL")).to_be_visible()


def test_a_yes_whose_state_cannot_be_read_again_is_still_shown(desk_page: Page, complaints: Complaints) -> None:
    complaints.expect("ERR_FAILED")
    awake(desk_page)
    look_again(desk_page)
    desk_page.route(f"{API}/state", lambda route: route.abort())
    switch(desk_page, MACRO).click()
    expect_switch(desk_page, MACRO, on=False)
    expect(desk_page.get_by_text("Live updates lost")).to_be_visible()
