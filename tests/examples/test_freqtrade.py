"""A freqtrade strategy with the mixin enters only upon the desk's clear yes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from examples.freqtrade_countersign import Countersigned
from tests.at_once import Caller, timed, until
from tests.serving import Server, free_port

ENTRY: dict[str, Any] = {
    "pair": "BTC/USDT:USDT",
    "order_type": "limit",
    "amount": 0.1,
    "rate": 64000.5,
    "time_in_force": "GTC",
    "current_time": None,
    "entry_tag": "20 days above its mean",
    "side": "long",
}


class IStrategy:
    """What freqtrade's own does: it says yes."""

    def confirm_trade_entry(self, **_: Any) -> bool:
        return True


class Strategy(Countersigned, IStrategy):
    desk_patience = 20.0


@pytest.fixture
def strategy(server: Server) -> Strategy:
    made = Strategy()
    made.desk_url, made.desk_token = server.url, server.add_token("freqtrade", "engine")
    return made


@pytest.fixture
def operator(server: Server) -> Caller:
    return Caller(server.url, server.add_token("olga", "operator"))


def test_what_the_gate_releases_is_entered_and_on_record_exactly(strategy: Strategy, server: Server) -> None:
    assert strategy.confirm_trade_entry(**ENTRY) is True
    assert server.sql(
        "SELECT ticker, side, qty::text, type, limit_price::text, strategy, rationale, status FROM orders"
    ) == [
        (
            "BTC/USDT",
            "buy",
            "0.100000000",
            "limit",
            "64000.500000000",
            "Strategy",
            "20 days above its mean",
            "released",
        )
    ]


def test_a_short_by_the_market(strategy: Strategy, server: Server) -> None:
    assert strategy.confirm_trade_entry(**ENTRY | {"order_type": "market", "side": "short"}) is True
    assert server.sql("SELECT side, type, reference_price::text FROM orders") == [
        ("sell", "market", "64000.500000000")
    ]


def test_what_is_blocked_is_not(strategy: Strategy, operator: Caller) -> None:
    operator.put("/mode", {"trading_mode": "disabled"})
    assert strategy.confirm_trade_entry(**ENTRY) is False


@pytest.mark.parametrize(
    ("choice", "body", "answer"), [("approve", {}, True), ("reject", {"reason": "no"}, False)]
)
def test_it_waits_for_a_person(
    strategy: Strategy, operator: Caller, choice: str, body: dict[str, Any], answer: bool
) -> None:
    operator.put("/approval-config", {"auto_approve_paper": False})
    said: list[bool] = []
    asking = threading.Thread(target=lambda: said.append(strategy.confirm_trade_entry(**ENTRY)), daemon=True)
    asking.start()
    [waiting] = until(lambda: operator.get("/approvals").json["items"])
    assert operator.post(f"/approvals/{waiting['id']}/{choice}", body).status == 200
    asking.join(25)
    assert said == [answer]


def test_nobody_in_time_is_a_no_and_the_order_is_withdrawn(
    strategy: Strategy, operator: Caller, server: Server
) -> None:
    operator.put("/approval-config", {"auto_approve_paper": False})
    strategy.desk_patience = 1.5
    assert strategy.confirm_trade_entry(**ENTRY) is False
    assert server.sql("SELECT status FROM orders") == [("canceled",)]


NO_VENUE = b'{"code": 40410001, "message": "no venue is connected"}'


@contextmanager
def answering(
    status: int, text: bytes, *, clock: tuple[int, bytes] = (404, NO_VENUE), asked: list[str] | None = None
) -> Iterator[str]:
    """A desk that answers every order so. Of a text that is too short the rest comes byte by byte, for ever."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.say(*clock)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.say(status, text)

        def say(self, status: int, text: bytes) -> None:
            if asked is not None:
                asked.append(f"{self.command} {self.path}")
            self.send_response(status)
            self.send_header("Content-Length", str(len(text) if text else 1_000_000))
            self.end_headers()
            self.wfile.write(text)
            while not text:
                try:
                    self.wfile.write(b" ")
                except OSError:
                    return
                time.sleep(0.1)

        def log_message(self, *words: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (500, b"<h1>broken</h1>"),
        (201, b"<h1>hello</h1>"),
        (201, b"[]"),
        (201, b"{}"),
        (201, b'{"status": "released"}'),
        (201, b'{"status": "pending_approval"}'),
        (201, b'{"status": true, "reasons": [], "decision_note": null}'),
    ],
)
def test_an_answer_that_is_no_clear_yes_is_a_no(strategy: Strategy, status: int, text: bytes) -> None:
    with answering(status, text) as strategy.desk_url:
        assert strategy.confirm_trade_entry(**ENTRY) is False


def test_a_desk_that_would_trade_it_itself_is_a_no(strategy: Strategy) -> None:
    text = b'{"id": "x", "status": "released", "send_by": "2026-03-02T00:00:00Z", "reasons": []}'
    with answering(201, text) as strategy.desk_url:
        assert strategy.confirm_trade_entry(**ENTRY) is False


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (200, b'{"is_open": true}'),
        (200, b"{}"),
        (502, b'{"code": 50210000, "message": "the venue does not answer"}'),
        (404, b'{"code": 40410000, "message": "no venue is connected for the trading mode live"}'),
        (404, b"<h1>not found</h1>"),
        (404, b"[]"),
        (401, b'{"code": 40110000, "message": "who?"}'),
        (500, b"<h1>broken</h1>"),
    ],
)
def test_no_order_is_sent_to_a_desk_that_has_a_venue_or_may_have(
    strategy: Strategy, status: int, text: bytes
) -> None:
    asked: list[str] = []
    yes = b'{"id": "x", "status": "released", "reasons": [], "decision_note": null}'
    with answering(201, yes, clock=(status, text), asked=asked) as strategy.desk_url:
        assert strategy.confirm_trade_entry(**ENTRY) is False
    assert asked == ["GET /v2/clock"]


def test_its_patience_is_for_all_of_it(strategy: Strategy) -> None:
    strategy.desk_patience = 1.0
    for clock in ((404, NO_VENUE), (200, b"")):
        with answering(201, b"", clock=clock) as strategy.desk_url:
            took, answer = timed(lambda: strategy.confirm_trade_entry(**ENTRY))
        assert answer is False
        assert took < 10  # of an answer that never ends
    until(lambda: "asking the desk" not in {thread.name for thread in threading.enumerate()})


def test_no_desk_a_wrong_token_and_nonsense_are_a_no(strategy: Strategy) -> None:
    for wrong in ({"amount": float("nan")}, {"amount": "many"}, {"side": "sideways"}, {"pair": None}):
        assert strategy.confirm_trade_entry(**ENTRY | wrong) is False
    strategy.desk_token = "nobody.nothing"
    assert strategy.confirm_trade_entry(**ENTRY) is False
    strategy.desk_url = f"http://127.0.0.1:{free_port()}"
    assert strategy.confirm_trade_entry(**ENTRY) is False
