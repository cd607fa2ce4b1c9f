"""A freqtrade strategy asks the desk before each entry. Copy this file beside your strategy; it needs nothing
else.

    class MyStrategy(Countersigned, IStrategy):
        desk_url = "http://127.0.0.1:8000"
        desk_token = os.environ["COUNTERSIGN_TOKEN"]

freqtrade itself fails open here: it takes an exception in `confirm_trade_entry` for a yes. So everything is
caught, and whatever is not a clear yes of the desk is a no. Exits are not asked about: getting out must always
be possible. Here freqtrade executes what is released, so the desk must have no venue of its own for that mode.
"""

from __future__ import annotations

import json
import logging
import time
import urllib.error
import urllib.request
import uuid
from decimal import Decimal
from typing import Any

log = logging.getLogger(__name__)

LONGEST_WAIT = 30  # seconds that the desk holds one request
SIDES = {"long": "buy", "short": "sell"}


class Countersigned:
    """What to put before `IStrategy` among the bases of a strategy."""

    desk_url = "http://127.0.0.1:8000"
    desk_token = ""
    desk_patience = 25.0  # seconds until nobody's yes is a no; freqtrade does nothing else meanwhile

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
            return self._is_released(order)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt | SystemExit):
                raise
            log.error("the desk did not release %s: %s: %s", pair, type(error).__name__, error)
            return False

    def _is_released(self, order: dict[str, Any]) -> bool:
        until = time.monotonic() + self.desk_patience
        shown = self._ask("POST", "/orders", order)
        while shown["status"] == "pending_approval":
            left = int(until - time.monotonic())
            if left < 1:
                shown = self._withdraw(shown)
                break
            shown = self._ask("GET", f"/orders/{shown['id']}?wait={min(left, LONGEST_WAIT)}")
        if "send_by" in shown:
            shown = self._withdraw(shown)
            raise RuntimeError("the desk sends orders to a venue itself: they would be traded twice")
        reasons = "; ".join(reason["detail"] for reason in shown["reasons"])
        why = reasons or shown["decision_note"] or ""
        log.info("the desk: %s is %s %s", order["ticker"], shown["status"], why)
        return bool(shown["status"] == "released")

    def _withdraw(self, shown: dict[str, Any]) -> dict[str, Any]:
        """Nobody decided in time. A yes of the last instant is one still."""
        try:
            return self._ask("POST", f"/orders/{shown['id']}/cancel")
        except urllib.error.HTTPError as error:
            if error.code != 409:
                raise
            return self._ask("GET", f"/orders/{shown['id']}")

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        request = urllib.request.Request(  # noqa: S310 - the address is the operator's own
            f"{self.desk_url}/api/admin/trading{path}",
            data=None if body is None else json.dumps(body).encode(),
            method=method,
            headers={"Authorization": f"Bearer {self.desk_token}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=LONGEST_WAIT + 5) as answer:  # noqa: S310
            found = json.load(answer)
        if not isinstance(found, dict):
            raise ValueError("the desk answered something else than an order")
        return found


def _exact(number: float) -> str:
    """As many digits as the desk takes."""
    return format(round(Decimal(str(number)), 9), "f")
