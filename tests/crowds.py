"""Desks with very much on them."""

from __future__ import annotations

from tests.serving import Desk

ORDERS = """
    INSERT INTO orders (account_id, engine, client_order_id, ticker, side, qty, type, time_in_force, limit_price,
                        reference_price, strategy, trading_mode, status, expires_at, rationale)
    SELECT id, name, 'crowd-' || n, 'SYM' || n, CASE n % 3 WHEN 0 THEN 'sell' ELSE 'buy' END, n, 'limit', 'day',
           100 + n * 0.37, 100 + n * 0.36, 'sma-cross-' || n % 7, 'paper', 'pending_approval',
           now() + interval '1 hour' + n * interval '1 second',
           'Signal ' || md5(n::text) || ': the short average crossed the long one from below, volume above normal.'
    FROM accounts, generate_series(1, {many}) AS n WHERE role = 'engine' ORDER BY accounts.id, n LIMIT {many}
"""
LOCKOUTS = """
    INSERT INTO symbol_lockouts (id, ticker, reason, lockout_type, created_at, created_by, expires_at)
    SELECT gen_random_uuid(), 'LOCK' || n, 'News shock ' || md5(n::text), 'manual', now(), 'script',
           now() + interval '1 hour' + n * interval '1 minute'
    FROM generate_series(1, {many}) AS n
"""


def orders_wait(desk: Desk, many: int) -> None:
    """That many orders wait, of an engine that has a token."""
    desk.sql(ORDERS.format(many=many))


def symbols_are_locked_out(desk: Desk, many: int) -> None:
    desk.sql(LOCKOUTS.format(many=many))
