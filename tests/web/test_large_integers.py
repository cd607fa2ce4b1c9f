"""An integer of any length is refused like any other that is out of range: never an error of the server."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from werkzeug.datastructures import MultiDict
from wtforms import IntegerField

from app.web.alpaca import forms as door_forms
from app.web.forms import trading
from app.web.forms.fields import AmountField, StrictForm
from tests.conftest import API, Api
from tests.web.conftest import Browser, Record, assert_problem

# From 309 digits on an integer is no float, and from 4301 on CPython does not convert it.
DIGITS = (20, 308, 309, 400, 401, 4299, 4300, 4301, 5000, 50_000)
HUGE = [sign + "9" * digits for digits in DIGITS for sign in ("", "-")]
OF_JSON = [text for text in HUGE if len(text) <= 400]  # a longer one is refused where the JSON is read
JSON = {"Content-Type": "application/json", "If-Match": "*"}


def all_forms(kind: type[StrictForm] = StrictForm) -> Iterator[type[StrictForm]]:
    for found in kind.__subclasses__():
        yield found
        yield from all_forms(found)


FIELDS = [
    (kind, field.name)
    for kind in all_forms()
    if kind.__module__ in (trading.__name__, door_forms.__name__)
    for field in kind()
    if isinstance(field, IntegerField | AmountField)
]


def test_every_form_with_numbers_is_looked_at() -> None:
    names = {name for _, name in FIELDS}
    assert {"duration_minutes", "extend_minutes", "approval_timeout_minutes", "qty", "limit_price"} <= names


@pytest.mark.parametrize(("kind", "name"), FIELDS, ids=lambda part: getattr(part, "__name__", part))
def test_every_form_refuses_integers_of_any_length(kind: type[StrictForm], name: str) -> None:
    for text in HUGE:
        posted = kind(MultiDict({name: text}))
        assert not posted.validate()
        assert posted.messages()[name], text[:20]
    for text in OF_JSON:
        read = kind.from_json({name: int(text)})
        assert not read.validate()
        assert read.messages()[name], text[:20]


LOCKOUT = {"ticker": "AAPL", "reason": "earnings"}
ORDER = {"client_order_id": "1", "ticker": "AAPL", "side": "buy", "type": "limit", "qty": 1, "limit_price": 1}
NO_SUCH = "00000000-0000-4000-8000-000000000000"
# Every place of a JSON body that holds an integer: who sends it, where to, what else is in it, and the field.
PLACES: list[tuple[str, str, str, dict[str, Any], str]] = [
    ("operator", "PUT", "/approval-config", {}, "approval_timeout_minutes"),
    ("operator", "POST", "/lockouts", LOCKOUT, "duration_minutes"),
    ("operator", "PATCH", f"/lockouts/{NO_SUCH}", {}, "extend_minutes"),
    *(
        ("engine", "POST", "/orders", ORDER, name)
        for name in ("qty", "notional", "limit_price", "reference_price")
    ),
]


@pytest.mark.parametrize(("role", "method", "path", "rest", "name"), PLACES)
def test_every_integer_of_a_body_is_422_by_name(
    api: Callable[..., Api], record: Record, role: str, method: str, path: str, rest: dict[str, Any], name: str
) -> None:
    client = api(role)
    record.new()
    for text in HUGE:
        raw = json.dumps(rest | {name: 0}).replace(f'"{name}": 0', f'"{name}": {text}')
        problem = assert_problem(client(method, path, data=raw, headers=JSON), 422)
        assert name in problem["errors"], text[:20]
    assert record.new() == []


def test_a_huge_integer_is_422_wherever_it_stands(admin: Api, operator: Api, record: Record) -> None:
    record.new()
    for text in (text for text in HUGE if len(text) > 401):
        for method, path, raw, field in (
            ("PUT", "/signal-layers", '{"macro": %s}', "macro"),
            ("PUT", "/approval-config", '{"unknown": [[%s]]}', "unknown"),
            ("POST", "/approvals/decisions", '{"decisions": [{"id": %s}]}', "decisions.id"),
            ("PUT", "/config", '{"config": {"sector_exposure": {"deep": [%s]}}}', "config.sector_exposure.deep"),
            ("PUT", "/config", '{"config": {"order_rate": {"max_orders": %s}}}', "config.order_rate.max_orders"),
        ):
            answer = admin(method, path, data=raw % text, headers=JSON)
            assert_problem(answer, 422, "invalid", field)
        assert_problem(operator("POST", "/lockouts", data=text, headers=JSON), 400, "malformed_json")
    assert record.new() == []


def test_known_settings_of_the_configuration_refuse_them_by_name(admin: Api) -> None:
    for key in (
        "operator_approval.approval_timeout_minutes",
        "order_rate.max_orders",
        "position_limits.max_order_value",
    ):
        section, name = key.split(".")
        for text in OF_JSON:
            raw = f'{{"config": {{"{section}": {{"{name}": {text}}}}}}}'
            assert_problem(admin("PUT", "/config", data=raw, headers=JSON), 422, "invalid", f"config.{key}")


@pytest.mark.parametrize(
    ("role", "path"),
    [
        ("operator", "/lockouts?limit="),
        ("operator", "/lockouts?cursor="),
        ("operator", "/orders?limit="),
        ("operator", "/orders?cursor="),
        ("operator", "/approvals?limit="),
        ("operator", "/audit?limit="),
        ("operator", "/audit?cursor="),
        ("operator", f"/orders/{NO_SUCH}?wait="),
    ],
)
def test_query_parameters_refuse_them(api: Callable[..., Api], role: str, path: str) -> None:
    client = api(role)
    for text in HUGE:
        assert_problem(client.get(path + text), 422, "invalid")


def test_ids_and_versions_refuse_them(admin: Api, operator: Api) -> None:
    for text in HUGE:
        assert_problem(operator.delete(f"/lockouts/{text}"), 404)
        assert_problem(operator.get(f"/orders/{text}"), 404)
        assert_problem(admin.put("/config", {"config": {}}, headers={"If-Match": f'"{text}"'}), 412)


def test_plain_forms_refuse_them(browser: Callable[..., Browser]) -> None:
    person = browser("operator")
    for text in HUGE[::3]:
        assert person.post("/trading/lockouts", **LOCKOUT, duration_minutes=text).status_code == 422
        answer = person.post("/trading/approval-config", approval_timeout_minutes=text)
        assert answer.status_code == 303
        assert person.post(f"/trading/lockouts/{NO_SUCH}/extend", extend_minutes=text).status_code == 303
        assert person.post("/trading/mode", trading_mode="paper", version=text).status_code == 200
    shown = person.json("GET", "/approval-config").get_json()
    assert shown["approval_timeout_minutes"] == 30


def test_the_alpaca_api_refuses_them(api: Callable[..., Api]) -> None:
    engine = api("engine")
    order = {"symbol": "AAPL", "side": "buy", "type": "market", "time_in_force": "day"}
    for text in HUGE:
        raw = f'{{{json.dumps(order)[1:-1]}, "qty": {text}}}'
        answer = engine.client.post("/v2/orders", data=raw, headers=engine.headers | JSON)
        assert (answer.status_code, set(answer.get_json())) == (422, {"code", "message"})
        answer = engine.client.get("/v2/orders", query_string={"limit": text}, headers=engine.headers)
        assert answer.status_code == 422


def test_the_page_of_people_refuses_them(browser: Callable[..., Browser]) -> None:
    person = browser("admin")
    for text in HUGE[::5]:
        assert person.get(f"/audit?cursor={text}").status_code == 422
        assert person.get(f"{API}/audit?cursor={text}").status_code == 422
