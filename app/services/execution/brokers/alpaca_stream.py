"""Alpaca's stream of trade updates: https://docs.alpaca.markets/docs/websocket-streaming"""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, connect

from app.services.execution.brokers.base import NoAnswer, NotSent
from app.settings import AlpacaAccount

UPDATES = "trade_updates"
SILENCE = 1.0  # seconds, after which whoever listens is told that there is nothing new
LARGEST = 1024 * 1024  # bytes of a message


def trade_updates(account: AlpacaAccount, patience: float) -> Iterator[Any]:
    """The orders that are told of, as Alpaca writes them, numbers exact; None once it listens, and every second
    without news. Never ends by itself. Raises NotSent where no connection comes about, NoAnswer where one ends."""
    try:
        line = connect(
            account.stream_url,
            open_timeout=patience,
            close_timeout=1,
            # A line that has died without a word is noticed by these.
            ping_interval=patience,
            ping_timeout=patience,
            max_size=LARGEST,
            proxy=None,  # nothing of the environment takes the key another way
        )
    except (OSError, WebSocketException, ValueError) as error:
        raise NotSent(f"no stream: {error or type(error).__name__}") from error
    try:
        with line:
            _sign_in(line, account, patience)
            yield None
            while True:
                yield _next(line)
    except (OSError, WebSocketException) as error:
        raise NoAnswer(f"the stream has ended: {error or type(error).__name__}") from error


def _sign_in(line: ClientConnection, account: AlpacaAccount, patience: float) -> None:
    keys = {"key_id": account.key_id, "secret_key": account.secret_key}
    line.send(json.dumps({"action": "authenticate", "data": keys}))
    if _read(line.recv(patience))["data"].get("status") != "authorized":
        raise NotSent("the stream does not accept the key")
    line.send(json.dumps({"action": "listen", "data": {"streams": [UPDATES]}}))
    if UPDATES not in (_read(line.recv(patience))["data"].get("streams") or ()):
        raise NotSent("the stream does not tell of orders")


def _next(line: ClientConnection) -> Any:
    try:
        message = _read(line.recv(SILENCE))
    except TimeoutError:
        return None
    return message["data"].get("order") if message.get("stream") == UPDATES else None


def _read(message: str | bytes) -> dict[str, Any]:
    """Text or binary, as Alpaca's paper accounts send it."""
    try:
        read = json.loads(message, parse_float=Decimal)
    except ValueError as error:
        raise NoAnswer("the stream does not speak JSON") from error
    if not isinstance(read, dict) or not isinstance(read.get("data"), dict):
        raise NoAnswer("the stream makes no sense")
    return read
