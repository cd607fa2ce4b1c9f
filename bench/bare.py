"""What an order costs at the very least: a hand-written Flask route with psycopg that takes the shared lock, looks
for a lockout, inserts, and commits. No token, no strict reading, no idempotency, no rules, no record.

The measure that `bench.orders` holds the whole desk against. Served by gunicorn like the desk: `bench.bare:app`.
"""

from __future__ import annotations

import os
import queue
from typing import Any

import psycopg
from flask import Flask, jsonify, request
from flask.typing import ResponseReturnValue

TABLE = """
    CREATE TABLE IF NOT EXISTS bare_orders (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        client_order_id text NOT NULL UNIQUE,
        ticker text NOT NULL,
        side text NOT NULL,
        qty numeric NOT NULL,
        limit_price numeric,
        created_at timestamptz NOT NULL DEFAULT clock_timestamp()
    )
"""

app = Flask(__name__)
connections: queue.LifoQueue[psycopg.Connection[Any] | None] = queue.LifoQueue()
for _ in range(8):
    connections.put(None)


@app.post("/orders")
def post_order() -> ResponseReturnValue:
    order = request.get_json()
    connection = connections.get() or psycopg.connect(os.environ["DATABASE_URL"])
    try:
        with connection.transaction(), connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock_shared(1)")
            cursor.execute(
                "SELECT 1 FROM symbol_lockouts WHERE ticker = %s AND expires_at > now() LIMIT 1", [order["ticker"]]
            )
            if cursor.fetchone():
                return jsonify(status="blocked")
            cursor.execute(
                "INSERT INTO bare_orders (client_order_id, ticker, side, qty, limit_price)"
                " VALUES (%s, %s, %s, %s, %s) RETURNING id",
                [order["client_order_id"], order["ticker"], order["side"], order["qty"], order["limit_price"]],
            )
            row = cursor.fetchone()
        return jsonify(id=row and row[0], status="released"), 201
    finally:
        connections.put(connection)
