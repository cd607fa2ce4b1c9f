"""However many lockouts a ticker has, an order looks at the one that ends last, and finds it by the index."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from flask import Flask
from sqlalchemy.engine import URL

from app.db import migrate
from app.db.transaction import reading
from app.domain.gate import Lockout, Order, blockers
from app.domain.instruments import instrument
from app.services import rules
from tests.database import new_database
from tests.serving import Desk, application

ENDED, ACTIVE = 300_000, 20_000
MANY = """
    INSERT INTO symbol_lockouts (ticker, reason, created_by, created_at, expires_at)
    SELECT 'HOT', 'n' || n, 'x', now() - interval '20 days', now() + %s * interval '1 day' + n * interval '1 s'
    FROM generate_series(1, %s) n
"""


@pytest.fixture(scope="module")
def crowded(postgres_server: URL, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A database of its own, which the tests only read: it takes seconds to fill."""
    with new_database(postgres_server) as url, application(url, tmp_path_factory.mktemp("crowded")) as app:
        with app.app_context():
            migrate.upgrade(url)
        with closing(Desk(url, app)) as desk:
            desk.sql(MANY, -10, ENDED)
            desk.sql(MANY, 1, ACTIVE)
            desk.sql("VACUUM ANALYZE symbol_lockouts")
            yield desk


def scans(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if plan.get("Relation Name") == "symbol_lockouts":
        yield plan
    for below in plan.get("Plans", ()):
        yield from scans(below)


@pytest.mark.parametrize("spelt", ["HOT", "H.OT", "H/O-T"])
@pytest.mark.parametrize("plan", ["custom", "generic"])
def test_one_order_reads_one_row_of_each(crowded: Desk, spelt: str, plan: str) -> None:
    query = rules.rules_for_one("$1")
    keys = "{" + ",".join(instrument(spelt).lockout_keys) + "}"
    crowded.sql(f"SET plan_cache_mode = force_{plan}_plan")
    crowded.sql(f"PREPARE look AS {query}")
    [(plans,)] = crowded.sql(f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE look('{keys}')")
    crowded.sql("RESET plan_cache_mode")
    crowded.sql("DEALLOCATE look")
    found = list(scans((plans if isinstance(plans, list) else json.loads(plans))[0]["Plan"]))
    assert [(scan["Node Type"], scan["Actual Loops"]) for scan in found] == [("Index Scan", 2)]  # HOT and *
    assert sum(scan["Actual Rows"] * scan["Actual Loops"] for scan in found) == 1
    assert all("expires_at" in scan["Index Cond"] for scan in found)


def test_it_does_not_take_longer_than_with_none(crowded: Desk) -> None:
    with crowded.app.app_context(), reading() as session:

        def seconds() -> float:
            began = time.perf_counter()
            _, found = rules.in_force(session, "HOT")
            assert len(found.lockouts) == 1
            return time.perf_counter() - began

        assert min(seconds() for _ in range(20)) < 0.01


@pytest.mark.parametrize("ticker", ["HOT", None], ids=["for one", "for a list"])
def test_the_one_that_ends_last_is_named(desk: Desk, app: Flask, ticker: str | None) -> None:
    for whose, reason, ends in [
        ("HOT", "short", "1 hour"),
        ("HOT", "long", "3 hours"),
        ("*", "all, briefly", "1 minute"),
        ("*", "all", "2 hours"),
        ("HOT", "ended", "-1 hour"),
        ("COLD", "another's", "9 hours"),
    ]:
        desk.sql(
            "INSERT INTO symbol_lockouts (ticker, reason, created_by, created_at, expires_at)"
            " VALUES (%s, %s, 'x', now() - interval '1 day', now() + %s::interval)",
            whose,
            reason,
            ends,
        )
    with app.app_context(), reading() as session:
        now, found = rules.in_force(session, ticker)
    held: list[Lockout] = sorted(found.lockouts, key=lambda lockout: lockout.ticker)
    assert [(one.ticker, one.reason) for one in held] == [
        ("*", "all"),
        *([] if ticker else [("COLD", "another's")]),
        ("HOT", "long"),
    ]
    [blocker] = blockers(Order("HOT"), found, now)
    assert blocker.detail.startswith("HOT is locked out until")
    assert blocker.detail.endswith(": long")
