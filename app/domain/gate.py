"""The gate: what becomes of an order, and every reason why.

Pure and total: whatever the order and the desk, there is a decision, and when in doubt it is *blocked*.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_CEILING, Context, Decimal
from enum import StrEnum

from app.domain.instruments import EVERY_SYMBOL, ONE, Multipliers, is_blocked_by
from app.domain.order_status import lockout_is_active
from app.domain.risk_config import (
    MAX_FRACTION_DIGITS,
    ConfigInvalid,
    PortfolioRiskConfig,
    PositionLimits,
    TradingMode,
    requires_approval,
)

# Amount, price and multiplier have 27 digits each: nothing is ever rounded, so "at the limit" is exact.
EXACT = Context(prec=100)
# For showing a quantity that has no exact decimal: never less than it is.
ROUNDED_UP = Context(prec=100, rounding=ROUND_CEILING)
SMALLEST = Decimal(1).scaleb(-MAX_FRACTION_DIGITS)


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
    CONTRACT_SIZE_UNKNOWN = "contract_size_unknown"
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
    """What the gate looks at. Exactly one of `qty` (shares, coins or contracts) and `notional` (money) is given;
    all are positive."""

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

    def value(self, multipliers: Multipliers) -> Decimal | None:
        """The notional, or the quantity at the highest known price times the contract size; None where the price
        or the contract size is not known."""
        return _value(self, multipliers.of(self.ticker))


def _value(order: Order, multiplier: Decimal | None) -> Decimal | None:
    if order.notional is not None:
        return order.notional
    if order.qty is None or multiplier is None or not order.known_prices:
        return None
    return EXACT.multiply(EXACT.multiply(order.qty, max(order.known_prices)), multiplier)


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
    yield from _over_limits(order, config.position_limits, config.instruments.multipliers.of(order.ticker))
    rate = config.order_rate
    accepted = desk.accepted_lately
    if rate.max_orders is not None and accepted is not None and accepted >= rate.max_orders:
        yield Reason(
            ReasonCode.ORDER_RATE_LIMIT,
            f"{accepted} orders were accepted in the last {rate.per_seconds} s, the limit is {rate.max_orders}",
        )


def _locked_out(order: Order, lockouts: Sequence[Lockout], now: datetime) -> Iterator[Reason]:
    blocking = [
        lockout
        for lockout in lockouts
        if is_blocked_by(order.ticker, lockout.ticker) and lockout_is_active(lockout.expires_at, now)
    ]
    if blocking:
        last = max(blocking, key=lambda lockout: lockout.expires_at)
        whom = "every symbol" if last.ticker == EVERY_SYMBOL else last.ticker
        until = last.expires_at.strftime("%Y-%m-%d %H:%M:%S UTC")
        yield Reason(ReasonCode.SYMBOL_LOCKED_OUT, f"{whom} is locked out until {until}: {last.reason}")


def _over_limits(order: Order, limits: PositionLimits, multiplier: Decimal | None) -> Iterator[Reason]:
    most, collar = limits.max_order_quantity, limits.price_collar_pct
    if most is not None and _is_above_quantity(order, most, multiplier):
        quantity = _quantity_in_words(order, multiplier)
        yield Reason(ReasonCode.ORDER_QUANTITY_LIMIT, f"the quantity {quantity} is above {plain(most)}")
    value = _value(order, multiplier)
    if limits.max_order_value is not None and value is not None and value > limits.max_order_value:
        yield Reason(
            ReasonCode.ORDER_VALUE_LIMIT,
            f"the value {_value_in_words(order, multiplier)} is above {plain(limits.max_order_value)}",
        )
    yield from _not_computable(order, limits, multiplier)
    if collar is not None and _is_outside(order, collar):
        yield Reason(
            ReasonCode.PRICE_COLLAR,
            f"the limit price {plain(order.limit_price)} is more than {plain(collar)} %"
            f" from {plain(order.reference_price)}",
        )


def _not_computable(order: Order, limits: PositionLimits, multiplier: Decimal | None) -> Iterator[Reason]:
    """The limits that are set and cannot be checked, because a price or the contract size is not known."""
    # A quantity follows from a notional, and a value from a quantity, only with a price and the contract size.
    converted = {
        "max_order_quantity": limits.max_order_quantity if order.qty is None else None,
        "max_order_value": limits.max_order_value if order.notional is None else None,
    }
    has_no_reference = order.limit_price is not None and order.reference_price is None
    without_price = {} if order.known_prices else dict(converted)
    without_price["price_collar_pct"] = limits.price_collar_pct if has_no_reference else None
    if named := _limits_in_words(without_price):
        yield Reason(ReasonCode.PRICE_UNKNOWN, f"a price is missing to check these limits: {named}")
    if multiplier is None and (named := _limits_in_words(converted)):
        yield Reason(
            ReasonCode.CONTRACT_SIZE_UNKNOWN,
            f"the contract size of {order.ticker} is needed to check these limits: {named};"
            " an admin can set it in instruments.multipliers of the configuration",
        )


def _limits_in_words(limits: dict[str, Decimal | None]) -> str:
    return ", ".join(f"{name} {plain(limit)}" for name, limit in limits.items() if limit is not None)


def _value_in_words(order: Order, multiplier: Decimal | None) -> str:
    value = plain(_value(order, multiplier))
    if order.qty is None or multiplier in (None, ONE):
        return value
    price = plain(max(order.known_prices))
    return f"{value} ({plain(order.qty)} at {price}, contract size {plain(multiplier)})"


def _quantity_in_words(order: Order, multiplier: Decimal | None) -> str:
    if order.qty is not None or order.notional is None or multiplier is None:
        return plain(order.qty)
    price = min(order.known_prices)
    quantity = ROUNDED_UP.divide(order.notional, EXACT.multiply(price, multiplier))
    shown = plain(quantity.quantize(SMALLEST, context=ROUNDED_UP))
    size = "" if multiplier == ONE else f", contract size {plain(multiplier)}"
    return f"{shown} ({plain(order.notional)} at {plain(price)}{size})"


def plain(value: Decimal | None) -> str:
    """The shortest exact way to write it: `10` for 10.000000000, never an exponent; "" for None."""
    if value is None:
        return ""
    digits = format(value, "f")
    return digits.rstrip("0").rstrip(".") if "." in digits else digits


def _is_above_quantity(order: Order, most: Decimal, multiplier: Decimal | None) -> bool:
    if order.qty is not None:
        return order.qty > most
    if order.notional is None or multiplier is None or not order.known_prices:
        return False
    # notional / (lowest price * multiplier) > most, without the division that could not be exact
    return order.notional > EXACT.multiply(most, EXACT.multiply(min(order.known_prices), multiplier))


def _is_outside(order: Order, collar: Decimal) -> bool:
    if order.limit_price is None or order.reference_price is None:
        return False
    away = EXACT.multiply(EXACT.abs(EXACT.subtract(order.limit_price, order.reference_price)), Decimal(100))
    return away > EXACT.multiply(order.reference_price, collar)
