"""Every error under /api is an RFC 9457 problem; every other one is a page for people. None leaks anything."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy.engine import URL

from app.db import transaction
from app.db.transaction import RULES_LOCK, Decisions
from app.services.trading import config
from tests.conftest import API, Api
from tests.database import connect
from tests.desk.orders import body as order
from tests.serving import Desk, Server, application
from tests.web.conftest import Browser, assert_problem

SECRET = "postgresql://root:hunter2@db/prod"


class TestUnderTheApi:
    @pytest.mark.parametrize(
        "path",
        [
            f"{API}/nothing",
            f"{API}/",
            API,
            "/api",
            "/api/",
            "/api/v2",
            f"{API}/lockouts/",
            f"{API}/lockouts/a/b",
            f"{API}/%00",
            f"{API}/%FF",
            f"{API}/..%2F..%2Fetc",
            "/api/" + "x" * 3000,
            f"{API}/lockouts/%2F",
        ],
    )
    def test_what_is_not_there_is_404(self, operator: Api, path: str) -> None:
        assert_problem(operator.client.get(path, headers=operator.headers), 404, "not_found")

    def test_nobody_is_told_apart_before_there_is_something_to_protect(self, api: Callable[..., Api]) -> None:
        assert_problem(api(None).get("/nothing"), 404, "not_found")

    @pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "QUERY", "PROPFIND"])
    def test_another_method_is_405_and_says_which_are_allowed(self, operator: Api, method: str) -> None:
        answer = operator(method, "/state")
        assert_problem(answer, 405, "method_not_allowed")
        assert set(answer.headers["Allow"].split(", ")) == {"GET", "HEAD"}

    @pytest.mark.parametrize(
        ("path", "allowed"),
        [
            ("/approval-config", {"GET", "HEAD", "PUT"}),
            ("/lockouts", {"GET", "HEAD", "POST"}),
            ("/lockouts/x", {"PATCH", "DELETE"}),
        ],
    )
    def test_every_method_of_the_path_is_listed(self, operator: Api, path: str, allowed: set[str]) -> None:
        assert set(operator("OPTIONS", path).headers["Allow"].split(", ")) == allowed

    def test_no_credential_is_401_with_a_challenge(self, api: Callable[..., Api]) -> None:
        answer = api(None).get("/state")
        assert_problem(answer, 401, "unauthenticated")
        assert answer.headers["WWW-Authenticate"].startswith("Bearer ")

    @pytest.mark.parametrize(
        "credential",
        [
            "",
            " ",
            "Bearer",
            "Bearer ",
            "Bearer x",
            "Bearer .",
            "Bearer x.",
            "Bearer .x",
            "Bearer x.y",
            "Bearer " + "a" * 7000 + ".b",
            "Bearer x.y.z",
            "Basic YWRtaW46YWRtaW4=",
            "Token x.y",
            "bearer\tx.y",
            "Bearer a\xffb.c",
            "Bearer %00.%00",
            "Bearer \u00e9.\u00e9",
            "Digest username=admin",
        ],
    )
    def test_a_credential_that_is_none_is_401(self, app: Flask, desk: Desk, credential: str) -> None:
        answer = app.test_client().get(f"{API}/state", headers={"Authorization": credential})
        assert_problem(answer, 401, "unauthenticated")
        assert answer.headers["WWW-Authenticate"].startswith("Bearer ")

    def test_the_secret_of_one_token_does_not_open_another(self, app: Flask, desk: Desk) -> None:
        first, second = desk.add_token("a", "admin"), desk.add_token("b", "viewer")
        mixed = f"{first.partition('.')[0]}.{second.partition('.')[2]}"
        for token in (mixed, first.upper(), first[:-1], first + "x", first.replace(".", ". ")):
            answer = app.test_client().get(f"{API}/state", headers={"Authorization": f"Bearer {token}"})
            assert_problem(answer, 401, "unauthenticated")

    def test_the_scheme_is_read_in_any_case(self, app: Flask, desk: Desk) -> None:
        token = desk.add_token("a", "viewer")
        for scheme in ("Bearer", "bearer", "BEARER"):
            assert (
                app.test_client().get(f"{API}/state", headers={"Authorization": f"{scheme} {token}"}).status_code
                == 200
            )

    def test_a_token_in_the_query_or_the_body_is_none(self, app: Flask, desk: Desk) -> None:
        token = desk.add_token("a", "admin")
        for query in (f"?access_token={token}", f"?token={token}"):
            assert_problem(app.test_client().get(f"{API}/state{query}"), 401, "unauthenticated")

    def test_a_revoked_token_is_401_at_once(self, app: Flask, desk: Desk) -> None:
        token = desk.add_token("a", "viewer")
        headers = {"Authorization": f"Bearer {token}"}
        assert app.test_client().get(f"{API}/state", headers=headers).status_code == 200
        desk.sql("UPDATE tokens SET revoked_at = now()")
        assert_problem(app.test_client().get(f"{API}/state", headers=headers), 401, "unauthenticated")

    @pytest.mark.parametrize(
        ("method", "path", "body", "headers", "status", "code"),
        [
            ("PUT", "/mode", b"{", {}, 400, "malformed_json"),
            ("PUT", "/mode", b"{}", {"Content-Type": "text/plain"}, 415, "unsupported_media_type"),
            ("PUT", "/mode", b'{"trading_mode": "x"}', {}, 422, "invalid"),
            ("PUT", "/mode", b" " * (64 * 1024 + 1), {}, 413, "body_too_large"),
            ("PUT", "/config", b'{"config": {}}', {}, 428, "precondition_required"),
            ("PUT", "/config", b'{"config": {}}', {"If-Match": '"9"'}, 412, "stale"),
            ("DELETE", "/lockouts/x", None, {}, 404, "not_found"),
            ("PUT", "/mode", b'{"trading_mode":"paper","from":"live","reason":"x"}', {}, 409, "mode_changed"),
        ],
    )
    def test_every_kind_has_its_code(
        self, admin: Api, method: str, path: str, body: Any, headers: dict[str, str], status: int, code: str
    ) -> None:
        answer = admin(method, path, data=body, headers={"Content-Type": "application/json"} | headers)
        assert_problem(answer, status, code)

    def test_head_has_the_status_and_no_body(self, api: Callable[..., Api]) -> None:
        answer = api(None)("HEAD", "/state")
        assert (answer.status_code, answer.data) == (401, b"")

    @pytest.mark.parametrize("accept", ["text/html", "*/*", "image/png", "", "x" * 3000])
    def test_programs_get_json_whatever_they_accept(self, operator: Api, accept: str) -> None:
        assert_problem(operator.get("/nothing", headers={"Accept": accept}), 404, "not_found")


class TestOfOurOwn:
    @pytest.fixture
    def broken(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail() -> None:
            raise RuntimeError(SECRET)

        monkeypatch.setattr(config, "written", fail)

    def test_an_exception_is_500_and_says_nothing_of_its_cause(self, operator: Api, broken: None) -> None:
        answer = operator.get("/config", headers={"X-Request-ID": "find-me"})
        assert_problem(answer, 500, "internal_error")
        assert "hunter2" not in answer.text
        assert "Traceback" not in answer.text
        assert answer.headers["X-Request-ID"] == "find-me"

    def test_the_log_has_it_under_the_request_id(
        self, operator: Api, broken: None, caplog: pytest.LogCaptureFixture
    ) -> None:
        operator.get("/config", headers={"X-Request-ID": "find-me"})
        assert "find-me" in caplog.text
        assert SECRET in caplog.text

    def test_an_exception_in_the_middle_of_a_change_leaves_nothing_behind(
        self, operator: Api, desk: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: Any, **__: Any) -> None:
            raise RuntimeError(SECRET)

        events = desk.sql("SELECT count(*) FROM audit_events")
        monkeypatch.setattr("app.services.audit.log.record", fail)
        for method, path, body in (
            ("PUT", "/approval-config", {"auto_approve_paper": False}),
            ("PUT", "/mode", {"trading_mode": "disabled"}),
            ("POST", "/lockouts", {"ticker": "AAPL", "reason": "x", "duration_minutes": 5}),
        ):
            assert_problem(operator(method, path, body), 500, "internal_error")
        assert desk.sql("SELECT version, trading_mode, config FROM risk_configs") == [(1, "paper", {})]
        assert desk.sql("SELECT count(*) FROM symbol_lockouts") == [(0,)]
        assert desk.sql("SELECT count(*) FROM audit_events") == events

    def test_on_a_page_it_is_a_page(
        self, browser: Callable[..., Browser], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail() -> None:
            raise RuntimeError(SECRET)

        person = browser("viewer")
        monkeypatch.setattr("app.services.reporting.snapshot.snapshot", fail)
        answer = person.get("/trading", headers={"X-Request-ID": "find-me"})
        assert (answer.status_code, answer.mimetype) == (500, "text/html")
        assert "hunter2" not in answer.text
        assert "find-me" in answer.text


class TestOnPages:
    @pytest.mark.parametrize(
        "path", ["/nothing", "/trading/", "/Trading", "/static/nothing.js", "/static/", "/%00"]
    )
    def test_what_is_not_there_is_a_page(self, stranger: Browser, path: str) -> None:
        answer = stranger.get(path)
        assert (answer.status_code, answer.mimetype) == (404, "text/html")

    @pytest.mark.parametrize(
        "path",
        [
            "/static/../settings.py",
            "/static/..%2Fsettings.py",
            "/static/%2e%2e/settings.py",
            "/static//etc/passwd",
        ],
    )
    def test_nothing_beside_the_static_files_is_served(self, stranger: Browser, path: str) -> None:
        assert stranger.get(path).status_code in (404, 308)

    @pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS", "TRACE"])
    def test_another_method_is_405(self, browser: Callable[..., Browser], method: str) -> None:
        answer = browser("admin").open(method, "/trading/halt")
        assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")
        assert answer.mimetype == "text/html"

    @pytest.mark.parametrize(
        "query", ["cursor=x", "cursor=", "action=nonsense", "actor=%00", "actor=" + "a" * 200, "cursor=%FF"]
    )
    def test_a_query_that_cannot_be_read_is_422(self, browser: Callable[..., Browser], query: str) -> None:
        answer = browser("viewer").get(f"/audit?{query}")
        assert (answer.status_code, answer.mimetype) == (422, "text/html")

    def test_a_desk_without_a_configuration_says_so(self, browser: Callable[..., Browser], desk: Desk) -> None:
        person = browser("viewer")
        desk.sql("UPDATE risk_configs SET is_active = false")
        answer = person.get("/trading")
        assert (answer.status_code, answer.mimetype) == (409, "text/html")
        assert "no active risk configuration" in answer.text

    def test_what_a_stranger_put_into_the_path_is_not_repeated_as_markup(self, stranger: Browser) -> None:
        assert "<script>alert" not in stranger.get("/<script>alert(1)</script>").text


class TestWithoutADatabase:
    @pytest.fixture
    def app_alone(self, database: URL, tmp_path: Path) -> Iterator[Flask]:
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))
            gone = URL.create("postgresql+psycopg", "u", "hunter2", "127.0.0.1", nobody.getsockname()[1], "gone")
            with application(gone, tmp_path) as app:
                yield app

    @pytest.mark.parametrize("method", ["GET", "PUT"])
    def test_the_api_answers_503_and_says_that_nothing_is_released(self, app_alone: Flask, method: str) -> None:
        headers = {"Authorization": "Bearer a.b"}
        answer = app_alone.test_client().open(f"{API}/mode", method=method, headers=headers, json={})
        problem = assert_problem(answer, 503, "database_unavailable")
        assert "nothing is released" in problem["detail"]
        assert "hunter2" not in answer.text
        assert answer.headers["Retry-After"].isdigit()

    def test_it_is_not_ready_but_it_is_alive(self, app_alone: Flask) -> None:
        assert_problem(app_alone.test_client().get("/readyz"), 503, "database_unavailable")
        assert app_alone.test_client().get("/healthz").json == {"status": "ok"}

    def test_the_document_and_the_sign_in_page_are_served_all_the_same(self, app_alone: Flask) -> None:
        for path in ("/openapi.json", "/docs/api", "/login"):
            assert app_alone.test_client().get(path).status_code == 200

    def test_signing_in_says_that_it_cannot_be_done_now(self, app_alone: Flask) -> None:
        answer = Browser(app_alone).sign_in("alice", "password")
        assert (answer.status_code, answer.mimetype) == (503, "text/html")


class TestADatabaseThatComesBack:
    def test_is_used_again_at_once(self, operator: Api, desk: Desk) -> None:
        assert operator.get("/state").status_code == 200
        desk.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name = 'countersign'"
        )
        assert operator.put("/signal-layers", {"macro": False}).status_code == 200

    def test_one_that_is_busy_for_too_long_is_503_and_nothing_was_changed(self, operator: Api, desk: Desk) -> None:
        with connect(desk.database) as other:
            other.execute("SELECT pg_advisory_lock(%s)", [RULES_LOCK])
            answer = operator.put("/mode", {"trading_mode": "disabled"})
            assert_problem(answer, 503, "busy")
            assert answer.headers["Retry-After"].isdigit()
        assert desk.sql("SELECT trading_mode, version FROM risk_configs") == [("paper", 1)]
        assert operator.put("/mode", {"trading_mode": "disabled"}).status_code == 200

    def test_what_stalled_and_was_cut_off_by_it_is_503_and_nothing_was_changed(
        self, api: Callable[[str], Api], desk: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Not the database is down then, but this process had no time."""
        write = Decisions.write_and_commit

        def late(*given: Any) -> int:
            time.sleep(0.5)
            return write(*given)

        monkeypatch.setattr(Decisions, "write_and_commit", late)
        cut = f"{transaction.BEGIN_DECISION}; SET LOCAL idle_in_transaction_session_timeout = '100ms'"
        monkeypatch.setattr(transaction, "BEGIN_DECISION", cut)
        answer = api("engine").post("/orders", order())
        assert_problem(answer, 503, "busy")
        assert answer.headers["Retry-After"].isdigit()
        assert desk.sql("SELECT count(*) FROM orders") == [(0,)]
        monkeypatch.undo()
        assert api("engine").post("/orders", order()).status_code == 201


def speak(server: Server, request: bytes) -> bytes:
    """Send raw bytes to the real server and read until it closes or says nothing for a while."""
    host, port = server.url.removeprefix("http://").split(":")
    answer = b""
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        sender = threading.Thread(target=_send, args=(connection, request))
        sender.start()
        try:
            while piece := connection.recv(65_536):
                answer += piece
        except OSError:
            pass
        sender.join()
    return answer


def _send(connection: socket.socket, request: bytes) -> None:
    with suppress(OSError):  # the server may have heard enough
        connection.sendall(request)


class TestOnTheWire:
    """What only the real server can be sent."""

    def head(self, server: Server, method: str = "PUT", path: str = "/signal-layers", *more: str) -> bytes:
        token = server.add_token("wire", "operator")
        lines = [
            f"{method} {API}{path} HTTP/1.1",
            "Host: desk",
            f"Authorization: Bearer {token}",
            "Content-Type: application/json",
            "Connection: close",
            *more,
        ]
        return "\r\n".join(lines).encode("latin-1") + b"\r\n"

    def test_a_chunked_body_is_read_like_any_other(self, server: Server) -> None:
        request = self.head(server, "PUT", "/signal-layers", "Transfer-Encoding: chunked")
        answer = speak(server, request + b'\r\n8\r\n{"macro"\r\n8\r\n: false}\r\n0\r\n\r\n')
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b'{"macro":false,"competitive":true}' in answer

    def test_a_chunked_body_without_end_is_cut_off(self, server: Server) -> None:
        request = self.head(server, "PUT", "/signal-layers", "Transfer-Encoding: chunked")
        chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
        answer = speak(server, request + b"\r\n" + chunk * 40 + b"0\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert b"application/problem+json" in answer
        assert server.sql("SELECT version FROM risk_configs") == [(1,)]

    @pytest.mark.parametrize(
        "headers",
        [
            ["Content-Length: 5", "Transfer-Encoding: chunked"],
            ["Content-Length: 5", "Content-Length: 6"],
            ["Content-Length: -1"],
            ["Content-Length: 1e3"],
            ["Transfer-Encoding: gzip, chunked, chunked"],
            ["X-Bad Header: x"],
            ["X-Long: " + "x" * 9000],
            ["X-Request-ID: a\rb"],
        ],
    )
    def test_what_could_smuggle_a_second_request_is_refused(self, server: Server, headers: list[str]) -> None:
        answer = speak(
            server, self.head(server, "PUT", "/signal-layers", *headers) + b"\r\n5\r\n{}{}{\r\n0\r\n\r\n"
        )
        assert not answer or answer.split(b" ")[1].startswith(b"4")
        assert answer.count(b"HTTP/1.1 ") <= 1
        assert server.sql("SELECT version FROM risk_configs") == [(1,)]

    def test_a_request_id_of_two_lines_makes_no_header_of_the_answer(self, server: Server) -> None:
        answer = speak(server, self.head(server, "GET", "/mode", "X-Request-ID: a\r\n Set-Cookie: x=y") + b"\r\n")
        assert b"Set-Cookie: x=y" not in answer.partition(b"\r\n\r\n")[0]

    def test_a_body_that_is_shorter_than_it_says_changes_nothing(self, server: Server) -> None:
        host, port = server.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(
                self.head(server, "PUT", "/signal-layers", "Content-Length: 100") + b'\r\n{"macro": false}'
            )
            connection.shutdown(socket.SHUT_WR)
            answer = connection.recv(65_536)
        assert not answer or answer.split(b" ")[1] == b"400"
        assert server.sql("SELECT version FROM risk_configs") == [(1,)]

    def test_an_expectation_is_met(self, server: Server) -> None:
        request = self.head(server, "PUT", "/signal-layers", "Expect: 100-continue", "Content-Length: 16")
        assert b"200 OK" in speak(server, request + b'\r\n{"macro": false}')

    @pytest.mark.parametrize("method", ["TRACE", "CONNECT", "OPTIONS", "BREW"])
    def test_methods_of_other_worlds_are_405(self, server: Server, method: str) -> None:
        answer = speak(server, self.head(server, method, "/mode") + b"\r\n")
        assert answer.startswith(b"HTTP/1.1 405 ")
        assert b"wire" not in answer.partition(b"\r\n\r\n")[2]
