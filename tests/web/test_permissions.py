"""Who may do what: every route by every role, and what depends on the body."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import pytest
from flask import Flask

from app.web.security.permissions import ROUTES
from tests.conftest import API, Api
from tests.serving import Desk
from tests.web.conftest import Browser, assert_problem

ROLES = ("viewer", "operator", "admin", "engine")
PEOPLE = {"viewer", "operator", "admin"}
OPERATORS = {"operator", "admin"}
EVERYBODY = {*ROLES, None}

LOCKOUT = {"ticker": "AAPL", "reason": "earnings", "duration_minutes": 5, "lockout_type": "news_shock"}
NOBODYS_ID = "00000000-0000-4000-8000-000000000000"
ORDER = {"client_order_id": "a", "ticker": "AAPL", "side": "buy", "qty": "1", "type": "market"}
ALPACA_ORDER = {"symbol": "MSFT", "qty": 1, "side": "buy", "type": "market", "time_in_force": "day"}
DECISIONS = {"decisions": [{"id": NOBODYS_ID, "action": "approve"}]}

# The table of the contract, written down a second time and independently of the code: who gets past the door,
# and a request that is then answered with something else than 401 or 403.
WHO_MAY: dict[tuple[str, str], tuple[set[str | None], dict[str, Any]]] = {
    ("GET", f"{API}/approval-config"): (PEOPLE, {}),
    ("PUT", f"{API}/approval-config"): (OPERATORS, {"json": {"auto_approve_paper": False}}),
    ("GET", f"{API}/config"): (PEOPLE, {}),
    ("PUT", f"{API}/config"): ({"admin"}, {"json": {"config": {}}, "headers": {"If-Match": "*"}}),
    ("GET", f"{API}/mode"): ({*ROLES}, {}),
    ("PUT", f"{API}/mode"): (OPERATORS, {"json": {"trading_mode": "disabled"}}),
    ("GET", f"{API}/signal-layers"): ({*ROLES}, {}),
    ("PUT", f"{API}/signal-layers"): (OPERATORS, {"json": {"macro": False}}),
    ("GET", f"{API}/lockouts"): ({*ROLES}, {}),
    ("POST", f"{API}/lockouts"): ({*OPERATORS, "engine"}, {"json": LOCKOUT}),
    ("PATCH", f"{API}/lockouts/<lockout_id>"): (OPERATORS, {"json": {"extend_minutes": 5}}),
    ("DELETE", f"{API}/lockouts/<lockout_id>"): (OPERATORS, {}),
    ("POST", f"{API}/orders"): ({"engine"}, {"json": ORDER}),
    ("GET", f"{API}/orders"): ({*ROLES}, {}),
    ("GET", f"{API}/orders/<order_id>"): ({*ROLES}, {}),
    ("POST", f"{API}/orders/<order_id>/cancel"): ({"engine"}, {}),
    ("GET", f"{API}/approvals"): (PEOPLE, {}),
    ("POST", f"{API}/approvals/<order_id>/approve"): (OPERATORS, {"json": {}}),
    ("POST", f"{API}/approvals/<order_id>/reject"): (OPERATORS, {"json": {"reason": "x"}}),
    ("POST", f"{API}/approvals/decisions"): (OPERATORS, {"json": DECISIONS}),
    ("GET", f"{API}/audit"): (PEOPLE, {}),
    ("GET", f"{API}/audit/<event_id>"): (PEOPLE, {}),
    ("GET", f"{API}/state"): (PEOPLE, {}),
    ("GET", f"{API}/stream"): (PEOPLE, {}),
    ("GET", f"{API}/history"): (PEOPLE, {}),
    ("POST", "/v2/orders"): ({"engine"}, {"json": ALPACA_ORDER}),
    ("GET", "/v2/orders"): ({"engine"}, {}),
    ("DELETE", "/v2/orders"): ({"engine"}, {}),
    ("GET", "/v2/orders:by_client_order_id"): ({"engine"}, {}),
    ("GET", "/v2/orders/<order_id>"): ({"engine"}, {}),
    ("PATCH", "/v2/orders/<order_id>"): ({"engine"}, {"json": {"qty": "1"}}),
    ("DELETE", "/v2/orders/<order_id>"): ({"engine"}, {}),
    ("GET", "/v2/account"): ({"engine"}, {}),
    ("GET", "/v2/account/configurations"): ({"engine"}, {}),
    ("GET", "/v2/positions"): ({"engine"}, {}),
    ("DELETE", "/v2/positions"): ({"engine"}, {}),
    ("GET", "/v2/positions/<path:name>"): ({"engine"}, {}),
    ("DELETE", "/v2/positions/<path:name>"): ({"engine"}, {}),
    ("GET", "/v2/assets"): ({"engine"}, {}),
    ("GET", "/v2/assets/<path:name>"): ({"engine"}, {}),
    ("GET", "/v2/clock"): ({"engine"}, {}),
    ("GET", "/v2/calendar"): ({"engine"}, {}),
    ("GET", f"{API}/openapi.json"): (EVERYBODY, {}),
    ("GET", "/openapi.json"): (EVERYBODY, {}),
    ("GET", "/docs/api"): (EVERYBODY, {}),
    ("GET", "/healthz"): (EVERYBODY, {}),
    ("GET", "/readyz"): (EVERYBODY, {}),
    ("GET", "/metrics"): (EVERYBODY, {}),
    ("GET", "/static/<path:filename>"): (EVERYBODY, {}),
    ("OPTIONS", "/static/<path:filename>"): (EVERYBODY, {}),
    ("GET", "/login"): (EVERYBODY, {}),
    ("POST", "/login"): (EVERYBODY, {"data": {"name": "nobody"}}),
    ("GET", "/login/code"): (EVERYBODY, {}),
    ("POST", "/login/code"): (EVERYBODY, {"data": {"code": "000000"}}),
    ("POST", "/logout"): ({*ROLES}, {}),
    ("GET", "/account"): (PEOPLE, {}),
    ("GET", "/account/password"): (PEOPLE, {}),
    ("POST", "/account/password"): (PEOPLE, {"data": {"password": "wrong"}}),
    ("POST", "/account/sessions/end"): (PEOPLE, {"data": {"session": "00"}}),
    ("POST", "/account/sessions/end-others"): (PEOPLE, {}),
    ("POST", "/account/sessions/end-all"): (PEOPLE, {}),
    ("POST", "/account/second-factor/start"): (PEOPLE, {}),
    ("POST", "/account/second-factor/confirm"): (PEOPLE, {}),
    ("POST", "/account/second-factor/recovery-codes"): (PEOPLE, {}),
    ("POST", "/account/second-factor/off"): (PEOPLE, {}),
    ("GET", "/accounts"): ({"admin"}, {}),
    ("POST", "/accounts/people"): ({"admin"}, {"data": {"name": "new", "role": "viewer"}}),
    ("POST", "/accounts/people/<name>/role"): ({"admin"}, {"data": {"role": "viewer"}}),
    ("POST", "/accounts/people/<name>/deactivate"): ({"admin"}, {}),
    ("POST", "/accounts/people/<name>/reactivate"): ({"admin"}, {}),
    ("POST", "/accounts/people/<name>/password"): ({"admin"}, {}),
    ("POST", "/accounts/people/<name>/second-factor"): ({"admin"}, {}),
    ("POST", "/accounts/tokens"): ({"admin"}, {"data": {"name": "bot", "role": "engine"}}),
    ("POST", "/accounts/tokens/<token_id>/revoke"): ({"admin"}, {}),
    ("POST", "/accounts/services/<name>/owner"): ({"admin"}, {"data": {"owner": "nobody"}}),
    ("POST", "/accounts/second-factor-for-live"): ({"admin"}, {"data": {"required": "true"}}),
    ("GET", "/"): (EVERYBODY, {}),
    ("GET", "/trading"): (PEOPLE, {}),
    ("GET", "/audit"): (PEOPLE, {}),
    ("POST", "/trading/halt"): (OPERATORS, {}),
    ("POST", "/trading/mode"): (OPERATORS, {"data": {"trading_mode": "disabled"}}),
    ("POST", "/trading/cancel-at-venue"): (OPERATORS, {}),
    ("POST", "/trading/approval-config"): (OPERATORS, {"data": {"approval_timeout_minutes": "5"}}),
    ("POST", "/trading/signal-layers"): (OPERATORS, {"data": {"macro": "false"}}),
    ("POST", "/trading/lockouts"): (OPERATORS, {"data": {"ticker": "X", "reason": "x", "duration_minutes": "5"}}),
    ("POST", "/trading/lockouts/<lockout_id>/extend"): (OPERATORS, {"data": {"extend_minutes": "5"}}),
    ("POST", "/trading/lockouts/<lockout_id>/remove"): (OPERATORS, {}),
    ("POST", "/trading/approvals/<order_id>/approve"): (OPERATORS, {}),
    ("POST", "/trading/approvals/<order_id>/reject"): (OPERATORS, {"data": {"reason": "x"}}),
}


# No token does these, not even an admin's.
IN_PERSON = {(method, rule) for method, rule in WHO_MAY if rule.startswith("/account")}
ENDS_THE_SESSION = ("/logout", "/account/sessions/end-all")


def routes_of(app: Flask) -> set[tuple[str, str]]:
    """Every method and rule that the application answers; HEAD goes with GET."""
    return {
        (method, rule.rule)
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or ())
        if method != "HEAD"
    }


def path_of(rule: str) -> str:
    return (
        rule.replace("<lockout_id>", NOBODYS_ID)
        .replace("<order_id>", NOBODYS_ID)
        .replace("<path:filename>", "favicon.svg")
        .replace("<name>", "nobody")
        .replace("<token_id>", "0123456789abcdef")
        .replace("<path:name>", "AAPL")
    )


def test_every_route_is_in_the_table_of_permissions_and_the_table_has_no_other(app: Flask) -> None:
    assert set(ROUTES) == routes_of(app)


def test_every_route_has_its_expectation_here(app: Flask) -> None:
    assert set(WHO_MAY) == routes_of(app)


@pytest.mark.parametrize("role", [None, *ROLES])
def test_every_route_by_every_role(app: Flask, api: Callable[..., Api], role: str | None) -> None:
    credential = api(role).headers
    wrong = []
    for (method, rule), (by_role, request) in WHO_MAY.items():
        allowed = set() if (method, rule) in IN_PERSON else by_role
        for asked in (method, "HEAD") if method == "GET" else (method,):
            headers = credential | request.get("headers", {})
            more = {key: value for key, value in request.items() if key != "headers"}
            answer = app.test_client().open(path_of(rule), method=asked, headers=headers, **more)
            answer.close()
            anonymous_on_a_page = role is None and not rule.startswith((API, "/v2/")) and role not in allowed
            if anonymous_on_a_page:
                met = answer.status_code == 303 and answer.headers["Location"].startswith("/login")
            elif role in allowed:
                # What nobody made is a 404, and /login without a CSRF token is refused to be on the safe side.
                met = answer.status_code not in (401, 403) or (rule in ("/login", "/login/code") and role is None)
            else:
                met = answer.status_code == (401 if role is None else 403)
            if not met:
                wrong.append((asked, rule, role, answer.status_code))
    assert not wrong


@pytest.mark.parametrize("role", ["viewer", "operator", "admin"])
def test_every_route_by_every_person_in_a_browser(browser: Callable[..., Browser], role: str) -> None:
    person = browser(role)
    csrf = person.csrf
    wrong = []
    for (method, rule), (allowed, request) in WHO_MAY.items():
        # They end the session; and that one is for this machine alone.
        if rule in ENDS_THE_SESSION or rule == "/metrics":
            continue
        headers = {"X-CSRFToken": csrf} | request.get("headers", {})
        more = {key: value for key, value in request.items() if key != "headers"}
        answer = person.open(method, path_of(rule), headers=headers, **more)
        answer.close()
        status, refused = answer.status_code, answer.status_code == 403
        if rule.startswith("/v2/"):  # no session is anybody there
            refused = status == 401
        if refused == (role in allowed) and not rule.startswith("/login"):
            wrong.append((method, rule, status))
    assert not wrong


def test_a_refused_request_changes_nothing_and_leaves_no_event(api: Callable[..., Api], desk: Desk) -> None:
    viewer, engine = api("viewer"), api("engine")
    before = desk.sql("SELECT count(*) FROM audit_events"), desk.sql("SELECT * FROM risk_configs")
    for client in (viewer, engine):
        for method, path, body in (
            ("PUT", "/mode", {"trading_mode": "disabled"}),
            ("PUT", "/approval-config", {"auto_approve_paper": False}),
            ("PUT", "/signal-layers", {"macro": False}),
            ("PUT", "/config", {"config": {"x": 1}}),
        ):
            assert_problem(client(method, path, body, headers={"If-Match": "*"}), 403, "forbidden")
    assert (desk.sql("SELECT count(*) FROM audit_events"), desk.sql("SELECT * FROM risk_configs")) == before


def test_the_door_is_closed_before_the_body_is_read(api: Callable[..., Api]) -> None:
    """Who may not do a thing learns nothing about how it is done."""
    for role, status in ((None, 401), ("viewer", 403)):
        answer = api(role)("PUT", "/mode", data=b"{{{", headers={"Content-Type": "text/plain"})
        assert_problem(answer, status)


class TestGoingLive:
    BODY: ClassVar = {"trading_mode": "live", "from": "paper", "reason": "the desk is staffed"}

    def test_an_admin_token_that_was_made_for_it_may(self, api: Callable[..., Api]) -> None:
        answer = api("admin", allow_live=True).put("/mode", self.BODY)
        assert (answer.status_code, answer.json) == (200, {"trading_mode": "live"})

    def test_an_admin_token_may_not_unless_it_was_made_for_it(self, api: Callable[..., Api], desk: Desk) -> None:
        assert_problem(api("admin").put("/mode", self.BODY), 403, "forbidden")
        assert desk.sql("SELECT trading_mode FROM risk_configs") == [("paper",)]

    def test_an_operator_may_not_even_with_such_a_token(self, api: Callable[..., Api], desk: Desk) -> None:
        assert_problem(api("operator", allow_live=True).put("/mode", self.BODY), 403, "forbidden")
        assert desk.sql("SELECT trading_mode FROM risk_configs") == [("paper",)]

    def test_an_admin_in_person_may(self, browser: Callable[..., Browser]) -> None:
        assert browser("admin").json("PUT", "/mode", self.BODY).json == {"trading_mode": "live"}

    def test_an_operator_in_person_may_not(self, browser: Callable[..., Browser], desk: Desk) -> None:
        person = browser("operator")
        assert_problem(person.json("PUT", "/mode", self.BODY), 403, "forbidden")
        form = {"trading_mode": "live", "from": "paper", "reason": "x", "confirm_word": "LIVE", "confirmed": "yes"}
        person.post("/trading/mode", **form)
        assert desk.sql("SELECT trading_mode FROM risk_configs") == [("paper",)]

    def test_any_operator_may_leave_live_mode(self, api: Callable[..., Api], desk: Desk) -> None:
        desk.sql("UPDATE risk_configs SET trading_mode = 'live'")
        back = {"trading_mode": "paper", "from": "live", "reason": "over for today"}
        assert api("operator").put("/mode", back).status_code == 200

    def test_a_token_without_live_may_do_all_else_of_an_admin(self, api: Callable[..., Api]) -> None:
        admin = api("admin")
        assert admin.put("/approval-config", {"require_approval_for_live": False}).status_code == 200
        assert admin.put("/config", {"config": {}}, headers={"If-Match": "*"}).status_code == 200


class TestApprovalOfLiveOrders:
    def test_an_operator_may_not_change_it(self, operator: Api, desk: Desk) -> None:
        assert_problem(operator.put("/approval-config", {"require_approval_for_live": False}), 403, "forbidden")
        assert desk.sql("SELECT config FROM risk_configs") == [({},)]

    def test_nothing_else_in_the_same_body_is_changed_either(self, operator: Api, desk: Desk) -> None:
        body = {"auto_approve_paper": False, "require_approval_for_live": False, "approval_timeout_minutes": 5}
        assert_problem(operator.put("/approval-config", body), 403, "forbidden")
        assert desk.sql("SELECT config FROM risk_configs") == [({},)]

    def test_an_operator_may_not_even_name_it_with_the_value_that_it_has(self, operator: Api) -> None:
        assert_problem(operator.put("/approval-config", {"require_approval_for_live": True}), 403, "forbidden")

    def test_the_plain_form_does_not_let_an_operator_through_either(
        self, browser: Callable[..., Browser], desk: Desk
    ) -> None:
        browser("operator").post("/trading/approval-config", require_approval_for_live="false", confirmed="yes")
        assert desk.sql("SELECT config FROM risk_configs") == [({},)]

    def test_an_admin_may(self, admin: Api) -> None:
        answer = admin.put("/approval-config", {"require_approval_for_live": False})
        assert answer.json["require_approval_for_live"] is False


class TestLockoutsOfEngines:
    @pytest.mark.parametrize("kind", ["news_shock", "cooldown"])
    def test_an_engine_may_make_the_types_that_systems_make(self, api: Callable[..., Api], kind: str) -> None:
        answer = api("engine").post("/lockouts", LOCKOUT | {"lockout_type": kind})
        assert (answer.status_code, answer.json["lockout_type"]) == (201, kind)

    def test_an_engine_makes_no_manual_one(self, api: Callable[..., Api], desk: Desk) -> None:
        manual = {key: value for key, value in LOCKOUT.items() if key != "lockout_type"}
        for body in (manual, manual | {"lockout_type": "manual"}):
            assert_problem(api("engine").post("/lockouts", body), 403, "forbidden")
        assert desk.sql("SELECT count(*) FROM symbol_lockouts") == [(0,)]

    def test_an_engine_may_not_extend_or_remove_its_own(self, api: Callable[..., Api]) -> None:
        engine = api("engine")
        location = "/lockouts/" + engine.post("/lockouts", LOCKOUT).json["id"]
        assert_problem(engine.patch(location, {"extend_minutes": 5}), 403, "forbidden")
        assert_problem(engine.delete(location), 403, "forbidden")

    @pytest.mark.parametrize("role", ["operator", "admin"])
    @pytest.mark.parametrize("kind", ["manual", "news_shock", "cooldown"])
    def test_operators_make_every_type(self, api: Callable[..., Api], role: str, kind: str) -> None:
        assert api(role).post("/lockouts", LOCKOUT | {"lockout_type": kind}).status_code == 201
