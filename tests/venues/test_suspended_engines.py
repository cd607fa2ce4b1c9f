"""Orders of an engine whose owner is deactivated: what was not sent never is; what is at the broker is listed."""

from __future__ import annotations

import uuid

import pytest
from flask import Flask

from app.domain.roles import Role
from app.services.accounts import admin
from app.services.actor import Actor
from app.services.execution.dispatcher import Dispatch
from tests.desk.orders import Act, account
from tests.desk.test_rules_lock import holder
from tests.serving import TESTER, Desk
from tests.venues.sending import Release, at_the_venue, later, reasons, status
from tests.venues.stand_in import Venue


@pytest.fixture
def engine(desk: Desk) -> Actor:
    desk.add_user("ada", "admin")
    desk.add_user("olga", "operator")
    [(number,)] = desk.sql("SELECT id FROM accounts WHERE name = 'olga'")
    return account(desk, "momentum", "engine", Actor("olga", Role.OPERATOR, "r", number))


def test_a_released_order_is_not_sent_any_more(
    release: Release, dispatch: Dispatch, venue: Venue, desk: Desk
) -> None:
    order_id = release()
    admin.deactivate(TESTER, "olga")
    dispatch.once()  # at once, and not only when it would have been tried again
    assert (status(desk, order_id), at_the_venue(venue, order_id)) == ("canceled", 0)
    assert reasons(desk, order_id) == ["account_suspended"]
    admin.reactivate(TESTER, "olga")
    later(desk, order_id)
    dispatch.once()
    assert status(desk, order_id) == "canceled"


def test_nor_one_of_an_engine_that_is_itself_deactivated(
    release: Release, dispatch: Dispatch, venue: Venue, desk: Desk
) -> None:
    order_id = release()
    admin.deactivate(TESTER, "momentum")
    dispatch.forward(order_id, TESTER)
    assert (status(desk, order_id), at_the_venue(venue, order_id)) == ("canceled", 0)


def test_one_that_was_not_sent_for_certain_is_not_sent_again(
    release: Release, dispatch: Dispatch, venue: Venue, desk: Desk
) -> None:
    order_id = release()
    venue.go_away()
    dispatch.forward(order_id, TESTER)
    assert status(desk, order_id) in ("released", "sending")
    admin.deactivate(TESTER, "olga")
    later(desk, order_id)
    dispatch.once()
    assert status(desk, order_id) != "accepted"
    assert at_the_venue(venue, order_id) == 0


def test_sending_waits_for_the_suspension(
    release: Release, dispatch: Dispatch, venue: Venue, desk: Desk, app: Flask
) -> None:
    """It reads whether the engine is suspended under the lock that the suspension holds to itself."""
    order_id = release()
    with holder(desk, "") as other:
        sending = Act(app, lambda: dispatch.forward(order_id, TESTER))
        assert sending.waits(desk)
        other.execute("UPDATE accounts SET suspended_at = now() WHERE name = 'momentum'")
    assert sending.done() is None
    assert (status(desk, order_id), at_the_venue(venue, order_id)) == ("canceled", 0)


def test_what_is_at_the_broker_is_listed_and_stays(
    release: Release, dispatch: Dispatch, venue: Venue, desk: Desk
) -> None:
    order_id: uuid.UUID = release()
    dispatch.forward(order_id, TESTER)
    [foreseen] = admin.preview("olga", None)
    [stopped] = admin.deactivate(TESTER, "olga").stopped
    for each in (foreseen, stopped):
        assert [(order["id"], order["status"]) for order in each.at_broker] == [(str(order_id), "accepted")]
    dispatch.once()
    assert (status(desk, order_id), at_the_venue(venue, order_id)) == ("accepted", 1)
