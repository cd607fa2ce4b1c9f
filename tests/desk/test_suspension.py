"""Service accounts of a deactivated or demoted person: suspended, resumed, and given another owner."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from flask import Flask

from app.domain.order_status import LockoutType
from app.domain.roles import Role
from app.services.accounts import admin, login, users
from app.services.actor import Actor
from app.services.errors import Conflict, Decided, DeskError, Forbidden, Invalid, NotFound
from app.services.orders import approvals, submit
from app.services.trading import lockouts
from tests.at_once import at_once
from tests.conftest import Api
from tests.desk.orders import Act, actor_of, let_expire, moves, new_order, place_waiting, transaction, written
from tests.desk.test_accounts_at_once import on, signed_in
from tests.desk.test_rules_lock import holder
from tests.serving import TESTER, Desk

KEPT = "SELECT 1 FROM orders WHERE id = %s FOR UPDATE"
NAMES = ("bot", "reader", "operating", "administering")


class Owned:
    """olga, a person, and service accounts that she owns, one of each role, with a token for each."""

    def __init__(self, desk: Desk, app: Flask, role: str = "admin") -> None:
        self.desk, self.app = desk, app
        desk.add_user("olga", role)
        roles = ("engine", "viewer", "operator", "admin")
        self.tokens = {
            name: desk.add_token(name, role, owner="olga") for name, role in zip(NAMES, roles, strict=True)
        }

    def do(self, act: Callable[..., Any], *arguments: Any) -> Any:
        with self.app.app_context():
            return act(*arguments)

    def suspended(self) -> set[str]:
        return {name for (name,) in self.desk.sql("SELECT name FROM accounts WHERE suspended_at IS NOT NULL")}

    def client(self, name: str) -> Api:
        return Api(self.app.test_client(), self.tokens[name])

    def actor(self, name: str) -> Actor:
        return replace(actor_of(self.desk, name), token_id=self.tokens[name].partition(".")[0])

    def events(self) -> list[tuple[str, str]]:
        return [
            (action, subject)
            for action, subject in self.desk.sql(
                "SELECT action, subject FROM audit_events WHERE action LIKE 'account.%%'"
                " AND action <> 'account.create' ORDER BY id"
            )
        ]


@pytest.fixture
def owned(desk: Desk, app: Flask) -> Owned:
    desk.add_user("ada", "admin")
    return Owned(desk, app)


class TestDeactivation:
    def test_suspends_every_account_that_the_person_owns(self, owned: Owned, desk: Desk) -> None:
        desk.add_token("adas", "engine", owner="ada")
        done = owned.do(admin.deactivate, TESTER, "olga")
        assert {each.name for each in done.stopped} == owned.suspended() == set(NAMES)
        assert owned.events() == [
            ("account.deactivate", "olga"),
            *(("account.suspend", name) for name in sorted(NAMES)),
        ]

    def test_cancels_pending_orders_of_its_engines_and_no_others(self, owned: Owned, desk: Desk) -> None:
        desk.add_token("adas", "engine", owner="ada")
        mine = place_waiting(desk, actor_of(desk, "bot"), 3)
        [late] = place_waiting(desk, actor_of(desk, "bot"), 1)
        let_expire(desk, late)
        [other] = place_waiting(desk, actor_of(desk, "adas"), 1)
        done = owned.do(admin.deactivate, TESTER, "olga")
        assert [(each.name, each.pending) for each in done.stopped if each.role is Role.ENGINE] == [("bot", 3)]
        assert [written(desk, id_) for id_ in (*mine, late, other)] == [
            *["canceled"] * 3,
            "expired",
            "pending_approval",
        ]
        [(by, note)] = desk.sql("SELECT decided_by, decision_note FROM orders WHERE id = %s", mine[0])
        assert (by, note) == (TESTER.name, "bot is suspended: its owner olga was deactivated")
        assert moves(desk, mine[0]) == [("order.cancel", TESTER.name)]

    def test_refuses_their_tokens_and_says_why(self, owned: Owned) -> None:
        body = {"client_order_id": "a", "ticker": "A", "side": "buy", "qty": "1", "type": "market"}
        owned.do(admin.deactivate, TESTER, "olga")
        for name in NAMES:
            answer = owned.client(name).get("/mode")
            assert (answer.status_code, answer.json["code"]) == (403, "account_suspended"), name
        answer = owned.client("bot").post("/orders", body)
        assert (answer.status_code, answer.json["code"]) == (403, "account_suspended")
        answer = owned.app.test_client().get("/v2/orders", headers=owned.client("bot").headers)
        assert answer.status_code == 403
        assert "suspended" in answer.json["message"]

    def test_ends_what_their_tokens_hold_open(self, owned: Owned, desk: Desk) -> None:
        """Streams and waits look their credentials up again this way."""
        token_id = owned.tokens["reader"].partition(".")[0]
        with transaction(desk) as connection:
            assert login.roles_of(connection, [token_id]) == {token_id: Role.VIEWER}
        owned.do(admin.deactivate, TESTER, "olga")
        with transaction(desk) as connection:
            assert login.roles_of(connection, [token_id]) == {}

    def test_gives_suspended_accounts_no_tokens(self, owned: Owned) -> None:
        owned.do(admin.deactivate, TESTER, "olga")
        with pytest.raises(Conflict) as refused:
            owned.do(users.add_token, TESTER, "bot", Role.ENGINE)
        assert refused.value.code == "account_suspended"

    def test_names_nobody_deactivated_as_an_owner(self, owned: Owned) -> None:
        owned.do(admin.deactivate, TESTER, "olga")
        with pytest.raises(Invalid, match="olga is deactivated"):
            owned.do(lambda: users.add_token(TESTER, "new", Role.ENGINE, owner="olga"))

    def test_of_the_engine_itself_cancels_its_pending_orders(self, owned: Owned, desk: Desk) -> None:
        [order] = place_waiting(desk, actor_of(desk, "bot"), 1)
        [stopped] = owned.do(admin.deactivate, TESTER, "bot").stopped
        assert (stopped.name, stopped.pending, written(desk, order)) == ("bot", 1, "canceled")

    def test_reactivation_resumes_them(self, owned: Owned) -> None:
        owned.do(admin.deactivate, TESTER, "olga")
        done = owned.do(admin.reactivate, TESTER, "olga")
        assert set(done.resumed) == set(NAMES)
        assert owned.suspended() == set()
        assert owned.client("bot").get("/mode").status_code == 200

    def test_is_listed_before_it_is_done(self, owned: Owned, desk: Desk) -> None:
        place_waiting(desk, actor_of(desk, "bot"), 2)
        found = owned.do(admin.preview, "olga", None)
        assert [(each.name, each.pending) for each in found] == [
            *[("administering", 0), ("bot", 2)],
            *[("operating", 0), ("reader", 0)],
        ]
        assert owned.suspended() == set()


class TestDemotion:
    @pytest.mark.parametrize(
        ("role", "suspended"),
        [(Role.OPERATOR, {"administering"}), (Role.VIEWER, {"administering", "operating", "bot"})],
    )
    def test_suspends_what_the_new_role_is_too_low_for(
        self, owned: Owned, desk: Desk, role: Role, suspended: set[str]
    ) -> None:
        [order] = place_waiting(desk, actor_of(desk, "bot"), 1)
        assert {each.name for each in owned.do(admin.preview, "olga", role)} == suspended
        done = owned.do(admin.set_role, TESTER, "olga", role)
        assert {each.name for each in done.stopped} == owned.suspended() == suspended
        assert written(desk, order) == ("canceled" if "bot" in suspended else "pending_approval")

    def test_promotion_resumes_what_the_new_role_is_high_enough_for(self, owned: Owned) -> None:
        owned.do(admin.set_role, TESTER, "olga", Role.VIEWER)
        assert set(owned.do(admin.set_role, TESTER, "olga", Role.OPERATOR).resumed) == {"bot", "operating"}
        assert owned.suspended() == {"administering"}
        assert owned.do(admin.set_role, TESTER, "olga", Role.ADMIN).resumed == ["administering"]

    def test_a_promotion_suspends_nothing(self, desk: Desk, app: Flask) -> None:
        """Not even a script that an admin gave to a person of a lower role."""
        owned = Owned(desk, app, "viewer")
        owned.do(admin.set_role, TESTER, "olga", Role.OPERATOR)
        assert owned.suspended() == set()

    def test_of_a_deactivated_person_resumes_nothing(self, owned: Owned) -> None:
        owned.do(admin.set_role, TESTER, "olga", Role.OPERATOR)
        owned.do(admin.deactivate, TESTER, "olga")
        assert owned.do(admin.set_role, TESTER, "olga", Role.ADMIN).resumed == []
        assert owned.suspended() == set(NAMES)
        assert set(owned.do(admin.reactivate, TESTER, "olga").resumed) == set(NAMES)

    def test_and_reactivation_with_a_lower_role_resumes_the_rest(self, owned: Owned) -> None:
        owned.do(admin.deactivate, TESTER, "olga")
        owned.do(admin.set_role, TESTER, "olga", Role.VIEWER)
        assert owned.do(admin.reactivate, TESTER, "olga").resumed == ["reader"]
        assert owned.suspended() == set(NAMES) - {"reader"}


class TestChangeOfOwner:
    @pytest.fixture
    def ada(self, owned: Owned, desk: Desk) -> Actor:
        desk.sql("DELETE FROM accounts WHERE name = 'ada'")
        return signed_in(desk, "ada", "admin")[0]

    def test_by_an_admin_who_does_not_control_it(self, owned: Owned, ada: Actor, desk: Desk) -> None:
        desk.add_user("bob", "operator")
        assert owned.do(admin.change_owner, ada, "bot", "BOB").changed
        [(before, after, actor)] = desk.sql(
            "SELECT before, after, actor FROM audit_events WHERE action = 'account.change_owner'"
        )
        assert (before, after, actor) == ({"owner": "olga"}, {"owner": "bob"}, "ada")
        assert not owned.do(admin.change_owner, ada, "bot", "bob").changed

    def test_resumes_it_and_cancels_nothing_any_more(self, owned: Owned, ada: Actor, desk: Desk) -> None:
        owned.do(admin.deactivate, TESTER, "olga")
        assert owned.do(admin.change_owner, ada, "bot", "ada").resumed == ["bot"]
        assert owned.client("bot").get("/mode").status_code == 200
        owned.do(admin.reactivate, TESTER, "olga")
        owned.do(admin.deactivate, TESTER, "olga")
        assert "bot" not in owned.suspended()

    def test_to_oneself_takes_the_right_to_approve_away(self, owned: Owned, ada: Actor, desk: Desk) -> None:
        [order] = place_waiting(desk, actor_of(desk, "bot"), 1)
        owned.do(admin.change_owner, ada, "bot", "ada")
        with pytest.raises(Forbidden) as refused:
            owned.do(approvals.approve, ada, UUID(order), None)
        assert refused.value.code == "own_engine"
        with pytest.raises(Forbidden) as refused:
            owned.do(admin.change_owner, ada, "bot", "olga")
        assert refused.value.code == "controls_account"

    @pytest.mark.parametrize("how", ["owner", "creator", "creator of a token", "of the owner"])
    def test_not_by_an_admin_who_controls_it(self, owned: Owned, ada: Actor, desk: Desk, how: str) -> None:
        desk.add_user("bob", "admin")
        if how == "owner":
            owned.do(admin.change_owner, TESTER, "bot", "ada")
        elif how == "creator of a token":
            owned.do(users.add_token, ada, "bot", Role.ENGINE)
        elif how == "creator":
            desk.sql("UPDATE accounts SET created_by_id = %s WHERE name = 'bot'", ada.account_id)
        else:
            owned.do(admin.reset_password, ada, "olga", "battery staple correct")
        with pytest.raises(Forbidden) as refused:
            owned.do(admin.change_owner, ada, "bot", "bob")
        assert refused.value.code == "controls_account"
        [(owner,)] = desk.sql(
            "SELECT o.name FROM accounts a JOIN accounts o ON o.id = a.owner_id WHERE a.name = 'bot'"
        )
        assert owner == ("ada" if how == "owner" else "olga")

    @pytest.mark.parametrize("account", ["bot", "operating", "administering"])
    def test_not_to_a_role_that_is_too_low(self, owned: Owned, ada: Actor, desk: Desk, account: str) -> None:
        desk.add_user("vera", "viewer")
        owned.do(admin.deactivate, TESTER, "olga")
        with pytest.raises(Invalid, match="too low"):
            owned.do(admin.change_owner, ada, account, "vera")
        assert account in owned.suspended()

    @pytest.mark.parametrize(
        ("account", "owner", "error"),
        [
            ("bot", "gone", Invalid),
            ("bot", "nobody", Invalid),
            ("bot", "reader", Invalid),
            ("ada", "olga", Invalid),
            ("nobody", "olga", NotFound),
        ],
    )
    def test_not_of_or_to_whom_it_cannot_be(
        self, owned: Owned, ada: Actor, desk: Desk, account: str, owner: str, error: type[DeskError]
    ) -> None:
        desk.add_user("gone", "admin")
        owned.do(admin.deactivate, TESTER, "gone")
        with pytest.raises(error):
            owned.do(admin.change_owner, ada, account, owner)

    def test_not_by_an_admin_who_was_demoted(self, owned: Owned, ada: Actor) -> None:
        owned.do(admin.set_role, TESTER, "ada", Role.OPERATOR)
        with pytest.raises(Forbidden):
            owned.do(admin.change_owner, ada, "bot", "ada")


class TestRaces:
    @pytest.mark.parametrize("round_", range(5))
    def test_an_approval_or_the_suspension_comes_first(self, owned: Owned, desk: Desk, round_: int) -> None:
        """Either the order was released before, or it is canceled; it is never released afterwards."""
        desk.add_user("bob", "operator")
        ids = place_waiting(desk, actor_of(desk, "bot"), 4)
        bob = actor_of(desk, "bob")
        results = at_once(
            *(on(owned.app, lambda id_=id_: approvals.approve(bob, UUID(id_), None)) for id_ in ids),  # type: ignore[misc]
            on(owned.app, lambda: admin.deactivate(TESTER, "olga")),
        )
        *decisions, done = results
        released = [isinstance(each, dict) for each in decisions].count(True)
        assert all(isinstance(each, dict | Decided) for each in decisions), decisions
        [stopped] = [each for each in done.stopped if each.name == "bot"]
        assert released + stopped.pending == 4
        assert (
            sorted(written(desk, id_) for id_ in ids) == ["canceled"] * stopped.pending + ["released"] * released
        )

    def test_an_order_that_waits_for_the_rules_meanwhile_is_refused(self, owned: Owned, desk: Desk) -> None:
        bot = owned.actor("bot")
        with holder(desk, "") as other:
            submitting = Act(owned.app, lambda: submit.submit(bot, new_order()))
            assert submitting.waits(desk)
            other.execute("UPDATE accounts SET suspended_at = now() WHERE name = 'bot'")
        refused = submitting.done()
        assert isinstance(refused, Forbidden)
        assert refused.code == "account_suspended"
        assert desk.sql("SELECT count(*) FROM orders") == [(0,)]

    def test_a_request_that_waits_for_the_row_meanwhile_is_refused(self, owned: Owned, desk: Desk) -> None:
        """By a script whose owner is demoted while it waits."""
        desk.add_token("other", "engine")
        [order] = place_waiting(desk, actor_of(desk, "other"), 1)
        script = owned.actor("operating")
        with transaction(desk) as other:
            other.execute(KEPT, [order])
            approval = Act(owned.app, lambda: approvals.approve(script, UUID(order), None))
            assert approval.waits(desk, "transactionid")
            demotion = Act(owned.app, lambda: admin.set_role(TESTER, "olga", Role.VIEWER))
            demotion.done()
        refused = approval.done()
        assert isinstance(refused, Forbidden)
        assert refused.code == "credential_revoked"
        assert written(desk, order) == "pending_approval"

    def test_a_change_of_rules_that_waits_meanwhile_is_refused(self, owned: Owned, desk: Desk) -> None:
        bot = owned.actor("operating")
        what = {"ticker": "AAPL", "reason": "r", "duration_minutes": 5, "lockout_type": LockoutType.MANUAL}
        with holder(desk, "") as other:
            locking_out = Act(owned.app, lambda: lockouts.create(bot, **what))
            assert locking_out.waits(desk)
            other.execute("UPDATE accounts SET suspended_at = now() WHERE name = 'operating'")
        assert isinstance(locking_out.done(), Forbidden)
