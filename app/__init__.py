"""Countersign: the operator's desk between trading engines and the broker."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

from flask import Flask
from sqlalchemy import event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.pool import NullPool
from werkzeug.middleware.proxy_fix import ProxyFix

from app import extensions, web
from app.db import gevent_wait
from app.db import migrate as schema
from app.db.embedded import EmbeddedPostgres
from app.db.frozen_sessions import HALTS
from app.db.pool import ShelfPool
from app.db.statements import Line
from app.db.transaction import (
    CONNECTING,
    CREDENTIALS,
    DECISIONS,
    RULES,
    SESSION_SETTINGS,
    SHORT_SETTINGS,
    SHORT_SILENCE,
    STOPS,
)
from app.extensions import csrf, migrate
from app.lib import logs, strict_json
from app.server.leader import election
from app.server.notifier import Notifier
from app.services.accounts.login_throttle import SignInThrottle
from app.services.accounts.token_usage import LastUsed
from app.services.execution.brokers.alpaca import Alpaca
from app.services.execution.brokers.base import Venue
from app.services.execution.brokers.instrumented import Counted
from app.services.execution.dispatcher import Dispatch
from app.services.live.listener import Hub
from app.services.orders import submit
from app.services.reporting.metrics import FIGURES
from app.settings import Settings

MAX_BODY_BYTES = 1024 * 1024


class Application(Flask):
    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """No function here is a coroutine; Flask asks that of seven at every request."""
        return func


def create_app(settings: Settings | None = None) -> Flask:
    """The application: the one place that wires things together. Raises SettingsError."""
    settings = settings or Settings.from_environment()
    app = Application(__name__)
    app.config.update(
        SECRET_KEY=settings.session_secret(),
        SQLALCHEMY_DATABASE_URI=database_url(settings),
        SQLALCHEMY_ENGINE_OPTIONS=_sessions(size=6, overflow=2),
        # Decisions and reads never take the connection that a halt needs, nor the one that authenticates a halt.
        # A worker has 22 connections, two more for background jobs and the change listener, and one each during a
        # read of /metrics and while a halt waits for frozen sessions.
        SQLALCHEMY_BINDS={
            STOPS: {"url": database_url(settings), **_sessions(size=1)},
            RULES: {"url": database_url(settings), **_sessions(size=1)},
            DECISIONS: _driver(settings, "countersign decisions", size=8),
            CREDENTIALS: _driver(settings, "countersign credentials", size=4),
            FIGURES: _asking(settings, "countersign metrics"),
            HALTS: _asking(settings, "countersign halts"),
        },
        SELF_APPROVAL=settings.self_approval,
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_REFRESH_EACH_REQUEST=False,
        PERMANENT_SESSION_LIFETIME=timedelta(days=7),
        MAX_CONTENT_LENGTH=MAX_BODY_BYTES,
        PROVIDE_AUTOMATIC_OPTIONS=False,
        # The guard decides which requests a cookie authenticates; a desk stays open all day.
        WTF_CSRF_CHECK_DEFAULT=False,
        WTF_CSRF_TIME_LIMIT=None,
        # Flask-WTF accepts a Referer only; app/web/security/same_origin.py also accepts Origin and Sec-Fetch-Site.
        WTF_CSRF_SSL_STRICT=False,
    )
    if settings.trusted_proxies:
        hops = settings.trusted_proxies
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops, x_host=hops)  # type: ignore[method-assign]
    extensions.db.init_app(app)
    app.teardown_appcontext_funcs.clear()  # Flask-SQLAlchemy's would end db.session, which nobody here may use
    migrate.init_app(app, extensions.db, directory=str(schema.migrations()))
    csrf.init_app(app)
    _prepare_connections(app)
    app.extensions["live"] = Hub(database_url(settings))
    app.extensions["last_used"] = LastUsed()
    app.extensions["sign_in_throttle"] = SignInThrottle()
    app.extensions["dispatch"] = Dispatch(_venues(settings), settings.send_within)
    app.extensions["notifier"] = Notifier(app, settings)
    app.extensions["election"] = election
    logs.hide([*settings.secrets, app.config["SECRET_KEY"], database_url(settings).password])

    app.add_template_filter(strict_json.dumps, "exact_json")
    # The state in a page reads as that of /state does, so that the first to be read after it changes no row.
    app.jinja_env.policies["json.dumps_kwargs"] = {"sort_keys": False, "separators": (",", ":")}
    web.register(app, settings)
    return app


def _venues(settings: Settings) -> dict[str, Venue]:
    return {
        mode: Counted(Alpaca(account, mode, settings.venue_patience)) for mode, account in settings.alpaca.items()
    }


def database_url(settings: Settings) -> URL:
    """Where the tables are. Raises EmbeddedError when the embedded database was never made."""
    if settings.database_url is not None:
        return settings.database_url
    return make_url(embedded(settings).dsn()).set(drivername="postgresql+psycopg")


def embedded(settings: Settings) -> EmbeddedPostgres:
    return EmbeddedPostgres(settings.instance / "postgres")


def _pool(name: str, *, size: int, overflow: int = 0) -> dict[str, Any]:
    return {
        "pool_size": size,
        "max_overflow": overflow,
        "pool_timeout": 5,
        "connect_args": {**CONNECTING, "application_name": name},
    }


def _sessions(**size: int) -> dict[str, Any]:
    """Connections for SQLAlchemy's sessions."""
    return {
        "isolation_level": "READ COMMITTED",
        "json_serializer": strict_json.dumps,
        "json_deserializer": strict_json.loads_stored,
        "pool_pre_ping": True,
        "hide_parameters": True,  # an error names the statement; among what it was given are hashes of secrets
        **_pool("countersign", **size),
    }


def _driver(settings: Settings, name: str, *, size: int) -> dict[str, Any]:
    """Connections of the driver itself, on which a statement is its own transaction unless it says BEGIN."""
    return {
        "url": database_url(settings),
        "isolation_level": "AUTOCOMMIT",
        "pool_reset_on_return": None,  # app/db/pool.py ends what was begun on one of these
        "poolclass": ShelfPool,
        **_pool(name, size=size),
    }


def _asking(settings: Settings, name: str) -> dict[str, Any]:
    """A connection for as long as a question takes: a monitor is to be answered when all pools are taken."""
    return {
        "url": database_url(settings),
        "isolation_level": "AUTOCOMMIT",
        "pool_reset_on_return": None,
        "poolclass": NullPool,
        "connect_args": {**CONNECTING, "connect_timeout": 2, "application_name": name},
    }


def _prepare_connections(app: Flask) -> None:
    short = f"{SESSION_SETTINGS}; {SHORT_SETTINGS}"
    with app.app_context():
        for pool, first in (
            (None, SESSION_SETTINGS),
            (STOPS, SESSION_SETTINGS),
            (RULES, SESSION_SETTINGS),
            (DECISIONS, f"{short}; {submit.PREPARE}"),
            (CREDENTIALS, short),
            (FIGURES, f"{short}; SET statement_timeout = '2s'"),
            (HALTS, f"{short}; SET statement_timeout = '2s'"),
        ):
            event.listen(extensions.db.engines[pool], "connect", partial(_prepare, pool, first))


def _prepare(pool: str | None, first: str, connection: Any, entry: Any) -> None:
    connection.execute(first)
    connection.commit()
    gevent_wait.bound(
        connection, SHORT_SILENCE if pool in (DECISIONS, CREDENTIALS, FIGURES, HALTS) else gevent_wait.LONGEST
    )
    if pool in (DECISIONS, CREDENTIALS):
        entry.info["line"] = Line(connection)
