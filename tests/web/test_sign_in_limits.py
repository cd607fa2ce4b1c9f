"""Guessing passwords is slow for whoever guesses, and for nobody else."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from flask import Flask

from tests.serving import DEVICE_COOKIE, Desk
from tests.web.conftest import Browser

# The contract, in numbers: not read from the code that it tests.
FOR_ONE_ACCOUNT = 8
FOR_AN_ADDRESS = 30
UNDER_ATTACK = 3
ATTACKED_ABOVE = 40
FOR_A_DEVICE = 10
FOR_ALL_DEVICES = 30


@pytest.fixture
def password(desk: Desk) -> str:
    return desk.add_user("alice", "operator")


@pytest.fixture
def at(app: Flask) -> Callable[[str], Browser]:
    """A new browser at an address."""
    return lambda address: Browser(app, address=address)


def tried(desk: Desk, times: int, *, name: str = "alice", address: str = "192.0.2.1", ago: str = "1 min") -> None:
    """As if somebody had tried that often, without the wait for the hashing."""
    desk.sql(
        "INSERT INTO sign_in_attempts (name, address, attempted_at)"
        " SELECT %s, %s, now() - %s::interval FROM generate_series(1, %s)",
        name,
        address,
        ago,
        times,
    )


def test_after_some_wrong_guesses_even_the_right_password_has_to_wait(
    at: Callable[[str], Browser], desk: Desk, password: str
) -> None:
    guesser = at("192.0.2.1")
    for _ in range(FOR_ONE_ACCOUNT):
        assert guesser.sign_in("alice", "wrong").status_code == 401
    for guess in ("wrong", password):
        answer = guesser.sign_in("alice", guess)
        assert answer.status_code == 429
        assert 1 <= int(answer.headers["Retry-After"]) <= 15 * 60
        assert "wait 15 minutes" in answer.text
    assert guesser.get("/trading").status_code == 303


def test_a_refused_guess_does_not_make_the_wait_longer(
    at: Callable[[str], Browser], desk: Desk, password: str
) -> None:
    tried(desk, FOR_ONE_ACCOUNT)
    for _ in range(5):
        assert at("192.0.2.1").sign_in("alice", "wrong").status_code == 429
    assert desk.sql("SELECT count(*) FROM sign_in_attempts") == [(FOR_ONE_ACCOUNT,)]


@pytest.mark.parametrize(("ago", "minutes"), [("10 min", 5), ("14 min 1 s", 1), ("14 min 59 s", 1), ("5 s", 15)])
def test_the_wait_is_said_in_whole_minutes(
    at: Callable[[str], Browser], desk: Desk, password: str, ago: str, minutes: int
) -> None:
    tried(desk, FOR_ONE_ACCOUNT, ago=ago)
    answer = at("192.0.2.1").sign_in("alice", password)
    assert f"wait {minutes} minute" in answer.text
    assert 0 <= minutes * 60 - int(answer.headers["Retry-After"]) < 60


def test_the_tries_are_forgotten_after_fifteen_minutes(
    at: Callable[[str], Browser], desk: Desk, password: str
) -> None:
    tried(desk, FOR_ONE_ACCOUNT, ago="15 min 1 s")
    assert at("192.0.2.1").sign_in("alice", password).status_code == 303
    assert desk.sql("SELECT count(*) FROM sign_in_attempts") == [(0,)]


@pytest.mark.parametrize("name", ["ALICE", " alice ", "Alice", "aLiCe\t"])
def test_another_spelling_is_the_same_account(
    at: Callable[[str], Browser], desk: Desk, password: str, name: str
) -> None:
    tried(desk, FOR_ONE_ACCOUNT)
    assert at("192.0.2.1").sign_in(name, password).status_code == 429


def test_an_account_that_does_not_exist_is_counted_just_the_same(at: Callable[[str], Browser], desk: Desk) -> None:
    tried(desk, FOR_ONE_ACCOUNT - 1, name="nobody")
    assert at("192.0.2.1").sign_in("nobody", "wrong").status_code == 401
    assert at("192.0.2.1").sign_in("nobody", "wrong").status_code == 429


def test_the_right_password_is_not_counted(at: Callable[[str], Browser], desk: Desk, password: str) -> None:
    tried(desk, FOR_ONE_ACCOUNT - 1)
    for _ in range(3):
        assert at("192.0.2.1").sign_in("alice", password).status_code == 303
    assert desk.sql("SELECT count(*) FROM sign_in_attempts") == [(FOR_ONE_ACCOUNT - 1,)]


class TestByAddress:
    def test_one_address_has_so_many_tries_for_all_accounts_together(
        self, at: Callable[[str], Browser], desk: Desk, password: str
    ) -> None:
        for number in range(FOR_AN_ADDRESS):
            tried(desk, 1, name=f"user{number}")
        assert at("192.0.2.1").sign_in("alice", password).status_code == 429
        assert at("192.0.2.2").sign_in("alice", password).status_code == 303

    @pytest.mark.parametrize(
        ("guesser", "other", "same"),
        [
            ("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff", True),
            ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
            ("192.0.2.1", "192.0.2.2", False),
            ("fe80::1%eth0", "fe80::2", True),
            ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
            ("::ffff:192.0.2.1", "192.0.2.1", True),
        ],
    )
    def test_an_ipv6_customer_has_one_address(
        self, at: Callable[[str], Browser], desk: Desk, password: str, guesser: str, other: str, same: bool
    ) -> None:
        at(guesser).sign_in("alice", "wrong")
        desk.sql(
            "INSERT INTO sign_in_attempts (name, address) SELECT name, address FROM sign_in_attempts,"
            f" generate_series(2, {FOR_ONE_ACCOUNT})"
        )
        assert at(other).sign_in("alice", password).status_code == (429 if same else 303)

    @pytest.mark.parametrize(
        "header", ["X-Forwarded-For", "X-Real-IP", "Forwarded", "Client-IP", "True-Client-IP"]
    )
    def test_a_header_does_not_make_another_address(
        self, at: Callable[[str], Browser], desk: Desk, password: str, header: str
    ) -> None:
        tried(desk, FOR_ONE_ACCOUNT)
        guesser = at("192.0.2.1")
        form = {"csrf_token": guesser.csrf, "name": "alice", "password": password}
        assert guesser.open("POST", "/login", data=form, headers={header: "198.51.100.7"}).status_code == 429


class TestAStrangerCannotLockAnOperatorOut:
    def test_from_one_address(self, at: Callable[[str], Browser], desk: Desk, password: str) -> None:
        tried(desk, 1000, address="198.51.100.7")
        assert at("192.0.2.1").sign_in("alice", password).status_code == 303

    def test_from_many_addresses(self, at: Callable[[str], Browser], desk: Desk, password: str) -> None:
        for number in range(100):
            tried(desk, 5, address=f"198.51.100.{number}")
        assert at("192.0.2.1").sign_in("alice", password).status_code == 303

    def test_but_then_each_new_address_has_fewer_tries(
        self, at: Callable[[str], Browser], desk: Desk, password: str
    ) -> None:
        tried(desk, ATTACKED_ABOVE, address="198.51.100.7")
        guesser = at("192.0.2.1")
        said = [guesser.sign_in("alice", "wrong").status_code for _ in range(UNDER_ATTACK + 1)]
        assert said == [401] * UNDER_ATTACK + [429]

    def test_from_the_operators_own_address_once_the_operator_has_signed_in_there(
        self, at: Callable[[str], Browser], desk: Desk, password: str
    ) -> None:
        operator = at("192.0.2.1")
        operator.sign_in("alice", password)
        operator.post("/logout")
        tried(desk, 1000)
        assert at("192.0.2.1").sign_in("alice", password).status_code == 429
        assert operator.sign_in("alice", password).status_code == 303


class TestTheMarkOfABrowser:
    def marked(self, at: Callable[[str], Browser], name: str, password: str) -> Browser:
        browser = at("192.0.2.1")
        assert browser.sign_in(name, password).status_code == 303
        browser.post("/logout")
        return browser

    def test_is_counted_for_itself(self, at: Callable[[str], Browser], desk: Desk, password: str) -> None:
        browser = self.marked(at, "alice", password)
        for _ in range(FOR_A_DEVICE):
            assert browser.sign_in("alice", "wrong").status_code == 401
        assert browser.sign_in("alice", password).status_code == 429
        assert at("192.0.2.1").sign_in("alice", password).status_code == 303

    def test_is_nothing_any_more_once_many_of_them_fail_on_one_account(
        self, at: Callable[[str], Browser], desk: Desk, password: str
    ) -> None:
        """Marks that were copied, or made by someone with the secret key, do not multiply the tries."""
        browser = self.marked(at, "alice", password)
        desk.sql(
            "INSERT INTO sign_in_attempts (name, address, device)"
            " SELECT 'alice', '198.51.100.7', 'device-' || n FROM generate_series(1, %s) n",
            FOR_ALL_DEVICES,
        )
        assert browser.sign_in("alice", password).status_code == 303
        browser.post("/logout")
        tried(desk, FOR_ONE_ACCOUNT)
        assert browser.sign_in("alice", password).status_code == 429

    def test_of_one_person_is_nothing_for_another(
        self, at: Callable[[str], Browser], desk: Desk, password: str
    ) -> None:
        mallory = self.marked(at, "mallory", desk.add_user("mallory", "viewer"))
        tried(desk, FOR_ONE_ACCOUNT)
        assert mallory.sign_in("alice", password).status_code == 429

    @pytest.mark.parametrize("forged", ["", "x", "eyJhbGljZSI6ImEifQ.x", '{"alice":"a"}', "." * 4000, "é"])
    def test_that_was_forged_is_nothing(
        self, at: Callable[[str], Browser], desk: Desk, password: str, forged: str
    ) -> None:
        tried(desk, FOR_ONE_ACCOUNT)
        browser = at("192.0.2.1")
        browser.client.set_cookie(DEVICE_COOKIE, forged, path="/login")
        assert browser.sign_in("alice", password).status_code == 429

    def test_is_another_in_each_browser(self, at: Callable[[str], Browser], desk: Desk, password: str) -> None:
        first, second = self.marked(at, "alice", password), self.marked(at, "alice", password)
        mark = first.cookie(DEVICE_COOKIE, "/login")
        assert mark
        assert mark != second.cookie(DEVICE_COOKIE, "/login")

    def test_stays_the_same_in_one_browser(self, at: Callable[[str], Browser], desk: Desk, password: str) -> None:
        """Otherwise every success would come with a fresh set of tries."""
        browser = self.marked(at, "alice", password)
        mark = browser.cookie(DEVICE_COOKIE, "/login")
        browser.sign_in("ALICE", password)
        assert browser.cookie(DEVICE_COOKIE, "/login") == mark

    def test_is_only_sent_where_people_sign_in(
        self, at: Callable[[str], Browser], desk: Desk, password: str
    ) -> None:
        browser = self.marked(at, "alice", password)
        assert browser.cookie(DEVICE_COOKIE, "/") is None

    def test_a_desk_that_many_share_keeps_the_last_ten(self, at: Callable[[str], Browser], desk: Desk) -> None:
        browser = at("192.0.2.1")
        for number in range(12):
            assert browser.sign_in(f"user{number}", desk.add_user(f"user{number}", "viewer")).status_code == 303
            browser.post("/logout")
        assert len(browser.cookie(DEVICE_COOKIE, "/login") or "") < 2000


def test_an_address_that_was_refused_is_refused_from_memory(
    at: Callable[[str], Browser], desk: Desk, password: str
) -> None:
    """Before any lock, lookup or hash: with the counted tries gone, only memory can still refuse."""
    for number in range(FOR_AN_ADDRESS):
        tried(desk, 1, name=f"user{number}")
    assert at("192.0.2.1").sign_in("alice", password).status_code == 429
    desk.sql("DELETE FROM sign_in_attempts")
    again = at("192.0.2.1").sign_in("bob", "wrong")
    assert again.status_code == 429
    assert 830 <= int(again.headers["Retry-After"]) <= 840
    assert at("192.0.2.2").sign_in("alice", password).status_code == 303
    assert desk.sql("SELECT count(*) FROM sign_in_attempts") == [(0,)]


def test_an_account_that_was_refused_at_an_address_leaves_the_others_there_alone(
    at: Callable[[str], Browser], desk: Desk, password: str
) -> None:
    bob = desk.add_user("bob", "viewer")
    tried(desk, FOR_ONE_ACCOUNT)
    assert at("192.0.2.1").sign_in("alice", password).status_code == 429
    desk.sql("DELETE FROM sign_in_attempts")
    assert at("192.0.2.1").sign_in("ALICE", password).status_code == 429
    assert at("192.0.2.1").sign_in("bob", bob).status_code == 303


def test_a_known_device_at_a_refused_address_signs_in(
    at: Callable[[str], Browser], desk: Desk, password: str
) -> None:
    known = at("192.0.2.1")
    known.sign_in("alice", password)
    known.post("/logout")
    for number in range(FOR_AN_ADDRESS):
        tried(desk, 1, name=f"user{number}")
    assert at("192.0.2.1").sign_in("alice", password).status_code == 429
    assert known.sign_in("alice", password).status_code == 303


def test_guesses_that_are_sent_all_at_once_are_counted_one_by_one(app: Flask, desk: Desk, password: str) -> None:
    browsers = [Browser(app) for _ in range(FOR_ONE_ACCOUNT + 6)]
    forms = [{"csrf_token": browser.csrf, "name": "alice", "password": "wrong"} for browser in browsers]
    said: list[int] = []

    def guess(browser: Browser, form: dict[str, str]) -> None:
        said.append(browser.open("POST", "/login", data=form).status_code)

    guesses = [threading.Thread(target=guess, args=pair) for pair in zip(browsers, forms, strict=True)]
    for one in guesses:
        one.start()
    for one in guesses:
        one.join()
    assert sorted(said) == [401] * FOR_ONE_ACCOUNT + [429] * 6


def test_tokens_are_not_held_up_by_any_of_it(app: Flask, desk: Desk) -> None:
    token = desk.add_token("robot", "viewer")
    tried(desk, 1000)
    headers = {"Authorization": f"Bearer {token}"}
    assert app.test_client().get("/api/admin/trading/state", headers=headers).status_code == 200
