"""The example engine before the real server, at speed: whatever the desk decides, it reports, and obeys."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path

import pytest

from app.settings import PROJECT
from tests.at_once import Caller, until
from tests.serving import Server

LOCKOUT = {"ticker": "GOOG", "reason": "earnings", "duration_minutes": 60}


class Run:
    """A run of the example; what it printed, once it has ended."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def lines(self, status: int = 0) -> list[str]:
        output, _ = self.process.communicate(timeout=60)
        assert self.process.returncode == status, output
        return output.splitlines()


@pytest.fixture
def operator(server: Server) -> Caller:
    return Caller(server.url, server.add_token("olga", "operator"))


@contextmanager
def trading(server: Server, *, bars: int, pace: str = "0", token: str | None = None) -> Iterator[Run]:
    """The example on so many bars, which it does not wait between."""
    command = [sys.executable, "-m", "examples.moving_average", "--url", server.url]
    process = subprocess.Popen(
        [*command, "--bars", str(bars), "--pace", pace],
        cwd=PROJECT,
        env=os.environ | {"COUNTERSIGN_TOKEN": token or server.add_token("moving-average", "engine")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield Run(process)
    finally:
        process.kill()
        process.wait()


def waiting(operator: Caller) -> list[str]:
    return [order["id"] for order in operator.get("/approvals").json["items"]]


def statuses(server: Server) -> Counter[str]:
    return Counter(dict(server.sql("SELECT status, count(*) FROM orders GROUP BY status")))


def test_orders_that_are_released_are_traded_and_sold_again(server: Server) -> None:
    with trading(server, bars=100) as run:
        *told, summary = run.lines()
    assert {verdict for line in told for verdict in re.findall(r"USD\): (.*)", line)} == {"RELEASED. Traded."}
    assert summary == f"{len(told)} released"
    assert statuses(server) == {"released": len(told)}
    assert {side for (side,) in server.sql("SELECT side FROM orders")} == {"buy", "sell"}
    assert server.sql(
        """SELECT ticker, strategy, signal_layer, type, reference_price IS NOT NULL,
                  rationale ~ '^SMA\\(\\d\\) [0-9.]+ crossed (above|below) SMA\\(\\d\\) [0-9.]+ at close'
           FROM orders GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY 1, 2"""
    ) == [
        (ticker, *strategy, "market", True, True)
        for ticker in ("BTCUSD", "EURUSD", "GOOG")
        for strategy in (("sma-2-4", "competitive"), ("sma-3-8", "macro"))
    ]
    # Long or flat at any time: nothing is sold that was not bought.
    balances = "sum(CASE side WHEN 'buy' THEN qty ELSE -qty END) OVER (PARTITION BY ticker, strategy ORDER BY seq)"
    assert server.sql(f"SELECT count(*) FROM (SELECT {balances} AS held FROM orders) AS o WHERE held < 0") == [
        (0,)
    ]


def test_a_lockout_blocks_the_orders_of_its_symbol_and_the_other_symbols_are_traded(
    server: Server, operator: Caller
) -> None:
    assert operator.post("/lockouts", LOCKOUT).status == 201
    with trading(server, bars=100) as run:
        *told, summary = run.lines()
    blocked = [line for line in told if line.startswith("GOOG ")]
    assert blocked
    assert all(
        re.search(r"buy .*: BLOCKED, GOOG is locked out until .* UTC: earnings\. Not traded\.", line)
        for line in blocked
    ), blocked
    released = [line for line in told if line.endswith(": RELEASED. Traded.")]
    assert {line.split()[0] for line in released} == {"EURUSD", "BTCUSD"}
    assert len(blocked) + len(released) == len(told)
    assert summary == f"{len(blocked)} blocked, {len(released)} released"


def test_orders_that_wait_are_traded_if_approved_and_not_if_rejected_or_timed_out(
    server: Server, operator: Caller
) -> None:
    assert operator.put("/approval-config", {"auto_approve_paper": False}).status == 200

    def approve(order_id: str) -> None:
        assert operator.post(f"/approvals/{order_id}/approve", {"note": "looks right"}).status == 200

    def reject(order_id: str) -> None:
        assert operator.post(f"/approvals/{order_id}/reject", {"reason": "too risky"}).status == 200

    def let_time_pass(order_id: str) -> None:
        server.sql("UPDATE orders SET expires_at = clock_timestamp() WHERE id = %s", order_id)

    with trading(server, bars=60, pace="0.02") as run:
        for act in cycle([approve, reject, let_time_pass]):
            until(lambda: run.process.poll() is not None or waiting(operator), what="nothing waits, nothing ends")
            if run.process.poll() is not None:
                break
            act(waiting(operator)[0])
        *told, summary = run.lines()
    wait = [line for line in told if line.endswith(": WAITS for a person, 30 min at most")]
    decided = Counter(line.partition(": ")[2] for line in told if line not in wait)
    assert set(decided) == {
        "APPROVED by olga: looks right. Traded.",
        "REJECTED by olga: too risky. Not traded.",
        "TIMED OUT, nobody decided. Not traded.",
    }
    assert decided.total() == len(wait)
    assert statuses(server) == {
        "released": decided["APPROVED by olga: looks right. Traded."],
        "rejected": decided["REJECTED by olga: too risky. Not traded."],
        "expired": decided["TIMED OUT, nobody decided. Not traded."],
    }
    assert summary == ", ".join(f"{count} {status}" for status, count in sorted(statuses(server).items()))


def test_a_halt_cancels_what_waits_and_the_rest_is_blocked(server: Server, operator: Caller) -> None:
    assert operator.put("/approval-config", {"auto_approve_paper": False}).status == 200
    with trading(server, bars=100, pace="0.05") as run:
        until(lambda: waiting(operator))
        assert operator.put("/mode", {"trading_mode": "disabled"}).status == 200
        told = run.lines()
    assert any(": CANCELED by olga" in line for line in told)
    assert any(": BLOCKED, trading is " in line for line in told)
    assert not any("). Traded." in line or "RELEASED" in line for line in told)
    assert set(statuses(server)) == {"canceled", "blocked"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_ctrl_c_or_sigterm_withdraws_what_waits(server: Server, operator: Caller, number: signal.Signals) -> None:
    assert operator.put("/approval-config", {"auto_approve_paper": False}).status == 200
    with trading(server, bars=1000, pace="0.05") as run:
        until(lambda: len(waiting(operator)) >= 3)
        run.process.send_signal(number)
        told = run.lines(status=130)
    assert not any("Traceback" in line for line in told)
    assert len([line for line in told if line.endswith(": CANCELED by moving-average. Not traded.")]) >= 3
    assert waiting(operator) == []
    assert set(statuses(server)) == {"canceled"}


def test_a_token_that_the_desk_does_not_know_trades_nothing_and_says_why(server: Server) -> None:
    with trading(server, bars=30, token="nobody.nothing") as run:
        *told, summary = run.lines()
    assert told
    assert all("Refused: unauthenticated: " in line and line.endswith(". Not traded.") for line in told), told
    assert summary == f"{len(told)} no decision"
    assert statuses(server) == {}


def test_without_a_token_it_says_how_to_get_one(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "COUNTERSIGN_TOKEN"}
    done = subprocess.run(
        [sys.executable, "-m", "examples.moving_average"],
        cwd=PROJECT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 1
    assert "countersign token add moving-average --role engine" in done.stderr
