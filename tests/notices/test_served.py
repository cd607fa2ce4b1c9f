"""The real server tells people: with a receiver that hangs beside one that listens, and its leader killed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from flask import Flask
from sqlalchemy.engine import URL

from app.db import migrate
from app.services.notifications import apprise
from tests.at_once import Caller, until
from tests.commands import Environment, bare, countersign, on_database, refused, said
from tests.database import new_database
from tests.desk.orders import body
from tests.desk.test_keeper import answers, leader
from tests.notices.receiver import Receiver, receiving
from tests.serving import Server, application, free_port, serve

HUSH = "hush-this-is-secret"


@pytest.fixture(scope="module")
def good() -> Iterator[Receiver]:
    with receiving() as made:
        yield made


@pytest.fixture(scope="module")
def hanging() -> Iterator[Receiver]:
    with receiving() as made:
        made.hangs = True
        yield made


@pytest.fixture(scope="module")
def served(
    postgres_server: URL, tmp_path_factory: pytest.TempPathFactory, good: Receiver, hanging: Receiver
) -> Iterator[tuple[Server, Path]]:
    folder = tmp_path_factory.mktemp("told")
    settings = {
        "NOTIFY_URLS": f"{hanging.url(HUSH)}?rto=600, {good.url(HUSH)}",
        "PUBLIC_URL": "https://desk.example",
    }
    with new_database(postgres_server) as url, application(url, folder) as here:
        with here.app_context():
            migrate.upgrade(url)
        with serve(here, url, folder, settings=settings) as made:
            until(lambda: made.sql("SELECT count(*) FROM notice_receivers") == [(2,)], 60)
            yield made, folder / "server.log"


def test_people_are_told_while_another_receiver_hangs_and_nothing_waits_for_it(
    served: tuple[Server, Path], good: Receiver, hanging: Receiver
) -> None:
    server, log = served
    engine = Caller(server.url, server.add_token("momentum", "engine"))
    operator = Caller(server.url, server.add_token("olga", "operator"))
    operator.put("/approval-config", {"auto_approve_paper": False})
    waiting = [engine.post("/orders", body()).json["id"] for _ in range(20)]
    until(lambda: any("wait" in title for title in good.titles), 60)
    until(lambda: hanging.knocks, 60)
    assert operator.post(f"/approvals/{waiting[0]}/approve", {}).status == 200
    assert operator.post("/lockouts", {"ticker": "AAPL", "reason": "r", "duration_minutes": 5}).status == 201
    halted = operator.put("/mode", {"trading_mode": "disabled"}, seconds=20)
    assert halted.status == 200
    until(lambda: any("trading HALTED" in title for title in good.titles), 60)
    [halt] = [each for each in good.messages if "HALTED" in each["title"]]
    assert halt["title"].startswith("[HALTED] trading HALTED")
    assert "19 orders that waited were canceled" in halt["message"]
    assert halt["message"].endswith("https://desk.example/trading")
    assert len(good.messages) < 10
    assert hanging.messages == []
    assert HUSH not in log.read_text()
    assert "Traceback" not in log.read_text()


def lives(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return process.status() != psutil.STATUS_ZOMBIE
    return False


def test_when_the_leader_is_killed_another_one_tells_people(served: tuple[Server, Path], good: Receiver) -> None:
    server, log = served
    admin = Caller(server.url, server.add_token("ada", "admin"))
    first = leader(server)
    helpers = [one for one in psutil.Process(first).children() if str(apprise.PROGRAM) in one.cmdline()]
    psutil.Process(first).kill()
    until(lambda: answers(admin), 60)
    mode = admin.get("/mode").json["trading_mode"]
    before = len(good.messages)
    if mode == "disabled":
        change = {"trading_mode": "paper", "from": "disabled", "reason": "again"}
    else:
        change = {"trading_mode": "disabled"}
    assert admin.put("/mode", change).status == 200
    until(lambda: len(good.messages) > before, 90)
    until(lambda: not any(map(lives, helpers)), 60, "it outlives whoever started it")
    assert HUSH not in log.read_text()


# The command


def environment(*urls: str, **more: str) -> Environment:
    return bare(NOTIFY_URLS=" ".join(urls), **more)


def test_a_trial_goes_to_each_address_and_says_which_took_it(receiver: Receiver, other: Receiver) -> None:
    """No database is needed for it."""
    other.answers = 503
    one = said(countersign(environment(receiver.url(HUSH)), "notify", "test"))
    assert one == f"1 json://127.0.0.1:{receiver.port}: told\n"
    assert receiver.titles == ["Countersign: this is a test"]
    gone = f"json://127.0.0.1:{free_port()}/{HUSH}"
    done = countersign(environment(other.url(HUSH), receiver.url(HUSH), gone), "notify", "test")
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.splitlines() == [
        f"1 json://127.0.0.1:{other.port}: FAILED, it answered 503",
        f"2 json://127.0.0.1:{receiver.port}: told",
        f"3 {gone.removesuffix('/' + HUSH)}: FAILED, it cannot be reached, or hung up",
    ]
    assert len(receiver.messages) == 2


def test_a_trial_without_addresses_says_that_nobody_is_told() -> None:
    assert refused(countersign(bare(), "notify", "test")) == "NOTIFY_URLS is not set: nobody is told of anything"


def test_an_address_that_cannot_be_read_stops_the_start_with_a_line_that_does_not_show_it(
    app: Flask, database: URL, tmp_path: Path
) -> None:
    wrong = f"json://127.0.0.1/{HUSH} slack://{HUSH}"
    serving = on_database(database, tmp_path) | {"NOTIFY_URLS": wrong, "PORT": str(free_port())}
    line = refused(countersign(serving, "serve"))
    assert line == "NOTIFY_URLS: address 2 (slack://…): Apprise cannot read this address"
    assert countersign(serving, "notify", "test").stdout.endswith(
        "\n2 slack: FAILED, Apprise cannot read this address\n"
    )
    without_a_kind = serving | {"NOTIFY_URLS": HUSH}
    assert HUSH not in refused(countersign(without_a_kind, "serve"))
