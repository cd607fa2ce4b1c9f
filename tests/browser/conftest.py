"""A real Chromium before the real server. A console error or CSP violation that a test did not expect fails it."""

from __future__ import annotations

import itertools
import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Error, Page, expect, sync_playwright

from tests.browser.chromium import executable
from tests.serving import Server

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
DESKTOP = {"width": 1440, "height": 900}
PHONE = {"width": 390, "height": 844}
SCRIPTS = {"operator": "script", "engine": "momentum-bot"}  # service accounts
NAMES = {"viewer": "vera", "operator": "olga", "admin": "ada"}
PATIENCE = 20_000  # milliseconds; a page that polls hears of a change within 5 seconds, on a busy machine later

expect.set_options(timeout=PATIENCE)

REPORT_VIOLATIONS = """
document.addEventListener('securitypolicyviolation', (event) => {
  console.error(`CSP violation: ${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}`);
});
"""


class Complaints:
    """What the browser's console said. Parts of expected messages are declared before they come."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.expected: list[str] = []

    def expect(self, *parts: str) -> None:
        self.expected.extend(parts)

    def hear(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.said.append(f"{message.type}: {message.text}")

    @property
    def unexpected(self) -> list[str]:
        return [text for text in self.said if not any(part in text for part in self.expected)]


class OpenPage(Protocol):
    def __call__(self, *, cold: bool = False, **context: Any) -> Page: ...


class SignIn(Protocol):
    def __call__(self, page: Page, role: str = "operator", path: str = "/trading") -> str: ...


class SendOrder(Protocol):
    def __call__(self, ticker: str = "AAPL", side: str = "buy", **more: Any) -> str: ...


class AsScript(Protocol):
    def __call__(self, role: str, method: str, path: str, body: Any) -> Any: ...


class StopClock(Protocol):
    def __call__(self, page: Page) -> None: ...


class LockOut(Protocol):
    def __call__(self, ticker: str, reason: str = "news", minutes: int = 60, kind: str = "manual") -> str: ...


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    program = executable()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def complaints() -> Iterator[Complaints]:
    heard = Complaints()
    yield heard
    assert not heard.unexpected


class Profiles:
    """Browser profiles, one at a time in use for each set of options. What a test left in one is taken out again;
    the files of the page stay in its cache, or every test would load some thirty of them anew."""

    def __init__(self, browser: Browser, url: str) -> None:
        self._browser = browser
        self._url = url
        self._free: dict[str, list[BrowserContext]] = {}

    def take(self, options: dict[str, Any]) -> BrowserContext:
        free = self._free.get(repr(options))
        return free.pop() if free else self.new(options)

    def new(self, options: dict[str, Any]) -> BrowserContext:
        context = self._browser.new_context(base_url=self._url, **options)
        context.set_default_timeout(PATIENCE)
        context.add_init_script(REPORT_VIOLATIONS)
        context.new_page()  # stays open, or the browser would make a new window and a new process for each test
        return context

    def give_back(self, options: dict[str, Any], context: BrowserContext) -> None:
        try:
            context.unroute_all()
            context.set_offline(False)
            self._forget(context)
        except Error:  # the test has closed it, or broken it: then nobody else needs it
            context.close()
        else:
            self._free.setdefault(repr(options), []).append(context)

    def _forget(self, context: BrowserContext) -> None:
        first, *others = context.pages
        if abs(first.evaluate("Date.now()") / 1000 - time.time()) > 0.5:
            raise Error("it has a clock of its own, for good")
        for page in others:
            page.close()
        context.clear_cookies()
        context.clear_permissions()
        if self._keeps_something(context):
            first.goto("/static/favicon.svg")
            first.evaluate("localStorage.clear()")
            first.goto("about:blank")

    def _keeps_something(self, context: BrowserContext) -> bool:
        return any(origin["localStorage"] for origin in context.storage_state()["origins"])


@pytest.fixture(scope="session")
def profiles(chromium: Browser, shared_server: Server) -> Profiles:
    return Profiles(chromium, shared_server.url)


@pytest.fixture
def open_page(profiles: Profiles, server: Server, complaints: Complaints) -> Iterator[OpenPage]:
    """Makes a page in a browser profile with nobody signed in; options are those of Playwright's `new_context`.
    `cold` is for a profile that has nothing in its cache either."""
    taken: list[tuple[dict[str, Any], BrowserContext]] = []

    def open_one(*, cold: bool = False, **options: Any) -> Page:
        options = {"viewport": DESKTOP} | options
        context = profiles.new(options) if cold else profiles.take(options)
        taken.append((options, context))
        page = context.new_page()
        page.on("console", complaints.hear)
        page.on("pageerror", lambda error: complaints.said.append(f"uncaught: {error}"))
        return page

    yield open_one
    for options, context in taken:
        profiles.give_back(options, context)


@pytest.fixture
def page(open_page: OpenPage) -> Page:
    return open_page()


@pytest.fixture
def stop_clock() -> StopClock:
    """Before a page is loaded: on it time passes only by `page.clock.run_for`, however long the machine takes."""

    def stop(page: Page) -> None:
        page.clock.install(time="2031-01-01T00:00:00Z")
        page.clock.pause_at("2031-01-01T00:01:00Z")

    return stop


@pytest.fixture
def sign_in(server: Server) -> SignIn:
    """Signs a person of that role in on this page; their name."""
    passwords: dict[str, str] = {}

    def sign_in_as(page: Page, role: str = "operator", path: str = "/trading") -> str:
        name = NAMES[role]
        if name not in passwords:
            passwords[name] = server.add_user(name, role)
        # As the form does, which tests/browser/test_sign_in.py fills in: without drawing it each time.
        login = page.request.get("/login").text()
        [token] = re.findall(r'name="csrf_token" value="([^"]+)"', login)
        form = {"csrf_token": token, "name": name, "password": passwords[name]}
        answer = page.request.post("/login", form=form, max_redirects=0)
        assert answer.status == 303, answer.text()
        page.goto(path)
        return name

    sign_in_as.passwords = passwords  # type: ignore[attr-defined]
    return sign_in_as


@pytest.fixture
def as_script(server: Server) -> AsScript:
    """Asks a JSON route beside the page, with a token of that role; what was answered."""
    tokens: dict[str, str] = {}

    def ask(role: str, method: str, path: str, body: Any) -> Any:
        if role not in tokens:
            tokens[role] = server.add_token(SCRIPTS[role], role)
        request = urllib.request.Request(
            f"{server.url}/api/admin/trading{path}",
            json.dumps(body).encode(),
            {"Authorization": f"Bearer {tokens[role]}", "Content-Type": "application/json"},
            method=method,
        )
        patience = 5
        while True:
            try:
                with urllib.request.urlopen(request, timeout=10) as answer:
                    return json.load(answer)
            except urllib.error.HTTPError as error:
                patience -= 1
                if error.code != 503 or not patience:  # the machine stalled, and nothing was changed
                    raise

    return ask


@pytest.fixture
def lock_out(as_script: AsScript) -> LockOut:
    """Makes a lockout as a script does, beside the page; its id."""

    def make(ticker: str, reason: str = "news", minutes: int = 60, kind: str = "manual") -> str:
        body = {"ticker": ticker, "reason": reason, "duration_minutes": minutes, "lockout_type": kind}
        return str(as_script("operator", "POST", "/lockouts", body)["id"])

    return make


@pytest.fixture
def send_order(server: Server, as_script: AsScript) -> SendOrder:
    """Sends an order as an engine does, on a desk where every order waits for a person; its id."""
    server.sql("""UPDATE risk_configs SET config = '{"operator_approval": {"auto_approve_paper": false}}'""")
    numbers = itertools.count(1)

    def send(ticker: str = "AAPL", side: str = "buy", **more: Any) -> str:
        order = {"client_order_id": f"order-{next(numbers)}", "ticker": ticker, "side": side, "type": "market"}
        size = {} if "notional" in more else {"qty": "10"}
        return str(as_script("engine", "POST", "/orders", order | size | more)["id"])

    return send


@pytest.fixture
def desk_page(page: Page, sign_in: SignIn) -> Page:
    """The Trading page before an operator."""
    sign_in(page)
    return page


@pytest.fixture
def stored(server: Server) -> Callable[[str], Any]:
    """What the database holds: `stored("mode")`, `stored("config")`."""

    def read(what: str) -> Any:
        [(mode, config)] = server.sql("SELECT trading_mode, config FROM risk_configs WHERE is_active")
        return {"mode": mode, "config": config}[what]

    return read
