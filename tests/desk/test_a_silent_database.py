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
from app import waiting
waiting.install()
connection = psycopg.connect(sys.argv[1])
waiting.bound(connection, {BOUND})
print("asking", flush=True)
try:
    print(connection.execute("SELECT 'answered' FROM pg_sleep({STATEMENT})").fetchone()[0])
except psycopg.OperationalError:
    print("cut")
"""


@pytest.mark.alone
@pytest.mark.parametrize(("stands_still", "comes_to"), [(False, "cut"), (True, "answered")])
def test_it_is_given_the_same_time_again_where_the_machine_stood_still(
    postgres_server: URL, stands_still: bool, comes_to: str
) -> None:
    url = postgres_server.set(drivername="postgresql").render_as_string(hide_password=False)
    asking = subprocess.Popen([sys.executable, "-c", ASKING, url], cwd=PROJECT, stdout=subprocess.PIPE, text=True)
    with asking:
        assert asking.stdout is not None
        assert asking.stdout.readline() == "asking\n"
        if stands_still:
            time.sleep(0.3)
            os.kill(asking.pid, signal.SIGSTOP)
            time.sleep(BOUND + 1.5)
            os.kill(asking.pid, signal.SIGCONT)
        assert asking.stdout.read() == f"{comes_to}\n"
