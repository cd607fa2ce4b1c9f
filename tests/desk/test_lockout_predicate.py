"""Whether a lockout holds: the predicate in SQL against the one in Python, on one table of instants."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.dialects import postgresql
from sqlalchemy.types import DateTime

from app.db.transaction import reading
from app.domain.order_status import lockout_is_active
from app.models import SymbolLockout
from app.services.trading.lockouts import blocks, is_active
from tests.conftest import Api
from tests.domain.instants import NOW, TABLE
from tests.serving import Desk

CLOCKS = ("now()", "clock_timestamp()")


def at(instant: datetime) -> str:
    """The predicate as SQL, with the database's clocks standing at `instant`."""
    sql = str(is_active().compile(dialect=postgresql.dialect()))  # type: ignore[no-untyped-call]
    for clock in CLOCKS:
        assert clock in sql, "the predicate asks the database's clock, the exact one and the one with an index"
        sql = sql.replace(clock, f"'{instant.isoformat()}'::timestamptz")
    assert "%(" not in sql, "no instant of ours is compared"
    return sql


@pytest.mark.parametrize("when", TABLE)
def test_both_agree_with_the_table(desk: Desk, when: str) -> None:
    expires_at, holds = TABLE[when]
    desk.sql(
        "INSERT INTO symbol_lockouts (ticker, reason, created_by, created_at, expires_at)"
        " VALUES ('AAPL', 'r', 'x', '2000-01-01', %s)",
        expires_at,
    )
    [(in_sql, stored)] = desk.sql(f"SELECT {at(NOW)}, expires_at FROM symbol_lockouts")
    assert in_sql is holds
    assert lockout_is_active(stored, NOW) is holds


@pytest.mark.parametrize("when", TABLE)
def test_the_lists_show_what_holds_now(desk: Desk, operator: Api, when: str) -> None:
    """The same table, moved so that its NOW is the database's."""
    expires_at, holds = TABLE[when]
    distance = expires_at - NOW
    if abs(distance) < timedelta(seconds=10):
        distance += timedelta(hours=1) if holds else timedelta(0)  # a moment has passed until the list is read
    if distance > timedelta(days=365 * 7000):
        distance -= timedelta(days=10 * 365)  # the end must stay below the latest possible one
    desk.sql(
        "INSERT INTO symbol_lockouts (ticker, reason, created_by, created_at, expires_at)"
        " VALUES ('AAPL', 'r', 'x', '2000-01-01', now() + %s)",
        distance,
    )
    shown = [row["ticker"] for row in operator.get("/lockouts").json["items"]]
    assert shown == (["AAPL"] if holds else [])
    assert [row["ticker"] for row in operator.get("/state").json["lockouts"]] == shown


def test_it_ends_by_the_clock_within_one_transaction(desk: Desk) -> None:
    """now() stands still in a transaction; what ends meanwhile has ended."""
    with desk.app.app_context(), reading() as session:
        session.execute(select(1))
        desk.sql(
            "INSERT INTO symbol_lockouts (ticker, reason, created_by, created_at, expires_at)"
            " VALUES ('AAPL', 'r', 'x', now() - interval '1 hour', clock_timestamp() + interval '50 ms')"
        )
    with desk.app.app_context(), reading() as session:
        [expires_at] = session.scalars(select(SymbolLockout.expires_at))
        session.connection().exec_driver_sql("SELECT pg_sleep(0.1)")
        assert session.connection().exec_driver_sql("SELECT now()").scalar_one() < expires_at
        assert session.scalars(select(SymbolLockout).where(is_active())).all() == []


def test_the_lookup_of_one_hot_ticker_uses_the_index_however_many_rows_have_ended(desk: Desk) -> None:
    desk.sql(
        "INSERT INTO symbol_lockouts (ticker, reason, created_by, created_at, expires_at)"
        " SELECT 'AAPL', 'old', 'x', now() - interval '2 days', now() - n * interval '1 second'"
        " FROM generate_series(1, 30000) n"
    )
    desk.sql(
        "INSERT INTO symbol_lockouts (ticker, reason, created_by, expires_at)"
        " SELECT 'T' || n, 'active', 'x', now() + interval '1 day' FROM generate_series(1, 5000) n"
    )
    desk.sql("ANALYZE symbol_lockouts")
    query = select(SymbolLockout.id).where(blocks("AAPL"), is_active())
    sql = query.compile(dialect=postgresql.dialect(), compile_kwargs={"literal_binds": True})  # type: ignore[no-untyped-call]
    plan = "\n".join(line for (line,) in desk.sql(f"EXPLAIN (ANALYZE, TIMING OFF) {sql}"))
    assert "ix_symbol_lockouts_instrument" in plan
    assert "Rows Removed by Filter: 30000" not in plan
    assert isinstance(SymbolLockout.expires_at.type, DateTime)
