"""The whole stored configuration: read, and replaced by those who saw what they replace."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from app.lib import strict_json
from tests.conftest import Api
from tests.serving import Desk
from tests.web.conftest import Record, assert_problem

WHOLE = {
    "operator_approval": {"auto_approve_paper": False, "approval_timeout_minutes": 5},
    "signal_layers": {"macro": False},
    "position_limits": {"max_order_quantity": "100", "max_order_value": 2500, "price_collar_pct": None},
    "order_rate": {"max_orders": 10, "per_seconds": 60},
    "sector_exposure": {"tech": "0.30"},
    "anything": [None, {"nested": [1, "x"]}],
}


def put(client: Api, config: Any, if_match: str | None = "*") -> Any:
    return client.put(
        "/config", {"config": config}, headers={"If-Match": if_match} if if_match is not None else {}
    )


class TestReading:
    def test_a_new_desk_has_an_empty_configuration_in_paper_mode(self, operator: Api) -> None:
        answer = operator.get("/config")
        assert answer.status_code == 200
        assert answer.headers["ETag"] == '"1"'
        shown = answer.json
        assert shown.pop("updated_at").endswith("Z")
        assert shown == {"trading_mode": "paper", "config": {}, "version": 1, "updated_by": "setup"}

    def test_it_is_shown_as_stored_even_when_it_cannot_be_understood(self, operator: Api, desk: Desk) -> None:
        desk.sql("""UPDATE risk_configs SET config = '{"operator_approval": "broken"}'""")
        assert operator.get("/config").json["config"] == {"operator_approval": "broken"}

    @pytest.mark.parametrize("tag", ['"1"', 'W/"1"', '"7", "1"', "*"])
    def test_what_the_client_has_already_is_not_sent_again(self, operator: Api, tag: str) -> None:
        answer = operator.get("/config", headers={"If-None-Match": tag})
        assert (answer.status_code, answer.data) == (304, b"")
        assert answer.headers["ETag"] == '"1"'

    @pytest.mark.parametrize("tag", ['"2"', "", "garbage", '"', '""', "\x7f", '"1', "," * 2000])
    def test_anything_else_is(self, operator: Api, tag: str) -> None:
        assert operator.get("/config", headers={"If-None-Match": tag}).status_code == 200

    @pytest.mark.parametrize(
        "header", ["If-Match", "If-Unmodified-Since", "If-Modified-Since", "Range", "If-Range"]
    )
    def test_other_conditions_are_not_for_reading(self, operator: Api, header: str) -> None:
        answer = operator.get("/config", headers={header: '"999"'})
        assert answer.status_code == 200
        assert answer.json["version"] == 1

    def test_head_is_get_without_the_body(self, operator: Api) -> None:
        answer = operator("HEAD", "/config")
        assert (answer.status_code, answer.data, answer.headers["ETag"]) == (200, b"", '"1"')


class TestReplacing:
    def test_the_whole_is_replaced_and_the_answer_is_that_of_get(self, admin: Api) -> None:
        put(admin, {"gone": True})
        answer = put(admin, WHOLE)
        assert (answer.status_code, answer.headers["ETag"]) == (200, '"3"')
        assert answer.json["config"] == WHOLE
        assert answer.json["updated_by"] == "admin-0"
        assert admin.get("/config").json == answer.json

    def test_the_other_routes_see_it(self, admin: Api) -> None:
        put(admin, WHOLE)
        assert admin.get("/approval-config").json == {
            "auto_approve_paper": False,
            "require_approval_for_live": True,
            "approval_timeout_minutes": 5,
        }
        assert admin.get("/signal-layers").json == {"macro": False, "competitive": True}

    def test_the_mode_stays_what_it_is(self, admin: Api) -> None:
        admin.put("/mode", {"trading_mode": "disabled"})
        assert put(admin, {"trading_mode": "live"}).json["trading_mode"] == "disabled"

    @pytest.mark.parametrize(
        "number",
        [
            "0.1",
            "1000.10",
            "12345678901234567890.123456789012345678901",
            "1e300",
            "-0.000000000000000000001",
            "9" * 300,
        ],
    )
    def test_exact_decimals_survive(self, admin: Api, desk: Desk, number: str) -> None:
        raw = f'{{"config": {{"sector_exposure": {{"n": {number}}}}}}}'
        json = {"If-Match": "*", "Content-Type": "application/json"}
        admin("PUT", "/config", data=raw.encode(), headers=json)
        admin.put("/approval-config", {"auto_approve_paper": False})
        admin.put("/signal-layers", {"macro": False})
        stored = strict_json.loads(admin.get("/config").data)["config"]["sector_exposure"]["n"]
        assert stored == Decimal(number)
        assert desk.sql("SELECT config->'sector_exposure'->'n' = %s::jsonb FROM risk_configs", number) == [(True,)]

    def test_text_survives(self, admin: Api) -> None:
        text = {"Ünïcode \u2028 \u202e 😀": "\x01\x7f\x1f\t\n'\"\\</script>", "": " "}
        assert put(admin, text).json["config"] == text

    def test_a_write_that_changes_nothing_is_no_change(self, admin: Api, desk: Desk, record: Record) -> None:
        put(admin, WHOLE | {"n": 1})
        record.new()
        before = desk.sql("SELECT * FROM risk_configs")
        raw = strict_json.dumps({"config": WHOLE | {"n": Decimal("1.0")}})
        headers = {"If-Match": "*", "Content-Type": "application/json"}
        for answer in (put(admin, WHOLE | {"n": 1}), admin("PUT", "/config", data=raw.encode(), headers=headers)):
            assert (answer.status_code, answer.json["version"], answer.headers["ETag"]) == (200, 2, '"2"')
        assert desk.sql("SELECT * FROM risk_configs") == before
        assert record.new() == []

    def test_the_key_config_is_required(self, admin: Api) -> None:
        answer = admin.put("/config", {}, headers={"If-Match": "*"})
        assert_problem(answer, 422, "invalid", "config")


class TestConditions:
    def test_without_if_match_nothing_is_written(self, admin: Api, desk: Desk) -> None:
        assert_problem(put(admin, WHOLE, None), 428, "precondition_required")
        assert desk.sql("SELECT version, config FROM risk_configs") == [(1, {})]

    def test_with_the_tag_that_was_read_it_is_written(self, admin: Api) -> None:
        assert put(admin, WHOLE, admin.get("/config").headers["ETag"]).json["version"] == 2

    def test_one_of_several_tags_may_match(self, admin: Api) -> None:
        assert put(admin, WHOLE, '"9", "1"').json["version"] == 2

    def test_a_star_overwrites_on_purpose(self, admin: Api) -> None:
        put(admin, {"a": 1})
        assert put(admin, WHOLE, " * ").json["version"] == 3

    @pytest.mark.parametrize(
        "tag",
        [
            '"2"',
            '"0"',
            '"01"',
            '"1 "',
            '"1.0"',
            '"-1"',
            '"١"',
            '"1e0"',
            'W/"1"',
            '""',
            "",
            " ",
            '"',
            "*x",
            '"*"',
            '"9", *',
            '*, "9"',
            "W/*",
            '"' + "1" * 5000 + '"',
            "," * 2000,
            '"1"x"',
            "\x80",
            '"999999999999999999"',
        ],
    )
    def test_anything_else_is_stale(self, admin: Api, desk: Desk, tag: str) -> None:
        assert_problem(put(admin, WHOLE, tag), 412, "stale")
        assert desk.sql("SELECT version, config FROM risk_configs") == [(1, {})]

    def test_a_stale_write_that_would_change_nothing_is_stale_all_the_same(self, admin: Api) -> None:
        put(admin, {"a": 1})
        assert_problem(put(admin, {"a": 1}, '"1"'), 412, "stale")

    @pytest.mark.parametrize(
        ("path", "body"),
        [
            ("/approval-config", {"auto_approve_paper": False}),
            ("/signal-layers", {"macro": False}),
            ("/mode", {"trading_mode": "disabled"}),
        ],
    )
    def test_every_other_change_makes_the_tag_stale(self, admin: Api, path: str, body: Any) -> None:
        tag = admin.get("/config").headers["ETag"]
        admin.put(path, body)
        assert_problem(put(admin, WHOLE, tag), 412, "stale")

    def test_a_lockout_does_not(self, admin: Api) -> None:
        tag = admin.get("/config").headers["ETag"]
        admin.post("/lockouts", {"ticker": "AAPL", "reason": "x", "duration_minutes": 5})
        assert put(admin, WHOLE, tag).status_code == 200


class TestWhatCannotBeUsed:
    @pytest.mark.parametrize(
        ("config", "key"),
        [
            ({"operator_approval": {"auto_aprove_paper": True}}, "operator_approval.auto_aprove_paper"),
            ({"signal_layers": {"Macro": True}}, "signal_layers.Macro"),
            ({"position_limits": {"max_order_valeu": 5}}, "position_limits.max_order_valeu"),
            ({"order_rate": {"max_orders": 1, "per_seconds": 1, "per": 1}}, "order_rate.per"),
            ({"operator_approval": {"auto_approve_paper": "true"}}, "operator_approval.auto_approve_paper"),
            (
                {"operator_approval": {"approval_timeout_minutes": 30.5}},
                "operator_approval.approval_timeout_minutes",
            ),
            (
                {"operator_approval": {"approval_timeout_minutes": True}},
                "operator_approval.approval_timeout_minutes",
            ),
            ({"operator_approval": None}, "operator_approval"),
            ({"signal_layers": []}, "signal_layers"),
            ({"position_limits": {"max_order_value": -1}}, "position_limits.max_order_value"),
            ({"position_limits": {"max_order_value": "a lot"}}, "position_limits.max_order_value"),
            ({"position_limits": {"max_order_value": True}}, "position_limits.max_order_value"),
            ({"order_rate": {"max_orders": 5}}, "order_rate.per_seconds"),
            ({"order_rate": {"max_orders": 5, "per_seconds": 0}}, "order_rate.per_seconds"),
        ],
    )
    def test_is_refused_by_its_name(self, admin: Api, desk: Desk, config: Any, key: str) -> None:
        assert_problem(put(admin, config), 422, "invalid", f"config.{key}")
        assert desk.sql("SELECT version, config FROM risk_configs") == [(1, {})]

    def test_top_level_keys_that_are_not_known_are_kept(self, admin: Api) -> None:
        odd = {"Operator_Approval": {"auto_approve_paper": "no"}, "x": None}
        assert put(admin, odd).json["config"] == odd

    def test_a_key_that_is_not_known_inside_a_section_stays_readable_when_it_was_stored_by_hand(
        self, admin: Api, desk: Desk
    ) -> None:
        desk.sql("""UPDATE risk_configs SET config = '{"signal_layers": {"macro": false, "new": 1}}'""")
        assert admin.get("/signal-layers").json == {"macro": False, "competitive": True}
        assert_problem(put(admin, admin.get("/config").json["config"]), 422, "invalid", "config.signal_layers.new")


def test_one_event_keeps_both_sides(api: Callable[..., Api], record: Record) -> None:
    admin = api("admin")
    record.new()
    put(admin, {"a": 1})
    put(admin, {"b": 2})
    first, second = record.new()
    assert (first["action"], first["before"], first["after"]) == ("config.replace", {}, {"a": 1})
    assert (second["actor"], second["before"], second["after"]) == ("admin-0", {"a": 1}, {"b": 2})
