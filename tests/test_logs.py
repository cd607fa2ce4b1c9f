"""The log: one line for each thing, with a request id and without a secret, whatever strangers send."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pyotp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.engine import URL

from app.db import migrate
from app.lib import logs
from tests.at_once import API, Caller, until
from tests.commands import bare, countersign, on_database, refused
from tests.database import new_database
from tests.serving import SECRET_KEY, SESSION_COOKIE, Server, application, serve
from tests.test_serve import sign_in

ORDER = {"client_order_id": "log-1", "ticker": "AAPL", "side": "buy", "qty": "10", "type": "market"}
MONITOR = "a token for the monitor"
BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
HEX = "0123456789abcdef"

# One of hexadecimal digits alone would pass for a digest, and no chance gives 43 of them.
token_secrets = st.text(BASE64, min_size=42, max_size=42).map(lambda text: f"Z{text}")
passwords = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="'\"\\&,;}"), min_size=8)
around = st.sampled_from(["", " ", "x ", "(", '"', ": ", "=", "/", "\n", "?a=", "\u00e9 "])


# What is hidden


@settings(max_examples=300)
@given(
    st.text(HEX, min_size=16, max_size=16), token_secrets, around, st.sampled_from(["", " ", '"', "\n", ")", "&"])
)
def test_no_token_is_ever_written_whatever_it_stands_in(
    token_id: str, secret: str, before: str, after: str
) -> None:
    for shown in (
        f"{token_id}.{secret}",
        secret,
        f"{token_id}.{secret[:-1]}",
        f"{secret}x",
        f"{token_id}.{secret}x",
    ):
        assert secret[:-1] not in logs.hidden(before + shown + after)
    assert token_id in logs.hidden(f"{before}{token_id}.{secret}"), "the id may be known, and helps"


@settings(max_examples=200)
@given(passwords, st.sampled_from(["postgresql", "postgresql+psycopg", "https", "POSTGRES"]))
def test_no_password_of_a_url_is_ever_written(password: str, scheme: str) -> None:
    password = password.replace(":", "_").replace("/", "_")
    hidden = logs.hidden(f"cannot reach {scheme}://user:{password}@db.example/desk at all")
    assert f":{password}@" not in hidden
    assert hidden.startswith(f"cannot reach {scheme}://user:[hidden]@")


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer hunter2-and-more",
        "authorization=Basic hunter2-and-more",
        "Bearer hunter2-and-more",
        "APCA-API-SECRET-KEY: hunter2-and-more",
        "'APCA-API-KEY-ID': 'hunter2-and-more'",
        'password="hunter2-and-more"',
        "password = hunter2-and-more host=db",
        '{"password": "hunter2-and-more"}',
        '{\\"token\\":\\"hunter2-and-more\\"}',
        "/login?password=hunter2-and-more&x=1",
        "csrf_token=hunter2-and-more",
        "Cookie: hunter2-and-more",
        "SECRET_KEY=hunter2-and-more",
        "ALPACA_LIVE_SECRET_KEY=hunter2-and-more",
    ],
)
def test_what_is_called_a_secret_is_hidden(text: str) -> None:
    assert "hunter2" not in logs.hidden(text)
    assert "[hidden]" in logs.hidden(text)


@pytest.mark.parametrize(
    "text",
    [
        "Listening at: http://127.0.0.1:8000 (4711)",
        "the record is sealed up to 12:" + "0123456789abcdef" * 4,
        "order 7d0f3a52-7a5e-4b0e-9f43-1c2d3e4f5a6b was not sent: no connection",
        f"{API}/approvals/7d0f3a52-7a5e-4b0e-9f43-1c2d3e4f5a6b/approve",
        "/static/v-0123456789ab/js/trading.js",
        "the password was changed, and the token too",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    ],
)
def test_what_is_none_is_left_as_it_is(text: str) -> None:
    assert logs.hidden(text) == text


# Both forms, in a process of their own


SAYING = """
import logging, sys, threading, warnings
from app.lib import logs

logs.hide(["correct horse battery"])
logs.configure(form=sys.argv[1], level="info")
logs.take_over()
log = logging.getLogger("some.where")
log.debug("too little to say")
with logs.round_of("round"):
    log.info("said %s", "something")
log.warning("a name\\n2026-01-01T00:00:00Z [info] forged \\x1b[2J\\u2028\\u202e\\x00 end")
log.error("it says correct horse battery, and Authorization: Bearer abc.def")
def inner():
    local_value = "a local " + "value"
    raise ValueError("bad\\n2026-01-01T00:00:00Z [info] forged too postgresql://u:hunter2@db/x")
try:
    inner()
except ValueError:
    log.exception("it went wrong")
log.info("with more", extra={"password": "hunter2"})
warnings.warn("careful")
thread = threading.Thread(target=inner, name="aside")
thread.start()
thread.join()
logs.request_id.set("some.ID_1")
rest = {"method": "GET", "ms": 1.5}
logs.request("info", path="/a\\nforged", actor="eve\\nforged", address="192.0.2.1", status=200, **rest)
logs.request("error", path="/a", actor=None, address=None, status=500, **rest)
"""


def says(form: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", SAYING, form], env=bare(), capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == ""
    return done.stderr


def test_json_is_one_object_to_a_line_with_all_that_a_line_has() -> None:
    said = says("json")
    lines = [json.loads(line) for line in said.splitlines()]
    assert len(lines) == 9
    for line in lines:
        assert {"event", "level", "logger", "time", "request_id", "pid"} <= set(line)
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", line["time"])
    [said_something] = [line for line in lines if line["event"] == "said something"]
    assert (said_something["level"], said_something["logger"]) == ("info", "some.where")
    assert re.fullmatch("round-[0-9a-f]{12}", said_something["request_id"])
    [wrong] = [line for line in lines if line["event"] == "it went wrong"]
    assert "ValueError: bad" in wrong["exception"]
    assert "in inner" in wrong["exception"]
    assert any("the thread aside ended" in line["event"] and "exception" in line for line in lines)
    assert any(line["logger"] == "py.warnings" and "careful" in line["event"] for line in lines)
    request, failed = lines[-2:]
    assert (request["event"], request["request_id"], request["status"]) == ("request", "some.ID_1", 200)
    assert (request["path"], request["actor"]) == ("/a\nforged", "eve\nforged")
    assert (failed["level"], failed["status"], failed["actor"]) == ("error", 500, None)
    for secret in ("hunter2", "correct horse battery", "abc.def", "a local value"):
        assert secret not in said


def test_for_people_nothing_makes_a_second_line_but_a_traceback_behind_bars() -> None:
    said = says("console")
    lines = said.split("\n")
    own = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z \[\w+ *\] ")
    assert len([line for line in lines if own.match(line)]) == 9
    for line in lines[:-1]:
        assert own.match(line) or line.startswith("    | "), line
        assert line.isprintable(), "no control character gets to a terminal"
    assert r"a name\n2026-01-01" in said
    assert "    | ValueError: bad" in said
    for secret in ("hunter2", "correct horse battery", "abc.def", "a local value"):
        assert secret not in said


# The server


@pytest.fixture(scope="module")
def shared(postgres_server: URL, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Path]]:
    instance = tmp_path_factory.mktemp("logged")
    with new_database(postgres_server) as url, application(url, instance) as app:
        with app.app_context():
            migrate.upgrade(url)
        with serve(app, url, instance, settings={"METRICS_TOKEN": MONITOR}) as server:
            yield server, instance / "server.log"


@pytest.fixture
def server(shared: tuple[Server, Path]) -> Server:
    shared[0].reset()
    return shared[0]


@pytest.fixture
def log(shared: tuple[Server, Path]) -> Log:
    return Log(shared[1])


class Log:
    """What the server has written since."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._from = len(path.read_text())

    @property
    def text(self) -> str:
        return self.path.read_text()[self._from :]

    def lines(self) -> list[dict[str, Any]]:
        """Every line is one; the last may be on its way."""
        whole, _, _ = self.text.rpartition("\n")
        return [json.loads(line) for line in whole.splitlines()]

    def of(self, request_id: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = until(
            lambda: [line for line in self.lines() if line["request_id"] == request_id], 10, request_id
        )
        return found


def test_a_request_has_one_line_and_its_id_is_in_the_answer_and_on_the_record(server: Server, log: Log) -> None:
    engine = Caller(server.url, server.add_token("engine", "engine"), {"X-Request-ID": "mine_1.2-3"})
    assert engine.get("/orders?client_order_id=hunter2").status == 200
    assert engine.get("/orders?password=hunter2").status == 422
    log.of("mine_1.2-3")
    log = Log(log.path)
    made = engine.post("/orders", ORDER)
    assert (made.status, made.headers["x-request-id"]) == (201, "mine_1.2-3")
    assert server.sql("SELECT request_id FROM audit_events WHERE action = 'order.submit'") == [("mine_1.2-3",)]
    [line] = log.of("mine_1.2-3")
    assert {name: line[name] for name in ("event", "method", "path", "status", "actor", "address", "level")} == {
        "event": "request",
        "method": "POST",
        "path": f"{API}/orders",
        "status": 201,
        "actor": "engine",
        "address": "127.0.0.1",
        "level": "info",
    }
    assert 0 < line["ms"] < 60_000
    assert "hunter2" not in log.text


def test_a_request_that_gunicorn_refuses_has_the_id_of_its_answer(server: Server, log: Log) -> None:
    refused = Caller(server.url)("GET", f"/mode?x={'x' * 9000}")
    assert refused.status == 414
    [line] = log.of(refused.headers["x-request-id"])
    assert line["level"] == "warning"
    assert "Invalid request" in line["event"]


def test_files_and_probes_are_not_worth_a_line_while_all_is_well(server: Server, log: Log) -> None:
    stranger = Caller(server.url)
    for path in ("//healthz", "//readyz", "//static/favicon.svg"):
        assert stranger("GET", path).status == 200
    assert Caller(server.url, MONITOR)("GET", "//metrics").status == 200
    lost = stranger("GET", "//static/nothing.js")
    assert log.of(lost.headers["x-request-id"])[0]["status"] == 404
    assert [line["path"] for line in log.lines() if line["event"] == "request"] == ["/static/nothing.js"]


def test_no_secret_is_in_the_log_whatever_was_shown_and_where(server: Server, log: Log) -> None:
    token, password = server.add_token("engine", "engine"), server.add_user("alice", "admin")
    token_id, secret = token.split(".")
    wrong, broken = "not the password at all", f"{token_id}.{secret[:-1]}"
    with httpx.Client(base_url=server.url) as client:
        assert sign_in(client, "alice", wrong).status_code == 401
        assert sign_in(client, password, "alice").status_code == 401, "in the wrong field"
        csrf = re.findall('name="csrf[-_]token" (?:content|value)="([^"]+)"', client.get("/login").text)[0]
        assert sign_in(client, "alice", password).status_code == 303
        cookie = client.cookies[SESSION_COOKIE]
        client.get(f"/nothing/{cookie}")
    for shown in (token, broken, f"{token}x", secret):
        caller = Caller(server.url, shown)
        caller.post("/orders", ORDER)
        caller("GET", f"//{shown}?token={shown}")
        caller("GET", f"{API}/state?access_token={shown}".removeprefix(API))
        caller("GET", "/state", X_Request_ID=shown)
        caller("GET", "/state", APCA_API_KEY_ID=token_id, APCA_API_SECRET_KEY=shown)
    Caller(server.url, None, {"APCA-API-KEY-ID": token_id, "APCA-API-SECRET-KEY": secret})("GET", "//v2/orders")
    Caller(server.url, MONITOR)("GET", f"//{MONITOR.replace(' ', '%20')}")
    for line in (f"Authorization Bearer {token}", f"Authorization : Bearer {token}", f"{token}", f"X: {token}\r "):
        speak(server, f"GET /{token} HTTP/1.1\r\nHost: x\r\n{line}\r\n\r\n")
    speak(server, f"{token} / HTTP/1.1\r\n\r\n")
    last = Caller(server.url)("GET", "//nothing")
    log.of(last.headers["x-request-id"])
    text = log.text
    database_password = server.database.password
    for hidden in (secret, secret[:-1], password, wrong, cookie, csrf, MONITOR, SECRET_KEY, database_password):
        assert not hidden or hidden not in text, text
    assert len(log.lines()) > 20
    assert "[hidden]" in text


def test_the_secret_of_an_authenticator_is_in_no_log(server: Server, log: Log) -> None:
    password = server.add_user("alice", "admin")
    with httpx.Client(base_url=server.url) as client:

        def post(path: str, **fields: str) -> httpx.Response:
            found = re.findall('name="csrf[-_]token" (?:content|value)="([^"]+)"', client.get("/account").text)
            return client.post(f"/account/second-factor/{path}", data={"csrf_token": found[0], **fields})

        assert sign_in(client, "alice", password).status_code == 303
        [secret] = re.findall('name="secret" value="([A-Z2-7]+)"', post("start", password=password).text)
        assert post("confirm", secret=secret, code="no code").status_code == 403
        assert post("confirm", secret=secret[::-1], code="000000").status_code == 303
        assert post("confirm", secret=secret, code=pyotp.TOTP(secret).now()).status_code == 200
        last = post("confirm", secret=secret, code="000000")
    log.of(last.headers["x-request-id"])
    assert secret not in log.text
    assert secret[::-1] not in log.text


def speak(server: Server, request: str) -> None:
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(request.encode())
        connection.shutdown(socket.SHUT_WR)
        try:
            while connection.recv(65_536):
                pass
        except OSError:
            pass


def test_nothing_that_is_sent_makes_a_line_of_its_own(server: Server, log: Log) -> None:
    forged = '%0a{"event":"forged","level":"critical","request_id":"x"}%0d%0a'
    answer = Caller(server.url)("GET", f"//nothing{forged}")
    [line] = log.of(answer.headers["x-request-id"])
    assert "\n" in line["path"]
    assert all(line["event"] != "forged" for line in log.lines())
    long = Caller(server.url)("GET", "//" + "x/" * 2500)
    assert len(log.of(long.headers["x-request-id"])[0]["path"]) == 300


def test_what_nobody_asked_for_has_the_id_of_its_round(server: Server, log: Log) -> None:
    whole = json.loads("[" + ",".join(log.path.read_text().splitlines()) + "]")
    of_gunicorn = [line for line in whole if line["logger"] == "gunicorn.error"]
    # A request that gunicorn refuses has an id; what it says of itself has none.
    assert {line["request_id"] for line in of_gunicorn if "Invalid request" not in line["event"]} == {"-"}
    server.sql("ALTER TABLE audit_seals RENAME TO gone")
    try:
        server.add_token("engine", "engine")
        found = until(lambda: [line for line in log.lines() if "could not seal" in line["event"]])
    finally:
        server.sql("ALTER TABLE gone RENAME TO audit_seals")
    assert (found[0]["logger"], found[0]["level"]) == ("app.server.background", "warning")
    assert re.fullmatch("keeper-[0-9a-f]{12}", found[0]["request_id"])


def test_that_a_worker_was_killed_is_in_the_same_shape(server: Server, log: Log) -> None:
    psutil.Process(server.process.pid).children()[0].kill()
    until(lambda: [line for line in log.lines() if "SIGKILL" in line["event"]])
    until(lambda: [line for line in log.lines() if "Booting worker" in line["event"]])


# Settings


def test_a_database_url_that_cannot_be_used_is_said_without_its_password(database: URL, tmp_path: Path) -> None:
    environment = on_database(database, tmp_path)
    for url in (
        "postgresql://u:hunter2@db.example:port/desk",
        "mysql://u:hunter2@db.example/desk",
        "postgresql://u:hunter2@127.0.0.1:1/desk",
    ):
        done = countersign(environment | {"DATABASE_URL": url, "LOG_FORMAT": "json"}, "mode")
        assert "hunter2" not in refused(done)


def test_a_form_or_level_that_there_is_not_is_said_in_one_line(database: URL, tmp_path: Path) -> None:
    environment = on_database(database, tmp_path)
    line = refused(countersign(environment | {"LOG_FORMAT": "xml"}, "mode"))
    assert line == "LOG_FORMAT must be one of json, console, not 'xml'"
    line = refused(countersign(environment | {"LOG_LEVEL": "loud"}, "mode"))
    assert line == "LOG_LEVEL must be one of debug, info, warning, error, not 'loud'"
    line = refused(countersign(environment | {"METRICS_TOKEN": "hunter2"}, "mode"))
    assert line == "METRICS_TOKEN must have at least 16 printable ASCII characters"
