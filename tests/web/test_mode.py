"""The trading mode: stopping is cheap, starting again is gated."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from tests.conftest import Api
from tests.serving import Desk
from tests.web.conftest import Record, assert_problem

MODES = ("disabled", "paper", "live")


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
        assert (answer.status_code, answer.json) == (200, {"trading_mode": "disabled"})
        assert operator.get("/mode").json == {"trading_mode": "disabled"}

    @pytest.mark.parametrize("seen", MODES)
    def test_works_from_a_stale_page(self, operator: Api, desk: Desk, seen: str) -> None:
        set_mode(desk, "live")
        assert operator.put("/mode", change("disabled", seen)).json == {"trading_mode": "disabled"}

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


@pytest.mark.parametrize("choice", [True, False])
def test_canceling_at_the_venue_may_be_asked_for(operator: Api, choice: bool) -> None:
    body = change("disabled") | {"cancel_open_orders": choice}
    assert operator.put("/mode", body).json == {"trading_mode": "disabled"}


ID = "0b9f3c1e-1111-4222-8333-abcdefabcdef"


@pytest.mark.parametrize("names", [[], [ID], [ID.upper(), ID]])
def test_stops_may_be_named_in_letters_of_any_case(operator: Api, names: list[str]) -> None:
    body = change("disabled") | {"cancel_open_orders": True, "protective_stops": names}
    assert operator.put("/mode", body).status_code == 200


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("protective_stops", value) for value in ("no", 5, {}, None, [5], ["no"], [None], [ID, [ID]])),
        *(
            ("protective_stops", [value])
            for value in (f"{{{ID}}}", f"urn:uuid:{ID}", ID.replace("-", ""), f"{ID}\n")
        ),
        *(("cancel_open_orders", value) for value in ("true", 1, None, [])),
    ],
)
@pytest.mark.parametrize("present", ["paper", "disabled"])
def test_a_second_step_that_means_nothing_is_refused_once_the_halt_is_made(
    operator: Api, desk: Desk, present: str, field: str, value: object
) -> None:
    set_mode(desk, present)
    body = change("disabled") | {"cancel_open_orders": True, field: value}
    answer = operator.put("/mode", body)
    assert_problem(answer, 422, "halted_all_the_same")
    assert [*answer.json["errors"]] == [field]
    assert answer.json["detail"].startswith("trading is halted, but nothing was asked of the venue: ")
    assert operator.get("/mode").json == {"trading_mode": "disabled"}


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
        assert (halted.status_code, halted.json) == (200, {"trading_mode": "disabled"})
