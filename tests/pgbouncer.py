"""A real PgBouncer on a loopback port in front of the tests' PostgreSQL."""

from __future__ import annotations

import os
import pwd
import select
import shutil
import socket
import socketserver
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import URL

from tests.at_once import until
from tests.database import connect
from tests.serving import free_port

PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
needs_pgbouncer = pytest.mark.skipif(PGBOUNCER is None, reason="PgBouncer is not installed")


@contextmanager
def pgbouncer(database: URL, mode: str, **settings: object) -> Iterator[URL]:
    """The URL of `database` through a PgBouncer with that `pool_mode` and these settings."""
    port = free_port()
    # PgBouncer refuses to run as root, and no other account may enter the folder of the embedded server's socket.
    account = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
    with relay(database) as server_port, tempfile.TemporaryDirectory() as folder:
        given = {
            "listen_addr": "127.0.0.1", "listen_port": port, "unix_socket_dir": "", "auth_type": "any",
            "pool_mode": mode, "logfile": "", "server_login_retry": 1,
        } | settings  # fmt: skip
        lines = [
            "[databases]",
            f"* = host=127.0.0.1 port={server_port} user={database.username} password={database.password}",
            "[pgbouncer]",
            *(f"{name} = {value}" for name, value in given.items()),
        ]
        config = Path(folder, "pgbouncer.ini")
        config.write_text("\n".join(lines) + "\n")
        if account is not None:
            os.chown(folder, account.pw_uid, account.pw_gid)
            os.chown(config, account.pw_uid, account.pw_gid)
        log = Path(folder, "log")
        with log.open("wb") as output:
            process = subprocess.Popen(
                [str(PGBOUNCER), str(config)],
                stdout=output,
                stderr=output,
                user=account and account.pw_uid,
                group=account and account.pw_gid,
                extra_groups=[] if account else None,
            )
        try:
            until(lambda: process.poll() is not None or _listens(port), what="PgBouncer does not listen")
            assert process.poll() is None, log.read_text()
            yield database.set(host="127.0.0.1", port=port, query={})
        finally:
            process.kill()
            process.wait()


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


class Relay(socketserver.ThreadingTCPServer):
    allow_reuse_address = True


@contextmanager
def relay(database: URL, port: int = 0) -> Iterator[int]:
    """A loopback port that leads to the server of `database`, which may listen on a Unix socket alone."""
    with connect(database) as connection:
        host, server_port = connection.info.host, connection.info.port
    target: Any = f"{host}/.s.PGSQL.{server_port}" if host.startswith("/") else (host, server_port)

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            family = socket.AF_UNIX if isinstance(target, str) else socket.AF_INET
            with socket.socket(family, socket.SOCK_STREAM) as server, suppress(OSError):
                server.connect(target)
                _copy(self.request, server)

    with Relay(("127.0.0.1", port), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,)).start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()


def _copy(client: socket.socket, server: socket.socket) -> None:
    """In both directions, until one end closes."""
    while True:
        for source in select.select([client, server], [], [])[0]:
            data = source.recv(65536)
            if not data:
                return
            (server if source is client else client).sendall(data)
