"""The risk configuration: any JSON is read completely, or refused with the key at fault. Nothing in between."""

from __future__ import annotations

from copy import deepcopy
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.domain.instruments import Multipliers
from app.domain.risk_config import (
    ConfigInvalid,
    OperatorApproval,
    OrderRate,
    PortfolioRiskConfig,
    PositionLimits,
    SignalLayers,
    TradingMode,
    requires_approval,
)

KNOWN = {
    "operator_approval": ("auto_approve_paper", "require_approval_for_live", "approval_timeout_minutes"),
    "signal_layers": ("macro", "competitive"),
    "position_limits": ("max_order_quantity", "max_order_value", "price_collar_pct"),
    "order_rate": ("max_orders", "per_seconds"),
    "instruments": ("multipliers",),
}

# Numbers as any JSON reader may give them, the hostile ones too.
numbers = st.one_of(
    st.integers(),
    st.integers(-(10**500), 10**500),
    st.floats(),
    st.decimals(),
    st.sampled_from([Decimal("0e-999999999"), Decimal("1e999999999"), Decimal("sNaN"), -0.0, 10**400]),
)


def json(numbers: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.recursive(
        st.none() | st.booleans() | numbers | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
        max_leaves=10,
    )


any_json = json(numbers)
# Without NaN, which equals nothing and so can be compared with nothing.
finite = st.integers() | st.floats(allow_nan=False) | st.decimals(allow_nan=False)
unknown = st.dictionaries(st.text(min_size=1, max_size=8), json(finite), max_size=2)

money = st.one_of(
    st.none(),
    st.decimals(0, 10**18 - 1, places=9, allow_nan=False).map(str),
    st.decimals(0, 10**9, places=4, allow_nan=False),
    st.integers(0, 10**18 - 1),
    st.floats(0, 10**6).map(lambda number: round(number, 3)),
    st.sampled_from(["0", "0.00", "-0", "1e3", "1.50", "0e-999999999", "0E+40", "000012"]),
)
valid_sections: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "operator_approval": {
        "auto_approve_paper": st.booleans(),
        "require_approval_for_live": st.booleans(),
        "approval_timeout_minutes": st.integers(1, 10_080),
    },
    "signal_layers": {"macro": st.booleans(), "competitive": st.booleans()},
    "position_limits": dict.fromkeys(KNOWN["position_limits"], money),
    "instruments": {
        "multipliers": st.dictionaries(
            st.sampled_from(["ES", "ABEV3", "AAPL261218C00200000", "M&M.NS"]),
            st.decimals("0.000000001", 10**9, places=9).map(str) | st.integers(1, 10**18 - 1),
        )
    },
}


def section(name: str) -> st.SearchStrategy[dict[str, Any]]:
    return st.builds(
        lambda theirs, mine: theirs | mine, unknown, st.fixed_dictionaries({}, optional=valid_sections[name])
    )


rates = st.builds(
    lambda theirs, mine: theirs | mine,
    unknown.map(lambda keys: {key: value for key, value in keys.items() if key not in KNOWN["order_rate"]}),
    st.sampled_from([{}, {"max_orders": None, "per_seconds": None}])
    | st.fixed_dictionaries({"max_orders": st.integers(0, 10**6), "per_seconds": st.integers(1, 86_400)}),
)
valid_configs = st.builds(
    lambda theirs, mine: theirs | mine,
    unknown,
    st.fixed_dictionaries({}, optional={name: section(name) for name in valid_sections} | {"order_rate": rates}),
)
# Anything at all in the places that are read.
suspect_configs = st.fixed_dictionaries(
    {},
    optional={
        name: any_json | st.fixed_dictionaries({}, optional=dict.fromkeys(keys, any_json))
        for name, keys in KNOWN.items()
    }
    | {"sector_exposure": any_json},
)


def nested(depth: int) -> Any:
    value: Any = 1
    for level in range(depth):
        value = [value] if level % 2 else {"deeper": value}
    return value


class TestReadingIsTotal:
    @settings(max_examples=300, deadline=None)
    @given(st.one_of(any_json, suspect_configs))
    @example({"position_limits": {"max_order_value": "0e-999999999"}})
    @example({"position_limits": {"max_order_value": "9" * 5000}})
    @example({"operator_approval": {"approval_timeout_minutes": 10**5000}})
    @example({"operator_approval": nested(5000)})
    @example({"position_limits": {"sector": nested(5000)}})
    @example({"anything": nested(5000)})
    @example(nested(5000))
    def test_any_json_is_read_or_refused_by_the_name_of_a_key(self, raw: Any) -> None:
        refusal = None
        try:
            read = PortfolioRiskConfig.from_db_json(raw)
        except ConfigInvalid as error:
            refusal = error
        if refusal is None:
            assert isinstance(raw, dict)
            # What was read can be used: nothing in it blows up later.
            for mode in TradingMode:
                assert requires_approval(read, mode) in (True, False)
            assert PortfolioRiskConfig.from_db_json(read.to_db_json()) == read
            return
        assert str(refusal) == f"{refusal.key or 'the configuration'} {refusal.problem}"
        assert 0 < len(refusal.problem) < 250, "a line for a person, not the value itself"
        if refusal.key == "":
            assert not isinstance(raw, dict)
        else:
            assert any(refusal.key == key or refusal.key.startswith(f"{key}.") for key in raw)

    @pytest.mark.parametrize("raw", [None, True, 0, 1.5, "", "{}", [], [{}], ()])
    def test_what_is_no_object_is_refused_as_a_whole(self, raw: Any) -> None:
        with pytest.raises(ConfigInvalid, match=r"^the configuration must be an object") as caught:
            PortfolioRiskConfig.from_db_json(raw)
        assert caught.value.key == ""

    @pytest.mark.parametrize("name", KNOWN)
    @pytest.mark.parametrize("raw", [None, True, 0, "", [], [1]])
    def test_a_known_section_that_is_no_object_is_refused_by_name(self, name: str, raw: Any) -> None:
        with pytest.raises(ConfigInvalid) as caught:
            PortfolioRiskConfig.from_db_json({name: raw})
        assert caught.value.key == name

    @pytest.mark.parametrize(
        ("name", "key", "wrong"),
        [
            ("operator_approval", "auto_approve_paper", ["true", "false", 0, 1, None, [], {}, 0.0, Decimal(1)]),
            ("operator_approval", "require_approval_for_live", ["", "no", 1, None, [True]]),
            (
                "operator_approval",
                "approval_timeout_minutes",
                [0, -1, 10_081, 10**400, "30", 30.0, Decimal(30), True, None, float("nan"), []],
            ),
            ("signal_layers", "macro", ["on", 1, None]),
            ("signal_layers", "competitive", ["off", 0, None]),
            (
                "position_limits",
                "max_order_quantity",
                [
                    -1,
                    "-0.1",
                    "",
                    " 1",
                    "1 ",
                    "1_000",
                    "١",
                    "１",
                    "0x10",
                    "NaN",
                    "Infinity",
                    "-Infinity",
                    "sNaN",
                    True,
                    False,
                    [],
                    {},
                    float("nan"),
                    float("inf"),
                    Decimal("NaN"),
                    Decimal("Infinity"),
                ],
            ),
            (
                "position_limits",
                "max_order_value",
                [
                    10**18,
                    "1000000000000000000",
                    "1e18",
                    "0.0000000001",
                    "1e-10",
                    Decimal("1e-10"),
                    1e-10,
                    "1" * 401,
                    10**5000,
                    "1e999999999",
                    Decimal("1e999999999"),
                    "ten",
                    "1,000",
                    "+-1",
                    ".",
                ],
            ),
            ("position_limits", "price_collar_pct", ["5%", -5]),
            ("order_rate", "max_orders", [-1, 1_000_001, "5", 5.0, True, []]),
            ("order_rate", "per_seconds", [0, 86_401, "60", 60.0, False]),
            ("instruments", "multipliers", [None, [], "ES", 50, True]),
        ],
    )
    def test_a_value_that_cannot_be_read_is_refused_by_its_key(
        self, name: str, key: str, wrong: list[Any]
    ) -> None:
        rest = {"max_orders": 5, "per_seconds": 60} if name == "order_rate" else {}
        for value in wrong:
            with pytest.raises(ConfigInvalid) as caught:
                PortfolioRiskConfig.from_db_json({name: rest | {key: value}})
            assert caught.value.key == f"{name}.{key}", value

    @pytest.mark.parametrize(
        ("ticker", "size"),
        [
            *(("ES", size) for size in (0, "0", -1, "-50", None, True, [], "fifty", "1e-10", 10**18, "NaN")),
            *((ticker, "50") for ticker in ("es", " ES", "", "*", "ß", "E S", "A" * 33, "AAPL  261218C00200000")),
        ],
    )
    def test_a_contract_size_that_cannot_be_read_is_refused_by_its_ticker(self, ticker: str, size: Any) -> None:
        with pytest.raises(ConfigInvalid) as caught:
            PortfolioRiskConfig.from_db_json({"instruments": {"multipliers": {"NQ": 20, ticker: size}}})
        assert caught.value.key == f"instruments.multipliers.{ticker}"

    @pytest.mark.parametrize("given_half", ["max_orders", "per_seconds"])
    @pytest.mark.parametrize("other", [{}, None])
    def test_half_a_rate_is_refused_by_the_missing_half(self, given_half: str, other: Any) -> None:
        [missing] = set(KNOWN["order_rate"]) - {given_half}
        raw = {given_half: 10} | ({missing: None} if other is None else {})
        with pytest.raises(ConfigInvalid, match="is missing") as caught:
            PortfolioRiskConfig.from_db_json({"order_rate": raw})
        assert caught.value.key == f"order_rate.{missing}"


class TestDefaults:
    def test_an_empty_configuration_has_them_all(self) -> None:
        read = PortfolioRiskConfig.from_db_json({})
        assert read.operator_approval == OperatorApproval(True, True, 30)
        assert read.signal_layers == SignalLayers(True, True)
        assert read.position_limits == PositionLimits(None, None, None)
        assert read.order_rate == OrderRate(None, None)
        assert read == PortfolioRiskConfig()
        assert read.unknown == {}

    @settings(max_examples=100)
    @given(valid_configs)
    def test_only_a_missing_key_has_one(self, raw: dict[str, Any]) -> None:
        read = PortfolioRiskConfig.from_db_json(raw)
        empty = PortfolioRiskConfig()
        for name, keys in KNOWN.items():
            for key in keys:
                value = getattr(getattr(read, name), key)
                if key not in raw.get(name, {}):
                    assert value == getattr(getattr(empty, name), key)
                elif isinstance(value, Decimal):
                    assert value == Decimal(str(raw[name][key]))
                elif isinstance(value, Multipliers):
                    assert value == {ticker: Decimal(str(size)) for ticker, size in raw[name][key].items()}
                else:
                    assert value == raw[name][key]
                    assert type(value) is type(raw[name][key])


class TestRoundTrip:
    @settings(max_examples=300, deadline=None)
    @given(valid_configs)
    def test_what_is_written_reads_as_the_same_configuration(self, raw: dict[str, Any]) -> None:
        before = deepcopy(raw)
        read = PortfolioRiskConfig.from_db_json(raw)
        written = read.to_db_json()
        assert raw == before
        assert PortfolioRiskConfig.from_db_json(written) == read
        assert PortfolioRiskConfig.from_db_json(written).to_db_json() == written

    @settings(max_examples=200)
    @given(valid_configs)
    def test_unknown_keys_survive_it_at_every_level(self, raw: dict[str, Any]) -> None:
        written = PortfolioRiskConfig.from_db_json(raw).to_db_json()
        for key, value in raw.items():
            if key not in KNOWN:
                assert written[key] == value
                continue
            for inner, theirs in value.items():
                if inner not in KNOWN[key]:
                    assert written[key][inner] == theirs
        assert set(written) == set(raw) | set(KNOWN)

    def test_limits_are_written_as_strings_that_keep_every_digit(self) -> None:
        raw = {"position_limits": {"max_order_value": "999999999999999999.999999999", "price_collar_pct": "1e2"}}
        written = PortfolioRiskConfig.from_db_json(raw).to_db_json()["position_limits"]
        assert written == {
            "max_order_quantity": None,
            "max_order_value": "999999999999999999.999999999",
            "price_collar_pct": "100",
        }

    def test_contract_sizes_are_written_as_strings(self) -> None:
        raw = {"instruments": {"multipliers": {"ES": 50, "ABEV3": Decimal("1.0"), "NQ": "1e1"}}}
        read = PortfolioRiskConfig.from_db_json(raw)
        assert read.to_db_json()["instruments"] == {"multipliers": {"ES": "50", "ABEV3": "1.0", "NQ": "10"}}
        assert hash(read) == hash(PortfolioRiskConfig.from_db_json(raw))

    def test_a_zero_of_a_billion_digits_is_written_as_zero(self) -> None:
        raw = {"position_limits": {"max_order_value": "0e-999999999"}}
        assert PortfolioRiskConfig.from_db_json(raw).to_db_json()["position_limits"]["max_order_value"] == "0"

    def test_nobody_elses_change_reaches_into_a_configuration(self) -> None:
        raw: dict[str, Any] = {"sector_exposure": {"tech": [1]}, "signal_layers": {"note": [1]}}
        read = PortfolioRiskConfig.from_db_json(raw)
        read.to_db_json()["sector_exposure"]["tech"].append(2)
        raw["sector_exposure"]["tech"].append(3)
        raw["signal_layers"]["note"].append(3)
        assert read.unknown == {"sector_exposure": {"tech": [1]}, "signal_layers": {"note": [1]}}

    def test_keys_that_mean_nothing_inside_a_known_section_are_named(self) -> None:
        raw = {"position_limits": {"max_order_valeu": 5}, "order_rate": {"z": 1}, "sector_exposure": {"x": 1}}
        read = PortfolioRiskConfig.from_db_json(raw)
        assert read.unknown_in_sections == ["order_rate.z", "position_limits.max_order_valeu"]


class TestRequiresApproval:
    @pytest.mark.parametrize(
        ("mode", "auto_approve_paper", "require_approval_for_live", "waits"),
        [
            ("live", True, True, True),
            ("live", True, False, False),
            ("live", False, True, True),
            ("live", False, False, False),
            ("paper", True, True, False),
            ("paper", True, False, False),
            ("paper", False, True, True),
            ("paper", False, False, True),
            ("disabled", True, True, False),
            ("disabled", True, False, False),
            ("disabled", False, True, False),
            ("disabled", False, False, False),
        ],
    )
    def test_the_table_of_the_contract(
        self, mode: str, auto_approve_paper: bool, require_approval_for_live: bool, waits: bool
    ) -> None:
        read = PortfolioRiskConfig.from_db_json(
            {
                "operator_approval": {
                    "auto_approve_paper": auto_approve_paper,
                    "require_approval_for_live": require_approval_for_live,
                }
            }
        )
        assert requires_approval(read, TradingMode(mode)) is waits
        assert requires_approval(read, mode) is waits  # type: ignore[arg-type]

    @settings(max_examples=100)
    @given(
        (st.none() | st.booleans() | st.integers() | st.text()).filter(lambda mode: mode not in list(TradingMode))
    )
    @example("LIVE")
    @example("paper ")
    @example(None)
    def test_a_mode_that_does_not_exist_raises_rather_than_reading_as_no(self, mode: Any) -> None:
        with pytest.raises(ValueError, match="is not a valid TradingMode"):
            requires_approval(PortfolioRiskConfig(), mode)
