"""The web: form -> desk -> answer. Routes are thin, and who may use them is one table (`permissions`)."""

from __future__ import annotations

from flask import Flask

from app.single_flight import SingleFlight
from app.web import (
    api,
    compression,
    door,
    door_account,
    errors,
    guard,
    headers,
    health,
    openapi,
    orders,
    pages,
    sessions,
    static,
    stream,
    texts,
)


def register(app: Flask) -> None:
    """Put every route and hook into `app`. The guard comes before all of them."""
    headers.register(app)
    compression.register(app)
    texts.register(app)
    static.register(app)
    errors.register(app)
    guard.register(app)
    app.extensions["state"] = SingleFlight(api.written_state)
    app.register_blueprint(api.blueprint)
    app.register_blueprint(orders.blueprint)
    app.register_blueprint(door.blueprint)
    app.register_blueprint(door_account.blueprint)
    app.register_blueprint(stream.blueprint)
    app.register_blueprint(openapi.blueprint)
    app.register_blueprint(health.blueprint)
    app.register_blueprint(sessions.blueprint)
    app.register_blueprint(pages.blueprint)
