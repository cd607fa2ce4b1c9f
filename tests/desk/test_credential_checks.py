"""Every service function that writes for an actor checks the credential again under the rules lock.

A request is authenticated before it waits for the lock. If the token is revoked, the session ends or the role
changes during that wait, the function must refuse and must change nothing. PostgreSQL holds the lock here, and
each call runs in a thread of its own.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any
from uuid import UUID

import pyotp
import pytest
from flask import Flask
from sqlalchemy import Row, select

import app as application
from app.domain.order_status import LockoutType
from app.domain.risk_config import TradingMode
from app.domain.roles import Role
from app.extensions import db
from app.models import Account
from app.services.accounts import admin, login, sessions, two_factor, users
from app.services.accounts.two_factor import Proof
from app.services.actor import Actor
from app.services.errors import Forbidden
from app.services.execution import close_position
from app.services.orders import approvals, submit
from app.services.trading import config, lockouts
from tests.at_once import until
from tests.desk.orders import Act, new_order, place_waiting
from tests.desk.test_rules_lock import holder
from tests.serving import Desk

NAME = "ada"
PASSWORD = "Sesame-42-bridge"
SESSION, OTHER_SESSION = b"s" * 32, b"o" * 32
RECOVERY_CODE = "ABCDEFGHIJKLMNOP"
ONE_HOUR = {"duration_minutes": 60, "lockout_type": LockoutType.MANUAL}
TO_LIVE: dict[str, Any] = {"leaving": TradingMode.PAPER, "reason": "open"}


@dataclass(frozen=True)
class Scene:
    """The actor is `ada`, with one token and one session. Each method makes something that a function acts on."""

    desk: Desk
    ada: Actor

    def nothing(self) -> None: ...

    def order(self) -> UUID:
        """A pending order of an engine that ada does not control."""
        [(number,)] = self.desk.sql("INSERT INTO accounts (name, role) VALUES ('bot', 'engine') RETURNING id")
        [id_] = place_waiting(self.desk, Actor("bot", Role.ENGINE, "tests", number), 1)
        return UUID(id_)

    def lockout(self) -> UUID:
        [(id_,)] = self.desk.sql(
            "INSERT INTO symbol_lockouts (ticker, reason, lockout_type, created_by, expires_at)"
            " VALUES ('AAPL', 'news', 'manual', 'ada', now() + interval '1 hour') RETURNING id::text"
        )
        return UUID(id_)

    def service_account(self) -> str:
        self.viewer()
        self.desk.sql("INSERT INTO accounts (name, role) VALUES ('script', 'viewer')")
        return "script"

    def password(self) -> None:
        hashed = users.hash_password(NAME, PASSWORD)
        self.desk.sql("UPDATE accounts SET password_hash = %s WHERE name = 'ada'", hashed)

    def token(self) -> str:
        return self.desk.add_token("script", "engine").partition(".")[0]

    def viewer(self) -> str:
        self.desk.sql("INSERT INTO accounts (name, role, password_hash) VALUES ('eve', 'viewer', 'none')")
        return "eve"

    def deactivated_viewer(self) -> str:
        self.viewer()
        self.desk.sql("UPDATE accounts SET deactivated_at = now() WHERE name = 'eve'")
        return "eve"

    def viewer_with_second_factor(self) -> str:
        self.viewer()
        self.second_factor()
        self.desk.sql(
            "UPDATE second_factors SET account_id = (SELECT id FROM accounts WHERE name = 'eve')",
        )
        return "eve"

    def own_account(self) -> Row[Any]:
        columns = (Account.id, Account.name, Account.role, Account.password_hash)
        with self.desk.app.app_context(), db.engine.connect() as connection:
            return connection.execute(select(*columns).where(Account.name == NAME)).one()

    def other_session(self) -> bytes:
        self.desk.sql(
            "INSERT INTO web_sessions (id_hash, account_id) VALUES (%s, %s)", OTHER_SESSION, self.ada.account_id
        )
        return OTHER_SESSION

    def enrolment(self) -> pyotp.TOTP:
        """A second factor that ada has begun to set up in this session."""
        with self.desk.app.app_context():
            return pyotp.TOTP(two_factor.start(replace(self.ada, session_hash=SESSION)).secret)

    def second_factor(self) -> pyotp.TOTP:
        """A second factor that is on, with one recovery code."""
        totp = self.enrolment()
        self.desk.sql("UPDATE second_factors SET confirmed_at = now()")
        self.desk.sql(
            "INSERT INTO recovery_codes (account_id, code_hash) SELECT account_id, %s FROM second_factors",
            hashlib.sha256(RECOVERY_CODE.encode()).digest(),
        )
        return totp

    def proof(self) -> Proof:
        self.second_factor()
        return Proof(int(self.ada.account_id or 0), step=1)


@dataclass(frozen=True)
class Case:
    """`act` takes the actor and what `prepare` made; `by` names the credentials that it can be called with."""

    prepare: Callable[[Scene], Any]
    act: Callable[[Actor, Any], Any]
    by: tuple[str, ...] = ("token", "session")
    role: Role = Role.ADMIN
    is_audited: bool = True


IN_PERSON = ("session",)
CHECKED: dict[str, Case] = {
    "users.add_person": Case(Scene.nothing, lambda ada, _: users.add_person(ada, "eve", Role.VIEWER, PASSWORD)),
    "users.add_token": Case(Scene.nothing, lambda ada, _: users.add_token(ada, "script", Role.ENGINE)),
    "users.revoke_token": Case(Scene.token, users.revoke_token),
    "approvals.approve": Case(Scene.order, lambda ada, order: approvals.approve(ada, order, None)),
    "approvals.reject": Case(Scene.order, lambda ada, order: approvals.reject(ada, order, "no")),
    "close_position.close": Case(
        Scene.nothing,
        lambda ada, _: close_position.close(
            ada,
            close_position.Position.read({"symbol": "AAPL", "qty": "1", "current_price": "1"}),
            close_position.Part(),
            "close-1",
            "paper",
            submit.never,
        ),
        by=("token",),
        role=Role.ENGINE,
    ),
    "config.change_approval_config": Case(
        Scene.nothing, lambda ada, _: config.change_approval_config(ada, {"auto_approve_paper": False})
    ),
    "config.change_mode": Case(Scene.nothing, lambda ada, _: config.change_mode(ada, TradingMode.LIVE, **TO_LIVE)),
    "config.change_signal_layers": Case(
        Scene.nothing, lambda ada, _: config.change_signal_layers(ada, {"macro": False})
    ),
    "config.replace": Case(
        Scene.nothing, lambda ada, _: config.replace(ada, {"order_rate": {}}, expected_versions=None)
    ),
    "config.require_second_factor_for_live": Case(
        Scene.proof, lambda ada, proof: config.require_second_factor_for_live(ada, True, proof), by=IN_PERSON
    ),
    "lockouts.create": Case(
        Scene.nothing, lambda ada, _: lockouts.create(ada, ticker="AAPL", reason="news", **ONE_HOUR)
    ),
    "lockouts.extend": Case(Scene.lockout, lambda ada, lockout: lockouts.extend(ada, lockout, 5)),
    "lockouts.remove": Case(Scene.lockout, lockouts.remove),
    "submit.submit": Case(
        Scene.nothing,
        lambda ada, _: submit.submit(ada, new_order(client_order_id="order-1")),
        by=("token",),
        role=Role.ENGINE,
    ),
    "admin.add": Case(Scene.nothing, lambda ada, _: admin.add(ada, "eve", Role.VIEWER, PASSWORD)),
    "admin.change_owner": Case(Scene.service_account, lambda ada, script: admin.change_owner(ada, script, "eve")),
    "admin.change_password": Case(
        Scene.own_account, lambda ada, checked: admin.change_password(ada, checked, PASSWORD), by=IN_PERSON
    ),
    "admin.deactivate": Case(Scene.viewer, admin.deactivate),
    "admin.reactivate": Case(Scene.deactivated_viewer, admin.reactivate),
    "admin.remove_second_factor": Case(Scene.viewer_with_second_factor, admin.remove_second_factor),
    "admin.reset_password": Case(Scene.viewer, lambda ada, eve: admin.reset_password(ada, eve, PASSWORD)),
    "admin.set_role": Case(Scene.viewer, lambda ada, eve: admin.set_role(ada, eve, Role.OPERATOR)),
    "two_factor.confirm": Case(
        Scene.enrolment,
        lambda ada, totp: two_factor.confirm(ada, totp.secret, totp.now()),
        by=IN_PERSON,
    ),
    "two_factor.renew_recovery_codes": Case(
        Scene.second_factor, lambda ada, totp: two_factor.renew_recovery_codes(ada, totp.now()), by=IN_PERSON
    ),
    "two_factor.turn_off": Case(
        Scene.second_factor, lambda ada, _: two_factor.turn_off(ada, RECOVERY_CODE), by=IN_PERSON
    ),
    "sessions.end": Case(Scene.other_session, sessions.end, by=IN_PERSON),
    "sessions.end_all": Case(
        Scene.other_session, lambda ada, _: sessions.end_all(ada, but_this=True), by=IN_PERSON
    ),
    "login.confirm": Case(
        Scene.password,
        lambda ada, _: login.confirm(ada, PASSWORD, "", address="127.0.0.1"),
        by=IN_PERSON,
        is_audited=False,
    ),
}
WITHDRAWING = "withdrawing an order only stops it, and may be asked for by a credential that has just ended"
UNCHECKED = {
    "dispatcher.cancel": WITHDRAWING,
    "dispatcher.cancel_open": WITHDRAWING,
    "dispatcher.withdraw_all": WITHDRAWING,
    "dispatcher.replace": "submits by orders.submit, which checks, before it withdraws the old order",
    "dispatcher.forward": "the desk's own work after the decision, which was checked",
    "dispatcher.sent_on": "the desk's own work after the decision, which was checked",
    "dispatcher.heard": "writes what the broker says",
    "dispatcher.end_there": "writes what the broker says",
    "transitions.expire_due": "writes what the clock says",
    "submit.get": "reads; it writes only that the deadline has passed",
    "submit.look": "reads; it writes only that the deadline has passed",
    "login.sign_out": "ends the session itself",
}

ENDINGS: dict[str, tuple[str, str]] = {
    "its token is revoked": ("token", "UPDATE tokens SET revoked_at = now()"),
    "its session ends": ("session", "DELETE FROM web_sessions WHERE id_hash = %(session)s"),
    "the role of its account changes": ("session", "UPDATE accounts SET role = 'viewer' WHERE name = 'ada'"),
    "the role of its token's account changes": ("token", "UPDATE accounts SET role = 'viewer' WHERE name = 'ada'"),
}
RESTORE = (
    "UPDATE tokens SET revoked_at = NULL",
    "INSERT INTO web_sessions (id_hash, account_id) SELECT %(session)s, id FROM accounts WHERE name = 'ada'"
    " ON CONFLICT DO NOTHING",
)
STATE = (
    "SELECT * FROM audit_events ORDER BY id",
    "SELECT * FROM orders ORDER BY id",
    "SELECT * FROM symbol_lockouts ORDER BY id",
    "SELECT * FROM risk_configs",
    "SELECT * FROM accounts ORDER BY id",
    "SELECT id, revoked_at FROM tokens ORDER BY id",
    "SELECT id_hash FROM web_sessions ORDER BY id_hash",
    "SELECT * FROM second_factors ORDER BY account_id",
    "SELECT * FROM recovery_codes ORDER BY code_hash",
)


@pytest.mark.usefixtures("any_machine")
@pytest.mark.parametrize("function", CHECKED)
def test_refuses_a_credential_that_ended_during_the_wait_for_the_lock(
    desk: Desk, app: Flask, function: str
) -> None:
    case = CHECKED[function]
    credentials = _credentials(desk, case.role)
    prepared = case.prepare(Scene(desk, credentials["session"]))
    for what, (credential, ending) in ENDINGS.items():
        # An engine has no session, and its role never changes: an order is checked by its token alone.
        if credential not in case.by or (case.role is Role.ENGINE and "role" in what):
            continue
        before = _state(desk)
        with holder(desk, "") as connection:
            act = Act(app, lambda actor=credentials[credential]: case.act(actor, prepared))  # type: ignore[misc]
            _wait_for_lock(desk, act, function)
            connection.execute(ending, {"session": SESSION})
        refused = act.done()
        assert isinstance(refused, Forbidden), f"{function} went on although {what}: {refused!r}"
        assert refused.code == "credential_revoked", f"{function}, when {what}: {refused!r}"
        _restore(desk, case.role)
        assert _state(desk) == before, f"{function} changed something although {what}"
    # The control: with a valid credential the same call succeeds, so it was refused for no other reason.
    events = desk.sql("SELECT count(*) FROM audit_events")
    done = Act(app, lambda: case.act(credentials[case.by[0]], prepared)).done()
    assert not isinstance(done, Exception), f"{function}, with a valid credential: {done!r}"
    assert (desk.sql("SELECT count(*) FROM audit_events") > events) is case.is_audited, function


def test_no_function_that_writes_for_an_actor_is_left_out() -> None:
    """A new one needs a case in CHECKED, or a reason in UNCHECKED."""
    found = set(_writing_for_an_actor())
    assert found == set(CHECKED) | set(UNCHECKED), (
        f"without a case: {sorted(found - set(CHECKED) - set(UNCHECKED))};"
        f" gone: {sorted((set(CHECKED) | set(UNCHECKED)) - found)}"
    )


def _credentials(desk: Desk, role: Role) -> dict[str, Actor]:
    """Ada, by each kind of credential."""
    password_hash = None if role is Role.ENGINE else "none"
    [(number,)] = desk.sql(
        "INSERT INTO accounts (name, role, password_hash) VALUES (%s, %s, %s) RETURNING id",
        NAME,
        role.value,
        password_hash,
    )
    desk.sql(
        "INSERT INTO tokens (id, account_id, secret_hash, allow_live) VALUES ('t0', %s, %s, true)",
        number,
        b"h" * 32,
    )
    desk.sql("INSERT INTO web_sessions (id_hash, account_id) VALUES (%s, %s)", SESSION, number)
    ada = Actor(NAME, role, "tests", number)
    return {"token": replace(ada, token_id="t0"), "session": replace(ada, session_hash=SESSION)}


def _restore(desk: Desk, role: Role) -> None:
    with holder(desk) as connection:
        for statement in RESTORE:
            connection.execute(statement, {"session": SESSION})
        connection.execute("UPDATE accounts SET role = %s WHERE name = 'ada'", [role.value])


def _state(desk: Desk) -> list[list[tuple[Any, ...]]]:
    return [desk.sql(query) for query in STATE]


def _wait_for_lock(desk: Desk, act: Act, function: str) -> None:
    waiting = (
        "SELECT 1 FROM pg_locks JOIN pg_database d ON d.oid = database"
        " WHERE datname = current_database() AND locktype = 'advisory' AND NOT granted"
    )
    until(lambda: desk.sql(waiting) or not act.thread.is_alive(), every=0.005)
    assert act.thread.is_alive(), f"{function} did not wait for the rules lock: {act.result!r}"


# Which functions write for an actor, read from the source.

OPENS = {"changing_rules", "recording", "deciding"}


def _writing_for_an_actor() -> Iterator[str]:
    """`module.function` of all public functions outside the web that take an Actor and open a transaction under
    the rules lock, directly or in a function that they call."""
    for name, function in _functions().items():
        public = not name.partition(".")[2].startswith("_")
        if public and _takes_an_actor(function) and _opens(name, frozenset()):
            yield name


@cache
def _functions() -> dict[str, ast.FunctionDef]:
    root = Path(application.__file__).parent
    files = [file for file in root.glob("**/*.py") if file.relative_to(root).parts[0] not in ("web", "cli")]
    return {
        f"{file.stem}.{node.name}": node
        for file in files
        if file.stem != "transaction"
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.FunctionDef)
    }


def _takes_an_actor(function: ast.FunctionDef) -> bool:
    annotations = [ast.unparse(each.annotation) for each in function.args.args if each.annotation]
    return any("Actor" in annotation.split(" | ") for annotation in annotations)


def _opens(name: str, seen: frozenset[str]) -> bool:
    function = _functions().get(name)
    if function is None or name in seen:
        return False
    called = {_called(node.func, name) for node in ast.walk(function) if isinstance(node, ast.Call)}
    return not called.isdisjoint(OPENS) or any(_opens(each, seen | {name}) for each in called)


def _called(function: ast.expr, caller: str) -> str:
    """The name as `_functions` has it: `module.function`, or that of the caller's own module; or one of OPENS."""
    module = caller.partition(".")[0]
    if isinstance(function, ast.Name):
        return function.id if function.id in OPENS else f"{module}.{function.id}"
    if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name):
        owner = function.value.id
        return f"{module if owner in ('self', 'cls') else owner}.{function.attr}"
    return ""
