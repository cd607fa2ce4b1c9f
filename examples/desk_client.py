"""A trading engine's line to the desk. Copy this file into a bot of your own; it needs `httpx` and nothing else.

The one rule: trade an order whose status is `released`, and no other. Blocked, rejected, timed out, withdrawn, an
error or no answer at all: they all mean *do not trade*.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Self

import httpx

log = logging.getLogger(__name__)

Order = dict[str, Any]  # as the desk shows it

FIRST_PAUSE, LONGEST_PAUSE = 0.25, 5.0  # seconds between two tries; each pause is twice the one before
SUBMIT_WITHIN = 30.0  # seconds; a signal that is older than that is not worth sending any more
WITHDRAW_WITHIN = 5.0  # seconds
ANSWER_WITHIN = 10.0  # seconds
WAIT = 30  # seconds that the desk holds a request until somebody decides: the most that it allows


class Refused(Exception):
    """The desk refuses this request, and sending it again would not help. The message is the desk's own."""


class Desk:
    """The desk at `url` (`http://127.0.0.1:8000`, say), spoken to with an engine's token."""

    def __init__(self, url: str, token: str) -> None:
        self._http = httpx.AsyncClient(
            base_url=f"{url}/api/admin/trading",
            headers={"Authorization": f"Bearer {token}"},
            timeout=ANSWER_WITHIN,
            limits=httpx.Limits(max_connections=None),  # every order that waits holds one
            trust_env=False,  # the token is for the desk, not for whatever proxy the environment names
        )

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self._http.__aexit__(*error)

    async def submit(self, order: Order) -> Order:
        """Send an order; what the desk made of it. It needs a `client_order_id` that is the order's own.

        Where no answer comes it is sent again under the same id, which the desk counts once, however often it
        arrives. Raises Refused, and TimeoutError after SUBMIT_WITHIN.
        """
        async with asyncio.timeout(SUBMIT_WITHIN):
            return await self._insist("POST", "/orders", json=order)

    async def decision(self, order: Order) -> Order:
        """Wait until the order waits no more; the order as it is then. Raises Refused.

        There is no need to give up: an order waits until its `expires_at` at the latest, and then has timed out.
        """
        while order["status"] == "pending_approval":
            order = await self._insist(
                "GET", f"/orders/{order['id']}", params={"wait": WAIT}, timeout=WAIT + ANSWER_WITHIN
            )
        return order

    async def withdraw(self, order: Order) -> Order:
        """Cancel an order that waits; the order as it is then, which somebody else may have decided.

        Raises TimeoutError after WITHDRAW_WITHIN.
        """
        async with asyncio.timeout(WITHDRAW_WITHIN):
            try:
                return await self._insist("POST", f"/orders/{order['id']}/cancel")
            except Refused:
                return await self._insist("GET", f"/orders/{order['id']}")

    async def _insist(self, method: str, path: str, **request: Any) -> Order:
        """Ask until the desk answers: it may be busy, restarting, or out of reach for a while."""
        pause = FIRST_PAUSE
        while True:
            try:
                answer = await self._http.request(method, path, **request)
            except httpx.TransportError as error:
                problem = str(error) or type(error).__name__
            else:
                if answer.is_success:
                    return _order(answer)
                problem = _problem(answer)
                if answer.status_code < 500 and answer.status_code != 429:
                    raise Refused(problem)
            log.warning("the desk does not answer %s %s, trying again: %s", method, path, problem)
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)


def _order(answer: httpx.Response) -> Order:
    """The order in an answer. Raises Refused where something else than the desk answered in its place."""
    try:
        found: Order = answer.json()
        if isinstance(found["id"], str) and isinstance(found["status"], str):
            return found
    except (ValueError, KeyError, TypeError):
        pass
    raise Refused("the answer is no order")


def _problem(answer: httpx.Response) -> str:
    """What the desk said (RFC 9457), or the bare status of something else that answered in its place."""
    try:
        told = answer.json()
        return f"{told['code']}: {told['detail']}" + (f" {told['errors']}" if "errors" in told else "")
    except (ValueError, KeyError, TypeError):
        return f"status {answer.status_code}"
