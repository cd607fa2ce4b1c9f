"""JSON routes refuse query parameters that they do not take, by name; pages ignore them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app.domain.roles import Act
from app.web.http import query
from app.web.openapi import document
from app.web.security.permissions import API, ROUTES
from tests.conftest import Api
from tests.serving import Desk
from tests.web.conftest import Browser, Record, assert_problem
from tests.web.orders import MARKET, NOBODYS_ID

JSON_ROUTES = [route for route in ROUTES if route[1].startswith((API, "/v2")) or route[1] == "/openapi.json"]
CHECKED = [route for route in JSON_ROUTES if route not in query.UNCHECKED]


def path_of(rule: str) -> str:
    path = rule
    for name in ("lockout_id", "order_id", "path:name"):
        path = path.replace(f"<{name}>", "AAPL" if name == "path:name" else NOBODYS_ID)
    return path


def test_the_table_is_that_of_the_document() -> None:
    documented = {
        (method.upper(), path.replace("{", "<").replace("}", ">")): {
            parameter["name"] for parameter in operation.get("parameters", ()) if parameter["in"] == "query"
        }
        for path, methods in document()["paths"].items()
        for method, operation in methods.items()
    }
    ours = {route: set(names) for route, names in query.PARAMETERS.items() if route[1].startswith(API)}
    assert ours == {route: names for route, names in documented.items() if names}
    assert set(query.PARAMETERS) <= set(ROUTES)


@pytest.mark.parametrize("route", CHECKED, ids=" ".join)
def test_every_json_route_refuses_an_unknown_one(app: Flask, desk: Desk, route: tuple[str, str]) -> None:
    method, rule = route
    role = "engine" if ROUTES[route] is Act.TRADE else "admin"
    headers = {"Authorization": f"Bearer {desk.add_token('caller', role)}", "If-Match": "*"}
    events = desk.sql("SELECT count(*) FROM audit_events")
    answer = app.test_client().open(
        f"{path_of(rule)}?bogus=1&%62ogus=2&=3",
        method=method,
        headers=headers,
        json={} if method != "GET" else None,
    )
    if rule.startswith("/v2"):
        assert (answer.status_code, set(answer.json)) == (422, {"code", "message"})
        assert "bogus: is not a known query parameter" in answer.json["message"]
    else:
        assert_problem(answer, 422, "invalid", "bogus", "")
    assert desk.sql("SELECT count(*) FROM audit_events") == events


@pytest.mark.parametrize("route", [route for route in CHECKED if query.PARAMETERS.get(route)], ids=" ".join)
def test_a_known_one_is_given_once(app: Flask, desk: Desk, route: tuple[str, str]) -> None:
    method, rule = route
    headers = {"Authorization": f"Bearer {desk.add_token('caller', 'engine' if 'v2' in rule else 'admin')}"}
    for name in query.PARAMETERS[route]:
        if (*route, name) not in query.REPEATABLE:
            answer = app.test_client().open(f"{path_of(rule)}?{name}=1&{name}=1", method=method, headers=headers)
            assert answer.status_code == 422
            assert f"{name}: is given more than once" in answer.text


def test_a_halt_takes_any(operator: Api, record: Record) -> None:
    record.new()
    assert operator.put("/mode?bogus=1&bogus=2", {"trading_mode": "disabled"}).status_code == 200
    assert [event["action"] for event in record.new()] == ["mode.change"]


def test_nothing_is_said_of_it_without_a_credential(app: Flask, desk: Desk) -> None:
    client: FlaskClient = app.test_client()
    for method, path in (("GET", "/lockouts"), ("POST", "/orders")):
        for headers in ({}, {"Authorization": "Bearer 0123456789abcdef.nonsense"}):
            answer = client.open(f"{API}{path}?bogus=1", method=method, headers=headers, json=MARKET)
            assert_problem(answer, 401)
    viewer = {"Authorization": f"Bearer {desk.add_token('looks', 'viewer')}"}
    assert_problem(client.open(f"{API}/orders?bogus=1", method="POST", headers=viewer, json=MARKET), 403)


def test_pages_and_probes_ignore_them(browser: Callable[..., Browser], app: Flask) -> None:
    person = browser("operator")
    for path in ("/trading", "/audit", "/account", "/login", "/docs/api"):
        assert person.get(f"{path}?utm_source=x&utm_source=y").status_code in (200, 303)
    client = app.test_client()
    assert client.get("/healthz?x=1").status_code == 200
    assert client.get("/readyz?x=1").status_code == 200


def test_many_and_long_names_make_a_short_answer(operator: Api) -> None:
    asked = "&".join(f"{'x' * 100}{n}=1" if n == 0 else f"n{n}=1" for n in range(500))
    problem = assert_problem(operator.get(f"/lockouts?{asked}"), 422)
    assert len(problem["errors"]) == query.MAX_NAMED
    assert max(map(len, problem["errors"])) == query.MAX_NAME_SHOWN


class TestAReasonForRemovingALockout:
    @pytest.fixture
    def lockout(self, operator: Api) -> Any:
        return operator.post("/lockouts", {"ticker": "AAPL", "reason": "x", "duration_minutes": 5}).json["id"]

    @pytest.mark.parametrize(
        ("given", "kept"),
        [("", None), ("?reason=", None), ("?reason=%E2%80%8B", None), ("?reason=%20it%20is%20over", "it is over")],
    )
    def test_is_kept_in_the_audit_log(
        self, operator: Api, record: Record, lockout: str, given: str, kept: str | None
    ) -> None:
        record.new()
        assert operator.delete(f"/lockouts/{lockout}{given}").status_code == 204
        assert [event["note"] for event in record.new()] == [kept]

    @pytest.mark.parametrize("given", ["x" * 501, "%00"])
    def test_is_at_most_500_characters(self, operator: Api, record: Record, lockout: str, given: str) -> None:
        record.new()
        assert_problem(operator.delete(f"/lockouts/{lockout}?reason={given}"), 422, "invalid", "reason")
        assert record.new() == []
