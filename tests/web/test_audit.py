"""The record: every change writes exactly one event, and nothing else writes any."""

from __future__ import annotations

import base64
import csv
import io
import json
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, ClassVar

import psycopg
import pytest
from sqlalchemy.dialects import postgresql

from app.services.audit.log import ACTIONS, COLUMNS, EventFilter, _newest_ids
from app.web.api import audit_export
from tests.conftest import API, Api
from tests.serving import Desk
from tests.web.conftest import Browser, Record, assert_problem
from tests.web.orders import KEYS as ORDER_KEYS
from tests.web.orders import NOBODYS_ID, WEIRD_IDS, order, set_deadline, stored, waiting

KEYS = {"id", "created_at", "actor", "action", "subject", "before", "after", "note", "request_id", "truncated"}
LOCKOUT = {"ticker": "AAPL", "reason": "x", "duration_minutes": 5}


def changes(client: Api) -> dict[str, Callable[[], Any]]:
    """One change of every kind that a route makes, by its action."""
    row = client.post("/lockouts", LOCKOUT).json
    place = f"/lockouts/{row['id']}"
    return {
        "approval_config.change": lambda: client.put("/approval-config", {"auto_approve_paper": False}),
        "signal_layers.change": lambda: client.put("/signal-layers", {"macro": False}),
        "config.replace": lambda: client.put("/config", {"config": {"a": 1}}, headers={"If-Match": "*"}),
        "mode.change": lambda: client.put("/mode", {"trading_mode": "disabled"}),
        "lockout.create": lambda: client.post("/lockouts", LOCKOUT),
        "lockout.extend": lambda: client.patch(place, {"extend_minutes": 5}),
        "lockout.remove": lambda: client.delete(place),
    }


def test_every_change_writes_exactly_one_event(admin: Api, record: Record) -> None:
    for action, change in changes(admin).items():
        record.new()
        assert change().status_code in (200, 201, 204)
        (event,) = record.new()
        assert (event["action"], event["actor"]) == (action, "admin-0")
        assert event["before"] != event["after"]


class TestOrders:
    CHANGED = ("status", "decided_at", "decided_by")

    def test_every_move_of_an_order_writes_exactly_one_event(
        self, engine: Api, operator: Api, desk: Desk, record: Record, holding: None
    ) -> None:
        """From its arrival to its end, whoever moves it: who it was, and what it was before and after."""
        late = waiting(engine)
        set_deadline(desk, late, -1)
        made = {name: waiting(engine) for name in ("approve", "reject", "cancel", "halt")}
        acts: dict[str, tuple[Callable[[], Any], str, str, str]] = {
            "approve": (
                lambda: operator.post(f"/approvals/{made['approve']['id']}/approve", {"note": "n"}),
                *("order.approve", "operator-1", "released"),
            ),
            "reject": (
                lambda: operator.post(f"/approvals/{made['reject']['id']}/reject", {"reason": "n"}),
                *("order.reject", "operator-1", "rejected"),
            ),
            "cancel": (
                lambda: engine.post(f"/orders/{made['cancel']['id']}/cancel", None),
                *("order.cancel", "engine-0", "canceled"),
            ),
        }
        for name, (act, action, actor, status) in acts.items():
            record.new()
            answer = act()
            assert answer.status_code == 200
            (event,) = record.new()
            assert (event["action"], event["actor"], event["subject"]) == (action, actor, made[name]["id"])
            assert (event["note"], event["request_id"]) == (
                None if name == "cancel" else "n",
                answer.headers["X-Request-ID"],
            )
            same = {key: answer.json[key] for key in ("engine", "client_order_id", "ticker")}
            now = {key: answer.json[key] for key in self.CHANGED}
            assert event["after"] == same | now
            before = {"status": "pending_approval", "decided_at": None, "decided_by": None}
            assert event["before"] == same | before
            assert now["status"] == status

        record.new()
        assert operator.get(f"/orders/{late['id']}").json["status"] == "expired"
        (event,) = record.new()
        assert (event["action"], event["actor"]) == ("order.expire", "system:deadline")
        assert event["after"]["decided_at"] == operator.get(f"/orders/{late['id']}").json["expires_at"]

    def test_a_new_one_writes_the_whole_order(self, engine: Api, record: Record) -> None:
        record.new()
        answer = engine.post("/orders", order(rationale="é\n", qty="0.10"), headers={"X-Request-ID": "find-me"})
        (event,) = record.new()
        assert (event["action"], event["actor"], event["before"]) == ("order.submit", "engine-0", None)
        assert (event["after"], event["request_id"]) == (answer.json, "find-me")
        assert set(event["after"]) == ORDER_KEYS

    def test_a_halt_writes_one_for_itself_and_one_for_each_order_that_waited(
        self, engine: Api, operator: Api, record: Record, holding: None
    ) -> None:
        made = [waiting(engine) for _ in range(3)]
        record.new()
        answer = operator.put("/mode", {"trading_mode": "disabled", "reason": "fat finger"})
        halt, *canceled = record.new()
        assert (halt["action"], halt["note"]) == ("mode.change", "fat finger")
        assert sorted(event["subject"] for event in canceled) == sorted(one["id"] for one in made)
        for event in canceled:
            assert (event["action"], event["actor"]) == ("order.cancel", "operator-1")
            assert event["after"]["status"] == "canceled"
            assert event["request_id"] == answer.headers["X-Request-ID"]
        record.new()
        operator.put("/mode", {"trading_mode": "disabled"})
        assert record.new() == []

    def test_what_is_refused_writes_none(
        self, engine: Api, operator: Api, desk: Desk, record: Record, holding: None
    ) -> None:
        made = waiting(engine)
        operator.post("/lockouts", LOCKOUT)
        record.new()
        for answer in (
            engine.post("/orders", order(qty="0")),
            engine.post("/orders", order(client_order_id=made["client_order_id"], qty="11")),
            operator.post(f"/approvals/{made['id']}/approve", {}),
            operator.post(f"/approvals/{made['id']}/reject", {}),
            operator.post("/approvals/decisions", {"decisions": [{"id": made["id"], "action": "approve"}]}),
            operator.post("/orders", order()),
        ):
            assert answer.status_code in (200, 403, 409, 422)
        assert record.new() == []
        assert stored(desk, made) == "pending_approval"

    @pytest.mark.parametrize(
        "action", ["order.submit", "order.approve", "order.reject", "order.cancel", "order.expire"]
    )
    def test_can_be_asked_for_by_what_happened(
        self, engine: Api, operator: Api, desk: Desk, holding: None, action: str
    ) -> None:
        made = waiting(engine)
        if action == "order.expire":
            set_deadline(desk, made, -1)
            engine.get(f"/orders/{made['id']}")
        elif action == "order.cancel":
            engine.post(f"/orders/{made['id']}/cancel", None)
        elif action != "order.submit":
            operator.post(
                f"/approvals/{made['id']}/{action.removeprefix('order.')}",
                {"reason": "x"} if "reject" in action else {},
            )
        (event,) = operator.get(f"/audit?action={action}").json["items"]
        assert event["subject"] == made["id"]

    def test_are_no_business_of_an_engines_in_the_record(self, engine: Api) -> None:
        assert_problem(engine.get("/audit"), 403, "forbidden")


def test_every_action_is_one_of_those_that_the_filter_offers(admin: Api) -> None:
    assert set(changes(admin)) <= set(ACTIONS)


def test_reading_writes_none(admin: Api, record: Record) -> None:
    admin.post("/lockouts", LOCKOUT)
    record.new()
    paths = (
        "/approval-config",
        "/signal-layers",
        "/config",
        "/mode",
        "/lockouts",
        "/orders",
        "/approvals",
        "/audit",
    )
    for path in (*paths, "/state"):
        assert admin.get(path).status_code == 200
    assert record.new() == []


def test_nor_does_what_is_refused(admin: Api, desk: Desk, record: Record) -> None:
    record.new()
    for method, path, body in (
        ("PUT", "/approval-config", {"approval_timeout_minutes": 0}),
        ("PUT", "/signal-layers", {}),
        ("PUT", "/config", {"config": {"signal_layers": 1}}),
        ("PUT", "/mode", {"trading_mode": "live", "from": "disabled", "reason": "x"}),
        ("POST", "/lockouts", {"ticker": "$"}),
        ("PATCH", "/lockouts/x", {"extend_minutes": 5}),
        ("DELETE", "/lockouts/x", None),
    ):
        assert 400 <= admin(method, path, body, headers={"If-Match": "*"}).status_code < 500
    assert record.new() == []
    assert desk.sql("SELECT version FROM risk_configs") == [(1,)]


class TestWhoDidIt:
    def test_comes_from_the_token(self, api: Callable[..., Api], record: Record) -> None:
        api("viewer"), api("operator")
        record.new()
        headers = {"X-Actor": "mallory", "X-Forwarded-User": "mallory", "X-User": "mallory", "From": "mallory"}
        api("operator").put("/signal-layers", {"macro": False}, headers=headers)
        assert [event["actor"] for event in record.new()] == ["operator-1"]

    def test_comes_from_the_session(self, browser: Callable[..., Browser], record: Record) -> None:
        alice = browser("operator", name="alice")
        record.new()
        alice.json("PUT", "/signal-layers", {"macro": False})
        alice.post("/trading/halt")
        assert [event["actor"] for event in record.new()] == ["alice", "alice"]

    @pytest.mark.parametrize("key", ["actor", "user", "created_by", "updated_by", "request_id"])
    def test_never_comes_from_the_body(self, operator: Api, record: Record, key: str) -> None:
        record.new()
        assert_problem(operator.put("/signal-layers", {"macro": False, key: "mallory"}), 422, "invalid", key)
        assert record.new() == []


class TestTheRequestId:
    @pytest.mark.parametrize("given", ["abc", "a" * 64, "A.b_c-9", "0"])
    def test_is_the_one_that_was_sent(self, operator: Api, record: Record, given: str) -> None:
        record.new()
        answer = operator.put("/signal-layers", {"macro": False}, headers={"X-Request-ID": given})
        assert answer.headers["X-Request-ID"] == given
        assert [event["request_id"] for event in record.new()] == [given]

    @pytest.mark.parametrize(
        "given",
        ["", " ", "a" * 65, "a" * 8000, "a b", "a/b", "<script>", "é", "\x7f", "a;b", '"', "a,b", "%0a", "١"],
    )
    def test_is_made_up_when_it_could_not_stand_in_a_log(self, operator: Api, record: Record, given: str) -> None:
        record.new()
        encoded = given.encode().decode("latin-1")
        answer = operator.put("/signal-layers", {"macro": False}, headers={"X-Request-ID": encoded})
        made = answer.headers["X-Request-ID"]
        assert made != encoded
        assert made.isalnum()
        assert [event["request_id"] for event in record.new()] == [made]

    def test_is_another_for_every_request(self, operator: Api) -> None:
        assert len({operator.get("/mode").headers["X-Request-ID"] for _ in range(20)}) == 20


class TestLargeEvents:
    """A configuration may have a mebibyte: lists leave it out."""

    @staticmethod
    def replace(admin: Api, config: Any) -> None:
        assert admin.put("/config", {"config": config}, headers={"If-Match": "*"}).status_code == 200

    @pytest.mark.parametrize(("length", "truncated"), [(4096, False), (4097, True)])
    def test_are_cut_in_lists_above_4_kib(self, admin: Api, length: int, truncated: bool) -> None:
        config = {"note": "x" * (length - len('{"note": ""}'))}
        self.replace(admin, config)
        [event] = admin.get("/audit?action=config.replace").json["items"]
        assert event["truncated"] is truncated
        assert (event["before"], event["after"]) == ((None, None) if truncated else ({}, config))

    @pytest.mark.parametrize("filler", ["x" * 500_000, [1.50] * 20_000, [f"{n:x}" for n in range(60_000)]])
    def test_are_read_whole_by_their_id(self, admin: Api, filler: Any) -> None:
        self.replace(admin, {"note": filler})
        self.replace(admin, {})
        newest, older = admin.get("/audit?action=config.replace").json["items"]
        assert [event["truncated"] for event in (newest, older)] == [True, True]
        whole = admin.get(f"/audit/{newest['id']}")
        assert (whole.json["before"], whole.json["after"]) == ({"note": filler}, {})
        assert whole.json | {"before": None, "after": None, "truncated": True} == newest
        assert set(whole.json) == KEYS

    def test_keep_every_digit(self, admin: Api) -> None:
        raw = '{"config": {"a": 0.10, "b": 12345678901234567890.123456789012345678900}}'
        admin("PUT", "/config", data=raw, headers={"If-Match": "*", "Content-Type": "application/json"})
        [event] = admin.get("/audit?action=config.replace").json["items"]
        for text in (admin.get(f"/audit/{event['id']}").text, admin.get("/audit").text, admin.get("/config").text):
            assert "0.10" in text
            assert "12345678901234567890.123456789012345678900" in text

    @pytest.mark.parametrize("wrong", ["0", "-1", "x", "1.0", "01", "999999999", "9" * 400, "%C3%A9", "1%00"])
    def test_of_an_unknown_id_are_404(self, admin: Api, wrong: str) -> None:
        assert_problem(admin.get(f"/audit/{wrong}"), 404, "not_found")

    def test_are_linked_from_the_page(self, admin: Api, browser: Callable[..., Browser]) -> None:
        self.replace(admin, {"note": "x" * 5000})
        [event] = admin.get("/audit?action=config.replace").json["items"]
        person = browser("viewer")
        page = person.get("/audit").text
        assert "xxxxx" not in page
        assert f'href="/api/admin/trading/audit/{event["id"]}"' in page
        assert person.get(f"/api/admin/trading/audit/{event['id']}").status_code == 200


class TestReading:
    def test_newest_first_with_both_sides(self, admin: Api) -> None:
        admin.put("/mode", {"trading_mode": "disabled", "reason": "why not"})
        admin.put("/signal-layers", {"macro": False})
        newest, older, *_ = admin.get("/audit").json["items"]
        assert set(newest) == KEYS
        assert newest["action"] == "signal_layers.change"
        assert newest["before"] == {"macro": True, "competitive": True}
        assert newest["after"] == {"macro": False, "competitive": True}
        assert (older["action"], older["note"]) == ("mode.change", "why not")
        assert newest["id"] > older["id"]
        assert newest["created_at"].endswith("Z")
        assert datetime.fromisoformat(newest["created_at"]) >= datetime.fromisoformat(older["created_at"])

    def test_by_action_and_by_actor(self, api: Callable[..., Api]) -> None:
        admin, operator = api("admin"), api("operator")
        for client in (admin, operator):
            client.post("/lockouts", LOCKOUT)
        admin.put("/signal-layers", {"macro": False})
        by_action = admin.get("/audit?action=lockout.create").json["items"]
        assert [event["actor"] for event in by_action] == ["operator-1", "admin-0"]
        by_actor = admin.get("/audit?actor=admin-0").json["items"]
        assert [event["action"] for event in by_actor] == ["signal_layers.change", "lockout.create"]
        both = admin.get("/audit?actor=admin-0&action=lockout.create").json["items"]
        assert [(event["actor"], event["action"]) for event in both] == [("admin-0", "lockout.create")]

    @pytest.mark.parametrize(
        "actor", ["nobody", "%25", "dmin-0", "admin-00", "admi_", "é", "%F0%9F%98%80", "%0A", "' OR 1=1"]
    )
    def test_of_somebody_who_did_nothing(self, admin: Api, actor: str) -> None:
        assert admin.get(f"/audit?actor={actor}").json == {"items": [], "next": None}

    def test_by_the_beginning_of_an_actors_name(self, api: Callable[..., Api], desk: Desk) -> None:
        admin, other = api("admin"), api("admin", allow_live=True)
        for client in (admin, other):
            client.post("/lockouts", LOCKOUT)
        for prefix in ("admin", "ADMIN-", "a"):
            found = admin.get(f"/audit?actor={prefix}&action=lockout.create").json["items"]
            assert [event["actor"] for event in found] == ["admin-1", "admin-0"]
        assert len(admin.get("/audit?actor=").json["items"]) == desk.sql("SELECT count(*) FROM audit_events")[0][0]

    def test_by_several_actions(self, admin: Api) -> None:
        for _ in range(2):
            admin.post("/lockouts", LOCKOUT)
            admin.put("/mode", {"trading_mode": "disabled"})
        admin.put("/signal-layers", {"macro": False})
        path = "/audit?action=lockout.create&action=signal_layers.change&limit=2"
        page = admin.get(path).json
        assert [event["action"] for event in page["items"]] == ["signal_layers.change", "lockout.create"]
        more = admin.get(f"{path}&cursor={page['next']}").json
        assert ([event["action"] for event in more["items"]], more["next"]) == (["lockout.create"], None)
        assert_problem(admin.get("/audit?action=lockout.create&action=x"), 422, "invalid", "action")

    def test_of_people_without_engines_and_the_system(self, api: Callable[..., Api], desk: Desk) -> None:
        admin, engine = api("admin"), api("engine")
        engine.post("/orders", order())
        admin.put("/signal-layers", {"macro": False})
        desk.sql(
            "INSERT INTO audit_events (actor, action, subject, request_id)"
            " VALUES ('system:x', 'order.expire', 's', 'r')"
        )
        actors = {event["actor"] for event in admin.get("/audit?people=true").json["items"]}
        assert actors == {"admin-0", "cli:tests"}
        everyone = {event["actor"] for event in admin.get("/audit?people=false").json["items"]}
        assert everyone == actors | {"engine-1", "system:x"}
        assert admin.get("/audit?people=true&actor=engine").json["items"] == []
        assert_problem(admin.get("/audit?people=1"), 422, "invalid", "people")

    def test_by_time(self, admin: Api, desk: Desk) -> None:
        for number in range(8):
            admin.put("/approval-config", {"approval_timeout_minutes": 100 + number})
        events = admin.get("/audit?action=approval_config.change").json["items"]
        for first in (0, 3, 7):
            for last in range(first, 8):
                newest, oldest = events[first], events[last]
                path = f"/audit?action=approval_config.change&from={oldest['created_at']}"
                assert admin.get(path).json["items"] == events[: last + 1]
                assert admin.get(f"{path}&to={newest['created_at']}").json["items"] == events[first + 1 : last + 1]
        assert admin.get("/audit?from=2999-01-01T00:00:00Z").json["items"] == []
        assert admin.get("/audit?to=1999-01-01T00:00:00Z").json["items"] == []
        [(total,)] = desk.sql("SELECT count(*) FROM audit_events")
        assert (
            len(admin.get("/audit?from=1999-01-01T00:00:00%2B02:00&to=2999-01-01T00:00:00Z").json["items"])
            == total
        )

    @pytest.mark.parametrize("name", ["from", "to"])
    @pytest.mark.parametrize(
        "wrong", ["", "x", "2026", "2026-03-02T14:30:00", "9999-12-31T00:00:00Z", "%00", "9" * 400]
    )
    def test_a_time_that_is_none_is_refused(self, admin: Api, name: str, wrong: str) -> None:
        assert_problem(admin.get(f"/audit?{name}={wrong}"), 422, "invalid", name)

    @pytest.mark.parametrize("actor", ["%00", "a%00b", "a" * 101, "a" * 3000])
    def test_of_somebody_who_cannot_be(self, admin: Api, actor: str) -> None:
        assert_problem(admin.get(f"/audit?actor={actor}"), 422, "invalid", "actor")

    @pytest.mark.parametrize(
        "action", ["", "lockout", "lockout.creat", "Lockout.Create", "%00", "a" * 3000, "%FF"]
    )
    def test_a_misspelt_action_is_refused_and_is_no_empty_list(self, admin: Api, action: str) -> None:
        assert_problem(admin.get(f"/audit?action={action}"), 422, "invalid", "action")

    @pytest.mark.parametrize("action", ACTIONS)
    def test_every_action_can_be_asked_for(self, admin: Api, action: str) -> None:
        assert admin.get(f"/audit?action={action}").status_code == 200


class TestPages:
    @pytest.mark.parametrize("limit", [1, 7, 50, 200])
    def test_hold_everything_once_and_in_order(self, admin: Api, desk: Desk, limit: int) -> None:
        for number in range(12):
            admin.put("/approval-config", {"approval_timeout_minutes": 100 + number})
        ids, cursor = [], ""
        while True:
            page = admin.get(f"/audit?limit={limit}{cursor}").json
            assert len(page["items"]) <= limit
            ids += [event["id"] for event in page["items"]]
            if page["next"] is None:
                break
            cursor = f"&cursor={page['next']}"
        assert ids == [row[0] for row in desk.sql("SELECT id FROM audit_events ORDER BY id DESC")]

    def test_are_not_moved_by_what_is_written_in_between(self, admin: Api) -> None:
        for number in range(4):
            admin.put("/approval-config", {"approval_timeout_minutes": 100 + number})
        first = admin.get("/audit?limit=2").json
        admin.put("/signal-layers", {"macro": False})
        second = admin.get(f"/audit?limit=2&cursor={first['next']}").json
        ids = [event["id"] for event in first["items"] + second["items"]]
        assert ids == sorted(set(ids), reverse=True)
        assert len(ids) == 4

    @pytest.mark.parametrize(
        "place", ["", "x", "-1", "1.0", "٣", "9" * 19, "9" * 300, "1|2", " 1", "1e3", "\0", "NaN"]
    )
    def test_a_forged_cursor_is_refused(self, admin: Api, place: str) -> None:
        cursor = base64.urlsafe_b64encode(place.encode()).decode().rstrip("=")
        assert_problem(admin.get(f"/audit?cursor={cursor}"), 422, "invalid", "cursor")

    @pytest.mark.parametrize("limit", ["0", "201", "٣", "", "1e2", "9" * 4000])
    def test_a_limit_is_a_whole_number_up_to_200(self, admin: Api, limit: str) -> None:
        assert_problem(admin.get(f"/audit?limit={limit}"), 422, "invalid", "limit")


def subjects(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [event["subject"] for event in answer.json["items"]]


class TestByOrder:
    def test_lists_all_events_of_one_order(self, engine: Api, operator: Api, holding: None) -> None:
        first, other = waiting(engine), waiting(engine)
        operator.post(f"/approvals/{first['id']}/reject", {"reason": "n"})
        engine.post(f"/orders/{other['id']}/cancel", None)
        for spelled in (first["id"], first["id"].upper()):
            events = operator.get(f"/audit?order={spelled}").json["items"]
            assert [event["action"] for event in events] == ["order.reject", "order.submit"]
            assert {event["subject"] for event in events} == {first["id"]}

    def test_combines_with_other_filters_and_pages(self, engine: Api, operator: Api, holding: None) -> None:
        made = waiting(engine)
        operator.post(f"/approvals/{made['id']}/reject", {"reason": "n"})
        path = f"/audit?order={made['id']}"
        for query, actions in (
            ("&actor=operator", ["order.reject"]),
            ("&people=true", ["order.reject"]),
            ("&action=order.submit", ["order.submit"]),
            ("&action=mode.change", []),
            ("&ticker=AAPL", ["order.reject", "order.submit"]),
            ("&ticker=MSFT", []),
            ("&to=1999-01-01T00:00:00Z", []),
        ):
            assert [event["action"] for event in operator.get(path + query).json["items"]] == actions
        page = operator.get(f"{path}&limit=1").json
        rest = operator.get(f"{path}&limit=1&cursor={page['next']}").json
        assert [event["action"] for event in page["items"] + rest["items"]] == ["order.reject", "order.submit"]
        assert rest["next"] is None

    def test_of_an_unknown_order_or_a_lockout_is_empty(self, operator: Api) -> None:
        lockout = operator.post("/lockouts", LOCKOUT).json
        for unknown in (NOBODYS_ID, lockout["id"]):
            assert operator.get(f"/audit?order={unknown}").json == {"items": [], "next": None}

    @pytest.mark.parametrize("wrong", ["", *(one for one in WEIRD_IDS if one != NOBODYS_ID)])
    def test_a_malformed_id_is_refused(self, operator: Api, wrong: str) -> None:
        assert_problem(operator.get(f"/audit?order={wrong}"), 422, "invalid", "order")


class TestByTicker:
    def test_lists_events_of_orders_and_lockouts_in_every_spelling(
        self, engine: Api, operator: Api, holding: None
    ) -> None:
        made = waiting(engine, ticker="BRK.B")
        rejected = waiting(engine, ticker="BRK/B")
        waiting(engine, ticker="BRKA")
        operator.post("/lockouts", LOCKOUT)
        operator.post(f"/approvals/{rejected['id']}/reject", {"reason": "n"})
        row = operator.post("/lockouts", LOCKOUT | {"ticker": "BRK-B"}).json
        operator.patch(f"/lockouts/{row['id']}", {"extend_minutes": 5})
        operator.delete(f"/lockouts/{row['id']}")
        engine.post(f"/orders/{made['id']}/cancel", None)
        expected = [
            ("order.cancel", made),
            *((f"lockout.{act}", row) for act in ("remove", "extend", "create")),
            ("order.reject", rejected),
            ("order.submit", rejected),
            ("order.submit", made),
        ]
        for spelled in ("BRK.B", "brk-b", "BRKB"):
            events = operator.get(f"/audit?ticker={spelled}").json["items"]
            assert [(event["action"], event["subject"]) for event in events] == [
                (action, thing["id"]) for action, thing in expected
            ]
        pages, cursor = [], ""
        while cursor is not None:
            page = operator.get(f"/audit?ticker=BRK.B&limit=2{cursor and f'&cursor={cursor}'}").json
            pages += [event["action"] for event in page["items"]]
            cursor = page["next"]
        assert pages == [action for action, _ in expected]

    def test_combines_with_other_filters(self, engine: Api, operator: Api, holding: None) -> None:
        made = waiting(engine)
        lockout = operator.post("/lockouts", LOCKOUT).json
        operator.post("/lockouts", LOCKOUT | {"ticker": "MSFT"})
        created_at = operator.get("/audit?action=lockout.create&ticker=AAPL").json["items"][0]["created_at"]
        for query, found in (
            ("&action=lockout.create", [lockout]),
            ("&action=lockout.create&action=order.submit", [lockout, made]),
            ("&action=mode.change", []),
            ("&actor=engine", [made]),
            ("&actor=nobody", []),
            ("&people=true", [lockout]),
            ("&actor=operator&action=order.submit", []),
            (f"&from={created_at}", [lockout]),
            (f"&to={created_at}", [made]),
        ):
            assert subjects(operator.get(f"/audit?ticker=AAPL{query}")) == [each["id"] for each in found]

    def test_every_symbol_lists_lockouts_of_every_symbol(self, operator: Api) -> None:
        row = operator.post("/lockouts", LOCKOUT | {"ticker": "*"}).json
        operator.post("/lockouts", LOCKOUT)
        assert subjects(operator.get("/audit?ticker=*")) == [row["id"]]

    def test_a_configuration_with_a_ticker_is_no_event_of_it(self, admin: Api) -> None:
        assert admin.put("/config", {"config": {"ticker": "AAPL"}}, headers={"If-Match": "*"}).status_code == 200
        assert subjects(admin.get("/audit?ticker=AAPL")) == []

    @pytest.mark.parametrize("wrong", ["", "$", "A B", "%00", "A" * 33, "é"])
    def test_a_wrong_ticker_is_refused(self, admin: Api, wrong: str) -> None:
        assert_problem(admin.get(f"/audit?ticker={wrong}"), 422, "invalid", "ticker")


MANY = 20_000
FILL = """
    INSERT INTO audit_events (actor, action, subject, after, request_id)
    SELECT CASE n % 100 WHEN 0 THEN 'alice' ELSE 'engine' END, 'order.submit', gen_random_uuid()::text,
           jsonb_build_object('ticker', CASE n WHEN 5 THEN 'RARE' ELSE 'HOT' END), 'r'
    FROM generate_series(1, {many}) n
"""


def rows_read(plan: dict[str, Any]) -> Iterator[int]:
    if plan.get("Relation Name") == "audit_events":
        yield (plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)) * plan["Actual Loops"]
    for below in plan.get("Plans", ()):
        yield from rows_read(below)


@pytest.mark.parametrize("analyzed", ["before", "after", "empty", "never"])
def test_filters_read_no_more_events_than_they_list(admin: Api, desk: Desk, analyzed: str) -> None:
    """With statistics that are current, from when the table was empty or small, or absent."""
    if analyzed == "empty":
        desk.sql("VACUUM ANALYZE audit_events")
    if analyzed == "before":
        desk.sql(FILL.format(many=10))
        desk.sql("VACUUM ANALYZE audit_events")
    desk.sql(FILL.format(many=MANY))
    [order_id] = desk.sql("SELECT subject FROM audit_events WHERE after ->> 'ticker' = 'RARE'")[-1]
    if analyzed == "after":
        desk.sql("ANALYZE audit_events")
    for wanted in (
        EventFilter(ticker="RARE"),
        EventFilter(ticker="HOT"),
        EventFilter(ticker="HOT", actions=("lockout.create",)),
        EventFilter(order=uuid.UUID(order_id)),
    ):
        with admin.client.application.app_context(), _newest_ids(wanted, None, 51) as (session, ids):
            written = str(ids.compile(dialect=postgresql.dialect(), compile_kwargs={"literal_binds": True}))
            explained = session.connection().exec_driver_sql(f"EXPLAIN (ANALYZE, FORMAT JSON) {written}")
            [plan] = explained.scalar_one()
        assert sum(rows_read(plan["Plan"])) <= 51


class TestCsv:
    ACCEPT: ClassVar = {"Accept": "text/csv"}

    def rows(self, client: Api, path: str = "/audit") -> list[dict[str, str]]:
        answer = client.get(path, headers=self.ACCEPT)
        assert answer.status_code == 200, answer.text
        return list(csv.DictReader(io.StringIO(answer.text, newline="")))

    def test_has_every_column_of_every_event(self, admin: Api) -> None:
        admin.put("/mode", {"trading_mode": "disabled", "reason": 'a "quoted", \n long\r\n reason é'})
        admin.put("/signal-layers", {"macro": False})
        answer = admin.get("/audit", headers=self.ACCEPT)
        assert answer.content_type == "text/csv; charset=utf-8"
        assert answer.headers["Content-Disposition"] == 'attachment; filename="audit.csv"'
        assert "Accept" in answer.vary
        assert "Accept" in admin.get("/audit").vary
        assert "Link" not in answer.headers
        assert answer.text.startswith("id,created_at,actor,action,subject,before,after,note,request_id\r\n")
        events = admin.get("/audit?limit=200").json["items"]
        rows = self.rows(admin)
        assert len(rows) == len(events)
        for row, event in zip(rows, events, strict=True):
            shown = row | {name: json.loads(row[name] or "null") for name in ("id", "before", "after")}
            assert shown | {"note": row["note"] or None, "truncated": False} == event

    @pytest.mark.parametrize(
        ("accept", "is_csv"),
        [
            ("text/csv", True),
            ("text/csv; charset=utf-8", True),
            ("text/csv, */*;q=0.1", True),
            ("*/*", False),
            ("application/json", False),
            ("text/csv;q=0.5, application/json", False),
            ("text/csv;q=0", False),
            ("text/plain", False),
            ("", False),
        ],
    )
    def test_is_sent_to_clients_that_prefer_it(self, admin: Api, accept: str, is_csv: bool) -> None:
        answer = admin.get("/audit", headers={"Accept": accept})
        assert (answer.status_code, answer.mimetype) == (200, "text/csv" if is_csv else "application/json")

    def test_respects_filters(self, admin: Api) -> None:
        for ticker in ("AAPL", "MSFT"):
            admin.post("/lockouts", LOCKOUT | {"ticker": ticker})
        rows = self.rows(admin, "/audit?ticker=aapl&action=lockout.create&actor=admin")
        assert [json.loads(row["after"])["ticker"] for row in rows] == ["AAPL"]
        assert self.rows(admin, f"/audit?order={NOBODYS_ID}") == []
        for wrong in ("ticker=$", "limit=201", "cursor=x", "bogus=1"):
            assert_problem(admin.get(f"/audit?{wrong}", headers=self.ACCEPT), 422, "invalid", wrong.split("=")[0])

    @pytest.mark.parametrize("limit", [1, 2, 3, 7])
    @pytest.mark.parametrize("batch", [2, 3])
    def test_is_continued_by_the_link_header(
        self, admin: Api, monkeypatch: pytest.MonkeyPatch, limit: int, batch: int
    ) -> None:
        monkeypatch.setattr(audit_export, "MAX_ROWS", limit)
        monkeypatch.setattr(audit_export, "BATCH", batch)
        for number in range(7):
            admin.put("/approval-config", {"approval_timeout_minutes": 100 + number})
        admin.put("/mode", {"trading_mode": "disabled"})
        path = "/audit?action=approval_config.change&action=mode.change&from=2020-01-01T00:00:00%2B00:00"
        expected = [str(event["id"]) for event in admin.get(path).json["items"]]
        found, parts = [], 0
        while path:
            found += [row["id"] for row in self.rows(admin, path)]
            answer = admin.get(path, headers=self.ACCEPT)
            path = answer.headers.get("Link", "").removeprefix(f"<{API}").removesuffix('>; rel="next"')
            parts += 1
        assert (found, len(found), parts) == (expected, 8, -(-8 // limit))

    def test_has_large_events_whole_and_ends_after_so_many_characters(
        self, admin: Api, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(audit_export, "MAX_CHARACTERS", 50_000)
        for number in range(3):
            config = {"config": {"note": f"{number}" * 30_000}}
            assert admin.put("/config", config, headers={"If-Match": "*"}).status_code == 200
        rows = self.rows(admin, "/audit?action=config.replace")
        assert [json.loads(row["after"])["note"][0] for row in rows] == ["2"]
        assert json.loads(rows[0]["before"]) == {"note": "1" * 30_000}
        assert "Link" in admin.get("/audit?action=config.replace", headers=self.ACCEPT).headers

    @pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
    def test_no_cell_is_a_formula(self, admin: Api, desk: Desk, start: str) -> None:
        cell = f"{start}HYPERLINK(1)"
        desk.sql(
            "INSERT INTO audit_events (actor, action, subject, note, request_id) VALUES (%s, %s, %s, %s, %s)",
            *([cell, "mode.change"] + 3 * [cell]),
        )
        [row] = self.rows(admin, "/audit?limit=1")
        assert [row[name] for name in ("actor", "subject", "note", "request_id")] == 4 * [f"'{cell}"]
        assert (row["before"], set(row)) == ("", set(COLUMNS))


@pytest.mark.parametrize(
    "statement",
    ["UPDATE audit_events SET actor = 'mallory'", "DELETE FROM audit_events", "TRUNCATE audit_events"],
)
def test_the_database_refuses_to_change_the_record(admin: Api, desk: Desk, statement: str) -> None:
    admin.put("/signal-layers", {"macro": False})
    before = desk.sql("SELECT * FROM audit_events")
    with pytest.raises(psycopg.errors.RestrictViolation):
        desk.sql(statement)
    assert desk.sql("SELECT * FROM audit_events") == before
