"""Locking symbols out: making, listing, extending and removing lockouts."""

from __future__ import annotations

import base64
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.conftest import API, Api
from tests.serving import Desk
from tests.web.conftest import Record, assert_problem

KEYS = {"id", "ticker", "reason", "lockout_type", "created_at", "created_by", "expires_at"}
WEIRD_IDS = [
    "00000000-0000-4000-8000-000000000000",
    "1",
    "0",
    "-1",
    "nope",
    "null",
    "%00",
    "%F0%9F%98%80",
    "%FF",
    "..%2F..",
    "'%20OR%201=1--",
    "a" * 3000,
    "%D9%A3" * 32,
    "{00000000-0000-4000-8000-000000000000}",
    "urn:uuid:00000000-0000-4000-8000-000000000000",
    "00000000000040008000000000000000",
    "00000000-0000-4000-8000-000000000000%0A",
    "*",
    "%20",
]


def create(client: Api, **more: Any) -> dict[str, Any]:
    body = {"ticker": "AAPL", "reason": "earnings tonight", "duration_minutes": 60} | more
    answer = client.post("/lockouts", body)
    assert answer.status_code == 201, answer.text
    row: dict[str, Any] = answer.json
    return row


def age(desk: Desk, row: dict[str, Any], minutes: float) -> None:
    """As if the lockout had been made that long ago: only the clock ends one."""
    desk.sql(
        "UPDATE symbol_lockouts SET created_at = created_at - make_interval(secs => %s),"
        " expires_at = expires_at - make_interval(secs => %s) WHERE id = %s",
        minutes * 60,
        minutes * 60,
        row["id"],
    )


def tickers(client: Api, query: str = "") -> list[str]:
    answer = client.get(f"/lockouts{query}")
    assert answer.status_code == 200, answer.text
    return [row["ticker"] for row in answer.json["items"]]


class TestMaking:
    def test_answers_with_the_row_and_where_it_is(self, operator: Api, desk: Desk) -> None:
        answer = operator.post("/lockouts", {"ticker": "aapl", "reason": " earnings ", "duration_minutes": 60})
        row = answer.json
        assert answer.status_code == 201
        assert answer.headers["Location"] == f"{API}/lockouts/{row['id']}"
        assert set(row) == KEYS
        assert row["id"] == str(uuid.UUID(row["id"]))
        assert (row["ticker"], row["reason"], row["lockout_type"]) == ("AAPL", "earnings", "manual")
        assert row["created_by"] == "operator-0"
        made, ends = (datetime.fromisoformat(row[name]) for name in ("created_at", "expires_at"))
        assert ends - made == timedelta(minutes=60)
        assert row["created_at"].endswith("Z")
        ((now,),) = desk.sql("SELECT clock_timestamp()")
        assert timedelta(0) <= now - made < timedelta(minutes=1)

    @pytest.mark.parametrize(
        ("given", "stored"),
        [
            ("aapl", "AAPL"),
            (" brk.b\t", "BRK.B"),
            ("btc/usd", "BTC/USD"),
            ("BF-B", "BF-B"),
            ("0700.HK", "0700.HK"),
            ("*", "*"),
            ("A" * 20, "A" * 20),
            ("\u2003tsla\u00a0", "TSLA"),
            ("1", "1"),
            ("a/b-c.d", "A/B-C.D"),
        ],
    )
    def test_normalises_the_ticker(self, operator: Api, given: str, stored: str) -> None:
        assert create(operator, ticker=given)["ticker"] == stored

    @pytest.mark.parametrize(
        "ticker",
        [
            "",
            " ",
            "A" * 33,
            "AA PL",
            "AAPL\n.",
            ".A",
            "/A",
            "A B",
            "$AAPL",
            "**",
            "A*",
            "ß",
            "straße",
            "ÄPL",
            "ＡＡＰＬ",
            "АAPL",
            "\u212a",
            "ﬁ",
            "A\u200bB",
            "é",
            "١٢",
            "AAPL;DROP",
            "%",
            "A\\B",
            "😀",
        ],
    )
    def test_refuses_what_is_no_symbol(self, operator: Api, desk: Desk, ticker: str) -> None:
        body = {"ticker": ticker, "reason": "x", "duration_minutes": 5}
        assert_problem(operator.post("/lockouts", body), 422, "invalid", "ticker")
        assert desk.sql("SELECT count(*) FROM symbol_lockouts") == [(0,)]

    @pytest.mark.parametrize("reason", ["", " ", "\u2003\t\n", "x" * 501, "😀" * 501])
    def test_a_reason_has_1_to_500_characters(self, operator: Api, reason: str) -> None:
        body = {"ticker": "AAPL", "reason": reason, "duration_minutes": 5}
        assert_problem(operator.post("/lockouts", body), 422, "invalid", "reason")

    @pytest.mark.parametrize(
        "reason", ["x", "😀" * 500, f"  {'x' * 500}  ", "<script>alert(1)</script>", "a\nb", "\u200bx"]
    )
    def test_and_is_otherwise_kept_as_it_is(self, operator: Api, reason: str) -> None:
        assert create(operator, reason=reason)["reason"] == reason.strip()

    @pytest.mark.parametrize("minutes", [0, -1, 525_601, 10**18, 10**300, -(10**300)])
    def test_a_duration_is_from_a_minute_to_a_year(self, operator: Api, minutes: int) -> None:
        body = {"ticker": "AAPL", "reason": "x", "duration_minutes": minutes}
        assert_problem(operator.post("/lockouts", body), 422, "invalid", "duration_minutes")

    @pytest.mark.parametrize("minutes", [1, 525_600])
    def test_both_ends_included(self, operator: Api, minutes: int) -> None:
        row = create(operator, duration_minutes=minutes)
        made, ends = (datetime.fromisoformat(row[name]) for name in ("created_at", "expires_at"))
        assert ends - made == timedelta(minutes=minutes)

    @pytest.mark.parametrize("kind", ["", "Manual", "system", "manual ", "news-shock"])
    def test_refuses_a_type_that_does_not_exist(self, operator: Api, kind: str) -> None:
        body = {"ticker": "AAPL", "reason": "x", "duration_minutes": 5, "lockout_type": kind}
        assert_problem(operator.post("/lockouts", body), 422, "invalid", "lockout_type")

    def test_says_everything_that_is_wrong_at_once(self, operator: Api) -> None:
        body = {"ticker": "$", "reason": " ", "duration_minutes": 0, "lockout_type": "x"}
        fields = ("ticker", "reason", "duration_minutes", "lockout_type")
        assert_problem(operator.post("/lockouts", body), 422, "invalid", *fields)
        assert_problem(operator.post("/lockouts", {}), 422, "invalid", *fields[:3])

    def test_one_ticker_may_have_several(self, operator: Api) -> None:
        assert create(operator)["id"] != create(operator)["id"]
        assert tickers(operator) == ["AAPL", "AAPL"]

    @pytest.mark.parametrize("key", ["id", "created_by", "created_at", "expires_at", "actor"])
    def test_what_the_desk_decides_cannot_be_given(self, operator: Api, key: str) -> None:
        body = {"ticker": "AAPL", "reason": "x", "duration_minutes": 5, key: "2099-01-01T00:00:00Z"}
        assert_problem(operator.post("/lockouts", body), 422, "invalid", key)


class TestListing:
    def test_an_empty_desk_has_none(self, operator: Api) -> None:
        assert operator.get("/lockouts").json == {"items": [], "next": None}

    def test_soonest_end_first(self, operator: Api) -> None:
        for ticker, minutes in (("C", 300), ("A", 5), ("B", 60)):
            create(operator, ticker=ticker, duration_minutes=minutes)
        assert tickers(operator) == ["A", "B", "C"]

    def test_only_those_that_hold(self, operator: Api, desk: Desk) -> None:
        ended, holding = create(operator, ticker="OLD"), create(operator, ticker="NEW")
        age(desk, ended, 60)
        age(desk, holding, 59)
        assert tickers(operator) == ["NEW"]

    @pytest.mark.parametrize(
        ("asked", "found"),
        [
            ("brk.b", ["BRK.B"]),
            ("%20BRK-B%20", ["BRK.B"]),
            ("BRKB", ["BRK.B"]),
            ("X", []),
            ("AAPL", ["AAPL"]),
            ("AAPL261218C00200000", ["AAPL", "AAPL261218C00200000"]),
            ("ESZ2026", ["ES=F", "ESZ6"]),
            ("ESH7", ["ES=F"]),
        ],
    )
    def test_of_one_ticker_are_those_that_block_it(self, operator: Api, asked: str, found: list[str]) -> None:
        for ticker in ("AAPL", "BRK.B", "AAPL261218C00200000", "ES=F", "ESZ6"):
            create(operator, ticker=ticker)
        assert tickers(operator, f"?ticker={asked}") == found
        assert tickers(operator, "?ticker=*") == []
        create(operator, ticker="*")
        assert tickers(operator, f"?ticker={asked}") == [*found, "*"]
        assert tickers(operator, "?ticker=*") == ["*"]

    @pytest.mark.parametrize(
        "asked", ["", "%20", "$", "A%00", "%FF", "a%20b", "ß", "\u212a", "A" * 33, "A" * 3000]
    )
    def test_of_something_that_is_no_ticker(self, operator: Api, asked: str) -> None:
        assert_problem(operator.get(f"/lockouts?ticker={asked}"), 422, "invalid", "ticker")

    def test_engines_may_look(self, operator: Api, api: Callable[..., Api]) -> None:
        create(operator)
        assert tickers(api("engine")) == ["AAPL"]


class TestPages:
    @pytest.fixture
    def hundred(self, operator: Api, desk: Desk) -> list[str]:
        """A hundred lockouts, twenty-five each ending at the same instant; the ids in order."""
        desk.sql(
            "INSERT INTO symbol_lockouts (ticker, reason, created_by, expires_at)"
            " SELECT 'T' || n, 'x', 'sql',"
            " date_trunc('day', now()) + interval '3 days' + mod(n, 4) * interval '1 hour'"
            " FROM generate_series(1, 100) n"
        )
        return [str(row[0]) for row in desk.sql("SELECT id FROM symbol_lockouts ORDER BY expires_at, id")]

    def walk(self, client: Api, query: str) -> list[list[str]]:
        pages, cursor = [], ""
        while True:
            answer = client.get(f"/lockouts?{query}{cursor}").json
            pages.append([row["id"] for row in answer["items"]])
            if answer["next"] is None:
                return pages
            cursor = f"&cursor={answer['next']}"

    @pytest.mark.parametrize(
        ("query", "sizes"),
        [("", [50, 50]), ("limit=30", [30, 30, 30, 10]), ("limit=100", [100]), ("limit=200", [100])],
    )
    def test_hold_everything_once_and_in_order(
        self, operator: Api, hundred: list[str], query: str, sizes: list[int]
    ) -> None:
        pages = self.walk(operator, query)
        assert [len(page) for page in pages] == sizes
        assert [row for page in pages for row in page] == hundred

    def test_go_on_where_they_were_when_a_row_goes_between(self, operator: Api, hundred: list[str]) -> None:
        first = operator.get("/lockouts?limit=10").json
        operator.delete(f"/lockouts/{first['items'][-1]['id']}")
        second = operator.get(f"/lockouts?limit=10&cursor={first['next']}").json
        assert [row["id"] for row in second["items"]] == hundred[10:20]

    def test_keep_the_filter(self, operator: Api, hundred: list[str], desk: Desk) -> None:
        desk.sql("UPDATE symbol_lockouts SET ticker = 'ONE' WHERE ticker < 'T5'")
        pages = self.walk(operator, "limit=7&ticker=one")
        ((count,),) = desk.sql("SELECT count(*) FROM symbol_lockouts WHERE ticker = 'ONE'")
        assert sum(map(len, pages)) == count > 7

    @pytest.mark.parametrize(
        "limit",
        [
            "0",
            "-1",
            "201",
            "",
            "%20",
            "ten",
            "1.0",
            "1e2",
            "+5",
            "%2B5",
            "٣",
            "５",
            "1_0",
            "0x10",
            "9" * 5000,
            "%00",
        ],
    )
    def test_a_limit_is_a_whole_number_up_to_200(self, operator: Api, limit: str) -> None:
        assert_problem(operator.get(f"/lockouts?limit={limit}"), 422, "invalid", "limit")

    @pytest.mark.parametrize(
        "place",
        [
            "",
            "|",
            "x|y",
            "2026-01-01T00:00:00.000000Z",
            "2026-01-01T00:00:00.000000Z|x",
            "2026-01-01T00:00:00.000000Z|00000000-0000-4000-8000-000000000000|x",
            "2026-01-01|00000000-0000-4000-8000-000000000000",
            "2026-01-01T00:00:00|00000000-0000-4000-8000-000000000000",
            "2026-01-01T00:00:00+00:00|00000000-0000-4000-8000-000000000000",
            "2026-01-01T00:00:00+23:59|00000000-0000-4000-8000-000000000000",
            "2026-01-01T00:00:00+00:00:00.000001|00000000-0000-4000-8000-000000000000",
            "0001-01-01T00:00:00+23:59|00000000-0000-4000-8000-000000000000",
            "9999-12-31T23:59:59-23:59|00000000-0000-4000-8000-000000000000",
            "2026-W01-1T00:00:00Z|00000000-0000-4000-8000-000000000000",
            "2026-13-01T00:00:00.000000Z|00000000-0000-4000-8000-000000000000",
            "infinity|00000000-0000-4000-8000-000000000000",
            "7",
            "\0|\0",
        ],
    )
    def test_a_forged_cursor_is_refused(self, operator: Api, place: str) -> None:
        cursor = base64.urlsafe_b64encode(place.encode()).decode().rstrip("=")
        assert_problem(operator.get(f"/lockouts?cursor={cursor}"), 422, "invalid", "cursor")

    @pytest.mark.parametrize(
        "cursor", ["", "x", "=", "====", "!!!", "%00", "é", "٣", "A" * 3000, "%FF", "Zg==", "a+b/"]
    )
    def test_so_is_what_is_no_cursor_at_all(self, operator: Api, cursor: str) -> None:
        assert_problem(operator.get(f"/lockouts?cursor={cursor}"), 422, "invalid", "cursor")

    def test_the_cursor_of_another_list_is_refused(self, admin: Api) -> None:
        for number in range(3):
            create(admin, ticker=f"T{number}")
        foreign = admin.get("/audit?limit=1").json["next"]
        assert_problem(admin.get(f"/lockouts?cursor={foreign}"), 422, "invalid", "cursor")


class TestExtending:
    def test_moves_the_end_later_in_place(self, operator: Api) -> None:
        row = create(operator)
        answer = operator.patch(f"/lockouts/{row['id']}", {"extend_minutes": 30})
        assert answer.status_code == 200
        ends = datetime.fromisoformat(row["expires_at"]) + timedelta(minutes=30)
        assert datetime.fromisoformat(answer.json["expires_at"]) == ends
        assert answer.json == row | {"expires_at": answer.json["expires_at"]}
        assert operator.get("/lockouts").json["items"][0]["created_at"] == row["created_at"]

    def test_counts_from_the_end_and_not_from_now(self, operator: Api, desk: Desk) -> None:
        row = create(operator, duration_minutes=60)
        age(desk, row, 59)
        answer = operator.patch(f"/lockouts/{row['id']}", {"extend_minutes": 1}).json
        assert datetime.fromisoformat(answer["expires_at"]) == datetime.fromisoformat(
            row["expires_at"]
        ) - timedelta(minutes=58)

    def test_works_for_what_the_system_made(self, operator: Api) -> None:
        row = create(operator, lockout_type="cooldown")
        assert operator.patch(f"/lockouts/{row['id']}", {"extend_minutes": 1}).json["lockout_type"] == "cooldown"

    def test_is_not_possible_once_it_has_ended(self, operator: Api, desk: Desk, record: Record) -> None:
        row = create(operator)
        age(desk, row, 60)
        record.new()
        for _ in range(2):
            assert_problem(operator.patch(f"/lockouts/{row['id']}", {"extend_minutes": 60}), 404, "not_found")
        assert tickers(operator) == []
        assert record.new() == []

    @pytest.mark.parametrize("minutes", [0, -5, 525_601, 10**300])
    def test_is_from_a_minute_to_a_year(self, operator: Api, minutes: int) -> None:
        row = create(operator)
        answer = operator.patch(f"/lockouts/{row['id']}", {"extend_minutes": minutes})
        assert_problem(answer, 422, "invalid", "extend_minutes")

    def test_has_an_end_somewhere(self, operator: Api, desk: Desk) -> None:
        row = create(operator)
        desk.sql("UPDATE symbol_lockouts SET expires_at = '9998-12-31 23:00+00'")
        for minutes in (525_600, 61, 60):
            answer = operator.patch(f"/lockouts/{row['id']}", {"extend_minutes": minutes})
            assert_problem(answer, 422, "invalid", "extend_minutes")
        assert operator.patch(f"/lockouts/{row['id']}", {"extend_minutes": 59}).status_code == 200
        assert tickers(operator) == ["AAPL"]

    @pytest.mark.parametrize("lockout_id", WEIRD_IDS)
    def test_needs_one_that_exists(self, operator: Api, lockout_id: str) -> None:
        for _ in range(2):
            assert_problem(operator.patch(f"/lockouts/{lockout_id}", {"extend_minutes": 5}), 404, "not_found")

    @pytest.mark.parametrize("key", ["duration_minutes", "reason", "ticker", "expires_at"])
    def test_changes_nothing_else(self, operator: Api, key: str) -> None:
        row = create(operator)
        answer = operator.patch(f"/lockouts/{row['id']}", {"extend_minutes": 5, key: 1})
        assert_problem(answer, 422, "invalid", key)


class TestRemoving:
    def test_removes_the_row(self, operator: Api, desk: Desk) -> None:
        row = create(operator)
        answer = operator.delete(f"/lockouts/{row['id']}")
        assert (answer.status_code, answer.data) == (204, b"")
        assert desk.sql("SELECT count(*) FROM symbol_lockouts") == [(0,)]

    def test_a_second_time_there_is_none(self, operator: Api) -> None:
        row = create(operator)
        operator.delete(f"/lockouts/{row['id']}")
        for _ in range(2):
            assert_problem(operator.delete(f"/lockouts/{row['id']}"), 404, "not_found")

    @pytest.mark.parametrize("lockout_id", WEIRD_IDS)
    def test_what_never_was_is_404_each_time(self, operator: Api, desk: Desk, lockout_id: str) -> None:
        create(operator)
        for _ in range(2):
            assert_problem(operator.delete(f"/lockouts/{lockout_id}"), 404, "not_found")
        assert desk.sql("SELECT count(*) FROM symbol_lockouts") == [(1,)]

    def test_takes_the_one_and_leaves_its_twin(self, operator: Api) -> None:
        first, second = create(operator), create(operator)
        operator.delete(f"/lockouts/{first['id']}")
        assert [row["id"] for row in operator.get("/lockouts").json["items"]] == [second["id"]]

    def test_takes_what_the_system_made_too(self, operator: Api) -> None:
        row = create(operator, lockout_type="news_shock")
        assert operator.delete(f"/lockouts/{row['id']}").status_code == 204

    def test_the_record_keeps_the_whole_row(self, operator: Api, record: Record) -> None:
        row = create(operator)
        record.new()
        operator.delete(f"/lockouts/{row['id']}")
        (event,) = record.new()
        assert (event["action"], event["subject"], event["before"], event["after"]) == (
            "lockout.remove",
            row["id"],
            row,
            None,
        )


class TestTheClock:
    def test_ends_a_lockout_though_nothing_is_written(self, operator: Api, desk: Desk, record: Record) -> None:
        row = create(operator, duration_minutes=1)
        age(desk, row, 0.5)
        record.new()
        assert tickers(operator) == ["AAPL"]
        age(desk, row, 0.51)
        assert tickers(operator) == []
        assert operator.get("/state").json["lockouts"] == []
        assert record.new() == []


@pytest.mark.parametrize(
    ("locked", "spelt"),
    [
        ("BTC/USD", "btc_usd"),
        ("BRK/B", "brk-b"),
        ("AAPL", "AAPL  261218C00200000"),
        ("ES1!", "ESZ6"),
        ("ESZ2026", "CME:ESZ26"),
    ],
)
def test_every_spelling_of_the_symbol_is_held(
    operator: Api, api: Callable[..., Api], locked: str, spelt: str
) -> None:
    """What waits and what comes in, in the gate, in the list of approvals and at approval."""
    engine = api("engine")
    operator.put("/approval-config", {"auto_approve_paper": False})
    order = {"client_order_id": "a", "ticker": spelt, "side": "buy", "qty": "1", "type": "market"}
    waiting = engine.post("/orders", order).json
    assert waiting["status"] == "pending_approval"
    create(operator, ticker=locked)
    blocked = engine.post("/orders", order | {"client_order_id": "b"}).json
    assert (blocked["status"], [reason["code"] for reason in blocked["reasons"]]) == (
        *("blocked",),
        ["symbol_locked_out"],
    )
    for path in ("/approvals", "/state"):
        answer = operator.get(path).json
        [shown] = answer["items"] if path == "/approvals" else answer["approvals"]
        assert (shown["id"], shown["blockers"]) == (waiting["id"], ["symbol_locked_out"])
    assert operator.post(f"/approvals/{waiting['id']}/approve", {}).status_code == 409
    assert tickers(operator, f"?ticker={spelt}") == [locked]
