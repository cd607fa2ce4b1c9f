"""A viewer sees everything, and why nothing can be pressed."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import LockOut, SignIn
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
    lock_form,
    row,
    switch,
)

REASON = "Your role (viewer) may look, not change."


@pytest.fixture
def viewed(page: Page, sign_in: SignIn, lock_out: LockOut) -> Page:
    lock_out("AAPL", "guidance withdrawn")
    sign_in(page, "viewer")
    awake(page)
    return page


def test_the_whole_state_is_there(viewed: Page) -> None:
    expect(row(viewed, "AAPL")).to_contain_text("guidance withdrawn")
    expect(card(viewed, PAPER)).to_contain_text("Auto-approve paper orders")


def test_nothing_that_is_pressed_does_anything(viewed: Page) -> None:
    sent: list[str] = []
    viewed.on("request", lambda request: sent.append(request.url) if request.method != "GET" else None)
    for name in (MACRO, COMPETITIVE, PAPER, LIVE):
        expect(switch(viewed, name)).to_have_attribute("aria-disabled", "true")
        switch(viewed, name).click(force=True)
    viewed.get_by_role("button", name="Halt trading").click(force=True)
    card(viewed, PENDING).get_by_role("button", name="Save timeout").click(force=True)
    card(viewed, PENDING).get_by_label("Approval timeout (minutes)").press("Enter")
    for name in ("+1 h", "Remove"):
        expect(row(viewed, "AAPL").get_by_role("button", name=name)).to_be_disabled()
    expect(lock_form(viewed).get_by_label("Ticker")).to_be_disabled()
    expect(lock_form(viewed).get_by_role("button", name="Lock out")).to_be_disabled()
    for name in ("Go live…", "Resume in paper…"):
        expect(viewed.get_by_role("button", name=name)).to_have_count(0)
    expect(dialog(viewed)).to_be_hidden()
    assert sent == []


def test_the_reason_is_given(viewed: Page) -> None:
    for name in (MACRO, COMPETITIVE, PAPER):
        expect(card(viewed, name)).to_contain_text("Only an operator or an admin can change this.")
    for name in (PENDING, LOCKOUTS):
        expect(card(viewed, name)).to_contain_text(REASON)
    expect(viewed.get_by_role("button", name="Halt trading")).to_have_accessible_description(
        REASON + " Ask an operator."
    )
