"""Sudo mode: acts that make or restore power ask for the password again, ten minutes after it was last given."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from app.services.accounts import login
from tests.desk.orders import actor_of, place_waiting
from tests.serving import Desk
from tests.web.conftest import Browser, Record
from tests.web.people import Authenticator, enrol, shown_once

HIDDEN = re.compile(r'<input type="hidden" name="([^"]+)" value="([^"]*)">')
ACTS: dict[str, tuple[str, dict[str, str]]] = {
    "add an admin": ("people", {"name": "mallory", "role": "admin"}),
    "make an operator's token": ("tokens", {"name": "script", "role": "operator"}),
    "make an admin's token": ("tokens", {"name": "script", "role": "admin", "allow_live": "true"}),
    "promote to admin": ("people/olga/role", {"role": "admin", "confirmed": "yes"}),
    "reset a password": ("people/olga/password", {"confirmed": "yes"}),
    "remove a second factor": ("people/olga/second-factor", {"confirmed": "yes"}),
}
# What only stops somebody, or gives nothing that an operator could misuse.
OTHERS: dict[str, tuple[str, dict[str, str]]] = {
    "add a viewer": ("people", {"name": "vera", "role": "viewer"}),
    "add an operator": ("people", {"name": "otto", "role": "operator"}),
    "make an engine's token": ("tokens", {"name": "bot", "role": "engine"}),
    "make a viewer's token": ("tokens", {"name": "reader", "role": "viewer"}),
    "demote": ("people/olga/role", {"role": "viewer", "confirmed": "yes"}),
    "deactivate": ("people/olga/deactivate", {"confirmed": "yes"}),
}


class Admin:
    def __init__(self, app: Flask, desk: Desk) -> None:
        self.desk = desk
        self.password = desk.add_user("ada", "admin")
        self.browser = Browser(app)
        assert self.browser.sign_in("ada", self.password).status_code == 303

    def later(self, minutes: int = 11) -> None:
        self.desk.sql("UPDATE web_sessions SET confirmed_at = confirmed_at - make_interval(mins => %s)", minutes)

    def post(self, path: str, **fields: str) -> TestResponse:
        return self.browser.post(f"/accounts/{path}", **fields)

    def go_on(self, page: TestResponse, path: str, **fields: str) -> TestResponse:
        """Send the form of the page that asks, as a browser without JavaScript does."""
        kept = {name: value for name, value in HIDDEN.findall(page.text) if name != "csrf_token"}
        return self.post(path, **kept | fields)


@pytest.fixture
def ada(app: Flask, desk: Desk) -> Admin:
    """With olga, who has a second factor."""
    password = desk.add_user("olga", "operator")
    olga = Browser(app)
    olga.sign_in("olga", password)
    enrol(desk, olga, password)
    return Admin(app, desk)


def state(desk: Desk) -> list[object]:
    return [
        desk.sql("SELECT name, role, password_hash, deactivated_at FROM accounts ORDER BY id"),
        desk.sql("SELECT count(*) FROM tokens"),
        desk.sql("SELECT count(*) FROM second_factors"),
        desk.sql("SELECT second_factor_for_live FROM risk_configs"),
    ]


@pytest.mark.parametrize("act", ACTS)
def test_an_act_asks_for_the_password_and_then_goes_on(ada: Admin, desk: Desk, act: str, record: Record) -> None:
    path, fields = ACTS[act]
    ada.later()
    before = state(desk)
    asked = ada.post(path, **fields)
    assert 'name="current_password"' in asked.text
    assert 'name="totp_code"' not in asked.text, "she has no second factor"
    assert (state(desk), record.new()) == (before, [])
    for wrong in ("", "not the password"):
        again = ada.go_on(asked, path, current_password=wrong)
        assert again.status_code == 422
        assert "The password is wrong" in again.text
        assert 'name="current_password"' in again.text
        assert f'value="{wrong}"' not in again.text or not wrong
    assert state(desk) == before
    assert ada.go_on(asked, path, current_password=ada.password).status_code in (200, 303)
    assert state(desk) != before


@pytest.mark.parametrize("act", ACTS)
def test_an_act_does_not_ask_within_ten_minutes_of_the_sign_in(ada: Admin, desk: Desk, act: str) -> None:
    path, fields = ACTS[act]
    ada.later(9)
    before = state(desk)
    assert "current_password" not in ada.post(path, **fields).text
    assert state(desk) != before


@pytest.mark.parametrize("act", OTHERS)
def test_what_needs_no_confirmation_does_not_ask(ada: Admin, desk: Desk, act: str) -> None:
    path, fields = OTHERS[act]
    ada.later()
    before = state(desk)
    assert "current_password" not in ada.post(path, **fields).text
    assert state(desk) != before


def test_a_confirmation_lasts_for_the_acts_of_ten_minutes(ada: Admin, desk: Desk) -> None:
    ada.later()
    path, fields = ACTS["make an operator's token"]
    page = ada.go_on(ada.post(path, **fields), path, current_password=ada.password)
    assert shown_once(page.text)
    assert shown_once(ada.post(path, **fields | {"name": "another"}).text)
    ada.later()
    assert "current_password" in ada.post(path, **fields | {"name": "third"}).text


def test_of_another_session_it_is_worth_nothing(ada: Admin, app: Flask, desk: Desk) -> None:
    elsewhere = Browser(app)
    elsewhere.sign_in("ada", ada.password)
    ada.later()
    path, fields = ACTS["make an admin's token"]
    ada.go_on(ada.post(path, **fields), path, current_password=ada.password)
    assert "current_password" in elsewhere.post(f"/accounts/{path}", **fields | {"name": "x"}).text


def test_the_question_before_the_act_asks_for_the_password_too(ada: Admin) -> None:
    ada.later()
    asked = ada.post("people/olga/password")
    assert "Reset the password of olga?" in asked.text
    assert 'name="current_password"' in asked.text
    assert "current_password" not in ada.post("people/olga/deactivate").text


def test_what_was_typed_is_kept_but_passwords_are_not_shown(ada: Admin, app: Flask, desk: Desk) -> None:
    ada.later()
    first = "staple of correct horses"
    asked = ada.post("people", name="mallory", role="admin", password=first)
    assert first not in asked.text
    assert "First password of mallory, again" in asked.text
    done = ada.go_on(asked, "people", current_password=ada.password, password=first)
    assert done.status_code == 303
    assert Browser(app).sign_in("mallory", first).status_code == 303


def test_wrong_passwords_are_counted_and_end_in_a_pause(ada: Admin, desk: Desk) -> None:
    ada.later()
    path, fields = ACTS["make an admin's token"]
    asked = ada.post(path, **fields)
    for _ in range(login.TRIES_FOR_DEVICE):
        assert ada.go_on(asked, path, current_password="wrong").status_code == 422
    refused = ada.go_on(asked, path, current_password=ada.password)
    assert refused.status_code == 429
    assert "Too many failed tries" in refused.text
    assert desk.sql("SELECT count(*) FROM tokens") == [(0,)]


class TestWithASecondFactor:
    @pytest.fixture
    def authenticator(self, ada: Admin, desk: Desk) -> Authenticator:
        return enrol(desk, ada.browser, ada.password)[0]

    def test_it_asks_for_a_code_as_well_which_counts_once(
        self, ada: Admin, desk: Desk, authenticator: Authenticator
    ) -> None:
        ada.later()
        path, fields = ACTS["make an admin's token"]
        asked = ada.post(path, **fields)
        assert 'name="totp_code"' in asked.text
        before = state(desk)
        without = ada.go_on(asked, path, current_password=ada.password)
        assert without.status_code == 422
        wrong = ada.go_on(asked, path, current_password=ada.password, totp_code=authenticator.wrong())
        assert wrong.status_code == 403
        assert 'name="totp_code"' in wrong.text
        assert state(desk) == before
        code = authenticator.code()
        no_password = ada.go_on(asked, path, current_password="wrong", totp_code=code)
        assert no_password.status_code == 422
        assert shown_once(ada.go_on(asked, path, current_password=ada.password, totp_code=code).text)
        ada.later()
        again = ada.go_on(asked, path, current_password=ada.password, totp_code=code, name="another")
        assert again.status_code == 403

    def test_one_code_serves_for_both_where_the_act_takes_one(
        self, ada: Admin, desk: Desk, authenticator: Authenticator
    ) -> None:
        desk.sql("UPDATE risk_configs SET second_factor_for_live = true")
        ada.later()
        for act, name in (("make an admin's token", "script"), ("add an admin", "mallory")):
            path, fields = ACTS[act]
            ada.later()
            asked = ada.post(path, **fields, totp_code=authenticator.code())
            assert 'name="current_password"' in asked.text
            done = ada.go_on(asked, path, current_password=ada.password, totp_code=authenticator.code())
            assert shown_once(done.text)
            assert desk.sql("SELECT role FROM accounts WHERE name = %s", name) == [("admin",)]

    @pytest.mark.parametrize("required", ["true", "false"])
    def test_the_policy_asks_too(
        self, ada: Admin, desk: Desk, authenticator: Authenticator, required: str
    ) -> None:
        desk.sql("UPDATE risk_configs SET second_factor_for_live = %s", required == "false")
        before = state(desk)
        ada.later()
        form = {"required": required, "confirmed": "yes"}
        asked = ada.post("second-factor-for-live", **form, totp_code=authenticator.code())
        assert 'name="current_password"' in asked.text
        assert state(desk) == before
        done = ada.go_on(
            asked, "second-factor-for-live", current_password=ada.password, totp_code=authenticator.code()
        )
        assert done.status_code == 303
        assert state(desk) != before


class TestAnAdminsToken:
    """Takes the second factor that making an admin takes."""

    def test_takes_a_code_where_going_live_does(self, ada: Admin, desk: Desk) -> None:
        authenticator, _ = enrol(desk, ada.browser, ada.password)
        desk.sql("UPDATE risk_configs SET second_factor_for_live = true")
        fields = {"name": "script", "role": "admin"}
        refused = ada.post("tokens", **fields)
        assert refused.status_code == 422
        assert "The code is required" in refused.text
        assert 'value="script"' in refused.text
        assert ada.post("tokens", **fields, totp_code=authenticator.wrong()).status_code == 403
        assert desk.sql("SELECT count(*) FROM tokens") == [(0,)]
        assert shown_once(ada.post("tokens", **fields, totp_code=authenticator.code()).text)
        assert shown_once(ada.post("tokens", name="other", role="operator").text), "an operator's takes none"

    def test_cannot_be_made_by_an_admin_without_one(self, ada: Admin, desk: Desk) -> None:
        desk.sql("UPDATE risk_configs SET second_factor_for_live = true")
        answer = ada.post("tokens", name="script", role="admin", totp_code="000000")
        assert "set one up on your Account page" in answer.text
        assert desk.sql("SELECT count(*) FROM tokens") == [(0,)]


def test_a_new_owner_is_named_after_a_question(browser: Callable[..., Browser], desk: Desk) -> None:
    ada = browser("admin", "ada")
    desk.add_user("olga", "operator")
    desk.add_user("bob", "operator")
    desk.add_token("bot", "engine", owner="olga")
    ada.post("/accounts/people/olga/deactivate", confirmed="yes")
    page = ada.get("/accounts").text
    assert "suspended" in page
    assert "/accounts/services/bot/owner" in page
    question = ada.post("/accounts/services/bot/owner", owner="bob").text
    assert "Give bot to bob?" in question
    assert "If bot is suspended, it is resumed" in question
    assert "suspended" in ada.get("/accounts").text
    ada.post("/accounts/services/bot/owner", owner="bob", confirmed="yes")
    page = ada.get("/accounts").text
    assert "bob owns bot now. Resumed: bot." in page
    mine = ada.post("/accounts/tokens", name="mine", role="engine", owner="olga")
    assert mine.status_code == 422
    ada.post("/accounts/tokens", name="mine", role="engine", owner="bob")
    refused = ada.post("/accounts/services/mine/owner", owner="bob", confirmed="yes")
    assert (refused.status_code, refused.location) == (303, "/accounts")
    assert "You control this account" in ada.get("/accounts").text


def test_deactivating_lists_what_stops_before_and_after(
    browser: Callable[..., Browser], desk: Desk, record: Record
) -> None:
    ada = browser("admin", "ada")
    desk.add_user("olga", "operator")
    for name, role in (("bot", "engine"), ("script", "operator"), ("reader", "viewer")):
        desk.add_token(name, role, owner="olga")
    place_waiting(desk, actor_of(desk, "bot"), 2)
    [open_there, *_] = place_waiting(desk, actor_of(desk, "bot"), 1, ticker="MSFT")
    desk.sql(
        "UPDATE orders SET status = 'accepted', decided_at = clock_timestamp(), decided_by = 'system:gate',"
        " expires_at = NULL, send_by = clock_timestamp() + interval '1 h', sent_at = clock_timestamp(),"
        " venue_id = 'v1' WHERE id = %s",
        open_there,
    )
    told = (
        "bot (engine) is suspended: its tokens are refused, and its pending orders are canceled (2). These of its"
        " orders stay at the broker: buy 10 MSFT (accepted)."
    )
    asked = ada.post("/accounts/people/olga/role", role="viewer").text
    assert told in asked
    assert "script (operator) is suspended" in asked
    assert "reader" not in asked
    asked = ada.post("/accounts/people/olga/deactivate").text
    assert told in asked
    assert "reader (viewer) is suspended" in asked
    ada.post("/accounts/people/olga/deactivate", confirmed="yes")
    assert told in ada.get("/accounts").text
    assert (
        "Service accounts that were suspended with olga are resumed"
        in ada.post("/accounts/people/olga/reactivate").text
    )
    ada.post("/accounts/people/olga/reactivate", confirmed="yes")
    assert "Resumed: bot, reader, script." in ada.get("/accounts").text
