"""The server's settings; `countersign serve` starts gunicorn with them."""

# Before anything else is imported: what holds a lock or a socket of the standard library from here on is
# cooperative, and a client that stalls costs a greenlet rather than a thread. psycopg waits along.
from gevent import monkey

monkey.patch_all()

from app import waiting  # noqa: E402
from app.settings import Settings  # noqa: E402

waiting.install()
settings = Settings.from_environment()

bind = f"[{settings.host}]:{settings.port}" if ":" in settings.host else f"{settings.host}:{settings.port}"
workers = settings.workers
worker_class = "gevent"
worker_connections = 1000
timeout = 30
graceful_timeout = 15
keepalive = 5
control_socket_disable = True
# Only TRUSTED_PROXIES says whose X-Forwarded-* headers count (ProxyFix); gunicorn itself believes nobody.
forwarded_allow_ips = ""
forwarder_headers = ""
# A line or a header longer than this is nobody's order.
limit_request_line = 8190
limit_request_field_size = 8190


def post_worker_init(worker) -> None:
    """Every worker stands ready to keep the desk; one of all that run, on whatever machine, does."""
    from app import database_url, keeper

    app = worker.app.wsgi()
    keeper.start(app, database_url(settings))


def post_fork(server, worker) -> None:
    """Ctrl-C ends a worker as SIGTERM does: after the requests that it has begun, and without a traceback."""
    worker.handle_quit = worker.handle_exit
