"""Whoever leads tells people: each receiver for itself, again until it has taken it, and nobody waits for one."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn

import pytest
from flask import Flask

from app.domain.notifications import Message
from app.domain.risk_config import TradingMode
from app.extensions import db
from app.server import notifier as telling
from app.server.notifier import Notifier, backoff
from app.services.actor import Actor
from app.services.notifications import outbox
from app.services.notifications.apprise import Address, Messenger, NotTold
from app.services.orders import submit
from app.services.trading import config
from tests.at_once import until
from tests.desk.orders import new_order, transaction
from tests.notices.receiver import Receiver
from tests.serving import TESTER, Desk, free_port, settings_for


@pytest.fixture(scope="module")
def messenger() -> Iterator[Messenger]:
    """One for all: it takes a second to start."""
    with closing(Messenger(patience=3.0)) as made:
        yield made


@pytest.fixture
def teller(app: Flask, desk: Desk, tmp_path: Path, messenger: Messenger) -> Iterator[Any]:
    """`teller(url, ...)` tells people at these addresses, as the process that leads does."""
    made = []

    def teller(*urls: str, **settings: str) -> Notifier:
        environment = {"NOTIFY_URLS": " ".join(urls), "PUBLIC_URL": "https://desk.example"} | settings
        one = Notifier(app, settings_for(desk.database, tmp_path, **environment), messenger)
        made.append(one)
        turn(app, one)
        return one

    yield teller
    for each in made:
        until(lambda each=each: not each._busy, 60)


def turn(app: Flask, notifier: Notifier) -> None:
    with app.app_context():
        notifier.once()


def turns(app: Flask, desk: Desk, notifier: Notifier, enough: Any) -> None:
    """Rounds without waiting for anything, until it is enough."""

    def round_() -> Any:
        desk.sql("UPDATE notices SET created_at = created_at - interval '5 s' WHERE settled_at IS NULL")
        desk.sql("UPDATE notice_receivers SET told_at = told_at - interval '1 min'")
        desk.sql("UPDATE notice_receivers SET try_at = clock_timestamp() WHERE claim IS NULL")
        turn(app, notifier)
        return enough()

    until(round_, 60)


def halt(app: Flask) -> None:
    with app.app_context():
        config.change_mode(TESTER, TradingMode.DISABLED)


def undelivered(desk: Desk) -> int:
    [(number,)] = desk.sql("SELECT count(*) FROM notices WHERE settled_at IS NULL")
    return int(number)


def test_an_order_that_waits_is_told_with_a_link(
    app: Flask, desk: Desk, engine: Actor, receiver: Receiver, teller: Any
) -> None:
    notifier = teller(receiver.url())
    with app.app_context():
        submit.submit(engine, new_order())
    turns(app, desk, notifier, lambda: receiver.messages)
    [message] = receiver.messages
    assert message["title"] == "[PAPER] waits: buy 10 AAPL"
    assert message["message"].endswith("\nhttps://desk.example/trading")
    until(lambda: undelivered(desk) == 0)


def test_an_order_is_told_again_when_its_deadline_is_near_and_when_it_is_over(
    app: Flask, desk: Desk, engine: Actor, receiver: Receiver, teller: Any
) -> None:
    notifier = teller(receiver.url(), NOTIFY_BEFORE_EXPIRY="120")
    with app.app_context():
        order = submit.submit(engine, new_order())[0]["id"]
    turns(app, desk, notifier, lambda: len(receiver.messages) == 1)
    desk.sql("UPDATE orders SET created_at = created_at - interval '1 h', expires_at = now() + interval '100 s'")
    turns(app, desk, notifier, lambda: len(receiver.messages) == 2)
    desk.sql("UPDATE orders SET expires_at = clock_timestamp()")
    with app.app_context():
        submit.get(TESTER, order)
    turns(app, desk, notifier, lambda: len(receiver.messages) == 3)
    assert [title.split("] ")[1] for title in receiver.titles] == [
        *("waits: buy 10 AAPL", "about to expire: buy 10 AAPL", "expired: buy 10 AAPL")
    ]


def test_two_hundred_that_wait_are_one_message(
    app: Flask, desk: Desk, engine: Actor, receiver: Receiver, teller: Any
) -> None:
    notifier = teller(receiver.url())
    with app.app_context():
        for _ in range(200):
            submit.submit(engine, new_order())
    turns(app, desk, notifier, lambda: receiver.messages)
    until(lambda: undelivered(desk) == 0)
    turn(app, notifier)
    assert receiver.titles == ["[PAPER] 200 orders wait"]


@pytest.mark.parametrize("how", ["is away", "hangs", "trickles", "answers 500"])
def test_a_dead_receiver_beside_a_good_one(
    how: str, app: Flask, desk: Desk, receiver: Receiver, other: Receiver, teller: Any
) -> None:
    dead = f"json://127.0.0.1:{free_port()}/x" if how == "is away" else receiver.url()
    receiver.hangs, receiver.trickles = how == "hangs", how == "trickles"
    receiver.answers = 500 if how == "answers 500" else 200
    notifier = teller(dead, other.url())
    halt(app)
    turns(app, desk, notifier, lambda: other.messages)
    until(lambda: desk.sql("SELECT tries > 0 FROM notice_receivers WHERE name LIKE '1 %'") == [(True,)], 60)
    assert other.titles == ["[HALTED] trading HALTED"]
    assert receiver.messages == []
    assert undelivered(desk) == 1, "what the dead one is to be told stays"
    if how == "is away":
        return
    receiver.hangs, receiver.trickles, receiver.answers = False, False, 200
    receiver.let_go.set()
    turns(app, desk, notifier, lambda: undelivered(desk) == 0)
    assert receiver.titles == ["[HALTED] trading HALTED"]
    assert len(other.messages) == 1, "and nobody else hears it again"


class Hanging(Messenger):
    """Speaks to somebody who never answers, until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.let_go = threading.Event()

    def tell(self, address: Address, message: Message) -> None:
        self.asked += 1
        self.let_go.wait(120)
        raise NotTold("no")


def test_nothing_is_open_and_nobody_waits_while_a_receiver_hangs(app: Flask, desk: Desk, teller: Any) -> None:
    """Not even the next round, nor another leader's."""
    notifier = teller("json://127.0.0.1:9/x")
    notifier._messenger = hanging = Hanging()
    halt(app)
    try:
        turn(app, notifier)
        until(lambda: hanging.asked)
        ours = "application_name LIKE 'countersign%' AND datname = current_database()"
        assert desk.sql(f"SELECT query FROM pg_stat_activity WHERE {ours} AND state LIKE 'idle in%'") == []
        locked = "pg_locks JOIN pg_stat_activity USING (pid) JOIN pg_class c ON c.oid = relation"
        assert desk.sql(f"SELECT 1 FROM {locked} WHERE {ours} AND relname ~ '^notice'") == []
        desk.sql("UPDATE notice_receivers SET try_at = clock_timestamp()")
        turn(app, notifier)
        assert hanging.asked == 1
    finally:
        hanging.let_go.set()


def test_many_who_are_to_be_told_at_once_leave_connections_to_others(
    app: Flask, desk: Desk, engine: Actor, teller: Any
) -> None:
    notifier = teller(*[f"json://127.0.0.1:9/{number}" for number in range(10)])
    with app.app_context():
        submit.submit(engine, new_order())
    desk.sql("UPDATE orders SET status = 'released', decided_at = now(), decided_by = 'olga'")
    desk.sql("UPDATE notices SET created_at = created_at - interval '5 s'")
    at_it = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    seen = set()
    with transaction(desk) as other:
        other.execute("SELECT * FROM notices FOR UPDATE")  # so that who claims waits, for two seconds
        turn(app, notifier)
        while notifier._busy:
            seen.add(desk.sql(at_it)[0][0])
            time.sleep(0.01)
    assert 1 <= max(seen) <= 2


def test_two_that_lead_at_once_tell_it_once(app: Flask, desk: Desk, receiver: Receiver, teller: Any) -> None:
    tellers = [teller(receiver.url()) for _ in range(3)]
    for number in range(1, 4):
        halt(app)
        threads = [threading.Thread(target=turn, args=(app, each)) for each in tellers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        until(lambda: undelivered(desk) == 0, 60)
        until(lambda: not any(each._busy for each in tellers))
        assert len(receiver.messages) == number
        with app.app_context():
            config.change_mode(TESTER, TradingMode.PAPER, leaving=TradingMode.DISABLED, reason="r")
        desk.sql("UPDATE notices SET settled_at = now(), outcome = 'told' WHERE settled_at IS NULL")


def die(*_: Any) -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("unreachable")


class DiesBefore(Messenger):
    def tell(self, address: Address, message: Message) -> None:
        die()


class DiesAfter(Messenger):
    def tell(self, address: Address, message: Message) -> None:
        super().tell(address, message)
        die()


@pytest.mark.parametrize(("dies", "heard"), [(DiesBefore, 1), (DiesAfter, 2)])
def test_a_leader_that_is_killed_in_the_middle_loses_nothing_and_doubles_at_most_one(
    dies: type[Messenger], heard: int, app: Flask, desk: Desk, receiver: Receiver, teller: Any, tmp_path: Path
) -> None:
    notifier = teller(receiver.url())
    halt(app)
    child = os.fork()
    if not child:
        try:
            with app.app_context():
                for each in db.engines.values():
                    each.dispose(close=False)
                settings = settings_for(desk.database, tmp_path, NOTIFY_URLS=receiver.url())
                doomed = Notifier(app, settings, dies())
                doomed._tell(next(iter(doomed._addresses)))
        finally:
            os._exit(0)
    _, how = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(how) == -signal.SIGKILL
    assert undelivered(desk) == 1
    turn(app, notifier)
    assert not notifier._busy, "for as long as its claim holds nobody does it again"
    desk.sql("UPDATE notice_receivers SET try_at = clock_timestamp()")
    turn(app, notifier)
    until(lambda: undelivered(desk) == 0, 60)
    assert receiver.titles == ["[HALTED] trading HALTED"] * heard


def test_one_that_was_held_up_after_its_claim_leaves_it_to_the_next(
    app: Flask, desk: Desk, receiver: Receiver, teller: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    notifier = teller(receiver.url())
    halt(app)
    monkeypatch.setattr(telling, "FRESH", -1.0)
    with app.app_context():
        [key] = outbox.due()
        notifier._tell(key)
    assert (receiver.knocks, undelivered(desk)) == (0, 1)


def test_what_has_no_words_is_told_all_the_same_and_silences_nothing(
    app: Flask, desk: Desk, receiver: Receiver, teller: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    notifier = teller(receiver.url())
    monkeypatch.setattr(telling, "compose", lambda *_: 1 / 0)
    halt(app)
    turns(app, desk, notifier, lambda: receiver.messages)
    assert receiver.titles == ["Countersign: 1 news"]
    until(lambda: undelivered(desk) == 0)


def test_no_log_shows_an_address(
    app: Flask, desk: Desk, receiver: Receiver, teller: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    receiver.answers = 500
    notifier = teller(receiver.url("hush"))
    halt(app)
    turns(app, desk, notifier, lambda: receiver.knocks)
    until(lambda: not notifier._busy)
    desk.sql("UPDATE notices SET created_at = created_at - interval '2 days'")
    notifier._tidied = -telling.TIDY_EVERY
    turn(app, notifier)
    words = [record.getMessage() for record in caplog.records]
    assert any("was not told, again in" in each for each in words)
    assert any("given up after a day: it answered 500" in each for each in words)
    everything = desk.sql("SELECT notices::text FROM notices") + desk.sql("SELECT r::text FROM notice_receivers r")
    assert "hush" not in caplog.text + str(everything)


def test_it_is_tried_again_later_and_later_but_within_a_minute_always() -> None:
    shortest = [backoff(tries, lambda: 0.0) for tries in range(8)]
    longest = [backoff(tries, lambda: 1.0) for tries in range(8)]
    assert [each.total_seconds() for each in longest] == [2, 4, 8, 16, 32, 60, 60, 60]
    assert [2 * each for each in shortest] == longest
    assert backoff(10**9) <= timedelta(minutes=1)
