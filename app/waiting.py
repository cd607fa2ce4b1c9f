"""How psycopg waits for the database in a server of greenlets: on gevent's own watcher.

psycopg's choice under gevent is a patched `poll`, which costs twice the processor time of the round trip itself
(`bench/`, docs/PERFORMANCE.md). Like psycogreen for its predecessor, this takes the place of that one function.
"""

from __future__ import annotations

from typing import Any

import psycopg.waiting
from gevent import get_hub

patient = psycopg.waiting.wait_poll


def wait(generator: Any, fileno: int, interval: float = 0.0, timeout: float | None = None) -> Any:
    """Drive one of psycopg's generators; while the socket is not ready, other greenlets run.

    psycopg's bits for reading and writing are those of gevent's loop. What has a time-out is left to psycopg.
    """
    if timeout is not None:
        return patient(generator, fileno, interval, timeout)
    try:
        wanted = next(generator)
        hub = get_hub()
        while True:
            watcher = hub.loop.io(fileno, int(wanted))
            try:
                hub.wait(watcher)
            finally:
                watcher.close()
            wanted = generator.send(wanted)
    except StopIteration as end:
        return end.value


def install() -> None:
    """From now on, for every connection of this process."""
    psycopg.waiting.wait = wait  # type: ignore[assignment]
