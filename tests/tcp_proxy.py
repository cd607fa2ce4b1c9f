"""A TCP proxy whose open connections fall silent, as they do when a laptop changes its network."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from urllib.parse import urlsplit

CHUNK = 65536


class Connection:
    """One connection of a client, and its own to the server."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client = client
        self.server = server
        self.silent = False
        self.open = True
        for source, target in ((client, server), (server, client)):
            threading.Thread(target=self._forward, args=(source, target), daemon=True).start()

    def _forward(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(CHUNK):
                if not self.silent:
                    target.sendall(data)
        self.open = False
        if not self.silent or source is self.client:
            self.close()

    def close(self) -> None:
        for end in (self.client, self.server):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


class Proxy:
    """Forwards to the server at `target` from `url`."""

    def __init__(self, target: str) -> None:
        parts = urlsplit(target)
        self._target = (parts.hostname or "", parts.port or 80)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._connections: list[Connection] = []
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._connections.append(Connection(client, socket.create_connection(self._target)))

    def open_connections(self) -> list[Connection]:
        return [each for each in self._connections if each.open]

    def silence(self, every: int = 1) -> int:
        """From now on the connections that are open, or every second or third of them, take what is sent to them,
        never answer and never close. New ones work. How many fell silent."""
        chosen = self.open_connections()[::every]
        for each in chosen:
            each.silent = True
        return len(chosen)

    def close(self) -> None:
        self._listener.close()
        for each in self._connections:
            each.close()
