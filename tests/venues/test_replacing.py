"""An order that replaces another takes its place at the venue: never are both there, nor two in the same place."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from flask import Flask

from app.domain.risk_config import TradingMode
from app.services.actor import Actor
from app.services.errors import Conflict
from app.services.execution import replacement
from app.services.execution.dispatcher import Dispatch
from app.services.execution.order_updates import venue_order_id
from app.services.orders import approvals
from app.services.orders import submit as orders
from app.services.trading import config
from tests.at_once import at_once
from tests.serving import TESTER, Desk
from tests.venues.sending import Release, hear, later, reasons, status
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
        hear(dispatch)


def open_there(venue: Venue) -> list[str]:
    return [order["client_order_id"] for order in venue.orders.values() if order["status"] == "new"]


def linked(app: Flask, order_id: uuid.UUID) -> dict[str, str | None]:
    with app.app_context():
        return replacement.links([str(order_id)])[str(order_id)]


def test_the_new_one_is_sent_once_the_old_one_has_ended(
    app: Flask, sent: uuid.UUID, replace: Replace, dispatch: Dispatch, venue: Venue, desk: Desk
) -> None:
    new = replace(sent, 7)
    rounds(dispatch, desk, new)
    assert (status(desk, sent), status(desk, new)) == ("venue_canceled", "accepted")
    assert open_there(venue) == [venue_order_id(new)]
    assert linked(app, sent) == {"replaces": None, "replaced_by": str(new)}
    assert linked(app, new) == {"replaces": str(sent), "replaced_by": None}


def test_of_two_at_once_one_takes_its_place(
    app: Flask, sent: uuid.UUID, replace: Replace, dispatch: Dispatch, venue: Venue, desk: Desk
) -> None:
    pair = at_once(lambda: replace(sent, 7), lambda: replace(sent, 8))
    rounds(dispatch, desk, *pair)
    assert sorted(status(desk, order_id) for order_id in pair) == ["accepted", "canceled"]
    [other] = [order_id for order_id in pair if status(desk, order_id) == "canceled"]
    assert reasons(desk, other) == ["already_replaced"]
    assert len(open_there(venue)) == 1
    [placed] = {*pair} - {other}
    assert linked(app, sent)["replaced_by"] == str(placed)


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


def test_the_new_one_is_sent_at_once_when_the_old_one_has_ended(
    sent: uuid.UUID, replace: Replace, venue: Venue, desk: Desk
) -> None:
    """In the very request: no more of a gap than it takes, for a position may be without its stop."""
    new = replace(sent, 7)
    assert (status(desk, sent), status(desk, new)) == ("venue_canceled", "accepted")


def test_the_same_replacement_again_is_the_same_order(
    sent: uuid.UUID, dispatch: Dispatch, engine: Actor, venue: Venue
) -> None:
    first, made = dispatch.replace(engine, sent, {"qty": Decimal(7)}, "again")
    second, made_again = dispatch.replace(engine, sent, {"qty": Decimal(7)}, "again")
    assert (made, made_again, second["id"], second["replaces"]) == (True, False, first["id"], str(sent))


def test_an_order_of_another_mode_is_not_replaced(
    sent: uuid.UUID, dispatch: Dispatch, engine: Actor, venue: Venue, desk: Desk
) -> None:
    """Or its stop would be taken away in one account, and be put up in another."""
    config.change_mode(TESTER, TradingMode.LIVE, leaving=TradingMode.PAPER, reason="to the real thing")
    with pytest.raises(Conflict, match="the mode is live"):
        dispatch.replace(engine, sent, {"qty": Decimal(7)}, "b")
    assert (status(desk, sent), desk.sql("SELECT count(*) FROM orders")) == ("accepted", [(1,)])


def test_nor_when_the_mode_changes_in_between(
    sent: uuid.UUID, dispatch: Dispatch, engine: Actor, venue: Venue, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    dispatch.venues = {**dispatch.venues, "live": dispatch.venues["paper"]}

    def submit(*of: Any, **more: Any) -> Any:
        config.change_mode(TESTER, TradingMode.LIVE, leaving=TradingMode.PAPER, reason="to the real thing")
        config.replace(TESTER, {"operator_approval": {"require_approval_for_live": False}}, expected_versions=None)
        return made(*of, **more)

    made = orders.submit
    monkeypatch.setattr(orders, "submit", submit)
    new, _ = dispatch.replace(engine, sent, {"qty": Decimal(7)}, "b")
    assert (new["status"], [reason["code"] for reason in new["reasons"]]) == ("canceled", ["mode_changed"])
    assert (status(desk, sent), len(venue.orders)) == ("accepted", 1)
