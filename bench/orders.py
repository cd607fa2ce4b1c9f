"""What an order costs at the desk: a full POST /orders against the bare route of `bench.bare`, interleaved.

Run with `make bench`. Both are served by gunicorn with two gevent workers on the same PostgreSQL: the bare route
with psycopg as it comes, the desk as it is deployed (`app/db/gevent_wait.py`). Each round loads one after the
other over eight connections. The median of the rounds' ratios counts.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from sqlalchemy.engine import URL

from app.db import migrate
from app.settings import PROJECT
from bench import bare
from bench.load import Request, load
from tests.database import connect, new_database, postgres
from tests.serving import application, free_port, serve

ROUNDS = int(os.environ.get("ROUNDS", "12"))
SECONDS = 3.0
CONNECTIONS = 8
AT_LEAST = 0.6  # of the bare route's requests a second
AT_MOST = 2.0  # times its 99th percentile

# Not the project's gunicorn.conf.py, which gunicorn would find by itself: its keeper keeps the desk.
GUNICORN = [
    *(sys.executable, "-m", "gunicorn", "--config", os.devnull, "--no-control-socket"),
    *("--worker-class", "gevent", "--workers", "2"),
]


def posting(path: str, token: str | None = None) -> Request:
    """Limit orders of many symbols, each with an id of its own."""
    credential = f"Authorization: Bearer {token}\r\n" if token else ""

    def request(number: int) -> bytes:
        body = json.dumps(
            {
                "client_order_id": f"bench-{number}",
                "ticker": f"T{number % 500}",
                "side": "buy",
                "qty": "10",
                "type": "limit",
                "limit_price": "151.25",
                "reference_price": "151",
                "signal_layer": "macro",
                "strategy": "bench",
            }
        )
        head = f"POST {path} HTTP/1.1\r\nHost: desk\r\n{credential}Content-Type: application/json\r\n"
        return f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()

    return request


@contextmanager
def serve_bare(database: URL, folder: Path) -> Iterator[int]:
    """The port of the bare route."""
    port = free_port()
    dsn = database.set(drivername="postgresql").render_as_string(hide_password=False)
    with connect(database) as connection:
        connection.execute(bare.TABLE)
    log = open(folder / "bare.log", "wb")  # noqa: SIM115 - it lives as long as the process
    process = subprocess.Popen(
        [*GUNICORN, "--bind", f"127.0.0.1:{port}", "bench.bare:app"],
        cwd=PROJECT,
        env=os.environ | {"DATABASE_URL": dsn},
        stdout=log,
        stderr=log,
    )
    try:
        wait_for(port)
        yield port
    finally:
        process.terminate()
        process.wait(20)


def wait_for(port: int) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            load(port, posting("/orders"), connections=1, seconds=0.1)
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def main() -> int:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        database = stack.enter_context(new_database(stack.enter_context(postgres(durable=True))))
        app = stack.enter_context(application(database, folder))
        with app.app_context():
            migrate.upgrade(database)
        desk = stack.enter_context(serve(app, database, folder))
        token = desk.add_token("bench", "engine")
        routes = {
            "bare": (stack.enter_context(serve_bare(database, folder)), posting("/orders")),
            "desk": (int(desk.url.rpartition(":")[2]), posting("/api/admin/trading/orders", token)),
        }
        for port, request in routes.values():
            load(port, request, connections=CONNECTIONS, seconds=2)  # warm up
        rates, slowest = [], []
        for _ in range(ROUNDS):
            found = {
                name: load(port, request, connections=CONNECTIONS, seconds=SECONDS)
                for name, (port, request) in routes.items()
            }
            rates.append(found["desk"].rate / found["bare"].rate)
            slowest.append(found["desk"].percentile(0.99) / found["bare"].percentile(0.99))
            for name, measured in found.items():
                figures = [measured.percentile(part) * 1000 for part in (0.5, 0.99)]
                print(f"  {name}: {measured.rate:6.0f}/s, p50 {figures[0]:5.1f} ms, p99 {figures[1]:5.1f} ms")
    rate, slow = statistics.median(rates), statistics.median(slowest)
    print(f"POST /orders, 8 connections: {rate:.2f} of the bare route's rate (>= {AT_LEAST})")
    print(f"POST /orders, 8 connections: {slow:.2f} times the bare route's p99 (<= {AT_MOST})")
    return 0 if rate >= AT_LEAST and slow <= AT_MOST else 1


if __name__ == "__main__":
    sys.exit(main())
