"""The signal layers: off at once, on again after a question."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.parts import COMPETITIVE, MACRO, answer, awake, card, dialog, expect_switch, switch

LAYERS = pytest.mark.parametrize(("name", "key"), [(MACRO, "macro"), (COMPETITIVE, "competitive")])


@LAYERS
def test_a_layer_goes_off_at_once_and_on_after_a_question(
    desk_page: Page, stored: Callable[[str], Any], name: str, key: str
) -> None:
    awake(desk_page)
    expect_switch(desk_page, name, on=True)
    switch(desk_page, name).click()
    expect_switch(desk_page, name, on=False)
    expect(card(desk_page, name)).to_contain_text("Disabled")
    expect(card(desk_page, name)).to_contain_text("Its orders are blocked.")
    assert stored("config") == {"signal_layers": {key: False}}
    switch(desk_page, name).click()
    expect(dialog(desk_page)).to_contain_text("no longer blocked")
    expect_switch(desk_page, name, on=False)
    answer(desk_page, "Enable the layer")
    expect_switch(desk_page, name, on=True)
    assert stored("config") == {"signal_layers": {key: True}}


def test_one_layer_leaves_the_other_alone(desk_page: Page) -> None:
    awake(desk_page)
    switch(desk_page, MACRO).click()
    expect_switch(desk_page, MACRO, on=False)
    expect_switch(desk_page, COMPETITIVE, on=True)
