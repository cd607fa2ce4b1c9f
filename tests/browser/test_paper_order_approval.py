"""Switching paper-order approval on and off."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import AsScript
from tests.browser.parts import (
    PAPER,
    answer,
    awake,
    card,
    count_changes,
    dialog,
    expect_switch,
    look_again,
    switch,
)
from tests.serving import Server

REQUIRED = "Require approval for paper orders"
AUTOMATIC = "Auto-approve paper orders"
Stored = Callable[[str], Any]


def test_it_begins_with_what_is_in_force(desk_page: Page) -> None:
    expect_switch(desk_page, PAPER, on=False)
    expect(card(desk_page, PAPER)).to_contain_text(AUTOMATIC)


def test_it_says_what_will_change_before_anything_changes(desk_page: Page, stored: Stored) -> None:
    switch(desk_page, PAPER).click()
    expect(dialog(desk_page)).to_contain_text("waits for a person, for at most 30 minutes")
    expect_switch(desk_page, PAPER, on=False)
    assert stored("config") == {}


def test_it_changes_once_confirmed_and_survives_a_reload(desk_page: Page, stored: Stored) -> None:
    switch(desk_page, PAPER).click()
    answer(desk_page, "Require approval")
    expect_switch(desk_page, PAPER, on=True)
    expect(card(desk_page, PAPER)).to_contain_text(REQUIRED)
    assert stored("config") == {"operator_approval": {"auto_approve_paper": False}}
    desk_page.reload()
    expect_switch(desk_page, PAPER, on=True)
    expect(card(desk_page, PAPER)).to_contain_text(REQUIRED)


def test_it_can_be_switched_off_again(desk_page: Page, stored: Stored) -> None:
    for act in ("Require approval", "Auto-approve"):
        switch(desk_page, PAPER).click()
        answer(desk_page, act)
    expect_switch(desk_page, PAPER, on=False)
    assert stored("config")["operator_approval"]["auto_approve_paper"] is True


def test_cancel_changes_nothing_and_gives_the_focus_back(desk_page: Page, stored: Stored) -> None:
    switch(desk_page, PAPER).click()
    answer(desk_page, "Cancel")
    expect_switch(desk_page, PAPER, on=False)
    expect(switch(desk_page, PAPER)).to_be_focused()
    assert stored("config") == {}


def test_escape_changes_nothing_and_gives_the_focus_back(desk_page: Page, stored: Stored) -> None:
    switch(desk_page, PAPER).click()
    expect(dialog(desk_page).get_by_role("button", name="Cancel")).to_be_focused()
    desk_page.keyboard.press("Escape")
    expect(dialog(desk_page)).to_be_hidden()
    expect_switch(desk_page, PAPER, on=False)
    expect(switch(desk_page, PAPER)).to_be_focused()
    assert stored("config") == {}


def test_escape_after_an_earlier_yes_is_still_a_no(desk_page: Page, stored: Stored) -> None:
    switch(desk_page, PAPER).click()
    answer(desk_page, "Require approval")
    expect_switch(desk_page, PAPER, on=True)
    switch(desk_page, PAPER).click()
    expect(dialog(desk_page)).to_be_visible()
    desk_page.keyboard.press("Escape")
    expect_switch(desk_page, PAPER, on=True)
    assert stored("config")["operator_approval"]["auto_approve_paper"] is False


@pytest.mark.parametrize("where", ["the switch", "the confirmation"])
def test_a_double_click_sends_once(desk_page: Page, server: Server, where: str) -> None:
    sent = count_changes(desk_page, "/approval-config")
    awake(desk_page)
    if where == "the switch":
        switch(desk_page, PAPER).dblclick()
        answer(desk_page, "Require approval")
    else:
        switch(desk_page, PAPER).click()
        dialog(desk_page).get_by_role("button", name="Require approval").dblclick()
    expect_switch(desk_page, PAPER, on=True)
    assert sent == ["PUT"]
    assert server.sql("SELECT count(*) FROM audit_events WHERE action = 'approval_config.change'") == [(1,)]


def test_the_change_is_announced(desk_page: Page) -> None:
    switch(desk_page, PAPER).click()
    answer(desk_page, "Require approval")
    expect(desk_page.get_by_role("status").filter(has_text="Paper orders now require approval.")).to_be_visible()


def test_a_question_that_another_person_answered_first_cannot_be_confirmed(
    desk_page: Page, as_script: AsScript, server: Server
) -> None:
    awake(desk_page)
    sent = count_changes(desk_page, "/approval-config")
    switch(desk_page, PAPER).click()
    yes = dialog(desk_page).get_by_role("button", name="Require approval")
    expect(yes).to_be_enabled()
    as_script("operator", "PUT", "/approval-config", {"auto_approve_paper": False})
    look_again(desk_page)
    expect(dialog(desk_page).get_by_role("alert")).to_have_text(
        "This changed while you were deciding: already done."
    )
    expect(yes).to_be_disabled()
    yes.click(force=True)
    expect(dialog(desk_page)).to_be_visible()
    answer(desk_page, "Cancel")
    expect_switch(desk_page, PAPER, on=True)
    assert sent == []
    assert server.sql("SELECT count(*) FROM audit_events WHERE action = 'approval_config.change'") == [(1,)]


def test_a_question_about_a_setting_that_became_unreadable_cannot_be_confirmed(
    desk_page: Page, server: Server
) -> None:
    awake(desk_page)
    switch(desk_page, PAPER).click()
    expect(dialog(desk_page)).to_be_visible()
    server.sql("""UPDATE risk_configs SET config = '{"operator_approval": {"auto_approve_paper": "perhaps"}}'""")
    look_again(desk_page)
    expect(dialog(desk_page).get_by_role("alert")).to_have_text("The stored configuration cannot be read.")
    expect(dialog(desk_page).get_by_role("button", name="Require approval")).to_be_disabled()
