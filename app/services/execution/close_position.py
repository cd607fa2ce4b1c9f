"""Closing a position: what the venue says of it, read with mistrust, and the order that closes it or a part."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import ROUND_DOWN, Context, Decimal
from typing import Any

from app.domain.instruments import asset_class, normalize_ticker
from app.services.actor import Actor
from app.services.errors import Conflict, Invalid
from app.services.orders import submit
from app.services.orders.queries import page
from app.services.orders.submit import NewOrder, Shown

STRATEGY = "close position"
WHOLE = "all of the position"
NINE_DIGITS = Decimal("1e-9")
TOO_MUCH = Decimal(10) ** 18
EXACT = Context(prec=100, rounding=ROUND_DOWN)  # never more is closed than there is


class Nonsense(ValueError):
    """What the venue says of a position cannot be one."""


@dataclass(frozen=True, slots=True)
class Part:
    """How much of a position is to be closed: so many units, so many per cent, or, with neither, all of it."""

    qty: Decimal | None = None
    percentage: Decimal | None = None

    @property
    def words(self) -> str:
        """For whoever decides; and of a request that comes again they tell whether it is the same one."""
        if self.qty is not None:
            return f"{submit.amount(self.qty)} of the position"
        return WHOLE if self.percentage is None else f"{submit.amount(self.percentage)} % of the position"

    def of(self, whole: Decimal) -> Decimal:
        """Raises Invalid where that is more than all, or nothing once it is rounded to nine digits."""
        asked = self.qty if self.qty is not None else EXACT.multiply(whole, self._share)
        size = asked.quantize(NINE_DIGITS, context=EXACT)
        if not 0 < size <= whole:
            name = "qty" if self.qty is not None else "percentage"
            raise Invalid({name: [f"must be a part of the position of {submit.amount(whole)}"]})
        return size

    @property
    def _share(self) -> Decimal:
        return EXACT.divide(Decimal(100) if self.percentage is None else self.percentage, Decimal(100))


@dataclass(frozen=True, slots=True)
class Position:
    """A position at the venue. `size` is positive, also of a short one; `available` is what of it no other order
    holds, None where the venue does not say; `price` is None where there is none that can be used."""

    ticker: str
    size: Decimal
    is_short: bool
    available: Decimal | None
    price: Decimal | None
    is_crypto: bool

    @classmethod
    def read(cls, said: Any) -> Position:
        """From Alpaca's words: https://docs.alpaca.markets/reference/getallopenpositions. Raises Nonsense."""
        if not isinstance(said, dict):
            raise Nonsense("a position is no object")
        symbol = said.get("symbol")
        ticker = normalize_ticker(symbol) if isinstance(symbol, str) else None
        if ticker is None:
            raise Nonsense("a position has no symbol that could be traded")
        qty, side = _number(said.get("qty")), said.get("side")
        if not qty or side not in ("long", "short", None) or (side == "long" and qty < 0):
            raise Nonsense(f"the position in {ticker} has no size")
        available = said.get("qty_available")
        free = None if available is None else _number(available)
        if available is not None and free is None:
            raise Nonsense(f"of the position in {ticker} cannot be told what is free")
        return cls(
            ticker,
            abs(qty),
            side == "short" or qty < 0,
            None if free is None else abs(free),
            _price(said.get("current_price")),
            (said.get("asset_class") or asset_class(ticker)) == "crypto",
        )

    def order(self, part: Part, client_order_id: str) -> NewOrder:
        """The market order that closes so much of it. Raises Invalid, or Conflict `not_available`."""
        size = part.of(self.size)
        if self.available is not None and size > self.available:
            raise Conflict(
                f"insufficient qty available for order (requested: {submit.amount(size)},"
                f" available: {submit.amount(self.available)}): other orders hold the rest",
                "not_available",
            )
        return NewOrder(
            client_order_id=client_order_id,
            ticker=self.ticker,
            side="buy" if self.is_short else "sell",
            type="market",
            time_in_force="gtc" if self.is_crypto else "day",
            qty=size,
            reference_price=self.price,
            strategy=STRATEGY,
            rationale=part.words,
        )


def close(
    actor: Actor,
    position: Position,
    part: Part,
    client_order_id: str,
    mode: str,
    send_within: Callable[[str], int | None],
) -> tuple[Shown, bool]:
    """Submit the order that closes a position of the account of `mode`; the order, and whether it is new. The same
    id again is the same order, whatever has become of the position since: see `again`."""
    try:
        new = position.order(part, client_order_id)
        return submit.submit(actor, new, send_within, closes_in=mode)
    except Conflict as conflict:
        # Submitted a moment ago, by another price.
        known = again(actor, client_order_id, part) if conflict.code == "idempotency_conflict" else None
        if known is None:
            raise
        return known, False


def again(actor: Actor, client_order_id: str, part: Part) -> Shown | None:
    """The order that this request came to before, if it did. Raises Conflict where that was for another part."""
    for _, shown in page(actor, client_order_id=client_order_id, limit=1):
        if shown["strategy"] != STRATEGY or shown["rationale"] != part.words:
            raise Conflict("this key was used before, to close another part", "idempotency_conflict")
        return shown
    return None


def _number(said: Any) -> Decimal | None:
    """In the bounds that amounts have here, and to their nine digits; None where it is no such number."""
    if isinstance(said, bool) or not isinstance(said, str | int | Decimal):
        return None
    try:
        number = Decimal(said)
        return number.quantize(NINE_DIGITS, context=EXACT) if abs(number) < TOO_MUCH else None
    except (ArithmeticError, ValueError):
        return None


def _price(said: Any) -> Decimal | None:
    price = _number(said)
    return price if price is not None and price > 0 else None
