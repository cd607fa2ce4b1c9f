"""An engine sends an order: every field, and everything that is no order."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from app.lib import strict_json
from tests.conftest import Api
from tests.serving import Desk
from tests.web.conftest import Browser, Record, assert_problem
from tests.web.orders import KEYS, order, sent, waiting

JSON = {"Content-Type": "application/json"}
# An order in which the field has its place.
WITH: dict[str, dict[str, Any]] = {
    "notional": {"qty": ..., "notional": "1000"},
    "limit_price": {"type": "limit", "limit_price": "10"},
    "stop_price": {"type": "stop", "stop_price": "10"},
}
AMOUNTS = ("qty", "notional", "limit_price", "stop_price", "reference_price")
TEXTS = ("client_order_id", "ticker", "side", "type", "time_in_force", "signal_layer", "strategy", "rationale")
NONE_WILL_DO = ("reference_price", "signal_layer", "strategy", "rationale")


def refused(engine: Api, desk: Desk, body: dict[str, Any] | str, *fields: str) -> None:
    """422, naming exactly these fields, and nothing changed."""
    events = desk.sql("SELECT count(*) FROM audit_events")
    raw = body if isinstance(body, str) else json.dumps(body)
    assert_problem(engine("POST", "/orders", data=raw, headers=JSON), 422, "invalid", *fields)
    assert desk.sql("SELECT count(*) FROM orders") == [(0,)]
    assert desk.sql("SELECT count(*) FROM audit_events") == events


class TestTheAnswer:
    def test_is_the_order_where_it_can_be_found(self, engine: Api) -> None:
        answer = engine.post("/orders", order())
        assert (answer.status_code, answer.content_type) == (201, "application/json")
        assert set(answer.json) == KEYS
        assert answer.headers["Location"].endswith(f"/api/admin/trading/orders/{answer.json['id']}")
        assert engine.client.get(answer.headers["Location"], headers=engine.headers).json == answer.json

    def test_says_what_was_sent_and_what_became_of_it(self, engine: Api) -> None:
        body = order(
            ticker=" brk.b ",
            side="sell",
            qty="10.50",
            type="stop_limit",
            time_in_force="gtc",
            limit_price=99,
            stop_price="100.000000001",
            reference_price="0099.5",
            signal_layer="macro",
            strategy="momentum",
            rationale="it goes up\nand up",
        )
        made = engine.post("/orders", body).json
        shown = {"ticker": "BRK.B", "qty": "10.5", "limit_price": "99", "reference_price": "99.5"}
        assert {key: made[key] for key in body} == body | shown
        assert made["notional"] is None
        assert (made["engine"], made["trading_mode"], made["status"]) == ("engine-0", "paper", "released")
        assert (made["reasons"], made["expires_at"], made["decision_note"]) == ([], None, None)
        assert (made["decided_at"], made["decided_by"]) == (made["created_at"], "system:gate")

    def test_has_null_for_what_was_not_given_and_defaults_filled_in(self, engine: Api) -> None:
        made = sent(engine, "released")
        assert made["time_in_force"] == "day"
        empty = (
            "notional",
            "limit_price",
            "stop_price",
            "reference_price",
            "signal_layer",
            "strategy",
            "rationale",
        )
        assert {made[key] for key in empty} == {None}

    def test_of_an_order_that_waits_has_its_deadline(self, engine: Api, holding: None) -> None:
        made = waiting(engine)
        times = [datetime.fromisoformat(made[key]) for key in ("created_at", "expires_at")]
        assert times[1] - times[0] == timedelta(minutes=30)
        assert all(made[key].endswith("Z") for key in ("created_at", "expires_at"))
        assert (made["decided_at"], made["decided_by"], made["reasons"]) == (None, None, [])

    def test_has_the_timeout_of_the_moment_when_it_was_sent(
        self, engine: Api, operator: Api, holding: None
    ) -> None:
        earlier = waiting(engine)
        operator.put("/approval-config", {"approval_timeout_minutes": 1})
        later = waiting(engine)
        assert engine.get(f"/orders/{earlier['id']}").json == earlier
        assert datetime.fromisoformat(later["expires_at"]) < datetime.fromisoformat(earlier["expires_at"])

    def test_one_event_has_the_whole_order(self, engine: Api, record: Record) -> None:
        record.new()
        made = sent(engine, "released")
        (event,) = record.new()
        assert (event["actor"], event["action"], event["subject"]) == ("engine-0", "order.submit", made["id"])
        assert (event["before"], event["after"]) == (None, made)


class TestWhoMaySend:
    @pytest.mark.parametrize("role", ["viewer", "operator", "admin"])
    def test_no_person_and_no_script_of_one(self, api: Callable[..., Api], desk: Desk, role: str) -> None:
        assert_problem(api(role).post("/orders", order()), 403, "forbidden")
        assert desk.sql("SELECT count(*) FROM orders") == [(0,)]

    def test_nobody_in_a_browser(self, browser: Callable[..., Browser]) -> None:
        assert_problem(browser("admin").json("POST", "/orders", order()), 403, "forbidden")

    @pytest.mark.parametrize("key", ["engine", "account_id", "status", "id", "decided_by", "trading_mode"])
    def test_what_is_the_desks_to_say_is_not_read_from_the_body(self, engine: Api, desk: Desk, key: str) -> None:
        refused(engine, desk, order(**{key: "released"}), key)


class TestRequired:
    @pytest.mark.parametrize("field", ["client_order_id", "ticker", "side", "type"])
    @pytest.mark.parametrize("value", [..., None, ""], ids=["missing", "null", "empty"])
    def test_fields_are_asked_for_by_name(self, engine: Api, desk: Desk, field: str, value: Any) -> None:
        refused(engine, desk, order(**{field: value}), field)

    def test_every_one_that_is_missing_is_named(self, engine: Api, desk: Desk) -> None:
        refused(engine, desk, {}, "client_order_id", "ticker", "side", "type")

    def test_time_in_force_has_a_default_and_no_null(self, engine: Api, desk: Desk) -> None:
        refused(engine, desk, order(time_in_force=None), "time_in_force")

    @pytest.mark.parametrize("field", NONE_WILL_DO)
    def test_null_is_the_same_as_absent_where_a_value_may_be_absent(self, engine: Api, field: str) -> None:
        assert sent(engine, "released", **{field: None})[field] is None


class TestTexts:
    @pytest.mark.parametrize("field", TEXTS)
    @pytest.mark.parametrize("value", [1, 0, True, False, 1.5, [], ["x"], {}, {"x": "y"}], ids=repr)
    def test_are_strings(self, engine: Api, desk: Desk, field: str, value: Any) -> None:
        refused(engine, desk, order(**{field: value}), field)

    @pytest.mark.parametrize("field", ["side", "type", "time_in_force", "signal_layer"])
    @pytest.mark.parametrize(
        "change", [str.upper, str.title, "{} ".format, " {}".format, "{}\n".format, "{}\u200b".format]
    )
    def test_words_are_exactly_those(
        self, engine: Api, desk: Desk, field: str, change: Callable[[str], str]
    ) -> None:
        word = {"side": "buy", "type": "market", "time_in_force": "day", "signal_layer": "macro"}[field]
        refused(engine, desk, order(**{field: change(word)}), field)

    @pytest.mark.parametrize(
        ("field", "word"),
        [
            *[("side", word) for word in ("buy", "sell")],
            *[("time_in_force", word) for word in ("day", "gtc", "ioc", "fok", "opg", "cls")],
            *[("signal_layer", word) for word in ("macro", "competitive")],
        ],
    )
    def test_every_word_of_the_contract_is_taken(self, engine: Api, field: str, word: str) -> None:
        assert sent(engine, "released", **{field: word})[field] == word

    @pytest.mark.parametrize(("field", "word"), [("side", "short"), ("type", "oco"), ("time_in_force", "gtd")])
    def test_no_other(self, engine: Api, desk: Desk, field: str, word: str) -> None:
        refused(engine, desk, order(**{field: word}), field)

    @pytest.mark.parametrize(("field", "longest"), [("strategy", 200), ("rationale", 4000)])
    def test_strategy_and_rationale_are_words_for_people(
        self, engine: Api, desk: Desk, field: str, longest: int
    ) -> None:
        refused(engine, desk, order(**{field: "é" * (longest + 1)}), field)
        for text in ("é" * longest, " as it is ", "\U0001f600", "<b>&</b>", "%s %(id)s $1 '; --", "a\tb\nc", "\\"):
            assert sent(engine, "released", **{field: text})[field] == text
        assert sent(engine, "released", **{field: ""})[field] is None


class TestTheClientOrderId:
    @pytest.mark.parametrize(
        "given", ["a", "a" * 128, "漢" * 128, "a b", "é", "%s%%", "%(id)s", "'; --", "\\", "../..", '"', "0", "*"]
    )
    def test_has_1_to_128_printable_characters(self, engine: Api, given: str) -> None:
        made = sent(engine, "released", client_order_id=given)
        assert made["client_order_id"] == given
        assert engine.get(f"/orders/{made['id']}").json == made

    @pytest.mark.parametrize(
        "given",
        ["a" * 129, "漢" * 129, "a\n", "\ta", "a\rb", "\x7f", "\x1b[31m", "\u200b", "\u202e", "\u2028", "\ue000"],
        ids=ascii,
    )
    def test_no_others(self, engine: Api, desk: Desk, given: str) -> None:
        refused(engine, desk, order(client_order_id=given), "client_order_id")


class TestTheTicker:
    @pytest.mark.parametrize(
        ("given", "ticker"),
        [
            ("aapl", "AAPL"),
            (" AAPL\n", "AAPL"),
            ("brk.b", "BRK.B"),
            ("btc/usd", "BTC/USD"),
            ("rds-a", "RDS-A"),
            ("0700.hk", "0700.HK"),
            ("\u3000a" + "b" * 31, "A" + "B" * 31),
            ("AAPL  261218C00200000", "AAPL261218C00200000"),
            ("btc/usdt:usdt", "BTC/USDT:USDT"),
            ("M&M.NS", "M&M.NS"),
            ("ES=F", "ES=F"),
            ("^GSPC", "^GSPC"),
            ("ES1!", "ES1!"),
            ("BTC_USDT", "BTC_USDT"),
        ],
    )
    def test_is_trimmed_and_upper_cased(self, engine: Api, given: str, ticker: str) -> None:
        assert sent(engine, "released", ticker=given)["ticker"] == ticker

    @pytest.mark.parametrize(
        "given",
        [
            "*",
            " * ",
            " ",
            "A" * 33,
            ".A",
            "A B",
            "$A",
            "ß",
            "ａａｐｌ",
            "АAPL",
            "A\u200bB",
            "A*",
        ],
        ids=ascii,
    )
    def test_is_one_symbol(self, engine: Api, desk: Desk, given: str) -> None:
        refused(engine, desk, order(ticker=given), "ticker")


class TestAmounts:
    @pytest.mark.parametrize("field", AMOUNTS)
    @pytest.mark.parametrize(
        "value",
        [
            *(True, False, [], ["1"], {}, {"value": "1"}, 0, -1, -(10**17), 10**18, 10**30),
            *("", " ", "0", "0.0", "0.000000000", "-1", "-0", "+1", " 1", "1 ", "1\n", "1,5", "1_000", "1 000"),
            *("NaN", "sNaN", "nan", "Infinity", "-Infinity", "inf", "1e5", "1E5", "1e-5", "0x1", "1/2", "ten"),
            *(
                "1.",
                ".5",
                ".",
                "1.2.3",
                "1..2",
                "٣",
                "１",
                "१.५",
                "1" * 19,
                "1" * 400,
                "0.0000000001",
                "1.0000000000",
            ),
            *("0" * 18 + "1", "$1", "1\u200b"),
        ],
        ids=ascii,
    )
    def test_are_positive_and_exact(self, engine: Api, desk: Desk, field: str, value: Any) -> None:
        refused(engine, desk, order(**WITH.get(field, {}) | {field: value}), field)

    @pytest.mark.parametrize("field", AMOUNTS)
    @pytest.mark.parametrize("number", ["1.5", "10.0", "1e2", "1E+2", "0.1", "-0.0", "1e-9", "1e17", "1e300"])
    def test_are_no_fractions_of_json(self, engine: Api, desk: Desk, field: str, number: str) -> None:
        """A reader of JSON may take them for binary fractions, and then they are others."""
        raw = json.dumps(order(**WITH.get(field, {}) | {field: "@"})).replace('"@"', number)
        refused(engine, desk, raw, field)

    @pytest.mark.parametrize("field", AMOUNTS)
    @pytest.mark.parametrize(
        ("given", "shown"),
        [
            ("10", "10"),
            (10, "10"),
            ("10.0", "10"),
            ("10.500000000", "10.5"),
            ("007", "7"),
            ("0.000000001", "0.000000001"),
            ("1000", "1000"),
            ("999999999999999999.999999999", "999999999999999999.999999999"),
            (10**18 - 1, "999999999999999999"),
            ("100000000000000000.1", "100000000000000000.1"),
        ],
    )
    def test_keep_every_digit(self, engine: Api, desk: Desk, field: str, given: Any, shown: str) -> None:
        made = sent(engine, "released", **WITH.get(field, {}) | {field: given})
        assert made[field] == shown
        assert engine.get(f"/orders/{made['id']}").json[field] == shown
        assert desk.sql(f"SELECT {field} FROM orders") == [(Decimal(shown),)]

    @pytest.mark.parametrize("field", AMOUNTS)
    @pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e200000", "0." + "1" * 500, "01", "1_0"])
    def test_a_number_that_nobody_can_hold_is_malformed(
        self, engine: Api, desk: Desk, field: str, number: str
    ) -> None:
        raw = json.dumps(order(**WITH.get(field, {}) | {field: "@"})).replace('"@"', number)
        assert_problem(engine("POST", "/orders", data=raw, headers=JSON), 400, "malformed_json")
        assert desk.sql("SELECT count(*) FROM orders") == [(0,)]


class TestHowMuch:
    def test_is_said_by_quantity_or_by_notional(self, engine: Api) -> None:
        assert sent(engine, "released", qty="1", notional=None)["qty"] == "1"
        assert sent(engine, "released", qty=None, notional="1")["notional"] == "1"

    @pytest.mark.parametrize("both", [{"qty": "1", "notional": "1"}, {"qty": ..., "notional": ...}, {"qty": None}])
    def test_is_said_exactly_once(self, engine: Api, desk: Desk, both: dict[str, Any]) -> None:
        refused(engine, desk, order(**both), "qty")


class TestPrices:
    DEMANDED = {  # noqa: RUF012
        "market": set(),
        "limit": {"limit_price"},
        "stop": {"stop_price"},
        "stop_limit": {"limit_price", "stop_price"},
    }

    @pytest.mark.parametrize("kind", DEMANDED)
    @pytest.mark.parametrize("given", [(), ("limit_price",), ("stop_price",), ("limit_price", "stop_price")])
    @pytest.mark.parametrize("absent", [..., None], ids=["missing", "null"])
    def test_are_those_that_the_type_demands_and_no_others(
        self, engine: Api, desk: Desk, kind: str, given: tuple[str, ...], absent: Any
    ) -> None:
        prices = {"limit_price": absent, "stop_price": absent} | dict.fromkeys(given, "10")
        body = order(type=kind, **prices)
        if wrong := self.DEMANDED[kind] ^ set(given):
            refused(engine, desk, body, *wrong)
        else:
            assert engine.post("/orders", body).status_code == 201

    @pytest.mark.parametrize("kind", DEMANDED)
    def test_a_reference_goes_with_every_type(self, engine: Api, kind: str) -> None:
        prices = dict.fromkeys(self.DEMANDED[kind], "10")
        assert sent(engine, "released", type=kind, reference_price="11", **prices)["reference_price"] == "11"


class TestWhatIsNoOrder:
    @pytest.mark.parametrize(
        "key", ["bogus", "", "Ticker", "ticker ", "price", "quantity", "__class__", "é", "refused"]
    )
    def test_an_unknown_key_is_refused_by_name(self, engine: Api, desk: Desk, key: str) -> None:
        refused(engine, desk, order(**{key: "x"}), key)

    @pytest.mark.parametrize(
        "raw",
        [
            *("", " ", "{", "[]", "null", "true", "1", '"x"', "[{}]", "{} {}", "{'a': 1}", "qty=1", "\ufeff{}"),
            *('{"qty": "1", "qty": "1"}', '{"qty": "1", "qty": "2"}', "[" * 10_000, '{"a":' * 10_000),
            *(
                r'{"ticker": "\u0000"}',
                r'{"rationale": "\ud800"}',
                r'{"\udfff": 1}',
                r'{"client_order_id": "a\u0000b"}',
            ),
            '{"qty": NaN}',
        ],
        ids=lambda raw: ascii(raw[:30]),
    )
    def test_what_is_not_one_json_object_is_400(self, engine: Api, desk: Desk, raw: str) -> None:
        answer = engine("POST", "/orders", data=raw.encode(), headers=JSON)
        assert_problem(answer, 400, "malformed_json")
        assert desk.sql("SELECT count(*) FROM orders") == [(0,)]

    @pytest.mark.parametrize("kind", ["", "text/plain", "application/x-www-form-urlencoded"])
    def test_what_is_not_declared_as_json_is_415(self, engine: Api, desk: Desk, kind: str) -> None:
        answer = engine("POST", "/orders", data=json.dumps(order()), headers={"Content-Type": kind})
        assert_problem(answer, 415, "unsupported_media_type")
        assert desk.sql("SELECT count(*) FROM orders") == [(0,)]

    def test_what_is_larger_than_any_order_is_413(self, engine: Api) -> None:
        raw = json.dumps(order(rationale="x" * 64 * 1024))
        assert_problem(engine("POST", "/orders", data=raw, headers=JSON), 413, "body_too_large")

    def test_one_refusal_leaves_nothing_behind_for_the_next_order(self, engine: Api) -> None:
        """Forms are filled anew for each request: nothing of an earlier one may show through."""
        full = order(type="stop_limit", limit_price="1", stop_price="2", strategy="s", signal_layer="macro")
        assert engine.post("/orders", full).status_code == 201
        assert_problem(engine.post("/orders", full | {"qty": "-1", "x": 1}), 422, "invalid", "qty", "x")
        made = sent(engine, "released")
        assert (made["limit_price"], made["stop_price"], made["strategy"], made["signal_layer"]) == (None,) * 4

    def test_a_desk_without_a_configuration_decides_nothing(self, engine: Api, desk: Desk) -> None:
        desk.sql("UPDATE risk_configs SET is_active = false")
        assert_problem(engine.post("/orders", order()), 409, "config_missing")
        assert desk.sql("SELECT count(*) FROM orders") == [(0,)]


def test_what_the_answer_says_is_what_is_stored(engine: Api) -> None:
    """The answer of the route that decides is written apart from the one of the routes that read."""
    for body in (
        order(),
        order(qty=..., notional="0.5", reference_price="3", strategy="a", rationale="b"),
        order(
            type="stop_limit", limit_price=1, stop_price="2.50", time_in_force="fok", signal_layer="competitive"
        ),
    ):
        made = engine.post("/orders", body)
        assert strict_json.loads(made.data) == engine.get(f"/orders/{made.json['id']}").json
