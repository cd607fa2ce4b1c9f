"""The two signal layers, on and off."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import Api
from tests.serving import Desk
from tests.web.conftest import Record, assert_problem

ON = {"macro": True, "competitive": True}


def test_both_are_on_until_someone_says_otherwise(operator: Api) -> None:
    answer = operator.get("/signal-layers")
    assert (answer.status_code, answer.json) == (200, ON)


@pytest.mark.parametrize(
    "change", [{"macro": False}, {"competitive": False}, {"macro": False, "competitive": False}]
)
def test_any_subset_is_merged_and_the_answer_is_that_of_get(operator: Api, change: dict[str, Any]) -> None:
    assert operator.put("/signal-layers", change).json == ON | change
    assert operator.get("/signal-layers").json == ON | change


def test_they_are_stored_in_the_configuration_and_nothing_else_is_touched(operator: Api, desk: Desk) -> None:
    desk.sql("""UPDATE risk_configs SET config = '{"n": 0.10, "signal_layers": {"other": [1.0]}}'""")
    operator.put("/signal-layers", {"macro": False})
    assert desk.sql("SELECT config::text FROM risk_configs") == [
        ('{"n": 0.10, "signal_layers": {"macro": false, "other": [1.0]}}',)
    ]


def test_a_write_that_changes_nothing_is_no_change(operator: Api, desk: Desk, record: Record) -> None:
    record.new()
    before = desk.sql("SELECT * FROM risk_configs")
    assert operator.put("/signal-layers", ON).json == ON
    assert desk.sql("SELECT * FROM risk_configs") == before
    assert record.new() == []


@pytest.mark.parametrize("stored", ["null", "[]", '{"macro": "on"}', '{"macro": null}', '{"competitive": 1}'])
def test_what_cannot_be_read_is_a_conflict_until_both_are_set(operator: Api, desk: Desk, stored: str) -> None:
    desk.sql("UPDATE risk_configs SET config = jsonb_build_object('signal_layers', %s::jsonb)", stored)
    assert "signal_layers" in assert_problem(operator.get("/signal-layers"), 409, "config_invalid")["detail"]
    assert operator.put("/signal-layers", {"macro": True, "competitive": False}).status_code == 200
    assert operator.get("/signal-layers").json == {"macro": True, "competitive": False}


def test_one_event_says_who_changed_what(api: Callable[..., Api], record: Record) -> None:
    operator = api("operator")
    record.new()
    operator.put("/signal-layers", {"competitive": False})
    (event,) = record.new()
    assert (event["actor"], event["action"], event["subject"]) == (
        "operator-0",
        "signal_layers.change",
        "signal_layers",
    )
    assert (event["before"], event["after"]) == (ON, ON | {"competitive": False})
