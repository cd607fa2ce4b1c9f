"""A configuration that cannot be read is shown as such; nothing is drawn from a default that is not in force."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import OpenPage, SignIn
from tests.browser.parts import LIVE, MACRO, PAPER, awake, card, expect_switch, look_again, switch
from tests.serving import Server

BROKEN = '{"operator_approval": {"require_approval_for_live": "yes"}, "sector_exposure": {"tech": 0.3}}'


def store(server: Server, config: str) -> None:
    server.sql("UPDATE risk_configs SET config = %s::jsonb", config)


def banner(page: Page) -> Locator:
    return page.get_by_role("region", name="Broken configuration")


@pytest.mark.parametrize("javascript", [True, False])
def test_it_is_named_with_its_key_and_who_can_mend_it(
    open_page: OpenPage, sign_in: SignIn, server: Server, javascript: bool
) -> None:
    store(server, BROKEN)
    page = open_page(java_script_enabled=javascript)
    sign_in(page)
    for text in (
        "operator_approval.require_approval_for_live",
        "The gate blocks every order",
        "An admin can fix it",
    ):
        expect(banner(page)).to_contain_text(text)
    for name in (PAPER, LIVE):
        expect(card(page, name)).to_contain_text("Unknown")
        expect(card(page, name)).not_to_contain_text("Auto-approve")
        expect(switch(page, name)).to_be_hidden()
    expect_switch(page, MACRO, on=True)


@pytest.mark.parametrize("javascript", [True, False])
def test_an_operator_is_told_what_an_operator_can_fix(
    open_page: OpenPage, sign_in: SignIn, server: Server, javascript: bool
) -> None:
    store(server, '{"signal_layers": {"macro": "a \\u202elevel"}}')
    page = open_page(java_script_enabled=javascript)
    sign_in(page)
    expect(banner(page)).to_contain_text("You can fix it: set the values that cannot be read")
    expect(banner(page)).to_contain_text("PUT /api/admin/trading/signal-layers")
    expect(banner(page)).to_contain_text("a [U+202E]level")
    expect(banner(page).get_by_text("An admin can fix it")).to_be_hidden()


def test_an_open_page_hears_of_it_and_of_the_mending(desk_page: Page, server: Server) -> None:
    awake(desk_page)
    expect(banner(desk_page)).to_be_hidden()
    store(server, BROKEN)
    look_again(desk_page)
    expect(banner(desk_page)).to_be_visible()
    expect(card(desk_page, PAPER)).to_contain_text("Unknown")
    store(server, "{}")
    look_again(desk_page)
    expect(banner(desk_page)).to_be_hidden()
    expect(switch(desk_page, PAPER)).to_be_visible()


def test_broken_layers_are_unknown_too(desk_page: Page, server: Server) -> None:
    store(server, '{"signal_layers": 7}')
    desk_page.reload()
    expect(card(desk_page, MACRO)).to_contain_text("Unknown")
    expect(switch(desk_page, PAPER)).to_be_visible()


def test_an_admin_mends_it_here(page: Page, sign_in: SignIn, server: Server, stored: Callable[[str], Any]) -> None:
    store(server, BROKEN)
    sign_in(page, "admin")
    awake(page)
    banner(page).get_by_label("Timeout (minutes)").fill("10")
    banner(page).get_by_role("button", name="Set all three").click()
    expect(banner(page)).to_be_hidden()
    expect_switch(page, PAPER, on=True)
    assert stored("config") == {
        "operator_approval": {
            "auto_approve_paper": False,
            "require_approval_for_live": True,
            "approval_timeout_minutes": 10,
        },
        "sector_exposure": {"tech": 0.3},
    }


def test_settings_that_mean_nothing_are_pointed_out(desk_page: Page, server: Server) -> None:
    store(server, '{"position_limits": {"max_order_qty": 5}}')
    look_again(desk_page)
    expect(desk_page.get_by_role("region", name="Unknown settings")).to_contain_text(
        "position_limits.max_order_qty"
    )
