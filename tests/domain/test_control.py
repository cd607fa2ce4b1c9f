"""Who controls an account: transitive, whatever the order of the edges, and more edges never permit more."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.control import Control, controllers, may_own, share_a_controller
from app.domain.roles import PEOPLE_ROLES, Role

accounts = st.integers(1, 7)
edges = st.lists(st.builds(Control, accounts, accounts), max_size=15)


@given(edges)
@settings(max_examples=200)
def test_control_is_transitive(known: list[Control]) -> None:
    for account in range(1, 8):
        found = controllers(account, known)
        assert account in found
        for controller in found:
            assert controllers(controller, known) <= found


@given(edges)
@settings(max_examples=200)
def test_every_controller_is_reached_by_a_chain_of_edges(known: list[Control]) -> None:
    """Nothing is found that repeated steps along the edges do not reach, and nothing that they reach is missed."""
    for account in range(1, 8):
        reached = {account}
        for _ in range(7):
            reached |= {edge.controller for edge in known if edge.controlled in reached}
        assert controllers(account, known) == reached


@given(edges, st.randoms(use_true_random=False))
@settings(max_examples=200)
def test_the_order_of_the_edges_means_nothing(known: list[Control], random: object) -> None:
    shuffled = list(known)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    for one in range(1, 8):
        for other in range(1, 8):
            assert share_a_controller(one, other, known) == share_a_controller(one, other, shuffled)
            assert share_a_controller(one, other, known) == share_a_controller(other, one, known)


@given(edges, st.builds(Control, accounts, accounts), accounts, accounts)
@settings(max_examples=300)
def test_another_edge_never_permits_more(known: list[Control], more: Control, one: int, other: int) -> None:
    if share_a_controller(one, other, known):
        assert share_a_controller(one, other, [*known, more])


@given(edges)
@settings(max_examples=100)
def test_whoever_controls_the_approver_or_the_engine_decides(known: list[Control]) -> None:
    """An account that controls an engine shares a controller with it, and so does every account below it."""
    for edge in known:
        assert share_a_controller(edge.controller, edge.controlled, known)
        for account in range(1, 8):
            if edge.controller in controllers(account, known):
                assert share_a_controller(account, edge.controlled, known)


def test_accounts_without_edges_have_no_common_controller() -> None:
    assert controllers(1, []) == {1}
    assert not share_a_controller(1, 2, [Control(3, 1), Control(4, 2)])


def test_the_controller_of_an_approver_who_owns_an_engine_is_two_steps_away() -> None:
    chain = [Control(1, 2), Control(2, 3), Control(3, 9)]
    assert controllers(9, chain) == {1, 2, 3, 9}
    assert share_a_controller(1, 9, chain)


@pytest.mark.parametrize("owner", PEOPLE_ROLES)
@pytest.mark.parametrize("owned", Role)
def test_which_role_may_own_which(owner: Role, owned: Role) -> None:
    too_low = {
        (Role.VIEWER, Role.OPERATOR),
        (Role.VIEWER, Role.ADMIN),
        (Role.VIEWER, Role.ENGINE),
        (Role.OPERATOR, Role.ADMIN),
    }
    assert may_own(owner, owned) == ((owner, owned) not in too_low)


def test_an_engine_owns_nothing() -> None:
    assert not any(may_own(Role.ENGINE, owned) for owned in Role)
