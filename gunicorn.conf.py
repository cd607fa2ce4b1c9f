"""The server's settings; `countersign serve` starts gunicorn with them."""

import resource

# Before anything else is imported: what holds a lock or a socket of the standard library from here on is
# cooperative, and a client that stalls costs a greenlet rather than a thread. psycopg waits along.
import gevent
from gevent import monkey

monkey.patch_all()

import socket  # noqa: E402

from app import waiting  # noqa: E402
from app.settings import Settings  # noqa: E402

waiting.install()
settings = Settings.from_environment()

bind = f"[{settings.host}]:{settings.port}" if ":" in settings.host else f"{settings.host}:{settings.port}"
workers = settings.workers
worker_class = "gevent"
# A client that stalls holds one of these: in the head of a request for as long as `keepalive`, in its body for
# BODY_WITHIN (app/web/body.py); of those who wait for a decision there are at most MOST (app/live.py). A halt
# needs one too.
worker_connections = 4000
# Each is an open file, and the worker has some for itself: its database connections, its log.
files, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
if files < worker_connections + 200:
    files = worker_connections + 200 if most_files == resource.RLIM_INFINITY else most_files
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, most_files))
    worker_connections = min(worker_connections, files - 200)
timeout = 30
graceful_timeout = 15
keepalive = 5
GONE_AFTER = 30_000  # milliseconds
control_socket_disable = True
# Only TRUSTED_PROXIES says whose X-Forwarded-* headers count (ProxyFix); gunicorn itself believes nobody.
forwarded_allow_ips = ""
forwarder_headers = ""
# A line or a header longer than this is nobody's order.
limit_request_line = 8190
limit_request_field_size = 8190


def when_ready(server) -> None:
    """A client that sleeps, is gone or never reads is given up soon, with all that was written for it: not after
    the quarter of an hour for which the kernel would go on trying. Connections have it from where they come in."""
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        for listener in server.LISTENERS:
            listener.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, GONE_AFTER)


def post_worker_init(worker) -> None:
    """Every worker stands ready to keep the desk; one of all that run, on whatever machine, does."""
    from app import database_url, keeper

    app = worker.app.wsgi()
    keeper.start(app, database_url(settings))
    gevent.spawn(end_waiting, worker, app.extensions["live"])


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
