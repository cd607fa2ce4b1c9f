"""Whether an account exists is not told by the time that a wrong password takes."""

from __future__ import annotations

from unittest.mock import patch

import pytest
from argon2 import PasswordHasher
from flask import Flask

from app import accounts
from tests.serving import Desk


def test_nobodys_hash_costs_what_a_persons_costs() -> None:
    assert not accounts.HASHER.check_needs_rehash(accounts.NOBODYS_HASH)


@pytest.mark.parametrize("name", ["alice", "nobody", "robot", "", "a" * 500])
def test_a_wrong_password_is_always_looked_at(desk: Desk, app: Flask, name: str) -> None:
    desk.add_user("alice", "viewer")
    desk.add_token("robot", "viewer")
    with (
        app.app_context(),
        patch.object(PasswordHasher, "verify", autospec=True, side_effect=PasswordHasher.verify) as v,
    ):
        assert accounts.password_matches(name, "wrong password") is None
    assert v.call_count == 1
