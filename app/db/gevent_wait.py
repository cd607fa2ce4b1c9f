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
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg.waiting
from gevent import get_hub, getcurrent

patient = psycopg.waiting.wait_poll

LONGEST = 12.0  # seconds; statements take less (SESSION_SETTINGS in app/db/transaction.py) but for `longer`
TICK = 0.5  # seconds
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


class Watch:
    """Cuts each connection of a loop that stays silent for too long.

    It counts ticks rather than time: while this machine stands still there are none, and then not the database is
    to blame. And a timer for each statement would cost an order more than a place in a dictionary does.
    """

    def __init__(self, loop: Any) -> None:
        self.left: dict[int, float] = {}  # seconds, by file descriptor
        self.alarms: dict[Any, tuple[float, BaseException]] = {}  # seconds and what is raised, by greenlet
        self._loop = loop
        self._watchers: dict[tuple[int, int], Any] = {}
        self._timer = loop.timer(TICK, TICK, ref=False)
        self._timer.start(self._tick)

    def watcher(self, fileno: int, events: int) -> Any:
        """gevent's. It is kept, for one file descriptor is as good as another of the same number."""
        found = self._watchers.get((fileno, events))
        if found is None or found.active:
            found = self._watchers[fileno, events] = self._loop.io(fileno, events)
        return found

    def _tick(self) -> None:
        for fileno, left in list(self.left.items()):
            self.left[fileno] = left - TICK
            if left <= 0:
                # Whoever waits wakes up by this and finds what is left to read, which is an end in the middle.
                with socket.socket(fileno=os.dup(fileno)) as connection, suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        for greenlet, (left, error) in list(self.alarms.items()):
            if greenlet in self.alarms:  # or an alarm before this one has ended it
                self.alarms[greenlet] = (left - TICK, error)
                if left <= 0:
                    greenlet.throw(error)


def _watch_of(hub: Any) -> Watch:
    try:
        watch: Watch = hub.countersign_watch
    except AttributeError:
        watch = hub.countersign_watch = Watch(hub.loop)
    return watch


class Within:
    """Raises `error` in this greenlet where what is done in here takes longer than so many seconds, counted in
    ticks too: while the machine stands still nobody is slow."""

    __slots__ = ("_alarms", "_error", "_greenlet", "_seconds")

    def __init__(self, seconds: float, error: BaseException) -> None:
        self._seconds, self._error = seconds, error

    def __enter__(self) -> None:
        self._greenlet = getcurrent()
        self._alarms = _watch_of(get_hub()).alarms
        self._alarms[self._greenlet] = (self._seconds, self._error)

    def __exit__(self, *error: object) -> None:
        del self._alarms[self._greenlet]


def wait(generator: Any, fileno: int, interval: float = 0.0, timeout: float | None = None) -> Any:
    """Drive one of psycopg's generators; while the socket is not ready, other greenlets run.

    psycopg's bits for reading and writing are those of gevent's loop. What has a time-out is left to psycopg.
    """
    if timeout is not None:
        return patient(generator, fileno, interval, timeout)
    try:
        wanted = next(generator)
        hub = get_hub()
        watch = _watch_of(hub)
        left = watch.left
        left[fileno] = _bounds.get(fileno, LONGEST)
        try:
            while True:
                hub.wait(watch.watcher(fileno, int(wanted)))
                wanted = generator.send(wanted)
        finally:
            del left[fileno]
    except StopIteration as end:
        return end.value


def install() -> None:
    """From now on, for every connection of this process."""
    psycopg.waiting.wait = wait  # type: ignore[assignment]
