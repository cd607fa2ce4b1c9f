"""The database itself refuses what the forms refuse: raw SQL is no way round them."""

from __future__ import annotations

import json
from typing import Any

import psycopg
import pytest
from psycopg import errors

from app.forms import LockoutForm
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


def insert(desk: Desk, table: str, values: dict[str, str]) -> None:
    desk.sql(f"INSERT INTO {table} ({', '.join(values)}) VALUES ({', '.join(values.values())})")


def text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def test_the_good_rows_are_accepted(desk: Desk) -> None:
    insert(desk, "symbol_lockouts", LOCKOUT)
    insert(desk, "accounts", ACCOUNT)


TICKERS = [
    "",
    " ",
    "aapl",
    "AAPL ",
    " AAPL",
    "A.",
    ".A",
    "A..B",
    "A B",
    "A_B",
    "**",
    "A*",
    "ß",
    "ＡＡ",
    "A\nB",
    "AAPL\n",
]
TICKERS += ["A" * 21, "*\n", "$A", "Á"]


@pytest.mark.parametrize("ticker", TICKERS)
def test_a_ticker_that_the_form_would_not_store_is_refused(desk: Desk, ticker: str) -> None:
    with pytest.raises(errors.CheckViolation):
        insert(desk, "symbol_lockouts", LOCKOUT | {"ticker": text(ticker)})
    form = LockoutForm.from_json({"ticker": ticker, "reason": "x", "duration_minutes": 1})
    assert not form.validate() or form.ticker.data != ticker


@pytest.mark.parametrize("ticker", ["A", "BRK.B", "BTC/USD", "RDS-A", "0700.HK", "*", "A" * 20, "A.B-C/D"])
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
