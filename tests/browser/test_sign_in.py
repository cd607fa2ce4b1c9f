"""Signing in and out."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from tests.browser.conftest import Complaints, SignIn
from tests.serving import Server


def test_the_front_door_leads_through_sign_in_to_trading(page: Page, server: Server) -> None:
    password = server.add_user("olga", "operator")
    page.goto("/")
    expect(page.get_by_label("Name")).to_be_focused()
    page.get_by_label("Name").fill("olga")
    page.get_by_label("Password").fill(password)
    page.keyboard.press("Enter")
    page.wait_for_url("**/trading")
    expect(page.get_by_role("banner")).to_contain_text("olga")
    expect(page.get_by_role("banner")).to_contain_text("operator")


def test_a_wrong_password_is_told_without_saying_which(page: Page, server: Server, complaints: Complaints) -> None:
    complaints.expect("status of 401")
    server.add_user("olga", "operator")
    for name in ("olga", "nobody"):
        page.goto("/login")
        page.get_by_label("Name").fill(name)
        page.get_by_label("Password").fill("wrong")
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("alert")).to_have_text("The name or the password is wrong.")
        expect(page.get_by_label("Name")).to_have_value(name)
        expect(page.get_by_label("Password")).to_have_value("")


def test_empty_fields_are_named(page: Page, complaints: Complaints) -> None:
    complaints.expect("status of 422")
    page.goto("/login")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_label("Name")).to_have_accessible_description("Name is required.")
    expect(page.get_by_label("Password")).to_have_accessible_description("Password is required.")


def test_signing_out_ends_it(page: Page, sign_in: SignIn, complaints: Complaints) -> None:
    complaints.expect("status of 401")  # of a read that was in flight
    sign_in(page)
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    page.goto("/audit")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
