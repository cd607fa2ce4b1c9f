"""The trading mode: stopping is cheap, starting again is gated."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.lib import strict_json
from app.web.forms.trading import ModeForm
from tests.at_once import timed
from tests.conftest import API, Api
from tests.serving import Desk
from tests.web.conftest import Browser, Record, assert_problem

MODES = ("disabled", "paper", "live")
HALTED = {"trading_mode": "disabled", "ignored": {}}


def set_mode(desk: Desk, mode: str) -> None:
    desk.sql("UPDATE risk_configs SET trading_mode = %s", mode)


def change(to: str, leaving: str | None = None, reason: str | None = None) -> dict[str, Any]:
    given = {"trading_mode": to, "from": leaving, "reason": reason}
    return {key: value for key, value in given.items() if value is not None}


def test_a_new_desk_is_in_paper_mode(operator: Api) -> None:
    answer = operator.get("/mode")
    assert (answer.status_code, answer.json) == (200, {"trading_mode": "paper"})


class TestStopping:
    @pytest.mark.parametrize("present", MODES)
    def test_needs_nothing_else(self, operator: Api, desk: Desk, present: str) -> None:
        set_mode(desk, present)
        answer = operator.put("/mode", change("disabled"))
        assert (answer.status_code, answer.json) == (200, HALTED)
        assert operator.get("/mode").json == {"trading_mode": "disabled"}

    @pytest.mark.parametrize("seen", MODES)
    def test_works_from_a_stale_page(self, operator: Api, desk: Desk, seen: str) -> None:
        set_mode(desk, "live")
        assert operator.put("/mode", change("disabled", seen)).json == HALTED

    @pytest.mark.parametrize("stored", ['{"operator_approval": 5}', '{"order_rate": {"max_orders": 1}}'])
    def test_works_while_the_configuration_is_broken(self, operator: Api, desk: Desk, stored: str) -> None:
        desk.sql("UPDATE risk_configs SET config = %s::jsonb", stored)
        assert operator.put("/mode", change("disabled")).status_code == 200

    def test_a_reason_is_kept_where_there_is_one(self, operator: Api, record: Record) -> None:
        record.new()
        operator.put("/mode", change("disabled", reason="  fat finger  "))
        (event,) = record.new()
        assert event["note"] == "fat finger"

    def test_twice_is_once(self, operator: Api, desk: Desk, record: Record) -> None:
        record.new()
        for _ in range(3):
            assert operator.put("/mode", change("disabled")).status_code == 200
        assert len(record.new()) == 1
        assert desk.sql("SELECT version FROM risk_configs") == [(2,)]


class TestStartingAgain:
    @pytest.mark.parametrize("present", MODES)
    @pytest.mark.parametrize("to", ["paper", "live"])
    def test_names_the_mode_that_it_leaves_and_a_reason(
        self, admin: Api, desk: Desk, present: str, to: str
    ) -> None:
        set_mode(desk, present)
        answer = admin.put("/mode", change(to, present, "reviewed"))
        assert (answer.status_code, answer.json) == (200, {"trading_mode": to})

    @pytest.mark.parametrize("to", ["paper", "live"])
    @pytest.mark.parametrize(
        ("leaving", "reason", "missing"),
        [
            (None, None, {"from", "reason"}),
            ("disabled", None, {"reason"}),
            (None, "x", {"from"}),
            ("disabled", " ", {"reason"}),
            ("disabled", "", {"reason"}),
            ("", "x", {"from"}),
            ("nowhere", "x", {"from"}),
            ("Disabled", "x", {"from"}),
        ],
    )
    def test_says_what_is_missing(
        self, admin: Api, desk: Desk, to: str, leaving: str | None, reason: str | None, missing: set[str]
    ) -> None:
        set_mode(desk, "disabled")
        assert_problem(admin.put("/mode", change(to, leaving, reason)), 422, "invalid", *missing)
        assert admin.get("/mode").json == {"trading_mode": "disabled"}

    @pytest.mark.parametrize("to", ["paper", "live"])
    @pytest.mark.parametrize("present", MODES)
    @pytest.mark.parametrize("seen", MODES)
    def test_from_a_stale_page_is_a_conflict(
        self, admin: Api, desk: Desk, record: Record, to: str, present: str, seen: str
    ) -> None:
        set_mode(desk, present)
        record.new()
        answer = admin.put("/mode", change(to, seen, "back to work"))
        if seen == present:
            assert answer.status_code == 200
        else:
            assert present in assert_problem(answer, 409, "mode_changed")["detail"]
            assert admin.get("/mode").json == {"trading_mode": present}
            assert record.new() == []

    def test_a_stale_page_cannot_undo_a_halt(self, admin: Api) -> None:
        page = change("live", admin.get("/mode").json["trading_mode"], "planned this morning")
        admin.put("/mode", change("disabled"))
        assert_problem(admin.put("/mode", page), 409, "mode_changed")
        assert admin.get("/mode").json == {"trading_mode": "disabled"}

    def test_to_the_mode_that_it_is_in_is_no_change(self, operator: Api, desk: Desk, record: Record) -> None:
        record.new()
        before = desk.sql("SELECT * FROM risk_configs")
        assert operator.put("/mode", change("paper", "paper", "again")).status_code == 200
        assert desk.sql("SELECT * FROM risk_configs") == before
        assert record.new() == []

    def test_a_reason_has_at_most_500_characters(self, operator: Api, desk: Desk) -> None:
        set_mode(desk, "disabled")
        assert_problem(operator.put("/mode", change("paper", "disabled", "x" * 501)), 422, "invalid", "reason")
        assert operator.put("/mode", change("paper", "disabled", f" {'x' * 500}\u2003")).status_code == 200


@pytest.mark.parametrize("mode", ["", " ", "PAPER", "paper ", "halt", "none", "paper\n", "páper", "0"])
def test_a_mode_that_does_not_exist_is_refused(operator: Api, desk: Desk, mode: str) -> None:
    assert_problem(operator.put("/mode", change(mode, "paper", "x")), 422, "invalid", "trading_mode")
    assert desk.sql("SELECT trading_mode FROM risk_configs") == [("paper",)]


def test_the_mode_is_required(operator: Api) -> None:
    assert_problem(operator.put("/mode", {"from": "paper", "reason": "x"}), 422, "invalid", "trading_mode")
    assert_problem(operator.put("/mode", {}), 422, "invalid", "trading_mode")


ID = "0b9f3c1e-1111-4222-8333-abcdefabcdef"
UNUSABLE = {
    "protective_stops": ["no", 5, {}, None, [5], ["no"], [None], [ID, [ID]], [f"{{{ID}}}"], [f"{ID}\n"]],
    "cancel_open_orders": ["true", 1, None, []],
    "from": [5, "nowhere", "", {}],
    "totp_code": [123456, "12345", ""],
    "reason": [5, "", [], {"a": 1}],
    "foo": [1, None],
}


class TestAHaltIsNeverRefused:
    """Whatever else the request says: what cannot be used is reported."""

    @staticmethod
    def put(operator: Api, raw: bytes | str, **headers: str) -> Any:
        data = raw if isinstance(raw, bytes) else raw.encode("utf-8", "surrogatepass")
        return operator("PUT", "/mode", data=data, headers={"Content-Type": "application/json"} | headers)

    @pytest.mark.parametrize("body", [{"cancel_open_orders": True}, {"protective_stops": [ID.upper(), ID]}, {}])
    def test_reports_nothing_where_all_is_well(self, operator: Api, body: dict[str, Any]) -> None:
        answer = operator.put("/mode", change("disabled", "live", "x") | body)
        assert (answer.status_code, answer.json) == (200, {"trading_mode": "disabled", "ignored": {}})

    @pytest.mark.parametrize("field", UNUSABLE)
    def test_reports_values_that_cannot_be_used(self, operator: Api, desk: Desk, field: str) -> None:
        for value in UNUSABLE[field]:
            set_mode(desk, "paper")
            answer = operator.put("/mode", change("disabled") | {field: value})
            assert (answer.status_code, [*answer.json["ignored"]]) == (200, [field]), value
            assert all(isinstance(said, str) for said in answer.json["ignored"][field])
            assert operator.get("/mode").json == {"trading_mode": "disabled"}

    @pytest.mark.parametrize(
        ("reason", "stored", "said"),
        [
            ("  fat finger  ", "fat finger", False),
            ("x" * 501, "x" * 500, True),
            ("a\0b", "a\ufffdb", True),
            ("a\ud800b", "a\ufffdb", True),
            ("a\nb", "a\nb", False),
        ],
    )
    def test_stores_a_readable_reason(
        self, operator: Api, record: Record, reason: str, stored: str, said: bool
    ) -> None:
        record.new()
        answer = operator.put("/mode", change("disabled", reason=reason))
        assert (answer.status_code, [*answer.json["ignored"]]) == (200, ["reason"] if said else [])
        assert [event["note"] for event in record.new()] == [stored]

    @pytest.mark.parametrize(
        "more",
        [
            '"reason": NaN', '"reason": 1e200000', '"reason": -Infinity', f'"reason": {"9" * 5000}',
            f'"from": {"9" * 400}', '"reason": "a\0b"', r'"reason": "\u0000\ud800"', '"reason": "a\nb"',
            f'"deep": {"[" * 20000}{"]" * 20000}', '"deep": ' + '{"a":' * 8000 + "1" + "}" * 8000,
            f'"deep": {"[" * 70}"]\\"" {"]" * 70}', '"trading_mode": "live"', '"trading_mode": "disabled"',
            '"reason": "one", "reason": "two"', '"trading_mode": 5, "trading_mode": null', r'"\ud800\u0000": 1',
        ],
    )  # fmt: skip
    def test_nothing_in_the_body_prevents_it(self, operator: Api, more: str) -> None:
        for body in (f'{{"trading_mode": "disabled", {more}}}', f'{{{more}, "trading_mode": "disabled"}}'):
            answer = self.put(operator, body)
            assert (answer.status_code, answer.json["trading_mode"]) == (200, "disabled"), answer.text
            assert operator.put("/mode", change("paper", "disabled", "again")).status_code == 200

    @pytest.mark.parametrize("around", [b"\xef\xbb\xbf%b", b"%b\0\0", b" \r\n%b\n", b"%b\n\0"])
    def test_what_stands_around_the_body_does_not_matter(self, operator: Api, around: bytes) -> None:
        assert self.put(operator, around % b'{"trading_mode": "disabled"}').status_code == 200

    def test_bytes_that_are_not_utf_8_are_replaced(self, operator: Api, record: Record) -> None:
        record.new()
        raw = '{"trading_mode": "disabled", "reason": "Störung"}'.encode("latin-1")
        assert self.put(operator, raw).status_code == 200
        assert [event["note"] for event in record.new()] == ["St\ufffdrung"]

    @pytest.mark.parametrize(
        "kind",
        [
            "",
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
            "a/b; charset=utf-16",
        ],
    )
    def test_the_content_type_does_not_matter(
        self, operator: Api, browser: Callable[..., Browser], kind: str
    ) -> None:
        body = b'{"trading_mode": "disabled"}'
        assert self.put(operator, body, **{"Content-Type": kind}).status_code == 200
        person = browser("operator", f"person-{len(kind)}")
        headers = {"X-CSRFToken": person.csrf, "Content-Type": kind}
        assert person.open("PUT", f"{API}/mode", data=body, headers=headers).status_code == 200

    @pytest.mark.parametrize("version", ['"99"', "99", '"', "W/x", "\x80", "*", ""])
    def test_if_match_does_not_matter(self, operator: Api, version: str) -> None:
        answer = self.put(operator, '{"trading_mode": "disabled"}', **{"If-Match": version})
        assert answer.status_code == 200

    def test_query_parameters_do_not_matter(self, operator: Api) -> None:
        answer = operator("PUT", "/mode?bogus=1&limit=x", change("disabled"))
        assert answer.status_code == 200

    @settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
    @given(
        st.dictionaries(
            st.sampled_from([*UNUSABLE, "cancel_open_orders"]) | st.text(max_size=8),
            st.recursive(
                st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=600),
                lambda inner: (
                    st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
                ),
                max_leaves=8,
            ),
            max_size=6,
        ),
        st.booleans(),
    )
    def test_any_object_that_says_disabled_halts(
        self, operator: Api, desk: Desk, more: dict[str, Any], ascii_only: bool
    ) -> None:
        set_mode(desk, "paper")
        raw = json.dumps(more | {"trading_mode": "disabled"}, ensure_ascii=ascii_only)
        answer = self.put(operator, raw)
        assert (answer.status_code, answer.json["trading_mode"]) == (200, "disabled"), answer.text
        known = {field.name for field in ModeForm()}
        assert {key for key in more if key.isprintable()} - known <= {*answer.json["ignored"]}
        assert desk.sql("SELECT trading_mode FROM risk_configs") == [("disabled",)]

    @pytest.mark.parametrize(
        "raw",
        ["", "null", "[]", '["trading_mode", "disabled"]', '[["trading_mode", "disabled"]]', '"disabled"', "{",
         '{"trading_mode": "disabled"', '{"trading_mode": "disabled"}x', "trading_mode=disabled", '{"x": "'],
    )  # fmt: skip
    def test_only_what_is_no_json_object_is_refused(self, operator: Api, desk: Desk, raw: str) -> None:
        assert_problem(self.put(operator, raw), 400, "malformed_json")
        assert desk.sql("SELECT trading_mode FROM risk_configs") == [("paper",)]

    def test_a_body_of_more_than_64_kib_is_refused(self, operator: Api) -> None:
        body = '{"trading_mode": "disabled", "reason": "%s"}'
        assert self.put(operator, body % ("x" * (64 * 1024 - len(body) + 2))).status_code == 200
        assert_problem(self.put(operator, body % ("x" * 64 * 1024)), 413, "body_too_large")

    @pytest.mark.parametrize("mode", ["DISABLED", "disabled ", "halted"])
    def test_another_word_is_no_halt(self, operator: Api, mode: str) -> None:
        assert_problem(operator.put("/mode", change(mode)), 422, "invalid", "trading_mode")

    def test_a_body_that_takes_long_to_look_through_does_not_keep_others_waiting(self) -> None:
        for nasty in ('{"a": ' + '"' + '\\"' * 30_000, "[" * 65_000, '"\\' * 20_000 + "[" * 65):
            took, members = timed(partial(strict_json.loads_members, nasty.encode()))
            assert (members, took < 0.5) == ([], True)


@pytest.mark.parametrize(
    ("field", "value"), [("cancel_open_orders", True), ("protective_stops", [ID]), ("protective_stops", [5])]
)
@pytest.mark.parametrize("present", ["paper", "disabled"])
def test_nothing_is_canceled_at_the_venue_but_with_a_halt(
    operator: Api, desk: Desk, present: str, field: str, value: object
) -> None:
    set_mode(desk, present)
    answer = operator.put("/mode", change("paper", present, "x") | {field: value})
    assert_problem(answer, 422, "invalid")
    assert [*answer.json["errors"]] == [field]
    assert operator.get("/mode").json == {"trading_mode": present}


def test_to_cancel_nothing_needs_no_halt(operator: Api, desk: Desk) -> None:
    set_mode(desk, "disabled")
    nothing = {"cancel_open_orders": False, "protective_stops": []}
    assert operator.put("/mode", change("paper", "disabled", "x") | nothing).json == {"trading_mode": "paper"}


def test_the_configuration_is_left_alone(admin: Api, desk: Desk) -> None:
    desk.sql(
        """UPDATE risk_configs SET config = '{"x": 0.10, "operator_approval": {"auto_approve_paper": false}}'"""
    )
    before = desk.sql("SELECT config::text FROM risk_configs")
    admin.put("/mode", change("disabled"))
    admin.put("/mode", change("live", "disabled", "x"))
    assert desk.sql("SELECT config::text FROM risk_configs") == before


def test_one_event_says_who_changed_it_and_why(api: Callable[..., Api], record: Record) -> None:
    operator = api("operator")
    record.new()
    operator.put("/mode", change("disabled"))
    operator.put("/mode", change("paper", "disabled", "checked the feed"))
    halt, resume = record.new()
    assert (halt["actor"], halt["action"], halt["note"]) == ("operator-0", "mode.change", None)
    assert (halt["before"], halt["after"]) == ({"trading_mode": "paper"}, {"trading_mode": "disabled"})
    assert (resume["note"], resume["after"]) == ("checked the feed", {"trading_mode": "paper"})


class TestAChangeThatNamesTheVersionItLookedAt:
    RESUME: ClassVar[dict[str, str]] = {"trading_mode": "paper", "from": "disabled", "reason": "all clear"}

    def test_does_not_undo_a_newer_halt(self, operator: Api, desk: Desk) -> None:
        """Halted, resumed, halted again: the mode is the same as before, the halt is another one."""
        operator.put("/mode", {"trading_mode": "disabled"})
        looked_at = operator.get("/state").json["config_version"]
        operator.put("/mode", self.RESUME)
        operator.put("/mode", {"trading_mode": "disabled"})
        refused = operator.put("/mode", self.RESUME, headers={"If-Match": f'"{looked_at}"'})
        assert (refused.status_code, refused.json["code"]) == (412, "stale")
        assert operator.get("/mode").json == {"trading_mode": "disabled"}

    def test_is_made_when_nothing_has_changed(self, operator: Api, desk: Desk) -> None:
        operator.put("/mode", {"trading_mode": "disabled"})
        version = operator.get("/state").json["config_version"]
        assert operator.put("/mode", self.RESUME, headers={"If-Match": f'"{version}"'}).status_code == 200

    def test_never_keeps_a_halt_from_happening(self, operator: Api, desk: Desk) -> None:
        halted = operator.put("/mode", {"trading_mode": "disabled"}, headers={"If-Match": '"99"'})
        assert (halted.status_code, halted.json) == (200, HALTED)
