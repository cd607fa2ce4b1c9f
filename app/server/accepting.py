"""How a worker takes new connections: one at a time while few come, all that wait when many do."""

from __future__ import annotations

import socket
import struct
from typing import Any

from gevent.server import StreamServer

# Where more than this wait at the door, they are let in together. One at a time, which shares them out evenly
# among the workers, somebody who comes last (to halt, say) waits until all that came before have been worked at.
FEW = 16
MOST = 500
WAITING_AT = 24  # where in Linux's `struct tcp_info` of a listening socket it says how many are to be accepted


class Door(StreamServer):
    """gunicorn sets `max_accept` to 1 when there are several workers; it is a number of the moment here."""

    @property
    def max_accept(self) -> int:
        if not hasattr(socket, "TCP_INFO") or self.socket.family not in (socket.AF_INET, socket.AF_INET6):
            return 1
        info = self.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, WAITING_AT + 4)
        [waiting] = struct.unpack_from("I", info, WAITING_AT)
        return min(waiting, MOST) if waiting > FEW else 1

    @max_accept.setter
    def max_accept(self, value: Any) -> None:
        pass


def install() -> None:
    """From now on gunicorn's workers take connections so."""
    from gunicorn.workers import ggevent  # type: ignore[import-untyped]

    ggevent.StreamServer = Door
