"""The web: form -> desk -> answer. Routes are thin, and who may use them is one table (`permissions`)."""

from __future__ import annotations

from flask import Flask

from app.settings import Settings
from app.single_flight import SingleFlight
from app.web import (
    account,
    accounts,
    answered,
    api,
    api_page,
    bounds,
    compression,
    door,
    door_account,
    errors,
    guard,
    headers,
    health,
    history,
    metrics,
    openapi,
    orders,
    pages,
    sessions,
    static,
    stream,
    texts,
)


def register(app: Flask, settings: Settings) -> None:
    """Put every route and hook into `app`. The guard comes before all of them."""
    answered.register(app)  # what is registered first is done last: it sees the answer as it goes out
    headers.register(app)
    compression.register(app)
    texts.register(app)
    static.register(app)
    errors.register(app)
    guard.register(app)
    bounds.register(app, settings)
    app.extensions["state"] = SingleFlight(api.written_state)
    app.extensions["history"] = history.LastDay()
    app.register_blueprint(api.blueprint)
    app.register_blueprint(orders.blueprint)
    app.register_blueprint(door.blueprint)
    app.register_blueprint(door_account.blueprint)
    app.register_blueprint(stream.blueprint)
    app.register_blueprint(history.blueprint)
    app.register_blueprint(openapi.blueprint)
    app.register_blueprint(api_page.blueprint)
    app.register_blueprint(health.blueprint)
    metrics.register(app, settings)
    app.register_blueprint(sessions.blueprint)
    app.register_blueprint(pages.blueprint)
    app.register_blueprint(account.blueprint)
    app.register_blueprint(accounts.blueprint)
