"""Pictures of every page and state, to be looked at: `make screenshots` writes them into screenshots/.

Each is taken at three widths, light and dark, of the real server with a desk as on a working day.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from playwright.sync_api import Browser, Page, sync_playwright

from app.settings import PROJECT
from tests.at_once import Caller, until
from tests.browser.chromium import executable
from tests.browser.conftest import FLAGS, NAMES
from tests.browser.parts import LIVE, awake, dialog, order, reject, switch
from tests.crowds import orders_wait, symbols_are_locked_out
from tests.database import postgres
from tests.serving import Server, serve_a_new_desk
from tests.venues.behind import desk_before_a_venue
from tests.venues.stand_in import Venue

FOLDER = PROJECT / "screenshots"
WIDTHS = {1440: 900, 1024: 768, 390: 844}
THEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
PHONE = 390

LIMIT = {"type": "limit", "strategy": "sma-cross-20-50"}
DAY: tuple[dict[str, Any], ...] = (
    LIMIT
    | {"ticker": "NVDA", "side": "buy", "qty": "120", "limit_price": "131.38", "reference_price": "131.20"}
    | {
        "rationale": "20-day average crossed the 50-day from below; volume 1.8 times its month.",
        "signal_layer": "macro",
    },
    LIMIT
    | {"ticker": "AAPL", "side": "sell", "qty": "40", "limit_price": "187.5", "reference_price": "188.02"}
    | {"rationale": "Stop of the trend: closed below the 50-day average for the second day in a row."},
    {"ticker": "BRK.B", "side": "buy", "notional": "25000", "type": "market", "strategy": "rebalance-weekly"}
    | {"rationale": "Weekly rebalance: 2.1 % under its weight.", "reference_price": "412.2"},
    {"ticker": "BTC/USD", "side": "sell", "qty": "0.125", "type": "stop", "stop_price": "61250.5"}
    | {"strategy": "vol-target", "rationale": "Volatility above target: a tenth less.", "time_in_force": "gtc"},
    {
        "ticker": "TSLA",
        "side": "buy",
        "qty": "15",
        "type": "market",
        "strategy": "news-fade",
        "signal_layer": "competitive",
    }
    | {"rationale": "Fading the gap after deliveries; size capped at a quarter of the usual."},
)


# Of the 23 hours before: `n` counts through them, more of it where the curve is high.
PAST_ORDERS = """
    INSERT INTO orders (account_id, engine, client_order_id, ticker, side, qty, type, time_in_force, trading_mode,
                        status, reasons, created_at, expires_at, decided_at, decided_by, decision_note)
    SELECT 1, 'momentum-bot', 'past-' || hour || '-' || n, 'AAPL', 'buy', 10, 'market', 'day', 'paper', became,
           CASE became WHEN 'blocked' THEN '[{"code": "symbol_locked_out", "detail": "x"}]' ELSE '[]' END::jsonb,
           at - took,
           CASE WHEN NOT by_gate THEN CASE became WHEN 'expired' THEN at ELSE at + interval '1 h' END END,
           at, CASE WHEN by_gate THEN 'system:gate' WHEN became = 'expired' THEN 'system:deadline' ELSE 'olga' END,
           CASE became WHEN 'rejected' THEN 'too large' END
    FROM generate_series(1, 22) hour,
         generate_series(1, (ARRAY[2,1,1,0,0,0,1,2,6,9,14,31,26,17,12,9,11,14,19,28,9,4,3])[hour]) n,
         LATERAL (SELECT (ARRAY['released', 'released', 'released', 'blocked', 'released', 'rejected', 'expired',
                                'released', 'canceled', 'released', 'released'])[1 + (n * 7 + hour) % 11]
                             AS became,
                         n % 3 < 2 AS gate, now() - (23 - hour) * interval '1 h' - n * interval '77 s' AS at,
                         interval '1 s' * (8 + (n * 37 + hour * 53) % (40 + 30 * (hour % 5))) AS took) AS one,
         LATERAL (SELECT became = 'blocked' OR became = 'released' AND gate AS by_gate) AS who
"""
PAST_LOCKOUTS = """
    INSERT INTO symbol_lockouts (ticker, reason, lockout_type, created_at, created_by, expires_at)
    SELECT ticker, reason, kind, now() - began * interval '1 h', by, now() + ended * interval '1 h'
    FROM (VALUES ('AMD', 'Guidance cut before the open', 'news_shock', 14, 'news-watch', -11),
                 ('COIN', 'Three losses in a row', 'cooldown', 6, 'risk-bot', -5),
                 ('COIN', 'Three losses in a row', 'cooldown', 3, 'risk-bot', -2),
                 ('META', 'Hearing at two', 'manual', 9, 'olga', 3))
         AS past (ticker, reason, kind, began, by, ended)
"""
PAST_EVENTS = """
    INSERT INTO audit_events (created_at, actor, action, subject, before, after, note, request_id) VALUES
    (now() - interval '10 h', 'olga', 'mode.change', 'trading_mode', '{"trading_mode": "paper"}',
     '{"trading_mode": "disabled"}', NULL, 'x'),
    (now() - interval '9 h 20 min', 'ada', 'mode.change', 'trading_mode', '{"trading_mode": "disabled"}',
     '{"trading_mode": "paper"}', 'prices are back', 'x'),
    (now() - interval '16 h', 'olga', 'lockout.remove', 'x', jsonb_build_object(
        'id', gen_random_uuid(), 'ticker', '*', 'reason', 'Prices frozen at the venue', 'lockout_type', 'manual',
        'created_at', to_char(now() AT TIME ZONE 'UTC' - interval '17 h', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        'created_by', 'olga',
        'expires_at', to_char(now() AT TIME ZONE 'UTC' - interval '13 h', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')),
     NULL, NULL, 'x')
"""


class Scene:
    """A desk to take pictures of, and whoever fills it."""

    def __init__(self, server: Server, venue: Venue | None = None) -> None:
        self.server = server
        self.venue = venue
        self.passwords: dict[str, str] = {}
        self._tokens: dict[str, str] = {}
        self._sent = 0

    def empty(self) -> None:
        self.server.reset()
        self.passwords = {role: self.server.add_user(name, role) for role, name in NAMES.items()}
        self._tokens = {role: self.server.add_token(role, role) for role in ("engine", "operator")}

    def ask(self, role: str, method: str, path: str, body: dict[str, Any]) -> Any:
        reply = Caller(self.server.url, self._tokens[role])(method, path, body)
        assert reply.status < 300, reply.text
        return reply.json

    def send(self, **order: Any) -> str:
        self._sent += 1
        return str(self.ask("engine", "POST", "/orders", {"client_order_id": f"gm-{self._sent:04}"} | order)["id"])

    def lock_out(self, ticker: str, reason: str, minutes: int, kind: str = "manual") -> None:
        body = {"ticker": ticker, "reason": reason, "duration_minutes": minutes, "lockout_type": kind}
        self.ask("operator", "POST", "/lockouts", body)

    def day(self) -> None:
        """Orders released, blocked, rejected and approved, five that wait, and some lockouts."""
        self.empty()
        self.lock_out("GME", "Volatility halt on the exchange, wait for the reopening", 58)
        self.send(ticker="MSFT", side="buy", qty="25", type="market", strategy="rebalance-weekly")
        self.send(ticker="GME", side="buy", qty="10", type="market", strategy="news-fade")
        self.ask("operator", "PUT", "/approval-config", {"auto_approve_paper": False})
        first = self.send(ticker="AMD", side="buy", qty="60", type="market", strategy="sma-cross-20-50")
        second = self.send(ticker="AMD", side="sell", qty="600", type="market", strategy="vol-target")
        self.ask("operator", "POST", f"/approvals/{first}/approve", {})
        self.ask("operator", "POST", f"/approvals/{second}/reject", {"reason": "ten times the usual size"})
        for waits in DAY:
            self.send(**waits)
        self.lock_out("TSLA", "Deliveries come out at four; nobody trades it before that", 25, "news_shock")
        self.server.sql("UPDATE orders SET expires_at = now() + interval '48 s' WHERE ticker = 'NVDA'")

    def busy_day(self) -> None:
        """What a day leaves behind: busy when the exchange opens and when it closes, a halt, lockouts."""
        self.day()
        self.server.sql(PAST_ORDERS)
        self.server.sql(PAST_LOCKOUTS)
        self.server.sql(PAST_EVENTS)

    def broken(self) -> None:
        self.day()
        self.server.sql(
            """UPDATE risk_configs SET config = '{"operator_approval": {"auto_approve_paper": "no"}}'"""
        )

    def halted_with_orders_out(self) -> None:
        """Orders that work, one partly filled, one turned away, stops, one whose end was asked for, one on its
        way, and one of which nobody knows whether it is at the venue."""
        assert self.venue is not None
        self.venue.forget()
        self.empty()
        buy = LIMIT | {"side": "buy", "qty": "120", "limit_price": "131.38"}
        stop = {"side": "sell", "qty": "60", "stop_price": "118.5", "type": "stop", "strategy": "vol-target"}
        for ticker in ("NVDA", "INTC", "LOST", "IBM"):
            self.send(ticker=ticker, **buy)
        self.venue.fill(f"cs-{self.send(ticker='AMD', **buy)}", "40", "131.2")
        for ticker in ("MSFT", "AAPL"):
            self.send(ticker=ticker, **stop)
        self.venue.rejects = {"code": 40310000, "message": "insufficient buying power"}
        self.send(ticker="META", **buy)
        self.venue.rejects = None
        until(lambda: bool(self.server.sql("SELECT 1 FROM orders WHERE status = 'partially_filled'")), 30)
        later = "UPDATE orders SET status = %s, sent_at = now(), try_at = now() + interval '1 h' WHERE ticker = %s"
        self.server.sql(later, "unknown", "LOST")
        self.server.sql(later, "sending", "IBM")
        self.venue.slow = 5.0  # so that what was asked for stays asked for
        self.server.sql("UPDATE orders SET cancel_asked_at = now() WHERE ticker = 'INTC'")
        self.ask("operator", "PUT", "/mode", {"trading_mode": "disabled"})

    def crowd(self) -> None:
        self.day()
        orders_wait(self.server, 495)
        symbols_are_locked_out(self.server, 200)


def _lost(page: Page) -> None:
    page.route("**/state", lambda route: route.abort())
    page.route("**/stream", lambda route: route.abort())
    page.reload()
    awake(page)
    page.get_by_text("Live updates lost").wait_for()


def _last_day(page: Page) -> None:
    section = page.get_by_role("region", name="Last 24 hours")
    section.evaluate("section => section.scrollIntoView()")
    page.get_by_text("Time to decision").wait_for()
    section.evaluate("section => section.scrollIntoView()")


def _accounts(page: Page) -> None:
    page.goto("/accounts")
    page.get_by_text("Add a token").click()


def _refused(page: Page) -> None:
    page.goto("/accounts")
    page.get_by_text("Add a person").click()
    page.get_by_label("Name", exact=True).fill("bob")
    page.get_by_label("First password").fill("short")
    page.get_by_role("button", name="Add", exact=True).click()
    page.get_by_role("alert").wait_for()


def _shown_once(page: Page) -> None:
    _accounts(page)
    page.get_by_label("Account", exact=True).fill("momentum")
    page.get_by_role("button", name="Make a token").click()
    page.get_by_role("button", name="Copy").wait_for()


# What there is to see: a name, who looks, what is on the desk, and what is done before the picture is taken.
Act = Callable[[Page], object]
PICTURES: tuple[tuple[str, str, str, Act | None], ...] = (
    ("empty", "operator", "empty", None),
    ("day", "operator", "day", None),
    ("viewer", "viewer", "day", None),
    ("rejecting", "operator", "day", lambda page: reject(page, "AAPL").click()),
    ("rationale", "operator", "day", lambda page: order(page, "AAPL").locator("summary").click()),
    ("selected", "operator", "day", lambda page: page.get_by_label("Select all").check()),
    ("going-live", "admin", "day", lambda page: page.get_by_role("button", name="Go live…").click()),
    ("switching", "admin", "day", lambda page: switch(page, LIVE).click()),
    ("keys", "operator", "day", lambda page: page.keyboard.press("?")),
    ("lost", "operator", "day", _lost),
    ("last-day", "operator", "busy_day", _last_day),
    ("broken", "admin", "broken", None),
    ("crowd", "operator", "crowd", None),
    ("halted", "admin", "day", lambda page: page.get_by_role("button", name="Halt trading").click()),
    ("accounts", "admin", "day", _accounts),
    ("accounts-refused", "admin", "day", _refused),
    ("shown-once", "admin", "day", _shown_once),
    ("account", "operator", "day", lambda page: page.goto("/account")),
)
# The same of a desk before a venue.
AT_THE_VENUE: tuple[tuple[str, str, str, Act | None], ...] = (
    ("venue", "operator", "halted_with_orders_out", None),
    (
        "venue-dialog",
        "operator",
        "halted_with_orders_out",
        lambda page: page.get_by_role("button", name="Cancel them there…").click(),
    ),
)


def look(page: Page, name: str, width: int, *, whole: bool = True) -> None:
    for theme in THEMES:
        page.emulate_media(color_scheme=theme, reduced_motion="reduce")
        page.wait_for_timeout(150)
        page.screenshot(path=FOLDER / f"{name}-{width}-{theme}.png", full_page=whole)


def take(
    browser: Browser, scene: Scene, pictures: tuple[tuple[str, str, str, Act | None], ...], only: set[str]
) -> None:
    for name, role, desk, act in pictures:
        if only and name not in only:
            continue
        for width, height in WIDTHS.items():
            getattr(scene, desk)()
            phone = width == PHONE
            context = browser.new_context(
                base_url=scene.server.url,
                viewport={"width": width, "height": height},
                has_touch=phone,
                is_mobile=phone,
            )
            page = context.new_page()
            page.goto("/login?next=/trading")
            if name == "empty":
                look(page, "sign-in", width)
            page.get_by_label("Name").fill(NAMES[role])
            page.get_by_label("Password").fill(scene.passwords[role])
            page.get_by_role("button", name="Sign in").click()
            page.wait_for_url("**/trading")
            awake(page)
            page.wait_for_timeout(400)
            if act:
                act(page)
                page.wait_for_timeout(400)
            modal = dialog(page).is_visible()
            look(page, name, width, whole=not modal and name not in ("selected", "last-day"))
            if name == "halted":
                page.goto("/audit")
                look(page, "audit", width)
                page.goto("/nothing")
                look(page, "not-found", width)
                page.goto("/docs/api#post-lockouts")
                look(page, "api", width, whole=False)
            context.close()
            print(f"{name} at {width}", flush=True)


def main() -> int:
    FOLDER.mkdir(exist_ok=True)
    with serve_a_new_desk() as server, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable(), args=FLAGS)
        take(browser, Scene(server), PICTURES, set(sys.argv[1:]))
        with (
            TemporaryDirectory() as folder,
            postgres() as cluster,
            desk_before_a_venue(cluster, Path(folder)) as both,
        ):
            take(browser, Scene(*both), AT_THE_VENUE, set(sys.argv[1:]))
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
