"""What a monitor reads at /metrics: right across workers, after a kill, and without a database."""

from __future__ import annotations

import json
import re
import signal
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
from flask import Flask
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy.engine import URL

from app.db import migrate
from app.lib import metrics
from app.services.orders import transitions
from app.services.reporting import metrics as figures
from app.services.reporting.metrics import NOTHING, Tally
from app.settings import PROJECT
from tests.at_once import API, Caller, in_time, results_of, timed, until
from tests.conftest import Api
from tests.database import connect, new_database
from tests.serving import TESTER, Desk, Server, application, serve

TOKEN = "a token for the monitor"
ORDER = {"ticker": "AAPL", "side": "buy", "qty": "10", "type": "market"}
HOLD = {"auto_approve_paper": False}

Samples = dict[str, float]


def samples(text: str) -> Samples:
    """Each series as `name{label="value"}`, without `countersign_`."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f'{name}="{value}"' for name, value in sorted(sample.labels.items()))
            found[sample.name.removeprefix("countersign_") + (f"{{{labels}}}" if labels else "")] = sample.value
    return found


@pytest.fixture(scope="module")
def shared(postgres_server: URL, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    instance = tmp_path_factory.mktemp("metrics")
    with new_database(postgres_server) as url, application(url, instance) as app:
        with app.app_context():
            migrate.upgrade(url)
        with serve(app, url, instance, settings={"METRICS_TOKEN": TOKEN}) as server:
            yield server


@pytest.fixture
def server(shared: Server) -> Server:
    """Two workers, on an empty desk that was looked at since it was emptied."""
    shared.reset()
    for _ in range(2):
        scrape(shared)
    return shared


def scrape(server: Server) -> Samples:
    answer = Caller(server.url, TOKEN)("GET", "//metrics")
    assert answer.status == 200, answer.text
    return samples(answer.text)


def workers(server: Server) -> list[psutil.Process]:
    children = psutil.Process(server.process.pid).children()
    return [child for child in children if child.status() != psutil.STATUS_ZOMBIE]


def risen(before: Samples, after: Samples, name: str) -> Samples:
    """What counters of that name have risen by, where they have."""
    return {
        key: after[key] - before.get(key, 0)
        for key in after
        if key.startswith(name) and after[key] != before.get(key, 0)
    }


# Across workers


def test_every_decision_counts_once_whoever_made_it(server: Server) -> None:
    engine = Caller(server.url, server.add_token("engine", "engine"))
    alice = Caller(server.url, server.add_token("alice", "operator"))
    before = scrape(server)

    def send(number: int, **more: Any) -> dict[str, Any]:
        made: dict[str, Any] = engine.post("/orders", ORDER | {"client_order_id": f"n{number}"} | more).json
        return made

    results_of(*[lambda n=n: send(n) for n in range(20)])  # type: ignore[misc]
    for number in range(3):
        assert send(number)["status"] == "released", "again: no decision"
    locked = {"ticker": "TSLA", "reason": "r", "duration_minutes": 5}
    assert alice.post("/lockouts", locked).status == 201
    assert alice.put("/config", {}).status in (403, 422)
    assert send(100, ticker="TSLA")["status"] == "blocked"
    assert alice.put("/approval-config", HOLD).status == 200
    held = [send(number)["id"] for number in range(200, 206)]
    assert alice.post(f"/approvals/{held[0]}/approve", {}).status == 200
    assert alice.post(f"/approvals/{held[1]}/reject", {"reason": "no"}).status == 200
    assert engine.post(f"/orders/{held[2]}/cancel", None).status == 200
    standing = scrape(server)
    assert standing["waiting_orders"] == 3
    assert standing["active_lockouts"] == 1
    assert standing["oldest_waiting_order_age_seconds"] > 0
    assert 0 < standing["next_expiry_seconds"] <= 1800
    # By whoever comes first: the keeper, or what `countersign expire` does.
    server.sql("UPDATE orders SET expires_at = clock_timestamp() WHERE id = %s", held[3])
    with server.app.app_context():
        transitions.expire_due(TESTER)
    until(lambda: server.sql("SELECT status FROM orders WHERE id = %s", held[3]) == [("expired",)])
    assert alice.put("/mode", {"trading_mode": "disabled"}).status == 200
    assert send(300, ticker="TSLA")["status"] == "blocked"

    for _ in range(4):  # both workers, and the same however often
        after = scrape(server)
        assert risen(before, after, "decisions_total") == {
            'decisions_total{outcome="released",reason=""}': 20,
            'decisions_total{outcome="blocked",reason="symbol_locked_out"}': 1,
            'decisions_total{outcome="blocked",reason="trading_disabled"}': 1,
            'decisions_total{outcome="pending_approval",reason=""}': 6,
            'decisions_total{outcome="approved",reason=""}': 1,
            'decisions_total{outcome="rejected",reason=""}': 1,
            'decisions_total{outcome="canceled",reason=""}': 1,
            'decisions_total{outcome="expired",reason=""}': 1,
            'decisions_total{outcome="canceled",reason="mode_changed"}': 2,
        }
        assert risen(before, after, "block_reasons_total") == {
            'block_reasons_total{reason="symbol_locked_out"}': 2,
            'block_reasons_total{reason="trading_disabled"}': 1,
        }
        assert risen(before, after, "mode_changes_total") == {'mode_changes_total{to="disabled"}': 1}
        waited = risen(before, after, "time_to_decision_seconds_count")
        assert sorted(waited.values()) == [1, 1, 1, 3]
        assert risen(before, after, "gate_seconds_count") == {"gate_seconds_count": 31}
        assert risen(before, after, "http_answers_total")['http_answers_total{status="201"}'] == 29
        assert (after['trading_mode{mode="disabled"}'], after['trading_mode{mode="paper"}']) == (1, 0)
        assert (after["waiting_orders"], after["database_up"], after["config_valid"]) == (0, 1, 1)
        assert "next_expiry_seconds" not in after


def test_what_a_killed_worker_counted_stays_and_whom_it_served_is_gone(server: Server) -> None:
    engine = Caller(server.url, server.add_token("engine", "engine"))
    viewer = server.add_token("viewer", "viewer")
    before = scrape(server)
    for number in range(12):
        assert engine.post("/orders", ORDER | {"client_order_id": f"{number}"}).status == 201
    with ExitStack() as streams:
        for _ in range(6):
            streams.enter_context(stream(server, viewer))
        until(lambda: scrape(server)["stream_clients"] == 6)
        killed = workers(server)
        for worker in killed:
            worker.kill()
        until(lambda: len(set(workers(server)) - set(killed)) == 2)
        until(lambda: answers(server) and scrape(server)["workers"] == 2)
        until(lambda: scrape(server)["stream_clients"] == 0)
    until(lambda: scrape(server)["keepers"] == 1)
    for number in range(3):
        assert engine.post("/orders", ORDER | {"client_order_id": f"later-{number}"}).status == 201
    after = scrape(server)
    assert risen(before, after, "gate_seconds_count") == {"gate_seconds_count": 15}
    assert risen(before, after, "decisions_total") == {'decisions_total{outcome="released",reason=""}': 15}


class stream:  # noqa: N801 - reads like the function that it is
    """An open stream of pages."""

    def __init__(self, server: Server, token: str) -> None:
        place = urlsplit(server.url)
        self.connection = HTTPConnection(place.hostname or "", place.port, timeout=30)
        self.token = token

    def __enter__(self) -> HTTPResponse:
        self.connection.request("GET", f"{API}/stream", headers={"Authorization": f"Bearer {self.token}"})
        answer = self.connection.getresponse()
        assert answer.status == 200
        assert re.fullmatch("[0-9a-f]{16}", answer.headers["X-Request-ID"])
        return answer

    def __exit__(self, *_: object) -> None:
        self.connection.close()


def answers(server: Server) -> bool:
    with suppress(OSError):
        return Caller(server.url)("GET", "//readyz").status == 200
    return False


def test_an_engine_that_waits_for_a_decision_is_counted_for_as_long(server: Server) -> None:
    engine = Caller(server.url, server.add_token("engine", "engine"))
    alice = Caller(server.url, server.add_token("alice", "operator"))
    alice.put("/approval-config", HOLD)
    made = engine.post("/orders", ORDER | {"client_order_id": "1"}).json["id"]

    def decide() -> None:
        until(lambda: scrape(server)["waiting_requests"] == 1)
        assert alice.post(f"/approvals/{made}/approve", {}).status == 200

    waited, _ = results_of(lambda: engine.get(f"/orders/{made}?wait=30"), decide)
    assert waited.json["status"] == "released"
    until(lambda: scrape(server)["waiting_requests"] == 0)


# Who may


def test_with_a_token_set_only_who_shows_it_is_told(server: Server) -> None:
    admin = server.add_token("root", "admin", allow_live=True)
    for token in (None, "", "wrong", TOKEN + "x", TOKEN[:-1], admin):
        refused = Caller(server.url, token)("GET", "//metrics")
        assert (refused.status, refused.json["code"]) == (401, "unauthenticated")
        assert refused.headers["www-authenticate"].startswith("Bearer")
        assert "countersign_" not in refused.text
    assert scrape(server)["database_up"] == 1


@pytest.mark.parametrize(
    ("address", "headers", "status"),
    [
        ("127.0.0.1", {}, 200),
        ("::1", {}, 200),
        ("192.0.2.7", {}, 403),
        ("", {}, 403),
        ("127.0.0.1", {"X-Forwarded-For": "192.0.2.7"}, 403),
        ("127.0.0.1", {"X-Forwarded-For": "127.0.0.1"}, 403),
        ("127.0.0.1", {"Forwarded": "for=192.0.2.7"}, 403),
        ("192.0.2.7", {"X-Forwarded-For": "127.0.0.1"}, 403),
    ],
)
@pytest.mark.parametrize("proxies", ["0", "1"])
def test_with_none_set_only_this_machine_itself_is_told_and_no_proxy(
    database: URL, tmp_path: Path, address: str, headers: dict[str, str], status: int, proxies: str
) -> None:
    with application(database, tmp_path, TRUSTED_PROXIES=proxies) as app:
        environ = {"REMOTE_ADDR": address}
        answer = app.test_client().get("/metrics", headers=headers, environ_overrides=environ)
        assert answer.status_code == status
        assert (answer.mimetype == "text/plain") is (status == 200)


# Without a database


@pytest.fixture(params=["that is gone", "that hangs"])
def without_database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Flask]:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        if request.param == "that hangs":
            nobody.listen(50)
        gone = URL.create("postgresql+psycopg", "u", "hunter2-and-more", "127.0.0.1", nobody.getsockname()[1], "x")
        with application(gone, tmp_path) as app:
            yield app


def test_without_its_database_it_says_so_and_what_it_has(without_database: Flask) -> None:
    answer = without_database.test_client().get("/metrics")
    assert answer.status_code == 200
    found = samples(answer.text)
    assert found["database_up"] == 0
    assert "gate_seconds_count" in found
    assert 'decisions_total{outcome="released",reason=""}' in found
    assert "waiting_orders" not in found, "nobody knows"


def test_a_database_that_is_stuck_keeps_nobody(server: Server) -> None:
    with connect(server.database) as other:
        other.execute("BEGIN; LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")

        def sitting() -> float:
            took, found = timed(lambda: scrape(server))
            assert found["database_up"] == 0
            return took

        in_time(sitting, 9)  # Prometheus waits ten
        other.execute("ROLLBACK")
    assert scrape(server)["database_up"] == 1


def test_a_reload_counts_on_and_a_start_takes_away_what_a_killed_server_left(
    postgres_server: URL, tmp_path: Path
) -> None:
    folders = tmp_path / "tmp"
    folders.mkdir()
    with new_database(postgres_server) as url, application(url, tmp_path) as app:
        with app.app_context():
            migrate.upgrade(url)
        settings = {"METRICS_TOKEN": TOKEN, "TMPDIR": str(folders)}
        with serve(app, url, tmp_path, workers=1, settings=settings) as server:
            engine = Caller(server.url, server.add_token("engine", "engine"))
            assert engine.post("/orders", ORDER | {"client_order_id": "1"}).status == 201
            [before] = workers(server)
            server.process.send_signal(signal.SIGHUP)
            until(lambda: [worker.pid for worker in workers(server)] not in ([], [before.pid]))
            until(lambda: answers(server) and scrape(server)["workers"] == 1)
            assert scrape(server)["gate_seconds_count"] == 1
            [left] = folders.glob("countersign-metrics-*")
            children = psutil.Process(server.process.pid).children(recursive=True)
            for process in [psutil.Process(server.process.pid), *children]:
                process.kill()
            server.process.wait()
        assert left.is_dir()
        with serve(app, url, tmp_path, workers=1, settings=settings) as server:
            [new] = folders.glob("countersign-metrics-*")
            assert new != left
            assert scrape(server)["gate_seconds_count"] == 0
        assert list(folders.iterdir()) == [], "stopped, it leaves nothing"


# Counting from the record


def test_a_receiver_that_takes_nothing_is_seen_and_nothing_of_its_address(server: Server) -> None:
    server.sql("INSERT INTO notice_receivers (key, name, kinds) VALUES ('hush', '1 json', '{lockout}')")
    server.sql("UPDATE notice_receivers SET try_at = now() + interval '1 h', last_error = 'it hung up'")
    standing = scrape(server)
    assert (standing["undelivered_notices"], standing["oldest_undelivered_notice_age_seconds"]) == (0, 0)
    alice = Caller(server.url, server.add_token("alice", "operator"))
    for ticker in ("AAPL", "TSLA"):
        lockout = {"ticker": ticker, "reason": "r", "duration_minutes": 5}
        assert alice.post("/lockouts", lockout).status == 201
    server.sql("UPDATE notices SET created_at = now() - interval '1 h' WHERE id = (SELECT min(id) FROM notices)")
    text = Caller(server.url, TOKEN)("GET", "//metrics").text
    standing = samples(text)
    assert standing["undelivered_notices"] == 2
    assert standing["oldest_undelivered_notice_age_seconds"] >= 3600
    assert not any(word in text for word in ("hush", "json", "hung up"))
    server.sql("UPDATE notices SET settled_at = now(), outcome = 'told' WHERE id = (SELECT min(id) FROM notices)")
    standing = scrape(server)
    assert standing["undelivered_notices"] == 1
    assert 0 <= standing["oldest_undelivered_notice_age_seconds"] < 3600


@pytest.fixture
def asked(desk: Desk, app: Flask) -> Iterator[Callable[[Tally], Tally]]:
    with app.app_context(), figures.asking() as connection:

        def count(tally: Tally) -> Tally:
            more = True
            while more:
                tally, more = figures.count(connection, tally)
            return tally

        yield count


SUBMITTED = """
    INSERT INTO audit_events (actor, action, subject, after, request_id)
    SELECT 'e', 'order.submit', 'x', '{"status": "released", "reasons": []}', 'r' FROM generate_series(1, %s)
"""


def released(tally: Tally) -> int:
    return figures.of_kind(tally, "decisions").get(("released", ""), 0)


def test_what_becomes_visible_late_is_counted_and_once(desk: Desk, asked: Callable[[Tally], Tally]) -> None:
    desk.sql(SUBMITTED, 3)
    tally = asked(NOTHING)
    assert released(tally) == 0, "from here on"
    with connect(desk.database) as slow, connect(desk.database) as given_up:
        slow.execute("BEGIN")
        slow.execute(SUBMITTED, [2])
        given_up.execute("BEGIN")
        given_up.execute(SUBMITTED, [4])
        desk.sql(SUBMITTED, 1)
        tally = asked(tally)
        assert released(tally) == 1
        given_up.execute("ROLLBACK")
        slow.execute("COMMIT")
    tally = asked(tally)
    assert released(tally) == 3
    assert len(tally.missing) == 4, "that may still come"
    assert released(asked(tally)) == 3
    old = Tally(tally.last, dict.fromkeys(tally.missing, 0.0), tally.counts, tally.waited)
    assert asked(old).missing == {}, "and will not, after so long"


def test_very_many_are_counted_in_batches_and_a_shorter_record_from_where_it_is(
    desk: Desk, asked: Callable[[Tally], Tally]
) -> None:
    tally = asked(NOTHING)
    desk.sql(SUBMITTED, 2 * figures.BATCH + 7)
    tally = asked(tally)
    assert (released(tally), tally.missing) == (2 * figures.BATCH + 7, {})
    desk.reset()
    desk.sql(SUBMITTED, 5)
    tally = asked(tally)
    assert released(tally) == 2 * figures.BATCH + 7, "another record was put in its place"
    desk.sql(SUBMITTED, 2)
    assert released(asked(tally)) == 2 * figures.BATCH + 9


def test_of_two_who_count_at_once_one_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in (None, str(tmp_path)):
        monkeypatch.setattr(metrics, "FOLDER", folder)
        one = metrics.Shared("x")
        other = metrics.Shared("x") if folder else one
        assert one.read() == other.read() == (0, None)
        assert one.replace(0, {"n": 1})
        assert not other.replace(0, {"n": 2})
        assert one.read() == other.read() == (1, {"n": 1})
        assert other.replace(1, {"n": 2})
        assert one.read() == (2, {"n": 2})


def test_how_things_stand_is_found_by_indexes_however_many_orders_there_have_been(desk: Desk, api: Any) -> None:
    engine: Api = api("engine")
    assert engine.post("/orders", ORDER | {"client_order_id": "1"}).status_code == 201
    columns = "account_id, engine, ticker, side, qty, type, time_in_force, trading_mode, status"
    desk.sql(
        f"INSERT INTO orders (client_order_id, decided_at, decided_by, {columns})"
        f" SELECT 'n' || n, now(), 'x', {columns} FROM orders, generate_series(1, 20000) n"
    )
    desk.sql(
        "INSERT INTO notices (receiver, kind, subject, settled_at, outcome)"
        " SELECT 'a', 'lockout', 'x', now(), 'told' FROM generate_series(1, 20000)"
    )
    desk.sql("ANALYZE orders, notices")
    plan = "\n".join(line for (line,) in desk.sql(f"EXPLAIN {figures.LOOK}"))
    assert "Seq Scan on orders" not in plan, plan
    assert "ix_notices_undelivered on notices" in plan, plan
    assert len(re.findall(r"Index \w*.*Scan \w* ?\w* ix_orders_", plan)) >= 3, plan


# What is made of them


def names_in(expression: str) -> set[str]:
    return set(re.findall(r"\bcountersign_\w+", expression))


def expressions() -> dict[str, str]:
    dashboard = json.loads((PROJECT / "deploy/grafana/countersign.json").read_text())
    found = {
        f"panel {panel['title']}: {target['refId']}": target["expr"]
        for panel in dashboard["panels"]
        for target in panel.get("targets", ())
    }
    alerts = (PROJECT / "deploy/prometheus/alerts.yml").read_text()
    for alert, expression in re.findall(r"- alert: (\w+)\n\s+expr: (.+)", alerts):
        found[f"alert {alert}"] = expression
    assert len([name for name in found if name.startswith("alert")]) == alerts.count("- alert:")
    return found


WORDS = {
    *("sum", "max", "min", "rate", "increase", "histogram_quantile", "by", "le", "and"),
    *("outcome", "reason", "status", "mode", "kind", "venue", "to", "up", "job", "instance"),
}


def test_the_dashboard_and_the_alerts_ask_for_nothing_that_is_not_there(server: Server) -> None:
    text = Caller(server.url, TOKEN)("GET", "//metrics").text
    there = {
        sample.name for family in text_string_to_metric_families(text) for sample in family.samples
    } | {  # where nothing waits, and where no venue is connected, these have no series yet
        "countersign_next_expiry_seconds",
        "countersign_venue_errors_total",
        "countersign_venue_reports_total",
    }
    for place, expression in expressions().items():
        assert names_in(expression) <= there, place
        assert names_in(expression) or "up{" in expression, place
    documented = names_in((PROJECT / "docs/OPERATING.md").read_text())
    families = {re.sub("_(bucket|count|sum)$", "", name) for name in there}
    assert documented == {name.removesuffix("_created") for name in families}


def test_their_expressions_are_whole() -> None:
    for place, expression in expressions().items():
        bare = re.sub(r'"[^"]*"', "", expression)
        for opening, closing in ("()", "[]", "{}"):
            assert bare.count(opening) == bare.count(closing), place
        words = set(re.findall(r"\b[a-z_]+\b", re.sub(r"\[[^\]]*\]|\bcountersign_\w+", "", bare)))
        assert words <= WORDS, (place, words - WORDS)
        for counter in re.findall(r"(\w+)\(countersign_\w+_total", bare):
            assert counter in ("rate", "increase"), place


def test_no_panel_lies_on_another_and_each_has_a_unit_and_a_word_of_what_it_is() -> None:
    dashboard = json.loads((PROJECT / "deploy/grafana/countersign.json").read_text())
    taken: Counter[tuple[int, int]] = Counter()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        taken.update(
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        )
        if panel["type"] != "row":
            assert panel["description"]
            assert panel["fieldConfig"]["defaults"]["unit"]
    assert set(taken.values()) == {1}
    assert dashboard["uid"] == "countersign"
