"""How often and how much at once anybody may ask of a worker; nobody is kept from stopping by any of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy.engine import URL
from werkzeug.test import TestResponse

from app.db.transaction import RULES_LOCK
from app.services.accounts import users
from app.web.security import rate_limit
from app.web.security.permissions import IN_TRANSACTION, NEVER_LIMITED, ROUTES, WAITING
from tests.at_once import until
from tests.conftest import Api
from tests.database import connect
from tests.serving import Desk, application
from tests.web.conftest import Browser, assert_problem, csrf_token_in
from tests.web.orders import HOLDS, LOCKOUT, configure, order

FEW = {"READ_RATE": "5/minute", "FAILED_CREDENTIAL_RATE": "5/minute"}
WRONG = {"Authorization": "Bearer nobody.nothing"}
NAT = "198.51.100.7"


@contextmanager
def another(desk: Desk, folder: Path, **settings: str) -> Iterator[Callable[..., Api]]:
    """The application with other settings on the same desk: `client(token)` asks it from `address`."""
    with application(desk.database, folder, **settings) as app:

        def client(token: str | None, address: str = NAT) -> Api:
            made = Api(app.test_client(), token)
            made.client.environ_base["REMOTE_ADDR"] = address
            return made

        yield client


@pytest.fixture
def at(desk: Desk, tmp_path: Path) -> Iterator[Callable[..., Api]]:
    with another(desk, tmp_path, **FEW) as client:
        yield client


def assert_has_to_wait(answer: TestResponse, code: str, most: int = 61) -> None:
    body = assert_problem(answer, 429, code)
    seconds = int(answer.headers["Retry-After"])
    assert 1 <= seconds <= most
    assert f"wait {seconds} second" in body["detail"]


class TestReads:
    def test_of_a_credential_are_so_many_in_so_long(self, at: Callable[..., Api], desk: Desk) -> None:
        one, other = (at(desk.add_token(name, "viewer")) for name in ("one", "other"))
        assert [one.get(path).status_code for path in ("/state", "/mode", "/lockouts", "/orders", "/audit")] == [
            200
        ] * 5
        for path in ("/state", "/mode"):
            assert_has_to_wait(one.get(path), "too_many_reads")
        assert_has_to_wait(one.get("/state", headers={"If-None-Match": "*"}), "too_many_reads")
        assert one("HEAD", "/state").status_code == 429
        assert other.get("/state").status_code == 200

    def test_that_are_too_many_keep_nobody_from_acting(self, at: Callable[..., Api], desk: Desk) -> None:
        operator, engine = at(desk.add_token("o", "operator")), at(desk.add_token("e", "engine"))
        for client in (operator, engine):
            while client.get("/mode").status_code == 200:
                pass
        assert engine.post("/orders", order()).status_code == 201
        assert operator.post("/lockouts", LOCKOUT).status_code == 201
        assert operator.put("/mode", {"trading_mode": "disabled"}).status_code == 200
        assert operator.put("/signal-layers", {"macro": False}).status_code == 200

    def test_that_need_no_credential_are_not_counted(self, at: Callable[..., Api]) -> None:
        client = at(None).client
        for path in ("/healthz", "/readyz", "/openapi.json", "/static/favicon.svg", "/login"):
            for _ in range(7):
                with client.get(path) as answer:
                    assert answer.status_code == 200

    def test_of_a_page_are_answered_with_a_page(self, at: Callable[..., Api], desk: Desk) -> None:
        password = desk.add_user("alice", "operator")
        browser = Browser(at(None).client.application)
        browser.sign_in("alice", password)
        for _ in range(5):
            assert browser.get("/trading").status_code == 200
        answer = browser.get("/trading")
        assert (answer.status_code, answer.mimetype) == (429, "text/html")
        assert "reads too often" in answer.text
        assert int(answer.headers["Retry-After"]) >= 1
        assert browser.get("/login").status_code == 303
        assert browser.post("/trading/halt").status_code == 303
        assert desk.sql("SELECT trading_mode FROM risk_configs") == [("disabled",)]

    def test_at_alpacas_door_are_answered_as_alpaca_does(self, at: Callable[..., Api], desk: Desk) -> None:
        bot = at(desk.add_token("bot", "engine"))

        def ask(method: str, **more: Any) -> TestResponse:
            return bot.client.open("/v2/orders", method=method, headers=bot.headers, **more)

        for _ in range(5):
            assert ask("GET").status_code == 200
        answer = ask("GET")
        assert (answer.status_code, answer.json["code"]) == (429, 42910000)
        assert "Retry-After" in answer.headers
        body = {"symbol": "AAPL", "side": "buy", "qty": "1", "type": "market", "time_in_force": "day"}
        assert ask("POST", json=body).status_code == 200
        assert ask("DELETE").status_code == 207

    def test_go_on_after_a_while(self, desk: Desk, tmp_path: Path) -> None:
        token = desk.add_token("v", "viewer")
        with another(desk, tmp_path, READ_RATE="2/second") as client:
            viewer = client(token)
            until(lambda: viewer.get("/mode").status_code == 429)
            until(lambda: viewer.get("/mode").status_code == 200)

    def test_by_themselves_are_so_many_that_nobody_meets_the_bound(self, desk: Desk, tmp_path: Path) -> None:
        """Twenty open pages that read three times a second, which is as often as they do, and as much again."""
        token = desk.add_token("v", "viewer")
        with another(desk, tmp_path, READ_RATE="", FAILED_CREDENTIAL_RATE="") as client:
            rate = client(token).client.application.extensions["bounds"]._reads.limit
        assert rate.amount / rate.get_expiry() >= 2 * 20 * 3 / 2  # by two workers

    def test_are_not_counted_where_that_is_off(self, desk: Desk, tmp_path: Path) -> None:
        token = desk.add_token("v", "viewer")
        with another(desk, tmp_path, READ_RATE="off") as client:
            assert client(token).client.application.extensions["bounds"]._reads.limit is None


class TestWrongCredentials:
    @pytest.fixture
    def guessed(self, at: Callable[..., Api]) -> None:
        """As often from one address as it is looked at."""
        for number in range(5):
            assert_problem(at(f"nobody.{number}").get("/mode"), 401, "unauthenticated")

    @pytest.fixture
    def looked_up(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        tokens: list[str] = []
        look_up = users.Claim.look_up

        def note(claim: users.Claim) -> Any:
            tokens.append(claim.token_id)
            return look_up(claim)

        monkeypatch.setattr(users.Claim, "look_up", note)
        return tokens

    def test_are_not_even_looked_up_when_they_are_too_many(
        self, at: Callable[..., Api], guessed: None, looked_up: list[str]
    ) -> None:
        for token in ("nobody.nothing", "a.b", "no token at all", "."):
            assert_has_to_wait(at(token).get("/mode"), "too_many_tries")
        assert_has_to_wait(at("nobody.nothing").post("/orders", order()), "too_many_tries")
        assert looked_up == []

    def test_are_counted_wherever_they_are_shown(self, at: Callable[..., Api]) -> None:
        wrong = at("nobody.nothing")
        assert wrong.post("/orders", order()).status_code == 401
        assert wrong.put("/mode", {"trading_mode": "disabled"}).status_code == 401
        assert wrong.client.get("/v2/orders", headers={"APCA-API-KEY-ID": "nobody"}).status_code == 401
        assert wrong.client.get("/trading", headers=WRONG).status_code == 401
        assert at("nonsense").get("/state").status_code == 401
        assert_has_to_wait(wrong.get("/mode"), "too_many_tries")

    def test_stop_nobody_whose_credential_held_before(self, at: Callable[..., Api], desk: Desk) -> None:
        engine, person = at(desk.add_token("e", "engine")), at(desk.add_token("p", "operator"))
        assert engine.post("/orders", order()).status_code == 201
        assert person.get("/state").status_code == 200
        while at("nobody.nothing").get("/mode").status_code == 401:
            pass
        assert engine.post("/orders", order()).status_code == 201
        assert engine.get("/mode").status_code == 200
        assert person.put("/approval-config", {"auto_approve_paper": False}).status_code == 200

    def test_of_others_stop_no_program_that_nobody_knows_since_a_start(
        self, at: Callable[..., Api], desk: Desk
    ) -> None:
        token = desk.add_token("e", "engine")
        while at("nobody.nothing").get("/mode").status_code == 401:
            pass
        assert at(token).post("/orders", order()).status_code == 201
        made = desk.add_token("later", "engine")
        until(lambda: at(made).post("/orders", order()).status_code == 201, what="its id is never learned")

    def test_of_one_id_are_so_many_and_no_more(self, at: Callable[..., Api], desk: Desk) -> None:
        token_id = desk.add_token("e", "engine").partition(".")[0]
        while at("nobody.nothing").get("/mode").status_code == 401:
            pass
        statuses = [at(f"{token_id}.{secret}").get("/mode").status_code for secret in range(8)]
        assert statuses == [401] * 5 + [429] * 3

    @pytest.mark.usefixtures("guessed")
    def test_stop_nobody_from_stopping(self, at: Callable[..., Api], desk: Desk) -> None:
        """With a credential that was never shown to this worker."""
        configure(desk, HOLDS)
        person, engine = at(desk.add_token("p", "operator")), at(desk.add_token("e", "engine"))
        assert person.post("/lockouts", LOCKOUT).status_code == 201
        assert engine("POST", "/orders/00000000-0000-4000-8000-000000000000/cancel", {}).status_code == 404
        assert at(desk.add_token("q", "operator")).put("/mode", {"trading_mode": "disabled"}).status_code == 200
        assert_problem(at("nobody.nothing").put("/mode", {"trading_mode": "disabled"}), 401, "unauthenticated")

    @pytest.mark.usefixtures("guessed")
    def test_of_one_address_are_not_those_of_another(self, at: Callable[..., Api], desk: Desk) -> None:
        token = desk.add_token("v", "viewer")
        assert_has_to_wait(at("nobody.else").get("/mode"), "too_many_tries")
        assert at("nobody.else", "198.51.100.8").get("/mode").status_code == 401
        assert at(token, "198.51.100.8").get("/mode").status_code == 200
        assert at(token).get("/mode").status_code == 200, "it held, wherever that was"

    @pytest.mark.parametrize(("other", "same"), [("2001:db8::ffff", True), ("2001:db8:0:1::1", False)])
    def test_of_an_ipv6_customer_are_of_one_address(self, at: Callable[..., Api], other: str, same: bool) -> None:
        for _ in range(5):
            at("nobody.nothing", "2001:db8::1").get("/mode")
        assert at("nobody.nothing", other).get("/mode").status_code == (429 if same else 401)

    @pytest.mark.usefixtures("guessed")
    def test_at_alpacas_door_are_answered_by_what_its_sdk_does_not_send_again(
        self, at: Callable[..., Api]
    ) -> None:
        client = at(None).client
        for method, status in (("POST", 503), ("PATCH", 503), ("DELETE", 401), ("GET", 429)):
            path = "/v2/orders" if method == "POST" else "/v2/orders/00000000-0000-4000-8000-000000000000"
            answer = client.open(path, method=method, headers=WRONG, json={"qty": "1"})
            assert answer.status_code == status
            assert ("Retry-After" in answer.headers) is (status != 401)

    def test_that_held_before_they_were_revoked_are_wrong_like_any_other(
        self, at: Callable[..., Api], desk: Desk
    ) -> None:
        token = desk.add_token("v", "viewer")
        client = at(token)
        assert client.get("/mode").status_code == 200
        desk.sql("UPDATE tokens SET revoked_at = now()")
        assert [client.get("/mode").status_code for _ in range(6)] == [401] * 5 + [429]

    def test_are_looked_at_again_after_a_while(self, desk: Desk, tmp_path: Path) -> None:
        with another(desk, tmp_path, FAILED_CREDENTIAL_RATE="2/second") as client:
            wrong = client("nobody.nothing")
            until(lambda: wrong.get("/mode").status_code == 429)
            until(lambda: wrong.get("/mode").status_code == 401)

    def test_are_remembered_within_bounds(
        self, at: Callable[..., Api], desk: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(rate_limit, "MOST_KNOWN", 2)
        for number in range(4):
            client = at(desk.add_token(f"v{number}", "viewer"))
            assert client.get("/mode").status_code == 200
        assert len(client.client.application.extensions["bounds"]._known) == 2


class TestBehindAProxy:
    FORWARDED = staticmethod(lambda address: {"X-Forwarded-For": address})

    @pytest.mark.parametrize(
        ("hops", "forwarded", "is_another"),
        [
            ("0", "203.0.113.9", False),
            ("1", "203.0.113.9", True),
            ("1", "203.0.113.9, 203.0.113.1", False),  # what the proxy itself did not say is not believed
            ("2", "203.0.113.9, 203.0.113.2", True),
        ],
    )
    def test_an_address_is_what_that_many_proxies_say(
        self, desk: Desk, tmp_path: Path, hops: str, forwarded: str, is_another: bool
    ) -> None:
        with another(desk, tmp_path, **FEW, TRUSTED_PROXIES=hops) as client:
            wrong = client("nobody.nothing")
            earlier = {"0": "", "1": "203.0.113.1", "2": "203.0.113.1, 203.0.113.2"}[hops]
            while wrong.get("/mode", headers={"X-Forwarded-For": earlier}).status_code == 401:
                pass
            answer = wrong.get("/mode", headers={"X-Forwarded-For": forwarded})
            assert answer.status_code == (401 if is_another else 429)

    @pytest.mark.parametrize(("hops", "expected"), [("0", False), ("1", True)])
    def test_tls_is_believed_and_kept_to_only_where_it_was_told_how_many_there_are(
        self, desk: Desk, tmp_path: Path, hops: str, expected: bool
    ) -> None:
        password = desk.add_user("alice", "viewer")
        with another(desk, tmp_path, TRUSTED_PROXIES=hops) as client:
            http = client(None).client
            answer = http.get("/login", headers={"X-Forwarded-Proto": "https"})
            assert ("Strict-Transport-Security" in answer.headers) is expected
            assert "Strict-Transport-Security" not in http.get("/login").headers
            browser = Browser(http.application)
            secure = {"X-Forwarded-Proto": "https", "Referer": f"{browser.origin.replace('http', 'https')}/"}
            page = browser.get("/login", headers={"X-Forwarded-Proto": "https"})
            form = {"csrf_token": csrf_token_in(page.text), "name": "alice", "password": password}
            signed_in = browser.open("POST", "/login", data=form, headers=secure)
            assert signed_in.status_code == 303
            cookies = signed_in.headers.getlist("Set-Cookie")
            assert [("Secure" in cookie) for cookie in cookies] == [expected] * len(cookies)


class TestAtOnce:
    MOST = 3

    @pytest.fixture(autouse=True)
    def few(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(rate_limit, "MOST_AT_ONCE", self.MOST)
        monkeypatch.setattr(rate_limit, "LARGEST", 2)

    @pytest.fixture
    def rules(self, database: URL, any_machine: None) -> Iterator[Callable[[str], None]]:
        """`rules("lock")`, and whoever wants to decide waits until `rules("unlock")`."""
        with connect(database) as connection:

            def take(verb: str) -> None:
                connection.execute(f"SELECT pg_advisory_{verb}({RULES_LOCK})")

            yield take

    @staticmethod
    def under_way(app: Flask) -> int:
        return int(app.extensions["bounds"]._under_way.total())

    def test_a_credential_has_so_much_under_way_and_no_more(
        self, api: Callable[..., Api], desk: Desk, app: Flask, rules: Callable[[str], None]
    ) -> None:
        token, other = desk.add_token("e", "engine"), api("engine")
        rules("lock")
        answers: list[TestResponse] = []

        def send() -> None:
            answers.append(Api(app.test_client(), token).post("/orders", order()))

        threads = [threading.Thread(target=send, daemon=True) for _ in range(self.MOST)]
        for thread in threads:
            thread.start()
        until(lambda: self.under_way(app) == self.MOST)
        engine = Api(app.test_client(), token)
        assert_has_to_wait(engine.post("/orders", order()), "too_many_at_once", 1)
        assert_has_to_wait(engine.get("/mode"), "too_many_at_once", 1)
        assert engine.client.post("/v2/orders", headers=engine.headers, json={}).status_code == 503
        assert engine.client.get("/v2/orders", headers=engine.headers).status_code == 429
        # What stops is let through, and so is everybody else.
        assert engine("POST", "/orders/none/cancel", {}).status_code == 404
        assert other.get("/mode").status_code == 200
        rules("unlock")
        for thread in threads:
            thread.join(60)
        assert [answer.status_code for answer in answers] == [201] * self.MOST
        until(lambda: self.under_way(app) == 0)
        assert desk.sql("SELECT count(*) FROM orders") == [(self.MOST,)]
        assert engine.post("/orders", order()).status_code == 201

    def test_a_longer_body_counts_for_more(self, engine: Api, app: Flask) -> None:
        long = order(rationale="é" * 1000)  # six bytes each, as it is sent
        with app.test_request_context(method="POST", environ_overrides={"CONTENT_LENGTH": "9000"}):
            app.extensions["bounds"].begin(b"somebody")
            assert self.under_way(app) == 2
            app.extensions["bounds"].end()
        assert engine.post("/orders", long).status_code == 201
        assert self.under_way(app) == 0

    def test_however_long_a_body_is_it_is_let_in_when_it_comes_alone(self, admin: Api, app: Flask) -> None:
        body = {"config": {"note": "x" * 500_000}}
        assert admin.put("/config", body, headers={"If-Match": "*"}).status_code == 200
        assert self.under_way(app) == 0

    @pytest.mark.parametrize("wrong", [{}, {"Authorization": "Bearer nobody.nothing"}])
    def test_nothing_is_under_way_any_more_once_it_is_answered_no(
        self, engine: Api, app: Flask, wrong: dict[str, str]
    ) -> None:
        for _ in range(self.MOST + 1):
            assert engine.post("/orders", {"bogus": 1}, headers=wrong).status_code == (401 if wrong else 422)
            assert engine.get("/config", headers=wrong).status_code == (401 if wrong else 403)
            assert engine.post("/orders", order(rationale="x" * 70_000), headers=wrong).status_code in (401, 413)
        assert self.under_way(app) == 0


def test_whatever_is_said_of_a_route_is_said_of_one_that_is_there() -> None:
    assert set(ROUTES) >= NEVER_LIMITED | WAITING
    assert not NEVER_LIMITED & (WAITING | IN_TRANSACTION)
    assert not [route for route in NEVER_LIMITED if route[0] == "GET"]


def test_whoever_ends_or_forbids_something_is_never_limited() -> None:
    stops = ("/mode", "/lockouts", "/halt", "/cancel", "/reject")
    for method, rule in ROUTES:
        if method != "GET" and any(word in rule for word in stops):
            assert (method, rule) in NEVER_LIMITED
