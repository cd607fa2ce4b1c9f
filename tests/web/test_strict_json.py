"""JSON bodies are read strictly: exact types, no unknown key, nothing that is read in two ways."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from app.lib import strict_json
from tests.conftest import Api
from tests.serving import Desk
from tests.web.conftest import Record, assert_problem

JSON = {"Content-Type": "application/json"}
LOCKOUT = {"ticker": "AAPL", "reason": "earnings", "duration_minutes": 60}


@contextmanager
def trying(value: Any) -> Iterator[None]:
    """Names the value where an assertion about it fails."""
    try:
        yield
    except AssertionError as error:
        error.add_note(f"with {value!r:.200}")
        raise


def send(api: Api, method: str, path: str, raw: bytes | str, **headers: str) -> Any:
    data = raw.encode() if isinstance(raw, str) else raw
    return api(method, path, data=data, headers=JSON | {"If-Match": "*"} | headers)


# A valid body for each route that takes one, and the place in it where a text or a number stands.
BODIES = {
    ("PUT", "/approval-config"): '{"auto_approve_paper": false, "approval_timeout_minutes": %s}',
    ("PUT", "/signal-layers"): '{"macro": %s}',
    ("PUT", "/mode"): '{"trading_mode": "paper", "from": "paper", "reason": %s}',
    ("PUT", "/config"): '{"config": {"sector_exposure": {"deep": %s}}}',
    ("POST", "/lockouts"): '{"ticker": "AAPL", "duration_minutes": 60, "reason": %s}',
}
ROUTES = pytest.mark.parametrize("route", BODIES, ids=" ".join)
IN_FULL = ("PUT", "/config")  # every value is tried there, and on the other routes one of each kind


def values_for(route: tuple[str, str], values: dict[str, list[Any]]) -> list[Any]:
    """All values of all kinds for IN_FULL. For another route one of each kind, not the same for all of them."""
    number = list(BODIES).index(route)
    if route == IN_FULL:
        return [value for kind in values.values() for value in kind]
    return [kind[number % len(kind)] for kind in values.values()]


AMBIGUOUS: dict[str, list[str]] = {
    "no number": ["NaN", "Infinity", "-Infinity"],
    "an exponent out of range": [
        "1e200000",
        "-1e200000",
        "1E+999999999",
        "1e-200000",
        "1e999999999999999999999999",
        "0e999999999",
        "1e401",
        "1e-401",
    ],
    "too many digits": ["0." + "1" * 20_000],
    "NUL": [r'"\u0000"', r'"a\u0000b"'],
    "a lone surrogate": [r'"\ud800"', r'"\udfff"', r'"\ude00\ud83d"'],
    "a key given twice": ['{"a": 1, "a": 2}', '{"a": 1, "\\u0061": 1}', '[{"b": {"a": 1, "a": 1}}]'],
    "a key or an inner text that cannot be stored": [r'{"\u0000": 1}', r'{"\ud800": 1}', r'[[[["\ud800"]]]]'],
    "nested too deep": [
        "[" * 100 + "]" * 100,
        "[" * 30_000 + "]" * 30_000,
        '{"a":' * 5000 + "1" + "}" * 5000,
        "[" * 60_000,
    ],
    "no JSON number": ["01", "+1", ".5", "5.", "0x10", "1_000"],
    "no JSON word": ["True", "undefined", "'x'"],
    "no JSON text": ['"\n"', '"x'],
    "no value": ["1,", ""],
}
NO_OBJECT: dict[str, list[bytes]] = {
    "nothing": [b"", b" "],
    "another encoding": [b"\xff\xfe{\x00}\x00", '{"macro": true}'.encode("utf-16"), b"\xef\xbb\xbf{}"],
    "invalid UTF-8": [b'{"reason": "\xff"}', b'{"reason": "\xc0\x80"}', b'{"reason": "\xed\xa0\x80"}'],
    "NUL": [b"\x00"],
    "more than an object": [b"{}{}", b"{} x", b"// comment\n{}"],
    "a value that is no object": [b"null", b"true", b"1", b'"text"', b"[]", b'[{"macro": true}]'],
    "a form": [b"a=1&b=2"],
    "compressed": [b"\x1f\x8b\x08\x00"],
}


class TestNothingAmbiguousIsRead:
    @ROUTES
    def test_whatever_stands_in_the_body(
        self, admin: Api, desk: Desk, record: Record, route: tuple[str, str]
    ) -> None:
        record.new()
        before = desk.sql("SELECT * FROM risk_configs")
        for value in values_for(route, AMBIGUOUS):
            with trying(value):
                assert_problem(send(admin, *route, BODIES[route] % value), 400, "malformed_json")
                assert desk.sql("SELECT * FROM risk_configs") == before
                assert desk.sql("SELECT count(*) FROM symbol_lockouts") == [(0,)]
                assert record.new() == []

    @ROUTES
    def test_what_is_no_json_object_in_utf_8(self, admin: Api, route: tuple[str, str]) -> None:
        for raw in values_for(route, NO_OBJECT):
            with trying(raw):
                assert_problem(send(admin, *route, raw), 400, "malformed_json")

    def test_a_key_that_is_given_twice_is_named(self, operator: Api) -> None:
        raw = '{"auto_approve_paper": true, "auto_approve_paper": false}'
        assert (
            "auto_approve_paper" in assert_problem(send(operator, "PUT", "/approval-config", raw), 400)["detail"]
        )

    def test_a_key_that_is_given_twice_with_equal_values_is_refused_too(self, operator: Api) -> None:
        raw = '{"macro": false, "macro": false}'
        assert_problem(send(operator, "PUT", "/signal-layers", raw), 400, "malformed_json")

    def test_the_message_about_a_huge_key_is_short(self, operator: Api) -> None:
        key = "k" * 30_000
        answer = send(operator, "PUT", "/signal-layers", f'{{"{key}": 1, "{key}": 2}}')
        assert len(assert_problem(answer, 400)["detail"]) < 300


UNKNOWN_KEYS: dict[str, list[str]] = {
    "another key": ["bogus"],
    "blank": ["", " "],
    "nearly a key": ["Macro", "macro "],
    "a name of Python's": ["__class__", "leaving"],
    "a name of the form's": ["data", "errors", "body", "csrf_token"],
    "not ASCII": ["é", "\u202e"],
}


class TestUnknownKeys:
    @ROUTES
    def test_are_refused_by_name(self, admin: Api, desk: Desk, route: tuple[str, str]) -> None:
        good = {"PUT /signal-layers": "true", "PUT /approval-config": "5"}.get(" ".join(route), '"x"')
        for key in values_for(route, UNKNOWN_KEYS):
            with trying(key):
                body = json.loads(BODIES[route] % good) | {key: True}
                assert_problem(send(admin, *route, json.dumps(body)), 422, "invalid", key)
                assert desk.sql("SELECT version FROM risk_configs") == [(1,)]

    def test_every_one_of_them_is_named(self, operator: Api) -> None:
        answer = operator.post("/lockouts", {"a": 1, "b": 2, "reason": ""})
        assert_problem(answer, 422, "invalid", "a", "b", "ticker", "reason", "duration_minutes")

    def test_the_name_of_the_field_in_python_is_none(self, operator: Api) -> None:
        """`from` is a word of Python's; the form's attribute for it has another name."""
        body = {"trading_mode": "paper", "leaving": "disabled", "reason": "x"}
        assert "leaving" in assert_problem(operator.put("/mode", body), 422)["errors"]


WRONG = {
    "boolean": ["true", "false", "no", "", 0, 1, 1.0, None, [], [True], {}, {"value": True}],
    "integer": ["60", " 60 ", "6_0", "٦٠", "", True, False, 1.9, 60.9, None, [], [60, 61], {}, "0x3c", "1e2"],
    "string": [1, 0, True, False, 1.5, None, [], ["AAPL"], {}, {"ticker": "AAPL"}],
    "object": [1, True, None, "{}", [], [{}], 1.5, ""],
}
FIELDS = {
    ("PUT", "/approval-config", "auto_approve_paper"): "boolean",
    ("PUT", "/approval-config", "require_approval_for_live"): "boolean",
    ("PUT", "/approval-config", "approval_timeout_minutes"): "integer",
    ("PUT", "/signal-layers", "macro"): "boolean",
    ("PUT", "/signal-layers", "competitive"): "boolean",
    ("PUT", "/mode", "trading_mode"): "string",
    ("PUT", "/mode", "from"): "string",
    ("PUT", "/mode", "reason"): "string",
    ("PUT", "/mode", "cancel_open_orders"): "boolean",
    ("PUT", "/config", "config"): "object",
    ("POST", "/lockouts", "ticker"): "string",
    ("POST", "/lockouts", "reason"): "string",
    ("POST", "/lockouts", "duration_minutes"): "integer",
    ("POST", "/lockouts", "lockout_type"): "string",
}
REST: dict[str, Any] = {
    "/mode": {"trading_mode": "live", "from": "paper", "reason": "x"},
    "/lockouts": LOCKOUT,
    "/config": {},
}


def of_each_type(values: list[Any]) -> list[Any]:
    """The first value of each type of JSON."""
    return list({type(value): value for value in reversed(values)}.values())


def wrong_values(field: tuple[str, str, str]) -> list[Any]:
    """All wrong values for the first field of its kind, and for the others one of each type."""
    kind = FIELDS[field]
    is_first = field == next(each for each in FIELDS if FIELDS[each] == kind)
    return WRONG[kind] if is_first else of_each_type(WRONG[kind])


class TestExactTypes:
    @pytest.mark.parametrize("field", FIELDS, ids=" ".join)
    def test_a_value_of_another_type_is_refused(self, admin: Api, desk: Desk, field: tuple[str, str, str]) -> None:
        method, path, name = field
        for value in wrong_values(field):
            with trying(value):
                body = REST.get(path, {}) | {name: value}
                answer = admin(method, path, body, headers={"If-Match": "*"})
                assert_problem(answer, 422, "invalid", name)
                assert desk.sql("SELECT version, trading_mode FROM risk_configs") == [(1, "paper")]
                assert desk.sql("SELECT count(*) FROM symbol_lockouts") == [(0,)]

    @pytest.mark.parametrize("number", ["60.0", "6e1", "60.00", "600e-1", "6E+1", "-0.0"])
    def test_an_integer_is_written_as_one(self, operator: Api, number: str) -> None:
        """JSON Schema takes 60.0 for an integer. The desk does not, and its API document says so in words."""
        raw = f'{{"approval_timeout_minutes": {number}}}'
        assert_problem(send(operator, "PUT", "/approval-config", raw), 422, "invalid", "approval_timeout_minutes")

    def test_a_missing_boolean_is_left_as_it_is_and_never_false(self, operator: Api) -> None:
        assert operator.put("/signal-layers", {"macro": False}).json == {"macro": False, "competitive": True}
        assert operator.put("/signal-layers", {"competitive": False}).json == {
            "macro": False,
            "competitive": False,
        }

    @pytest.mark.parametrize("path", ["/approval-config", "/signal-layers"])
    def test_an_empty_object_says_nothing_to_change(self, operator: Api, path: str) -> None:
        assert_problem(operator.put(path, {}), 422, "invalid", "body")

    @pytest.mark.parametrize("name", ["from", "reason"])
    def test_null_may_stand_where_a_value_may_be_absent(self, operator: Api, name: str) -> None:
        body = {"trading_mode": "disabled", name: None}
        assert operator.put("/mode", body).json == {"trading_mode": "disabled", "ignored": {}}

    @pytest.mark.parametrize("name", ["from", "reason"])
    def test_and_is_the_same_as_absent_where_the_value_is_needed(self, operator: Api, name: str) -> None:
        body = {"trading_mode": "live", "from": "paper", "reason": "x"} | {name: None}
        assert_problem(operator.put("/mode", body), 422, "invalid", name)


OTHER_TYPES: dict[str, list[str]] = {
    "none": [""],
    "text": ["text/plain", "text/json"],
    "a form": ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x"],
    "another JSON": ["application/json-patch+json", "application/problem+json", "application/jsonp"],
    "no media type": ["json", "*/*"],
    "two": ["application/xml, application/json"],
}


class TestContentType:
    @ROUTES
    def test_anything_but_json_is_refused(self, admin: Api, route: tuple[str, str]) -> None:
        good = {"PUT /signal-layers": "true", "PUT /approval-config": "5"}.get(" ".join(route), '"x"')
        for kind in values_for(route, OTHER_TYPES):
            with trying(kind):
                answer = send(admin, *route, BODIES[route] % good, **{"Content-Type": kind})
                assert_problem(answer, 415, "unsupported_media_type")

    @pytest.mark.parametrize(
        "kind", ["application/json", "application/json; charset=utf-8", "Application/JSON", "application/json;v=1"]
    )
    def test_json_is_json_however_it_is_spelt(self, operator: Api, kind: str) -> None:
        answer = send(operator, "PUT", "/signal-layers", '{"macro": false}', **{"Content-Type": kind})
        assert answer.status_code == 200

    def test_a_form_post_is_not_read_as_json(self, operator: Api) -> None:
        answer = operator("PUT", "/signal-layers", data={"macro": "false"})
        assert_problem(answer, 415, "unsupported_media_type")


class TestSize:
    def test_a_body_over_one_mebibyte_is_refused(self, admin: Api) -> None:
        raw = json.dumps({"config": {"note": "x" * 1024 * 1024}})
        assert_problem(send(admin, "PUT", "/config", raw), 413, "body_too_large")

    def test_a_body_just_below_is_read(self, admin: Api) -> None:
        note = "x" * (1024 * 1024 - 100)
        assert send(admin, "PUT", "/config", json.dumps({"config": {"note": note}})).json["config"]["note"] == note

    def test_a_hundred_thousand_keys_are_read_in_good_time(self, admin: Api) -> None:
        raw = json.dumps({"config": {str(number): 0 for number in range(70_000)}})
        assert send(admin, "PUT", "/config", raw).status_code == 200

    def test_thousands_of_unknown_keys_are_refused(self, operator: Api) -> None:
        raw = json.dumps({str(number): 0 for number in range(6_000)})
        assert send(operator, "PUT", "/signal-layers", raw).status_code == 422


numbers = st.one_of(
    st.integers(-(10**300), 10**300).map(str),
    st.decimals(allow_nan=False, allow_infinity=False).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.from_regex(r"-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?", fullmatch=True),
)


class TestNumbersSurvive:
    @given(numbers)
    @example("1e400")
    @example("1e-400")
    @example("1." + "7" * 390 + "e-300")
    @example("-" + "9" * 399)
    @settings(
        max_examples=100,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
        derandomize=True,
    )
    def test_what_can_be_stored_can_be_read_and_stored_again(self, admin: Api, number: str) -> None:
        """A configuration that was read can be put back as it is: no number grows beyond what is accepted."""
        raw = f'{{"config": {{"n": {number}}}}}'
        stored = send(admin, "PUT", "/config", raw)
        if stored.status_code == 400:
            return
        read = strict_json.loads(stored.data)["config"]["n"]
        assert read == strict_json.loads(number)
        again = send(admin, "PUT", "/config", strict_json.dumps({"config": {"n": read}}))
        assert again.status_code == 200
        assert again.json["version"] == stored.json["version"]

    @pytest.mark.parametrize(
        "number", ["1e308", "5e-324", "1.7976931348623157e308", "2.2250738585072014e-308", "1e-7"]
    )
    def test_every_double_is_accepted(self, admin: Api, number: str) -> None:
        stored = send(admin, "PUT", "/config", f'{{"config": {{"n": {number}}}}}')
        assert stored.status_code == 200
        assert float(stored.json["config"]["n"]) == float(number)

    @pytest.mark.parametrize(
        "number", ["0.10", "1.50", "0.00", "100000000000000000000.000000000000000001", "-0.0"]
    )
    def test_digits_stay_as_they_were_written(self, admin: Api, number: str) -> None:
        stored = send(admin, "PUT", "/config", f'{{"config":{{"n":{number}}}}}')
        assert f'"n":{number.lstrip("-") if float(number) == 0 else number}}}' in stored.text
