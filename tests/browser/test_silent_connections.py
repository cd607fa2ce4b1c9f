"""Halting when open connections of the browser are silent, as after a change of network, and new ones work."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page

from tests.browser.conftest import Complaints, SignIn
from tests.browser.parts import awake, expect_mode
from tests.serving import Server
from tests.tcp_proxy import Proxy

# Reads that a page may have under way, so that the browser has all of its six connections open.
OPEN_CONNECTIONS = "() => Promise.all(Array.from({ length: 8 }, () => fetch('/readyz', { cache: 'no-store' })))"


@pytest.fixture
def proxy(server: Server) -> Iterator[Proxy]:
    made = Proxy(server.url)
    yield made
    made.close()


@pytest.mark.parametrize("every", [1, 2], ids=["all", "half"])
def test_a_halt_is_acknowledged_within_six_seconds_and_changes_the_mode_once(
    page: Page, sign_in: SignIn, server: Server, proxy: Proxy, complaints: Complaints, every: int
) -> None:
    complaints.expect("ERR_")
    sign_in(page, path="/login")
    with page.expect_response("**/stream"):
        page.goto(f"{proxy.url}/trading")
    awake(page)
    page.evaluate(OPEN_CONNECTIONS)
    assert len(proxy.open_connections()) == 6
    assert proxy.silence(every) == 6 // every
    began = time.monotonic()
    page.get_by_role("button", name="Halt trading").click()
    expect_mode(page, "HALTED")
    assert time.monotonic() - began < 6
    assert server.sql("SELECT trading_mode FROM risk_configs") == [("disabled",)]
    # The halts that the browser did not wait for were answered, and changed nothing.
    assert server.sql("SELECT count(*) FROM audit_events WHERE action = 'mode.change'") == [(1,)]
