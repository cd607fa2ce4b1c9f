"""Every open page hears of every change at once, and of nothing that its credential no longer lets it see.

How long something took is held to generous bounds, as in `test_waiting_for_a_decision.py`: a machine that stands
still for some seconds is no flaw of the desk.
"""

from __future__ import annotations

import http.client
import itertools
import json
import math
import queue
import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from flask import Flask
from sqlalchemy.pool import NullPool

from app.domain.roles import Role
from app.extensions import db
from app.services.accounts import users
from app.services.actor import Actor
from app.services.live import listener as live
from app.services.live import streams
from app.services.live.listener import Hub
from tests.at_once import Caller, Reply, in_one_of_three, in_time, until
from tests.commands import countersign, on_database, said
from tests.conftest import API, Api
from tests.desk.orders import transaction
from tests.serving import SESSION_COOKIE, TESTER, Desk, Server, serve
from tests.test_serve import sign_in
from tests.web.conftest import assert_problem
from tests.web.orders import HOLDS, LOCKOUT, configure, order, set_deadline

SOON = 8.0  # seconds: news was heard; where none ever is, a stream gives up much later
KILL = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = current_database() AND application_name = 'countersign live'"
)
LOOKS = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    " AND application_name = 'countersign live' AND clock_timestamp() - query_start < interval '1 s'"
)
ENDS_SOON = "UPDATE symbol_lockouts SET created_at = now() - interval '1 h', expires_at = now() + interval '0.7 s'"


BIT = 0.05  # seconds
KEPT = "SELECT 1 FROM orders WHERE id = %s FOR UPDATE"


@dataclass(frozen=True)
class Heard:
    """An event, and when it was heard."""

    at: float
    kind: str
    data: Any


class Listener:
    """A page that listens, in a thread of its own."""

    def __init__(self, server: Server, credential: dict[str, str]) -> None:
        place = httpx.URL(server.url)
        self.connection = http.client.HTTPConnection(place.host, place.port, timeout=30)
        self.connection.request("GET", f"{API}/stream", headers=credential)
        self.response = self.connection.getresponse()
        assert self.response.status == 200, self.response.read()
        self._heard: queue.SimpleQueue[Heard] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        """As a browser does: an event ends with an empty line. Beats are no news. The end is one only where it is
        clean."""
        kind, data = "message", ""
        try:
            while line := self.response.readline().decode():
                name, _, value = line.rstrip("\n").partition(": ")
                if name == "event":
                    kind = value
                elif name == "data":
                    data = value
                elif not name and data:
                    if kind != "beat":
                        self._heard.put(Heard(time.monotonic(), kind, json.loads(data)))
                    kind, data = "message", ""
            self._heard.put(Heard(time.monotonic(), "end", None))
        except (OSError, ValueError, http.client.HTTPException) as error:
            self._heard.put(Heard(time.monotonic(), "broken", error))

    def hear(self, within: float = SOON) -> Heard | None:
        """What is heard next; None where that is nothing. It waits bit by bit: a machine that stands still takes
        one of them, and leaves the server the others."""
        for _ in range(max(1, round(within / BIT))):
            with suppress(queue.Empty):
                return self._heard.get(timeout=BIT)
        return None

    def until_quiet(self, seconds: float = 0.4) -> list[Heard]:
        """All that is heard until nothing was for so long."""
        found = []
        while heard := self.hear(seconds):
            found.append(heard)
        return found

    def by_now(self) -> list[Heard]:
        """What has come by now."""
        return [self._heard.get() for _ in range(self._heard.qsize())]

    def hears(self, version: int, since: float) -> Heard:
        """The message of that version; whatever came before it is passed over."""
        while heard := self.hear():
            assert heard.kind == "message", heard
            assert set(heard.data) == {"state_version"}
            assert type(heard.data["state_version"]) is int
            if heard.data["state_version"] >= version:
                assert heard.data["state_version"] == version
                assert heard.at - since < SOON
                return heard
        raise AssertionError(f"version {version} was not told")

    def ends(self, since: float, within: float = SOON) -> None:
        while heard := self.hear(within + 1):
            if heard.kind == "end":
                assert heard.at - since < within, f"it took {heard.at - since:.2f} seconds"
                return
            assert heard.kind == "message", heard
        raise AssertionError("it goes on")

    def close(self) -> None:
        """Hang up."""
        if self.connection.sock is not None:
            with suppress(OSError):
                self.connection.sock.shutdown(socket.SHUT_RDWR)
        self._reader.join()
        self.connection.close()
        self.response.close()


class Served:
    """The real server on which paper orders wait, an engine and a person."""

    def __init__(self, server: Server) -> None:
        configure(server, HOLDS)
        self.server = server
        self.token = server.add_token("person", "operator")
        self.person = Caller(server.url, self.token)
        self.engine = Caller(server.url, server.add_token("momentum", "engine"))
        self._listeners: list[Listener] = []
        self._minutes = itertools.count(100)

    def listen(self, token: str | None = None, **headers: str) -> Listener:
        credential = {"Authorization": f"Bearer {token or self.token}"}
        return self.listen_with(credential | headers)

    def listen_with(self, credential: dict[str, str]) -> Listener:
        made = Listener(self.server, credential)
        self._listeners.append(made)
        return made

    def listen_as(self, name: str) -> Listener:
        """A person with a session."""
        password = self.server.add_user(name, "viewer")
        with httpx.Client(base_url=self.server.url) as browser:
            assert sign_in(browser, name, password).status_code == 303
            return self.listen_with({"Cookie": f"{SESSION_COOKIE}={browser.cookies[SESSION_COOKIE]}"})

    def several(self) -> list[Listener]:
        """With both workers, or nearly so, and past what they hear first."""
        made = [self.listen() for _ in range(4)]
        self.settle(*made)
        return made

    def settle(self, *listeners: Listener) -> int:
        """Past what they hear first, which may be long in coming: they have heard of an act, and of nothing since.
        The version."""
        changed = {"approval_timeout_minutes": next(self._minutes)}
        assert self.person.put("/approval-config", changed).status == 200
        since, version = time.monotonic(), self.version()
        for listener in listeners:
            listener.hears(version, since)
        for found in (listeners[0].until_quiet(), *(listener.by_now() for listener in listeners[1:])):
            assert all(heard.data == {"state_version": version} for heard in found), found
        return version

    def send(self, **changes: Any) -> dict[str, Any]:
        made: dict[str, Any] = self.engine.post("/orders", order(**changes)).json
        return made

    def version(self) -> int:
        return int(self.person.get("/state").json["state_version"])

    def close(self) -> None:
        for listener in self._listeners:
            listener.close()


@pytest.fixture
def served(server: Server) -> Iterator[Served]:
    made = Served(server)
    yield made
    made.close()


def revoke(served: Served, token: str) -> None:
    with served.server.app.app_context():
        users.revoke_token(TESTER, token.partition(".")[0])


class TestItTells:
    def test_the_present_version_at_once(self, served: Served) -> None:
        listener = served.listen()
        since = time.monotonic()
        heard = listener.hear()
        assert heard is not None
        assert (heard.kind, heard.data) == ("message", {"state_version": served.version()})
        assert heard.at - since < SOON
        assert type(heard.data["state_version"]) is int
        served.settle(listener)

    def test_of_every_kind_of_act(self, served: Served, tmp_path: Path) -> None:
        person, engine = served.person, served.engine
        lockout: dict[str, Any] = {}
        made: list[dict[str, Any]] = []

        def lock_out() -> Reply:
            answer = person.post("/lockouts", LOCKOUT | {"ticker": "LOCKED"})
            lockout.update(answer.json)
            return answer

        def send() -> Reply:
            answer = engine.post("/orders", order())
            made.append(answer.json)
            return answer

        acts: dict[str, Callable[[], Any]] = {
            "an approval setting": lambda: person.put("/approval-config", {"approval_timeout_minutes": 31}),
            "a signal layer": lambda: person.put("/signal-layers", {"macro": False}),
            "a lockout": lock_out,
            "a lockout that is extended": lambda: person(
                "PATCH", f"/lockouts/{lockout['id']}", {"extend_minutes": 5}
            ),
            "an order that the gate blocks": lambda: engine.post("/orders", order(ticker="LOCKED")),
            "a lockout that is removed": lambda: person("DELETE", f"/lockouts/{lockout['id']}"),
            "an order that waits": send,
            "another": send,
            "a third": send,
            "an approval": lambda: person.post(f"/approvals/{made[0]['id']}/approve", {}),
            "a rejection": lambda: person.post(f"/approvals/{made[1]['id']}/reject", {"reason": "no"}),
            "an order that is withdrawn": lambda: engine.post(f"/orders/{made[2]['id']}/cancel", None),
            "paper orders that pass": lambda: person.put("/approval-config", {"auto_approve_paper": True}),
            "an order that the gate releases": send,
            "a halt": lambda: person.put("/mode", {"trading_mode": "disabled"}),
            "a token": lambda: served.server.add_token("another", "viewer"),
            "an act by the command": lambda: said(
                countersign(
                    on_database(served.server.database, tmp_path), "lockout", "add", "CLI", "--reason", "x"
                )
            ),
        }
        listeners = served.several()
        before = served.version()
        for what, act in acts.items():
            answer = act()
            since = time.monotonic()
            assert not isinstance(answer, Reply) or answer.status in (200, 201, 204), f"{what}: {answer}"
            version = served.version()
            assert version > before, what
            before = version
            for listener in listeners:
                listener.hears(version, since)

    def test_nothing_where_nothing_changed(self, served: Served) -> None:
        listener = served.listen()
        served.settle(listener)
        assert served.person.put("/approval-config", {"auto_approve_paper": False}).status == 200
        assert served.person.get("/state").status == 200
        assert served.engine.post("/orders", order(qty="-1")).status == 422
        assert listener.hear(0.7) is None

    @pytest.mark.alone
    def test_that_a_lockout_has_ended_though_nothing_was_written(self, served: Served) -> None:
        served.person.post("/lockouts", LOCKOUT)
        listener = served.listen()
        version = served.settle(listener)

        def sitting() -> float:
            """Whoever has not looked between the writing and the end cannot tell: nobody was to write so."""
            began = time.monotonic()
            served.server.sql(ENDS_SOON)
            heard = listener.hear(3)
            if heard is None:
                return math.inf
            assert (heard.kind, heard.data) == ("message", {"state_version": version})
            assert heard.at - began >= 0.7
            return heard.at - began - 0.7

        in_time(sitting)
        assert served.person.get("/state").json["lockouts"] == []
        assert listener.until_quiet() == []

    @pytest.mark.alone
    def test_that_an_order_has_expired_before_that_is_written_down_and_when(self, served: Served) -> None:
        listener = served.listen()

        def sitting() -> float:
            made = served.send()
            version = served.settle(listener)
            began = time.monotonic()
            set_deadline(served.server, made, 0.7)
            with transaction(served.server) as other:
                other.execute(KEPT, [made["id"]])  # so nobody writes it down
                heard = listener.hear(3)
                assert served.person.get("/state").json["approvals"] == []
            since = time.monotonic()
            until(lambda: served.version() == version + 1)
            if heard is None or heard.data == {"state_version": version + 1}:
                return math.inf  # it was over, or written down, before it could be kept
            assert (heard.kind, heard.data) == ("message", {"state_version": version})
            assert heard.at - began >= 0.7
            listener.hears(version + 1, since)
            return heard.at - began - 0.7

        in_time(sitting)

    @pytest.mark.alone
    def test_of_very_many_ends_at_most_ten_times_a_second(self, served: Served) -> None:
        listener = served.listen()
        version = served.settle(listener)

        def sitting() -> bool:
            served.server.sql(
                "INSERT INTO symbol_lockouts (ticker, reason, created_by, expires_at)"
                " SELECT 'T' || n, 'x', 'sql', now() + n * interval '2 ms' FROM generate_series(200, 500) n"
            )
            heard = listener.until_quiet(0.8)
            if not heard:
                return False
            assert served.person.get("/state").json["lockouts"] == []
            assert all(each.data == {"state_version": version} for each in heard)
            assert len(heard) <= 1 + 10 * (heard[-1].at - heard[0].at) + 2
            return len(heard) > 3

        in_one_of_three(sitting)

    def test_of_many_changes_at_most_ten_times_a_second_and_of_the_last(self, served: Served) -> None:
        listener = served.listen()
        served.settle(listener)
        began = time.monotonic()
        heard: list[Heard] = []

        def told_often() -> bool:
            for on in (False, True):
                assert served.person.put("/signal-layers", {"macro": on}).status == 200
            heard.extend(listener.by_now())
            return len(heard) > 8

        while not told_often():
            assert time.monotonic() < began + 30
        version = served.version()
        while heard[-1].data["state_version"] < version:
            following = listener.hear()
            assert following is not None, "it was not told of the last"
            heard.append(following)
        heard += listener.until_quiet()
        assert heard[-1].data == {"state_version": version}
        # One late write brings two together: the intervals are those of the server, not of whoever reads.
        assert len(heard) <= 10 * (heard[-1].at - began) + 2
        versions = [each.data["state_version"] for each in heard]
        assert versions == sorted(versions)

    def test_once_more_when_the_connection_for_news_was_lost_and_goes_on(self, served: Served) -> None:
        listeners = served.several()
        version = served.version()
        killed = served.server.sql(KILL)
        since = time.monotonic()
        assert killed
        for listener in listeners:
            listener.hears(version, since)  # something may have been missed
        for _ in range(2):
            assert served.person.post("/lockouts", LOCKOUT).status == 201
            since, version = time.monotonic(), served.version()
            for listener in listeners:
                listener.hears(version, since)

    def test_whoever_has_a_session(self, served: Served) -> None:
        listener = served.listen_as("vera")
        served.settle(listener)
        served.person.post("/lockouts", LOCKOUT)
        listener.hears(served.version(), time.monotonic())


class TestItEnds:
    def test_with_its_token_and_no_other_does(self, served: Served) -> None:
        others = [served.server.add_token("person", "operator"), served.server.add_token("vera", "viewer")]
        kept = [served.listen(token) for token in others]
        listeners = served.several()
        revoke(served, served.token)
        since = time.monotonic()
        for listener in listeners:
            listener.ends(since)
        served.person = Caller(served.server.url, others[0])
        for listener in kept:
            listener.hears(served.version(), since)
        served.settle(*kept)

    def test_when_the_person_signs_out(self, served: Served) -> None:
        password = served.server.add_user("vera", "viewer")
        with httpx.Client(base_url=served.server.url) as browser:
            assert sign_in(browser, "vera", password).status_code == 303
            cookie = {"Cookie": f"{SESSION_COOKIE}={browser.cookies[SESSION_COOKIE]}"}
            listeners = [served.listen_with(cookie) for _ in range(4)]
            [csrf] = set(re.findall(r'name="csrf[-_]token" content="([^"]+)"', browser.get("/trading").text))
            assert browser.post("/logout", data={"csrf_token": csrf}).status_code == 303
        since = time.monotonic()
        for listener in listeners:
            listener.ends(since)

    def test_though_nobody_said_so(self, served: Served) -> None:
        """By the clock, or by hand: it is asked once a second."""
        theirs = "WHERE account_id = (SELECT id FROM accounts WHERE name = %s)"
        of_tokens = {
            "revoked": f"UPDATE tokens SET revoked_at = now() {theirs}",
            "gone": f"DELETE FROM tokens {theirs}",
            "another": "UPDATE accounts SET role = 'engine' WHERE name = %s",
        }
        of_sessions = {
            "idle": f"UPDATE web_sessions SET seen_at = now() - interval '13 hours' {theirs}",
            "old": f"UPDATE web_sessions SET created_at = now() - interval '8 days' {theirs}",
            "removed": "WITH ended AS (DELETE FROM web_sessions) DELETE FROM accounts WHERE name = %s",
        }
        listeners = [served.listen(served.server.add_token(name, "viewer")) for name in of_tokens]
        listeners += [served.listen_as(name) for name in of_sessions]
        kept = served.listen()
        for name, ending in (of_tokens | of_sessions).items():
            served.server.sql(ending, name)
        since = time.monotonic()
        for listener in listeners:
            listener.ends(since, 1 + SOON)
        served.settle(kept)

    def test_when_the_server_is_told_to_begin_anew_or_to_stop(self, served: Served, tmp_path: Path) -> None:
        with serve(served.server.app, served.server.database, tmp_path) as another:
            for how in (signal.SIGHUP, signal.SIGTERM):
                listeners = [Listener(another, {"Authorization": f"Bearer {served.token}"}) for _ in range(20)]
                workers = psutil.Process(another.process.pid).children()
                since = time.monotonic()
                another.process.send_signal(how)
                for listener in listeners:
                    listener.ends(since)
                    listener.close()
                # Long before gunicorn loses its patience with them.
                _, left = psutil.wait_procs(workers, 10)
                assert left == []
            assert another.process.wait(10) == 0
            log = (tmp_path / "server.log").read_text()
            assert "graceful timeout" not in log
            assert "Traceback" not in log


class TestItIsRefused:
    def test_to_engines(self, engine: Api) -> None:
        assert_problem(engine.get("/stream"), 403, "forbidden")

    def test_without_a_credential(self, api: Callable[..., Api]) -> None:
        answer = api(None).get("/stream")
        assert_problem(answer, 401, "unauthenticated")
        assert answer.headers["WWW-Authenticate"].startswith("Bearer ")

    @pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
    def test_by_other_methods(self, operator: Api, method: str) -> None:
        answer = operator(method, "/stream")
        assert_problem(answer, 405, "method_not_allowed")
        assert {*answer.headers["Allow"].split(", ")} == {"GET", "HEAD"}

    def test_where_one_account_has_too_many(
        self, app: Flask, desk: Desk, api: Callable[..., Api], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(streams, "MOST_OF_ONE", 3)
        vera, victor = api("viewer"), api("viewer", owner=None)
        with ExitStack() as crowd:
            opened = [crowd.enter_context(vera.get("/stream")) for _ in range(3)]
            assert [answer.status_code for answer in opened] == [200] * 3
            refused = vera.get("/stream")
            assert_problem(refused, 503, "busy")
            assert int(refused.headers["Retry-After"]) > 0
            assert crowd.enter_context(victor.get("/stream")).status_code == 200
            opened[0].close()
            assert crowd.enter_context(vera.get("/stream")).status_code == 200
            assert vera.get("/stream").status_code == 503

    def test_where_the_worker_has_too_many(self, api: Callable[..., Api], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(streams, "MOST", 3)
        with ExitStack() as crowd:
            for number in range(3):
                answer = crowd.enter_context(api("viewer", owner=None, allow_live=bool(number % 2)).get("/stream"))
                assert answer.status_code == 200
            assert_problem(api("operator").get("/stream"), 503, "busy")
        with api("operator").get("/stream") as answer:
            assert answer.status_code == 200

    def test_where_nobody_has_looked_for_news_in_a_while(
        self, operator: Api, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A stream that is open means that news arrive."""
        turn, stuck, go_on = live.Watch.turn, threading.Event(), threading.Event()

        def stick(watch: live.Watch) -> None:
            stuck.set()
            assert go_on.wait(20)
            turn(watch)

        with operator.get("/stream") as before:
            assert before.status_code == 200
        monkeypatch.setattr(live, "STUCK_AFTER", 0.5)
        monkeypatch.setattr(live.Watch, "turn", stick)
        assert stuck.wait(20)
        refused = until(lambda: [answer for answer in [operator.get("/stream")] if answer.status_code != 200])[0]
        assert_problem(refused, 503, "busy")
        monkeypatch.setattr(live.Watch, "turn", turn)
        go_on.set()
        until(lambda: operator.get("/stream").status_code == 200)


class TestWhatItIs:
    def test_is_events_that_no_proxy_keeps_back(self, served: Served) -> None:
        listener = served.listen(**{"Accept-Encoding": "gzip"})
        headers = listener.response.headers
        assert headers["Content-Type"] == "text/event-stream"
        assert headers["Cache-Control"] == "no-store"
        assert headers["X-Accel-Buffering"] == "no"
        assert "Content-Encoding" not in headers

    def test_begins_with_when_to_come_back_and_the_version(self, operator: Api) -> None:
        with operator.get("/stream") as answer:
            version = operator.get("/state").json["state_version"]
            first = next(iter(answer.response))
        assert first == b'retry: 2000\n\ndata: {"state_version": %d}\n\n' % version

    def test_has_only_a_head_for_whoever_asks_for_that(self, served: Served) -> None:
        answer = served.person("HEAD", "/stream", seconds=5)
        assert (answer.status, answer.headers["content-type"], answer.text) == (200, "text/event-stream", "")

    def test_holds_no_connection_of_a_pool(self, app: Flask, operator: Api) -> None:
        with ExitStack() as crowd:
            for _ in range(20):
                crowd.enter_context(operator.get("/stream"))
            with app.app_context():
                pools = [each.pool for each in db.engines.values() if not isinstance(each.pool, NullPool)]
            assert [pool.checkedout() for pool in pools] == [0] * len(pools)  # type: ignore[attr-defined]

    def test_leaves_nothing_behind_when_whoever_listened_hangs_up(self, served: Served) -> None:
        port = httpx.URL(served.server.url).port
        workers = psutil.Process(served.server.process.pid).children()

        def connections() -> int:
            found = [each for worker in workers for each in worker.net_connections("tcp")]
            return len([each for each in found if each.laddr.port == port and each.status != "LISTEN"])

        listeners = [served.listen() for _ in range(30)]
        assert connections() >= 30
        until(lambda: served.server.sql(LOOKS) != [(0,)])
        for listener in listeners:
            listener.close()

        def gone() -> bool:
            served.person.post("/lockouts", LOCKOUT)  # whoever is told, and is not there
            return connections() < 5

        until(gone)
        # Nor does it count them any longer: where nobody listens, it does not look.
        until(lambda: served.server.sql(LOOKS) == [(0,)])


class Ear:
    """Somebody who listens to a hub of their own."""

    def __init__(self, hub: Hub) -> None:
        stream = hub.stream(Actor("somebody", Role.VIEWER, "tests"))
        assert stream is not None
        self._stream = stream
        self.heard: list[tuple[float, bytes]] = []
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        for event in self._stream:
            self.heard.append((time.monotonic(), event))
        self._stream.close()

    def beats(self) -> list[tuple[float, bytes]]:
        return [(at, event) for at, event in self.heard if event.startswith(b"event: beat\n")]

    def looks_up(self) -> None:
        """And goes on listening."""
        self._stream.wake()

    def ended(self, within: float) -> bool:
        self._thread.join(within)
        return not self._thread.is_alive()


@pytest.fixture
def hubs(desk: Desk) -> Iterator[Callable[..., Hub]]:
    made: list[Hub] = []

    def make(**changes: Any) -> Hub:
        made.append(Hub(desk.database.set(**changes)))
        return made[-1]

    yield make
    for hub in made:
        hub.stop()


class TestABeat:
    def test_comes_every_so_often_with_the_same_data(
        self, hubs: Callable[..., Hub], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(streams, "BEAT_EVERY", 0.3)
        began = time.monotonic()
        ear = Ear(hubs())
        beats = until(lambda: found if len(found := ear.beats()) > 2 else None)
        assert {event for _, event in beats} == {b'event: beat\ndata: {"state_version": 0}\n\n'}
        assert all(number * 0.3 <= at - began < number * 0.3 + SOON for number, (at, _) in enumerate(beats, 1))
        assert streams.BEAT_EVERY < 25 / 2, "so long a page waits until it says that it hears nothing"

    def test_is_never_made_up(self, hubs: Callable[..., Hub], monkeypatch: pytest.MonkeyPatch) -> None:
        """Where the hub waits for a database that says nothing, whoever listens is to know."""
        monkeypatch.setattr(streams, "BEAT_EVERY", 0.2)
        is_stuck, go_on = threading.Event(), threading.Event()

        def stuck(connection: Any) -> None:
            is_stuck.set()
            go_on.wait(30)

        ear = Ear(hubs())
        until(ear.beats)
        monkeypatch.setattr(live.changes, "look", stuck)
        try:
            assert is_stuck.wait(10)
            monkeypatch.setattr(streams, "SILENCE", 0.5)
            ear.looks_up()
            assert ear.ended(within=SOON)
        finally:
            go_on.set()


def test_where_orders_come_faster_than_anybody_can_follow_it_tells_of_them_less_often_and_of_the_last(
    desk: Desk, hubs: Callable[..., Hub]
) -> None:
    """Telling five hundred pages ten times a second takes a processor that the orders want."""
    ear = Ear(hubs())
    until(lambda: ear.heard)
    began = time.monotonic()
    while time.monotonic() < began + 1.5:
        desk.sql(
            "INSERT INTO audit_events (actor, action, subject, after, request_id)"
            """ SELECT 'x', 'order.submit', 'x', '{"status": "released"}', 'x' FROM generate_series(1, 20)"""
        )
        time.sleep(0.01)
    [(version,)] = desk.sql("SELECT max(id) FROM audit_events")
    until(lambda: ear.heard[-1][1] == b'data: {"state_version": %d}\n\n' % version, SOON)
    assert len(ear.heard) < 3 + (ear.heard[-1][0] - began) / 0.45


def test_it_ends_where_the_database_is_away(hubs: Callable[..., Hub]) -> None:
    """Pages are to say at once that they hear nothing."""
    hub = hubs(database="there_is_none_of_this_name")
    assert Ear(hub).ended(within=SOON)
    assert Ear(hub).ended(within=SOON)
