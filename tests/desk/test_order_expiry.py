"""The deadline of an order that waits: kept to the instant, by the database's clock, with nobody who sweeps."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from sqlalchemy.orm import Session

from app.db.transaction import recording
from app.domain.order_status import Mover, OrderStatus
from app.services.actor import Actor
from app.services.errors import Decided
from app.services.execution.dispatcher import Dispatch
from app.services.orders import approvals, queries, submit
from app.services.orders.transitions import expire_due
from tests.at_once import in_one_of_three, results_of, until
from tests.conftest import Api
from tests.desk.orders import (
    SWEEPER,
    Act,
    account,
    body,
    let_expire,
    moves,
    new_order,
    place_waiting,
    transaction,
    written,
)
from tests.serving import Desk

withdraw = Dispatch({}, 60).cancel  # as the routes do it

BY_THE_CLOCK = [("order.expire", "system:deadline")]


@pytest.fixture
def engine(desk: Desk) -> Actor:
    return account(desk, "engine", "engine")


@pytest.fixture
def alice(desk: Desk) -> Actor:
    return account(desk, "alice", "operator")


@pytest.fixture
def sender(desk: Desk, api: Callable[..., Api]) -> Api:
    """An engine at its routes, and paper orders that wait."""
    assert api("operator").put("/approval-config", {"auto_approve_paper": False}).status_code == 200
    return api("engine")


def past(desk: Desk, deadline: str) -> bool:
    return desk.sql("SELECT clock_timestamp() >= %s::timestamptz", deadline) == [(True,)]


def test_it_is_waiting_until_its_deadline_and_has_expired_at_it(desk: Desk, sender: Api, operator: Api) -> None:
    order = sender.post("/orders", body()).json
    deadline = let_expire(desk, order["id"], in_seconds=60)
    waiting = sender.get(f"/orders/{order['id']}").json
    assert (waiting["status"], waiting["expires_at"], waiting["decided_at"]) == (
        "pending_approval",
        deadline,
        None,
    )
    assert [item["id"] for item in operator.get("/approvals").json["items"]] == [order["id"]]
    deadline = let_expire(desk, order["id"])
    expired = sender.get(f"/orders/{order['id']}").json
    assert (expired["status"], expired["expires_at"]) == ("expired", deadline)
    assert (expired["decided_at"], expired["decided_by"]) == (deadline, "system:deadline")


def test_it_is_approved_just_before_its_deadline(desk: Desk, sender: Api, operator: Api) -> None:
    def sitting() -> bool:
        order = sender.post("/orders", body()).json
        deadline = let_expire(desk, order["id"], in_seconds=0.5)
        approved = operator.post(f"/approvals/{order['id']}/approve", {})
        if approved.status_code == 409 and past(desk, deadline):
            return False
        assert (approved.status_code, approved.json["status"]) == (200, "released")
        assert approved.json["decided_at"] < deadline
        until(lambda: past(desk, deadline))
        assert sender.get(f"/orders/{order['id']}").json == approved.json, "its deadline means nothing any more"
        return True

    in_one_of_three(sitting)


ASKING: dict[str, Callable[[Api, Api, dict[str, Any], dict[str, Any]], Any]] = {
    "the engine reads it": lambda engine, _, order, sent: engine.get(f"/orders/{order['id']}").json,
    "the engine waits for it": lambda engine, _, order, sent: engine.get(f"/orders/{order['id']}?wait=9").json,
    "the engine sends it again": lambda engine, _, order, sent: engine.post("/orders", sent).json,
    "the engine cancels it": lambda engine, _, order, sent: engine.post(
        f"/orders/{order['id']}/cancel", None
    ).json["order"],
    "a person reads it": lambda _, person, order, sent: person.get(f"/orders/{order['id']}").json,
    "a person approves it": lambda _, person, order, sent: person.post(
        f"/approvals/{order['id']}/approve", {}
    ).json["order"],
    "a person rejects it": lambda _, person, order, sent: person.post(
        f"/approvals/{order['id']}/reject", {"reason": "no"}
    ).json["order"],
    "a person decides in bulk": lambda _, person, order, sent: person.post(
        "/approvals/decisions", {"decisions": [{"id": order["id"], "action": "approve"}]}
    ).json["results"][0]["problem"]["order"],
}
LISTING: dict[str, Callable[[Api, Api, dict[str, Any]], Any]] = {
    "the list of the engine": lambda engine, _, order: engine.get("/orders").json["items"],
    "the list of a person": lambda _, person, order: person.get("/orders").json["items"],
    "the list of what expired": lambda engine, _, order: engine.get("/orders?status=expired").json["items"],
    "the list of its ticker": lambda engine, _, order: engine.get("/orders?ticker=AAPL").json["items"],
}


@pytest.mark.parametrize("how", ASKING)
def test_whoever_asks_about_it_first_is_told_and_has_it_written_down(
    desk: Desk, sender: Api, operator: Api, how: str
) -> None:
    sent = body()
    order = sender.post("/orders", sent).json
    deadline = let_expire(desk, order["id"])
    assert written(desk, order["id"]) == "pending_approval", "nobody sweeps here"
    for _ in range(2):
        told = ASKING[how](sender, operator, order, sent)
        assert (told["status"], told["decided_at"], told["decided_by"]) == ("expired", deadline, "system:deadline")
        assert written(desk, order["id"]) == "expired"
        assert moves(desk, order["id"]) == BY_THE_CLOCK


@pytest.mark.parametrize("how", LISTING)
def test_lists_say_it_without_writing(desk: Desk, sender: Api, operator: Api, how: str) -> None:
    order = sender.post("/orders", body()).json
    deadline = let_expire(desk, order["id"])
    [listed] = LISTING[how](sender, operator, order)
    assert (listed["id"], listed["status"], listed["decided_at"]) == (order["id"], "expired", deadline)
    assert (written(desk, order["id"]), moves(desk, order["id"])) == ("pending_approval", [])


def test_it_is_not_among_those_that_wait_any_more(desk: Desk, sender: Api, operator: Api) -> None:
    order = sender.post("/orders", body()).json
    before = operator.get("/state")
    assert [item["id"] for item in before.json["approvals"]] == [order["id"]]
    let_expire(desk, order["id"])
    assert operator.get("/approvals").json["items"] == []
    assert sender.get("/orders?status=pending_approval").json["items"] == []
    after = operator.get("/state", headers={"If-None-Match": before.headers["ETag"]})
    assert after.status_code == 200, "the state has changed, though nothing was written"
    assert (after.json["approvals"], after.json["approvals_total"], after.json["approvals_by_ticker"]) == (
        [],
        0,
        {},
    )
    assert written(desk, order["id"]) == "pending_approval"


@pytest.mark.parametrize(
    ("act", "code"),
    [("cancel", "already_decided"), ("approve", "already_decided"), ("reject", "already_decided")],
)
def test_who_comes_too_late_is_refused_with_the_deadline(
    desk: Desk, sender: Api, operator: Api, act: str, code: str
) -> None:
    order = sender.post("/orders", body()).json
    deadline = let_expire(desk, order["id"])
    answer = (
        sender.post(f"/orders/{order['id']}/cancel", None)
        if act == "cancel"
        else operator.post(f"/approvals/{order['id']}/{act}", {"reason": "no"} if act == "reject" else {})
    )
    assert (answer.status_code, answer.json["code"]) == (409, code)
    assert answer.json["detail"] == f"the order is expired already, by its deadline at {deadline}"
    assert moves(desk, order["id"]) == BY_THE_CLOCK


@pytest.mark.usefixtures("any_machine")
def test_an_approval_around_the_deadline_is_in_time_or_refused_and_never_both(
    desk: Desk, app: Flask, engine: Actor, alice: Actor
) -> None:
    """Forty deadlines that pass while forty approvals are on their way."""
    ids = place_waiting(desk, engine, 40)
    outcomes: Counter[str] = Counter()
    with app.app_context():
        for number, id_ in enumerate(ids):
            deadline = let_expire(desk, id_, in_seconds=number % 20 * 0.0006)
            try:
                shown = approvals.approve(alice, UUID(id_), None)
                assert (shown["status"], shown["decided_by"]) == ("released", "alice")
                assert shown["decided_at"] < deadline
                assert moves(desk, id_) == [("order.approve", "alice")]
            except Decided as refused:
                shown = dict(refused.more["order"])
                assert (shown["status"], shown["decided_at"]) == ("expired", deadline)
                assert moves(desk, id_) == BY_THE_CLOCK
            assert submit.get(alice, UUID(id_)) == shown
            outcomes[shown["status"]] += 1
    assert set(outcomes) == {"released", "expired"}, "both happened"


@pytest.mark.parametrize("held", [0, 1.7])
@pytest.mark.parametrize("act", ["approve", "reject", "cancel"])
def test_an_act_that_waits_for_the_row_past_the_deadline_comes_too_late(
    desk: Desk, app: Flask, engine: Actor, alice: Actor, act: str, held: float
) -> None:
    """A guard that was evaluated before the wait would still say yes. 1.7 s is longer than one try waits."""
    [id_] = place_waiting(desk, engine, 1)
    acts: dict[str, Callable[[], Any]] = {
        "approve": lambda: approvals.approve(alice, UUID(id_), None),
        "reject": lambda: approvals.reject(alice, UUID(id_), "no"),
        "cancel": lambda: withdraw(engine, UUID(id_)),
    }
    with transaction(desk) as other:
        other.execute("SELECT 1 FROM orders WHERE id = %s FOR UPDATE", [id_])
        began = time.monotonic()
        late = Act(app, acts[act])
        assert late.waits(desk, "transactionid")
        other.execute("UPDATE orders SET expires_at = clock_timestamp() WHERE id = %s", [id_])
        time.sleep(max(0, held - (time.monotonic() - began)))
    refused = late.done()
    assert isinstance(refused, Decided), refused
    assert refused.more["order"]["status"] == "expired"
    assert (written(desk, id_), moves(desk, id_)) == ("expired", BY_THE_CLOCK)


def approved_in_time(session: Session, desk: Desk, alice: Actor, id_: str, deadline: str) -> bool:
    """She approves it, which is not committed yet, and then its deadline passes; False where that had passed."""
    submit.locked(session, alice, UUID(id_))
    _, won = submit.settle(session, Mover.PERSON, OrderStatus.RELEASED, alice, None, UUID(id_))
    assert won or past(desk, deadline)
    until(lambda: past(desk, deadline))
    return won


READS: dict[str, Callable[[Actor, str], Any]] = {
    "a read": lambda who, id_: submit.get(who, UUID(id_))["status"],
    "a cancel": lambda who, id_: withdraw(who, UUID(id_)),
}


@pytest.mark.usefixtures("any_machine")
@pytest.mark.parametrize("what", [*READS, "a replay"])
def test_an_approval_in_time_that_is_not_committed_yet_is_never_contradicted_by(
    desk: Desk, app: Flask, engine: Actor, alice: Actor, what: str
) -> None:
    with app.app_context():
        desk.sql("""UPDATE risk_configs SET config = '{"operator_approval": {"auto_approve_paper": false}}'""")

        def sitting() -> tuple[Any, str] | None:
            new = new_order(signal_layer="macro", reference_price=100)
            id_ = submit.submit(engine, new)[0]["id"]
            deadline = let_expire(desk, id_, in_seconds=0.3)
            with recording() as session:
                if not approved_in_time(session, desk, alice, id_, deadline):
                    return None
                act = READS.get(what, lambda who, _: submit.submit(who, new)[0]["status"])
                asks = Act(app, lambda: act(engine, id_))
                assert asks.waits(desk, "transactionid"), "it waits for what is on its way, and does not guess"
            return asks.done(), id_

        told, id_ = in_one_of_three(sitting)
    if what == "a cancel":
        assert isinstance(told, Decided)
        told = told.more["order"]["status"]
    assert told == "released"
    assert moves(desk, id_) == [("order.approve", "alice")]


@pytest.mark.usefixtures("any_machine")
def test_a_sweep_leaves_alone_what_somebody_is_just_deciding(
    desk: Desk, app: Flask, engine: Actor, alice: Actor
) -> None:
    def sitting() -> tuple[str, str] | None:
        decided, due = place_waiting(desk, engine, 2)
        deadline = let_expire(desk, decided, in_seconds=0.3)
        let_expire(desk, due)
        with recording() as session:
            if not approved_in_time(session, desk, alice, decided, deadline):
                desk.sql("DELETE FROM orders WHERE id = %s", due)
                return None
            assert expire_due(SWEEPER) == 1, "it neither waits for it nor touches it"
        return decided, due

    with app.app_context():
        decided, due = in_one_of_three(sitting)
        assert (written(desk, decided), written(desk, due)) == ("released", "expired")
        assert expire_due(SWEEPER) == 0
    assert moves(desk, decided) == [("order.approve", "alice")]


def test_several_sweepers_at_once_write_each_down_exactly_once(desk: Desk, app: Flask, engine: Actor) -> None:
    due = place_waiting(desk, engine, 600, minutes=-1)
    waiting = place_waiting(desk, engine, 50)
    done: list[int] = []
    barrier = threading.Barrier(6)

    def sweep() -> int:
        with app.app_context():
            barrier.wait(10)
            return sum(iter(lambda: expire_due(SWEEPER, most=40), 0))

    done = results_of(*[sweep] * 6)
    assert sum(done) == len(due)
    assert sum(count > 0 for count in done) > 1, "several had a share"
    assert desk.sql("SELECT status, count(*) FROM orders GROUP BY 1 ORDER BY 1") == [
        ("expired", len(due)),
        ("pending_approval", len(waiting)),
    ]
    assert desk.sql("SELECT bool_and(decided_at = expires_at) FROM orders WHERE status = 'expired'") == [(True,)]
    assert desk.sql(
        "SELECT actor, count(*), count(DISTINCT subject) FROM audit_events"
        " WHERE action = 'order.expire' GROUP BY actor"
    ) == [("system:deadline", len(due), len(due))]


def test_a_list_of_one_status_never_shows_another_while_deadlines_pass(
    desk: Desk, app: Flask, engine: Actor, alice: Actor
) -> None:
    place_waiting(desk, engine, 200)
    shown: Counter[tuple[str, str]] = Counter()

    def sitting() -> bool:
        desk.sql("UPDATE orders SET expires_at = clock_timestamp() + (seq * 10 + 100) * interval '1 ms'")
        while desk.sql("SELECT 1 FROM orders WHERE expires_at > clock_timestamp() LIMIT 1"):
            for status in (OrderStatus.PENDING_APPROVAL, OrderStatus.EXPIRED):
                found = queries.page(alice, status=status, limit=200)
                shown.update((status.value, order["status"]) for _, order in found)
        assert set(shown) <= {("pending_approval", "pending_approval"), ("expired", "expired")}
        return len(shown) == 2

    with app.app_context():
        in_one_of_three(sitting)


def test_the_timeout_in_force_at_the_submission_counts(desk: Desk, sender: Api, operator: Api) -> None:
    before = sender.post("/orders", body()).json
    assert operator.put("/approval-config", {"approval_timeout_minutes": 1}).status_code == 200
    after = sender.post("/orders", body()).json
    assert desk.sql("SELECT extract(epoch FROM expires_at - created_at)::int FROM orders ORDER BY seq") == [
        (1800,),
        (60,),
    ]
    assert sender.get(f"/orders/{before['id']}").json == before
    assert [item["id"] for item in operator.get("/approvals").json["items"]] == [after["id"], before["id"]]
