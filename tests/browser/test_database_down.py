"""The database is down, or hangs: the page says so in words, shows how old it is, and goes on when it is back."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from tests.at_once import Caller, results_of, statuses, until
from tests.browser.conftest import DESKTOP, PHONE, REPORT_VIOLATIONS, Complaints
from tests.browser.parts import (
    PAPER,
    answer,
    approve,
    awake,
    dialog,
    expect_mode,
    order,
    reject,
    row,
    select,
    switch,
)
from tests.outage import Cluster, breakable
from tests.serving import Server

DOWN = "The database is down."
PATIENCE = 40_000  # milliseconds; of a database that hangs one hears only after several seconds
WAITS = {"side": "buy", "qty": "10", "type": "market"}


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Cluster]]:
    with breakable(tmp_path_factory.mktemp("outage")) as made:
        yield made


@pytest.fixture
def server(broken: tuple[Server, Cluster]) -> Iterator[Server]:
    """On an empty desk where orders wait; whatever a test did to its database is undone."""
    server, cluster = broken
    server.reset()
    server.sql("""UPDATE risk_configs SET config = '{"operator_approval": {"auto_approve_paper": false}}'""")
    yield server
    cluster.come_back()
    until(lambda: server.app.test_client().get("/readyz").status_code == 200, 60)
    server.connect_anew()


@pytest.fixture
def cluster(broken: tuple[Server, Cluster]) -> Cluster:
    return broken[1]


@pytest.fixture
def script(server: Server) -> Callable[..., Any]:
    """Asks a JSON route with the token of a role, until it is answered."""
    tokens = {role: server.add_token(role, role) for role in ("operator", "engine")}

    def ask(role: str, method: str, path: str, body: Any = None) -> Any:
        reply = until(
            lambda: reply if (reply := Caller(server.url, tokens[role])(method, path, body)).status < 500 else None
        )
        assert reply.status < 300, reply.text
        return reply.json

    return ask


@pytest.fixture
def context(
    chromium: Browser, server: Server, complaints: Complaints, request: pytest.FixtureRequest
) -> Iterator[BrowserContext]:
    """A browser profile in which olga has signed in."""
    complaints.expect("status of 503", "ERR_INCOMPLETE_CHUNKED_ENCODING", "ERR_CONNECTION", "ERR_EMPTY_RESPONSE")
    made = chromium.new_context(base_url=server.url, **getattr(request, "param", {"viewport": DESKTOP}))
    made.add_init_script(REPORT_VIOLATIONS)
    made.on("page", lambda page: page.on("console", complaints.hear))
    login = made.request.get("/login").text()
    [token] = re.findall(r'name="csrf_token" value="([^"]+)"', login)
    form = {"csrf_token": token, "name": "olga", "password": server.add_user("olga", "operator")}
    assert made.request.post("/login", form=form, max_redirects=0).status == 303
    yield made
    made.close()


@pytest.fixture
def page(context: BrowserContext) -> Page:
    """The Trading page before an operator."""
    made = context.new_page()
    made.goto("/trading")
    return made


def sends(script: Callable[..., Any], *tickers: str) -> None:
    for ticker in tickers:
        script("engine", "POST", "/orders", WAITS | {"client_order_id": ticker, "ticker": ticker})


def strip(page: Page) -> Locator:
    return page.get_by_role("status").filter(has_text=DOWN)


def look(page: Page) -> None:
    """Read the state now, without waiting for an answer."""
    page.evaluate("window.dispatchEvent(new Event('focus'))")


def expect_greyed(page: Page, *, yes: bool) -> None:
    main = expect(page.locator("main"))
    (main.to_have_attribute if yes else main.not_to_have_attribute)("data-stale", "true", timeout=PATIENCE)


def press_where_it_stands(page: Page, ticker: str) -> None:
    """Approve it; again where the list had just moved, as it says there: words above it have gone, and what passed
    its deadline in the meantime."""
    said = order(page, ticker).get_by_text(re.compile("had just moved|Released by"))
    for _ in range(5):
        approve(page, ticker).click()
        expect(said).to_be_visible()
        if "moved" not in said.inner_text():
            break
        expect(said).to_be_hidden()


def test_killed_it_is_said_with_the_age_of_what_is_shown_and_then_all_goes_on(
    page: Page, context: BrowserContext, server: Server, cluster: Cluster, script: Callable[..., Any]
) -> None:
    sends(script, "AAPL", "MSFT", "TSLA")
    expect(order(page, "TSLA")).to_be_visible()
    server.sql("UPDATE orders SET expires_at = now() + interval '8 s' WHERE ticker = 'TSLA'")

    cluster.kill()
    expect(strip(page)).to_contain_text("nothing is released, and nothing can be changed")
    expect(strip(page)).to_contain_text(re.compile(r"last good state \d\d:\d\d:\d\d UTC, \d+s ago"))
    expect(page.get_by_text("the desk cannot be reached")).to_be_hidden()
    expect_greyed(page, yes=True)
    page.set_viewport_size(PHONE)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    age = strip(page).locator(".num").inner_text()
    expect(strip(page).locator(".num")).not_to_have_text(age)

    other = context.new_page()  # loaded while there is none
    other.set_viewport_size(PHONE)
    other.goto("/trading")
    expect(other.get_by_role("heading", name="The database is down")).to_be_visible()
    expect(other.get_by_text("tries again by itself")).to_be_visible()
    assert other.evaluate("document.documentElement.scrollWidth <= innerWidth")

    cluster.come_back()
    expect(strip(page)).to_be_hidden(timeout=PATIENCE)
    expect_greyed(page, yes=False)
    expect(order(other, "AAPL")).to_be_visible(timeout=PATIENCE)
    other.close()
    press_where_it_stands(page, "AAPL")
    expect(order(page, "AAPL")).to_contain_text("Released by olga")
    sends(script, "NVDA")
    expect(order(page, "NVDA")).to_be_visible()
    server.connect_anew()
    written = "SELECT status FROM orders WHERE ticker = 'TSLA'"  # by the keeper
    until(lambda: server.sql(written) == [("expired",)], 40)


def test_meanwhile_halting_can_be_asked_for_and_is_honest(
    page: Page, cluster: Cluster, script: Callable[..., Any]
) -> None:
    awake(page)
    cluster.kill()
    page.get_by_role("button", name="Halt trading").click()
    alert = page.get_by_role("alert").filter(has_text="HALT NOT CONFIRMED")
    expect(alert).to_contain_text("The database is down.")
    expect(alert).to_contain_text("Halting, trying again…")
    expect(page.locator("button.halt")).to_be_enabled()
    expect_mode(page, "PAPER")
    cluster.come_back()
    expect(page.locator(".badge")).to_contain_text("HALTED", timeout=PATIENCE)
    expect(alert).to_have_count(0)
    assert script("operator", "GET", "/mode") == {"trading_mode": "disabled"}


def test_meanwhile_nothing_that_is_out_of_date_can_be_approved(
    page: Page, cluster: Cluster, script: Callable[..., Any]
) -> None:
    sends(script, "AAPL", "MSFT")
    awake(page)
    select(page, "AAPL")
    select(page, "MSFT")
    page.get_by_role("button", name="Approve 2…").click()
    cluster.kill()
    asked = dialog(page)
    expect(asked.get_by_role("alert")).to_contain_text("What you see may be out of date")
    expect(asked.get_by_role("button", name="Approve 2 orders")).to_have_attribute("aria-disabled", "true")
    answer(page, "Cancel")
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url) if request.method == "POST" else None)
    expect(approve(page, "AAPL")).to_have_attribute("aria-disabled", "true")
    expect(page.get_by_role("button", name="Approve 0…")).to_have_attribute("aria-disabled", "true")
    approve(page, "AAPL").dispatch_event("click")
    expect(page.get_by_role("status").filter(has_text="Not approved")).to_contain_text("may be out of date")
    order(page, "MSFT").focus()
    page.keyboard.press("a")
    page.wait_for_timeout(600)
    assert not sent
    reject(page, "MSFT").click()
    dialog(page).get_by_label("Reason").fill("too large")
    answer(page, "Reject")
    expect(order(page, "MSFT")).to_contain_text("Not known whether rejected: the database is down.")
    cluster.come_back()
    expect_greyed(page, yes=False)
    expect(order(page, "MSFT")).to_contain_text("It still waits.")
    expect(approve(page, "AAPL")).to_have_attribute("aria-disabled", "false")


def test_what_is_changed_meanwhile_says_that_it_was_not_and_shows_nothing_else(
    page: Page, cluster: Cluster
) -> None:
    awake(page)
    cluster.kill()
    expect(strip(page)).to_be_visible()
    switch(page, PAPER).click()
    answer(page, "Auto-approve")
    box = page.get_by_role("region", name=PAPER)  # for the charts of the last day may say it too
    expect(box.get_by_role("alert").filter(has_text="database cannot be reached")).to_be_visible()
    expect(switch(page, PAPER)).to_have_attribute("aria-checked", "true")


def test_a_database_that_hangs_is_noticed_by_every_route_and_by_the_page(
    page: Page, server: Server, cluster: Cluster, script: Callable[..., Any]
) -> None:
    sends(script, "AAPL")
    expect(order(page, "AAPL")).to_be_visible()
    tokens = {role: server.add_token(role, role) for role in ("operator", "engine")}
    asked: tuple[tuple[str, str, str, Any], ...] = (
        ("operator", "GET", "/state", None),
        ("operator", "PUT", "/mode", {"trading_mode": "disabled"}),
        ("operator", "GET", "//trading", None),
        ("operator", "GET", "//readyz", None),
        ("engine", "POST", "/orders", WAITS | {"client_order_id": "late", "ticker": "AAPL"}),
        ("engine", "GET", "//v2/orders", None),
    )
    for role, method, path, _ in asked:  # so that each of these has connections that are to be found dead
        Caller(server.url, tokens[role])(method, path, {} if method != "GET" else None)

    cluster.freeze()
    look(page)
    asks = [
        partial(Caller(server.url, tokens[role]), method, path, body, seconds=40)
        for role, method, path, body in asked
    ]
    assert statuses(results_of(*asks)) == [503] * len(asked)
    expect(strip(page)).to_be_visible(timeout=PATIENCE)
    expect_greyed(page, yes=True)

    cluster.come_back()
    expect(strip(page)).to_be_hidden(timeout=PATIENCE)
    expect_greyed(page, yes=False)
    script("operator", "POST", "/lockouts", {"ticker": "GME", "reason": "r", "duration_minutes": 5})
    expect(row(page, "GME")).to_be_visible()
    expect_mode(page, "PAPER")


@pytest.mark.parametrize("context", [{"java_script_enabled": False}], indirect=True)
def test_without_javascript_the_page_comes_by_itself_too(
    context: BrowserContext, server: Server, cluster: Cluster
) -> None:
    cluster.kill()
    page = context.new_page()
    page.goto("/trading")
    expect(page.get_by_role("heading", name="The database is down")).to_be_visible()
    cluster.come_back()
    expect(page.get_by_role("heading", name="Pending Approvals")).to_be_visible(timeout=PATIENCE)


def test_signing_in_meanwhile_says_why_not_and_keeps_the_name(context: BrowserContext, cluster: Cluster) -> None:
    context.clear_cookies()
    page = context.new_page()
    cluster.kill()
    page.goto("/login")
    page.get_by_label("Name").fill("olga")
    page.get_by_label("Password").fill("whatever it is")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_have_text(
        "The database is down, so nobody can sign in. Try again in a moment."
    )
    expect(page.get_by_label("Name")).to_have_value("olga")
