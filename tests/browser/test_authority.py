"""What the Accounts pages ask of people who hold power, in a real browser, on a desktop and on a phone."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import DESKTOP, PHONE, Complaints, OpenPage, SignIn
from tests.browser.test_accessibility import check
from tests.serving import Server

NEW = "a horse of another colour"


@pytest.fixture(params=[DESKTOP, PHONE], ids=["1440", "390"])
def seen(request: pytest.FixtureRequest, open_page: OpenPage) -> Page:
    phone = request.param is PHONE
    return open_page(viewport=request.param, reduced_motion="reduce", has_touch=phone, is_mobile=phone)


def enter(page: Page, name: str, password: str, at: str = "/accounts") -> None:
    page.goto(f"/login?next={at}")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()


def test_a_first_password_is_changed_before_anything_else(seen: Page, server: Server) -> None:
    password = server.add_user("olga", "operator")
    server.sql("UPDATE accounts SET password_set_by_id = id")
    enter(seen, "olga", password, "/trading")
    expect(seen.get_by_role("heading", name="Change your password")).to_be_visible()
    check(seen)
    seen.get_by_label("Current password").fill(password)
    seen.get_by_label("New password", exact=True).fill(NEW)
    seen.get_by_label("New password again").fill(NEW)
    seen.get_by_role("button", name="Change password").click()
    seen.wait_for_url("**/trading")
    expect(seen.get_by_text("Your password is changed.")).to_be_visible()


def test_an_admins_token_asks_for_the_password_after_ten_minutes(
    seen: Page, server: Server, complaints: Complaints
) -> None:
    complaints.expect("status of 422")
    password = server.add_user("ada", "admin")
    enter(seen, "ada", password)
    server.sql("UPDATE web_sessions SET confirmed_at = confirmed_at - interval '11 minutes'")
    seen.get_by_text("Add a token").click()
    seen.get_by_label("Account", exact=True).fill("night-script")
    seen.get_by_label("Role", exact=True).last.select_option("admin")
    seen.get_by_role("button", name="Make a token").click()
    expect(seen.get_by_role("heading", name="Confirm that it is you")).to_be_visible()
    check(seen)
    seen.get_by_label("Your password").fill("wrong")
    seen.get_by_role("button", name="Continue").click()
    expect(seen.get_by_role("alert")).to_contain_text("The password is wrong")
    seen.get_by_label("Your password").fill(password)
    seen.get_by_role("button", name="Continue").click()
    expect(seen.get_by_role("heading", name="A token for night-script")).to_be_visible()


def test_a_deactivation_says_what_stops_and_another_owner_resumes_it(
    seen: Page, sign_in: SignIn, server: Server
) -> None:
    for name in ("olga", "bob"):
        server.add_user(name, "operator")
    server.add_token("momentum-bot", "engine", owner="olga")
    sign_in(seen, "admin", "/accounts")
    olga = seen.get_by_role("row").filter(has_text="olga").first
    olga.get_by_text("Change").click()
    olga.get_by_role("button", name="Deactivate…").click()
    expect(seen.get_by_role("listitem")).to_contain_text("momentum-bot (engine) is suspended")
    check(seen)
    seen.get_by_role("button", name="Deactivate").click()
    bot = seen.get_by_role("row").filter(has_text="momentum-bot")
    expect(bot).to_contain_text("suspended")
    bot.locator("summary").click()
    check(seen)
    bot.get_by_label("New owner").fill("bob")
    bot.get_by_role("button", name="Change…").click()
    seen.get_by_role("button", name="Change the owner").click()
    expect(seen.get_by_role("status")).to_contain_text("Resumed: momentum-bot.")
