"""A credential that has ended decides nothing any more, not even what was asked for while it still held."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from flask import Flask

from app.domain.risk_config import TradingMode
from app.services.accounts import login, users
from app.services.actor import Actor
from app.services.errors import Forbidden
from app.services.orders import approvals
from app.services.trading import config
from tests.conftest import Api
from tests.desk.orders import Act, account, actor_of, moves, place_waiting, transaction, written
from tests.desk.test_rules_lock import holder
from tests.serving import TESTER, Desk

DECIDE: dict[str, Callable[[Actor, UUID], Any]] = {
    "approve": lambda actor, order: approvals.approve(actor, order, None),
    "reject": lambda actor, order: approvals.reject(actor, order, "no"),
}
KEPT = "SELECT 1 FROM orders WHERE id = %s FOR UPDATE"


def with_token(desk: Desk) -> tuple[Actor, Callable[[], None]]:
    """An operator with a token, and how it is revoked."""
    token_id = desk.add_token("operator", "operator").partition(".")[0]
    actor = replace(actor_of(desk, "operator"), token_id=token_id)
    return actor, lambda: users.revoke_token(TESTER, token_id)


def with_session(desk: Desk) -> tuple[Actor, Callable[[], None]]:
    """A person who has signed in, and how they sign out."""
    password = desk.add_user("alice", "operator")
    with desk.app.app_context():
        signed_in = login.sign_in("alice", password, address="1.2.3.4", device_names={}, request_id="r")
    assert signed_in is not None
    person, secret = signed_in
    assert person.session_hash == hashlib.sha256(secret.encode()).digest()
    actor = replace(actor_of(desk, "alice"), session_hash=person.session_hash)
    return actor, lambda: login.sign_out(actor, secret)


CREDENTIALS = {"a token": with_token, "a session": with_session}


@pytest.fixture
def order(desk: Desk) -> str:
    [id_] = place_waiting(desk, account(desk, "engine", "engine"), 1)
    return id_


@pytest.mark.parametrize("what", DECIDE)
@pytest.mark.parametrize("credential", CREDENTIALS)
def test_what_waits_for_the_row_when_it_ends_is_not_decided(
    desk: Desk, app: Flask, order: str, credential: str, what: str
) -> None:
    actor, end = CREDENTIALS[credential](desk)
    with transaction(desk) as other:
        other.execute(KEPT, [order])
        decision = Act(app, lambda: DECIDE[what](actor, UUID(order)))
        assert decision.waits(desk, "transactionid")
        ending = Act(app, end)
        assert ending.done() is None, "the decision gives the lock on the rules back while it waits for the row"
        assert decision.thread.is_alive()
    refused = decision.done()
    assert isinstance(refused, Forbidden)
    assert refused.code == "credential_revoked"
    assert (written(desk, order), moves(desk, order)) == ("pending_approval", [])


@pytest.mark.parametrize("credential", CREDENTIALS)
def test_it_is_not_acknowledged_while_a_decision_is_under_way(desk: Desk, app: Flask, credential: str) -> None:
    _, end = CREDENTIALS[credential](desk)
    with holder(desk):
        ending = Act(app, end)
        assert ending.waits(desk)
    assert ending.done() is None


def test_the_routes_name_the_credential(desk: Desk, app: Flask, operator: Api, order: str) -> None:
    """From the header to the row lock, and back as 403."""
    [(token_id,)] = desk.sql("SELECT id FROM tokens")
    with transaction(desk) as other:
        other.execute(KEPT, [order])
        decision = Act(app, lambda: operator.post(f"/approvals/{order}/approve", {}))
        assert decision.waits(desk, "transactionid")
        Act(app, lambda: users.revoke_token(TESTER, token_id)).done()
    answer = decision.done()
    assert (answer.status_code, answer.json["code"]) == (403, "credential_revoked")
    assert written(desk, order) == "pending_approval"
    assert operator.post(f"/approvals/{order}/approve", {}).status_code == 401


@pytest.mark.parametrize(
    "change",
    [
        lambda actor: config.change_mode(actor, TradingMode.LIVE, leaving=TradingMode.PAPER, reason="r"),
        lambda actor: config.change_approval_config(actor, {"auto_approve_paper": False}),
        lambda actor: config.replace(actor, {"x": 1}, expected_versions=None),
    ],
)
def test_what_waits_for_the_rules_when_it_ends_changes_none(
    desk: Desk, app: Flask, change: Callable[[Actor], Any]
) -> None:
    token_id = desk.add_token("admin", "admin", allow_live=True).partition(".")[0]
    admin = replace(actor_of(desk, "admin"), token_id=token_id)
    with holder(desk) as connection:
        connection.execute("UPDATE tokens SET revoked_at = now()")
        act = Act(app, lambda: change(admin))
        assert act.waits(desk)
    assert isinstance(act.done(), Forbidden)
    assert desk.sql("SELECT trading_mode, version FROM risk_configs") == [("paper", 1)]
