"""Your account: password, and where you are signed in."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from flask import Flask

from app.web.pages.user_agent import browser_of
from tests.serving import SESSION_COOKIE, Desk
from tests.web.conftest import Browser, Record

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
NEW = "a horse of another colour"


class Person:
    def __init__(self, app: Flask, desk: Desk, name: str, role: str) -> None:
        self.app, self.name = app, name
        self.password = desk.add_user(name, role)

    def browser(self, **more: str) -> Browser:
        made = Browser(self.app, **more)
        assert made.sign_in(self.name, self.password).status_code == 303
        return made


@pytest.fixture
def vera(app: Flask, desk: Desk) -> Person:
    return Person(app, desk, "vera", "viewer")


def change(person: Browser, old: str, new: str = NEW, again: str | None = None) -> str:
    answer = person.post(
        "/account/password", password=old, new_password=new, again=new if again is None else again
    )
    assert answer.status_code == 303
    return person.get("/account").text


def test_a_password_is_changed_and_all_other_sessions_end(vera: Person, app: Flask, record: Record) -> None:
    here, elsewhere = vera.browser(), vera.browser()
    record.new()
    assert "Your password is changed. 1 other session ended." in change(here, vera.password)
    assert elsewhere.get("/trading").status_code == 303
    assert Browser(app).sign_in("vera", vera.password).status_code == 401
    assert Browser(app).sign_in("vera", NEW).status_code == 303
    event, _ = record.new()
    assert (event["actor"], event["action"], event["before"]) == (
        "vera",
        "account.change_password",
        {"other_sessions": 1},
    )
    assert NEW not in str(event)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"old": "wrong"}, "The password is wrong"),
        ({"old": ""}, "Password is required"),
        ({"new": "seven c"}, "8 to 256 characters"),
        ({"new": "12345678"}, "is easy to guess: use four or more"),
        ({"new": "x" * 257}, "1 to 256 characters"),
        ({"new": "veraVERAvera12"}, "must not be made of the name"),
        ({"again": "a horse of another color"}, "must be the same as the new one"),
    ],
)
def test_a_change_that_cannot_be_changes_nothing(
    vera: Person, desk: Desk, fields: dict[str, str], words: str
) -> None:
    here, elsewhere = vera.browser(), vera.browser()
    before = desk.sql("SELECT password_hash FROM accounts")
    assert words in change(here, **({"old": vera.password} | fields))
    assert desk.sql("SELECT password_hash FROM accounts") == before
    assert elsewhere.get("/trading").status_code == 200


def test_whoever_found_a_session_open_does_not_guess_the_password_in_it(vera: Person) -> None:
    here = vera.browser()
    for _ in range(10):
        assert "is wrong" in change(here, "wrong")
    assert "Too many failed tries" in change(here, vera.password)
    assert vera.browser().get("/trading").status_code == 200, "she herself still signs in"


class TestSessions:
    def test_they_are_shown_with_browser_and_address(self, vera: Person) -> None:
        here = Browser(vera.app, address="203.0.113.9")
        form = {"csrf_token": here.csrf, "name": "vera", "password": vera.password}
        here.open("POST", "/login", data=form, headers={"User-Agent": FIREFOX})
        page = here.get("/account").text
        for words in ("Firefox on Linux", "203.0.113.9", "this one"):
            assert words in page

    def test_one_is_ended(self, vera: Person, desk: Desk) -> None:
        here, elsewhere = vera.browser(), vera.browser(address="192.0.2.7")
        [other] = re.findall(r'name="session" value="([0-9a-f]{64})"', here.get("/account").text)
        assert here.post("/account/sessions/end", session=other).status_code == 303
        assert elsewhere.get("/trading").status_code == 303
        assert here.get("/trading").status_code == 200

    @pytest.mark.parametrize("which", ["", "zz", "00", "00" * 32])
    def test_one_that_does_not_exist_is_over_already(self, vera: Person, which: str) -> None:
        here = vera.browser()
        here.post("/account/sessions/end", session=which)
        assert "This session is over already" in here.get("/account").text

    def test_nobody_ends_that_of_somebody_else(self, vera: Person, desk: Desk, app: Flask) -> None:
        here, olga = vera.browser(), Person(app, desk, "olga", "operator").browser()
        [(theirs,)] = desk.sql(
            "SELECT encode(id_hash, 'hex') FROM web_sessions JOIN accounts ON accounts.id = account_id"
            " WHERE name = 'olga'"
        )
        here.post("/account/sessions/end", session=theirs)
        assert olga.get("/trading").status_code == 200

    def test_all_others_are_ended(self, vera: Person, desk: Desk, app: Flask) -> None:
        here, elsewhere = vera.browser(), [vera.browser() for _ in range(3)]
        olga = Person(app, desk, "olga", "operator").browser()
        here.post("/account/sessions/end-others")
        assert [each.get("/trading").status_code for each in elsewhere] == [303] * 3
        assert here.get("/trading").status_code == olga.get("/trading").status_code == 200

    def test_all_are_ended_this_one_too(self, vera: Person, record: Record) -> None:
        here, elsewhere = vera.browser(), vera.browser()
        cookie = here.cookie()
        record.new()
        assert here.post("/account/sessions/end-all").headers["Location"] == "/login"
        here.client.set_cookie(SESSION_COOKIE, cookie or "", domain="localhost")
        assert [each.get("/trading").status_code for each in (here, elsewhere)] == [303, 303]
        [event] = record.new()
        assert (event["action"], event["before"]) == ("session.end", {"sessions": 2})


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        (FIREFOX, "Firefox on Linux"),
        (
            "Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Chrome/140.0 Safari/537.36 Edg/140.0",
            "Edge on Windows",
        ),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Version/18.0 Safari/604.1", "Safari on iPhone"),
        ("Mozilla/5.0 (Linux; Android 15) Chrome/140.0 Mobile Safari/537.36", "Chrome on Android"),
        ("curl/8", ""),
        ("<script>alert(1)</script>", ""),
    ],
)
def test_a_browser_is_told_roughly_and_in_no_word_of_its_own(sent: str, shown: str) -> None:
    assert browser_of(sent) == shown


def test_everybody_has_the_page(browser: Callable[..., Browser]) -> None:
    for role in ("viewer", "operator", "admin"):
        assert "Your account" in browser(role).get("/account").text
