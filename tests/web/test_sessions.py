"""People sign in and out, and nothing else than their own browser can act for them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import Client

from tests.conftest import API, Api
from tests.serving import DEVICE_COOKIE, SESSION_COOKIE, Desk, application
from tests.web.conftest import Browser, Record, assert_problem

WRITES = [
    ("PUT", "/approval-config", {"auto_approve_paper": False}),
    ("PUT", "/signal-layers", {"macro": False}),
    ("PUT", "/config", {"config": {"x": 1}}),
    ("PUT", "/mode", {"trading_mode": "disabled"}),
    ("POST", "/lockouts", {"ticker": "AAPL", "reason": "x", "duration_minutes": 5}),
    ("PATCH", "/lockouts/00000000-0000-4000-8000-000000000000", {"extend_minutes": 5}),
    ("DELETE", "/lockouts/00000000-0000-4000-8000-000000000000", None),
]
FORMS = [
    "/logout",
    "/trading/halt",
    "/trading/mode",
    "/trading/approval-config",
    "/trading/signal-layers",
    "/trading/lockouts",
    "/trading/lockouts/00000000-0000-4000-8000-000000000000/extend",
    "/trading/lockouts/00000000-0000-4000-8000-000000000000/remove",
]


def untouched(desk: Desk) -> bool:
    return desk.sql("SELECT version, trading_mode, config FROM risk_configs") == [(1, "paper", {})] and desk.sql(
        "SELECT count(*) FROM symbol_lockouts"
    ) == [(0,)]


class TestSigningIn:
    def test_leads_to_the_trading_page(self, stranger: Browser, desk: Desk) -> None:
        answer = stranger.sign_in("alice", desk.add_user("alice", "operator"))
        assert (answer.status_code, answer.headers["Location"]) == (303, "/trading")
        assert stranger.get("/trading").status_code == 200

    def test_is_on_the_record(self, stranger: Browser, desk: Desk) -> None:
        password = desk.add_user("alice", "operator")
        record = Record(desk)
        stranger.sign_in("alice", password)
        (event,) = record.new()
        assert (event["actor"], event["action"], event["after"]) == (
            "alice",
            "session.sign_in",
            {"address": "192.0.2.1"},
        )

    def test_takes_the_name_in_any_case_and_the_actor_is_the_account(self, stranger: Browser, desk: Desk) -> None:
        password = desk.add_user("Alice", "operator")
        assert stranger.sign_in(" aLICE ", password).status_code == 303
        stranger.json("PUT", "/signal-layers", {"macro": False})
        assert desk.sql("SELECT updated_by FROM risk_configs") == [("Alice",)]

    @pytest.mark.parametrize(
        "name", ["alice", "bob", "alice'--", "%", "*", "alice\u200b", "ALICE ALICE", "é", "1"]
    )
    def test_with_a_wrong_password_or_name_says_the_same(self, stranger: Browser, desk: Desk, name: str) -> None:
        desk.add_user("alice", "operator")
        answer = stranger.sign_in(name, "not the password")
        assert answer.status_code == 401
        assert "The name or the password is wrong." in answer.text
        assert stranger.get("/trading").status_code == 303

    @pytest.mark.parametrize(
        ("name", "password"),
        [
            ("", "x"),
            ("x", ""),
            ("", ""),
            (" ", "x"),
            ("a" * 65, "x"),
            ("x", "x" * 257),
            ("a\x00b", "x"),
            ("x", "a\x00b"),
            ("x", "x" * 40000),
            ("x" * 40000, "x"),
        ],
    )
    def test_with_what_could_be_nobodys_is_422(
        self, stranger: Browser, desk: Desk, name: str, password: str
    ) -> None:
        assert stranger.sign_in(name, password).status_code == 422

    @pytest.mark.parametrize(("name", "password"), [("x", "x" * 400000), ("x" * 400000, "x")])
    def test_with_more_than_any_form_has_is_413(
        self, stranger: Browser, desk: Desk, name: str, password: str
    ) -> None:
        assert stranger.sign_in(name, password).status_code == 413

    def test_spaces_in_a_password_count(self, stranger: Browser, desk: Desk) -> None:
        password = desk.add_user("alice", "operator")
        assert stranger.sign_in("alice", f" {password}").status_code == 401

    def test_a_service_account_cannot(self, stranger: Browser, desk: Desk) -> None:
        secret = desk.add_token("robot", "admin").partition(".")[2]
        assert stranger.sign_in("robot", secret).status_code == 401

    def test_the_password_is_never_in_the_answer(self, stranger: Browser, desk: Desk) -> None:
        desk.add_user("alice", "operator")
        assert "hunter2-typed" not in stranger.sign_in("alice", "hunter2-typed").text

    def test_who_is_signed_in_already_is_sent_on(self, browser: Callable[..., Browser]) -> None:
        answer = browser("viewer").get("/login?next=/audit")
        assert (answer.status_code, answer.headers["Location"]) == (303, "/audit")

    def test_needs_the_token_of_its_own_page(self, stranger: Browser, desk: Desk) -> None:
        """Without it another site could sign a person in to an account of its choice."""
        password = desk.add_user("alice", "operator")
        csrf = stranger.csrf
        for token, cause in (("", "without its CSRF token"), (csrf, "sent no cookie")):
            if token:
                stranger.client.delete_cookie(SESSION_COOKIE)
            answer = stranger.open(
                "POST", "/login", data={"csrf_token": token, "name": "alice", "password": password}
            )
            assert answer.status_code == 400
            assert cause in answer.text
            assert "sign in again" in answer.text
        assert stranger.get("/trading").status_code == 303

    def test_with_the_page_of_another_session_names_the_cause(self, stranger: Browser, desk: Desk) -> None:
        password, opened = desk.add_user("alice", "operator"), stranger.csrf
        stranger.sign_in("alice", password)
        answer = stranger.open(
            "POST", "/login", data={"csrf_token": opened, "name": "alice", "password": password}
        )
        assert answer.status_code == 400
        assert "signed in or out in another tab" in answer.text

    def test_a_json_body_is_no_form(self, stranger: Browser, desk: Desk) -> None:
        password = desk.add_user("alice", "operator")
        headers = {"X-CSRFToken": stranger.csrf}
        answer = stranger.open("POST", "/login", json={"name": "alice", "password": password}, headers=headers)
        assert answer.status_code == 422


class TestWhereItLeads:
    @pytest.mark.parametrize("target", ["/audit", "/audit?actor=a&action=mode.change", "/trading#x", "/a b"])
    def test_is_the_page_that_was_asked_for(self, stranger: Browser, desk: Desk, target: str) -> None:
        answer = stranger.sign_in("alice", desk.add_user("alice", "viewer"), next=target)
        assert answer.headers["Location"].replace("%20", " ") == target

    @pytest.mark.parametrize(
        "target",
        [
            "",
            "https://evil.example/",
            "//evil.example/",
            "///evil.example",
            "/\\evil.example",
            "\\\\evil.example",
            "/\t/evil.example",
            "/\n/evil.example",
            "\t//evil.example",
            " //evil.example",
            "javascript:alert(1)",
            "evil.example",
            "http:evil.example",
            "/%0d%0aSet-Cookie:x=y\r\nX: y",
            "/trading\r\nSet-Cookie: x=y",
            "/é",
            "/\u2028",
            "@evil.example",
            "?next=//evil.example",
        ],
    )
    def test_is_never_another_site(self, stranger: Browser, desk: Desk, target: str) -> None:
        password = desk.add_user("alice", "viewer")
        form = stranger.open("GET", "/login", query_string={"next": target})
        assert "evil.example" not in form.text
        answer = stranger.sign_in("alice", password, next=target)
        assert (answer.status_code, answer.headers["Location"]) == (303, "/trading")
        assert "x" not in [cookie.key for cookie in stranger.client._cookies.values()]
        again = stranger.open("GET", "/login", query_string={"next": target})
        assert again.headers["Location"] == "/trading"

    def test_the_page_before_is_kept_through_the_form(self, stranger: Browser) -> None:
        sent_off = stranger.get("/audit?actor=alice&action=mode.change")
        assert sent_off.status_code == 303
        form = stranger.get(sent_off.headers["Location"])
        assert 'name="next" value="/audit?actor=alice&amp;action=mode.change"' in form.text

    @pytest.mark.parametrize("path", FORMS)
    def test_a_form_that_was_sent_too_late_is_not_repeated(self, stranger: Browser, path: str) -> None:
        answer = stranger.post(path)
        assert (answer.status_code, answer.headers["Location"]) == (303, "/login")


class TestSigningOut:
    def test_ends_the_session(self, browser: Callable[..., Browser], record: Record) -> None:
        person = browser("operator")
        record.new()
        answer = person.post("/logout")
        assert (answer.status_code, answer.headers["Location"]) == (303, "/login")
        assert person.get("/trading").headers["Location"].startswith("/login")
        (event,) = record.new()
        assert (event["actor"], event["action"]) == ("operator-in-person", "session.sign_out")

    def test_kills_the_cookie_that_was_copied(self, app: Flask, browser: Callable[..., Browser]) -> None:
        person, thief = browser("operator"), Browser(app)
        stolen = person.cookie()
        assert stolen is not None
        thief.client.set_cookie(SESSION_COOKIE, stolen)
        assert thief.get("/trading").status_code == 200
        person.post("/logout")
        thief.client.set_cookie(SESSION_COOKIE, stolen)
        assert thief.get("/trading").status_code == 303
        assert_problem(thief.get(f"{API}/state"), 401, "unauthenticated")

    def test_leaves_the_other_browsers_of_the_same_person(self, app: Flask, stranger: Browser, desk: Desk) -> None:
        password, other = desk.add_user("alice", "operator"), Browser(app)
        stranger.sign_in("alice", password)
        other.sign_in("alice", password)
        stranger.post("/logout")
        assert other.get("/trading").status_code == 200

    def test_cannot_be_done_by_a_link(self, browser: Callable[..., Browser]) -> None:
        person = browser("operator")
        assert person.get("/logout").status_code == 405
        assert person.get("/trading").status_code == 200


class TestASession:
    def test_is_another_one_after_signing_in(self, stranger: Browser, desk: Desk) -> None:
        """Whoever planted a cookie before has nothing afterwards: neither the session nor its CSRF token."""
        password = desk.add_user("alice", "operator")
        planted_token = stranger.csrf
        planted_cookie = stranger.cookie()
        assert planted_cookie is not None
        stranger.sign_in("alice", password)
        assert stranger.cookie() != planted_cookie
        answer = stranger.open("POST", "/trading/halt", data={"csrf_token": planted_token})
        assert answer.status_code == 403
        attacker = Browser(stranger.client.application)
        attacker.client.set_cookie(SESSION_COOKIE, planted_cookie)
        assert attacker.get("/trading").status_code == 303

    def test_that_this_browser_had_before_ends_when_somebody_signs_in_again(
        self, app: Flask, browser: Callable[..., Browser], desk: Desk
    ) -> None:
        person, thief = browser("operator"), Browser(app)
        before = person.cookie()
        assert before is not None
        assert person.sign_in("alice", desk.add_user("alice", "viewer")).status_code == 303
        thief.client.set_cookie(SESSION_COOKIE, before)
        assert thief.get("/trading").status_code == 303
        assert person.get("/trading").status_code == 200

    def test_stays_when_signing_in_again_fails(self, browser: Callable[..., Browser]) -> None:
        person = browser("operator")
        assert person.sign_in("operator-in-person", "wrong").status_code == 401
        assert person.get("/trading").status_code == 200

    def test_is_signed(self, app: Flask, browser: Callable[..., Browser]) -> None:
        cookie = browser("admin").cookie() or ""
        payload, _, signature = cookie.partition(".")
        for forged in (payload, f"{payload}.", f"{payload[:-2]}AA.{signature}", "", "x", "." * 3, "a" * 4000, "é"):
            thief = Browser(app)
            thief.client.set_cookie(SESSION_COOKIE, forged)
            assert thief.get("/trading").status_code == 303

    def test_ends_after_twelve_hours_of_nothing(self, browser: Callable[..., Browser], desk: Desk) -> None:
        person = browser("operator")
        desk.sql("UPDATE web_sessions SET seen_at = now() - interval '11 h 59 min'")
        assert person.get("/trading").status_code == 200
        desk.sql("UPDATE web_sessions SET seen_at = now() - interval '12 h 1 min'")
        assert person.get("/trading").status_code == 303

    def test_is_kept_alive_by_being_used(self, browser: Callable[..., Browser], desk: Desk) -> None:
        person = browser("operator")
        desk.sql("UPDATE web_sessions SET seen_at = now() - interval '2 h'")
        person.get("/trading")
        assert desk.sql("SELECT seen_at > now() - interval '1 min' FROM web_sessions") == [(True,)]

    def test_ends_after_seven_days_all_the_same(self, browser: Callable[..., Browser], desk: Desk) -> None:
        person = browser("operator")
        desk.sql("UPDATE web_sessions SET created_at = now() - interval '7 days 1 min'")
        assert person.get("/trading").status_code == 303

    def test_is_kept_as_a_hash(self, browser: Callable[..., Browser], desk: Desk) -> None:
        browser("operator")
        assert desk.sql("SELECT length(id_hash) FROM web_sessions") == [(32,)]

    def test_of_an_account_whose_role_changed_has_the_new_role(
        self, browser: Callable[..., Browser], desk: Desk
    ) -> None:
        person = browser("admin")
        desk.sql("UPDATE accounts SET role = 'viewer'")
        assert_problem(person.json("PUT", "/mode", {"trading_mode": "disabled"}), 403, "forbidden")


class TestTheCookie:
    def cookies(self, answer: Any) -> dict[str, str]:
        return {line.partition("=")[0]: line for line in answer.headers.getlist("Set-Cookie")}

    @pytest.mark.parametrize(("origin", "secure"), [("https://desk.example", True), ("http://localhost", False)])
    def test_is_secure_exactly_where_there_is_tls(self, app: Flask, desk: Desk, origin: str, secure: bool) -> None:
        person = Browser(app, origin=origin)
        answer = person.sign_in("alice", desk.add_user("alice", "operator"))
        cookies = self.cookies(answer)
        prefix = "__Host-" if secure else ""
        session_cookie, device_cookie = cookies[prefix + SESSION_COOKIE], cookies[prefix + DEVICE_COOKIE]
        assert len(cookies) == 2
        for line in cookies.values():
            flags = line.split("; ")
            assert "HttpOnly" in flags
            assert ("Secure" in flags) is secure
            assert not any(flag.startswith("Domain") for flag in flags)
        assert "SameSite=Lax" in session_cookie
        assert "Path=/" in session_cookie.split("; ")
        assert "SameSite=Strict" in device_cookie
        assert ("Path=/" if secure else "Path=/login") in device_cookie.split("; ")

    def test_of_two_instances_on_one_host_keep_a_person_signed_in_to_both(
        self, app: Flask, desk: Desk, tmp_path: Path
    ) -> None:
        """A browser sends the cookies of a host to every port of it."""
        password = desk.add_user("alice", "operator")
        with application(desk.database, tmp_path, SECRET_KEY="the secret of another instance") as other:
            jar = Client(
                lambda environ, start: {"8001": app, "8002": other}[environ["SERVER_PORT"]](environ, start)
            )
            pages = [Browser(app, origin=f"http://desk.example:{port}") for port in (8001, 8002)]
            for page in pages:
                page.client = jar  # type: ignore[assignment]
            assert [page.sign_in("alice", password).status_code for page in pages] == [303, 303]
            assert [page.get("/trading").status_code for page in pages] == [200, 200]
            assert pages[0].post("/logout").status_code == 303
            assert [page.get("/trading").status_code for page in pages] == [303, 200]

    def test_is_not_sent_to_programs(self, operator: Api) -> None:
        assert "Set-Cookie" not in operator.get("/state").headers
        assert "Set-Cookie" not in operator.get("/nothing").headers

    def test_a_forwarded_header_of_a_stranger_does_not_make_it_secure(self, stranger: Browser) -> None:
        answer = stranger.get("/login", headers={"X-Forwarded-Proto": "https"})
        assert "Secure" not in answer.headers["Set-Cookie"]


class TestForgedRequests:
    """Whatever a cookie authenticates needs the token that only our own pages know."""

    @pytest.mark.parametrize(("method", "path", "body"), WRITES)
    @pytest.mark.parametrize("token", [None, "", "x", "é", "a.b.c", "x" * 4000])
    def test_json_without_the_token_is_refused(
        self,
        browser: Callable[..., Browser],
        desk: Desk,
        method: str,
        path: str,
        body: Any,
        token: str | None,
    ) -> None:
        person = browser("admin")
        headers = {"If-Match": "*"} | (
            {"X-CSRFToken": token.encode().decode("latin-1")} if token is not None else {}
        )
        assert_problem(person.open(method, API + path, json=body, headers=headers), 403, "csrf_failed")
        assert untouched(desk)

    @pytest.mark.parametrize("path", FORMS)
    @pytest.mark.parametrize("data", [{}, {"csrf_token": ""}, {"csrf_token": "x"}, {"csrf_token": "é"}])
    def test_forms_without_the_token_are_refused(
        self, browser: Callable[..., Browser], desk: Desk, path: str, data: dict[str, str]
    ) -> None:
        person = browser("admin")
        fields = {
            "trading_mode": "disabled",
            "macro": "false",
            "ticker": "A",
            "reason": "x",
            "duration_minutes": "5",
        }
        assert person.open("POST", path, data=fields | data).status_code == 403
        assert untouched(desk)
        assert person.get("/trading").status_code == 200

    def test_the_token_of_another_person_is_worth_nothing(
        self, browser: Callable[..., Browser], desk: Desk
    ) -> None:
        mallory, alice = browser("viewer", name="mallory"), browser("operator", name="alice")
        answer = alice.open("POST", "/trading/halt", data={"csrf_token": mallory.csrf})
        assert answer.status_code == 403
        assert untouched(desk)

    def test_the_token_in_the_query_is_worth_nothing(self, browser: Callable[..., Browser], desk: Desk) -> None:
        person = browser("operator")
        answer = person.open("POST", "/trading/halt", query_string={"csrf_token": person.csrf})
        assert answer.status_code == 403
        assert untouched(desk)

    @pytest.mark.parametrize(
        "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]
    )
    def test_json_in_disguise_as_a_form_is_refused(
        self, browser: Callable[..., Browser], desk: Desk, kind: str
    ) -> None:
        """A page of another site can send these without asking first."""
        person = browser("operator")
        answer = person.open(
            "PUT", f"{API}/mode", data=b'{"trading_mode": "disabled"}', headers={"Content-Type": kind}
        )
        assert_problem(answer, 403, "csrf_failed")
        assert untouched(desk)

    def test_a_token_and_a_cookie_together_need_it_too(
        self, browser: Callable[..., Browser], api: Callable[..., Api], desk: Desk
    ) -> None:
        person, bearer = browser("admin"), api("operator").headers
        body = {"macro": False}
        assert_problem(person.open("PUT", f"{API}/signal-layers", json=body, headers=bearer), 403, "csrf_failed")
        assert untouched(desk)
        both = bearer | {"X-CSRFToken": person.csrf}
        assert person.open("PUT", f"{API}/signal-layers", json=body, headers=both).status_code == 200
        assert desk.sql("SELECT updated_by FROM risk_configs") == [("operator-0",)]

    def test_a_token_and_any_cookie_at_all_need_it(self, operator: Api, desk: Desk) -> None:
        operator.client.set_cookie("theme", "dark")
        to_paper = {"trading_mode": "paper", "from": "paper", "reason": "open"}
        for path, body in (("/signal-layers", {"macro": False}), ("/mode", to_paper)):
            assert_problem(operator.put(path, body), 403, "csrf_failed")
        assert untouched(desk)

    def test_a_halt_by_token_needs_none_beside_a_cookie(
        self, browser: Callable[..., Browser], operator: Api, desk: Desk
    ) -> None:
        """A script behind a load balancer that sets cookies, or that once opened a page."""
        operator.client.set_cookie("AWSALB", "x")
        assert operator.put("/mode", {"trading_mode": "disabled"}).status_code == 200
        assert desk.sql("SELECT trading_mode FROM risk_configs") == [("disabled",)]

    def test_a_token_alone_needs_none(self, operator: Api) -> None:
        assert operator.put("/mode", {"trading_mode": "disabled"}).status_code == 200

    @pytest.mark.parametrize("authorization", ["Bearer x.y", "Basic YTpi", "", "Bearer"])
    def test_a_bad_token_is_401_though_the_cookie_is_good(
        self, browser: Callable[..., Browser], desk: Desk, authorization: str
    ) -> None:
        person = browser("admin")
        headers = {"Authorization": authorization, "X-CSRFToken": person.csrf}
        assert_problem(person.open("GET", f"{API}/state", headers=headers), 401, "unauthenticated")
        answer = person.open("PUT", f"{API}/mode", json={"trading_mode": "disabled"}, headers=headers)
        assert_problem(answer, 401, "unauthenticated")
        assert untouched(desk)

    def test_reading_needs_no_token(self, browser: Callable[..., Browser]) -> None:
        assert browser("viewer").get(f"{API}/state").status_code == 200
