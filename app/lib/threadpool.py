"""CPU-bound work in a server of greenlets: in gevent's thread pool, or in pieces between which others run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from time import perf_counter
from typing import ParamSpec, TypeVar, cast

import gevent
from gevent import get_hub, monkey

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
Item = TypeVar("Item")

SLICE = 0.005  # seconds of work after which other greenlets run
# Seconds; not 0, with which gevent goes on to greenlets that are ready, and does not look for new input first.
PAUSE = 0.0001


def aside(work: Callable[Arguments, Result], *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
    """Do it in a thread of its own, where the server is a loop that it would hold up.

    `work` should let go of the interpreter's lock, as hashing and packing do, and must not raise: gevent would
    write a traceback of it to the log.
    """
    if monkey.is_module_patched("threading"):
        return cast("Result", get_hub().threadpool.apply(work, args, kwargs))
    return work(*args, **kwargs)


def in_slices(items: Iterable[Item]) -> Iterator[Item]:
    """The same items; other greenlets run whenever work on them has taken SLICE, so none waits for all of it."""
    cooperates = monkey.is_module_patched("threading")
    began = perf_counter()
    for item in items:
        yield item
        if cooperates and perf_counter() - began > SLICE:
            gevent.sleep(PAUSE)
            began = perf_counter()
