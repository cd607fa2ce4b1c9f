"""Stop means stop: after its answer nothing is released by the old rules, and the answer comes in time."""

from __future__ import annotations

import itertools
import math
import signal
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
from sqlalchemy.engine import URL

from tests.at_once import API, Reply, in_one_of_three, in_time, timed, until
from tests.desk.orders import (
    Hammer,
    Line,
    account,
    actor_of,
    body,
    busy_workers,
    place_waiting,
    served,
    transaction,
    workers_of,
)
from tests.serving import Server

BACK = {"trading_mode": "paper", "from": "disabled", "reason": "the next round"}
NOT_NOW = {"busy", "database_unavailable"}  # of a 503: it did not happen, the database cut somebody off
tickers = (f"T{number}" for number in itertools.count(1))


@pytest.fixture(scope="module")
def shared(postgres_server: URL, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with served(postgres_server, tmp_path_factory.mktemp("stop")) as made:
        yield made


@pytest.fixture
def server(shared: Server) -> Server:
    """Three workers on an empty desk."""
    shared.reset()
    return shared


class Stop:
    """One way of stopping, and how it is undone."""

    def __init__(self, do: Callable[[Line, str], Reply], undo: Callable[[Line], Reply] | None, code: str) -> None:
        self.do, self.undo, self.code = do, undo, code


def lock_out(line: Line, ticker: str) -> Reply:
    return line.post("/lockouts", {"ticker": ticker, "reason": "news", "duration_minutes": 60})


def unlock(line: Line) -> Reply:
    [lockout] = line.get("/lockouts").json["items"]
    return line("DELETE", f"/lockouts/{lockout['id']}")


def limited(limit: str | None) -> Callable[..., Reply]:
    return lambda line, *_: line.put(
        "/config", {"config": {"position_limits": {"max_order_quantity": limit}}}, If_Match="*"
    )


STOPS = {
    "a lockout": Stop(lock_out, None, "symbol_locked_out"),
    "a lockout of every symbol": Stop(lambda line, _: lock_out(line, "*"), unlock, "symbol_locked_out"),
    "a halt": Stop(
        lambda line, _: line.put("/mode", {"trading_mode": "disabled"}),
        lambda line: line.put("/mode", BACK),
        "trading_disabled",
    ),
    "a layer switched off": Stop(
        lambda line, _: line.put("/signal-layers", {"macro": False}),
        lambda line: line.put("/signal-layers", {"macro": True}),
        "signal_layer_disabled",
    ),
    "a tightened limit": Stop(limited("9.999999999"), limited(None), "order_quantity_limit"),
}


def released(server: Server, ticker: str) -> int:
    [(count,)] = server.sql(
        "SELECT count(*) FROM orders WHERE ticker = %s AND status = 'released'",
        ticker,
    )
    return int(count)


def acknowledged(reply: Reply) -> Reply | None:
    """The answer; None where it was to come again, as on a machine that stood still."""
    return None if reply.status == 503 and reply.json["code"] in NOT_NOW else reply


def again(act: Callable[..., Reply], *given: Any) -> Reply | None:
    """For another sitting, where there is to be one."""
    return acknowledged(act(*given))


def answered(replies: list[Reply], *statuses: int) -> list[Reply]:
    """Those with one of these. The others were told to come again, as on a machine that stood still."""
    done = [reply for reply in replies if reply.status in statuses]
    busy = [reply for reply in replies if reply.status not in statuses]
    assert {(reply.status, reply.json["code"]) for reply in busy} <= {(503, code) for code in NOT_NOW}
    assert len(busy) <= 10 + len(done) / 20, "a machine that stood still now and then had not cut off so many"
    return done


class Rounds:
    """Rounds of hammering, each with a ticker of its own, that are stopped in full flow."""

    def __init__(self, server: Server, stop: Stop, act: Callable[[Line, str], Reply | None]) -> None:
        self.server, self.stop = server, stop
        self.ticker = next(tickers)
        self.at_the_stop: dict[str, int] = {}
        self.spread = 0
        self.hammer = Hammer(server, lambda line: act(line, self.ticker))
        self.operator = server.add_token("operator", "admin", allow_live=True)

    def one(self, line: Line, enough: int) -> None:
        until(lambda: released(self.server, self.ticker) >= enough, what="nothing is released")
        reply = in_one_of_three(partial(again, self.stop.do, line, self.ticker))
        count = released(self.server, self.ticker)
        assert reply.status in (200, 201), reply.text
        self.hammer.everybody_again()
        assert released(self.server, self.ticker) == count, "released after the stop was acknowledged"
        self.at_the_stop[self.ticker] = count

    def run(self, rounds: int, prepare: Callable[[str], Any], *, enough: int) -> None:
        prepare(self.ticker)
        with self.hammer, closing(Line(self.server, self.operator)) as line:
            for left in range(rounds - 1, -1, -1):
                self.one(line, enough)
                self.spread = max(self.spread, busy_workers(self.server))
                if left:
                    if self.stop.undo:
                        undone = in_one_of_three(partial(again, self.stop.undo, line))
                        assert undone.status in (200, 204), undone.text
                    following = next(tickers)
                    prepare(following)
                    self.ticker = following
        assert len(self.at_the_stop) == rounds
        assert self.spread >= 2, "several workers decided"


@pytest.mark.parametrize("what", STOPS)
def test_no_order_of_a_hammer_is_released_after_the_answer_to(server: Server, what: str) -> None:
    engine = server.add_token("engine", "engine")
    stop = STOPS[what]

    def submit(line: Line, ticker: str) -> Reply:
        sent = body(ticker=ticker, reference_price="100", signal_layer="macro")
        return line.post("/orders", sent, token=engine)

    rounds = Rounds(server, stop, submit)
    rounds.run(30 if what == "a lockout" else 15, lambda ticker: None, enough=3)
    if not stop.undo:
        for ticker, count in rounds.at_the_stop.items():
            assert released(server, ticker) == count, "the lockout still holds, long after"
    done = answered(rounds.hammer.replies, 201)
    blocked = {reason["code"] for reply in done for reason in reply.json["reasons"] if reply.json["reasons"]}
    assert blocked == {stop.code}
    assert {ticker for (ticker,) in server.sql("SELECT ticker FROM orders WHERE status = 'blocked'")} == set(
        rounds.at_the_stop
    )
    assert server.sql("SELECT count(*) FROM orders") == [(len(done),)]
    assert server.sql(
        "SELECT count(*), count(DISTINCT subject) FROM audit_events WHERE action = 'order.submit'"
    ) == [(len(done), len(done))]


@pytest.mark.parametrize("what", STOPS)
def test_no_approval_of_a_hammer_releases_an_order_after_the_answer_to(server: Server, what: str) -> None:
    approver = server.add_token("approver", "operator")
    engine = account(server, "placed", "engine")
    stop = STOPS[what]
    left: dict[str, deque[str]] = {}

    def approve(line: Line, ticker: str) -> Reply | None:
        try:
            order_id = left[ticker].popleft()
        except IndexError:
            return None
        return line.post(f"/approvals/{order_id}/approve", {}, token=approver)

    rounds = Rounds(server, stop, approve)
    rounds.run(
        5, lambda ticker: left.update({ticker: deque(place_waiting(server, engine, 150, ticker=ticker))}), enough=3
    )
    done = answered(rounds.hammer.replies, 200, 409)
    refused = [reply for reply in done if reply.status != 200]
    assert {(reply.status, reply.json["code"]) for reply in refused} <= {
        (409, stop.code),
        (409, "already_decided"),  # by the halt, which cancels what waits
    }
    assert len(refused) >= len(rounds.at_the_stop), "the hammer went on after each stop"
    for reply in refused:
        if reply.json["code"] == "already_decided":
            assert reply.json["order"]["status"] == "canceled"
    approved = len(done) - len(refused)
    assert approved == sum(released(server, ticker) for ticker in rounds.at_the_stop)
    assert server.sql("SELECT count(*) FROM audit_events WHERE action = 'order.approve'") == [(approved,)]


# In time


def stood_still(reply: Reply, hammer: Hammer, status: int) -> bool:
    """Whether the machine did, so that the stop was to come again, or engines more than once each: then it is no
    sitting."""
    done = answered(hammer.replies, status)
    return not acknowledged(reply) or len(hammer.replies) - len(done) > hammer.threads


@contextmanager
def stalled_clients(server: Server, token: str, many: int) -> Iterator[list[socket.socket]]:
    """Engines that send half an order, and then nothing."""
    place = urlsplit(server.url)
    head = (
        f"POST {API}/orders HTTP/1.1\r\nHost: {place.netloc}\r\nAuthorization: Bearer {token}\r\n"
        'Content-Type: application/json\r\nContent-Length: 400\r\n\r\n{"client_order_id": "half'
    )
    with ExitStack() as open_:
        yield [open_.enter_context(half_sent(place.hostname or "", place.port or 0, head)) for _ in range(many)]


def half_sent(host: str, port: int, head: str) -> socket.socket:
    made = socket.create_connection((host, port))
    made.sendall(head.encode())
    return made


@contextmanager
def under_load(server: Server) -> Iterator[Hammer]:
    """Ten thousand orders wait, engines hammer, and clients stall in the middle of a submission."""
    engine = server.add_token("engine", "engine")
    place_waiting(server, account(server, "placed", "engine"), 10_000)
    server.sql("ANALYZE orders")

    def submit(line: Line) -> Reply:
        return line.post("/orders", body(), token=engine)

    with stalled_clients(server, engine, 12) as stalled, Hammer(server, submit) as hammer:
        hammer.everybody_again(5)
        yield hammer
        hammer.everybody_again(5)
        for client in stalled:
            client.setblocking(False)
            with pytest.raises(BlockingIOError):  # neither answered nor hung up: it really stalls
                client.recv(1)


def within_two_seconds(server: Server, sitting: Callable[[], float]) -> None:
    """In most sittings, each on an empty desk."""

    def anew() -> float:
        server.reset()
        return sitting()

    in_time(anew, 2.0)


@pytest.mark.alone
def test_a_halt_is_acknowledged_in_two_seconds_with_ten_thousand_orders_waiting(server: Server) -> None:
    def sitting() -> float:
        operator = server.add_token("operator", "operator")
        with under_load(server) as hammer, closing(Line(server, operator)) as line:
            took, reply = timed(lambda: line.put("/mode", {"trading_mode": "disabled"}))
            waiting = server.sql("SELECT count(*) FROM orders WHERE status = 'pending_approval'")
        if stood_still(reply, hammer, 201):
            return math.inf
        assert reply.status == 200, reply.text
        assert waiting == [(0,)]
        return took

    within_two_seconds(server, sitting)
    assert server.sql(
        "SELECT status, decided_by, decision_note, count(*) FROM orders WHERE engine = 'placed' GROUP BY 1, 2, 3"
    ) == [("canceled", "operator", "the trading mode was changed from paper to disabled", 10_000)]
    assert server.sql(
        "SELECT actor, after ->> 'status', count(*), count(DISTINCT subject), count(DISTINCT request_id)"
        " FROM audit_events WHERE action = 'order.cancel' GROUP BY 1, 2"
    ) == [("operator", "canceled", 10_000, 10_000, 1)]
    assert server.sql(
        """
        SELECT count(DISTINCT xmin::text) FROM (
            SELECT xmin FROM risk_configs
            UNION ALL SELECT xmin FROM orders WHERE status = 'canceled'
            UNION ALL SELECT xmin FROM audit_events WHERE action IN ('order.cancel', 'mode.change')
        ) AS written
        """
    ) == [(1,)], "all in the transaction of the halt itself"


@pytest.mark.alone
@pytest.mark.parametrize("ticker", ["AAPL", "*"])
def test_a_lockout_is_acknowledged_in_two_seconds_with_ten_thousand_orders_waiting(
    server: Server, ticker: str
) -> None:
    def sitting() -> float:
        operator = server.add_token("operator", "operator")
        with under_load(server) as hammer, closing(Line(server, operator)) as line:
            took, reply = timed(lambda: lock_out(line, ticker))
        if stood_still(reply, hammer, 201):
            return math.inf
        assert reply.status == 201, reply.text
        return took

    within_two_seconds(server, sitting)
    assert server.sql("SELECT status, count(*) FROM orders WHERE engine = 'placed' GROUP BY 1") == [
        ("pending_approval", 10_000)
    ]


STILL_THERE = "SELECT count(*) FROM pg_stat_activity WHERE pid = ANY(%s)"
IN_THE_MIDDLE = """
    SELECT pid FROM pg_stat_activity JOIN pg_locks USING (pid)
    WHERE datname = current_database() AND locktype = 'advisory' AND granted
        AND state = 'idle in transaction' AND clock_timestamp() - state_change > interval '20 ms'
"""


def ended(server: Server, backends: list[int]) -> None:
    """They give their locks back a moment before they are gone."""
    until(lambda: server.sql(STILL_THERE, backends) == [(0,)], what="a frozen transaction is still there")


@contextmanager
def stopped(worker: psutil.Process) -> Iterator[None]:
    worker.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        worker.send_signal(signal.SIGCONT)


@pytest.mark.alone
def test_a_worker_that_freezes_in_the_middle_of_a_decision_is_cut_off(server: Server) -> None:
    """Its transaction holds the lock that a halt wants; the database ends it, and nothing of it is there."""

    def sitting() -> float:
        engine, operator = server.add_token("engine", "engine"), server.add_token("operator", "operator")
        give_up = time.monotonic() + 60
        quit_ = threading.Event()

        def submit(line: Line) -> Reply | None:
            if quit_.is_set():
                return None
            return line.post("/orders", body(), token=engine)

        with Hammer(server, submit, threads=9) as hammer:
            for worker in itertools.cycle(workers_of(server)):
                assert time.monotonic() < give_up, "no worker was caught in the middle"
                hammer.everybody_again(1)
                with stopped(worker):
                    time.sleep(0.05)
                    if caught := server.sql(IN_THE_MIDDLE):
                        with closing(Line(server, operator)) as line:
                            took, reply = timed(lambda: line.put("/mode", {"trading_mode": "disabled"}))
                        count = server.sql("SELECT count(*) FROM orders WHERE status = 'released'")
                        ended(server, [pid for (pid,) in caught])
                        break
            quit_.set()
        assert {answer.status for answer in hammer.replies} <= {201, 503}
        assert 503 in {answer.status for answer in hammer.replies}, "the frozen one hears that it did not happen"
        assert server.sql("SELECT count(*) FROM orders") == [(sum(a.status == 201 for a in hammer.replies),)]
        if not acknowledged(reply):
            return math.inf
        assert (reply.status, reply.json["trading_mode"]) == (200, "disabled")
        assert server.sql("SELECT count(*) FROM orders WHERE status = 'released'") == count
        return took

    within_two_seconds(server, sitting)


STOP_ALL: dict[str, Callable[[Line], Reply]] = {
    "a halt": lambda line: line.put("/mode", {"trading_mode": "disabled"}),
    "a lockout": lambda line: lock_out(line, "*"),
}


@pytest.mark.alone
@pytest.mark.parametrize("what", STOP_ALL)
def test_engines_that_read_without_end_do_not_keep_an_operator_waiting(server: Server, what: str) -> None:
    """Two dozen of them list orders and look at one: operators have connections in reserve.

    Not ten thousand orders too: to cancel so many takes half a second of a processor of one's own.
    """

    def sitting() -> float:
        engine, operator = server.add_token("engine", "engine"), server.add_token("operator", "operator")
        ids = place_waiting(server, actor_of(server, "engine"), 2_000)
        turns = itertools.count()

        def read(line: Line) -> Reply:
            turn = next(turns)
            return line.get("/orders" if turn % 2 else f"/orders/{ids[turn % len(ids)]}", token=engine)

        with Hammer(server, read, threads=24) as hammer, closing(Line(server, operator)) as line:
            hammer.everybody_again()
            took, reply = timed(lambda: STOP_ALL[what](line))
            hammer.everybody_again()
        if stood_still(reply, hammer, 200):
            return math.inf
        assert reply.status in (200, 201), reply.text
        return took

    within_two_seconds(server, sitting)


@pytest.mark.alone
def test_an_order_that_somebody_keeps_does_not_keep_a_stop_waiting(server: Server) -> None:
    """Thirty who want to decide it wait for its row, and give the lock of the rules back again and again."""

    def sitting() -> float:
        engine, operator = server.add_token("engine", "engine"), server.add_token("operator", "operator")
        alice = server.add_token("alice", "operator")
        [kept] = place_waiting(server, actor_of(server, "engine"), 1)

        def decide(line: Line) -> Reply:
            if next(turns) % 2:
                return line("POST", f"/orders/{kept}/cancel", token=engine)
            return line.post(f"/approvals/{kept}/approve", {}, token=alice)

        turns = itertools.count()
        with transaction(server) as other:
            other.execute("SELECT 1 FROM orders WHERE id = %s FOR UPDATE", [kept])
            with Hammer(server, decide, threads=30) as hammer, closing(Line(server, operator)) as line:
                time.sleep(1.5)
                took, reply = timed(lambda: lock_out(line, "*"))
                other.rollback()
                hammer.everybody_again(1)
        assert {answer.status for answer in hammer.replies} <= {200, 409, 503}
        if not acknowledged(reply):
            return math.inf
        assert reply.status == 201, reply.text
        return took

    within_two_seconds(server, sitting)


def test_a_halt_that_has_to_wait_long_for_rows_is_made_all_the_same(server: Server) -> None:
    """Longer than any other statement may take, after which a server that is silent counts as gone."""
    operator = server.add_token("operator", "operator")
    server.add_token("engine", "engine")
    first, second = place_waiting(server, actor_of(server, "engine"), 2)
    keep = "SELECT 1 FROM orders WHERE id = %s FOR UPDATE"
    with transaction(server) as one, transaction(server) as other, closing(Line(server, operator)) as line:
        one.execute(keep, [first])
        other.execute(keep, [second])
        replies: list[Reply] = []
        halt = threading.Thread(target=lambda: replies.append(line.put("/mode", {"trading_mode": "disabled"})))
        halt.start()
        time.sleep(7)  # each row is waited for for ten seconds
        one.rollback()
        time.sleep(7)
        assert halt.is_alive()
        other.rollback()
        halt.join(20)
    assert [(reply.status, reply.json["trading_mode"]) for reply in replies] == [(200, "disabled")]
    assert server.sql("SELECT status, count(*) FROM orders GROUP BY status") == [("canceled", 2)]
