"""Does the desk stay as fast as on its first day?

Run with `make bench`. A desk with 1,000,000 ended lockouts, 300,000 of them on the ticker that orders are sent
for, and 1,000,000 decided orders with their events, against a new one, which has just what fills the first page of
every list, so that both answer as much. Each round times a route on both, one after the other; the median of the
rounds' ratios is printed, with what it must reach.
"""

from __future__ import annotations

import itertools
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from sqlalchemy.engine import URL

from app.db import migrate
from tests.conftest import Api
from tests.database import new_database, postgres
from tests.serving import Desk, application

ROUNDS = int(os.environ.get("ROUNDS", "25"))
CALLS = 40
AT_LEAST = 0.9
OLD = 1_000_000
NEW = 1_000  # orders, so that a page of those with one status or ticker is full
WAITING = 50

OLD_LOCKOUTS = """
    INSERT INTO symbol_lockouts (ticker, reason, created_by, created_at, expires_at)
    SELECT CASE WHEN n %% 10 < 3 THEN 'HOT' ELSE 'T' || n %% 5000 END, 'old', 'bench',
           now() - interval '2 days', now() - interval '1 day' + n * interval '1 ms'
    FROM generate_series(1, %s) n
"""
OLD_ORDERS = """
    WITH made AS (
        INSERT INTO orders (account_id, engine, client_order_id, ticker, side, qty, type, time_in_force,
                            limit_price, reference_price, trading_mode, status, reasons, created_at, expires_at,
                            decided_at, decided_by, decision_note)
        SELECT 1, 'bench', 'old-' || n, CASE WHEN n %% 10 < 3 THEN 'HOT' ELSE 'T' || n %% 5000 END, 'buy', 10,
               'limit', 'day', 150, 151, 'paper', became,
               CASE became WHEN 'blocked' THEN '[{"code": "trading_disabled"}]' ELSE '[]' END::jsonb,
               at, CASE became WHEN 'expired' THEN at + interval '1 ms' END,
               CASE became WHEN 'expired' THEN at + interval '1 ms' ELSE at END, 'system:gate',
               CASE became WHEN 'rejected' THEN 'no' END
        FROM generate_series(1, %s) n,
             LATERAL (SELECT now() - interval '1 day' + n * interval '50 ms' AS at) AS instant,
             LATERAL (SELECT (ARRAY['released', 'blocked', 'rejected', 'expired', 'canceled'])[1 + n %% 5]
                      AS became) AS outcome
        RETURNING id, created_at
    )
    INSERT INTO audit_events (created_at, actor, action, subject, after, request_id)
    SELECT created_at, 'bench', 'order.submit', id::text, jsonb_build_object('id', id), 'bench' FROM made
"""
ACTIVE_LOCKOUTS = """
    INSERT INTO symbol_lockouts (ticker, reason, created_by, expires_at)
    SELECT 'A' || n, 'active', 'bench', now() + interval '1 day' FROM generate_series(1, 10) n
"""
WAITING_ORDERS = """
    INSERT INTO orders (account_id, engine, client_order_id, ticker, side, qty, type, time_in_force, limit_price,
                        trading_mode, status, expires_at)
    SELECT 1, 'bench', 'waiting-' || n, 'HOT', 'buy', 10, 'limit', 'day', 150, 'paper', 'pending_approval',
           now() + interval '1 day' FROM generate_series(1, %s) n
"""

numbers = itertools.count(1)


class Clients:
    """An engine and a viewer of one desk."""

    def __init__(self, desk: Desk) -> None:
        self.engine = Api(desk.app.test_client(), desk.add_token("bench", "engine"))
        self.viewer = Api(desk.app.test_client(), desk.add_token("viewer", "viewer"))

    def submit(self) -> int:
        order = {"client_order_id": f"new-{next(numbers)}", "ticker": "HOT", "side": "buy", "qty": "10"}
        return self.engine.post("/orders", order | {"type": "limit", "limit_price": "150"}).status_code

    def reads(self, path: str) -> Callable[[], int]:
        return lambda: self.viewer.get(path).status_code


ROUTES: dict[str, Callable[[Clients], Callable[[], int]]] = {
    "POST /orders for the hot ticker": lambda clients: clients.submit,
    "GET /approvals": lambda clients: clients.reads("/approvals"),
    "GET /state": lambda clients: clients.reads("/state"),
    "GET /orders?ticker=HOT": lambda clients: clients.reads("/orders?ticker=HOT"),
    "GET /orders?status=rejected": lambda clients: clients.reads("/orders?status=rejected"),
    "GET /lockouts": lambda clients: clients.reads("/lockouts"),
    "GET /lockouts?ticker=HOT": lambda clients: clients.reads("/lockouts?ticker=HOT"),
    "GET /audit": lambda clients: clients.reads("/audit"),
}


@contextmanager
def desk_with(lockouts: int, orders: int, server: URL) -> Iterator[Clients]:
    """A desk with ten active lockouts and fifty waiting orders, and so many ended and decided ones behind them."""
    with (
        new_database(server) as url,
        tempfile.TemporaryDirectory() as folder,
        application(url, Path(folder)) as app,
    ):
        with app.app_context():
            migrate.upgrade(url)
        desk = Desk(url, app)
        desk.sql(OLD_LOCKOUTS, lockouts)
        desk.sql(OLD_ORDERS, orders)
        desk.sql(ACTIVE_LOCKOUTS)
        desk.sql(WAITING_ORDERS, WAITING)
        # As a database is that has run for a while: with the planner's figures, and no pages still to write.
        desk.sql("VACUUM ANALYZE")
        desk.sql("CHECKPOINT")
        yield Clients(desk)
        desk.close()


def seconds(call: Callable[[], int]) -> float:
    started = time.perf_counter()
    for _ in range(CALLS):
        assert call() in (200, 201)
    return time.perf_counter() - started


def main() -> int:
    with ExitStack() as stack:
        server = stack.enter_context(postgres(durable=True))
        desks = [stack.enter_context(desk_with(*old, server)) for old in ((0, NEW), (OLD, OLD))]
        slow = []
        for name, route in ROUTES.items():
            empty, full = (route(clients) for clients in desks)
            seconds(empty), seconds(full)  # warm up
            ratio = statistics.median(seconds(empty) / seconds(full) for _ in range(ROUNDS))
            print(f"{name:<32} {ratio:5.2f} of its own speed on an empty database (>= {AT_LEAST})", flush=True)
            if ratio < AT_LEAST:
                slow.append(name)
    if slow:
        print(f"too slow: {', '.join(slow)}", file=sys.stderr)
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
