"""The orders that an engine asks for are those, and in that order, whichever indexes they are found by."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

from flask import Flask

from app.domain.order_status import OrderStatus, is_final, status_at
from app.domain.roles import Role
from app.services.actor import Actor
from app.services.orders import queries
from tests.serving import Desk

BEGAN = datetime(2026, 3, 2, 14, 30, tzinfo=UTC)
WRITE = """
    INSERT INTO orders (account_id, engine, client_order_id, ticker, side, qty, type, time_in_force, trading_mode,
                        status, reasons, created_at, expires_at, decided_at, decided_by, decision_note, send_by,
                        sent_at)
    VALUES (%s, 'x', %s, %s, %s, 1, 'market', 'day', 'paper', %s, %s, %s, %s, %s, %s, 'x', %s, %s)
"""


def write(desk: Desk) -> list[dict[str, Any]]:
    """Orders of two engines in every status, with instants that are not in the order of their numbers."""
    written = []
    statuses = [status for status in OrderStatus for _ in range(4)]
    for number, status in enumerate([*statuses, *[OrderStatus.PENDING_APPROVAL] * 6]):
        at = BEGAN + timedelta(minutes=number * 7 % 60)
        waits = status is OrderStatus.PENDING_APPROVAL
        late = number % 2 == 0
        expires_at = (at + timedelta(minutes=5) if late else datetime(2100, 1, 1, tzinfo=UTC)) if waits else None
        if status is OrderStatus.EXPIRED:
            expires_at = at + timedelta(minutes=5)
        decided_at = None if waits else (expires_at or at)
        order = {
            "account": 1 + number % 3 % 2,
            "name": f"n{number}",
            "ticker": ("AAPL", "MSFT", "TSLA")[number % 5 % 3],
            "side": ("buy", "sell")[number % 7 % 2],
            "status": status,
            "reasons": '[{"code": "x", "detail": "x"}]' if status is OrderStatus.BLOCKED else "[]",
            "at": at,
            "expires_at": expires_at,
            "decided_at": decided_at,
            "decided_by": None if waits else "x",
            "send_by": at,
            "sent_at": at,
        }
        desk.sql(WRITE, *order.values())
        written.append(order | {"number": number})
    return written


def test_what_is_asked_for_is_found_in_its_order(desk: Desk, app: Flask) -> None:
    written = write(desk)
    actor = Actor("x", Role.ENGINE, "r", account_id=1)
    now = datetime.now(UTC)
    with app.app_context():
        for is_open, side, tickers, after, until, (newest_first, limit) in itertools.product(
            (True, False, None),
            ("buy", "sell", None),
            ((), ("MSFT", "TSLA")),
            (None, BEGAN + timedelta(minutes=14)),
            (None, BEGAN + timedelta(minutes=42)),
            ((True, 3), (False, 500)),
        ):
            wanted = [
                order
                for order in written
                if order["account"] == 1
                and is_open
                in (None, not is_final(status_at(order["status"], order["expires_at"], now), bound=True))
                and side in (None, order["side"])
                and (not tickers or order["ticker"] in tickers)
                and (after is None or order["at"] > after)
                and (until is None or order["at"] < until)
            ]
            wanted.sort(key=lambda order: (order["at"], order["number"]), reverse=newest_first)
            found = queries.chosen(
                actor,
                is_open=is_open,
                after=after,
                until=until,
                side=side,
                tickers=tickers,
                newest_first=newest_first,
                limit=limit,
            )
            assert [shown["client_order_id"] for shown in found] == [order["name"] for order in wanted[:limit]]
