"""The server's settings; `countersign serve` starts gunicorn with them."""

from app.settings import Settings

settings = Settings.from_environment()

bind = f"[{settings.host}]:{settings.port}" if ":" in settings.host else f"{settings.host}:{settings.port}"
workers = settings.workers
worker_class = "gthread"
threads = 8
timeout = 30
graceful_timeout = 15
keepalive = 5
control_socket_disable = True
# A line or a header longer than this is nobody's order.
limit_request_line = 4094
limit_request_field_size = 8190
