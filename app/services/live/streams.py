"""The open streams of a process: what is told is the same for all of them, and each ends for itself."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from app.lib import metrics

Credential = str | bytes  # the id of a token, or the hash of a session's secret

# Each holds one of the connections that the worker has for everybody.
MOST_OF_ONE = 500  # of one account in a process
MOST = 1000  # in a process
BEAT_EVERY = 10.0  # seconds
SILENCE = BEAT_EVERY + 5  # after which whoever tells must be stuck, for there was no beat
COME_BACK_AFTER = 2000  # milliseconds, for a browser


@dataclass(frozen=True, slots=True)
class Told:
    """The last that was told, and how often there was news and how often a beat."""

    version: int = 0
    news: int = 0
    beats: int = 0


def _event(version: int, name: str = "") -> bytes:
    head = f"event: {name}\n" if name else ""
    return f'{head}data: {{"state_version": {version}}}\n\n'.encode()


class Stream:
    """Server-sent events, as bytes, until it ends. Whoever reads slowly hears of many changes once."""

    def __init__(
        self, streams: Streams, account_id: int | None, credential: Credential | None, told: Told
    ) -> None:
        self.account_id = account_id
        self.credential = credential
        self.is_broken: Callable[[], bool] = lambda: False  # whether whoever reads is known to be gone
        self._streams = streams
        self._heard = told
        self._first = b""
        self._woken = threading.Event()
        self._ended = False

    def greet(self, version: int) -> None:
        """Begin with the present version, so that whoever comes back knows what was missed."""
        self._first = b"retry: %d\n\n" % COME_BACK_AFTER + _event(version)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        first, self._first = self._first, b""
        if first:
            return first
        while self._woken.wait(SILENCE):
            self._woken.clear()  # before looking, so that whatever comes meanwhile wakes it again
            if self._ended or self.is_broken():
                break
            heard, told = self._heard, self._streams.told
            self._heard = told
            said = _event(told.version) if told.news != heard.news else b""
            if told.beats != heard.beats:
                said += _event(told.version, "beat")
            if said:
                return said
        raise StopIteration

    def wake(self) -> None:
        self._woken.set()

    def end(self) -> None:
        self._ended = True
        self._woken.set()

    def close(self) -> None:
        """Nobody reads any more."""
        self._streams.leave(self)


class Streams:
    """All of them."""

    def __init__(self) -> None:
        self.told = Told()
        self._lock = threading.Lock()
        self._open: set[Stream] = set()
        self._of: Counter[int | None] = Counter()
        self._is_closed = False

    def __bool__(self) -> bool:
        return bool(self._open)

    def open(self, account_id: int | None, credential: Credential | None) -> Stream | None:
        """A stream that hears everything from now on, to be closed; None where there are too many already.

        Where they are closed it ends at once: browsers come again after an end, and not after a refusal.
        """
        with self._lock:
            if self._of[account_id] >= MOST_OF_ONE or len(self._open) >= MOST:
                return None
            stream = Stream(self, account_id, credential, self.told)
            self._open.add(stream)
            self._of[account_id] += 1
            metrics.STREAMS.inc()
            if self._is_closed:
                stream.end()
            return stream

    def leave(self, stream: Stream) -> None:
        with self._lock:
            if stream in self._open:
                self._open.remove(stream)
                self._of[stream.account_id] -= 1
                metrics.STREAMS.dec()

    def credentials(self) -> set[Credential]:
        """Those that they were opened with."""
        return {stream.credential for stream in self._all() if stream.credential is not None}

    def tell(self, version: int) -> None:
        """There is news."""
        self._say(Told(version, self.told.news + 1, self.told.beats))

    def beat(self, version: int) -> None:
        """There is none, and yet this could be heard."""
        self._say(Told(version, self.told.news, self.told.beats + 1))

    def end_of(self, ended: Collection[Credential]) -> None:
        """End those that were opened with one of these."""
        for stream in self._all():
            if stream.credential in ended:
                stream.end()

    def end(self) -> None:
        """End all of them."""
        for stream in self._all():
            stream.end()

    def close(self) -> None:
        """End all of them, and have no more."""
        with self._lock:
            self._is_closed = True
        self.end()

    def _say(self, told: Told) -> None:
        with self._lock:
            self.told = told
        for stream in self._all():
            stream.wake()

    def _all(self) -> list[Stream]:
        with self._lock:
            return list(self._open)
