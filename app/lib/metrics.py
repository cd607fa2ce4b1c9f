"""What the processes of a server count for Prometheus, each for itself and read together.

Only what is of a process: how long the gate takes, who listens, which requests failed. What is so of the desk
(decisions, what waits) is read from the database, where it is true however many processes, machines and commands
there are: app/services/reporting/metrics.py.

With PROMETHEUS_MULTIPROC_DIR in the environment every process counts in files of its own in that folder
(gunicorn.conf.py makes a new one at each start), so what a killed worker had counted stays counted.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import choose_encoder
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

if TYPE_CHECKING:
    from prometheus_client.metrics import MetricWrapperBase
    from prometheus_client.registry import Collector

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

FOLDER = os.environ.get("PROMETHEUS_MULTIPROC_DIR")

GATE = Histogram(
    "countersign_gate_seconds",
    "How long it took to decide an order and to write it down, in seconds.",
    buckets=(0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0),
    registry=None,
)
ANSWERS = Counter(
    "countersign_http_answers", "Requests that were answered, by their status.", ["status"], registry=None
)
VENUE_ERRORS = Counter(
    "countersign_venue_errors",
    "Requests to a venue that failed: not_sent (it never had it), no_answer (it may have), refused (it said no).",
    ["venue", "kind"],
    registry=None,
)
STREAMS = Gauge("countersign_stream_clients", "Open streams of pages.", multiprocess_mode="livesum", registry=None)
WAITS = Gauge(
    "countersign_waiting_requests",
    "Requests of engines that wait for a decision.",
    multiprocess_mode="livesum",
    registry=None,
)
WORKERS = Gauge("countersign_workers", "Processes that serve.", multiprocess_mode="livesum", registry=None)
LEADERS = Gauge(
    "countersign_keepers",
    "Processes that keep the desk: over all machines there is one, or for a moment none.",
    multiprocess_mode="livesum",
    registry=None,
)
ALL: tuple[MetricWrapperBase, ...] = (GATE, ANSWERS, VENUE_ERRORS, STREAMS, WAITS, WORKERS, LEADERS)

# Looked up once for each status: that takes as long as to count.
_by_status: dict[int, Counter] = {}


def answered(status: int) -> None:
    """Count an answer."""
    counter = _by_status.get(status)
    if counter is None:
        counter = _by_status[status] = ANSWERS.labels(str(status))
    counter.inc()


def timing_the_gate(decide: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Tell how long a decision took, where one came about: what was refused before is no decision."""

    @wraps(decide)
    def timed(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        began = time.perf_counter()
        decided = decide(*args, **kwargs)
        GATE.observe(time.perf_counter() - began)
        return decided

    return timed


def gone(pid: int) -> None:
    """A process has ended: what it was doing just then is not being done any more."""
    if FOLDER:
        mark_process_dead(pid, FOLDER)


def exposition(more: Collector, accept: str) -> tuple[bytes, str]:
    """Everything as text for whoever sent that Accept header, and its content type."""
    registry = CollectorRegistry()
    for one in [MultiProcessCollector(None, FOLDER)] if FOLDER else ALL:
        registry.register(one)
    registry.register(more)
    encode, kind = choose_encoder(accept)
    return encode(registry), kind


class Shared:
    """A JSON value that all processes of this server have in common, with a version that counts its changes.

    It is replaced by whoever has seen the newest, so that no two count the same. Nobody waits for a process that
    is frozen in the middle, and a killed one leaves either the old value or the new one.
    """

    PATIENCE = 0.2  # seconds

    def __init__(self, name: str) -> None:
        self._path = Path(FOLDER) / f"{name}.json" if FOLDER else None
        self._lock = threading.Lock()
        self._value: tuple[int, Any] = (0, None)

    def read(self) -> tuple[int, Any]:
        """Version and value; (0, None) as long as there is none."""
        if self._path is None:
            return self._value
        try:
            version, value = json.loads(self._path.read_text())
        except FileNotFoundError:
            return 0, None
        return version, value

    def replace(self, seen: int, value: Any) -> bool:
        """Whether it was still at the version `seen`, and is `value` from now on."""
        with self._lock:
            if self._path is None:
                if self._value[0] != seen:
                    return False
                self._value = seen + 1, value
                return True
            return self._replace_file(self._path, seen, value)

    def _replace_file(self, path: Path, seen: int, value: Any) -> bool:
        lock = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if not _locked(lock, self.PATIENCE) or self.read()[0] != seen:
                return False
            fresh = path.with_suffix(f".{os.getpid()}")
            fresh.write_text(json.dumps([seen + 1, value]))
            fresh.replace(path)
            return True
        finally:
            os.close(lock)


def _locked(lock: int, patience: float) -> bool:
    """The kernel's own waiting would stop every greenlet of the process."""
    deadline = time.monotonic() + patience
    while True:
        with suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)


def begin() -> None:
    """This process serves. A series that is there from the beginning, at nothing, is one whose first increase is
    seen."""
    WORKERS.set(1)
    for status in (200, 201, 401, 500, 503):
        ANSWERS.labels(str(status))
