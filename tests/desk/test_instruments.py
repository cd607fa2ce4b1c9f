"""Instruments in SQL, in Python and over HTTP are the same, and are found by their indexes."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import Decimal

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.dialects import postgresql

from app.db.transaction import reading
from app.domain.gate import Order, ReasonCode, blockers
from app.domain.instruments import KEY_SQL, TICKER_PATTERN, instrument_key, is_blocked_by, normalize_ticker
from app.services import rules
from app.services.orders.queries import END_OF_LIST, _newest
from app.services.trading import lockouts
from tests.domain.tickers import spellings, tickers
from tests.serving import Desk

database = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
texts = st.text("AESZ6F1!=:.-_/^&C*a ", min_size=1, max_size=33)


def lock_out(desk: Desk, *locked: str) -> None:
    desk.sql("TRUNCATE symbol_lockouts")
    for ticker in locked:
        desk.sql(
            "INSERT INTO symbol_lockouts (ticker, reason, created_by, expires_at)"
            " VALUES (%s, 'news', 'x', now() + interval '1 hour')",
            ticker,
        )


@database
@given(named=st.lists(tickers | texts.map(str.strip).filter(bool), min_size=1, max_size=20))
def test_keys_in_sql_are_those_in_python(desk: Desk, named: list[str]) -> None:
    stored = list(filter(None, map(normalize_ticker, named)))
    found = desk.sql(
        f"SELECT given.ticker, {KEY_SQL.format(ticker='given.ticker')} FROM unnest(%s::text[]) AS given (ticker)",
        stored,
    )
    assert [key for _, key in found] == [instrument_key(ticker) for ticker, _ in found]


@database
@given(text=texts)
def test_the_database_accepts_the_tickers_that_the_forms_accept(desk: Desk, text: str) -> None:
    [(accepted,)] = desk.sql(f"SELECT %s ~ '{TICKER_PATTERN}' AND length(%s) <= 32", text, text)
    assert accepted is (normalize_ticker(text) == text)


@database
@given(ticker=tickers, data=st.data())
def test_a_list_of_lockouts_for_a_ticker_is_empty_exactly_when_an_order_for_it_is_not_blocked(
    desk: Desk, ticker: str, data: st.DataObject
) -> None:
    root = ticker.split("Z", maxsplit=1)[0] or ticker
    likely = st.sampled_from([ticker, "AAPL", "ES", "*", root]) | spellings(ticker) | tickers
    locked = data.draw(st.lists(likely.map(normalize_ticker).filter(bool), max_size=3))
    lock_out(desk, *filter(None, locked))
    asked = data.draw(spellings(ticker))
    with desk.app.app_context(), reading() as session:
        listed = [row.ticker for row in lockouts.active(session, ticker=asked)]
        now, here = rules.in_force(session, ticker)
        _, everything = rules.in_force(session)
    for known in (here, everything):
        codes = [reason.code for reason in blockers(Order(ticker, qty=Decimal(1)), known, now)]
        assert codes == ([ReasonCode.SYMBOL_LOCKED_OUT] if listed else [])
    assert sorted(listed) == sorted(one for one in locked if one and is_blocked_by(ticker, one))


def test_orders_of_a_ticker_are_found_by_the_index(desk: Desk) -> None:
    desk.sql(
        """
        INSERT INTO orders (account_id, engine, client_order_id, ticker, side, qty, type, time_in_force,
                            trading_mode, status, created_at, decided_at, decided_by)
        SELECT 1, 'bot', 'old' || n, CASE n WHEN 5 THEN 'ESZ26' ELSE 'AAPL' END, 'buy', 1, 'market', 'day',
               'paper', 'released', now(), now(), 'system:gate' FROM generate_series(1, 20000) n
        """
    )
    desk.sql("ANALYZE orders")
    asked = {"instrument_key": instrument_key("ESZ2026")}
    sql = _newest(asked, datetime.now(UTC), END_OF_LIST, 50).compile(
        dialect=postgresql.dialect(),  # type: ignore[no-untyped-call]
        compile_kwargs={"literal_binds": True},
    )
    plan = "\n".join(line for (line,) in desk.sql(f"EXPLAIN (ANALYZE, TIMING OFF) {sql}".replace("%", "%%")))
    assert re.search("Index Scan (Backward )?using ix_orders_instrument", plan)
    assert "Seq Scan" not in plan
