"""The web: form -> desk -> answer. Routes are thin, and who may use them is one table (`permissions`)."""

from __future__ import annotations

from flask import Flask

from app.lib.single_flight import SingleFlight
from app.settings import Settings
from app.web import openapi
from app.web.alpaca import account as alpaca_account
from app.web.alpaca import orders as alpaca_orders
from app.web.api import health, history, metrics, orders, stream, trading
from app.web.http import compression, errors, request_log, static
from app.web.pages import account, accounts, api_docs, filters, login
from app.web.pages import trading as trading_page
from app.web.security import auth, headers, rate_limit


def register(app: Flask, settings: Settings) -> None:
    """Put every route and hook into `app`. The guard comes before all of them."""
    request_log.register(app)  # what is registered first is done last: it sees the answer as it goes out
    headers.register(app)
    compression.register(app)
    filters.register(app)
    static.register(app)
    errors.register(app)
    auth.register(app)
    rate_limit.register(app, settings)
    app.extensions["state"] = SingleFlight(trading.written_state)
    app.extensions["history"] = history.LastDay()
    app.register_blueprint(trading.blueprint)
    app.register_blueprint(orders.blueprint)
    app.register_blueprint(alpaca_orders.blueprint)
    app.register_blueprint(alpaca_account.blueprint)
    app.register_blueprint(stream.blueprint)
    app.register_blueprint(history.blueprint)
    app.register_blueprint(openapi.blueprint)
    app.register_blueprint(api_docs.blueprint)
    app.register_blueprint(health.blueprint)
    metrics.register(app, settings)
    app.register_blueprint(login.blueprint)
    app.register_blueprint(trading_page.blueprint)
    app.register_blueprint(account.blueprint)
    app.register_blueprint(accounts.blueprint)
