"""Who may do what: the table of the contract, written out once more, so that a slip in either shows."""

from __future__ import annotations

import pytest

from app.domain.roles import PEOPLE_ROLES, RIGHTS, Act, Role, may
from app.services.actor import Actor
from app.services.errors import Forbidden

YES, NO = True, False

# act: (viewer, operator, admin, engine)
CONTRACT = {
    "read_desk": (YES, YES, YES, NO),
    "read_rules": (YES, YES, YES, YES),
    "operate": (NO, YES, YES, NO),
    "lock_out_automatically": (NO, YES, YES, YES),
    "go_live": (NO, NO, YES, NO),
    "change_live_approval": (NO, NO, YES, NO),
    "replace_config": (NO, NO, YES, NO),
    "read_orders": (YES, YES, YES, YES),
    "decide_orders": (NO, YES, YES, NO),
    "trade": (NO, NO, NO, YES),
    "manage_accounts": (NO, NO, YES, NO),
}
ROLES = ("viewer", "operator", "admin", "engine")


def test_there_are_these_roles_and_no_others() -> None:
    assert tuple(str(role) for role in Role) == ROLES
    assert tuple(str(role) for role in PEOPLE_ROLES) == ROLES[:3]


@pytest.mark.parametrize("act", CONTRACT)
def test_each_act_is_for_the_roles_of_the_contract(act: str) -> None:
    assert tuple(may(Role(role), Act(act)) for role in ROLES) == CONTRACT[act]


def test_no_act_is_without_a_line_in_the_table() -> None:
    assert set(RIGHTS) == set(Act)
    assert {str(act) for act in Act} == set(CONTRACT)


def test_what_a_lesser_person_may_a_greater_one_may_too() -> None:
    for act in Act:
        rights = [may(role, act) for role in PEOPLE_ROLES]
        assert rights == sorted(rights), act


@pytest.mark.parametrize("act", ["fly", "", None])
def test_an_act_that_is_not_in_the_table_is_nobodys(act: object) -> None:
    for role in Role:
        assert may(role, act) is False  # type: ignore[arg-type]


def test_an_unknown_role_may_do_nothing() -> None:
    for act in Act:
        assert may("root", act) is False  # type: ignore[arg-type]


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("allow_live", [True, False])
def test_only_an_admin_whose_credential_allows_it_goes_live(role: Role, allow_live: bool) -> None:
    who = Actor("somebody", role, "request", allow_live=allow_live)
    assert who.may(Act.GO_LIVE) is (role is Role.ADMIN and allow_live)
    if not who.may(Act.GO_LIVE):
        with pytest.raises(Forbidden, match="not you"):
            who.require(Act.GO_LIVE, "not you")


@pytest.mark.parametrize("role", Role)
def test_going_live_is_the_only_act_that_depends_on_it(role: Role) -> None:
    bold, shy = (Actor("somebody", role, "request", allow_live=allow) for allow in (True, False))
    for act in set(Act) - {Act.GO_LIVE}:
        assert bold.may(act) is shy.may(act) is may(role, act)
