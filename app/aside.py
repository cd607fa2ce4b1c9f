"""What keeps a processor busy, beside a server of greenlets."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

from gevent import get_hub, monkey

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def aside(work: Callable[Arguments, Result], *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
    """Do it in a thread of its own, where the server is a loop that it would hold up.

    `work` should let go of the interpreter's lock, as hashing and packing do, and must not raise: gevent would
    write a traceback of it to the log.
    """
    if monkey.is_module_patched("threading"):
        return cast("Result", get_hub().threadpool.apply(work, args, kwargs))
    return work(*args, **kwargs)
