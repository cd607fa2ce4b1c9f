"""New passwords are hard to guess; whether an account exists is not told by the time that a wrong one takes."""

from __future__ import annotations

import time
from unittest.mock import patch

import pytest
from argon2 import PasswordHasher
from flask import Flask
from zxcvbn.frequency_lists import FREQUENCY_LISTS

from app.services.accounts import users
from app.services.accounts.password_strength import is_easy_to_guess
from app.services.errors import Invalid
from tests.serving import Desk


def test_nobodys_hash_costs_what_a_persons_costs(real_password_hashes: PasswordHasher) -> None:
    assert not real_password_hashes.check_needs_rehash(users.NOBODYS_HASH)


@pytest.mark.usefixtures("real_password_hashes")
def test_a_password_is_hashed_with_the_parameters_of_the_application() -> None:
    assert users.hash_password("alice", "a long password").startswith("$argon2id$v=19$m=19456,t=2,p=1$")


@pytest.mark.parametrize("name", ["alice", "nobody", "robot", "", "a" * 500])
def test_a_wrong_password_is_always_looked_at(desk: Desk, app: Flask, name: str) -> None:
    desk.add_user("alice", "viewer")
    desk.add_token("robot", "viewer")
    with (
        app.app_context(),
        patch.object(PasswordHasher, "verify", autospec=True, side_effect=PasswordHasher.verify) as v,
    ):
        assert users.password_matches(name, "wrong password") is None
    assert v.call_count == 1


@pytest.mark.parametrize(
    "password",
    [
        "password",
        "12345678",
        "aaaaaaaa",
        "iloveyou",
        "Password1!",
        "qwertyuiop",
        "p@ssw0rd",
        "abcdefgh",
        "x" * 256,
    ],
)
def test_refuses_a_common_password_and_says_what_to_do(password: str) -> None:
    with pytest.raises(Invalid) as error:
        users.hash_password("alice", password)
    assert "use four or more unrelated words" in error.value.errors["password"][0]


def test_refuses_the_ten_thousand_most_common_passwords() -> None:
    common = list(FREQUENCY_LISTS["passwords"])[:10_000:40]  # sampled: all of them take five seconds
    assert [each for each in common if not is_easy_to_guess(each)] == []


@pytest.mark.parametrize("password", ["correct horse", "kJ8fLq2x", "a-good-password", "ein schönes Wort"])
def test_accepts_unrelated_words_and_random_characters(password: str) -> None:
    assert users.hash_password("alice", password).startswith("$argon2id$")


@pytest.mark.parametrize("password", ["4@8({[<369&!1|0$5+7%2" * 12, "aA4@" * 64, "1" * 256, "İ" * 256])
def test_the_time_that_a_long_password_takes_is_bounded(password: str) -> None:
    """The first takes five seconds where 72 characters of it are looked at."""
    began = time.thread_time()
    is_easy_to_guess(password[:256])
    assert time.thread_time() - began < 2


def test_a_common_password_that_was_set_earlier_still_signs_in(desk: Desk, app: Flask) -> None:
    desk.add_user("alice", "viewer")
    desk.sql("UPDATE accounts SET password_hash = %s", users.HASHER.hash("password"))
    with app.app_context():
        assert users.password_matches("alice", "password") is not None
