"""The gate: what becomes of an order, and every reason why.

Pure and total: whatever the order and the desk, there is a decision, and when in doubt it is *blocked*.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Context, Decimal
from enum import StrEnum

from app.domain.lifecycle import lockout_is_active
from app.domain.risk import ConfigInvalid, PortfolioRiskConfig, PositionLimits, TradingMode, requires_approval
from app.domain.symbols import EVERY_SYMBOL, instrument

# 27 digits times 27 digits times a percentage: nothing is ever rounded, so "at the limit" is exact.
EXACT = Context(prec=100)


class Side(StrEnum):
    BUY = "buy"
    SELL = "sell"


class OrderType(StrEnum):
    MARKET = "market"
    LIMIT = "limit"
    STOP = "stop"
    STOP_LIMIT = "stop_limit"


class TimeInForce(StrEnum):
    DAY = "day"
    GTC = "gtc"
    IOC = "ioc"
    FOK = "fok"
    OPG = "opg"
    CLS = "cls"


class SignalLayer(StrEnum):
    MACRO = "macro"
    COMPETITIVE = "competitive"


class ReasonCode(StrEnum):
    """Why an order is blocked, or cannot be approved now; in the order in which they are given."""

    CONFIG_INVALID = "config_invalid"
    TRADING_DISABLED = "trading_disabled"
    SIGNAL_LAYER_DISABLED = "signal_layer_disabled"
    SYMBOL_LOCKED_OUT = "symbol_locked_out"
    ORDER_QUANTITY_LIMIT = "order_quantity_limit"
    ORDER_VALUE_LIMIT = "order_value_limit"
    PRICE_UNKNOWN = "price_unknown"
    PRICE_COLLAR = "price_collar"
    ORDER_RATE_LIMIT = "order_rate_limit"


class Outcome(StrEnum):
    BLOCKED = "blocked"
    PENDING_APPROVAL = "pending_approval"
    RELEASED = "released"


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason: `code` for programs, `detail` for people."""

    code: ReasonCode
    detail: str


@dataclass(frozen=True, slots=True)
class Order:
    """What the gate looks at. Exactly one of `qty` (units) and `notional` (money) is given; all are positive."""

    ticker: str
    qty: Decimal | None = None
    notional: Decimal | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    reference_price: Decimal | None = None
    signal_layer: SignalLayer | None = None

    @property
    def known_prices(self) -> list[Decimal]:
        prices = (self.limit_price, self.stop_price, self.reference_price)
        return [price for price in prices if price is not None]

    @property
    def value(self) -> Decimal | None:
        """The notional, or the quantity at the highest known price; None when no price is known."""
        if self.notional is not None:
            return self.notional
        if self.qty is None or not self.known_prices:
            return None
        return EXACT.multiply(self.qty, max(self.known_prices))


@dataclass(frozen=True, slots=True)
class Lockout:
    """A lockout as far as the gate cares: whom it holds, until when (exclusive), and why."""

    ticker: str
    expires_at: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class Desk:
    """The rules in force. `config_error` is set when the stored configuration cannot be read as a whole.

    `accepted_lately` counts the engine's orders accepted within `order_rate.per_seconds`; None leaves the rate
    out, as at approval, where it is not applied again.
    """

    mode: TradingMode
    config: PortfolioRiskConfig
    lockouts: Sequence[Lockout] = ()
    config_error: ConfigInvalid | None = None
    accepted_lately: int | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of an order; `reasons` is empty unless it is blocked."""

    outcome: Outcome
    reasons: tuple[Reason, ...] = ()


def decide(order: Order, desk: Desk, now: datetime) -> Decision:
    """Block, hold for a person, or release; with every reason that applies, in the order of `ReasonCode`."""
    reasons = blockers(order, desk, now)
    if reasons:
        return Decision(Outcome.BLOCKED, reasons)
    if requires_approval(desk.config, desk.mode):
        return Decision(Outcome.PENDING_APPROVAL)
    return Decision(Outcome.RELEASED)


def blockers(order: Order, desk: Desk, now: datetime) -> tuple[Reason, ...]:
    """Every reason why this order may not be released now, whatever a person says."""
    return tuple(_blockers(order, desk, now))


def _blockers(order: Order, desk: Desk, now: datetime) -> Iterator[Reason]:
    config = desk.config
    if desk.config_error is not None:
        yield Reason(ReasonCode.CONFIG_INVALID, f"the stored configuration cannot be read: {desk.config_error}")
    if desk.mode is TradingMode.DISABLED:
        yield Reason(ReasonCode.TRADING_DISABLED, "trading is halted")
    if order.signal_layer is not None and not getattr(config.signal_layers, order.signal_layer):
        yield Reason(ReasonCode.SIGNAL_LAYER_DISABLED, f"the signal layer {order.signal_layer} is switched off")
    yield from _locked_out(order, desk.lockouts, now)
    yield from _over_limits(order, config.position_limits)
    rate = config.order_rate
    accepted = desk.accepted_lately
    if rate.max_orders is not None and accepted is not None and accepted >= rate.max_orders:
        yield Reason(
            ReasonCode.ORDER_RATE_LIMIT,
            f"{accepted} orders were accepted in the last {rate.per_seconds} s, the limit is {rate.max_orders}",
        )


def _locked_out(order: Order, lockouts: Sequence[Lockout], now: datetime) -> Iterator[Reason]:
    held = (instrument(order.ticker), EVERY_SYMBOL)
    holding = [
        lockout
        for lockout in lockouts
        if instrument(lockout.ticker) in held and lockout_is_active(lockout.expires_at, now)
    ]
    if holding:
        last = max(holding, key=lambda lockout: lockout.expires_at)
        whom = "every symbol" if last.ticker == EVERY_SYMBOL else last.ticker
        until = last.expires_at.strftime("%Y-%m-%d %H:%M:%S UTC")
        yield Reason(ReasonCode.SYMBOL_LOCKED_OUT, f"{whom} is locked out until {until}: {last.reason}")


def _over_limits(order: Order, limits: PositionLimits) -> Iterator[Reason]:
    over = {
        "max_order_quantity": _too_many(order, limits.max_order_quantity),
        "max_order_value": _too_much(order, limits.max_order_value),
        "price_collar_pct": _outside(order, limits.price_collar_pct),
    }
    if over["max_order_quantity"]:
        yield Reason(ReasonCode.ORDER_QUANTITY_LIMIT, f"the quantity is above {plain(limits.max_order_quantity)}")
    if over["max_order_value"]:
        yield Reason(
            ReasonCode.ORDER_VALUE_LIMIT,
            f"the value {plain(order.value)} is above {plain(limits.max_order_value)}",
        )
    if unknown := [name for name, verdict in over.items() if verdict is None]:
        yield Reason(
            ReasonCode.PRICE_UNKNOWN, f"without a known price these limits cannot be held: {', '.join(unknown)}"
        )
    if over["price_collar_pct"]:
        yield Reason(
            ReasonCode.PRICE_COLLAR,
            f"the limit price {plain(order.limit_price)} is more than {plain(limits.price_collar_pct)} %"
            f" from {plain(order.reference_price)}",
        )


def plain(value: Decimal | None) -> str:
    """The shortest exact way to write it: `10` for 10.000000000, never an exponent; "" for None."""
    if value is None:
        return ""
    digits = format(value, "f")
    return digits.rstrip("0").rstrip(".") if "." in digits else digits


# Each of these is None where the limit is set and no known price lets it be computed.


def _too_many(order: Order, most: Decimal | None) -> bool | None:
    if most is None:
        return False
    if order.qty is not None:
        return order.qty > most
    if order.notional is None or not order.known_prices:
        return None
    # notional / lowest price > limit, without the division that could not be exact
    return order.notional > EXACT.multiply(most, min(order.known_prices))


def _too_much(order: Order, most: Decimal | None) -> bool | None:
    if most is None:
        return False
    return None if order.value is None else order.value > most


def _outside(order: Order, collar: Decimal | None) -> bool | None:
    if collar is None or order.limit_price is None:
        return False
    if order.reference_price is None:
        return None
    away = EXACT.multiply(EXACT.abs(EXACT.subtract(order.limit_price, order.reference_price)), Decimal(100))
    return away > EXACT.multiply(order.reference_price, collar)
