"""A released order goes to the venue at most once, in time and by today's rules, and what becomes of it comes
back."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import text

from app.db.transaction import changing_rules
from app.domain.order_status import LockoutType
from app.domain.risk_config import TradingMode
from app.services.actor import Actor
from app.services.errors import Decided
from app.services.execution.brokers.base import NoAnswer, NotSent, Report, VenueOrder
from app.services.execution.dispatcher import Dispatch
from app.services.execution.order_updates import venue_order_id
from app.services.orders import approvals, submit
from app.services.trading import config, lockouts
from tests.at_once import at_once, until
from tests.desk.orders import new_order
from tests.serving import TESTER, Desk
from tests.venues.sending import (
    PATIENCE,
    WITHIN,
    Release,
    actions,
    at_the_venue,
    hear,
    later,
    reasons,
    status,
    too_late,
)
from tests.venues.stand_in import Venue

FRESH = 2.0  # seconds after its claim in which an order is sent

# From released to the venue


def test_it_is_sent_and_accepted(release: Release, dispatch: Dispatch, venue: Venue, desk: Desk) -> None:
    order_id = release()
    dispatch.forward(order_id, TESTER)
    assert (status(desk, order_id), at_the_venue(venue, order_id)) == ("accepted", 1)
    assert actions(desk, order_id) == ["order.submit", "order.send", "order.venue"]


def test_what_a_person_approves_is_sent_too(
    dispatch: Dispatch, engine: Actor, alice: Actor, venue: Venue, desk: Desk
) -> None:
    config.change_approval_config(TESTER, {"auto_approve_paper": False})
    waiting, _ = submit.submit(engine, new_order(), dispatch.send_within)
    assert "send_by" not in waiting
    order_id = uuid.UUID(waiting["id"])
    dispatch.once()
    assert at_the_venue(venue, order_id) == 0
    released = approvals.approve(alice, order_id, None, dispatch.send_within)
    shown = dispatch.sent_on(alice, released)
    assert (shown["status"], at_the_venue(venue, order_id)) == ("accepted", 1)


def test_without_a_venue_it_stays_released(engine: Actor, app: Flask, desk: Desk, venue: Venue) -> None:
    with app.app_context():
        nowhere = Dispatch({}, WITHIN)
        shown, _ = submit.submit(engine, new_order(), nowhere.send_within)
        assert shown["status"] == "released"
        assert "send_by" not in shown
        assert nowhere.sent_on(engine, shown) == shown
        nowhere.once()
        assert status(desk, uuid.UUID(shown["id"])) == "released"
        with pytest.raises(Decided):
            nowhere.cancel(engine, uuid.UUID(shown["id"]))


def test_what_the_request_did_not_send_the_next_round_does(
    release: Release, dispatch: Dispatch, venue: Venue, desk: Desk
) -> None:
    order_id = release()
    dispatch.once()  # the request may still do it
    assert at_the_venue(venue, order_id) == 0
    later(desk, order_id)
    dispatch.once()
    assert (status(desk, order_id), at_the_venue(venue, order_id)) == ("accepted", 1)


def test_many_are_sent_in_one_round(release: Release, dispatch: Dispatch, venue: Venue, desk: Desk) -> None:
    venue.before = PATIENCE / 5
    order_ids = [release(client_order_id=f"n{number}") for number in range(20)]
    desk.sql("UPDATE orders SET try_at = clock_timestamp()")
    dispatch.once()
    assert {status(desk, order_id) for order_id in order_ids} == {"accepted"}
    assert len(venue.orders) == 20


def test_many_who_send_at_once_send_one(
    release: Release, dispatch: Dispatch, venue: Venue, desk: Desk, app: Flask
) -> None:
    venue.before = PATIENCE / 5

    def forward(order_id: uuid.UUID) -> None:
        with app.app_context():
            dispatch.forward(order_id, TESTER)

    for number in range(5):
        order_id = release(client_order_id=f"n{number}")
        at_once(*[partial(forward, order_id)] * 4)
        assert (status(desk, order_id), at_the_venue(venue, order_id)) == ("accepted", 1)
    assert venue.asked.count("POST /v2/orders") == 5


# What stops it on the way


@pytest.mark.parametrize(
    ("stop", "code"),
    [
        (lambda: lock_out("AAPL"), "symbol_locked_out"),
        (lambda: lock_out("*"), "symbol_locked_out"),
        (lambda: config.change_mode(TESTER, TradingMode.DISABLED), "trading_disabled"),
        (lambda: change_mode(TradingMode.LIVE), "mode_changed"),
        (lambda: config.change_signal_layers(TESTER, {"macro": False}), "signal_layer_disabled"),
        (lambda: limit({"max_order_quantity": "9"}), "order_quantity_limit"),
    ],
)
def test_a_stop_that_comes_between_release_and_sending_cancels_it(
    stop: Callable[[], Any], code: str, release: Release, dispatch: Dispatch, venue: Venue, desk: Desk
) -> None:
    order_id = release(signal_layer="macro")
    stop()
    dispatch.forward(order_id, TESTER)
    assert (status(desk, order_id), reasons(desk, order_id)) == ("canceled", [code])
    assert venue.asked == []
    assert actions(desk, order_id)[-1] == "order.cancel"


def test_a_stop_has_what_waits_for_its_venue_looked_at_at_once(
    release: Release, dispatch: Dispatch, venue: Venue, desk: Desk
) -> None:
    """And not only when it would have been tried again, up to half a minute later."""
    venue.go_away()
    order_id = release()
    for _ in range(3):
        dispatch.forward(order_id, TESTER)
    desk.sql("UPDATE orders SET try_at = clock_timestamp() + interval '30 s'")
    dispatch.once()
    assert status(desk, order_id) == "released"
    lock_out("AAPL")
    dispatch.once()
    assert (status(desk, order_id), reasons(desk, order_id)) == ("canceled", ["symbol_locked_out"])


def lock_out(ticker: str) -> None:
    lockouts.create(TESTER, ticker=ticker, reason="news", duration_minutes=5, lockout_type=LockoutType.MANUAL)


def change_mode(to: TradingMode) -> None:
    config.change_mode(TESTER, to, leaving=TradingMode.PAPER, reason="so be it")


def limit(limits: dict[str, str]) -> None:
    config.replace(TESTER, {"position_limits": limits}, expected_versions=None)


def test_what_is_too_late_is_not_sent(release: Release, dispatch: Dispatch, venue: Venue, desk: Desk) -> None:
    order_id = release()
    too_late(desk, order_id)
    dispatch.once()
    assert (status(desk, order_id), reasons(desk, order_id)) == ("canceled", ["send_deadline"])
    assert venue.asked == []


def test_a_broken_configuration_sends_nothing(
    release: Release, dispatch: Dispatch, venue: Venue, desk: Desk
) -> None:
    order_id = release()
    desk.sql("""UPDATE risk_configs SET config = '{"operator_approval": 5}'""")
    dispatch.forward(order_id, TESTER)
    assert (status(desk, order_id), reasons(desk, order_id), venue.asked) == ("canceled", ["config_invalid"], [])


def test_what_the_rate_was_counted_for_is_not_counted_again(
    release: Release, dispatch: Dispatch, venue: Venue, desk: Desk
) -> None:
    config.replace(TESTER, {"order_rate": {"max_orders": 1, "per_seconds": 60}}, expected_versions=None)
    order_id = release()
    dispatch.forward(order_id, TESTER)
    assert status(desk, order_id) == "accepted"


# What goes wrong on the way


def test_a_venue_that_is_away_gets_it_once_it_is_back(
    release: Release, dispatch: Dispatch, venue: Venue, desk: Desk
) -> None:
    venue.go_away()
    order_id = release()
    dispatch.forward(order_id, TESTER)
    assert status(desk, order_id) == "released"
    assert actions(desk, order_id) == ["order.submit", "order.send", "order.unsent"]
    venue.come()
    later(desk, order_id)
    dispatch.once()
    assert (status(desk, order_id), at_the_venue(venue, order_id)) == ("accepted", 1)


def test_a_venue_that_comes_back_too_late_does_not_get_it(
    release: Release, dispatch: Dispatch, venue: Venue, desk: Desk
) -> None:
    venue.go_away()
    order_id = release()
    dispatch.forward(order_id, TESTER)
    venue.come()
    too_late(desk, order_id)
    dispatch.once()
    assert (status(desk, order_id), reasons(desk, order_id)) == ("canceled", ["send_deadline"])
    assert at_the_venue(venue, order_id) == 0


@pytest.mark.parametrize("how", ["hangs_up", "after"])
def test_an_answer_that_is_lost_is_asked_for(
    how: str, release: Release, dispatch: Dispatch, venue: Venue, desk: Desk
) -> None:
    setattr(venue, how, 3 * PATIENCE)
    order_id = release()
    dispatch.forward(order_id, TESTER)
    assert (status(desk, order_id), at_the_venue(venue, order_id)) == ("sending", 1)
    later(desk, order_id)
    dispatch.once()
    assert status(desk, order_id) == "accepted"
    assert venue.asked.count("POST /v2/orders") == 1


def test_not_found_is_believed_only_after_a_while_and_then_it_is_sent_again(
    release: Release, dispatch: Dispatch, venue: Venue, desk: Desk
) -> None:
    venue.fails = 503
    order_id = release()
    dispatch.forward(order_id, TESTER)
    venue.fails = None
    desk.sql("UPDATE orders SET try_at = clock_timestamp()")
    dispatch.once()
    assert (status(desk, order_id), at_the_venue(venue, order_id)) == ("sending", 0)
    later(desk, order_id)
    dispatch.once()
    assert (status(desk, order_id), at_the_venue(venue, order_id)) == ("accepted", 1)


def test_what_is_not_found_and_too_late_is_canceled(
    release: Release, dispatch: Dispatch, venue: Venue, desk: Desk
) -> None:
    venue.fails = 503
    order_id = release()
    dispatch.forward(order_id, TESTER)
    venue.fails = None
    too_late(desk, order_id)
    dispatch.once()
    assert (status(desk, order_id), reasons(desk, order_id)) == ("canceled", ["send_deadline"])


def test_what_is_not_found_is_not_sent_again_against_a_stop(
    release: Release, dispatch: Dispatch, venue: Venue, desk: Desk
) -> None:
    venue.fails = 503
    order_id = release()
    dispatch.forward(order_id, TESTER)
    venue.fails = None
    config.change_mode(TESTER, TradingMode.DISABLED)
    later(desk, order_id)
    dispatch.once()
    assert (status(desk, order_id), reasons(desk, order_id)) == ("canceled", ["trading_disabled"])
    assert at_the_venue(venue, order_id) == 0


def test_a_venue_that_takes_the_same_twice_is_not_told_twice(
    release: Release, dispatch: Dispatch, venue: Venue, desk: Desk
) -> None:
    dispatch.venues["paper"].refuses_duplicates = False
    venue.fails = 503
    order_id = release()
    dispatch.forward(order_id, TESTER)
    venue.fails = None
    later(desk, order_id)
    dispatch.once()
    assert (status(desk, order_id), at_the_venue(venue, order_id)) == ("unknown", 0)
    venue.place({"client_order_id": venue_order_id(order_id), "qty": "10"})  # it was only slow
    later(desk, order_id)
    dispatch.once()
    assert status(desk, order_id) == "accepted"


def test_a_venue_that_cannot_be_asked_leaves_it_unknown_and_is_asked_on(
    release: Release, dispatch: Dispatch, venue: Venue, desk: Desk
) -> None:
    venue.hangs_up = True
    order_id = release()
    dispatch.forward(order_id, TESTER)
    venue.fails = 503
    too_late(desk, order_id)
    dispatch.once()
    assert status(desk, order_id) == "unknown"
    venue.fails = None
    later(desk, order_id)
    dispatch.once()
    assert status(desk, order_id) == "accepted"


def test_it_is_looked_for_as_long_as_it_takes(
    release: Release, dispatch: Dispatch, venue: Venue, desk: Desk
) -> None:
    venue.hangs_up = True
    order_id = release()
    dispatch.forward(order_id, TESTER)
    venue.fails = 503
    too_late(desk, order_id)
    dispatch.once()
    assert status(desk, order_id) == "unknown"
    desk.sql("UPDATE orders SET tries = 100000")
    venue.fails = None
    later(desk, order_id)
    dispatch.once()
    assert status(desk, order_id) == "accepted"


def test_one_that_cannot_be_taken_up_does_not_stand_in_front_of_the_others(
    release: Release, dispatch: Dispatch, venue: Venue, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd, other = release(client_order_id="odd"), release(client_order_id="other")
    for order_id in (odd, other):
        later(desk, order_id)

    def stumble(self: Dispatch, session: Any, row: Any, actor: Actor) -> Callable[[], None]:
        raise RuntimeError

    with monkeypatch.context() as stumbling:
        stumbling.setattr(Dispatch, "_claim", stumble)
        dispatch.once()
    assert desk.sql("SELECT count(*) FROM orders WHERE try_at <= clock_timestamp()") == [(0,)]


@pytest.mark.parametrize(
    ("second", "becomes", "events"),
    [
        (NoAnswer("no answer in time"), "sending", ["order.send", "order.send"]),
        (None, "accepted", ["order.send", "order.send", "order.venue"]),
    ],
    ids=["the second attempt is not answered", "the second attempt is accepted"],
)
def test_a_late_failure_of_an_older_attempt_does_not_undo_a_newer_one(
    second: Exception | None,
    becomes: str,
    events: list[str],
    release: Release,
    dispatch: Dispatch,
    venue: Venue,
    desk: Desk,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first process stands still; a second one sends the order; then the first one learns that its own request
    was never sent. The order must not become `released` again, or it would be sent twice."""
    alpaca = dispatch.venues["paper"]
    send = alpaca.send
    attempts: list[VenueOrder] = []

    def attempt(order: VenueOrder) -> Report:
        attempts.append(order)
        if len(attempts) == 1:
            later(desk, order_id)
            dispatch.once()
            raise NotSent("this process was held up")
        if second is not None:
            raise second
        return send(order)

    monkeypatch.setattr(alpaca, "send", attempt)
    order_id = release()
    dispatch.forward(order_id, TESTER)
    assert len(attempts) == 2
    assert (status(desk, order_id), actions(desk, order_id)) == (becomes, ["order.submit", *events])


def test_a_late_failure_does_not_bring_a_canceled_order_back(
    release: Release,
    dispatch: Dispatch,
    engine: Actor,
    desk: Desk,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def attempt(order: VenueOrder) -> Report:
        dispatch.cancel(engine, order_id)
        later(desk, order_id)
        dispatch.once()
        raise NotSent("this process was held up")

    monkeypatch.setattr(dispatch.venues["paper"], "send", attempt)
    order_id = release()
    dispatch.forward(order_id, TESTER)
    assert (status(desk, order_id), actions(desk, order_id)[-1]) == ("canceled", "order.cancel")
    assert "could not be forwarded" not in caplog.text


@pytest.mark.parametrize("patiences", [0.5, 2.9])
def test_a_not_found_is_not_believed_before_no_request_can_be_under_way_any_more(
    patiences: float, release: Release, dispatch: Dispatch, venue: Venue, desk: Desk
) -> None:
    venue.fails = 503
    order_id = release()
    dispatch.forward(order_id, TESTER)
    venue.fails = None
    desk.sql("UPDATE orders SET try_at = clock_timestamp()")
    desk.sql(
        "UPDATE orders SET sent_at = clock_timestamp() - make_interval(secs => %s)", FRESH + patiences * PATIENCE
    )
    dispatch.once()
    assert (status(desk, order_id), venue.asked.count("POST /v2/orders")) == ("sending", 1)


def test_nor_is_an_answer_that_is_older_than_that(
    release: Release,
    dispatch: Dispatch,
    venue: Venue,
    desk: Desk,
    engine: Actor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A process that was frozen between its question and what it does about the answer."""
    venue.fails = 503
    order_id = release()
    dispatch.forward(order_id, TESTER)
    dispatch.cancel(engine, order_id)
    venue.fails = None
    desk.sql("UPDATE orders SET try_at = clock_timestamp()")
    alpaca = dispatch.venues["paper"]
    find = alpaca.find

    def find_and_freeze(client_order_id: str) -> Any:
        found = find(client_order_id)
        desk.sql("UPDATE orders SET sent_at = sent_at")  # as if the venue had taken it up just now
        return found

    monkeypatch.setattr(alpaca, "find", find_and_freeze)
    dispatch.once()
    assert status(desk, order_id) == "sending"


def test_no_error_says_that_nothing_was_done_once_it_may_be_there(
    release: Release, dispatch: Dispatch, venue: Venue, desk: Desk, engine: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    order_id = release()
    shown = submit.get(engine, order_id)

    def busy(*of: Any) -> Any:
        raise RuntimeError

    monkeypatch.setattr(submit, "get", busy)
    assert dispatch.sent_on(engine, shown) == shown
    assert at_the_venue(venue, order_id) == 1


def test_nothing_enters_sending_while_a_stop_is_being_made(
    release: Release, dispatch: Dispatch, venue: Venue, desk: Desk, app: Flask
) -> None:
    order_id = release()

    def forward() -> None:
        with app.app_context():
            dispatch.forward(order_id, TESTER)

    thread = threading.Thread(target=forward, daemon=True)
    with changing_rules(TESTER) as session:
        session.execute(text("UPDATE risk_configs SET trading_mode = 'disabled' WHERE is_active"))
        thread.start()
        until(lambda: desk.sql("SELECT 1 FROM pg_locks WHERE NOT granted"))
        assert (status(desk, order_id), venue.asked) == ("released", [])
    thread.join(60)
    assert (status(desk, order_id), reasons(desk, order_id), venue.asked) == ("canceled", ["trading_disabled"], [])


def test_who_was_held_up_after_the_claim_does_not_send(
    release: Release, dispatch: Dispatch, venue: Venue, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    order_id = release()
    monkeypatch.setattr("app.services.execution.dispatcher.FRESH", -1.0)
    dispatch.forward(order_id, TESTER)
    assert (status(desk, order_id), venue.asked) == ("released", [])


def test_a_rejection_reaches_the_engine_as_the_venue_gave_it(
    release: Release, dispatch: Dispatch, venue: Venue, engine: Actor
) -> None:
    venue.rejects = {"code": 40310000, "message": "insufficient buying power"}
    order_id = release()
    dispatch.forward(order_id, TESTER)
    shown = submit.get(engine, order_id)
    assert shown["status"] == "venue_rejected"
    assert "insufficient buying power" in shown["venue_words"]


# What becomes of it there


def test_fills_come_back_in_parts(
    release: Release, dispatch: Dispatch, venue: Venue, engine: Actor, desk: Desk
) -> None:
    order_id = release()
    dispatch.forward(order_id, TESTER)
    venue.fill(venue_order_id(order_id), "4", "151.10")
    hear(dispatch)
    shown = submit.get(engine, order_id)
    assert (shown["status"], shown["filled_qty"], shown["filled_avg_price"]) == ("partially_filled", "4", "151.1")
    venue.fill(venue_order_id(order_id), "6", "151.25")
    hear(dispatch)
    shown = submit.get(engine, order_id)
    assert (shown["status"], shown["filled_qty"], shown["filled_avg_price"]) == ("filled", "10", "151.25")
    assert actions(desk, order_id)[-2:] == ["order.venue", "order.venue"]


def test_what_is_no_news_is_no_event(release: Release, dispatch: Dispatch, venue: Venue, desk: Desk) -> None:
    order_id = release()
    dispatch.forward(order_id, TESTER)
    before = actions(desk, order_id)
    hear(dispatch)
    hear(dispatch)
    assert actions(desk, order_id) == before


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("canceled", "venue_canceled"),
        ("expired", "venue_expired"),
        ("rejected", "venue_rejected"),
        ("replaced", "replaced"),
        ("held", "accepted"),
    ],
)
def test_its_end_there_comes_back(
    word: str, expected: str, release: Release, dispatch: Dispatch, venue: Venue, desk: Desk
) -> None:
    order_id = release()
    dispatch.forward(order_id, TESTER)
    venue.end(venue_order_id(order_id), word)
    hear(dispatch)
    assert status(desk, order_id) == expected


def test_what_came_to_the_venue_after_it_was_given_up_is_canceled_there(
    release: Release, dispatch: Dispatch, venue: Venue, desk: Desk
) -> None:
    """A process that was frozen in the very middle of sending."""
    order_id = release()
    too_late(desk, order_id)
    dispatch.once()
    assert (status(desk, order_id), reasons(desk, order_id)) == ("canceled", ["send_deadline"])
    dispatch.venues["paper"].send(stray(order_id))
    hear(dispatch)
    assert venue.known(venue_order_id(order_id))[0]["status"] == "canceled"
    hear(dispatch)
    assert (status(desk, order_id), reasons(desk, order_id)) == ("venue_canceled", [])
    assert actions(desk, order_id)[-3:] == ["order.venue", "order.cancel_at_venue", "order.venue"]


def test_what_was_filled_after_it_was_given_up_is_filled(
    release: Release, dispatch: Dispatch, venue: Venue, desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    order_id = release()
    too_late(desk, order_id)
    dispatch.once()
    dispatch.venues["paper"].send(stray(order_id))
    venue.fill(venue_order_id(order_id), "10", "151")
    report = dispatch.venues["paper"].find(venue_order_id(order_id))
    assert report
    dispatch.heard(order_id, dispatch.venues["paper"], report, TESTER)()
    assert desk.sql("SELECT status, filled_qty FROM orders WHERE id = %s", order_id) == [("filled", 10)]
    assert "was given up, but is filled" in caplog.text


def stray(order_id: uuid.UUID) -> VenueOrder:
    return VenueOrder(venue_order_id(order_id), "AAPL", "buy", "market", "day", qty=new_order().qty)


# Withdrawing it


def test_the_engine_withdraws_what_was_not_sent_yet(
    release: Release, dispatch: Dispatch, venue: Venue, engine: Actor
) -> None:
    order_id = release()
    shown = dispatch.cancel(engine, order_id)
    assert (shown["status"], shown["decided_by"], venue.asked) == ("canceled", "momentum", [])
    with pytest.raises(Decided):
        dispatch.cancel(engine, order_id)


def test_the_engine_withdraws_what_is_at_the_venue(
    release: Release, dispatch: Dispatch, venue: Venue, engine: Actor, desk: Desk
) -> None:
    order_id = release()
    dispatch.forward(order_id, TESTER)
    config.change_mode(TESTER, TradingMode.DISABLED)  # whatever the mode
    shown = dispatch.cancel(engine, order_id)
    assert shown["status"] == "venue_canceled"
    with pytest.raises(Decided):
        dispatch.cancel(engine, order_id)


def test_what_is_withdrawn_while_nobody_knows_where_it_is_is_canceled_once_it_is_found(
    release: Release, dispatch: Dispatch, venue: Venue, engine: Actor, desk: Desk
) -> None:
    venue.hangs_up = True
    order_id = release()
    dispatch.forward(order_id, TESTER)
    venue.fails = 503
    assert dispatch.cancel(engine, order_id)["status"] == "sending"
    venue.fails = None
    later(desk, order_id)
    dispatch.once()
    hear(dispatch)
    assert status(desk, order_id) == "venue_canceled"


def test_what_is_withdrawn_and_never_came_there_is_canceled(
    release: Release, dispatch: Dispatch, venue: Venue, engine: Actor, desk: Desk
) -> None:
    venue.fails = 503
    order_id = release()
    dispatch.forward(order_id, TESTER)
    dispatch.cancel(engine, order_id)
    venue.fails = None
    later(desk, order_id)
    dispatch.once()
    assert (status(desk, order_id), at_the_venue(venue, order_id)) == ("canceled", 0)


def test_what_was_filled_meanwhile_is_not_canceled(
    release: Release, dispatch: Dispatch, venue: Venue, engine: Actor
) -> None:
    order_id = release()
    dispatch.forward(order_id, TESTER)
    venue.fill(venue_order_id(order_id), "10", "151")
    assert dispatch.cancel(engine, order_id)["status"] == "filled"
