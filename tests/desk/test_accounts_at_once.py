"""Two who act on accounts at the same moment: somebody is left who can, and no code counts twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyotp
import pytest
from flask import Flask

from app.domain.roles import Role
from app.services.accounts import admin, login, two_factor, users
from app.services.actor import Actor
from app.services.errors import Conflict, DeskError, Forbidden, NotFound
from tests.at_once import at_once
from tests.desk.orders import Act
from tests.desk.test_rules_lock import holder
from tests.serving import TESTER, Desk

ROUNDS = 10


def signed_in(desk: Desk, name: str, role: str) -> tuple[Actor, str]:
    password = desk.add_user(name, role)
    with desk.app.app_context():
        found = login.sign_in(name, password, address="192.0.2.1", device_names={}, request_id="r")
    assert isinstance(found, tuple)
    person, _ = found
    return Actor(person.name, person.role, "r", person.account_id, session_hash=person.session_hash), password


def on(app: Flask, act: Callable[[], Any]) -> Callable[[], Any]:
    def run() -> Any:
        with app.app_context():
            return act()

    return run


ACTS: dict[str, Callable[[Actor, str], Any]] = {
    "demote": lambda actor, name: admin.set_role(actor, name, Role.VIEWER),
    "deactivate": admin.deactivate,
}


@pytest.mark.parametrize("mine", ACTS)
@pytest.mark.parametrize("theirs", ACTS)
def test_two_admins_who_put_each_other_out_leave_one(desk: Desk, app: Flask, mine: str, theirs: str) -> None:
    for _ in range(ROUNDS):
        desk.reset()
        (ada, _), (eve, _) = signed_in(desk, "ada", "admin"), signed_in(desk, "eve", "admin")
        results = at_once(
            on(app, lambda ada=ada: ACTS[mine](ada, "eve")),  # type: ignore[misc]
            on(app, lambda eve=eve: ACTS[theirs](eve, "ada")),  # type: ignore[misc]
        )
        assert sum(isinstance(result, DeskError) for result in results) == 1, results
        assert desk.sql("SELECT count(*) FROM accounts WHERE role = 'admin' AND deactivated_at IS NULL") == [(1,)]


@pytest.mark.parametrize("act", ACTS)
def test_the_last_admin_stays_even_for_the_shell(desk: Desk, app: Flask, act: str) -> None:
    for name in ("ada", "eve"):
        desk.add_user(name, "admin")
    desk.add_token("robot", "admin")
    results = at_once(*(on(app, lambda name=name: ACTS[act](TESTER, name)) for name in ("ada", "eve")))  # type: ignore[misc]
    [refused] = [result for result in results if isinstance(result, Exception)]
    assert isinstance(refused, Conflict)
    assert refused.code == "last_admin"
    assert desk.sql(
        "SELECT count(*) FROM accounts WHERE role = 'admin' AND password_hash IS NOT NULL"
        " AND deactivated_at IS NULL"
    ) == [(1,)]


def test_a_session_that_is_begun_while_its_person_is_put_out_does_not_outlive_it(desk: Desk, app: Flask) -> None:
    for _ in range(ROUNDS):
        desk.reset()
        password = desk.add_user("olga", "operator")
        begin = on(
            app,
            lambda password=password: login.sign_in(  # type: ignore[misc]
                "olga", password, address="192.0.2.1", device_names={}, request_id="r"
            ),
        )
        at_once(begin, begin, on(app, lambda: admin.deactivate(TESTER, "olga")), begin)
        assert desk.sql("SELECT count(*) FROM web_sessions") == [(0,)]


def test_a_token_that_is_made_while_its_account_is_put_out_does_not_hold(desk: Desk, app: Flask) -> None:
    for _ in range(ROUNDS):
        desk.reset()
        desk.add_token("bot", "engine")
        add = on(app, lambda: users.add_token(TESTER, "bot", Role.ENGINE))
        at_once(add, on(app, lambda: admin.deactivate(TESTER, "bot")), add)
        assert desk.sql("SELECT count(*) FROM tokens WHERE revoked_at IS NULL") == [(0,)]


def test_an_act_of_somebody_who_was_demoted_meanwhile_is_refused(desk: Desk, app: Flask) -> None:
    (ada, _) = signed_in(desk, "ada", "admin")
    desk.add_user("eve", "admin")
    with app.app_context():
        admin.set_role(TESTER, "ada", Role.OPERATOR)
        with pytest.raises(Forbidden) as refused:
            admin.set_role(ada, "eve", Role.VIEWER)
    assert refused.value.code == "credential_revoked"


@pytest.fixture
def enrolled(desk: Desk, app: Flask) -> tuple[str, pyotp.TOTP]:
    actor, password = signed_in(desk, "ada", "admin")
    with app.app_context():
        totp = pyotp.TOTP(two_factor.start(actor).secret)
        two_factor.confirm(actor, totp.secret, totp.now())
    return password, totp


def test_of_many_who_bring_the_same_code_at_once_one_comes_in(
    desk: Desk, app: Flask, enrolled: tuple[str, pyotp.TOTP]
) -> None:
    password, totp = enrolled
    desk.sql("UPDATE second_factors SET last_step = 0")
    desk.sql("DELETE FROM web_sessions")

    def half() -> str:
        found = login.sign_in("ada", password, address="192.0.2.1", device_names={}, request_id="r")
        assert isinstance(found, login.CodeNeeded)
        return found.secret

    with app.app_context():
        secrets = [half() for _ in range(4)]
    code = totp.now()
    results = at_once(
        *(
            on(
                app,
                lambda secret=secret: login.finish(  # type: ignore[misc]
                    secret, code, address="192.0.2.1", device_names={}, request_id="r"
                ),
            )
            for secret in secrets
        )
    )
    assert [isinstance(result, tuple) for result in results].count(True) == 1, results
    assert desk.sql("SELECT count(*) FROM web_sessions") == [(1,)]


def test_a_first_step_that_ends_while_the_code_is_looked_at_lets_nobody_in(
    desk: Desk, app: Flask, enrolled: tuple[str, pyotp.TOTP]
) -> None:
    """As deactivating ends it, and a change of the password."""
    password, totp = enrolled
    desk.sql("UPDATE second_factors SET last_step = 0")
    desk.sql("DELETE FROM web_sessions")
    person = {"address": "192.0.2.1", "device_names": {}, "request_id": "r"}
    with app.app_context():
        found = login.sign_in("ada", password, **person)
    assert isinstance(found, login.CodeNeeded)
    with holder(desk, "") as other:
        finishing = Act(app, lambda: login.finish(found.secret, totp.now(), **person))
        assert finishing.waits(desk)
        other.execute("DELETE FROM sign_in_steps")
    assert isinstance(finishing.done(), NotFound)
    assert desk.sql("SELECT last_step, (SELECT count(*) FROM web_sessions) FROM second_factors") == [(0, 0)]


def test_guesses_that_are_sent_all_at_once_are_counted_one_by_one(
    desk: Desk, app: Flask, enrolled: tuple[str, pyotp.TOTP]
) -> None:
    [(account_id,)] = desk.sql("SELECT id FROM accounts")
    guess = on(app, lambda: two_factor.check(account_id, "no code"))
    results = at_once(*[guess] * 12)
    assert sum(isinstance(result, two_factor.WrongCode) for result in results) == 5, results
