"""What an engine asks for of its own orders is found without passing the others, however many those are."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy.dialects import postgresql

from app.domain.order_status import OrderStatus, is_final
from app.models import orders
from app.services.orders.queries import Wanted, _chosen
from tests.serving import Desk

NOW = datetime.now(UTC)
MANY = 30_000
LIMIT = 50
# A minute apart, the oldest first; every hundredth sells.
FILL = """
    INSERT INTO orders (account_id, engine, client_order_id, ticker, side, qty, type, time_in_force, trading_mode,
                        status, created_at, decided_at, decided_by, send_by)
    SELECT %s, 'momentum', %s || n, 'AAPL', CASE n %% 100 WHEN 0 THEN 'sell' ELSE 'buy' END, 1, 'market', 'day',
           'paper', %s, at, at, 'system:gate', at
    FROM (SELECT n, %s - n * interval '1 minute' AS at FROM generate_series(1, %s) n) AS numbered
"""
OLD, RECENT = NOW - timedelta(days=100), NOW - timedelta(days=1)


@pytest.fixture(scope="module")
def crowded(shared_desk: Desk) -> Iterator[Desk]:
    """The first engine's newest orders have ended, the second one's are open; what else they have is old."""
    desk = shared_desk
    desk.reset()
    for account_id, often, seldom in ((1, "filled", "accepted"), (2, "accepted", "filled")):
        desk.sql(FILL, account_id, "old", seldom, OLD, 1000)
        desk.sql(FILL, account_id, "new", often, RECENT, MANY)
    desk.sql("VACUUM ANALYZE orders")
    yield desk
    desk.reset()
    desk.sql("ANALYZE orders")


def scans(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if plan.get("Relation Name") == "orders":
        yield plan
    for below in plan.get("Plans", ()):
        yield from scans(below)


@pytest.mark.parametrize("account_id", [1, 2], ids=["most have ended", "most are open"])
@pytest.mark.parametrize("is_open", [True, False, None], ids=["open", "closed", "all"])
@pytest.mark.parametrize("side", ["buy", "sell", None])
@pytest.mark.parametrize("newest_first", [True, False], ids=["newest", "oldest"])
@pytest.mark.parametrize(
    ("after", "until"),
    [(None, None), (OLD - timedelta(minutes=500), None), (None, OLD), (RECENT - timedelta(days=3), RECENT)],
    ids=["ever", "after", "until", "between"],
)
def test_no_more_rows_are_read_than_are_wanted(
    crowded: Desk,
    account_id: int,
    is_open: bool | None,
    side: str | None,
    newest_first: bool,
    after: datetime | None,
    until: datetime | None,
) -> None:
    sides = (side,) if side else ("buy", "sell")
    query = _chosen(Wanted(account_id, after, until, sides, (), newest_first, LIMIT), is_open, NOW)
    sql = query.compile(dialect=postgresql.dialect(), compile_kwargs={"literal_binds": True})  # type: ignore[no-untyped-call]
    [(plans,)] = crowded.sql(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}")
    found = list(scans((plans if isinstance(plans, list) else json.loads(plans))[0]["Plan"]))
    assert found
    for scan in found:
        assert scan["Node Type"] == "Index Scan", scan
        assert scan["Actual Rows"] * scan["Actual Loops"] <= LIMIT, scan
        assert not scan.get("Rows Removed by Filter"), scan


def test_what_may_change_is_what_is_not_final() -> None:
    named = {status for status in OrderStatus if f"'{status.value}'" in orders.CHANGING}
    assert named == {status for status in OrderStatus if not is_final(status, bound=True)}
