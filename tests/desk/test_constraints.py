"""The database itself refuses what the forms refuse: raw SQL is no way round them."""

from __future__ import annotations

import json
from typing import Any

import psycopg
import pytest
from psycopg import errors

from app.web.forms.trading import LockoutForm
from tests.serving import Desk

LOCKOUT = {
    "ticker": "'AAPL'",
    "reason": "'earnings'",
    "lockout_type": "'manual'",
    "created_by": "'somebody'",
    "created_at": "now()",
    "expires_at": "now() + interval '1 hour'",
}
ACCOUNT = {"name": "'alice'", "role": "'viewer'"}
ORDER = {
    "account_id": "(SELECT id FROM accounts WHERE name = 'engine')",
    "engine": "'engine'",
    "client_order_id": "'n1'",
    "ticker": "'AAPL'",
    "side": "'buy'",
    "qty": "10",
    "type": "'market'",
    "time_in_force": "'day'",
    "trading_mode": "'paper'",
    "status": "'released'",
    "decided_at": "now()",
    "decided_by": "'system:gate'",
}
IN_AN_HOUR = "clock_timestamp() + interval '1 hour'"
WAITING = {"status": "'pending_approval'", "decided_at": "NULL", "decided_by": "NULL", "expires_at": IN_AN_HOUR}
BLOCKED = {"status": "'blocked'", "reasons": """'[{"code": "trading_disabled", "detail": "halted"}]'"""}
REJECTED = {"status": "'rejected'", "expires_at": IN_AN_HOUR, "decision_note": "'no'"}
EXPIRED = {
    "status": "'expired'",
    "created_at": "now() - interval '1 hour'",
    "expires_at": "now() - interval '1 minute'",
    "decided_at": "now() - interval '1 minute'",
}
SEAL = {"position": "1", "event_id": "1", "digest": "sha256('event')"}


def insert(desk: Desk, table: str, values: dict[str, str]) -> None:
    desk.sql(f"INSERT INTO {table} ({', '.join(values)}) VALUES ({', '.join(values.values())})")


def text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def test_the_good_rows_are_accepted(desk: Desk) -> None:
    insert(desk, "symbol_lockouts", LOCKOUT)
    insert(desk, "accounts", ACCOUNT)
    insert(desk, "audit_seals", SEAL)


@pytest.fixture
def engine(desk: Desk) -> None:
    insert(desk, "accounts", {"name": "'engine'", "role": "'engine'"})


TICKERS = [
    "",
    " ",
    "aapl",
    "AAPL ",
    " AAPL",
    ".A",
    "^",
    "=",
    "A B",
    "AAPL  261218C00200000",
    "**",
    "A*",
    "ß",
    "ＡＡ",
    "A\nB",
    "AAPL\n",
]
TICKERS += ["A" * 33, "*\n", "$A", "Á"]


@pytest.mark.parametrize("ticker", TICKERS)
def test_a_ticker_that_the_form_would_not_store_is_refused(desk: Desk, ticker: str) -> None:
    with pytest.raises(errors.CheckViolation):
        insert(desk, "symbol_lockouts", LOCKOUT | {"ticker": text(ticker)})
    form = LockoutForm.from_json({"ticker": ticker, "reason": "x", "duration_minutes": 1})
    assert not form.validate() or form.ticker.data != ticker


@pytest.mark.parametrize(
    "ticker",
    [
        *("A", "BRK.B", "BTC/USDT:USDT", "BTC_USDT", "0700.HK", "*", "A" * 32, "A..B", "^GSPC", "ES=F", "ES1!"),
        *("M&M.NS", "GOOGL1261218C00200000"),
    ],
)
def test_a_ticker_that_the_form_stores_is_accepted(desk: Desk, ticker: str) -> None:
    form = LockoutForm.from_json({"ticker": ticker, "reason": "x", "duration_minutes": 1})
    assert form.validate()
    assert form.ticker.data == ticker
    insert(desk, "symbol_lockouts", LOCKOUT | {"ticker": text(ticker)})


@pytest.mark.parametrize(
    ("wrong", "constraint"),
    [
        ({"reason": "''"}, "ck_symbol_lockouts_reason"),
        ({"reason": "'   '"}, "ck_symbol_lockouts_reason"),
        ({"reason": r"E'\t\n'"}, "ck_symbol_lockouts_reason"),
        ({"reason": "repeat('x', 501)"}, "ck_symbol_lockouts_reason"),
        ({"lockout_type": "'Manual'"}, "ck_symbol_lockouts_lockout_type"),
        ({"lockout_type": "'halt'"}, "ck_symbol_lockouts_lockout_type"),
        ({"lockout_type": "''"}, "ck_symbol_lockouts_lockout_type"),
        ({"expires_at": "now()"}, "ck_symbol_lockouts_expires_at"),
        ({"expires_at": "now() - interval '1 second'"}, "ck_symbol_lockouts_expires_at"),
        ({"expires_at": "'infinity'"}, "ck_symbol_lockouts_expires_at"),
        ({"expires_at": "'9999-01-01 00:00:00+00'"}, "ck_symbol_lockouts_expires_at"),
        ({"created_at": "'infinity'", "expires_at": "'infinity'"}, "ck_symbol_lockouts_expires_at"),
    ],
)
def test_a_bad_lockout_is_refused(desk: Desk, wrong: dict[str, str], constraint: str) -> None:
    with pytest.raises(errors.CheckViolation) as caught:
        insert(desk, "symbol_lockouts", LOCKOUT | wrong)
    assert caught.value.diag.constraint_name == constraint


@pytest.mark.parametrize("reason", ["x", "x" * 500, "é" * 500, "𝐀" * 500, "of two\nlines"])
def test_a_reason_is_counted_in_characters_as_the_form_does(desk: Desk, reason: str) -> None:
    assert LockoutForm.from_json({"ticker": "A", "reason": reason, "duration_minutes": 1}).validate()
    insert(desk, "symbol_lockouts", LOCKOUT | {"reason": text(reason)})
    if len(reason) == 500:
        with pytest.raises(errors.CheckViolation):
            insert(desk, "symbol_lockouts", LOCKOUT | {"reason": text(reason + reason[0])})


@pytest.mark.parametrize("column", ["ticker", "reason", "lockout_type", "created_by", "created_at", "expires_at"])
def test_nothing_in_a_lockout_may_be_missing(desk: Desk, column: str) -> None:
    with pytest.raises(errors.NotNullViolation):
        insert(desk, "symbol_lockouts", LOCKOUT | {column: "NULL"})


@pytest.mark.parametrize(
    ("wrong", "constraint"),
    [
        ({"role": "'root'"}, "ck_accounts_role"),
        ({"role": "'Admin'"}, "ck_accounts_role"),
        ({"role": "'engine'", "password_hash": "'x'"}, "ck_accounts_engine_has_no_password"),
        ({"name": "''"}, "ck_accounts_name"),
        ({"name": "' alice'"}, "ck_accounts_name"),
        ({"name": "'alice '"}, "ck_accounts_name"),
        ({"name": r"E'alice\n'"}, "ck_accounts_name"),
        ({"name": "'-alice'"}, "ck_accounts_name"),
        ({"name": "'álice'"}, "ck_accounts_name"),
        ({"name": "'alice:cli'"}, "ck_accounts_name"),
        ({"name": "repeat('a', 65)"}, "ck_accounts_name"),
    ],
)
def test_a_bad_account_is_refused(desk: Desk, wrong: dict[str, str], constraint: str) -> None:
    with pytest.raises(errors.CheckViolation) as caught:
        insert(desk, "accounts", ACCOUNT | wrong)
    assert caught.value.diag.constraint_name == constraint


def test_a_name_that_differs_in_case_alone_is_taken(desk: Desk) -> None:
    insert(desk, "accounts", ACCOUNT)
    with pytest.raises(errors.UniqueViolation):
        insert(desk, "accounts", ACCOUNT | {"name": "'ALICE'"})


def test_secrets_are_kept_as_hashes_of_the_right_length_only(desk: Desk) -> None:
    insert(desk, "accounts", ACCOUNT)
    [(account,)] = desk.sql("SELECT id::text FROM accounts")
    for table, key in (("tokens", "secret_hash"), ("web_sessions", "id_hash")):
        values = {"account_id": account, key: "'\\x6162'"} | ({"id": "'t'"} if table == "tokens" else {})
        with pytest.raises(errors.CheckViolation):
            insert(desk, table, values)
        with pytest.raises(errors.ForeignKeyViolation):
            insert(desk, table, values | {"account_id": "4711", key: "sha256('secret')"})
        insert(desk, table, values | {key: "sha256('secret')"})
    with pytest.raises(errors.ForeignKeyViolation):
        desk.sql("DELETE FROM accounts")


@pytest.mark.parametrize(
    "good",
    [
        {},
        {"qty": "NULL", "notional": "1000"},
        {"qty": "999999999999999999.999999999", "reference_price": "0.000000001"},
        {"type": "'limit'", "limit_price": "1"},
        {"type": "'stop'", "stop_price": "1", "time_in_force": "'opg'"},
        {"type": "'stop_limit'", "limit_price": "1", "stop_price": "1", "signal_layer": "'macro'"},
        {"client_order_id": "repeat('é', 128)"},
        WAITING,
        BLOCKED,
        BLOCKED | {"trading_mode": "'disabled'"},
        REJECTED,
        EXPIRED,
        {"status": "'canceled'", "expires_at": IN_AN_HOUR},
        {"trading_mode": "'live'", "expires_at": IN_AN_HOUR},
        {"strategy": "repeat('é', 200)", "rationale": "repeat('é', 4000)", "decision_note": "repeat('é', 500)"},
    ],
    ids=str,
)
@pytest.mark.usefixtures("engine")
def test_the_good_orders_are_accepted(desk: Desk, good: dict[str, str]) -> None:
    insert(desk, "orders", ORDER | good)


@pytest.mark.parametrize(
    ("wrong", "constraint"),
    [
        ({"client_order_id": "''"}, "client_order_id"),
        ({"client_order_id": "repeat('x', 129)"}, "client_order_id"),
        ({"ticker": "'*'"}, "ticker"),
        ({"ticker": "'aapl'"}, "ticker"),
        ({"ticker": "''"}, "ticker"),
        ({"ticker": r"E'AAPL\n'"}, "ticker"),
        ({"ticker": "repeat('A', 33)"}, "ticker"),
        ({"side": "'Buy'"}, "side"),
        ({"side": "'short'"}, "side"),
        ({"qty": "NULL"}, "qty_or_notional"),
        ({"notional": "1000"}, "qty_or_notional"),
        ({"qty": "0"}, "positive"),
        ({"qty": "-1"}, "positive"),
        ({"qty": "0.0000000001"}, "positive"),
        ({"qty": "NULL", "notional": "-0.01"}, "positive"),
        ({"reference_price": "0"}, "positive"),
        ({"type": "'limit'", "limit_price": "-1"}, "positive"),
        ({"type": "'stop'", "stop_price": "0"}, "positive"),
        ({"type": "'trailing_stop'"}, "type"),
        ({"type": "'limit'"}, "prices"),
        ({"limit_price": "1"}, "prices"),
        ({"stop_price": "1"}, "prices"),
        ({"type": "'stop'", "limit_price": "1"}, "prices"),
        ({"type": "'stop_limit'", "limit_price": "1"}, "prices"),
        ({"type": "'stop_limit'", "stop_price": "1"}, "prices"),
        ({"time_in_force": "'gtd'"}, "time_in_force"),
        ({"signal_layer": "'Macro'"}, "signal_layer"),
        ({"signal_layer": "''"}, "signal_layer"),
        ({"trading_mode": "'halted'"}, "trading_mode"),
        ({"status": "'sent'"}, "status"),
        ({"decided_at": "NULL", "decided_by": "NULL"}, "decided"),
        (WAITING | {"decided_at": "now()", "decided_by": "'x'"}, "decided"),
        ({"decided_by": "NULL"}, "decider"),
        (WAITING | {"decided_by": "'x'"}, "decider"),
        (WAITING | {"expires_at": "NULL"}, "deadline"),
        (WAITING | {"expires_at": "now() - interval '1 second'"}, "expires_at"),
        (WAITING | {"created_at": "now()", "expires_at": "now()"}, "expires_at"),
        (WAITING | {"expires_at": "'infinity'"}, "expires_at"),
        (WAITING | {"expires_at": "'-infinity'"}, "expires_at"),
        ({"trading_mode": "'disabled'"}, "released"),
        (EXPIRED | {"status": "'released'"}, "released"),
        (EXPIRED | {"status": "'released'", "decided_at": "now()"}, "released"),
        (EXPIRED | {"decided_at": "now()"}, "expired"),
        ({"status": "'expired'"}, "expired"),
        ({"status": "'blocked'"}, "reasons"),
        (BLOCKED | {"status": "'released'"}, "reasons"),
        (BLOCKED | WAITING, "reasons"),
        (BLOCKED | {"reasons": """'{"code": "trading_disabled"}'"""}, "reasons"),
        (BLOCKED | {"reasons": "'null'"}, "reasons"),
        (REJECTED | {"decision_note": "NULL"}, "rejected"),
        ({"strategy": "repeat('x', 201)"}, "words"),
        ({"rationale": "repeat('x', 4001)"}, "words"),
        (REJECTED | {"decision_note": "repeat('x', 501)"}, "words"),
    ],
    ids=str,
)
@pytest.mark.usefixtures("engine")
def test_a_bad_order_is_refused(desk: Desk, wrong: dict[str, str], constraint: str) -> None:
    with pytest.raises(errors.CheckViolation) as caught:
        insert(desk, "orders", ORDER | wrong)
    assert caught.value.diag.constraint_name == f"ck_orders_{constraint}"


@pytest.mark.parametrize("column", sorted({*ORDER, "reasons"} - {"qty", "decided_at", "decided_by"}))
@pytest.mark.usefixtures("engine")
def test_nothing_that_makes_an_order_may_be_missing(desk: Desk, column: str) -> None:
    with pytest.raises(errors.NotNullViolation):
        insert(desk, "orders", ORDER | {column: "NULL"})


@pytest.mark.parametrize("column", ["qty", "reference_price"])
@pytest.mark.parametrize("value", ["1000000000000000000", "'NaN'", "'Infinity'"])
@pytest.mark.usefixtures("engine")
def test_an_amount_that_cannot_be_written_out_is_refused(desk: Desk, column: str, value: str) -> None:
    with pytest.raises((errors.NumericValueOutOfRange, errors.CheckViolation)):
        insert(desk, "orders", ORDER | {column: value})


@pytest.mark.usefixtures("engine")
def test_an_engine_has_one_order_of_a_name_and_another_engine_may_have_one_too(desk: Desk) -> None:
    insert(desk, "orders", ORDER)
    with pytest.raises(errors.UniqueViolation) as caught:
        insert(desk, "orders", ORDER | {"ticker": "'MSFT'"})
    assert caught.value.diag.constraint_name == "uq_orders_account_id_client_order_id"
    insert(desk, "accounts", {"name": "'other'", "role": "'engine'"})
    insert(desk, "orders", ORDER | {"account_id": "(SELECT id FROM accounts WHERE name = 'other')"})
    assert desk.sql("SELECT count(DISTINCT id), count(*) FROM orders") == [(2, 2)]


@pytest.mark.usefixtures("engine")
def test_an_order_cannot_choose_its_place(desk: Desk) -> None:
    with pytest.raises(errors.GeneratedAlways):
        insert(desk, "orders", ORDER | {"seq": "1"})


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"digest": r"'\x6162'"}, errors.CheckViolation),
        ({"digest": "NULL"}, errors.NotNullViolation),
        ({"event_id": "NULL"}, errors.NotNullViolation),
        ({"position": "NULL"}, errors.NotNullViolation),
        ({"event_id": "2"}, errors.UniqueViolation),
        ({"position": "2"}, errors.UniqueViolation),
    ],
    ids=str,
)
def test_a_bad_seal_is_refused(desk: Desk, wrong: dict[str, str], error: type[Exception]) -> None:
    insert(desk, "audit_seals", SEAL)
    with pytest.raises(error):
        insert(desk, "audit_seals", SEAL | wrong)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_seals SET digest = sha256('another')",
        "UPDATE audit_seals SET position = position WHERE false",
        "DELETE FROM audit_seals",
        "TRUNCATE audit_seals",
        "SET session_replication_role = replica; DELETE FROM audit_seals",
    ],
)
def test_seals_are_never_changed_or_removed(desk: Desk, statement: str) -> None:
    insert(desk, "audit_seals", SEAL)
    dsn = desk.database.set(drivername="postgresql").render_as_string(hide_password=False)
    # Whoever may not switch triggers off is refused by that; whoever may, by the trigger.
    with (
        psycopg.connect(dsn) as connection,
        pytest.raises((errors.RestrictViolation, errors.InsufficientPrivilege)),
    ):
        connection.execute(statement)
    assert desk.sql("SELECT position, event_id, digest = sha256('event') FROM audit_seals") == [(1, 1, True)]


def nested(depth: int) -> Any:
    """A configuration whose deepest value lies `depth` levels below it."""
    value: Any = 1
    for _ in range(depth - 1):
        value = [value]
    return {"x": value}


@pytest.mark.parametrize(
    ("wrong", "constraint"),
    [
        ("config = '[]'", "ck_risk_configs_config_object"),
        ("config = 'null'", "ck_risk_configs_config_object"),
        ("config = '\"{}\"'", "ck_risk_configs_config_object"),
        ("config = '1'", "ck_risk_configs_config_object"),
        (f"config = '{json.dumps(nested(64))}'", "ck_risk_configs_config_depth"),
        (f"config = '{json.dumps({'x': nested(400)})}'", "ck_risk_configs_config_depth"),
        ("trading_mode = 'LIVE'", "ck_risk_configs_trading_mode"),
        ("trading_mode = ''", "ck_risk_configs_trading_mode"),
        ("trading_mode = 'halted'", "ck_risk_configs_trading_mode"),
        ("version = 0", "ck_risk_configs_version"),
    ],
)
def test_a_bad_configuration_row_is_refused(desk: Desk, wrong: str, constraint: str) -> None:
    with pytest.raises(errors.CheckViolation) as caught:
        desk.sql(f"UPDATE risk_configs SET {wrong}")
    assert caught.value.diag.constraint_name == constraint
    assert desk.sql("SELECT config, trading_mode, version FROM risk_configs") == [({}, "paper", 1)]


def test_a_configuration_may_be_as_deep_as_a_body_that_holds_it(desk: Desk) -> None:
    desk.sql(f"UPDATE risk_configs SET config = '{json.dumps(nested(63))}'")


def test_there_is_no_second_active_configuration(desk: Desk) -> None:
    with pytest.raises(errors.UniqueViolation):
        desk.sql("INSERT INTO risk_configs DEFAULT VALUES")
    desk.sql("INSERT INTO risk_configs (is_active) VALUES (false), (false)")
    with pytest.raises(errors.UniqueViolation):
        desk.sql("UPDATE risk_configs SET is_active = true")
    with pytest.raises(errors.NotNullViolation):
        desk.sql("INSERT INTO risk_configs (is_active) VALUES (NULL)")
    assert desk.sql("SELECT count(*) FROM risk_configs WHERE is_active") == [(1,)]


def test_two_that_activate_a_configuration_at_once_cannot_both(desk: Desk) -> None:
    dsn = desk.database.set(drivername="postgresql").render_as_string(hide_password=False)
    desk.sql("UPDATE risk_configs SET is_active = false")
    with psycopg.connect(dsn) as one, psycopg.connect(dsn) as other:
        one.execute("INSERT INTO risk_configs DEFAULT VALUES")
        other.execute("SET lock_timeout = '200ms'")
        with pytest.raises(errors.LockNotAvailable):
            other.execute("INSERT INTO risk_configs DEFAULT VALUES")
        other.rollback()
        one.commit()
        with pytest.raises(errors.UniqueViolation):
            other.execute("INSERT INTO risk_configs DEFAULT VALUES")
