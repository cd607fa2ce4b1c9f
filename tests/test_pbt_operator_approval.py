"""The bug that Countersign began with, and what must hold for ever (docs/APPROVAL.md tells the story).

The file runs alone, on a machine where nothing is started: the fixtures bring the database up.
"""

from __future__ import annotations

import json
from copy import deepcopy
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from app.domain.risk_config import PortfolioRiskConfig, TradingMode, requires_approval
from app.lib import strict_json
from tests.conftest import Api
from tests.serving import Desk

pure = settings(max_examples=200, deadline=None)
# The desk is reset inside each example, so the fixtures may well outlive one.
stored = settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

# Stored configurations

SECTIONS = ("operator_approval", "signal_layers", "position_limits", "order_rate")

text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
numbers = st.one_of(
    st.integers(-(10**30), 10**30),
    st.decimals(allow_nan=False, allow_infinity=False, places=9, min_value=-(10**15), max_value=10**15),
)
any_json = st.recursive(
    st.none() | st.booleans() | numbers | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=8,
)
limits = st.none() | st.decimals(0, 10**12, places=4) | st.integers(0, 10**12) | st.just("1000.50")

approval_values = {
    "auto_approve_paper": st.booleans(),
    "require_approval_for_live": st.booleans(),
    "approval_timeout_minutes": st.integers(1, 10_080),
}


def with_unknown_keys(known: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Any part of the known keys, and keys that mean nothing here beside them."""
    unknown = st.dictionaries(text.filter(lambda key: key not in known), any_json, max_size=2)
    return st.builds(lambda mine, theirs: theirs | mine, st.fixed_dictionaries({}, optional=known), unknown)


valid_configs = st.builds(
    lambda sections, sector, others: others | sector | sections,
    st.fixed_dictionaries(
        {},
        optional={
            "operator_approval": with_unknown_keys(approval_values),
            "signal_layers": with_unknown_keys({"macro": st.booleans(), "competitive": st.booleans()}),
            "position_limits": with_unknown_keys(
                dict.fromkeys(("max_order_quantity", "max_order_value", "price_collar_pct"), limits)
            ),
            "order_rate": st.fixed_dictionaries(
                {"max_orders": st.integers(0, 1000), "per_seconds": st.integers(1, 3600)}
            ),
        },
    ),
    st.fixed_dictionaries({}, optional={"sector_exposure": st.dictionaries(text, any_json, max_size=3)}),
    st.dictionaries(text.filter(lambda key: key not in SECTIONS), any_json, max_size=3),
)
changes = st.fixed_dictionaries({}, optional=approval_values).filter(bool)
modes = st.sampled_from(TradingMode)


def config(**approval: Any) -> PortfolioRiskConfig:
    return PortfolioRiskConfig.from_db_json({"operator_approval": approval})


# The desk, on a real database


def store(desk: Desk, raw: Any) -> None:
    desk.sql("UPDATE risk_configs SET config = %s::jsonb WHERE is_active", strict_json.dumps(raw))


def what_is_stored(desk: Desk) -> dict[str, Any]:
    [(found,)] = desk.sql("SELECT config::text FROM risk_configs WHERE is_active")
    return json.loads(found, parse_float=Decimal)


@pytest.fixture(scope="module")
def admin_client(app: Any, shared_desk: Desk) -> Api:
    shared_desk.reset()
    return Api(app.test_client(), shared_desk.add_token("approval-admin", "admin"))


# Bug condition: paper orders that should wait for a person did not


class TestBugCondition:
    @pure
    @given(valid_configs)
    def test_every_config_without_auto_approval_makes_paper_orders_wait(self, raw: dict[str, Any]) -> None:
        raw = deepcopy(raw)
        raw.setdefault("operator_approval", {})["auto_approve_paper"] = False
        assert requires_approval(PortfolioRiskConfig.from_db_json(raw), TradingMode.PAPER) is True

    def test_an_empty_stored_config_always_auto_approves(self) -> None:
        """The root cause, kept as a documented fact: `{}` was stored, and nothing could set it otherwise."""
        read = PortfolioRiskConfig.from_db_json({})
        assert read.operator_approval.auto_approve_paper is True
        assert requires_approval(read, TradingMode.PAPER) is False

    @pure
    @given(valid_configs)
    def test_so_does_every_config_that_does_not_say_otherwise(self, raw: dict[str, Any]) -> None:
        raw = deepcopy(raw)
        raw.get("operator_approval", {}).pop("auto_approve_paper", None)
        assert PortfolioRiskConfig.from_db_json(raw).operator_approval.auto_approve_paper is True

    @stored
    @given(raw=valid_configs, wanted=st.booleans())
    def test_what_is_put_is_what_holds(
        self, admin_client: Api, shared_desk: Desk, raw: dict[str, Any], wanted: bool
    ) -> None:
        store(shared_desk, raw)
        put = admin_client.put("/approval-config", {"auto_approve_paper": wanted})
        assert put.status_code == 200, put.text
        assert admin_client.get("/approval-config").json["auto_approve_paper"] is wanted
        assert put.json == admin_client.get("/approval-config").json
        read = PortfolioRiskConfig.from_db_json(what_is_stored(shared_desk))
        assert read.operator_approval.auto_approve_paper is wanted
        assert requires_approval(read, TradingMode.PAPER) is not wanted

    @stored
    @given(raw=valid_configs, change=changes)
    def test_so_it_is_with_every_approval_setting(
        self, admin_client: Api, shared_desk: Desk, raw: dict[str, Any], change: dict[str, Any]
    ) -> None:
        store(shared_desk, raw)
        before = admin_client.get("/approval-config").json
        assert admin_client.put("/approval-config", change).status_code == 200
        after = admin_client.get("/approval-config").json
        assert after == before | change
        read = PortfolioRiskConfig.from_db_json(what_is_stored(shared_desk)).operator_approval
        assert {key: getattr(read, key) for key in after} == after


# Preservation: everything that was right stays as it was


class TestPreservation:
    @pure
    @given(auto=st.booleans(), require=st.booleans())
    def test_live_follows_its_own_setting(self, auto: bool, require: bool) -> None:
        read = config(auto_approve_paper=auto, require_approval_for_live=require)
        assert requires_approval(read, TradingMode.LIVE) is require

    @pure
    @given(valid_configs)
    def test_disabled_needs_no_approval_ever(self, raw: dict[str, Any]) -> None:
        assert requires_approval(PortfolioRiskConfig.from_db_json(raw), TradingMode.DISABLED) is False

    @pure
    @given(valid_configs)
    def test_paper_with_auto_approval_never_waits(self, raw: dict[str, Any]) -> None:
        raw = deepcopy(raw)
        raw.setdefault("operator_approval", {})["auto_approve_paper"] = True
        assert requires_approval(PortfolioRiskConfig.from_db_json(raw), TradingMode.PAPER) is False

    @pure
    @given(mode=modes, auto=st.booleans(), require=st.booleans())
    def test_outside_the_bug_condition_the_table_holds(self, mode: TradingMode, auto: bool, require: bool) -> None:
        assume(not (mode is TradingMode.PAPER and not auto))
        read = config(auto_approve_paper=auto, require_approval_for_live=require)
        table = {
            (TradingMode.LIVE, True): True,
            (TradingMode.LIVE, False): False,
            (TradingMode.PAPER, True): False,
            (TradingMode.PAPER, False): False,
            (TradingMode.DISABLED, True): False,
            (TradingMode.DISABLED, False): False,
        }
        assert requires_approval(read, mode) is table[mode, require]

    @stored
    @given(raw=valid_configs, change=changes)
    def test_a_put_leaves_every_other_key_as_it_was(
        self, admin_client: Api, shared_desk: Desk, raw: dict[str, Any], change: dict[str, Any]
    ) -> None:
        store(shared_desk, raw)
        before = what_is_stored(shared_desk)
        assert admin_client.put("/approval-config", change).status_code == 200
        after = what_is_stored(shared_desk)

        theirs_before, theirs_after = before.pop("operator_approval", {}), after.pop("operator_approval", {})
        assert after == before
        untouched = {key: value for key, value in theirs_before.items() if key not in change}
        assert {key: value for key, value in theirs_after.items() if key not in change} == untouched

    @stored
    @given(broken=any_json, change=changes)
    def test_sections_that_cannot_be_read_are_left_alone_too(
        self, admin_client: Api, shared_desk: Desk, broken: Any, change: dict[str, Any]
    ) -> None:
        store(shared_desk, {"position_limits": broken, "order_rate": broken, "sector_exposure": broken})
        before = what_is_stored(shared_desk)
        assert admin_client.put("/approval-config", change).status_code == 200
        after = what_is_stored(shared_desk)
        after.pop("operator_approval", None)
        assert after == before

    @settings(stored, max_examples=100)
    @given(
        kinds=st.lists(st.sampled_from(["news_shock", "cooldown"]), min_size=1, max_size=3),
        acts=st.lists(st.sampled_from(["create", "extend", "remove"]), min_size=1, max_size=4),
        ticker=st.sampled_from(["AAPL", "BRK.B", "*"]),
    )
    def test_manual_lockouts_leave_those_of_the_system_alone(
        self, admin_client: Api, shared_desk: Desk, kinds: list[str], acts: list[str], ticker: str
    ) -> None:
        shared_desk.sql("DELETE FROM symbol_lockouts")
        for kind in kinds:
            shared_desk.sql(
                "INSERT INTO symbol_lockouts (ticker, reason, lockout_type, created_by, expires_at)"
                " VALUES (%s, 'made by the system', %s, 'system', now() + interval '1 hour')",
                ticker,
                kind,
            )
        system = "SELECT * FROM symbol_lockouts WHERE lockout_type <> 'manual' ORDER BY id"
        before = shared_desk.sql(system)

        mine: list[str] = []
        for act in acts:
            if act == "create" or not mine:
                body = {"ticker": ticker, "reason": "by hand", "duration_minutes": 60}
                made = admin_client.post("/lockouts", body)
                assert made.status_code == 201
                mine.append(made.json["id"])
            elif act == "extend":
                assert admin_client.patch(f"/lockouts/{mine[-1]}", {"extend_minutes": 60}).status_code == 200
            else:
                assert admin_client.delete(f"/lockouts/{mine.pop()}").status_code == 204

        assert shared_desk.sql(system) == before
        [(manual,)] = shared_desk.sql("SELECT count(*) FROM symbol_lockouts WHERE lockout_type = 'manual'")
        assert manual == len(mine)
