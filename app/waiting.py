"""How psycopg waits for the database in a server of greenlets: on gevent's own watcher, and not for ever.

psycopg's choice under gevent is a patched `poll`, which costs twice the processor time of the round trip itself
(`bench/`, docs/PERFORMANCE.md). Like psycogreen for its predecessor, this takes the place of that one function.

A database that hangs refuses nobody and answers nobody: its own time-outs hang with it, and the kernel goes on
saying that the other side is there. So whoever hears nothing for longer than any statement may take cuts the
connection, which from there on is like any other that broke.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg.waiting
from gevent import get_hub

patient = psycopg.waiting.wait_poll

LONGEST = 12.0  # seconds; statements take less (SESSION_SETTINGS in app/desk/transaction.py) but for `longer`
STOOD_STILL = 1.0  # seconds by which an alarm is late where not the database, but this machine stood still
_bounds: dict[int, float] = {}  # of connections with shorter time-outs, by their file descriptors


def bound(connection: psycopg.Connection[Any], seconds: float) -> None:
    """How long this connection may be silent in the middle of a statement."""
    _bounds[connection.fileno()] = seconds


@contextmanager
def longer(connection: psycopg.Connection[Any], seconds: float) -> Iterator[None]:
    """For a statement that may take so long, as it has told the server."""
    fileno = connection.fileno()
    usual = _bounds.get(fileno, LONGEST)
    _bounds[fileno] = seconds
    try:
        yield
    finally:
        _bounds[fileno] = usual


class Alarm:
    """Cuts a connection that stays silent for too long, unless it is stopped before."""

    __slots__ = ("_due", "_fileno", "_loop", "_seconds", "_timer")

    def __init__(self, loop: Any, fileno: int) -> None:
        self._loop = loop
        self._fileno = fileno
        self._seconds = _bounds.get(fileno, LONGEST)
        self._start()

    def _start(self) -> None:
        # Another timer each time: one that has rung is over at once when it is started again.
        self._due = time.monotonic() + self._seconds
        self._timer = self._loop.timer(self._seconds)
        self._timer.start(self._ring)

    def stop(self) -> None:
        self._timer.close()

    def _ring(self) -> None:
        if time.monotonic() > self._due + STOOD_STILL:
            self._timer.close()
            self._loop.update_now()
            self._start()  # the database has the same time again, for it stood still as well
            return
        # Whoever waits wakes up by this and finds what is left to read, which is an end in the middle.
        with socket.socket(fileno=os.dup(self._fileno)) as connection, suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)


def wait(generator: Any, fileno: int, interval: float = 0.0, timeout: float | None = None) -> Any:
    """Drive one of psycopg's generators; while the socket is not ready, other greenlets run.

    psycopg's bits for reading and writing are those of gevent's loop. What has a time-out is left to psycopg.
    """
    if timeout is not None:
        return patient(generator, fileno, interval, timeout)
    try:
        wanted = next(generator)
        hub = get_hub()
        alarm = Alarm(hub.loop, fileno)
        try:
            while True:
                watcher = hub.loop.io(fileno, int(wanted))
                try:
                    hub.wait(watcher)
                finally:
                    watcher.close()
                wanted = generator.send(wanted)
        finally:
            alarm.stop()
    except StopIteration as end:
        return end.value


def install() -> None:
    """From now on, for every connection of this process."""
    psycopg.waiting.wait = wait  # type: ignore[assignment]
