"""The API as a page in a browser: without JavaScript, on a phone, and one click from every other page."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from tests.browser.conftest import PHONE, OpenPage, SignIn


def test_it_is_linked_from_the_desk_and_from_the_sign_in_page(desk_page: Page, open_page: OpenPage) -> None:
    desk_page.get_by_role("contentinfo").get_by_role("link", name="API").click()
    expect(desk_page.get_by_role("heading", name="The API")).to_be_visible()
    stranger = open_page()
    stranger.goto("/login")
    stranger.get_by_role("contentinfo").get_by_role("link", name="API").click()
    expect(stranger.get_by_role("heading", name="The API")).to_be_visible()


def test_the_contents_lead_to_an_operation_without_javascript_on_a_phone_too(open_page: OpenPage) -> None:
    page = open_page(viewport=PHONE, java_script_enabled=False)
    page.goto("/docs/api")
    page.get_by_role("navigation", name="Contents").get_by_role("link", name="POST /lockouts").click()
    operation = page.get_by_role("article", name="POST /api/admin/trading/lockouts")
    expect(operation).to_be_in_viewport()
    expect(operation.get_by_label("Command")).to_contain_text('"reason": "earnings after the close"')
    expect(operation).to_contain_text("422")


def test_nothing_of_it_is_wider_than_a_phone(open_page: OpenPage) -> None:
    page = open_page(viewport=PHONE)
    page.goto("/docs/api")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_it_prints_whole_and_without_what_is_for_clicking(page: Page, sign_in: SignIn) -> None:
    page.goto("/docs/api")
    page.emulate_media(media="print")
    expect(page.get_by_role("navigation", name="Contents")).to_be_hidden()
    expect(page.get_by_role("article", name="GET /api/admin/trading/stream")).to_be_visible()
    assert page.locator("pre").first.evaluate("pre => getComputedStyle(pre).whiteSpace") == "pre-wrap"
