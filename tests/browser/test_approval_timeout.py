"""How long an order waits for a person before it expires."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import Complaints
from tests.browser.parts import PENDING, awake, card, look_again
from tests.serving import Server


def field(page: Page) -> Locator:
    return card(page, PENDING).get_by_label("Approval timeout (minutes)")


def save(page: Page) -> None:
    card(page, PENDING).get_by_role("button", name="Save timeout").click()


def test_it_is_changed_and_survives_a_reload(desk_page: Page, stored: Callable[[str], Any]) -> None:
    awake(desk_page)
    expect(field(desk_page)).to_have_value("30")
    field(desk_page).fill("45")
    save(desk_page)
    expect(
        desk_page.get_by_role("status").filter(has_text="The approval timeout is now 45 minutes.")
    ).to_be_visible()
    assert stored("config")["operator_approval"]["approval_timeout_minutes"] == 45
    desk_page.reload()
    expect(field(desk_page)).to_have_value("45")


@pytest.mark.parametrize(
    ("typed", "message"),
    [("0", "must be from 1 to 10080"), ("soon", "must be a whole number"), ("", "is required")],
)
def test_a_bad_value_is_refused_at_the_field(
    desk_page: Page, complaints: Complaints, typed: str, message: str
) -> None:
    complaints.expect("status of 422")
    awake(desk_page)
    field(desk_page).fill(typed)
    save(desk_page)
    expect(field(desk_page)).to_have_attribute("aria-invalid", "true")
    expect(card(desk_page, PENDING).get_by_role("alert")).to_contain_text(message)
    expect(field(desk_page)).to_be_focused()


def test_it_follows_others_unless_one_is_typing(desk_page: Page, server: Server) -> None:
    awake(desk_page)

    def set_to(minutes: int) -> None:
        server.sql(
            "UPDATE risk_configs SET config = jsonb_build_object("
            "'operator_approval', jsonb_build_object('approval_timeout_minutes', %s::int))",
            minutes,
        )
        look_again(desk_page)

    set_to(20)
    expect(field(desk_page)).to_have_value("20")
    field(desk_page).fill("25")
    set_to(15)
    expect(desk_page.get_by_role("status").filter(has_text="now 15 minutes")).to_be_visible()
    expect(field(desk_page)).to_have_value("25")
