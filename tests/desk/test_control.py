"""Who may not approve an engine's orders: every account that controls it, however it came to that."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

import pyotp
import pytest
from flask import Flask

from app.domain.control import SelfApproval
from app.domain.roles import Role
from app.services.accounts import admin as people
from app.services.accounts import login, two_factor, users
from app.services.actor import Actor
from app.services.errors import Forbidden
from app.services.orders import approvals
from tests.desk.orders import Act, actor_of, moves, place_waiting, transaction, written
from tests.desk.test_accounts_at_once import signed_in
from tests.desk.test_rules_lock import holder
from tests.serving import TESTER, Desk

OWN = "a horse of another colour"
FIRST = "battery staple correct"


class People:
    """What a test does in the names of several people, each with a session."""

    def __init__(self, desk: Desk, app: Flask) -> None:
        self.desk, self.app = desk, app

    def admin(self, name: str, role: str = "admin") -> Actor:
        return signed_in(self.desk, name, role)[0]

    def token(self, by: Actor, name: str, role: str = "engine", owner: str | None = None) -> Actor:
        """Make a token on the page; whoever acts with it."""
        with self.app.app_context():
            token = users.add_token(by, name, Role(role), owner=owner)
        found = actor_of(self.desk, name)
        return Actor(found.name, found.role, "tests", found.account_id, token_id=token.partition(".")[0])

    def person(self, by: Actor, name: str, role: str = "operator") -> None:
        with self.app.app_context():
            people.add(by, name, Role(role), FIRST)

    def sign_in(self, name: str, password: str) -> Actor:
        with self.app.app_context():
            found = login.sign_in(name, password, address="192.0.2.1", device_names={}, request_id="r")
            assert isinstance(found, tuple)
            person, secret = found
            again = login.signed_in(secret)
        assert again is not None
        return Actor(
            person.name,
            person.role,
            "r",
            person.account_id,
            session_hash=person.session_hash,
            must_change_password=again.must_change_password,
        )

    def change_password(self, who: Actor, old: str, new: str = OWN) -> None:
        with self.app.app_context():
            checked = login.prove_password(who, old, address="192.0.2.1")
            people.change_password(who, checked, new)

    def order(self, engine: Actor) -> str:
        [id_] = place_waiting(self.desk, engine, 1)
        return id_

    def approve(self, who: Actor, order: str, self_approval: SelfApproval = SelfApproval.NEVER) -> bool:
        """Whether they may; where they may not, nothing has changed."""
        done = Act(self.app, lambda: approvals.approve(who, UUID(order), None, self_approval=self_approval)).done()
        if isinstance(done, Forbidden) and done.code == "own_engine":
            assert (written(self.desk, order), moves(self.desk, order)) == ("pending_approval", [])
            return False
        assert isinstance(done, dict), done
        assert written(self.desk, order) == "released"
        return True


@pytest.fixture
def team(desk: Desk, app: Flask) -> People:
    return People(desk, app)


@pytest.fixture
def ada(team: People) -> Actor:
    return team.admin("ada")


@pytest.fixture
def eve(team: People) -> Actor:
    return team.admin("eve")


class TestControlOfAnEngine:
    def test_by_owning_it(self, team: People, ada: Actor, eve: Actor) -> None:
        order = team.order(team.token(eve, "bot", owner="ada"))
        assert not team.approve(ada, order)

    def test_by_creating_it_and_giving_it_to_another_person(self, team: People, ada: Actor, eve: Actor) -> None:
        order = team.order(team.token(ada, "bot", owner="eve"))
        assert not team.approve(ada, order)

    def test_by_creating_it_without_an_owner(self, team: People, ada: Actor, eve: Actor) -> None:
        order = team.order(team.token(ada, "bot"))
        assert not team.approve(ada, order)
        assert team.approve(eve, order)

    def test_by_creating_a_second_token_of_it(self, team: People, ada: Actor, eve: Actor) -> None:
        bot = team.token(TESTER, "bot")
        first, second = team.order(bot), team.order(bot)
        assert team.approve(ada, first)
        team.token(ada, "bot")
        assert not team.approve(ada, second)
        assert team.approve(eve, second)

    def test_by_a_token_that_they_have_revoked_since(self, team: People, ada: Actor, app: Flask) -> None:
        """They could send an order with it, revoke it, and approve the order."""
        bot = team.token(TESTER, "bot")
        mine = team.token(ada, "bot")
        order = team.order(bot)
        assert mine.token_id
        with app.app_context():
            users.revoke_token(ada, mine.token_id)
        assert not team.approve(ada, order)

    def test_not_by_the_command_line(self, team: People, ada: Actor) -> None:
        assert team.approve(ada, team.order(team.token(TESTER, "bot")))


class TestScripts:
    def test_of_the_person_who_controls_the_engine(self, team: People, ada: Actor, eve: Actor) -> None:
        """However the person came to control the script."""
        order = team.order(team.token(eve, "bot", owner="ada"))
        owned = team.token(TESTER, "owned", "operator", owner="ada")
        created = team.token(ada, "created", "operator")
        given_a_token = team.token(TESTER, "given-a-token", "operator")
        team.token(ada, "given-a-token", "operator")
        personal = team.token(ada, "ada", "admin")
        for script in (owned, created, given_a_token, personal):
            assert not team.approve(script, order), script.name
        assert team.approve(team.token(TESTER, "nobodys", "operator"), order)

    def test_whose_creator_created_the_engine_too(self, team: People, ada: Actor, eve: Actor) -> None:
        order = team.order(team.token(ada, "bot", owner="eve"))
        assert not team.approve(team.token(ada, "script", "operator"), order)


class TestPeople:
    def test_before_and_after_they_change_the_password_that_they_were_given(
        self, team: People, ada: Actor, desk: Desk
    ) -> None:
        order = team.order(team.token(ada, "bot"))
        team.person(ada, "olga")
        olga = team.sign_in("olga", FIRST)
        assert olga.must_change_password
        assert not team.approve(olga, order)
        team.change_password(olga, FIRST)
        assert team.approve(olga, order)
        assert not team.sign_in("olga", OWN).must_change_password

    def test_of_the_command_line_are_nobodys(self, team: People, ada: Actor, desk: Desk) -> None:
        order = team.order(team.token(ada, "bot"))
        password = desk.add_user("olga", "operator")
        olga = team.sign_in("olga", password)
        assert not olga.must_change_password
        assert team.approve(olga, order)

    def test_whose_password_was_reset(self, team: People, ada: Actor, desk: Desk, app: Flask) -> None:
        bot = team.token(ada, "bot")
        first, second = team.order(bot), team.order(bot)
        assert team.approve(team.sign_in("olga", desk.add_user("olga", "operator")), first)
        with app.app_context():
            people.reset_password(ada, "olga", FIRST)
        olga = team.sign_in("olga", FIRST)
        assert olga.must_change_password
        assert not team.approve(olga, second)
        team.change_password(olga, FIRST)
        assert team.approve(olga, second)

    def test_whose_password_was_set_again_by_another_admin(
        self, team: People, ada: Actor, eve: Actor, desk: Desk, app: Flask
    ) -> None:
        """The password that is in use decides."""
        adas, eves = team.order(team.token(ada, "adas")), team.order(team.token(eve, "eves"))
        team.person(ada, "olga")
        with app.app_context():
            people.reset_password(eve, "olga", OWN)
        olga = team.sign_in("olga", OWN)
        assert not team.approve(olga, eves)
        assert team.approve(olga, adas)

    def test_whose_password_the_command_line_set_again(self, team: People, ada: Actor, app: Flask) -> None:
        order = team.order(team.token(ada, "bot"))
        team.person(ada, "olga")
        with app.app_context():
            people.reset_password(TESTER, "olga", OWN)
        olga = team.sign_in("olga", OWN)
        assert not olga.must_change_password
        assert team.approve(olga, order)

    @pytest.mark.parametrize("by_the_command_line", [False, True])
    def test_whose_second_factor_was_removed(
        self, team: People, ada: Actor, desk: Desk, app: Flask, by_the_command_line: bool
    ) -> None:
        order = team.order(team.token(ada, "bot"))
        olga, password = signed_in(desk, "olga", "operator")
        with app.app_context():
            secret = two_factor.start(olga).secret
            two_factor.confirm(olga, secret, pyotp.TOTP(secret).now())
            people.remove_second_factor(TESTER if by_the_command_line else ada, "olga")
        olga = team.sign_in("olga", password)
        assert olga.must_change_password is not by_the_command_line
        assert team.approve(olga, order) is by_the_command_line
        if not by_the_command_line:
            team.change_password(olga, password)
            assert team.approve(olga, order)

    def test_the_same_password_again_is_no_change(self, team: People, ada: Actor) -> None:
        order = team.order(team.token(ada, "bot"))
        team.person(ada, "olga")
        olga = team.sign_in("olga", FIRST)
        with pytest.raises(Exception, match="must differ from the current one"):
            team.change_password(olga, FIRST, FIRST)
        assert not team.approve(olga, order)


class TestChains:
    def test_of_two(self, team: People, ada: Actor, app: Flask, desk: Desk) -> None:
        """ada controls olga, who owns the engine; and olga's script is ada's too."""
        desk.add_user("olga", "operator")
        bot = team.token(TESTER, "bot", owner="olga")
        script = team.token(TESTER, "script", "operator", owner="olga")
        first, second = team.order(bot), team.order(bot)
        assert team.approve(ada, first)
        with app.app_context():
            people.reset_password(ada, "olga", FIRST)
        assert not team.approve(ada, second)
        own = team.order(team.token(ada, "adas"))
        assert not team.approve(script, own)
        team.change_password(team.sign_in("olga", FIRST), FIRST)
        assert team.approve(ada, second)
        assert team.approve(script, own)

    def test_of_three_with_a_circle(self, team: People, ada: Actor, desk: Desk) -> None:
        for name in ("bea", "cleo", "dora"):
            desk.add_user(name, "operator")
        ids = {name: actor_of(desk, name).account_id for name in ("ada", "bea", "cleo")}
        for controlled, controller in (("bea", "ada"), ("cleo", "bea"), ("ada", "cleo")):
            desk.sql("UPDATE accounts SET password_set_by_id = %s WHERE name = %s", ids[controller], controlled)
        order = team.order(team.token(TESTER, "bot", owner="cleo"))
        for name in ("ada", "bea", "cleo"):
            assert not team.approve(actor_of(desk, name), order), name
        assert team.approve(actor_of(desk, "dora"), order)


def test_accounts_from_before_have_no_known_creator(team: People, ada: Actor, desk: Desk) -> None:
    order = team.order(team.token(ada, "bot"))
    desk.sql("UPDATE accounts SET created_by_id = NULL")
    desk.sql("UPDATE tokens SET created_by_id = NULL")
    assert team.approve(ada, order)


def test_rejecting_stays_open_to_all_of_them(team: People, ada: Actor, app: Flask, desk: Desk) -> None:
    order = team.order(team.token(ada, "bot", owner="ada"))
    with app.app_context():
        assert approvals.reject(ada, UUID(order), "no")["status"] == "rejected"


class TestSelfApproval:
    """ALONE: the only active person who may approve does, with their session."""

    ALONE = SelfApproval.ALONE

    @pytest.fixture
    def order(self, team: People, ada: Actor) -> str:
        return team.order(team.token(ada, "bot", owner="ada"))

    def test_never(self, team: People, ada: Actor, order: str) -> None:
        assert not team.approve(ada, order, SelfApproval.NEVER)

    def test_alone(self, team: People, ada: Actor, order: str, desk: Desk) -> None:
        desk.add_user("vera", "viewer")
        assert team.approve(ada, order, self.ALONE)
        [(after, self_approved)] = desk.sql(
            "SELECT after, self_approved FROM audit_events, orders WHERE action = 'order.approve'"
        )
        assert after["self_approved"] is True
        assert self_approved is True

    def test_is_not_said_of_another_engines_orders(self, team: People, ada: Actor, desk: Desk, app: Flask) -> None:
        order = team.order(team.token(TESTER, "bot"))
        with app.app_context():
            assert "self_approved" not in approvals.approve(ada, UUID(order), None, self_approval=self.ALONE)
        [(after,)] = desk.sql("SELECT after FROM audit_events WHERE action = 'order.approve'")
        assert "self_approved" not in after

    def test_the_order_says_so(self, team: People, ada: Actor, order: str, app: Flask) -> None:
        with app.app_context():
            shown = approvals.approve(ada, UUID(order), None, self_approval=self.ALONE)
        assert shown["self_approved"] is True

    def test_not_with_a_token(self, team: People, ada: Actor, order: str) -> None:
        assert not team.approve(team.token(ada, "ada", "admin"), order, self.ALONE)
        assert not team.approve(team.token(ada, "script", "operator", owner="ada"), order, self.ALONE)

    def test_not_with_a_second_approver_until_that_one_is_gone(
        self, team: People, ada: Actor, order: str, desk: Desk, app: Flask
    ) -> None:
        desk.add_user("olga", "operator")
        assert not team.approve(ada, order, self.ALONE)
        with app.app_context():
            people.deactivate(ada, "olga")
        assert team.approve(ada, order, self.ALONE)

    def test_not_with_an_approver_who_has_to_change_the_password_first(
        self, team: People, ada: Actor, order: str
    ) -> None:
        """That person can approve in a minute. Both are refused now."""
        team.person(ada, "olga")
        assert not team.approve(ada, order, self.ALONE)
        assert not team.approve(team.sign_in("olga", FIRST), order, self.ALONE)

    def test_a_demoted_approver_does_not_count(
        self, team: People, ada: Actor, order: str, desk: Desk, app: Flask
    ) -> None:
        desk.add_user("olga", "operator")
        with app.app_context():
            people.set_role(ada, "olga", Role.VIEWER)
        assert team.approve(ada, order, self.ALONE)


def test_an_owner_who_is_named_while_an_approval_waits_for_the_row_counts(
    team: People, ada: Actor, desk: Desk, app: Flask
) -> None:
    bot = team.token(TESTER, "bot")
    order = team.order(bot)
    with transaction(desk) as other:
        other.execute("SELECT 1 FROM orders WHERE id = %s FOR UPDATE", [order])
        approval = Act(app, lambda: approvals.approve(ada, UUID(order), None))
        assert approval.waits(desk, "transactionid")
        Act(app, lambda: users.add_token(TESTER, "bot", Role.ENGINE, owner="ada")).done()
    refused = approval.done()
    assert isinstance(refused, Forbidden)
    assert refused.code == "own_engine"
    assert written(desk, order) == "pending_approval"


GIVES_CONTROL: dict[str, Callable[[Actor], object]] = {
    "a token": lambda ada: users.add_token(ada, "bot", Role.ENGINE),
    "another owner": lambda ada: people.change_owner(TESTER, "bot", "ada"),
    "a password": lambda ada: people.reset_password(ada, "olga", FIRST),
}


@pytest.mark.parametrize("act", GIVES_CONTROL)
def test_control_is_not_acknowledged_while_an_approval_is_in_progress(
    team: People, ada: Actor, desk: Desk, app: Flask, act: str
) -> None:
    desk.add_user("olga", "operator")
    team.token(TESTER, "bot")
    with holder(desk):
        giving = Act(app, lambda: GIVES_CONTROL[act](ada))
        assert giving.waits(desk)
    assert not isinstance(giving.done(), Exception)
