"""The Accounts page in a real browser: people, tokens, on a phone and by keyboard."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import DESKTOP, PHONE, OpenPage, SignIn
from tests.browser.test_accessibility import check
from tests.serving import Server


@pytest.fixture(params=[DESKTOP, PHONE], ids=["1440", "390"])
def seen(request: pytest.FixtureRequest, open_page: OpenPage) -> Page:
    phone = request.param is PHONE
    return open_page(viewport=request.param, reduced_motion="reduce", has_touch=phone, is_mobile=phone)


def crowd(server: Server) -> None:
    server.add_user("a-person-with-a-name-that-is-as-long-as-names-may-possibly-be-64", "operator")
    server.add_user("gone", "viewer")
    server.add_token("momentum-bot", "engine", owner="gone")
    server.sql("UPDATE accounts SET deactivated_at = now() WHERE name = 'gone'")
    server.sql("UPDATE accounts SET suspended_at = now() WHERE name = 'momentum-bot'")
    server.add_token("night-script", "admin", allow_live=True)
    server.add_token("old-bot", "engine")
    server.sql(
        "UPDATE tokens SET revoked_at = now() WHERE account_id = (SELECT id FROM accounts WHERE name = 'old-bot')"
    )


def test_every_page_and_state_is_accessible(seen: Page, server: Server) -> None:
    password = server.add_user("ada", "admin")
    seen.goto("/login?next=/accounts")
    seen.get_by_label("Name").fill("ada")
    seen.get_by_label("Password").fill(password)
    seen.get_by_role("button", name="Sign in").click()
    seen.wait_for_url("**/accounts")
    crowd(server)
    seen.reload()
    check(seen)
    for summary in seen.locator("summary").all():
        summary.click()
    check(seen)
    row = seen.get_by_role("row").filter(has_text="a-person")
    row.get_by_role("button", name="Deactivate…").click()
    check(seen)
    seen.goto("/account")
    check(seen)
    seen.get_by_role("region", name="Second factor").get_by_label("Password").fill(password)
    seen.get_by_role("button", name="Set it up").click()
    expect(seen.get_by_role("heading", name="Set up a second factor")).to_be_visible()
    check(seen)


def test_a_person_is_added_promoted_and_put_out(seen: Page, sign_in: SignIn, server: Server) -> None:
    sign_in(seen, "admin")
    seen.get_by_role("link", name="Accounts").click()
    seen.get_by_text("Add a person").click()
    seen.get_by_label("Name", exact=True).fill("nina")
    seen.get_by_label("Role", exact=True).first.select_option("viewer")
    seen.get_by_role("button", name="Add", exact=True).click()
    expect(seen.get_by_role("heading", name="nina can sign in")).to_be_visible()
    assert len(seen.locator(".secret").text_content() or "") == 16
    expect(seen.get_by_role("button", name="Copy")).to_be_visible()
    seen.get_by_role("link", name="Done").click()

    nina = seen.get_by_role("row").filter(has_text="nina")
    nina.get_by_text("Change").click()
    nina.get_by_label("Role").select_option("operator")
    nina.get_by_role("button", name="Set…").click()
    seen.get_by_role("button", name="Change the role").click()
    expect(seen.get_by_role("status")).to_contain_text("nina is an operator now")
    nina.get_by_text("Change").click()
    nina.get_by_role("button", name="Deactivate…").click()
    seen.get_by_role("link", name="Cancel").click()
    assert server.sql("SELECT deactivated_at FROM accounts WHERE name = 'nina'") == [(None,)]
    nina.get_by_text("Change").click()
    nina.get_by_role("button", name="Deactivate…").click()
    seen.get_by_role("button", name="Deactivate").click()
    expect(nina).to_contain_text("deactivated")


def test_a_token_is_made_copied_and_revoked(page: Page, sign_in: SignIn, server: Server) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    sign_in(page, "admin", "/accounts")
    page.get_by_text("Add a token").click()
    page.get_by_label("Account", exact=True).fill("bot")
    page.get_by_role("button", name="Make a token").click()
    token = page.locator(".secret").text_content() or ""
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("status")).to_have_text("Copied.")
    assert page.evaluate("navigator.clipboard.readText()") == token
    page.get_by_role("link", name="Done").click()
    table = page.get_by_role("table", name="Tokens that hold")
    expect(table).to_contain_text("by ada")
    table.get_by_role("button", name="Revoke").click()
    page.get_by_role("button", name="Revoke").click()
    expect(page.get_by_text("There is no token in force.")).to_be_visible()
    assert server.sql("SELECT count(*) FROM tokens WHERE revoked_at IS NULL") == [(0,)]


def test_all_of_it_is_reached_by_keyboard(page: Page, sign_in: SignIn, server: Server) -> None:
    server.add_user("nina", "viewer")
    sign_in(page, "admin", "/accounts")
    page.get_by_role("row").filter(has_text="nina").locator("summary").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.get_by_role("row").filter(has_text="nina").get_by_label("Role")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Reset the password…")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Reset the password of nina?")).to_be_visible()


@pytest.mark.parametrize("role", ["viewer", "operator"])
def test_others_see_no_way_there_but_to_their_own_account(page: Page, sign_in: SignIn, role: str) -> None:
    sign_in(page, role)
    expect(page.get_by_role("link", name="Accounts", exact=True)).to_have_count(0)
    page.get_by_role("link", name="Your account").click()
    expect(page.get_by_role("heading", name="Your account")).to_be_visible()
