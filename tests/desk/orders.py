"""Orders for the hostile tests: who sends and decides them, thousands that wait, callers that never hang up."""

from __future__ import annotations

import http.client
import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import psutil
import psycopg
from flask import Flask
from sqlalchemy.engine import URL

from app.db import migrate
from app.domain.roles import Role
from app.lib import strict_json
from app.services.actor import Actor
from app.services.orders.submit import NewOrder
from app.services.orders.transitions import DEADLINE
from tests.at_once import API, Reply, until
from tests.database import new_database
from tests.serving import Desk, Server, application, serve

EVENT_OF = {
    "released": "order.approve",
    "rejected": "order.reject",
    "canceled": "order.cancel",
    "expired": "order.expire",
}
SWEEPER = Actor(DEADLINE, Role.ADMIN, "sweeper")
numbers = itertools.count(1)


def account(desk: Desk, name: str, role: str, owner: Actor | None = None) -> Actor:
    """Somebody who acts, with an account but without a credential."""
    [(number,)] = desk.sql(
        "INSERT INTO accounts (name, role, owner_id) VALUES (%s, %s, %s) RETURNING id",
        name,
        role,
        owner.account_id if owner else None,
    )
    return Actor(name, Role(role), "tests", number)


def actor_of(desk: Desk, name: str) -> Actor:
    """Somebody who has an account already."""
    [(number, role)] = desk.sql("SELECT id, role FROM accounts WHERE name = %s", name)
    return Actor(name, Role(role), "tests", number)


def new_order(**changes: Any) -> NewOrder:
    """A market order of ten AAPL, but for `changes`."""
    usual = {"client_order_id": f"n{next(numbers)}", "ticker": "AAPL", "side": "buy", "type": "market"}
    amount = {} if "notional" in changes else {"qty": Decimal(10)}
    return NewOrder(**(usual | amount | changes))


def body(**changes: Any) -> dict[str, Any]:
    """The same as JSON."""
    usual = {
        "client_order_id": f"n{next(numbers)}",
        "ticker": "AAPL",
        "side": "buy",
        "type": "market",
        "qty": "10",
    }
    return usual | changes


def place_waiting(
    desk: Desk, engine: Actor, count: int, *, ticker: str = "AAPL", minutes: float = 30
) -> list[str]:
    """`count` orders of `engine` that wait, written by SQL; their ids."""
    return [
        id_
        for (id_,) in desk.sql(
            """
            INSERT INTO orders (account_id, engine, client_order_id, ticker, side, qty, type, time_in_force,
                                reference_price, signal_layer, trading_mode, status, created_at, expires_at)
            SELECT %s, %s, 'placed-' || gen_random_uuid(), %s, 'buy', 10, 'market', 'day', 100, 'macro', 'paper',
                   'pending_approval', least(now, deadline - interval '1 s'), deadline
            FROM generate_series(1, %s), LATERAL (SELECT clock_timestamp() AS now) AS clock,
                 LATERAL (SELECT now + make_interval(secs => %s) AS deadline) AS timeout
            RETURNING id::text
            """,
            engine.account_id,
            engine.name,
            ticker,
            count,
            minutes * 60,
        )
    ]


def let_expire(desk: Desk, order_id: str, *, in_seconds: float = 0) -> str:
    """Move the deadline to the present, or to a moment from now; the deadline as the routes show it."""
    [(deadline,)] = desk.sql(
        """
        UPDATE orders SET expires_at = clock_timestamp() + make_interval(secs => %s) WHERE id = %s
        RETURNING to_char(expires_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
        """,
        in_seconds,
        order_id,
    )
    return str(deadline)


def written(desk: Desk, order_id: str) -> str:
    """The status that is written down, whatever the clock says."""
    [(status,)] = desk.sql("SELECT status FROM orders WHERE id = %s", order_id)
    return str(status)


def moves(desk: Desk, order_id: str) -> list[tuple[str, str]]:
    """The events that moved an order on: what was done, and by whom."""
    found = desk.sql(
        "SELECT action, actor FROM audit_events WHERE subject = %s AND action <> 'order.submit' ORDER BY id",
        order_id,
    )
    return [(action, actor) for action, actor in found]


@contextmanager
def transaction(desk: Desk) -> Iterator[psycopg.Connection[Any]]:
    """Somebody at the database itself, in a transaction that is committed at the end."""
    with psycopg.connect(desk.database.set(drivername="postgresql").render_as_string(hide_password=False)) as one:
        yield one


class Act:
    """Something done in a thread, in the application."""

    def __init__(self, app: Flask, act: Callable[[], Any]) -> None:
        self.result: Any = None

        def run() -> None:
            try:
                with app.app_context():
                    self.result = act()
            except Exception as error:
                self.result = error

        self.thread = threading.Thread(target=run, daemon=True)
        self.thread.start()

    def waits(self, desk: Desk, kind: str = "advisory") -> bool:
        """It has come as far as a lock of this kind, and no further."""
        until(
            lambda: desk.sql(
                "SELECT 1 FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid"
                " WHERE a.datname = current_database() AND l.locktype = %s AND NOT l.granted",
                kind,
            ),
            what="nobody waits",
        )
        self.thread.join(0.2)
        return self.thread.is_alive()

    def done(self) -> Any:
        self.thread.join(20)
        assert not self.thread.is_alive()
        return self.result


# Over HTTP


@contextmanager
def served(postgres_server: URL, folder: Path, *, workers: int = 3) -> Iterator[Server]:
    """The real server on a database of its own."""
    with new_database(postgres_server) as url, application(url, folder) as here:
        with here.app_context():
            migrate.upgrade(url)
        with serve(here, url, folder, workers=workers) as made:
            until(lambda: len(workers_of(made)) == workers)
            yield made


def workers_of(server: Server) -> list[psutil.Process]:
    """The worker processes that live."""
    return [process for process in psutil.Process(server.process.pid).children() if _lives(process)]


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def busy_workers(server: Server) -> int:
    """How many workers somebody is connected to."""
    return sum(
        any(c.status == psutil.CONN_ESTABLISHED and c.raddr for c in worker.net_connections("tcp"))
        for worker in workers_of(server)
    )


class Line:
    """One connection to the server that is kept alive; not for two threads at once."""

    def __init__(self, server: Server, token: str = "") -> None:
        place = urlsplit(server.url)
        self._connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=30)
        self._token = token
        self._used = 0.0

    def __call__(self, method: str, path: str, sent: Any = None, *, token: str = "", **headers: str) -> Reply:
        """`path` is below /api/admin/trading. Raises OSError."""
        if time.monotonic() - self._used > 2:  # the server hangs up when nothing is said for five seconds
            self._connection.close()
        wanted = {"Authorization": f"Bearer {token or self._token}"} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        data = None
        if sent is not None:
            data, wanted["Content-Type"] = strict_json.dumps(sent).encode(), "application/json"
        try:
            self._connect()
            self._connection.request(method, API + path, data, wanted)
            response = self._connection.getresponse()
            text = response.read().decode()
        except http.client.HTTPException as error:
            self._connection.close()
            raise ConnectionError(str(error)) from error
        except OSError:
            self._connection.close()
            raise
        self._used = time.monotonic()
        return Reply(response.status, {k.lower(): v for k, v in response.getheaders()}, text)

    def _connect(self) -> None:
        if self._connection.sock is None:
            self._connection.connect()
            self._connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def close(self) -> None:
        self._connection.close()

    def post(self, path: str, sent: Any, **more: str) -> Reply:
        return self("POST", path, sent, **more)

    def put(self, path: str, sent: Any, **more: str) -> Reply:
        return self("PUT", path, sent, **more)

    def get(self, path: str, **more: str) -> Reply:
        return self("GET", path, **more)


class Hammer:
    """Threads that do `act` again and again, each on a line of its own, until the end of the `with`.

    `act` takes a line and gives the reply, or None when there is nothing to do at the moment.
    """

    def __init__(self, server: Server, act: Callable[[Line], Reply | None], *, threads: int = 12) -> None:
        self.replies: list[Reply] = []
        self.threads = threads
        self._act = act
        self._server = server
        self._done = [0] * threads
        self._stop = threading.Event()
        self._failures: list[Exception] = []
        self._threads = [threading.Thread(target=partial(self._run, n), daemon=True) for n in range(threads)]

    def _run(self, number: int) -> None:
        try:
            with closing(Line(self._server)) as line:
                while not self._stop.is_set():
                    reply = self._act(line)
                    self._done[number] += 1
                    if reply is None:
                        time.sleep(0.005)
                    else:
                        self.replies.append(reply)
        except Exception as error:
            self._failures.append(error)

    def everybody_again(self, times: int = 2) -> None:
        """Until each thread has been answered so often that what it asked before is behind it."""
        began = list(self._done)
        until(
            lambda: self._failures or all(d >= b + times for d, b in zip(self._done, began, strict=True)),
            what="the hammer stands still",
        )
        assert not self._failures, self._failures

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive()
        assert not self._failures, self._failures
