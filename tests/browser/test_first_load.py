"""The first load of the Trading page is small, and the second costs next to nothing."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page

from tests.browser.conftest import LockOut, OpenPage, SendOrder, SignIn
from tests.browser.parts import awake
from tests.crowds import orders_wait, symbols_are_locked_out
from tests.serving import Server

FIRST_LOAD, SECOND_LOAD = 150_000, 10_000  # bytes on the wire, heads of answers included
FULLEST = 180_000  # with all that the page ever shows: 500 orders, each with its value, and 200 lockouts


class Traffic:
    """What a page has received so far, as it came over the wire."""

    def __init__(self, page: Page) -> None:
        self.bytes = 0
        self.requests: list[str] = []
        self._under_way: dict[str, str] = {}
        network = page.context.new_cdp_session(page)
        network.on("Network.loadingFinished", self._finished)
        network.on("Network.requestWillBeSent", self._sent)
        network.send("Network.enable")

    def _sent(self, event: dict[str, Any]) -> None:
        self.requests.append(event["request"]["url"])
        self._under_way[event["requestId"]] = event["request"]["url"].rpartition("/")[2]

    def _finished(self, event: dict[str, Any]) -> None:
        self.bytes += int(event["encodedDataLength"])
        self._under_way.pop(event["requestId"], None)

    def of_one_load(self, page: Page) -> int:
        before = self.bytes
        self._under_way.clear()
        with page.expect_response("**/stream"), page.expect_response("**/state") as read:
            page.goto("/trading")
        awake(page)
        assert read.value.status == 304
        while set(self._under_way.values()) - {"stream", "state"}:  # one stays open, of the other there is no more
            page.wait_for_timeout(50)
        return self.bytes - before


@pytest.fixture
def cold_page(open_page: OpenPage, sign_in: SignIn) -> Page:
    """A page of somebody signed in whose browser has never seen the desk."""
    page = open_page(cold=True)
    sign_in(page, path="about:blank")
    return page


def test_on_an_ordinary_day(cold_page: Page, send_order: SendOrder, lock_out: LockOut) -> None:
    for number in range(5):
        send_order(f"AAA{number}", rationale="The short average crossed the long one from below.")
        lock_out(f"BBB{number}")
    traffic = Traffic(cold_page)
    first = traffic.of_one_load(cold_page)
    second = traffic.of_one_load(cold_page)
    assert 20_000 < first <= FIRST_LOAD
    assert 1_000 < second <= SECOND_LOAD
    assert all(url.startswith((cold_page.url.removesuffix("/trading"), "data:")) for url in traffic.requests)


def test_on_the_fullest(cold_page: Page, server: Server) -> None:
    server.add_token("momentum-bot", "engine")
    orders_wait(server, 500)
    symbols_are_locked_out(server, 200)
    first = Traffic(cold_page).of_one_load(cold_page)
    assert first <= FULLEST
