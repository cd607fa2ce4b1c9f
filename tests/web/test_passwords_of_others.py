"""A password that another person set is changed before anything else."""

from __future__ import annotations

import pytest
from flask import Flask

from tests.conftest import API
from tests.serving import Desk
from tests.web.conftest import Browser, assert_problem
from tests.web.people import enrol, shown_once

NEW = "a horse of another colour"


@pytest.fixture
def ada(app: Flask, desk: Desk) -> Browser:
    made = Browser(app)
    assert made.sign_in("ada", desk.add_user("ada", "admin")).status_code == 303
    return made


def signed_in(app: Flask, name: str, password: str) -> Browser:
    made = Browser(app)
    assert made.sign_in(name, password).status_code == 303
    return made


@pytest.fixture
def olga(app: Flask, ada: Browser) -> tuple[Browser, str]:
    """An operator whom ada has just added, and her first password."""
    password = shown_once(ada.post("/accounts/people", name="olga", role="operator").text)
    return signed_in(app, "olga", password), password


def test_nothing_else_is_possible_before(olga: tuple[Browser, str], desk: Desk, app: Flask) -> None:
    person, _ = olga
    for path in ("/trading", "/audit", "/account", "/history", "/accounts"):
        answer = person.get(path)
        if answer.status_code != 404:
            assert (answer.status_code, answer.headers.get("Location")) == (303, "/account/password"), path
    assert person.post("/trading/halt").headers["Location"] == "/account/password"
    assert person.post("/account/second-factor/start", password="x").headers["Location"] == "/account/password"
    assert_problem(person.open("GET", f"{API}/state"), 403, "password_change_required")
    assert_problem(person.open("GET", f"{API}/stream"), 403, "password_change_required")
    assert_problem(person.json("PUT", "/mode", {"trading_mode": "disabled"}), 403, "password_change_required")
    assert desk.sql("SELECT trading_mode FROM risk_configs") == [("paper",)]


def test_and_then_everything_is(olga: tuple[Browser, str], app: Flask, ada: Browser) -> None:
    person, password = olga
    assert "temporary password" in ada.get("/accounts").text
    page = person.get("/account/password")
    assert page.status_code == 200
    assert "Change your password" in page.text
    form = {"password": password, "new_password": NEW, "again": NEW}
    answer = person.post("/account/password", **form)
    assert answer.headers["Location"] == "/"
    trading = person.get("/", follow_redirects=True)
    assert "Your password is changed." in trading.text
    assert person.json("PUT", "/mode", {"trading_mode": "disabled"}).status_code == 200
    assert person.get("/account/password").headers["Location"] == "/account"
    assert "temporary password" not in ada.get("/accounts").text
    assert signed_in(app, "olga", NEW).get("/trading").status_code == 200


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"password": "wrong", "new_password": NEW, "again": NEW}, "The password is wrong"),
        ({"new_password": "short", "again": "short"}, "characters"),
        ({"new_password": NEW, "again": f"{NEW}s"}, "must be the same as the new one"),
        ({"new_password": ..., "again": ...}, "must differ from the current one"),
    ],
)
def test_a_change_that_is_refused_leaves_the_person_there(
    olga: tuple[Browser, str], form: dict[str, str], words: str
) -> None:
    person, password = olga
    fields = {"password": password} | {name: password if text is ... else text for name, text in form.items()}
    person.post("/account/password", **fields)
    page = person.get("/account", follow_redirects=True)
    assert words in page.text
    assert "Change your password" in page.text
    assert person.get("/trading").status_code == 303


def test_signing_out_is_possible(olga: tuple[Browser, str]) -> None:
    person, _ = olga
    assert person.post("/logout").headers["Location"] == "/login"


def test_one_from_the_command_line_need_not_be_changed(app: Flask, desk: Desk) -> None:
    assert signed_in(app, "olga", desk.add_user("olga", "operator")).get("/trading").status_code == 200


def test_so_it_is_after_a_reset_and_after_a_second_factor_was_removed(
    app: Flask, desk: Desk, ada: Browser
) -> None:
    password = desk.add_user("olga", "operator")
    person = signed_in(app, "olga", password)
    enrol(desk, person, password)
    ada.post("/accounts/people/olga/second-factor", confirmed="yes")
    person = signed_in(app, "olga", password)
    assert person.get("/trading").headers["Location"] == "/account/password"
    person.post("/account/password", password=password, new_password=NEW, again=NEW)
    assert person.get("/trading").status_code == 200
    new = shown_once(ada.post("/accounts/people/olga/password", confirmed="yes").text)
    assert signed_in(app, "olga", new).get("/trading").headers["Location"] == "/account/password"


def test_a_token_of_the_person_goes_on(app: Flask, desk: Desk, ada: Browser) -> None:
    """It was made in a session of theirs. What ada controls meanwhile, it does not approve."""
    desk.add_user("olga", "operator")
    token = {"Authorization": f"Bearer {desk.add_token('olga', 'operator')}"}
    ada.post("/accounts/people/olga/password", confirmed="yes")
    assert app.test_client().get(f"{API}/mode", headers=token).status_code == 200
