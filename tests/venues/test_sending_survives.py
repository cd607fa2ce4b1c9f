"""Whatever dies, freezes or stays away between release and the venue's answer: never two orders there for one of
ours, and none lost."""

from __future__ import annotations

import os
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any, NoReturn

import psutil
import pytest
from flask import Flask

from app.extensions import db
from app.services.actor import Actor
from app.services.execution import dispatcher as sending
from app.services.execution import order_updates
from app.services.execution.brokers.alpaca import Alpaca
from app.services.execution.dispatcher import Dispatch
from app.services.execution.order_updates import venue_order_id
from app.services.orders import submit
from tests.at_once import Caller, Reply, until
from tests.desk.orders import account, body, new_order
from tests.serving import TESTER, Desk, Server
from tests.venues.stand_in import Venue

PATIENCE = 1.0
ROUNDS = 15


def way_to(venue: Venue) -> Dispatch:
    return Dispatch({"paper": Alpaca(venue.account, "paper", PATIENCE)}, 3600)


@pytest.fixture
def dispatch(venue: Venue) -> Iterator[Dispatch]:
    made = way_to(venue)
    with closing(made.venues["paper"]):
        yield made


@pytest.fixture
def engine(desk: Desk) -> Actor:
    return account(desk, "momentum", "engine")


def die(*_: Any, **__: Any) -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("unreachable")


def before(name: str, what: Callable[..., Any]) -> Callable[[Dispatch], None]:
    """Replace a step of the dispatch by `what`, in the process that is to suffer it."""

    def prepare(dispatch: Dispatch) -> None:
        setattr(dispatch, name, what)

    return prepare


def after(name: str, what: Callable[..., Any]) -> Callable[[Dispatch], None]:
    def prepare(dispatch: Dispatch) -> None:
        step = getattr(dispatch, name)

        def and_then(*args: Any, **kwargs: Any) -> Any:
            result = step(*args, **kwargs)
            what()
            return result

        setattr(dispatch, name, and_then)

    return prepare


def in_the_middle_of_sending(dispatch: Dispatch) -> None:
    """The venue has it; the answer is never read."""
    alpaca: Any = dispatch.venues["paper"]
    send = alpaca.send

    def sends_and_dies(order: Any) -> NoReturn:
        send(order)
        die()

    alpaca.send = sends_and_dies


def in_the_middle_of_a_transaction(dispatch: Dispatch) -> None:
    """Written, and not committed: the second move is that to what the venue said."""
    move, moves = order_updates.move, []

    def moves_and_dies(*args: Any, **kwargs: Any) -> None:
        move(*args, **kwargs)
        moves.append(args)
        if len(moves) == 2:
            die()

    order_updates.move = moves_and_dies  # type: ignore[assignment]


STEPS: dict[str, Callable[[Dispatch], None]] = {
    "released, not claimed": before("_take_up", die),
    "claimed, not committed": after("_claim", die),
    "claimed, not sent": before("_send", die),
    "sent, no answer read": in_the_middle_of_sending,
    "answered, not recorded": before("heard", die),
    "recorded, not committed": in_the_middle_of_a_transaction,
    "recorded": after("_send", die),
}


def in_a_process_that(suffers: Callable[[Dispatch], None], app: Flask, venue: Venue, order_id: uuid.UUID) -> int:
    """Fork one that forwards the order; its number."""
    child = os.fork()
    if child:
        return child
    try:
        with app.app_context():
            for each in db.engines.values():
                each.dispose(close=False)
            dispatch = way_to(venue)
            suffers(dispatch)
            dispatch.forward(order_id, TESTER)
    finally:
        os._exit(0)


def take_up(desk: Desk, dispatch: Dispatch, order_id: uuid.UUID) -> None:
    """What another process does once so much time has passed."""
    desk.sql(
        "UPDATE orders SET sent_at = sent_at - interval '3 h', try_at = clock_timestamp() WHERE id = %s", order_id
    )
    dispatch.once()


def fate(desk: Desk, venue: Venue, order_id: uuid.UUID) -> tuple[str, int]:
    [(status,)] = desk.sql("SELECT status FROM orders WHERE id = %s", order_id)
    return str(status), len(venue.known(venue_order_id(order_id)))


@pytest.mark.parametrize("step", STEPS)
def test_a_process_that_is_killed_at_any_step_leaves_one_order_at_the_venue(
    step: str, app: Flask, desk: Desk, venue: Venue, engine: Actor, dispatch: Dispatch
) -> None:
    with app.app_context():
        for _ in range(ROUNDS):
            shown, _ = submit.submit(engine, new_order(), dispatch.send_within)
            order_id = uuid.UUID(shown["id"])
            child = in_a_process_that(STEPS[step], app, venue, order_id)
            _, how = os.waitpid(child, 0)
            assert os.waitstatus_to_exitcode(how) == -signal.SIGKILL
            for _ in range(3):
                take_up(desk, dispatch, order_id)
            assert fate(desk, venue, order_id) == ("accepted", 1)


@pytest.mark.parametrize("fresh", [0.0, 3600.0])
def test_one_that_freezes_between_claim_and_sending_and_wakes_later_makes_no_second_order(
    fresh: float,
    app: Flask,
    desk: Desk,
    venue: Venue,
    engine: Actor,
    dispatch: Dispatch,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whether it notices that it was held up or not: the venue refuses the second."""
    monkeypatch.setattr(sending, "FRESH", fresh)

    def freezes(dispatch: Dispatch) -> None:
        send = dispatch._send

        def freeze_and_send(*args: Any) -> None:
            os.kill(os.getpid(), signal.SIGSTOP)
            send(*args)

        dispatch._send = freeze_and_send  # type: ignore[method-assign]

    with app.app_context():
        for _ in range(5):
            shown, _ = submit.submit(engine, new_order(), dispatch.send_within)
            order_id = uuid.UUID(shown["id"])
            child = in_a_process_that(freezes, app, venue, order_id)
            os.waitpid(child, os.WUNTRACED)
            assert fate(desk, venue, order_id) == ("sending", 0)
            monkeypatch.setattr(sending, "FRESH", 3600.0)
            take_up(desk, dispatch, order_id)
            assert fate(desk, venue, order_id) == ("accepted", 1)
            os.kill(child, signal.SIGCONT)
            os.waitpid(child, 0)
            assert fate(desk, venue, order_id) == ("accepted", 1)
            monkeypatch.setattr(sending, "FRESH", fresh)


# With the real server


def fates(server: Server, venue: Venue) -> dict[str, tuple[str, int]]:
    return {
        str(order_id): (status, len(venue.known(venue_order_id(order_id))))
        for order_id, status in server.sql("SELECT id, status FROM orders")
    }


def test_workers_that_are_killed_again_and_again(server: Server, venue_behind: Venue) -> None:
    venue = venue_behind
    engine = Caller(server.url, server.add_token("momentum", "engine"))
    done = threading.Event()
    venue.after = 0.05

    def send_orders() -> None:
        while not done.is_set():
            try:
                engine("POST", "/orders", body())
            except OSError:
                time.sleep(0.05)

    senders = [threading.Thread(target=send_orders, daemon=True) for _ in range(3)]
    for sender in senders:
        sender.start()
    for _ in range(8):
        enough = len(venue.orders) + 3
        until(lambda: len(venue.orders) >= enough, 60, "nothing is sent any more")  # noqa: B023
        workers = psutil.Process(server.process.pid).children()
        workers[0].kill()
    done.set()
    for sender in senders:
        sender.join(20)
    until(lambda: all(status in ("accepted", "canceled") for status, _ in fates(server, venue).values()), 60)
    found = fates(server, venue)
    assert len(found) >= 8 * 3
    assert all(known == (status == "accepted") for status, known in found.values()), found
    assert len(venue.orders) == sum(known for _, known in found.values())


def test_a_halt_while_a_slow_venue_holds_a_request(server: Server, venue_behind: Venue) -> None:
    venue = venue_behind
    engine = Caller(server.url, server.add_token("momentum", "engine"))
    operator = Caller(server.url, server.add_token("olga", "operator"))
    venue.before = 1.8
    replies: list[Reply] = []
    held = [
        threading.Thread(target=lambda: replies.append(engine("POST", "/orders", body())), daemon=True)
        for _ in range(10)
    ]
    for each in held:
        each.start()
    until(lambda: venue.asked.count("POST /v2/orders") >= 5)
    began = time.monotonic()
    answer = operator("PUT", "/mode", {"trading_mode": "disabled"})
    took = time.monotonic() - began
    sent = server.sql("SELECT count(*) FROM orders WHERE sent_at IS NOT NULL")
    assert (answer.status, took < 2) == (200, True), took
    for each in held:
        each.join(20)
    until(
        lambda: all(status in ("accepted", "canceled", "blocked") for status, _ in fates(server, venue).values()),
        30,
    )
    assert server.sql("SELECT count(*) FROM orders WHERE sent_at IS NOT NULL") == sent
    assert all(known == (status == "accepted") for status, known in fates(server, venue).values())


def test_a_venue_that_is_away_and_comes_back(server: Server, venue_behind: Venue) -> None:
    venue = venue_behind
    engine = Caller(server.url, server.add_token("momentum", "engine"))
    venue.go_away()
    early = engine("POST", "/orders", body()).json["id"]
    time.sleep(6)
    late = engine("POST", "/orders", body()).json["id"]
    time.sleep(3)
    venue.come()
    until(lambda: fates(server, venue)[late] == ("accepted", 1), 20)
    until(lambda: fates(server, venue)[early] == ("canceled", 0), 20)
    order = engine("GET", f"/orders/{early}").json
    assert [reason["code"] for reason in order["reasons"]] == ["send_deadline"]
