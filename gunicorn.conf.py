"""The server's settings; `countersign serve` starts gunicorn with them."""

import fcntl
import gc
import os
import resource
import shutil
import tempfile
from pathlib import Path

# Before anything else is imported: what holds a lock or a socket of the standard library from here on is
# cooperative, and a client that stalls costs a greenlet rather than a thread. psycopg waits along.
import gevent
from gevent import monkey

monkey.patch_all()

COUNTS = f"countersign-metrics-{os.getuid()}-"


def folder_for_counts() -> str:
    """A new folder for this server's metrics (app/lib/metrics.py), locked while one of its processes lives.

    Removes the folders of servers that were killed.
    """
    for left in Path(tempfile.gettempdir()).glob(f"{COUNTS}*"):
        try:
            folder = os.open(left, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(left)
            finally:
                os.close(folder)
        except OSError:
            """In use, or somebody else's, or gone by now."""
    while True:
        made = tempfile.mkdtemp(prefix=COUNTS)
        try:
            # Never closed: a worker inherits it, and the kernel lets go of it with the last of them.
            fcntl.flock(os.open(made, os.O_RDONLY), fcntl.LOCK_SH | fcntl.LOCK_NB)
            if os.path.isdir(made):
                return made
        except OSError:
            """Another start took it for a folder that was left behind."""


# The library looks for it when it is imported. A reload (SIGHUP) reads this file again in the same process.
if os.environ.get("COUNTERSIGN_COUNTS_OF") != str(os.getpid()):
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder_for_counts()
    os.environ["COUNTERSIGN_COUNTS_OF"] = str(os.getpid())

import socket  # noqa: E402
import sys  # noqa: E402

import psycopg  # noqa: E402
from gunicorn.arbiter import Arbiter  # noqa: E402
from gunicorn.glogging import Logger  # noqa: E402

from app import database_url  # noqa: E402
from app.db import gevent_wait  # noqa: E402
from app.db.embedded import EmbeddedError  # noqa: E402
from app.db.pooler import SharedSessions, require_session_pooling  # noqa: E402
from app.lib import logs, metrics  # noqa: E402
from app.lib.outages import first_line  # noqa: E402
from app.server import accepting, answering  # noqa: E402
from app.settings import Settings, SettingsError  # noqa: E402

gevent_wait.install()
accepting.install()
answering.install()
try:
    settings = Settings.from_environment()
    database_url(settings)
except SettingsError as error:
    sys.exit(f"countersign: {error}")
except EmbeddedError as error:
    sys.exit(f"countersign: {error}: start it with countersign serve, or set DATABASE_URL")
logs.hide(settings.secrets)
logs.configure(form=settings.log_format, level=settings.log_level, for_people=settings.embedded)
logs.take_over()


class ServerLog(Logger):
    """gunicorn's own lines go where all others go."""

    def setup(self, cfg) -> None:
        super().setup(cfg)
        for log in (self.error_log, self.access_log):
            log.handlers.clear()
            log.propagate = True
            log.setLevel("NOTSET")


logger_class = ServerLog

bind = f"[{settings.host}]:{settings.port}" if ":" in settings.host else f"{settings.host}:{settings.port}"
workers = settings.workers
worker_class = "app.server.worker.Worker"  # gevent, by measurement: docs/PERFORMANCE.md
# A client that stalls holds one of these: in the head of a request for as long as `keepalive`, in its body for
# BODY_WITHIN (app/web/http/request.py). At most MOST requests wait for a decision (app/services/live/listener.py).
# A halt needs one too.
worker_connections = 4000
# Each is an open file, and the worker has some for itself: its database connections, its log.
files, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
if files < worker_connections + 200:
    files = worker_connections + 200 if most_files == resource.RLIM_INFINITY else most_files
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, most_files))
    worker_connections = min(worker_connections, files - 200)
# A worker whose loop stood still for so long is killed: nothing that it does takes a second of its own.
timeout = 30
# What is in flight is finished: decisions on many orders end after half a minute, and a request to the broker
# takes as long as it may. Streams and waits end at once. Whoever stops us waits for longer than this (deploy/).
graceful_timeout = max(40, settings.venue_patience + 10)
# A proxy in front lets go of an idle connection sooner (deploy/nginx.conf), or it would send on a closed one.
keepalive = 5
# Not set, on purpose: max_requests, for a worker that is replaced ends every stream on it, and none of them grows;
# preload_app, for connections and threads are of the process that uses them.
# Where the worker says that it lives: never a disk that may stand still.
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108
GONE_AFTER = 30_000  # milliseconds
control_socket_disable = True
# Only TRUSTED_PROXIES says whose X-Forwarded-* headers count (ProxyFix); gunicorn itself believes nobody.
forwarded_allow_ips = ""
forwarder_headers = ""
# A line or a header longer than this is nobody's order.
limit_request_line = 8190
limit_request_field_size = 8190


GARBAGE = 20_000  # objects that were made and are still there


def on_starting(server) -> None:
    for warning in settings.warnings:
        server.log.warning(warning)


def when_ready(server) -> None:
    """A client that sleeps, is gone or never reads is given up soon, with all that was written for it: not after
    the quarter of an hour for which the kernel would go on trying. Connections have it from where they come in."""
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        for listener in server.LISTENERS:
            listener.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, GONE_AFTER)


def post_worker_init(worker) -> None:
    """Every worker stands ready to keep the desk; one of all that run, on whatever machine, does."""
    from app.server import background

    logs.of_greenlets(gevent.get_hub())
    _refuse_shared_sessions(worker)
    app = worker.app.wsgi()
    metrics.begin()
    gevent.spawn(app.extensions["figures"])  # what is decided from now on counts, whoever asks when
    background.start(app, database_url(settings))
    gevent.spawn(end_waiting, worker, app.extensions["live"])
    # What is loaded by now stays, and is not to be looked through for garbage again and again. What a request
    # leaves behind is gone without that, but for a few rings.
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE, 10, 10)


def _refuse_shared_sessions(worker) -> None:
    """Also where gunicorn was not started by `countersign serve`. A worker starts all the same while the database
    does not answer: it serves errors until it does."""
    if settings.database_url is None:
        return
    try:
        require_session_pooling(settings.database_url)
    except SharedSessions as error:
        worker.log.critical("countersign: %s", error)
        sys.exit(Arbiter.WORKER_BOOT_ERROR)  # which stops the server
    except (SettingsError, psycopg.Error) as error:
        worker.log.warning("whether a pooler shares sessions could not be checked: %s", first_line(error))


def end_waiting(worker, live) -> None:
    """A worker that is told to stop waits for no stream and no engine's `wait`: they come back to another."""
    while worker.alive:
        gevent.sleep(0.2)
    live.end()


def pre_request(worker, req) -> None:
    """After a body that broke off nobody knows where the next request begins: the connection ends, and the answer
    says so."""
    ends = req.should_close
    req.should_close = lambda: req.body.failed or not worker.alive or ends()


def post_fork(server, worker) -> None:
    """Ctrl-C ends a worker as SIGTERM does: after the requests that it has begun, and without a traceback."""
    worker.handle_quit = worker.handle_exit


def post_request(worker, req, environ, resp) -> None:
    """What this connection's greenlet says next is not of that request any more."""
    logs.request_id.set(logs.NOBODY)


def child_exit(server, worker) -> None:
    """Also of one that was killed: nobody is connected to it any more, and what it has counted stays."""
    metrics.gone(worker.pid)


def on_exit(server) -> None:
    shutil.rmtree(os.environ["PROMETHEUS_MULTIPROC_DIR"], ignore_errors=True)
