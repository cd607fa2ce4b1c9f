"""The engine's line to the desk, when the desk stumbles: one order stays one order, and silence is no release."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import chain, repeat
from typing import TypeVar

import httpx
import pytest

from examples import desk_client
from examples.desk_client import Desk, Order, Refused
from examples.moving_average import GOOG, Bar, Engine, Strategy, prices
from tests.serving import Server, free_port

Result = TypeVar("Result")
ORDER = {"client_order_id": "one", "ticker": "GOOG", "side": "buy", "qty": "10", "type": "market"}

PASS = "pass"  # forward, and bring the answer back
LOSE = "lose"  # forward, and break the connection instead of answering
BREAK = "break"  # break the connection, forward nothing
BUSY, HTML, NOT_JSON, OTHER_JSON = (503, "{}"), (502, "<h1>Bad Gateway</h1>"), (200, "<h1>Hello</h1>"), (200, "[]")
Stumble = str | tuple[int, str]


@contextmanager
def stumbling(server: Server, stumbles: Sequence[Stumble]) -> Iterator[str]:
    """The URL of a proxy before the real server that stumbles as told, and then no more."""
    to_come = chain(stumbles, repeat(PASS))

    class Proxy(BaseHTTPRequestHandler):
        def do(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            act, answer = next(to_come), None
            if act in (PASS, LOSE):
                headers = {
                    name: self.headers[name] for name in ("Authorization", "Content-Type") if self.headers[name]
                }
                answer = httpx.request(
                    self.command, server.url + self.path, content=body, headers=headers, timeout=40
                )
            if act in (LOSE, BREAK):
                self.close_connection = True
                return
            status, content = (answer.status_code, answer.content) if answer else (act[0], act[1].encode())
            self.send_response(int(status))
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do  # noqa: N815 - the names that http.server looks for

        def log_message(self, *words: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as proxy:
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{proxy.server_port}"
        proxy.shutdown()


def rounds() -> list[list[Bar]]:
    return [[bar] for bar in prices(GOOG)[:20]]


def ask(url: str, token: str, act: Callable[[Desk], Awaitable[Result]]) -> Result:
    async def asked() -> Result:
        async with Desk(url, token) as desk:
            return await act(desk)

    # In a thread of its own: Playwright leaves its loop running in this one after a browser test.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, asked()).result()


def submit(desk: Desk) -> Awaitable[Order]:
    return desk.submit(ORDER)


@pytest.fixture
def token(server: Server) -> str:
    return server.add_token("engine", "engine")


@pytest.mark.parametrize("stumbles", [[LOSE], [BREAK], [BUSY], [HTML], [BUSY, LOSE, BREAK, LOSE]], ids=str)
def test_an_order_is_sent_until_it_is_answered_and_counts_once(
    server: Server, token: str, stumbles: list[Stumble]
) -> None:
    with stumbling(server, stumbles) as url:
        order = ask(url, token, submit)
    assert order["status"] == "released"
    assert server.sql("SELECT id::text, client_order_id FROM orders") == [(order["id"], "one")]


def test_it_waits_for_a_decision_across_answers_that_get_lost(server: Server, token: str) -> None:
    server.sql("""UPDATE risk_configs SET config = '{"operator_approval": {"auto_approve_paper": false}}'""")

    async def wait(desk: Desk) -> Order:
        waits = await desk.submit(ORDER)
        waiting = asyncio.create_task(desk.decision(waits))
        await asyncio.sleep(1)
        await desk.withdraw(waits)
        return await waiting

    with stumbling(server, [PASS, BUSY, BREAK]) as url:
        order = ask(url, token, wait)
    assert order["status"] == "canceled"


def test_to_withdraw_what_was_decided_tells_the_decision(server: Server, token: str) -> None:
    async def withdraw(desk: Desk) -> Order:
        return await desk.withdraw(await desk.submit(ORDER))

    assert ask(server.url, token, withdraw)["status"] == "released"


@pytest.mark.parametrize(
    ("wrong", "words"),
    [({"qty": "0"}, "qty"), ({"side": "hold"}, "side"), ({"ticker": "*"}, "ticker"), ({"more": 1}, "more")],
)
def test_what_the_desk_refuses_is_not_sent_again(
    server: Server, token: str, wrong: dict[str, object], words: str
) -> None:
    with stumbling(server, [PASS, LOSE]) as url, pytest.raises(Refused, match=words):
        ask(url, token, lambda desk: desk.submit(ORDER | wrong))
    assert server.sql("SELECT count(*) FROM orders") == [(0,)]


@pytest.mark.parametrize("answer", [NOT_JSON, OTHER_JSON], ids=str)
def test_whatever_answers_in_the_desks_place_releases_nothing(server: Server, token: str, answer: Stumble) -> None:
    with stumbling(server, [answer]) as url, pytest.raises(Refused, match="no order"):
        ask(url, token, submit)


def test_without_an_answer_nothing_is_traded(token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal grows old: the engine gives up sending it, counts it as not traded, and goes on."""
    monkeypatch.setattr(desk_client, "SUBMIT_WITHIN", 0.5)
    said: list[str] = []
    strategy = Strategy(2, 4, "macro")

    async def trade(desk: Desk) -> Engine:
        engine = Engine(desk, [strategy], "run", said.append)
        await engine.trade(rounds(), 0)
        return engine

    engine = ask(f"http://127.0.0.1:{free_port()}", token, trade)
    assert said
    assert all(line.endswith(": NO ANSWER. Not traded.") for line in said), said
    assert engine.told == {"no decision": len(said)}
    assert strategy.held == 0


@pytest.mark.parametrize("status", ["blocked", "rejected", "expired", "canceled", "sending", "RELEASED", ""])
def test_only_released_is_traded(server: Server, token: str, status: str) -> None:
    body = f'{{"id": "1", "status": "{status}", "reasons": [], "decided_by": "x", "decision_note": null}}'
    strategy = Strategy(2, 4, "macro")
    said: list[str] = []
    with stumbling(server, [(201, body)] * 100) as url:
        ask(url, token, lambda desk: Engine(desk, [strategy], "run", said.append).trade(rounds(), 0))
    assert said
    assert all(line.endswith(". Not traded.") for line in said), said
    assert strategy.held == 0
