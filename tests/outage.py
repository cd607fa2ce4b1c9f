"""A PostgreSQL of its own that is really killed, or really hangs, and comes back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
from sqlalchemy.engine import make_url

from app.db import migrate
from app.db.embedded import EmbeddedPostgres
from tests.at_once import until
from tests.database import new_database
from tests.serving import Server, application, serve


class Cluster:
    """The processes of the PostgreSQL in `folder`, and of its supervisor, which brings it up again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def _processes(self) -> tuple[list[psutil.Process], list[psutil.Process]]:
        supervisors, servers = [], []
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                if process.status() == psutil.STATUS_ZOMBIE:
                    continue
                if process.cmdline()[-3:-1] and str(self._folder) in process.cmdline()[3:]:
                    supervisors.append(process)
                elif process.name() == "postgres" and Path(process.cwd()) == self._folder / "data":
                    servers.append(process)
        return supervisors, servers

    def kill(self) -> None:
        """`kill -9`, and nobody brings it up: whoever asks is refused."""
        supervisors, servers = self._processes()
        for process in supervisors:
            process.suspend()
        for process in servers:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        until(lambda: not self._processes()[1], what="PostgreSQL lives on")

    def freeze(self) -> None:
        """Nobody is refused, and nobody answered."""
        for processes in self._processes():
            for process in processes:
                with suppress(psutil.NoSuchProcess):
                    process.suspend()

    def come_back(self) -> None:
        """From either."""
        for processes in reversed(self._processes()):
            for process in processes:
                with suppress(psutil.NoSuchProcess):
                    process.resume()


@contextmanager
def breakable(folder: Path, *, workers: int = 2) -> Iterator[tuple[Server, Cluster]]:
    """The real server on a PostgreSQL of its own."""
    place, instance = folder / "postgres", folder / "instance"
    instance.mkdir(parents=True)
    with EmbeddedPostgres(place, durable=False) as started:
        cluster = Cluster(place.resolve())
        url = make_url(started.dsn()).set(drivername="postgresql+psycopg")
        with new_database(url) as database, application(database, instance) as here:
            with here.app_context():
                migrate.upgrade(database)
            try:
                with serve(here, database, instance, workers=workers) as server:
                    try:
                        yield server, cluster
                    finally:
                        cluster.come_back()
            finally:
                started.start()  # what is dropped afterwards needs it to answer
