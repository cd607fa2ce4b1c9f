"""A venue of ours on a port of this machine, which speaks as much of Alpaca's Trading API as the desk needs.

Like Alpaca it refuses a client order id that it knows already. It can be told to be slow, to hang up after it has
accepted, to answer late, to fail, to reject, to be away, and to fill in parts.
"""

from __future__ import annotations

import json
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import Server as StreamServer
from websockets.sync.server import ServerConnection, serve

from app.settings import AlpacaAccount

KEY = {"APCA-API-KEY-ID": "stand-in", "APCA-API-SECRET-KEY": "a secret of the stand-in"}
OPEN = ("new", "partially_filled")
NUMBERS = ("qty", "notional", "limit_price", "stop_price")
Reply = tuple[int, Any]


ASSET = {
    "id": str(uuid.UUID(int=2)),
    "class": "us_equity",
    "exchange": "NASDAQ",
    "symbol": "AAPL",
    "name": "Apple Inc.",
    "status": "active",
    "tradable": True,
    "marginable": True,
    "shortable": True,
    "easy_to_borrow": True,
    "fractionable": True,
}
SAYS = {
    "/account": {"id": str(uuid.UUID(int=1)), "account_number": "PA1", "status": "ACTIVE", "cash": "1000"},
    "/account/configurations": {
        "dtbp_check": "both",
        "fractional_trading": True,
        "max_margin_multiplier": "2",
        "no_shorting": False,
        "pdt_check": "both",
        "suspend_trade": False,
        "trade_confirm_email": "none",
        "ptp_no_exception_entry": False,
    },
    "/clock": {
        "timestamp": "2026-03-02T10:00:00-05:00",
        "is_open": True,
        "next_open": "2026-03-03T09:30:00-05:00",
        "next_close": "2026-03-02T16:00:00-05:00",
    },
    "/assets/AAPL": ASSET,
    "/assets": [ASSET],
    "/calendar": [{"date": "2026-03-02", "open": "09:30", "close": "16:00"}],
}


def position(symbol: str, qty: str) -> dict[str, Any]:
    return {
        "asset_id": ASSET["id"],
        "symbol": symbol,
        "exchange": "NASDAQ",
        "asset_class": "us_equity",
        "avg_entry_price": "100",
        "qty": qty,
        "side": "long",
        "cost_basis": "700",
        "current_price": "101",
    }


class Venue:
    """What it knows, and how it behaves."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.server: ThreadingHTTPServer | None = None
        self.port = 0
        self.stream: StreamServer | None = None
        self.stream_port = 0
        self.lines: set[socket.socket] = set()
        self.listeners: set[ServerConnection] = set()
        self.forget()

    def forget(self) -> None:
        """Everything, and behave."""
        self.orders: dict[str, dict[str, Any]] = {}  # by its own id
        self.asked: list[str] = []  # "POST /v2/orders", as they come in
        self.before = 0.0  # seconds until an order is looked at
        self.slow = 0.0  # seconds until anything is answered
        self.after = 0.0  # seconds between accepting an order and saying so
        self.hangs_up = False  # once it has accepted
        self.fails: int | None = None  # the status that every request gets, unread
        self.rejects: dict[str, Any] | None = None  # what every order is answered
        self.lists_nothing = False  # of the orders that are open: that request alone fails
        self.positions: dict[str, str] = {}  # how much of what

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def account(self) -> AlpacaAccount:
        return AlpacaAccount(*KEY.values(), self.url, self.stream_url)

    @property
    def stream_url(self) -> str:
        return f"ws://127.0.0.1:{self.stream_port}/stream"

    def known(self, client_order_id: str) -> list[dict[str, Any]]:
        """The orders with that client order id: one, or none."""
        with self.lock:
            return [order for order in self.orders.values() if order["client_order_id"] == client_order_id]

    def come(self) -> None:
        """Listen, on the same port as before."""
        venue = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                venue.lines.add(self.connection)

            def finish(self) -> None:
                venue.lines.discard(self.connection)
                super().finish()

            def do_GET(self) -> None:
                venue.answer(self)

            do_POST = do_DELETE = do_GET  # noqa: N815 - the standard library's names

            def log_message(self, *words: object) -> None:
                """It is quiet."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            allow_reuse_address = True
            request_queue_size = 128

        self.server = Server(("127.0.0.1", self.port), Handler)
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

        self.stream = serve(self.tell_of_orders, "127.0.0.1", self.stream_port)
        self.stream_port = self.stream.socket.getsockname()[1]
        threading.Thread(target=self.stream.serve_forever, daemon=True).start()

    def tell_of_orders(self, line: ServerConnection) -> None:
        """Alpaca's stream: a key, what is to be heard, and then each change of an order, in binary frames."""
        with suppress(ConnectionClosed):
            sent = json.loads(line.recv())["data"]
            good = (sent["key_id"], sent["secret_key"]) == tuple(KEY.values())
            status = "authorized" if good else "unauthorized"
            line.send(
                json.dumps({"stream": "authorization", "data": {"action": "authenticate", "status": status}})
            )
            asked = json.loads(line.recv())
            line.send(json.dumps({"stream": "listening", "data": asked["data"] if good else {"streams": []}}))
            self.listeners.add(line)
            for _ in line:
                """It says nothing more."""
        self.listeners.discard(line)

    def tell(self, event: str, order: dict[str, Any]) -> None:
        message = {"stream": "trade_updates", "data": {"event": event, "order": order}}
        for line in list(self.listeners):
            with suppress(ConnectionClosed):
                line.send(json.dumps(message).encode())

    def go_away(self) -> None:
        """Break all connections, and refuse new ones from now on."""
        self.end_stream()
        if self.server is not None:
            self.server.shutdown()
            self.server.server_close()
            self.server = None
        for line in list(self.lines):
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)

    def end_stream(self) -> None:
        if self.stream is not None:
            self.stream.shutdown()
            self.stream = None
        for line in list(self.listeners):
            line.close_socket()

    def fill(self, client_order_id: str, qty: str, price: str) -> None:
        """So much more of it is filled."""
        [order] = self.known(client_order_id)
        with self.lock:
            filled = Decimal(order["filled_qty"]) + Decimal(qty)
            order.update(filled_qty=str(filled), filled_avg_price=price, updated_at=now())
            order["status"] = "filled" if order["qty"] and filled >= Decimal(order["qty"]) else "partially_filled"
        self.tell("fill", order)

    def end(self, client_order_id: str, status: str) -> None:
        [order] = self.known(client_order_id)
        with self.lock:
            order.update(status=status, updated_at=now())
        self.tell(status, order)

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(request.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        text = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        with self.lock:
            self.asked.append(f"{request.command} {parts.path}")
        time.sleep(self.slow)
        if self.fails is not None:
            return send(request, (self.fails, {"code": self.fails, "message": "the venue is out of order"}))
        if any(request.headers.get(name) != value for name, value in KEY.items()):
            return send(request, (401, {"code": 40110000, "message": "request is not authorized"}))
        if request.command == "POST" and parts.path == "/v2/orders":
            time.sleep(self.before)
            reply = self.place(json.loads(text))
            time.sleep(self.after)
            if self.hangs_up and reply[0] == 200:
                request.close_connection = True
                return request.connection.close()
            return send(request, reply)
        return send(request, self.look(request.command, parts.path.removeprefix("/v2"), query))

    def place(self, body: dict[str, Any]) -> Reply:
        assert all(isinstance(body.get(name), str | None) for name in NUMBERS), body
        with self.lock:
            if any(order["client_order_id"] == body["client_order_id"] for order in self.orders.values()):
                return 422, {"code": 40010001, "message": "client_order_id must be unique"}
            if self.rejects is not None:
                return 403, self.rejects
            at = now()
            order = {
                **dict.fromkeys((*NUMBERS, "filled_avg_price", "canceled_at", "expired_at", "filled_at")),
                **body,
                "id": str(uuid.uuid4()),
                "status": "new",
                "filled_qty": "0",
                "created_at": at,
                "submitted_at": at,
                "updated_at": at,
            }
            self.orders[order["id"]] = order
            return 200, order

    def look(self, method: str, path: str, query: dict[str, str]) -> Reply:  # noqa: PLR0911 - one for each route
        with self.lock:
            if path == "/orders:by_client_order_id":
                found = [o for o in self.orders.values() if o["client_order_id"] == query["client_order_id"]]
                return (200, found[0]) if found else (404, {"code": 40410000, "message": "order not found"})
            if path == "/orders" and method == "GET":
                if self.lists_nothing:
                    return 500, {"code": 50010000, "message": "internal server error occurred"}
                found = [o for o in self.orders.values() if query["status"] == "all" or o["status"] in OPEN]
                found = [o for o in found if o["submitted_at"] > query.get("after", "")]
                return 200, sorted(found, key=lambda o: o["submitted_at"])[: int(query["limit"])]
            order = self.orders.get(path.removeprefix("/orders/"))
            if order is not None and method == "DELETE":
                if order["status"] not in OPEN:
                    return 422, {"code": 42210000, "message": f'order is already in "{order["status"]}" state'}
                order.update(status="canceled", updated_at=now())
                return 204, None
            if path in SAYS:
                return 200, SAYS[path]
            if path == "/positions":
                return 200, [position(*each) for each in self.positions.items()]
            symbol = path.removeprefix("/positions/")
            if symbol in self.positions:
                return 200, position(symbol, self.positions[symbol])
            return 404, {"code": 40410000, "message": "not found"}


def send(request: BaseHTTPRequestHandler, reply: Reply) -> None:
    status, body = reply
    text = b"" if body is None else json.dumps(body).encode()
    try:
        request.send_response(status)
        request.send_header("Content-Type", "application/json")
        request.send_header("Content-Length", str(len(text)))
        request.end_headers()
        request.wfile.write(text)
    except OSError:  # who asked is not there any more
        request.close_connection = True


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


@contextmanager
def standing_in() -> Iterator[Venue]:
    venue = Venue()
    venue.come()
    try:
        yield venue
    finally:
        venue.go_away()
