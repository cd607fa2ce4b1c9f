"""The Accounts page: people, their roles, and who comes in no more."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from flask import Flask

from app.domain.roles import Role
from app.services.accounts import admin, users
from app.services.errors import NotFound
from tests.conftest import Api
from tests.serving import TESTER, Desk
from tests.web.conftest import Browser, Record
from tests.web.orders import waiting
from tests.web.people import enrol, shown_once
from tests.web.test_waiting_for_a_decision import Waiter, settled


@pytest.fixture
def ada(browser: Callable[..., Browser]) -> Browser:
    return browser("admin", "ada")


def role_of(desk: Desk, name: str) -> str:
    [(role,)] = desk.sql("SELECT role FROM accounts WHERE name = %s", name)
    return str(role)


def do(person: Browser, path: str, **fields: str) -> Any:
    return person.post(f"/accounts/{path}", confirmed="yes", **fields)


def test_it_shows_people_and_never_a_secret(ada: Browser, desk: Desk) -> None:
    desk.add_user("vera", "viewer")
    page = ada.get("/accounts").text
    for words in ("ada", "vera", "viewer", "1 session"):
        assert words in page
    [(password_hash,)] = desk.sql("SELECT password_hash FROM accounts WHERE name = 'vera'")
    assert password_hash not in page
    assert "argon2" not in page


def test_adding_a_person_shows_a_password_once_with_which_they_sign_in(
    ada: Browser, app: Flask, desk: Desk, record: Record
) -> None:
    answer = ada.post("/accounts/people", name="olga", role="operator")
    password = shown_once(answer.text)
    assert answer.headers["Cache-Control"] == "no-store"
    assert password not in ada.get("/accounts").text
    assert Browser(app).sign_in("olga", password).status_code == 303
    [made, _] = record.new()
    assert (made["actor"], made["action"], made["subject"]) == ("ada", "account.create", "olga")
    assert password not in str(desk.sql("SELECT * FROM audit_events"))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"name": "olga", "role": "engine"}, "an engine has no password"),
        ({"name": "ol ga", "role": "viewer"}, "must be 1 to 64 letters"),
        ({"name": "olga", "role": "king"}, "must be one of"),
        ({"name": "", "role": "viewer"}, "is required"),
        ({"name": "ada", "role": "viewer"}, "an account named ada"),
        ({"name": "olga", "role": "viewer", "password": "short"}, "8 to 256 characters"),
        ({"name": "olga", "role": "viewer", "password": "aaaaaaaa"}, "is easy to guess: use four or more"),
        ({"name": "olga-the-first", "role": "viewer", "password": "Olga-the-First1"}, "not be made of the name"),
    ],
)
def test_a_person_that_cannot_be_is_not_added(
    ada: Browser, desk: Desk, fields: dict[str, str], words: str
) -> None:
    answer = ada.post("/accounts/people", **fields)
    assert answer.status_code in (409, 422)
    assert words in answer.text
    assert f'name="name" value="{fields["name"]}"' in answer.text, "what was typed is still there"
    assert fields.get("password", "(none)") not in answer.text
    assert desk.sql("SELECT name FROM accounts") == [("ada",)]


def test_a_role_is_changed_after_a_question_and_at_once(
    ada: Browser, browser: Callable[..., Browser], desk: Desk, record: Record
) -> None:
    vera = browser("viewer", "vera")
    desk.add_token("vera", "viewer")
    record.new()
    asked = ada.post("/accounts/people/vera/role", role="operator")
    assert "Make vera an operator?" in asked.text
    assert role_of(desk, "vera") == "viewer"
    assert do(ada, "people/vera/role", role="operator").status_code == 303
    assert vera.json("PUT", "/mode", {"trading_mode": "disabled"}).status_code == 200
    event, _ = record.new()
    assert event["action"] == "account.change_role"
    assert event["before"] == {"role": "viewer"}
    assert event["after"]["role"] == "operator"
    # Her token was made for a viewer, and does not become an operator's by itself.
    assert desk.sql("SELECT count(*) FROM tokens WHERE revoked_at IS NULL") == [(0,)]


def test_whoever_waits_with_a_token_of_theirs_is_told_at_once(
    ada: Browser, api: Callable[..., Api], desk: Desk, holding: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.web.api.orders.LONGEST_WAIT", 900)
    monkeypatch.setattr("app.web.api.orders.LOOK_AGAIN", 900)  # only the notification can answer in time
    made = waiting(api("engine"))
    desk.add_user("olga", "operator")
    olga = Api(ada.client.application.test_client(), desk.add_token("olga", "operator"))
    waiter = Waiter(lambda: olga.get(f"/orders/{made['id']}?wait=900"))
    since = settled(waiter)
    do(ada, "people/olga/role", role="viewer")
    assert waiter.answer(since, 60).status_code == 401


def test_to_the_role_that_they_have_is_no_change(ada: Browser, desk: Desk, record: Record) -> None:
    desk.add_user("vera", "viewer")
    record.new()
    do(ada, "people/vera/role", role="viewer")
    assert record.new() == []


@pytest.mark.parametrize(
    ("act", "fields"), [("role", {"role": "viewer"}), ("deactivate", {}), ("password", {}), ("second-factor", {})]
)
def test_nobody_acts_on_their_own_account_here(
    ada: Browser, desk: Desk, record: Record, act: str, fields: dict[str, str]
) -> None:
    desk.add_user("eve", "admin")
    record.new()
    do(ada, f"people/ada/{act}", **fields)
    assert "your own account" in ada.get("/accounts").text
    assert role_of(desk, "ada") == "admin"
    assert record.new() == []


def test_deactivating_ends_sessions_and_tokens_at_once(
    ada: Browser, app: Flask, desk: Desk, browser: Callable[..., Browser], record: Record
) -> None:
    password = desk.add_user("olga", "operator")
    olga = Browser(app)
    olga.sign_in("olga", password)
    token = {"Authorization": f"Bearer {desk.add_token('olga', 'operator')}"}
    record.new()
    assert do(ada, "people/olga/deactivate").status_code == 303
    assert olga.get("/trading").status_code == 303
    assert app.test_client().get("/api/admin/trading/mode", headers=token).status_code == 401
    assert Browser(app).sign_in("olga", password).status_code == 401
    [event] = record.new()
    assert event["before"] == {
        "active": True,
        "role": "operator",
        "sessions": 1,
        "tokens": event["before"]["tokens"],
    }
    assert len(event["before"]["tokens"]) == 1
    do(ada, "people/olga/reactivate")
    assert Browser(app).sign_in("olga", password).status_code == 303
    assert app.test_client().get("/api/admin/trading/mode", headers=token).status_code == 401


def test_a_deactivated_account_gets_no_tokens(ada: Browser, desk: Desk) -> None:
    desk.add_token("bot", "engine")
    do(ada, "people/bot/deactivate")
    answer = ada.post("/accounts/tokens", name="bot", role="engine")
    assert answer.status_code == 409
    assert "bot is deactivated" in answer.text
    assert desk.sql("SELECT count(*) FROM tokens WHERE revoked_at IS NULL") == [(0,)]


def test_to_load_anew_what_shows_a_secret_makes_no_other_one(ada: Browser, desk: Desk) -> None:
    [person, token] = re.findall(
        r'(?:people|tokens)" class.*name="form_id" value="([^"]+)"', ada.get("/accounts").text
    )
    for path, form_id, role in (("people", person, "viewer"), ("tokens", token, "engine")):
        fields = {"name": role, "role": role, "form_id": form_id}
        assert shown_once(ada.post(f"/accounts/{path}", **fields).text)
        again = ada.post(f"/accounts/{path}", **fields | {"name": f"{role}-2"})
        assert again.status_code == 303
        assert "shown once only" in ada.get("/accounts").text
    assert desk.sql("SELECT name FROM accounts ORDER BY id") == [("ada",), ("viewer",), ("engine",)]
    form = {"form_id": "reset", "confirmed": "yes"}
    assert shown_once(ada.post("/accounts/people/viewer/password", **form).text)
    before = desk.sql("SELECT password_hash FROM accounts WHERE name = 'viewer'")
    assert ada.post("/accounts/people/viewer/password", **form).status_code == 303
    assert desk.sql("SELECT password_hash FROM accounts WHERE name = 'viewer'") == before


def test_a_password_is_reset_and_shown_once(ada: Browser, app: Flask, desk: Desk) -> None:
    old = desk.add_user("olga", "operator")
    olga = Browser(app)
    olga.sign_in("olga", old)
    new = shown_once(do(ada, "people/olga/password").text)
    assert olga.get("/trading").status_code == 303
    assert Browser(app).sign_in("olga", old).status_code == 401
    assert Browser(app).sign_in("olga", new).status_code == 303
    assert new not in str(desk.sql("SELECT * FROM audit_events"))


def test_a_lost_second_factor_is_removed(ada: Browser, app: Flask, desk: Desk) -> None:
    password = desk.add_user("olga", "operator")
    olga = Browser(app)
    olga.sign_in("olga", password)
    enrol(desk, olga, password)
    assert Browser(app).sign_in("olga", password).headers["Location"].startswith("/login/code")
    do(ada, "people/olga/second-factor")
    assert olga.get("/trading").status_code == 303
    assert Browser(app).sign_in("olga", password).headers["Location"] == "/trading"
    assert desk.sql("SELECT count(*) FROM recovery_codes") == [(0,)]


@pytest.mark.parametrize("path", ["role", "deactivate", "reactivate", "password", "second-factor"])
def test_somebody_who_does_not_exist_is_said_to_be_nobody(ada: Browser, path: str) -> None:
    do(ada, f"people/nobody/{path}", role="viewer")
    assert "named nobody" in ada.get("/accounts").text


ROUTES = (
    *(f"people/{{}}/{act}" for act in ("role", "deactivate", "reactivate", "password", "second-factor")),
    "tokens/{}/revoke",
)
NOT_A_NAME = ("\0", "a\0b", "\ud800", "vera\n", " vera", "vera é", "\N{KELVIN SIGN}ai", "v" * 65, "v" * 10_000)


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("name", NOT_A_NAME, ids=range(len(NOT_A_NAME)))
def test_there_is_no_page_of_what_can_be_no_name(
    ada: Browser, desk: Desk, record: Record, route: str, name: str
) -> None:
    for known in ("vera", "kai"):
        desk.add_user(known, "viewer")
    record.new()
    path = "/accounts/" + route.format(quote(name, errors="surrogatepass"))
    for more in ({}, {"confirmed": "yes"}):
        assert ada.post(path, role="operator", **more).status_code == 404
    assert record.new() == []


@pytest.mark.parametrize("route", ROUTES)
def test_only_who_is_signed_in_is_told_so(stranger: Browser, browser: Callable[..., Browser], route: str) -> None:
    path = f"/accounts/{route.format('%00')}"
    assert stranger.post(path).headers["Location"].startswith("/login")
    assert browser("operator").post(path).status_code == 403


@pytest.mark.parametrize("name", NOT_A_NAME, ids=range(len(NOT_A_NAME)))
def test_nobody_is_found_by_what_can_be_no_name(app: Flask, desk: Desk, name: str) -> None:
    desk.add_user("kai", "viewer")
    acts: list[Callable[[], Any]] = [
        lambda: admin.set_role(TESTER, name, Role.OPERATOR),
        lambda: admin.deactivate(TESTER, name),
        lambda: admin.reactivate(TESTER, name),
        lambda: admin.reset_password(TESTER, name, "a horse, a horse"),
        lambda: admin.remove_second_factor(TESTER, name),
        lambda: users.revoke_token(TESTER, name),
    ]
    with app.app_context():
        assert admin.role_of(name) is None
        for act in acts:
            with pytest.raises(NotFound):
                act()


def test_a_name_is_found_however_it_is_spelt(ada: Browser, desk: Desk) -> None:
    desk.add_user("Vera", "viewer")
    do(ada, "people/vERA/role", role="operator")
    assert role_of(desk, "Vera") == "operator"


def test_an_admin_who_is_no_longer_one_does_nothing_more(
    ada: Browser, browser: Callable[..., Browser], desk: Desk
) -> None:
    eve = browser("admin", "eve")
    do(ada, "people/eve/role", role="viewer")
    assert do(eve, "people/ada/role", role="viewer").status_code == 403
    assert role_of(desk, "ada") == "admin"
