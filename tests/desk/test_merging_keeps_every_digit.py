"""A merge changes the keys that it was given, and not one digit of anything else."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from tests.conftest import Api
from tests.serving import Desk

LONG = "12345678901234567890.1234567890123456789012345678901234567890"
# Each is stored by PostgreSQL as it stands here, and would be another number, or another text, through a float.
NUMBERS = [LONG, "0.1", "1.10", "100.00", "0.00000000000000000001", "9007199254740993", "1" + "0" * 300, "-0.30"]
STORED = """{
    "operator_approval": {
        "auto_approve_paper": true, "note": %s, "nested": {"limit": [%s, {"x": 1.000}]}, "": null
    },
    "signal_layers": {"weights": {"macro": %s}},
    "position_limits": {"max_order_value": 1000000.10, "max_order_quantity": "5.0"},
    "order_rate": {"max_orders": 5, "per_seconds": 60},
    "sector_exposure": {"tech": %s, "ünïcode \\"\\\\ 🙂": [0.10, 1E+2, []]},
    "signal_layers ": {"macro": 1.50},
    "nothing": null, "list": [1.0, "1.0", true, {}]
}"""


def stored(number: str) -> str:
    return STORED % ((number,) * 4)


def fragments(desk: Desk) -> dict[str, str]:
    """Every top-level key of the configuration with its value, as the database writes it."""
    return dict(desk.sql("SELECT key, value::text FROM risk_configs, jsonb_each(config) WHERE is_active"))


def put_in(desk: Desk, config: str) -> None:
    desk.sql("UPDATE risk_configs SET config = %s::jsonb WHERE is_active", config)


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize(
    ("route", "section", "change"),
    [
        ("/approval-config", "operator_approval", {"auto_approve_paper": False}),
        (
            "/approval-config",
            "operator_approval",
            {"require_approval_for_live": False, "approval_timeout_minutes": 9},
        ),
        ("/signal-layers", "signal_layers", {"macro": False}),
        ("/signal-layers", "signal_layers", {"macro": False, "competitive": False}),
    ],
)
def test_a_merge(desk: Desk, admin: Api, number: str, route: str, section: str, change: dict[str, object]) -> None:
    put_in(desk, stored(number))
    before = fragments(desk)
    assert number in before[section], "the database itself keeps the digits"
    [(others,)] = desk.sql("SELECT (config -> %s)::text FROM risk_configs", section)

    assert admin.put(route, change).status_code == 200

    after = fragments(desk)
    changed, unchanged = after.pop(section), before.pop(section)
    assert after == before
    for key, value in change.items():
        [(now,)] = desk.sql("SELECT config #>> %s::text[] FROM risk_configs", [section, key])
        assert json.loads(now) == value
    keys = list(change)
    rest = "SELECT (%s::jsonb - %s::text[])::text"
    assert desk.sql(rest, changed, keys) == desk.sql(rest, unchanged, keys)
    assert others == unchanged


def test_a_merge_into_an_empty_configuration_adds_that_key_alone(desk: Desk, operator: Api) -> None:
    assert operator.put("/approval-config", {"auto_approve_paper": False}).status_code == 200
    assert fragments(desk) == {"operator_approval": '{"auto_approve_paper": false}'}
    assert operator.put("/signal-layers", {"competitive": False}).status_code == 200
    assert fragments(desk) == {
        "operator_approval": '{"auto_approve_paper": false}',
        "signal_layers": '{"competitive": false}',
    }


@pytest.mark.parametrize(
    "broken", ["null", "[]", '"x"', "1.50", "true", '{"auto_approve_paper": "yes", "k": 1.50}']
)
def test_mending_a_broken_section_leaves_the_rest_and_records_what_was_there(
    desk: Desk, admin: Api, broken: str
) -> None:
    put_in(desk, '{"operator_approval": %s, "sector_exposure": {"tech": %s}}' % (broken, LONG))  # noqa: UP031
    before = fragments(desk)
    refused = admin.put("/approval-config", {"approval_timeout_minutes": 5})
    assert (refused.status_code, refused.json["code"]) == (409, "config_invalid")
    assert "operator_approval" in refused.json["detail"]
    assert fragments(desk) == before

    whole = {"auto_approve_paper": False, "require_approval_for_live": True, "approval_timeout_minutes": 5}
    assert admin.put("/approval-config", whole).json == whole
    after = fragments(desk)
    assert after["sector_exposure"] == before["sector_exposure"] == '{"tech": %s}' % LONG  # noqa: UP031
    mended = json.loads(after["operator_approval"])
    assert {key: mended[key] for key in whole} == whole
    assert set(mended) - set(whole) == ({"k"} if broken.startswith("{") else set())
    [(old,)] = desk.sql("SELECT (before -> 'operator_approval')::text FROM audit_events WHERE before IS NOT NULL")
    assert desk.sql("SELECT %s::jsonb = %s::jsonb", old, broken) == [(True,)]


@pytest.mark.parametrize("number", NUMBERS)
def test_a_configuration_is_read_and_replaced_digit_by_digit(desk: Desk, admin: Api, number: str) -> None:
    config = '{"position_limits":{"max_order_value":1000000.10},"sector_exposure":{"tech":[%s]}}' % number  # noqa: UP031
    answer = admin(
        "PUT",
        "/config",
        data=f'{{"config":{config}}}',
        content_type="application/json",
        headers={"If-Match": "*"},
    )
    assert answer.status_code == 200, answer.text
    assert fragments(desk)["sector_exposure"] == f'{{"tech": [{number}]}}'
    shown = admin.get("/config").text
    # Another spelling of the same number may be shown (1E-20), never another number.
    assert json.loads(shown, parse_float=Decimal, parse_int=Decimal)["config"] == {
        "position_limits": {"max_order_value": Decimal("1000000.10")},
        "sector_exposure": {"tech": [Decimal(number)]},
    }
    [(recorded,)] = desk.sql(
        "SELECT (after -> 'sector_exposure')::text FROM audit_events WHERE action = 'config.replace'"
    )
    assert recorded == f'{{"tech": [{number}]}}'

    # Sent back as it was read, it is no change.
    sent = shown[shown.index('"config"') : shown.index(', "version"')]
    again = admin(
        "PUT",
        "/config",
        data=f"{{{sent}}}",
        content_type="application/json",
        headers={"If-Match": answer.headers["ETag"]},
    )
    assert (again.status_code, again.json["version"]) == (200, 2)
