"""Reading and changing what waits for a person."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, ClassVar

import pytest
from flask import Flask

from tests.conftest import API, Api
from tests.serving import Desk
from tests.web.conftest import Record, assert_problem

DEFAULTS = {"auto_approve_paper": True, "require_approval_for_live": True, "approval_timeout_minutes": 30}
ODD = (
    '{"sector_exposure": {"tech": 0.30, "deep": {"n": 12345678901234567890.123456789012345678901, "z": [1.50]}},'
    ' "position_limits": {"max_order_value": 1000.10, "misspelt": 1}, "operator_approval": {"legacy": {"a": 1.0}},'
    ' "": 0, "Ünïcode": "\\u2028", "huge": 1e300}'
)


def store(desk: Desk, config: str) -> None:
    desk.sql("UPDATE risk_configs SET config = %s::jsonb", config)


def test_a_new_desk_answers_with_the_defaults(operator: Api) -> None:
    answer = operator.get("/approval-config")
    assert (answer.status_code, answer.json) == (200, DEFAULTS)


@pytest.mark.parametrize(
    "change",
    [
        {"auto_approve_paper": False},
        {"approval_timeout_minutes": 1},
        {"approval_timeout_minutes": 10_080},
        {"auto_approve_paper": False, "approval_timeout_minutes": 5},
        {"require_approval_for_live": False},
        {"auto_approve_paper": False, "require_approval_for_live": False, "approval_timeout_minutes": 60},
    ],
)
def test_any_subset_is_merged_and_the_answer_is_that_of_get(admin: Api, change: dict[str, Any]) -> None:
    answer = admin.put("/approval-config", change)
    assert (answer.status_code, answer.json) == (200, DEFAULTS | change)
    assert admin.get("/approval-config").json == DEFAULTS | change


def test_what_was_switched_off_stays_off_and_can_be_switched_on_again(operator: Api) -> None:
    operator.put("/approval-config", {"auto_approve_paper": False})
    operator.put("/approval-config", {"approval_timeout_minutes": 45})
    assert operator.get("/approval-config").json["auto_approve_paper"] is False
    operator.put("/approval-config", {"auto_approve_paper": True})
    assert operator.get("/approval-config").json == DEFAULTS | {"approval_timeout_minutes": 45}


@pytest.mark.parametrize("minutes", [0, -1, 10_081, 10**30, -(10**30)])
def test_a_timeout_out_of_range_is_refused(operator: Api, minutes: int) -> None:
    answer = operator.put("/approval-config", {"approval_timeout_minutes": minutes, "auto_approve_paper": False})
    assert_problem(answer, 422, "invalid", "approval_timeout_minutes")
    assert operator.get("/approval-config").json == DEFAULTS


def test_every_other_key_stays_exactly_as_it_was(operator: Api, desk: Desk) -> None:
    store(desk, ODD)
    before = desk.sql("SELECT (config #- '{operator_approval,auto_approve_paper}')::text FROM risk_configs")
    operator.put("/approval-config", {"auto_approve_paper": False})
    assert (
        desk.sql("SELECT (config #- '{operator_approval,auto_approve_paper}')::text FROM risk_configs") == before
    )
    assert desk.sql("SELECT config->'operator_approval' FROM risk_configs") == [
        ({"legacy": {"a": 1.0}, "auto_approve_paper": False},)
    ]


class TestAWriteThatChangesNothing:
    @pytest.mark.parametrize("stored", ["{}", '{"operator_approval": {}}', '{"operator_approval": {"x": 1}}', ODD])
    def test_is_no_change(self, operator: Api, desk: Desk, record: Record, stored: str) -> None:
        store(desk, stored)
        record.new()
        before = desk.sql("SELECT * FROM risk_configs")
        answer = operator.put("/approval-config", {"auto_approve_paper": True, "approval_timeout_minutes": 30})
        assert (answer.status_code, answer.json) == (200, DEFAULTS)
        assert desk.sql("SELECT * FROM risk_configs") == before
        assert record.new() == []

    def test_the_second_of_two_equal_writes_is_none(self, operator: Api, desk: Desk, record: Record) -> None:
        record.new()
        for _ in range(2):
            assert operator.put("/approval-config", {"auto_approve_paper": False}).status_code == 200
        assert len(record.new()) == 1
        assert desk.sql("SELECT version FROM risk_configs") == [(2,)]


class TestAStoredSectionThatCannotBeRead:
    BROKEN = (
        ('{"operator_approval": null}', "operator_approval"),
        ('{"operator_approval": []}', "operator_approval"),
        ('{"operator_approval": "yes"}', "operator_approval"),
        ('{"operator_approval": {"auto_approve_paper": null}}', "operator_approval.auto_approve_paper"),
        ('{"operator_approval": {"auto_approve_paper": "false"}}', "operator_approval.auto_approve_paper"),
        ('{"operator_approval": {"require_approval_for_live": 0}}', "operator_approval.require_approval_for_live"),
        (
            '{"operator_approval": {"approval_timeout_minutes": 30.5}}',
            "operator_approval.approval_timeout_minutes",
        ),
        ('{"operator_approval": {"approval_timeout_minutes": 0}}', "operator_approval.approval_timeout_minutes"),
    )
    ALL: ClassVar = {
        "auto_approve_paper": False,
        "require_approval_for_live": True,
        "approval_timeout_minutes": 15,
    }
    broken = pytest.mark.parametrize(("stored", "key"), BROKEN)

    @broken
    def test_is_a_conflict_that_names_the_key(self, operator: Api, desk: Desk, stored: str, key: str) -> None:
        store(desk, stored)
        assert key in assert_problem(operator.get("/approval-config"), 409, "config_invalid")["detail"]

    @broken
    def test_is_mended_by_a_put_of_all_three_keys(self, admin: Api, desk: Desk, stored: str, key: str) -> None:
        store(desk, stored)
        assert admin.put("/approval-config", self.ALL).json == self.ALL
        assert admin.get("/approval-config").json == self.ALL

    def test_is_not_mended_by_a_part_that_leaves_the_fault(self, admin: Api, desk: Desk, record: Record) -> None:
        store(desk, '{"operator_approval": {"auto_approve_paper": "false"}, "x": 1}')
        record.new()
        assert_problem(admin.put("/approval-config", {"approval_timeout_minutes": 5}), 409, "config_invalid")
        assert desk.sql("SELECT config->'operator_approval', version FROM risk_configs") == [
            ({"auto_approve_paper": "false"}, 1)
        ]
        assert record.new() == []

    def test_is_mended_by_an_operator_who_sets_the_key_at_fault(self, operator: Api, desk: Desk) -> None:
        store(desk, '{"operator_approval": {"auto_approve_paper": "false"}}')
        assert operator.put("/approval-config", {"auto_approve_paper": False}).status_code == 200

    def test_other_sections_survive_the_mending(self, admin: Api, desk: Desk) -> None:
        store(desk, '{"operator_approval": 5, "sector_exposure": {"tech": 0.30}}')
        admin.put("/approval-config", self.ALL)
        assert desk.sql("SELECT config->'sector_exposure' FROM risk_configs") == [({"tech": 0.3},)]

    def test_what_was_there_is_on_the_record(self, admin: Api, desk: Desk, record: Record) -> None:
        store(desk, '{"operator_approval": {"auto_approve_paper": "false"}}')
        record.new()
        admin.put("/approval-config", self.ALL)
        (event,) = record.new()
        assert event["before"] == {"operator_approval": {"auto_approve_paper": "false"}}
        assert event["after"] == self.ALL

    def test_a_fault_in_another_section_does_not_hide_this_one(self, operator: Api, desk: Desk) -> None:
        store(desk, '{"position_limits": 5, "operator_approval": {"auto_approve_paper": false}}')
        assert operator.get("/approval-config").json == DEFAULTS | {"auto_approve_paper": False}


def test_one_event_says_who_changed_what(api: Callable[..., Api], record: Record) -> None:
    operator = api("operator")
    record.new()
    operator.put("/approval-config", {"auto_approve_paper": False}, headers={"X-Request-ID": "abc-1"})
    (event,) = record.new()
    assert event["actor"] == "operator-0"
    assert event["action"] == "approval_config.change"
    assert event["request_id"] == "abc-1"
    assert event["before"] == DEFAULTS
    assert event["after"] == DEFAULTS | {"auto_approve_paper": False}


def test_fifty_at_once_lose_nothing(app: Flask, admin: Api, desk: Desk) -> None:
    """Each client changes a key of its own again and again; the last word on every key stands."""
    said: list[int] = []

    def change(path: str, values: list[dict[str, Any]]) -> None:
        client = Api(app.test_client(), None)
        client.headers = admin.headers
        said.extend(client.put(path, value).status_code for value in values)

    clients = [
        threading.Thread(target=change, args=job)
        for job in [
            (
                "/approval-config",
                [{"auto_approve_paper": number % 2 == 1} for number in range(10)]
                + [{"auto_approve_paper": False}],
            ),
            ("/approval-config", [{"require_approval_for_live": number % 2 == 1} for number in range(11)]),
            ("/approval-config", [{"approval_timeout_minutes": number} for number in range(100, 111)]),
            ("/signal-layers", [{"macro": number % 2 == 1} for number in range(11)]),
            ("/signal-layers", [{"competitive": number % 2 == 1} for number in range(11)]),
        ]
    ]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    assert said == [200] * 55
    assert admin.get("/approval-config").json == {
        "auto_approve_paper": False,
        "require_approval_for_live": False,
        "approval_timeout_minutes": 110,
    }
    assert admin.get("/signal-layers").json == {"macro": False, "competitive": False}
    changes = desk.sql(
        "SELECT count(*) FROM audit_events WHERE action IN ('approval_config.change', 'signal_layers.change')"
    )
    assert desk.sql("SELECT version - 1 FROM risk_configs") == changes


@pytest.mark.parametrize("path", ["/approval-config/", "/approval-config/x", "/Approval-Config"])
def test_the_path_is_exact(operator: Api, path: str) -> None:
    assert_problem(operator.get(path), 404, "not_found")


def test_no_configuration_at_all_is_a_conflict_and_no_default(operator: Api, desk: Desk) -> None:
    desk.sql("UPDATE risk_configs SET is_active = false")
    for path in ("/approval-config", "/signal-layers", "/config", "/mode", "/state"):
        assert_problem(operator.get(path), 409, "config_missing")
    assert_problem(operator.put("/approval-config", {"auto_approve_paper": True}), 409, "config_missing")
    assert operator.client.get(f"{API}/openapi.json").status_code == 200
