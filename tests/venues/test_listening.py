"""Asking what became of open orders: of each by itself, never too often, and out loud where nobody answers."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from app.db.transaction import reading
from app.services.execution import open_orders
from app.services.execution.dispatcher import Dispatch
from app.services.execution.order_updates import venue_order_id
from app.services.execution.reconciler import Listener
from tests.serving import TESTER, Desk
from tests.venues.sending import Release, hear, later, status
from tests.venues.stand_in import Venue

SILENT_AFTER = 3  # questions in a row
RARELY = 30.0  # seconds
LIST = "GET /v2/orders"


@pytest.fixture
def listener(dispatch: Dispatch) -> Listener:
    return Listener(dispatch, "paper")


@pytest.fixture
def pair(release: Release, dispatch: Dispatch) -> tuple[uuid.UUID, uuid.UUID]:
    """Two that are open at the venue."""
    made = release(client_order_id="1"), release(client_order_id="2")
    for order_id in made:
        dispatch.forward(order_id, TESTER)
    return made


def silent_since(desk: Desk) -> str | None:
    with reading() as session:
        told: str | None = open_orders.outstanding(session)["silent_since"]
    return told


def passes(listener: Listener, seconds: float) -> None:
    listener._asked -= seconds


@pytest.mark.parametrize("reply", [(404, "not JSON"), (500, {"code": 1}), (200, {"client_order_id": None})])
def test_one_that_cannot_be_told_of_does_not_deafen_for_the_others(
    reply: tuple[int, Any],
    pair: tuple[uuid.UUID, uuid.UUID],
    dispatch: Dispatch,
    venue: Venue,
    desk: Desk,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    odd, other = pair
    look = venue.look
    monkeypatch.setattr(
        venue,
        "look",
        lambda method, path, query: (
            reply if query.get("client_order_id") == venue_order_id(odd) else look(method, path, query)
        ),
    )
    for order_id in pair:
        venue.end(venue_order_id(order_id), "expired")
    hear(dispatch)
    assert (status(desk, odd), status(desk, other)) == ("accepted", "venue_expired")


def test_one_that_the_venue_does_not_know_any_more_is_said_in_the_log(
    pair: tuple[uuid.UUID, uuid.UUID],
    dispatch: Dispatch,
    venue: Venue,
    desk: Desk,
    caplog: pytest.LogCaptureFixture,
) -> None:
    venue.orders.clear()
    hear(dispatch)
    assert f"does not know order {pair[0]}, which was open there" in caplog.text
    assert status(desk, pair[0]) == "accepted"


def test_a_venue_that_does_not_answer_is_told_once_and_so_is_that_it_does_again(
    pair: tuple[uuid.UUID, uuid.UUID], listener: Listener, venue: Venue, desk: Desk
) -> None:
    listener.ask()
    assert silent_since(desk) is None
    venue.fails = 503
    for _ in range(SILENT_AFTER + 3):
        assert silent_since(desk) is None or listener._failures >= SILENT_AFTER
        passes(listener, 60)
        listener.ask()
    since = silent_since(desk)
    assert since is not None
    venue.fails = None
    passes(listener, 60)
    listener.ask()
    assert silent_since(desk) is None
    events = desk.sql("SELECT subject, after FROM audit_events WHERE action = 'venue.answers' ORDER BY id")
    assert events == [("paper", {"answers": False}), ("paper", {"answers": True})]


def fall_silent(listener: Listener, venue: Venue, **by: bool) -> None:
    venue.fails = 503
    for _ in range(SILENT_AFTER):
        passes(listener, 60)
        listener.ask(**by)


def test_where_it_could_not_be_written_down_at_once_it_is_at_the_next_question(
    pair: tuple[uuid.UUID, uuid.UUID],
    listener: Listener,
    venue: Venue,
    desk: Desk,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def stalled(*told: Any) -> None:
        raise TimeoutError

    with monkeypatch.context() as busy:
        busy.setattr(open_orders, "tell_whether_it_answers", stalled)
        with pytest.raises(TimeoutError):
            fall_silent(listener, venue)
    assert silent_since(desk) is None
    passes(listener, 60)
    listener.ask()
    assert silent_since(desk) is not None


def test_whoever_leads_from_now_on_tells_what_it_found_out_before(
    pair: tuple[uuid.UUID, uuid.UUID], listener: Listener, venue: Venue, desk: Desk
) -> None:
    fall_silent(listener, venue, leads=False)
    assert silent_since(desk) is None, "the one that leads may hear it"
    passes(listener, 60)
    listener.ask()
    assert silent_since(desk) is not None


def test_it_is_asked_less_often_while_it_does_not_answer(
    pair: tuple[uuid.UUID, uuid.UUID], listener: Listener, venue: Venue
) -> None:
    venue.fails = 503
    for _ in range(5):
        listener.ask()
    assert venue.asked.count(LIST) == 1
    passes(listener, 1.1)
    listener.ask()
    passes(listener, 1.1)
    listener.ask()
    assert venue.asked.count(LIST) == 2


def test_where_nothing_is_open_it_is_asked_seldom(listener: Listener, venue: Venue) -> None:
    for _ in range(3):
        listener.ask()
    assert venue.asked.count(LIST) == 1


def test_whoever_does_not_lead_asks_rarely_for_the_leader_may_be_frozen(
    pair: tuple[uuid.UUID, uuid.UUID], listener: Listener, venue: Venue, desk: Desk
) -> None:
    listener.ask(leads=False)
    venue.fill(venue_order_id(pair[0]), "10", "151")
    listener.ask(leads=False)
    assert (status(desk, pair[0]), venue.asked.count(LIST)) == ("accepted", 1)
    passes(listener, RARELY)
    listener.ask(leads=False)
    assert status(desk, pair[0]) == "filled"


def test_what_is_to_end_is_asked_for_until_it_has_ended(
    pair: tuple[uuid.UUID, uuid.UUID], dispatch: Dispatch, venue: Venue, desk: Desk
) -> None:
    venue.fails = 503
    dispatch.cancel_open(TESTER, ())
    assert {status(desk, order_id) for order_id in pair} == {"accepted"}
    venue.fails = None
    hear(dispatch)
    hear(dispatch)
    assert {status(desk, order_id) for order_id in pair} == {"venue_canceled"}


def test_what_the_venue_is_ending_already_is_not_asked_for_again(
    pair: tuple[uuid.UUID, uuid.UUID], dispatch: Dispatch, venue: Venue
) -> None:
    for order_id in pair:
        venue.known(venue_order_id(order_id))[0]["status"] = "pending_cancel"
    dispatch.cancel_open(TESTER, ())
    before = sum(asked.startswith("DELETE") for asked in venue.asked)
    hear(dispatch)
    assert sum(asked.startswith("DELETE") for asked in venue.asked) == before


def test_what_is_not_known_to_be_there_is_ended_too(
    release: Release, dispatch: Dispatch, venue: Venue, desk: Desk
) -> None:
    venue.hangs_up = True
    order_id = release()
    dispatch.forward(order_id, TESTER)
    [shown] = dispatch.cancel_open(TESTER, ())
    assert (shown["status"], shown["venue_order_id"]) == ("accepted", venue_order_id(order_id)) or shown["ended"]
    later(desk, order_id)
    dispatch.once()
    hear(dispatch)
    assert status(desk, order_id) == "venue_canceled"
