"""The API document: valid OpenAPI 3.1, and true to the routes and the forms."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import jsonschema_rs
import pytest
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.specs.openapi.definitions import OPENAPI_31

from app import forms
from app.web.openapi import document
from tests.conftest import API, Api
from tests.serving import Desk

BODIES = {
    ("put", "approval-config"): forms.ApprovalConfigForm,
    ("put", "signal-layers"): forms.SignalLayersForm,
    ("put", "mode"): forms.ModeForm,
    ("put", "config"): forms.ReplaceConfigForm,
    ("post", "lockouts"): forms.LockoutForm,
    ("patch", "lockouts/{lockout_id}"): forms.ExtendLockoutForm,
}


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document()["paths"].items():
        for method, operation in methods.items():
            yield method, path.removeprefix(f"{API}/"), operation


def schemas_of(operation: dict[str, Any]) -> list[dict[str, Any]]:
    """The schemas that a body may follow; a body of several kinds is an anyOf."""
    reference = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    schema = document()["components"]["schemas"][reference.rpartition("/")[2]]
    return schema.get("anyOf", [schema])


def validator(name: str) -> Any:
    components = {"components": document()["components"]}
    return jsonschema_rs.Draft202012Validator(components | {"$ref": f"#/components/schemas/{name}"})


@pytest.mark.parametrize("path", ["/openapi.json", f"{API}/openapi.json"])
def test_it_is_served_to_anybody(app: Flask, path: str) -> None:
    answer = app.test_client().get(path)
    assert (answer.status_code, answer.content_type) == (200, "application/json")
    assert answer.json == document()


def test_it_is_valid_openapi_3_1() -> None:
    assert document()["openapi"].startswith("3.1.")
    errors = jsonschema_rs.validator_for(OPENAPI_31).iter_errors(document())
    assert [f"{error.message} at {error.instance_path}" for error in errors] == []


def test_every_schema_in_it_is_valid_json_schema() -> None:
    for schema in document()["components"]["schemas"].values():
        jsonschema_rs.meta.validate(schema)


def test_every_reference_leads_somewhere() -> None:
    names = set(document()["components"]["schemas"])
    used = set(re.findall(r"#/components/schemas/(\w+)", str(document())))
    assert used == names


def test_it_has_every_route_and_method_and_no_other(app: Flask) -> None:
    served = {
        (method.lower(), re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule).removeprefix(f"{API}/"))
        for rule in app.url_map.iter_rules()
        if rule.rule.startswith(API) and rule.rule != f"{API}/openapi.json"
        for method in (rule.methods or ())
        if method != "HEAD"
    }
    assert {(method, path) for method, path, _ in operations()} == served


def test_operation_ids_are_unique() -> None:
    ids = [operation["operationId"] for _, _, operation in operations()]
    assert len(ids) == len(set(ids))


def test_every_operation_that_writes_a_body_is_checked_against_its_form() -> None:
    assert {(method, path) for method, path, operation in operations() if "requestBody" in operation} == set(
        BODIES
    )


@pytest.mark.parametrize("route", BODIES, ids=" ".join)
def test_the_keys_of_a_body_are_those_of_the_form(route: tuple[str, str]) -> None:
    operation = next(found for method, path, found in operations() if (method, path) == route)
    form = BODIES[route]()
    for schema in schemas_of(operation):
        assert set(schema["properties"]) == {field.name for field in form}
        assert schema["additionalProperties"] is False
        assert operation["requestBody"]["required"] is True


@pytest.mark.parametrize("route", BODIES, ids=" ".join)
def test_the_required_keys_are_those_without_which_the_route_says_no(admin: Api, route: tuple[str, str]) -> None:
    operation = next(found for method, path, found in operations() if (method, path) == route)
    path = "/" + route[1].replace("{lockout_id}", "00000000-0000-4000-8000-000000000000")
    answer = admin(route[0].upper(), path, {}, headers={"If-Match": "*"})
    documented = set.intersection(*(set(schema.get("required", ())) for schema in schemas_of(operation)))
    assert answer.status_code == 422
    assert set(answer.json["errors"]) == (documented or {"body"})


def test_every_way_to_say_no_is_documented_with_its_shape() -> None:
    for _, _, operation in operations():
        for status, said in operation["responses"].items():
            if status >= "400":
                assert said["content"] == {
                    "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
                }
        assert {"401", "403", "503"} <= set(operation["responses"])


def test_it_says_in_words_what_json_schema_cannot() -> None:
    assert "an integer is not 5.0" in document()["info"]["description"]


near_tickers = st.text(
    st.sampled_from("AZaz09./-*_ \t\n\x1c\x85\xa0\u1680\u2028\u3000\ufeff\u200bß\u212aé١"), max_size=24
)
near_reasons = st.one_of(
    st.text(st.sampled_from("ab \t\r\x1c\x1f\x85\xa0\u180e\u200b\ufeff\u3000"), max_size=6),
    st.integers(497, 503).map(lambda count: " " + "x" * count + "\u2003"),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8),
)


class TestThePatternsAreThoseOfTheServer:
    """What counts as white space differs between engines: the document spells out what the desk trims."""

    @given(near_tickers, near_reasons, st.integers(-1, 525_602))
    @settings(
        max_examples=150,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
        derandomize=True,
    )
    def test_a_lockout_is_valid_here_and_there_alike(
        self, operator: Api, ticker: str, reason: str, minutes: int
    ) -> None:
        body = {"ticker": ticker, "reason": reason, "duration_minutes": minutes}
        answer = operator.post("/lockouts", body)
        assert answer.status_code == (201 if validator("NewLockout").is_valid(body) else 422), answer.text

    @pytest.mark.parametrize(
        "limit",
        [
            None,
            0,
            1,
            "0",
            "1.5",
            "999999999999999999.999999999",
            10**18 - 1,
            10**18,
            "1000000000000000000",
            -1,
            "-1",
            "",
            " 1",
            "1 ",
            "1,5",
            "١",
            "NaN",
            "0.0000000001",
            True,
            [],
            {},
            0.5,
            1e-09,
            "0x1",
        ],
    )
    def test_a_limit_is_valid_here_and_there_alike(self, admin: Api, limit: Any) -> None:
        body = {"config": {"position_limits": {"max_order_value": limit}}}
        answer = admin.put("/config", body, headers={"If-Match": "*"})
        assert answer.status_code == (200 if validator("ConfigReplacement").is_valid(body) else 422), answer.text

    @pytest.mark.parametrize(
        "rate",
        [
            {},
            {"max_orders": 1, "per_seconds": 1},
            {"max_orders": 1},
            {"per_seconds": 1},
            {"max_orders": None, "per_seconds": None},
            {"max_orders": None},
            {"max_orders": None, "per_seconds": 5},
            {"max_orders": -1, "per_seconds": 1},
            {"max_orders": 0, "per_seconds": 0},
            {"max_orders": 1, "x": 1},
        ],
    )
    def test_a_rate_is_valid_here_and_there_alike(self, admin: Api, rate: Any) -> None:
        body = {"config": {"order_rate": rate}}
        answer = admin.put("/config", body, headers={"If-Match": "*"})
        assert answer.status_code == (200 if validator("ConfigReplacement").is_valid(body) else 422), answer.text

    @pytest.mark.parametrize("mode", ["disabled", "paper", "live", "halt", None])
    @pytest.mark.parametrize("leaving", ["paper", "nowhere", None, ...])
    @pytest.mark.parametrize("reason", ["x", " ", "", None, ...])
    def test_a_change_of_mode_is_valid_here_and_there_alike(
        self, admin: Api, mode: Any, leaving: Any, reason: Any
    ) -> None:
        body = {"trading_mode": mode, "from": leaving, "reason": reason}
        body = {key: value for key, value in body.items() if value is not ...}
        answer = admin.put("/mode", body)
        assert answer.status_code == (200 if validator("ModeChange").is_valid(body) else 422), answer.text


def test_the_answers_are_those_of_the_document_when_there_is_something_to_show(
    admin: Api, api: Callable[..., Api], desk: Desk
) -> None:
    admin.post("/lockouts", {"ticker": "AAPL", "reason": "x", "duration_minutes": 5})
    admin.put("/config", {"config": {"a": [1.5, None]}}, headers={"If-Match": "*"})
    admin.put("/mode", {"trading_mode": "disabled", "reason": "x"})
    shown = {"/lockouts": "LockoutList", "/audit": "AuditList", "/state": "State", "/config": "StoredConfig"}
    for path, name in shown.items():
        assert not [str(error) for error in validator(name).iter_errors(admin.get(path).json)]
    desk.sql("""UPDATE risk_configs SET config = '{"operator_approval": 5, "position_limits": {"x": 1}}'""")
    assert not [str(error) for error in validator("State").iter_errors(admin.get("/state").json)]
    assert validator("Problem").is_valid(admin.get("/approval-config").json)
