"""A freqtrade strategy asks the desk before each entry. Copy this file beside your strategy; it needs nothing
else.

    class MyStrategy(Countersigned, IStrategy):
        desk_url = "http://127.0.0.1:8000"
        desk_token = os.environ["COUNTERSIGN_TOKEN"]

freqtrade itself fails open here: it takes an exception in `confirm_trade_entry` for a yes. So everything is
caught, and whatever is not a clear yes of the desk is a no. Exits are not asked about: getting out must always
be possible. Here freqtrade executes what is released. A desk that has a venue of its own would trade it too, so
nothing is even asked of one: every entry is a no.
"""

from __future__ import annotations

import json
import logging
import threading
import time
import urllib.error
import urllib.request
import uuid
from decimal import Decimal
from typing import Any

log = logging.getLogger(__name__)

LONGEST_WAIT = 30  # seconds that the desk holds one request
NO_VENUE_AT_ALL = 40410001  # the desk's word for it, whatever the trading mode
DESK = "/api/admin/trading"
TRADES_ITSELF = "the desk sends orders to a venue itself: they would be traded twice"
SIDES = {"long": "buy", "short": "sell"}


class Countersigned:
    """What to put before `IStrategy` among the bases of a strategy."""

    desk_url = "http://127.0.0.1:8000"
    desk_token = ""
    desk_patience = 25.0  # seconds for all of it, after which it is a no; freqtrade does nothing else meanwhile

    def confirm_trade_entry(
        self,
        pair: str,
        order_type: str,
        amount: float,
        rate: float,
        time_in_force: str,
        current_time: Any,
        entry_tag: str | None,
        side: str,
        **kwargs: Any,
    ) -> bool:
        """Whether the desk has released the order. Never raises."""
        try:
            order = {
                "client_order_id": f"freqtrade-{uuid.uuid4()}",
                "ticker": pair.partition(":")[0],
                "side": SIDES[side],
                "qty": _exact(amount),
                "type": "market",
                "reference_price": _exact(rate),
                "strategy": type(self).__name__[:200],
                **({"rationale": str(entry_tag)[:4000]} if entry_tag else {}),
            }
            if order_type == "limit":
                order |= {"type": "limit", "limit_price": _exact(rate)}
            return self._asked_in_time(order)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt | SystemExit):
                raise
            log.error("the desk did not release %s: %s: %s", pair, type(error).__name__, error)
            return False

    def _asked_in_time(self, order: dict[str, Any]) -> bool:
        """The desk's answer, or no answer in time. A server that sends a byte now and then would outlast the
        time-out of any request, so the asking goes on aside, and withdraws the order by itself."""
        until = time.monotonic() + self.desk_patience
        said: list[bool] = []
        failed: list[Exception] = []

        def ask() -> None:
            try:
                said.append(self._is_released(order, until))
            except Exception as error:
                if isinstance(error, urllib.error.HTTPError):
                    error.close()
                failed.append(error)

        asking = threading.Thread(target=ask, name="asking the desk", daemon=True)
        asking.start()
        asking.join(self.desk_patience)
        if failed:
            raise failed[0]
        if not said:
            raise TimeoutError(f"no answer within {self.desk_patience:g} seconds")
        return said[0]

    def _is_released(self, order: dict[str, Any], until: float) -> bool:
        self._require_no_venue(until)
        shown = self._ask("POST", DESK + "/orders", until, order)
        while shown["status"] == "pending_approval":
            # Some of the time is for withdrawing it.
            left = int(until - time.monotonic() - min(2.0, self.desk_patience / 4))
            if left < 1:
                shown = self._withdraw(shown, until)
                break
            shown = self._ask("GET", f"{DESK}/orders/{shown['id']}?wait={min(left, LONGEST_WAIT)}", until)
        if "send_by" in shown:
            self._withdraw(shown, until)
            raise RuntimeError(TRADES_ITSELF)
        reasons = "; ".join(reason["detail"] for reason in shown["reasons"])
        why = reasons or shown["decision_note"] or ""
        log.info("the desk: %s is %s %s", order["ticker"], shown["status"], why)
        return bool(shown["status"] == "released")

    def _require_no_venue(self, until: float) -> None:
        """Asked before there is an order, for one that is released to a venue is there before it can be withdrawn.
        The desk's venues are its settings: they do not change while it runs."""
        try:
            self._ask("GET", "/v2/clock", until)
        except urllib.error.HTTPError as error:
            with error:
                if error.code == 404 and json.loads(_whole(error, until))["code"] == NO_VENUE_AT_ALL:
                    return
                if error.code in (401, 403):
                    raise
        raise RuntimeError(TRADES_ITSELF)

    def _withdraw(self, shown: dict[str, Any], until: float) -> dict[str, Any]:
        """Nobody decided in time. A yes of the last instant is one still."""
        try:
            return self._ask("POST", f"{DESK}/orders/{shown['id']}/cancel", until)
        except urllib.error.HTTPError as error:
            with error:
                if error.code != 409:
                    raise
            return self._ask("GET", f"{DESK}/orders/{shown['id']}", until)

    def _ask(self, method: str, path: str, until: float, body: dict[str, Any] | None = None) -> dict[str, Any]:
        request = urllib.request.Request(  # noqa: S310 - the address is the operator's own
            self.desk_url + path,
            data=None if body is None else json.dumps(body).encode(),
            method=method,
            headers={"Authorization": f"Bearer {self.desk_token}", "Content-Type": "application/json"},
        )
        left = max(0.5, until - time.monotonic())
        with urllib.request.urlopen(request, timeout=left) as answer:  # noqa: S310
            found = json.loads(_whole(answer, until))
        if not isinstance(found, dict):
            raise ValueError("the desk answered something else than an object")
        return found


def _whole(answer: Any, until: float) -> bytes:
    pieces = []
    while piece := answer.read1(65536):
        if time.monotonic() > until + 1:
            raise TimeoutError("the desk does not come to an end")
        pieces.append(piece)
    return b"".join(pieces)


def _exact(number: float) -> str:
    """As many digits as the desk takes."""
    return format(round(Decimal(str(number)), 9), "f")
