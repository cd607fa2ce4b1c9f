"""Alpaca's Trading API, version 2, by httpx: https://docs.alpaca.markets/reference/postorder

It refuses a client order id that the account has used before, also for orders that are long final.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from http import HTTPStatus
from typing import Any, TypeVar

import httpx
from gevent import Timeout, monkey

from app.domain.gate import plain
from app.domain.order_status import OrderStatus
from app.services.execution.brokers.alpaca_stream import trade_updates
from app.services.execution.brokers.base import Answer, NoAnswer, NotSent, Refused, Report, VenueOrder
from app.settings import AlpacaAccount

# Its refusal of a client order id that the account has used before.
DUPLICATE = (40010001, "client_order_id must be unique")
PENDING_CANCEL = "pending_cancel"
LARGEST = 16 * 1024 * 1024  # bytes of an answer
# Alpaca's words: https://docs.alpaca.markets/docs/orders-at-alpaca#order-lifecycle. What is neither filled nor
# ended is open, however far it has come.
STATUSES: Mapping[str, OrderStatus] = {
    **dict.fromkeys(
        (
            *("new", "accepted", "pending_new", "accepted_for_bidding", "held", "stopped", "suspended"),
            *("calculated", "pending_cancel", "pending_replace", "pending_review"),
        ),
        OrderStatus.ACCEPTED,
    ),
    # The rest of a day order goes on the next day only where it is good till canceled.
    "done_for_day": OrderStatus.ACCEPTED,
    "partially_filled": OrderStatus.PARTIALLY_FILLED,
    "filled": OrderStatus.FILLED,
    "replaced": OrderStatus.REPLACED,
    "rejected": OrderStatus.VENUE_REJECTED,
    "canceled": OrderStatus.VENUE_CANCELED,
    "expired": OrderStatus.VENUE_EXPIRED,
}
# No to this request, and not to the order: the key is not accepted, too many at once.
TURNED_AWAY = (HTTPStatus.UNAUTHORIZED, HTTPStatus.TOO_MANY_REQUESTS)
PAGE = 500  # orders, the most that it lists at once
MOST_WORDS = 500
NINE_DIGITS, MOST = Decimal("1e-9"), Decimal("1e18")
LISTING = 3  # times the longest request, all pages of a list together

log = logging.getLogger(__name__)

Read = TypeVar("Read")


class Alpaca:
    """One account at Alpaca. Safe for greenlets and threads."""

    refuses_duplicates = True

    def __init__(self, account: AlpacaAccount, mode: str, patience: float) -> None:
        self.name = f"Alpaca ({mode})"
        self.patience = patience
        self._account = account
        self._http = httpx.Client(
            base_url=f"{account.url}/v2",
            headers={"APCA-API-KEY-ID": account.key_id, "APCA-API-SECRET-KEY": account.secret_key},
            # A connection that does not come about is told apart from an answer that does not, so it comes first.
            timeout=httpx.Timeout(patience, connect=patience / 2, pool=patience / 4),
            follow_redirects=False,
            trust_env=False,  # nothing of the environment sends orders, or the key, by another way
        )

    def send(self, order: VenueOrder) -> Report:
        body = {
            "client_order_id": order.client_order_id,
            "symbol": order.ticker,
            "side": order.side,
            "type": order.type,
            "time_in_force": order.time_in_force,
        }
        for name in ("qty", "notional", "limit_price", "stop_price"):
            if (value := getattr(order, name)) is not None:
                body[name] = plain(value)
        response = self._ask("POST", "/orders", json=body)
        if response.status_code < 300:
            return _of(order.client_order_id, response)
        if response.status_code in TURNED_AWAY:
            raise NotSent(_words(response))
        if not 400 <= response.status_code < 500 or response.status_code == HTTPStatus.REQUEST_TIMEOUT:
            raise NoAnswer(_words(response))
        # It may say no because it has this very order already, from a try whose answer was lost.
        try:
            known = self.find(order.client_order_id)
        except NotSent as error:  # of the question, not of the order
            raise NoAnswer(str(error)) from error
        if known is None and _is_duplicate(response):
            raise NoAnswer("it has the order, and cannot find it yet")
        return known or Report(
            order.client_order_id, OrderStatus.VENUE_REJECTED, _words(response), at=datetime.now(UTC)
        )

    def find(self, client_order_id: str) -> Report | None:
        query = {"client_order_id": client_order_id}
        response = self._ask("GET", "/orders:by_client_order_id", params=query)
        if response.status_code == HTTPStatus.NOT_FOUND:
            return _read(response, _no_order)
        return _of(client_order_id, _good(response))

    def open_orders(self) -> list[Report]:
        """Page by page, oldest first: an order is seen in one of them, or has ended meanwhile."""
        found: dict[str, Report | None] = {}
        after, until = None, time.monotonic() + LISTING * self.patience
        while True:
            query = {
                "status": "open",
                "limit": str(PAGE),
                "direction": "asc",
                **({"after": after} if after else {}),
            }
            page = _read(_good(self._ask("GET", "/orders", params=query)), list)
            before = len(found)
            for order in page:
                found[_reading(_id, order)] = _if_it_makes_sense(order)
            if len(page) < PAGE:
                return [report for report in found.values() if report is not None]
            if len(found) == before or time.monotonic() > until:
                raise NoAnswer("its list of open orders does not end")
            after = _reading(_submitted_at, page[-1])

    def updates(self) -> Generator[Report | None, None, None]:
        for order in trade_updates(self._account, self.patience):
            yield None if order is None else _if_it_makes_sense(order)

    def cancel(self, venue_id: str) -> None:
        response = self._ask("DELETE", f"/orders/{venue_id}")
        if response.status_code in (HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY):
            raise Refused(_words(response))
        _good(response)

    def read(self, path: str, query: Mapping[str, Any]) -> Answer:
        response = self._ask("GET", path, params=query)
        return Answer(response.status_code, response.content)

    def close(self) -> None:
        self._http.close()

    def _ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        try:
            with _alarm(self.patience), self._http.stream(method, path, **more) as response:
                body = bytearray()
                for part in response.iter_bytes():
                    body += part
                    if len(body) > LARGEST:
                        raise NoAnswer("its answer is too large")
                return httpx.Response(response.status_code, content=bytes(body))
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise NotSent(f"no connection: {error or type(error).__name__}") from error
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            raise NoAnswer(str(error) or type(error).__name__) from error


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    """httpx counts the time of each read by itself: an answer that trickles in would take for ever."""
    alarm = Timeout(seconds) if monkey.is_module_patched("socket") else nullcontext()
    try:
        with alarm:
            yield
    except Timeout as rung:
        if rung is not alarm:
            raise
        raise NoAnswer(f"no whole answer within {seconds:g} seconds") from None


def _good(response: httpx.Response) -> httpx.Response:
    if response.status_code in TURNED_AWAY:
        raise NotSent(_words(response))
    if not response.is_success:
        raise NoAnswer(_words(response))
    return response


def _read(response: httpx.Response, kind: Callable[[Any], Read]) -> Read:
    try:
        return _reading(kind, json.loads(response.content, parse_float=Decimal))
    except (ValueError, RecursionError) as error:
        raise NoAnswer("its answer is not JSON") from error


def _reading(kind: Callable[[Any], Read], value: Any) -> Read:
    try:
        return kind(value)
    except (KeyError, TypeError, InvalidOperation, AttributeError) as error:
        raise NoAnswer(f"its answer makes no sense: {type(error).__name__} {error}") from error


def _of(client_order_id: str, response: httpx.Response) -> Report:
    found = _read(response, _report)
    if found.client_order_id != client_order_id:
        raise NoAnswer("it told of another order than was asked for")
    return found


def _if_it_makes_sense(order: Any) -> Report | None:
    """One order that cannot be understood, perhaps somebody else's, is no reason not to hear of the others."""
    try:
        return _reading(_report, order)
    except NoAnswer as error:
        log.warning("an order of Alpaca's cannot be understood: %s", error)
        return None


def _id(order: Any) -> str:
    return str(order["client_order_id"])


def _submitted_at(order: Any) -> str:
    return str(order["submitted_at"])


def _report(order: Any) -> Report:
    average, filled = order.get("filled_avg_price"), _exact(order.get("filled_qty") or 0)
    status = STATUSES[order["status"]]
    return Report(
        client_order_id=_id(order),
        # What is filled in parts may be about to be canceled, or done for the day.
        status=OrderStatus.PARTIALLY_FILLED if status is OrderStatus.ACCEPTED and filled else status,
        words=order["status"],
        venue_id=str(order["id"]).replace("\0", ""),
        filled_qty=filled,
        filled_avg_price=None if average is None else _exact(average),
        at=_instant(order.get("updated_at")),
        ending=order["status"] == PENDING_CANCEL,
    )


def _exact(number: Any) -> Decimal:
    """To the nine digits behind the point that amounts have here, and the eighteen before it. Raises
    InvalidOperation."""
    exact = Decimal(str(number)).quantize(NINE_DIGITS)
    if not 0 <= exact < MOST:
        raise InvalidOperation(f"{exact} is no amount")
    return exact


def _instant(text: Any) -> datetime | None:
    try:
        instant = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return instant if instant.tzinfo is not None else None


def _is_duplicate(response: httpx.Response) -> bool:
    return any(str(sign) in response.text for sign in DUPLICATE)


def _no_order(body: Any) -> None:
    """A 404 of the API itself, which says so in JSON; one of a proxy in between says nothing of orders."""
    body["code"], body["message"]


def _words(response: httpx.Response) -> str:
    """As the venue gave them."""
    return response.text.replace("\0", "")[:MOST_WORDS] or f"status {response.status_code}"
