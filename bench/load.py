"""A load of requests over kept connections, each sending its next one as soon as it has its answer."""

from __future__ import annotations

import itertools
import selectors
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

Request = Callable[[int], bytes]  # from the running number of the request to its bytes
numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Measured:
    """Requests a second, and the times that they took, in seconds and sorted."""

    rate: float
    times: list[float]

    def percentile(self, part: float) -> float:
        return self.times[min(int(len(self.times) * part), len(self.times) - 1)]


class Client:
    """One kept connection."""

    def __init__(self, port: int, request: Request, expected: bytes) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._request, self._expected = request, expected
        self._answer = b""
        self.began = 0.0

    def send(self) -> None:
        self._answer = b""
        self.began = time.perf_counter()
        self.socket.sendall(self._request(next(numbers)))

    def is_answered(self) -> bool:
        self._answer += self.socket.recv(65_536)
        head, gap, body = self._answer.partition(b"\r\n\r\n")
        if not gap:
            return False
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        if len(body) < length:
            return False
        if not head.startswith(b"HTTP/1.1 " + self._expected):
            raise AssertionError(self._answer.decode())
        return True


def load(port: int, request: Request, *, connections: int, seconds: float, expected: bytes = b"201") -> Measured:
    """Keep the server on `port` busy for `seconds`; every answer must have the `expected` status."""
    times = []
    with selectors.DefaultSelector() as selector:
        for _ in range(connections):
            client = Client(port, request, expected)
            selector.register(client.socket, selectors.EVENT_READ, client)
            client.send()
        began = time.perf_counter()
        while (now := time.perf_counter()) < began + seconds:
            for key, _ in selector.select(timeout=1):
                if key.data.is_answered():
                    times.append(time.perf_counter() - key.data.began)
                    key.data.send()
        for key in list(selector.get_map().values()):
            key.data.socket.close()
    return Measured(len(times) / (now - began), sorted(times))
