"""Does the desk stay as fast as on its first day? Reads with 300,000 ended lockouts behind them, against none.

Run with `make bench`. Each round times every route on both databases, one after the other; the median of the
rounds' ratios is printed, with what it must reach.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from sqlalchemy.engine import URL

from app import schema
from tests.conftest import Api
from tests.database import new_database, postgres
from tests.serving import Desk, application

ROUNDS = 15
CALLS = 20
AT_LEAST = 0.9
OLD_LOCKOUTS = 300_000
ROUTES = {
    "lock-out look-up on a hot ticker": "/lockouts?ticker=HOT",
    "list of lockouts": "/lockouts",
    "page state": "/state",
}


@contextmanager
def desk_with(old_lockouts: int, server: URL) -> Iterator[Api]:
    """A desk with ten active lockouts, and `old_lockouts` ended ones, a third of them on one ticker."""
    with (
        new_database(server) as url,
        tempfile.TemporaryDirectory() as folder,
        application(url, Path(folder)) as app,
    ):
        with app.app_context():
            schema.upgrade(url)
        desk = Desk(url, app)
        desk.sql(
            """
            INSERT INTO symbol_lockouts (ticker, reason, created_by, created_at, expires_at)
            SELECT CASE WHEN n %% 3 = 0 THEN 'HOT' ELSE 'T' || n %% 5000 END, 'old', 'bench',
                   now() - interval '2 days', now() - interval '1 day' + n * interval '1 ms'
            FROM generate_series(1, %s) n
            """,
            old_lockouts,
        )
        desk.sql(
            """
            INSERT INTO symbol_lockouts (ticker, reason, created_by, expires_at)
            SELECT CASE WHEN n = 1 THEN 'HOT' ELSE 'A' || n END, 'active', 'bench', now() + interval '1 day'
            FROM generate_series(1, 10) n
            """
        )
        desk.sql("ANALYZE symbol_lockouts")
        yield Api(app.test_client(), desk.add_token("bench", "viewer"))
        desk.close()


def seconds(api: Api, path: str) -> float:
    started = time.perf_counter()
    for _ in range(CALLS):
        assert api.get(path).status_code == 200
    return time.perf_counter() - started


def main() -> int:
    with ExitStack() as stack:
        server = stack.enter_context(postgres())
        empty = stack.enter_context(desk_with(0, server))
        full = stack.enter_context(desk_with(OLD_LOCKOUTS, server))
        slow = []
        for name, path in ROUTES.items():
            seconds(empty, path), seconds(full, path)  # warm up
            ratio = statistics.median(seconds(empty, path) / seconds(full, path) for _ in range(ROUNDS))
            print(f"{name:<36} {ratio:5.2f} of its own speed with {OLD_LOCKOUTS:,} old lockouts (>= {AT_LEAST})")
            if ratio < AT_LEAST:
                slow.append(name)
    if slow:
        print(f"too slow: {', '.join(slow)}", file=sys.stderr)
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
