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

from app.web.forms import trading
from app.web.openapi import document
from tests.conftest import API, Api
from tests.serving import Desk
from tests.web.orders import HOLDS, LOCKOUT, configure, order, sent, set_deadline, waiting

BODIES = {
    ("put", "approval-config"): trading.ApprovalConfigForm,
    ("put", "signal-layers"): trading.SignalLayersForm,
    ("put", "mode"): trading.ModeForm,
    ("put", "config"): trading.ReplaceConfigForm,
    ("post", "lockouts"): trading.LockoutForm,
    ("patch", "lockouts/{lockout_id}"): trading.ExtendLockoutForm,
    ("post", "orders"): trading.OrderForm,
    ("post", "approvals/{order_id}/approve"): trading.ApproveForm,
    ("post", "approvals/{order_id}/reject"): trading.RejectForm,
    ("post", "approvals/decisions"): trading.DecisionsForm,
}
EMPTY_WILL_DO = {("post", "approvals/{order_id}/approve")}


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
    assert all(re.fullmatch("[a-z]+[A-Z][A-Za-z]*", one) for one in ids)
    assert {"getOrders", "getOrder", "patchLockout", "postOrderCancel", "putApprovalConfig"} <= set(ids)


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
        assert schema["additionalProperties"] is (schema.get("title") == "halt")
        assert operation["requestBody"]["required"] is (BODIES[route] is not trading.ApproveForm)


@pytest.mark.parametrize("route", BODIES, ids=" ".join)
def test_the_required_keys_are_those_without_which_the_route_says_no(
    api: Callable[..., Api], route: tuple[str, str]
) -> None:
    operation = next(found for method, path, found in operations() if (method, path) == route)
    path = "/" + re.sub(r"{\w+}", "00000000-0000-4000-8000-000000000000", route[1])
    client = api("engine" if route == ("post", "orders") else "admin")
    answer = client(route[0].upper(), path, {}, headers={"If-Match": "*"})
    documented = set.intersection(*(set(schema.get("required", ())) for schema in schemas_of(operation)))
    if route in EMPTY_WILL_DO:
        assert (answer.status_code, documented) == (404, set())
    else:
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


near_amounts = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 2),
    st.integers(10**18 - 2, 10**18 + 1),
    st.text(st.sampled_from("0123456789.-+eE _٣"), max_size=24),
    st.sampled_from(
        ["0", "0.0", "1", "10.50", "9" * 18 + "." + "9" * 9, "9" * 19, "0.0000000001", "0" * 18, "00.10"]
    ),
    st.just(...),
)
NEAR: dict[str, Any] = {
    "client_order_id": st.text(st.sampled_from("aZ0 -é漢\t\n\x7f\x85\xa0\u2028"), max_size=4)
    | st.integers(126, 130).map("x".__mul__),
    "ticker": near_tickers,
    "side": st.sampled_from(["sell", "BUY", None]),
    "qty": near_amounts,
    "notional": near_amounts,
    "type": st.sampled_from(["market", "limit", "stop", "stop_limit", "", 1]),
    "limit_price": near_amounts,
    "stop_price": near_amounts,
    "reference_price": near_amounts,
    "time_in_force": st.sampled_from(["day", "cls", "gtd", None]),
    "signal_layer": st.sampled_from(["macro", "", None]),
    "strategy": st.sampled_from(["", "s", None, "x" * 200, "x" * 201, 1]),
    "rationale": st.sampled_from(["", " r\n", None, "x" * 4000, "x" * 4001, []]),
    "bogus": st.just(1),
}
near_orders = st.lists(st.sampled_from(sorted(NEAR)), max_size=2, unique=True).flatmap(
    lambda names: st.fixed_dictionaries({name: NEAR[name] for name in names})
)
good_orders = st.sampled_from(
    [
        {"type": "market"},
        {"type": "market", "qty": ..., "notional": "0.1"},
        {"type": "limit", "limit_price": "10"},
        {"type": "stop", "stop_price": 5, "reference_price": "4"},
        {"type": "stop_limit", "limit_price": "1", "stop_price": "2"},
    ]
)


class TestOrders:
    @given(good_orders, near_orders)
    @settings(
        max_examples=300,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
        derandomize=True,
    )
    def test_an_order_is_valid_here_and_there_alike(
        self, engine: Api, good: dict[str, Any], changed: dict[str, Any]
    ) -> None:
        body = order(**good | changed)
        answer = engine.post("/orders", body)
        allowed = (200, 201, 409) if validator("NewOrder").is_valid(body) else (422,)  # 409: an id from before
        assert answer.status_code in allowed, (body, answer.text)

    @pytest.mark.parametrize("size", [{"qty": "1"}, {"notional": "1"}, {}, {"qty": 1, "notional": 1}])
    @pytest.mark.parametrize("kind", ["market", "limit", "stop", "stop_limit"])
    @pytest.mark.parametrize("limit", [..., None, "1"])
    @pytest.mark.parametrize("stop", [..., None, 1])
    def test_sizes_and_prices_belong_together_here_and_there_alike(
        self, engine: Api, size: dict[str, Any], kind: str, limit: Any, stop: Any
    ) -> None:
        body = order(**{"qty": ...} | size, type=kind, limit_price=limit, stop_price=stop)
        answer = engine.post("/orders", body)
        assert answer.status_code == (201 if validator("NewOrder").is_valid(body) else 422), answer.text

    @pytest.mark.parametrize(
        "entry",
        [
            {"id": "x", "action": "approve"},
            {"id": "x", "action": "approve", "note": " n "},
            {"id": "x", "action": "approve", "note": ""},
            {"id": "x", "action": "approve", "note": None},
            {"id": "x", "action": "approve", "note": "x" * 501},
            {"id": "x", "action": "approve", "reason": "r"},
            {"id": "x", "action": "approve", "reason": None},
            {"id": "x", "action": "reject", "reason": "r"},
            {"id": "x", "action": "reject", "reason": "r", "note": None},
            {"id": "x", "action": "reject", "reason": "r", "note": ""},
            {"id": "x", "action": "reject", "reason": " "},
            {"id": "x", "action": "reject"},
            {"id": "", "action": "approve"},
            {"id": "x"},
            {"id": "x", "action": "expire"},
            [],
            None,
        ],
        ids=str,
    )
    def test_decisions_are_valid_here_and_there_alike(self, operator: Api, entry: Any) -> None:
        for body in ({"decisions": [entry]}, {"decisions": [entry] * 200}, {"decisions": [entry] * 201}):
            answer = operator.post("/approvals/decisions", body)
            assert answer.status_code == (200 if validator("Decisions").is_valid(body) else 422), answer.text

    @pytest.mark.parametrize("text", ["", " ", "x", " " + "x" * 500 + "\u2003", "x" * 501, None, 1])
    def test_notes_and_reasons_are_valid_here_and_there_alike(
        self, engine: Api, operator: Api, holding: None, text: Any
    ) -> None:
        for act, key, name in (("approve", "note", "Approval"), ("reject", "reason", "Rejection")):
            body = {key: text}
            answer = operator.post(f"/approvals/{waiting(engine)['id']}/{act}", body)
            assert answer.status_code == (200 if validator(name).is_valid(body) else 422), answer.text


def wrong(name: str, answer: Any) -> list[str]:
    return [str(error) for error in validator(name).iter_errors(answer.json)]


def test_the_answers_about_orders_are_those_of_the_document(engine: Api, operator: Api, desk: Desk) -> None:
    full = {"type": "stop_limit", "limit_price": "1", "stop_price": 2, "reference_price": "1.5", "strategy": "s"}
    assert not wrong("Order", engine.post("/orders", order(**full, rationale="r", signal_layer="macro")))
    configure(desk, HOLDS)
    late, locked, done = waiting(engine), waiting(engine), waiting(engine, ticker="MSFT")
    set_deadline(desk, late, -1)
    operator.post("/lockouts", LOCKOUT)
    sent(engine, "blocked")
    approved = operator.post(f"/approvals/{done['id']}/approve", {"note": "go"})
    assert not wrong("Order", approved)
    for path, name in (("/orders", "OrderList"), ("/approvals", "WaitingOrderList"), ("/state", "State")):
        assert not wrong(name, operator.get(path))
    ids = [late["id"], locked["id"], done["id"], "x", waiting(engine, ticker="MSFT")["id"]]
    decisions = [{"id": order_id, "action": "approve"} for order_id in ids]
    answer = operator.post("/approvals/decisions", {"decisions": decisions})
    assert [result["status"] for result in answer.json["results"]] == [409, 409, 409, 404, 200]
    assert not wrong("DecisionResults", answer)
    for order_id in ids[:4]:
        assert not wrong("Problem", operator.post(f"/approvals/{order_id}/approve", {}))


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
