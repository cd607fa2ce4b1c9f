"""What makes, restores or demotes an admin asks for a code in its own transaction, whatever the page saw."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyotp
import pytest
from flask import Flask

from app.domain.roles import Role
from app.services.accounts import admin, two_factor
from app.services.accounts.two_factor import Proof, WrongCode
from app.services.actor import Actor
from app.services.errors import Invalid
from tests.desk.test_accounts_at_once import signed_in
from tests.serving import TESTER, Desk

PASSWORD = "a horse, a horse"
ACTS: dict[str, Callable[[Actor, Proof | None], Any]] = {
    "add": lambda actor, proof: admin.add(actor, "mallory", Role.ADMIN, PASSWORD, proof),
    "promote": lambda actor, proof: admin.set_role(actor, "olga", Role.ADMIN, proof),
    "demote": lambda actor, proof: admin.set_role(actor, "eve", Role.VIEWER, proof),
    "reset the password": lambda actor, proof: admin.reset_password(actor, "eve", PASSWORD, proof),
    "remove the second factor": lambda actor, proof: admin.remove_second_factor(actor, "eve", proof),
    "reactivate": lambda actor, proof: admin.reactivate(actor, "gone", proof),
}


@pytest.fixture
def ada(desk: Desk, app: Flask) -> Actor:
    """An admin with a second factor, where going live takes one; with her eve, who has one too, olga and gone."""
    (ada, _), (eve, _) = signed_in(desk, "ada", "admin"), signed_in(desk, "eve", "admin")
    for actor in (ada, eve):
        with app.app_context():
            secret = two_factor.start(actor).secret
            two_factor.confirm(actor, secret, pyotp.TOTP(secret).now())
    desk.add_user("olga", "operator")
    desk.add_user("gone", "admin")
    desk.sql("UPDATE accounts SET deactivated_at = now() WHERE name = 'gone'")
    desk.sql("UPDATE second_factors SET last_step = 0")
    desk.sql("UPDATE risk_configs SET second_factor_for_live = true")
    return ada


def everybody(desk: Desk) -> list[tuple[Any, ...]]:
    return desk.sql(
        "SELECT name, role, password_hash, deactivated_at, confirmed_at"
        " FROM accounts LEFT JOIN second_factors ON account_id = accounts.id ORDER BY 1"
    )


@pytest.mark.parametrize("act", ACTS)
def test_it_takes_a_code_that_counts_for_nothing_else(desk: Desk, app: Flask, ada: Actor, act: str) -> None:
    assert ada.account_id is not None
    proof, before = Proof(ada.account_id, 7), everybody(desk)
    with app.app_context():
        with pytest.raises(Invalid) as refused:
            ACTS[act](ada, None)
        assert set(refused.value.errors) == {"totp_code"}
        desk.sql("UPDATE second_factors SET last_step = 7")
        with pytest.raises(WrongCode):
            ACTS[act](ada, proof)
        assert everybody(desk) == before
        desk.sql("UPDATE second_factors SET last_step = 6")
        ACTS[act](ada, proof)
    assert everybody(desk) != before
    assert desk.sql("SELECT last_step FROM second_factors WHERE account_id = %s", ada.account_id) == [(7,)]


@pytest.mark.parametrize("act", ACTS)
def test_the_shell_needs_none(desk: Desk, app: Flask, ada: Actor, act: str) -> None:
    before = everybody(desk)
    with app.app_context():
        ACTS[act](TESTER, None)
    assert everybody(desk) != before


@pytest.mark.parametrize("act", ACTS)
def test_nor_does_anybody_where_going_live_takes_none(desk: Desk, app: Flask, ada: Actor, act: str) -> None:
    desk.sql("UPDATE risk_configs SET second_factor_for_live = false")
    before = everybody(desk)
    with app.app_context():
        ACTS[act](ada, None)
    assert everybody(desk) != before
