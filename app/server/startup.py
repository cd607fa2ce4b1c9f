"""Wait for a database that is not up yet."""

from __future__ import annotations

import logging
import time

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.errors import ConnectionTimeout
from psycopg.pq import PGconn, Ping
from sqlalchemy.engine import URL

from app.db.pooler import closed_after
from app.lib.outages import first_line
from app.settings import SettingsError

log = logging.getLogger(__name__)

DATABASE_TIMEOUT = 30.0  # seconds
RETRY_EVERY = 0.5
CONNECT_TIMEOUT = 5  # seconds
ANSWER_TIMEOUT = 5.0  # seconds; a pooler accepts connections and keeps their statements waiting for a server
# What PgBouncer answers, in these words in every language, while it has no connection to PostgreSQL.
POOLER_WAITS = ("server_login_retry", "query_wait_timeout")


def wait_for_database(url: URL, name: str = "DATABASE_URL") -> None:
    """Return once the database at `url` answers a query; log one line if it has to be waited for.

    Raises SettingsError immediately if the server answers but refuses this connection (a wrong password, no such
    database), and after DATABASE_TIMEOUT if it does not answer, refuses all connections or is starting up.
    """
    plain = url.set(drivername="postgresql").render_as_string(hide_password=False)
    dsn = make_conninfo(plain, connect_timeout=CONNECT_TIMEOUT)
    began = time.monotonic()
    waits = False
    refusals = 0
    while True:
        try:
            _require_answer(dsn)
            break
        except psycopg.OperationalError as error:
            reason = first_line(error)
            if not _may_come_up(dsn, error):
                refusals += 1
                if refusals > 1:  # the first may be that of a server that has come up since
                    raise SettingsError(f"{name}: the database refuses the connection: {reason}") from None
                continue
        if time.monotonic() - began >= DATABASE_TIMEOUT:
            raise SettingsError(f"{name}: the database did not answer within {DATABASE_TIMEOUT:.0f} s: {reason}")
        if not waits:
            waits = True
            log.warning("the database does not answer yet, waiting for up to %.0f s: %s", DATABASE_TIMEOUT, reason)
        time.sleep(RETRY_EVERY)
    if waits:
        log.warning("the database answers after %.1f s", time.monotonic() - began)


def _require_answer(dsn: str) -> None:
    """Raises psycopg.OperationalError."""
    with (
        psycopg.connect(dsn, autocommit=True) as connection,
        closed_after(ANSWER_TIMEOUT, [connection]) as expired,
    ):
        try:
            connection.execute("SELECT 1")
        except psycopg.OperationalError:
            if expired.is_set():
                raise ConnectionTimeout(f"no answer to a statement within {ANSWER_TIMEOUT:g} s") from None
            raise


def _may_come_up(dsn: str, error: psycopg.OperationalError) -> bool:
    """Whether nothing answers at that address, or a server that takes no connections yet.

    libpq's ping tells them from a server that refuses this client; the messages depend on the server's language.
    """
    if isinstance(error, ConnectionTimeout) or any(words in str(error) for words in POOLER_WAITS):
        return True
    return Ping(PGconn.ping(dsn.encode())) in (Ping.NO_RESPONSE, Ping.REJECT)
