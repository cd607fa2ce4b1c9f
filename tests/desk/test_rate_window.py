"""The sliding window of `order_rate` is read from the clock after the engine lock is granted.

An order can wait for the engine lock behind another one. `now()` would be the start of its transaction, before
that wait: orders that have left the window since would still count, and the new order would be stamped too early
and so leave later windows too early.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import psycopg
import pytest
from flask import Flask

from app.db.transaction import ENGINE_LOCKS
from app.services.actor import Actor
from app.services.orders import submit
from app.services.trading import config
from tests.desk.orders import Act, account, new_order
from tests.serving import TESTER, Desk

SECONDS = 60


@pytest.fixture
def engine(desk: Desk, app: Flask) -> Actor:
    """An engine that may have one order accepted in a minute, and has had one."""
    engine = account(desk, "momentum", "engine")
    with app.app_context():
        limits = {"order_rate": {"max_orders": 1, "per_seconds": SECONDS}}
        config.replace(TESTER, limits, expected_versions=None)
        first, _ = submit.submit(engine, new_order(client_order_id="first"))
    assert first["status"] == "released"
    return engine


@contextmanager
def holding_the_lock_of(engine: Actor, desk: Desk) -> Iterator[psycopg.Connection[Any]]:
    """Another order of the same engine that is being decided."""
    dsn = desk.database.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", [ENGINE_LOCKS + (engine.account_id or 0)])
        yield connection


def submit_behind(engine: Actor, desk: Desk, app: Flask, during: str) -> tuple[datetime, dict[str, Any]]:
    """The order that waited for the engine lock while the statement `during` ran, and the time before the lock was
    released."""
    with holding_the_lock_of(engine, desk) as connection:
        second = Act(app, lambda: submit.submit(engine, new_order(client_order_id="second")))
        assert second.waits(desk)
        connection.execute(during)
        [(released_after,)] = connection.execute("SELECT clock_timestamp()").fetchall()
    shown, created = second.done()
    assert created
    return released_after, shown


@pytest.mark.usefixtures("any_machine")
def test_an_order_that_left_the_window_during_the_wait_does_not_count(
    engine: Actor, desk: Desk, app: Flask
) -> None:
    leaves_now = f"UPDATE orders SET created_at = clock_timestamp() - interval '{SECONDS} s'"
    _, second = submit_behind(engine, desk, app, leaves_now)
    assert (second["status"], second["reasons"]) == ("released", [])


@pytest.mark.usefixtures("any_machine")
def test_an_order_is_stamped_after_the_wait(engine: Actor, desk: Desk, app: Flask) -> None:
    released_after, second = submit_behind(engine, desk, app, "SELECT 1")
    assert second["reasons"][0]["code"] == "order_rate_limit"
    assert datetime.fromisoformat(second["created_at"]) >= released_after
    assert second["decided_at"] == second["created_at"]
