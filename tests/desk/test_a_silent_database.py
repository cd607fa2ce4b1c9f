"""A connection that says nothing for too long is cut, unless it was this machine that stood still."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
from sqlalchemy.engine import URL

from app.settings import PROJECT

BOUND, STATEMENT = 4, 7  # seconds
ASKING = f"""
from gevent import monkey
monkey.patch_all()
import sys
import psycopg
from app.db import gevent_wait
gevent_wait.install()
connection = psycopg.connect(sys.argv[1])
gevent_wait.bound(connection, {BOUND})
print("asking", flush=True)
try:
    print(connection.execute("SELECT 'answered' FROM pg_sleep({STATEMENT})").fetchone()[0])
except psycopg.OperationalError:
    print("cut")
"""


@pytest.mark.alone
def test_it_is_given_the_same_time_again_where_the_machine_stood_still(postgres_server: URL) -> None:
    """Two processes ask the same at the same time; one of them is stopped for longer than a connection may be
    silent."""
    url = postgres_server.set(drivername="postgresql").render_as_string(hide_password=False)

    def ask() -> subprocess.Popen[str]:
        command = [sys.executable, "-c", ASKING, url]
        return subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True)

    with ask() as running, ask() as stopped:
        assert running.stdout is not None
        assert stopped.stdout is not None
        assert [asking.stdout.readline() for asking in (running, stopped)] == ["asking\n"] * 2  # type: ignore[union-attr]
        time.sleep(0.3)
        os.kill(stopped.pid, signal.SIGSTOP)
        time.sleep(BOUND + 1.5)
        os.kill(stopped.pid, signal.SIGCONT)
        assert running.stdout.read() == "cut\n"
        assert stopped.stdout.read() == "answered\n"
