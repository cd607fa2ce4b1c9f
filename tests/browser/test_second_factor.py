"""A second factor in a real browser: set up, asked for at the door, and asked for when going live."""

from __future__ import annotations

import re

import pyotp
import pytest
from playwright.sync_api import Page, expect

from tests.at_once import until
from tests.browser.conftest import Complaints, OpenPage
from tests.browser.parts import answer, awake, dialog, expect_mode
from tests.serving import Server


class Ada:
    """An admin with an authenticator."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.password = server.add_user("ada", "admin")
        self.totp = pyotp.TOTP(pyotp.random_base32())

    def sign_in(self, page: Page) -> None:
        page.goto("/login")
        page.get_by_label("Name").fill("ada")
        page.get_by_label("Password").fill(self.password)
        page.get_by_role("button", name="Sign in").click()

    def enrol(self, page: Page) -> None:
        self.sign_in(page)
        page.wait_for_url("**/trading")
        page.goto("/account")
        page.get_by_role("region", name="Second factor").get_by_label("Password").fill(self.password)
        page.get_by_role("button", name="Set it up").click()
        self.totp = pyotp.TOTP((page.locator("#secret").text_content() or "").replace(" ", ""))
        page.get_by_label("Code that it shows now").fill(self.code())
        page.get_by_role("button", name="Switch it on").click()
        expect(page.get_by_role("heading", name="Recovery codes")).to_be_visible()

    def code(self) -> str:
        """One that has not been used: there is no half a minute to wait for the next."""
        self.server.sql("UPDATE second_factors SET last_step = 0")
        return self.totp.now()

    def wrong(self) -> str:
        return f"{(int(self.totp.now()) + 1) % 10**6:06}"


@pytest.fixture
def ada(server: Server) -> Ada:
    return Ada(server)


def test_it_is_set_up_with_a_picture_and_asked_for_at_the_door(
    page: Page, ada: Ada, complaints: Complaints
) -> None:
    complaints.expect("status of 401", "status of 403")
    ada.sign_in(page)
    page.wait_for_url("**/trading")
    page.get_by_role("link", name="Your account").click()
    page.get_by_role("region", name="Second factor").get_by_label("Password").fill(ada.password)
    page.get_by_role("button", name="Set it up").click()
    picture = page.get_by_alt_text("QR code of the secret below")
    assert picture.evaluate("(image) => image.naturalWidth") > 100, "the policy lets it be drawn"
    ada.totp = pyotp.TOTP((page.locator("#secret").text_content() or "").replace(" ", ""))
    field = page.get_by_label("Code that it shows now")
    field.fill(ada.wrong())
    field.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("The code is wrong")
    field.fill(f"{ada.code()[:3]} {ada.totp.now()[3:]}")
    field.press("Enter")
    codes = page.locator(".secret").text_content() or ""
    assert len(re.findall(r"[A-Z2-7]{4}(?:-[A-Z2-7]{4}){3}", codes)) == 8
    page.get_by_role("link", name="Done").click()
    page.get_by_role("button", name="Sign out", exact=True).click()

    ada.sign_in(page)
    code = page.get_by_label("Code")
    expect(code).to_be_focused()
    code.fill(ada.wrong())
    code.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("The code is wrong")
    page.get_by_label("Code").fill(ada.code())
    page.keyboard.press("Enter")
    page.wait_for_url("**/trading")
    expect(page.get_by_role("banner")).to_contain_text("ada")


def test_going_live_asks_for_a_code_once_an_admin_says_so(
    page: Page, ada: Ada, server: Server, complaints: Complaints
) -> None:
    complaints.expect("status of 403")
    ada.enrol(page)
    page.goto("/accounts")
    page.get_by_role("button", name="Require a second factor…").click()
    page.get_by_label("Code of your authenticator").fill(ada.code())
    page.get_by_role("button", name="Require it").click()
    expect(page.get_by_role("region", name="Going live")).to_contain_text("Takes a second factor")

    page.goto("/trading")
    awake(page)
    page.get_by_role("button", name="Go live…").click()
    field, go = (
        dialog(page).get_by_label("Code of your authenticator"),
        dialog(page).get_by_role("button", name="Go live"),
    )
    dialog(page).get_by_label("Reason").fill("open for business")
    dialog(page).get_by_label("Type LIVE").fill("LIVE")
    go.click()
    expect(field).to_be_focused()
    expect(field).to_have_attribute("aria-invalid", "true")
    field.fill(ada.wrong())
    go.click()
    expect(field).to_have_accessible_description(re.compile("The code is wrong"))
    expect(field).to_be_focused()
    expect(dialog(page).get_by_label("Reason")).to_have_value("open for business")
    assert server.sql("SELECT trading_mode FROM risk_configs") == [("paper",)]
    field.fill(ada.code())
    answer(page, "Go live")
    expect_mode(page, "LIVE")
    page.get_by_role("button", name="Halt trading").click()
    expect_mode(page, "HALTED")


def test_who_has_none_hears_so_before_anything_is_typed(
    page: Page, ada: Ada, server: Server, open_page: OpenPage
) -> None:
    server.sql("UPDATE risk_configs SET second_factor_for_live = true")
    ada.sign_in(page)
    page.goto("/trading")
    awake(page)
    page.get_by_role("button", name="Go live…").click()
    expect(page.get_by_role("alert").filter(has_text="Set one up on your Account page")).to_be_visible()
    expect(dialog(page)).to_be_hidden()
    plain = open_page(java_script_enabled=False)
    ada.sign_in(plain)
    plain.wait_for_url("**/trading")
    plain.get_by_role("button", name="Go live…").click()
    expect(plain.get_by_text("set one up on your Account page")).to_be_visible()
    expect(plain.get_by_label("Type LIVE")).to_have_count(0)
    assert server.sql("SELECT trading_mode FROM risk_configs") == [("paper",)]


def test_an_open_page_learns_that_a_code_is_asked_for(page: Page, ada: Ada, server: Server) -> None:
    ada.enrol(page)
    page.goto("/trading")
    awake(page)
    page.get_by_role("button", name="Go live…").click()
    expect(dialog(page).get_by_label("Code of your authenticator")).to_be_hidden()
    answer(page, "Cancel")
    with page.expect_response(re.compile("/state")):
        server.sql("UPDATE risk_configs SET second_factor_for_live = true, version = version + 1")
        server.sql(
            "INSERT INTO audit_events (actor, action, subject, request_id) VALUES"
            " ('eve', 'second_factor_for_live.change', 'second_factor_for_live', 'r')"
        )
    field = dialog(page).get_by_label("Code of your authenticator")

    def is_asked_for() -> bool:
        page.get_by_role("button", name="Go live…").click()
        shown = field.is_visible()
        answer(page, "Cancel")
        return shown

    until(is_asked_for)


def test_without_javascript_going_live_asks_for_it_too(
    page: Page, ada: Ada, server: Server, open_page: OpenPage
) -> None:
    ada.enrol(page)
    server.sql("UPDATE risk_configs SET second_factor_for_live = true")
    plain = open_page(java_script_enabled=False)
    ada.sign_in(plain)
    plain.get_by_label("Code").fill(ada.code())
    plain.get_by_role("button", name="Sign in").click()
    plain.wait_for_url("**/trading")
    plain.get_by_role("button", name="Go live…").click()
    plain.get_by_label("Reason").fill("open for business")
    plain.get_by_label("Code of your authenticator").fill(ada.code())
    plain.get_by_label("Type LIVE").fill("LIVE")
    plain.get_by_role("button", name="Go live").click()
    expect(plain.locator(".badge")).to_contain_text("LIVE")


def test_signing_out_everywhere_ends_the_stream_of_another_page_at_once(
    page: Page, ada: Ada, open_page: OpenPage, complaints: Complaints
) -> None:
    complaints.expect("status of 401")
    ada.enrol(page)
    other = open_page(viewport={"width": 1280, "height": 800})
    ada.sign_in(other)
    other.get_by_label("Code").fill(ada.code())
    other.get_by_role("button", name="Sign in").click()
    other.wait_for_url("**/trading")
    awake(other)
    page.goto("/account")
    page.get_by_role("button", name="Sign out everywhere else").click()
    expect(page.get_by_role("status")).to_contain_text("1 other session has ended")
    expect(other.get_by_role("alert").filter(has_text="Your session has ended.")).to_be_visible()
