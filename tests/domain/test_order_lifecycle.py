"""Which moves of an order are legal, and whose; what is final."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.order_status import MOVES, Mover, OrderStatus, is_final, is_legal, status_at

NOW = datetime(2026, 3, 2, 14, 30, tzinfo=UTC)

# Written out, and not derived from MOVES: (before, after) -> who may do it.
CONTRACT = {
    (None, "blocked"): {"gate"},
    (None, "pending_approval"): {"gate"},
    (None, "released"): {"gate"},
    ("pending_approval", "released"): {"person"},
    ("pending_approval", "rejected"): {"person"},
    ("pending_approval", "canceled"): {"engine", "mode_change", "suspension"},
    ("pending_approval", "expired"): {"clock"},
    # Bound for a venue.
    ("released", "sending"): {"dispatch"},
    ("released", "canceled"): {"engine", "dispatch"},
    ("sending", "released"): {"dispatch"},
    ("sending", "canceled"): {"dispatch"},
    ("sending", "unknown"): {"dispatch"},
    ("unknown", "canceled"): {"dispatch"},
    ("sending", "accepted"): {"venue"},
    ("sending", "partially_filled"): {"venue"},
    ("sending", "filled"): {"venue"},
    ("sending", "replaced"): {"venue"},
    ("sending", "venue_rejected"): {"venue"},
    ("sending", "venue_canceled"): {"venue"},
    ("sending", "venue_expired"): {"venue"},
    ("unknown", "accepted"): {"venue"},
    ("unknown", "partially_filled"): {"venue"},
    ("unknown", "filled"): {"venue"},
    ("unknown", "replaced"): {"venue"},
    ("unknown", "venue_rejected"): {"venue"},
    ("unknown", "venue_canceled"): {"venue"},
    ("unknown", "venue_expired"): {"venue"},
    ("accepted", "partially_filled"): {"venue"},
    ("accepted", "filled"): {"venue"},
    ("accepted", "replaced"): {"venue"},
    ("accepted", "venue_rejected"): {"venue"},
    ("accepted", "venue_canceled"): {"venue"},
    ("accepted", "venue_expired"): {"venue"},
    ("partially_filled", "filled"): {"venue"},
    ("partially_filled", "replaced"): {"venue"},
    ("partially_filled", "venue_rejected"): {"venue"},
    ("partially_filled", "venue_canceled"): {"venue"},
    ("partially_filled", "venue_expired"): {"venue"},
    # Given up, and there all the same.
    ("canceled", "accepted"): {"venue"},
    ("canceled", "partially_filled"): {"venue"},
    ("canceled", "filled"): {"venue"},
    ("canceled", "replaced"): {"venue"},
    ("canceled", "venue_canceled"): {"venue"},
    ("canceled", "venue_expired"): {"venue"},
}
GOES_ON = {"pending_approval", "sending", "unknown", "accepted", "partially_filled"}


@pytest.mark.parametrize("trigger", Mover)
def test_allows_exactly_the_transitions_of_the_contract(trigger: Mover) -> None:
    wrong = [
        f"{before} -> {after}: {allowed}, but should be {expected}"
        for before, after in product([None, *OrderStatus], OrderStatus)
        if (allowed := is_legal(before, after, trigger))
        is not (expected := trigger in CONTRACT.get((before, after), ()))
    ]
    assert not wrong, f"{trigger}: " + "; ".join(wrong)


def test_the_contract_names_known_states_and_triggers_only() -> None:
    """A misspelt name in CONTRACT would allow nothing, and the comparison above would not notice."""
    states, triggers = {None, *OrderStatus}, {*Mover}
    assert {state for pair in CONTRACT for state in pair} <= states
    assert set().union(*CONTRACT.values()) == triggers


def test_nothing_leads_out_of_a_final_state_but_what_the_venue_has_all_the_same() -> None:
    assert {before for before, _ in MOVES} == {None, "released", "canceled", *GOES_ON}
    assert {mover for (before, _), movers in MOVES.items() for mover in movers if before == "canceled"} == {
        "venue"
    }


@pytest.mark.parametrize("status", OrderStatus)
def test_a_released_order_is_final_where_no_venue_gets_it(status: OrderStatus) -> None:
    assert is_final(status, bound=False) is (status not in GOES_ON)
    assert is_final(status, bound=True) is (status not in {*GOES_ON, "released"})


@settings(max_examples=200)
@given(st.sampled_from(OrderStatus), st.none() | st.integers(-90, 90), st.integers(0, 90))
def test_only_what_waits_expires_and_it_does_so_at_its_deadline(
    stored: OrderStatus, seconds: int | None, later: int
) -> None:
    deadline = None if seconds is None else NOW + timedelta(seconds=seconds)
    shown = status_at(stored, deadline, NOW)
    due = stored is OrderStatus.PENDING_APPROVAL and deadline is not None and deadline <= NOW
    assert shown is (OrderStatus.EXPIRED if due else stored)
    if shown is OrderStatus.EXPIRED:
        assert status_at(stored, deadline, NOW + timedelta(seconds=later)) is OrderStatus.EXPIRED
