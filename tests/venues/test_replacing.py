"""An order that replaces another takes its place at the venue: never are both there, nor two in the same place."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from decimal import Decimal

import pytest
from flask import Flask

from app.desk import approvals, config
from app.desk.actor import Actor
from app.desk.dispatch import Dispatch, venue_order_id
from tests.at_once import at_once
from tests.serving import TESTER, Desk
from tests.venues.sending import Release, later, reasons, status
from tests.venues.stand_in import Venue

Replace = Callable[..., uuid.UUID]


@pytest.fixture
def replace(app: Flask, dispatch: Dispatch, engine: Actor) -> Replace:
    def replaced(order_id: uuid.UUID, qty: int) -> uuid.UUID:
        with app.app_context():  # in whatever thread
            shown, made = dispatch.replace(engine, order_id, {"qty": Decimal(qty)}, f"as {qty} of {order_id}")
        assert made
        return uuid.UUID(shown["id"])

    return replaced


@pytest.fixture
def sent(release: Release, dispatch: Dispatch) -> uuid.UUID:
    """An order that is open at the venue."""
    order_id = release()
    dispatch.forward(order_id, TESTER)
    return order_id


def rounds(dispatch: Dispatch, desk: Desk, *order_ids: uuid.UUID) -> None:
    """As many as it takes for everything to come to rest."""
    for _ in range(4):
        for order_id in order_ids:
            later(desk, order_id)
        dispatch.once()
        dispatch.listen()


def open_there(venue: Venue) -> list[str]:
    return [order["client_order_id"] for order in venue.orders.values() if order["status"] == "new"]


def test_the_new_one_is_sent_once_the_old_one_has_ended(
    sent: uuid.UUID, replace: Replace, dispatch: Dispatch, venue: Venue, desk: Desk
) -> None:
    new = replace(sent, 7)
    rounds(dispatch, desk, new)
    assert (status(desk, sent), status(desk, new)) == ("venue_canceled", "accepted")
    assert open_there(venue) == [venue_order_id(new)]


def test_of_two_at_once_one_takes_its_place(
    sent: uuid.UUID, replace: Replace, dispatch: Dispatch, venue: Venue, desk: Desk
) -> None:
    pair = at_once(lambda: replace(sent, 7), lambda: replace(sent, 8))
    rounds(dispatch, desk, *pair)
    assert sorted(status(desk, order_id) for order_id in pair) == ["accepted", "canceled"]
    [other] = [order_id for order_id in pair if status(desk, order_id) == "canceled"]
    assert reasons(desk, other) == ["already_replaced"]
    assert len(open_there(venue)) == 1


@pytest.fixture
def with_approval(desk: Desk, dispatch: Dispatch) -> None:
    config.change_approval_config(TESTER, {"auto_approve_paper": False})


def test_one_that_the_venue_turned_away_leaves_the_place_free(
    sent: uuid.UUID,
    replace: Replace,
    dispatch: Dispatch,
    venue: Venue,
    desk: Desk,
    alice: Actor,
    with_approval: None,
) -> None:
    first, second = replace(sent, 7), replace(sent, 8)
    venue.rejects = {"code": 40310000, "message": "insufficient buying power"}
    approvals.approve(alice, first, None, dispatch.send_within)
    rounds(dispatch, desk, first)
    assert status(desk, first) == "venue_rejected"
    venue.rejects = None
    approvals.approve(alice, second, None, dispatch.send_within)
    rounds(dispatch, desk, second)
    assert (status(desk, second), open_there(venue)) == ("accepted", [venue_order_id(second)])


def test_what_replaces_one_that_was_never_sent_takes_the_place_that_that_one_was_to_take(
    sent: uuid.UUID,
    replace: Replace,
    dispatch: Dispatch,
    venue: Venue,
    desk: Desk,
    alice: Actor,
    with_approval: None,
) -> None:
    """Without that, the last one would be sent beside the first one, which nobody ended."""
    second = replace(sent, 7)
    third = replace(second, 8)
    assert (status(desk, second), status(desk, third)) == ("canceled", "pending_approval")
    approvals.approve(alice, third, None, dispatch.send_within)
    rounds(dispatch, desk, third)
    assert (status(desk, sent), status(desk, third)) == ("venue_canceled", "accepted")
    assert open_there(venue) == [venue_order_id(third)]


def test_nor_do_two_take_it_along_two_lines(
    sent: uuid.UUID,
    replace: Replace,
    dispatch: Dispatch,
    venue: Venue,
    desk: Desk,
    alice: Actor,
    with_approval: None,
) -> None:
    middle = replace(sent, 7)
    by_way_of_it, directly = replace(middle, 8), replace(sent, 9)
    for order_id in (by_way_of_it, directly):
        approvals.approve(alice, order_id, None, dispatch.send_within)
    rounds(dispatch, desk, by_way_of_it, directly)
    assert sorted([status(desk, by_way_of_it), status(desk, directly)]) == ["accepted", "canceled"]
    assert len(open_there(venue)) == 1


@pytest.mark.parametrize("qty", ["3", "10"])
def test_what_was_filled_meanwhile_is_not_replaced(
    qty: str, sent: uuid.UUID, replace: Replace, dispatch: Dispatch, venue: Venue, desk: Desk
) -> None:
    venue.fill(venue_order_id(sent), qty, "151")
    new = replace(sent, 7)
    rounds(dispatch, desk, new)
    assert (status(desk, new), reasons(desk, new)) == ("canceled", ["replaced_order_filled"])
    assert venue.known(venue_order_id(new)) == []
