"""What the stored risk configuration means, and when an order needs a person.

The stored configuration is one JSON object. Sections known here are read strictly; everything else is kept
as it was given. A value that cannot be read is never replaced by a default: it raises `ConfigInvalid`, and
the gate blocks until someone mends it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, field, fields
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Any, Self, TypeVar

from app.domain.instruments import InvalidTicker, Multipliers, parse_ticker

MIN_APPROVAL_TIMEOUT_MINUTES = 1
MAX_APPROVAL_TIMEOUT_MINUTES = 10_080  # one week
MAX_RATE_ORDERS = 1_000_000
MAX_RATE_SECONDS = 86_400

# Money and quantities: up to 18 digits before the point and 9 after it, everywhere.
MAX_INTEGER_DIGITS = 18
MAX_FRACTION_DIGITS = 9


class TradingMode(StrEnum):
    """Where released orders go: nowhere, to paper trading, or to the market."""

    DISABLED = "disabled"
    PAPER = "paper"
    LIVE = "live"


class ConfigInvalid(ValueError):
    """A stored configuration that cannot be read.

    `key` is the dotted name of the value at fault ("" for the configuration as a whole), `problem` what is
    wrong with it, and the message both in one sentence.
    """

    def __init__(self, key: str, problem: str) -> None:
        self.key = key
        self.problem = problem
        super().__init__(f"{key or 'the configuration'} {problem}")


def _boolean(key: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise ConfigInvalid(key, f"must be true or false, not {_shown(value)}")
    return value


def _integer(lowest: int, highest: int) -> Callable[[str, object], int]:
    def read(key: str, value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= highest:
            raise ConfigInvalid(key, f"must be an integer from {lowest} to {highest}, not {_shown(value)}")
        return value

    return read


def _limit(key: str, value: object) -> Decimal | None:
    """A limit: null for none, or a decimal of at least 0 as a string or as a JSON number."""
    if value is None:
        return None
    if not isinstance(value, bool) and isinstance(value, int | float | Decimal | str):
        limit = _decimal(value)
        if limit is not None and _fits(limit):
            return limit
    raise ConfigInvalid(
        key,
        f"must be null or a decimal of at least 0 with up to {MAX_INTEGER_DIGITS} digits before the point"
        f" and {MAX_FRACTION_DIGITS} after it, not {_shown(value)}",
    )


def _multipliers(key: str, value: object) -> Multipliers:
    """Contract sizes: an object with a positive decimal, as a string or a JSON number, for each ticker or root."""
    if not isinstance(value, Mapping):
        raise ConfigInvalid(key, f"must be an object, not {_shown(value)}")
    return Multipliers(
        {ticker: _multiplier(f"{key}.{_shortened(str(ticker))}", ticker, value[ticker]) for ticker in value}
    )


def _multiplier(key: str, ticker: object, value: object) -> Decimal:
    try:
        problem = "" if parse_ticker(str(ticker)) == ticker else "must be a ticker in upper case, without spaces"
    except InvalidTicker as error:
        problem = f"is not a ticker: it {error}"
    if problem:
        raise ConfigInvalid(key, problem)
    if not isinstance(value, bool) and isinstance(value, int | float | Decimal | str):
        multiplier = _decimal(value)
        if multiplier is not None and _fits(multiplier) and multiplier > 0:
            return multiplier
    raise ConfigInvalid(
        key,
        f"must be a positive decimal with up to {MAX_INTEGER_DIGITS} digits before the point"
        f" and {MAX_FRACTION_DIGITS} after it, not {_shown(value)}",
    )


def _decimal(value: int | float | Decimal | str) -> Decimal | None:
    """The exact decimal that was written, or None. A float counts as what it prints as."""
    if isinstance(value, int) and value.bit_length() > 200:
        return None
    text = str(value)
    if len(text) > 400 or not text.isascii() or "_" in text or text != text.strip():
        return None
    try:
        return Decimal(text) or Decimal(0)  # a zero such as 0e-999999999 would be written out digit by digit
    except InvalidOperation:
        return None


def _fits(value: Decimal) -> bool:
    if not value.is_finite() or value < 0:
        return False
    if value == 0:
        return True
    _, digits, exponent = value.as_tuple()
    trailing_zeros = len(digits) - len("".join(map(str, digits)).rstrip("0"))
    return value.adjusted() < MAX_INTEGER_DIGITS and -(int(exponent) + trailing_zeros) <= MAX_FRACTION_DIGITS


def _shown(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int() if value.bit_length() > 200:
            return "a number that large"
        case int() | float() | Decimal():
            return _shortened(str(value))
        case str():
            return f'"{_shortened(value)}"'
        case Mapping():
            return "an object"
        case list() | tuple():
            return "an array"
        case _:
            return type(value).__name__


def _shortened(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."


def _copied(key: str, value: object) -> Any:
    """A copy of what is not understood, so that nobody else's change reaches into a frozen configuration."""
    try:
        return deepcopy(value)
    except RecursionError:
        raise ConfigInvalid(key, "is nested too deeply") from None


@dataclass(frozen=True, slots=True)
class OperatorApproval:
    """Section `operator_approval`: which orders wait for a person, and for how many minutes."""

    auto_approve_paper: bool = field(default=True, metadata={"read": _boolean})
    require_approval_for_live: bool = field(default=True, metadata={"read": _boolean})
    approval_timeout_minutes: int = field(
        default=30,
        metadata={"read": _integer(MIN_APPROVAL_TIMEOUT_MINUTES, MAX_APPROVAL_TIMEOUT_MINUTES)},
    )


@dataclass(frozen=True, slots=True)
class SignalLayers:
    """Section `signal_layers`: a layer that is off blocks the orders that it gave rise to."""

    macro: bool = field(default=True, metadata={"read": _boolean})
    competitive: bool = field(default=True, metadata={"read": _boolean})


@dataclass(frozen=True, slots=True)
class PositionLimits:
    """Section `position_limits`: inclusive limits on one order; None means no limit."""

    max_order_quantity: Decimal | None = field(default=None, metadata={"read": _limit})
    max_order_value: Decimal | None = field(default=None, metadata={"read": _limit})
    price_collar_pct: Decimal | None = field(default=None, metadata={"read": _limit})


@dataclass(frozen=True, slots=True)
class OrderRate:
    """Section `order_rate`: at most `max_orders` accepted in any `per_seconds`, for each engine.

    Both are None (no limit) or both are given: half a limit is none, so it is refused.
    """

    max_orders: int | None = field(default=None, metadata={"read": _integer(0, MAX_RATE_ORDERS)})
    per_seconds: int | None = field(default=None, metadata={"read": _integer(1, MAX_RATE_SECONDS)})


@dataclass(frozen=True, slots=True)
class Instruments:
    """Section `instruments`: contract sizes that do not follow from the ticker."""

    multipliers: Multipliers = field(default=Multipliers(), metadata={"read": _multipliers})


Section = TypeVar("Section", OperatorApproval, SignalLayers, PositionLimits, OrderRate, Instruments)


def read_section(kind: type[Section], name: str, raw: object) -> tuple[Section, dict[str, Any]]:
    """One section of the stored JSON as its dataclass, and the keys in it that are not known.

    Raises ConfigInvalid, naming the key, when the section or a known value in it cannot be read.
    """
    if not isinstance(raw, Mapping):
        raise ConfigInvalid(name, f"must be an object, not {_shown(raw)}")
    known = {item.name: item for item in fields(kind)}
    values: dict[str, Any] = {}
    for key, item in known.items():
        if key in raw and not (raw[key] is None and item.default is None):
            values[key] = item.metadata["read"](f"{name}.{key}", raw[key])
    section = kind(**values)
    if isinstance(section, OrderRate) and (section.max_orders is None) != (section.per_seconds is None):
        missing = "max_orders" if section.max_orders is None else "per_seconds"
        raise ConfigInvalid(f"{name}.{missing}", "is missing: a rate needs max_orders and per_seconds")
    return section, {str(key): _copied(f"{name}.{key}", raw[key]) for key in raw if key not in known}


@dataclass(frozen=True, slots=True)
class PortfolioRiskConfig:
    """The risk configuration in force, defaults filled in.

    `unknown` holds what is not understood here and must survive a round trip: top-level keys by their name,
    and under a known section's name the unknown keys inside of it.
    """

    operator_approval: OperatorApproval = OperatorApproval()
    signal_layers: SignalLayers = SignalLayers()
    position_limits: PositionLimits = PositionLimits()
    order_rate: OrderRate = OrderRate()
    instruments: Instruments = Instruments()
    unknown: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @classmethod
    def from_db_json(cls, raw: object) -> Self:
        """Read the stored JSON; raises ConfigInvalid (one clear error that names the key).

        A missing section or key has its default. An explicit null is a value like any other: it is
        accepted for a limit, where it means none, and refused elsewhere.
        """
        if not isinstance(raw, Mapping):
            raise ConfigInvalid("", f"must be an object, not {_shown(raw)}")
        sections: dict[str, Any] = {}
        unknown: dict[str, Any] = {str(key): _copied(str(key), raw[key]) for key in raw if key not in SECTIONS}
        for name, kind in SECTIONS.items():
            if name in raw:
                sections[name], rest = read_section(kind, name, raw[name])
                if rest:
                    unknown[name] = rest
        return cls(**sections, unknown=unknown)

    @classmethod
    def read_what_can_be_read(cls, raw: object) -> tuple[Self, ConfigInvalid | None]:
        """The configuration, and the first error where there is one.

        With an error the sections that cannot be read hold defaults: good for naming the other reasons why an
        order is blocked, never for letting one pass.
        """
        try:
            return cls.from_db_json(raw), None
        except ConfigInvalid as error:
            readable: dict[str, Any] = {}
            stored = raw if isinstance(raw, Mapping) else {}
            for name in SECTIONS:
                with suppress(ConfigInvalid):
                    cls.from_db_json({name: stored[name]} if name in stored else {})
                    readable[name] = stored.get(name, {})
            return cls.from_db_json(readable), error

    def to_db_json(self) -> dict[str, Any]:
        """The configuration as JSON to store: every known value spelt out, and all that was not understood.

        Decimals become strings, so that no reader turns them into floats.
        """
        stored: dict[str, Any] = {}
        for name, kind in SECTIONS.items():
            section = getattr(self, name)
            stored[name] = {item.name: _plain(getattr(section, item.name)) for item in fields(kind)}
        for key, value in self.unknown.items():
            if key in SECTIONS:
                stored[key].update(deepcopy(value))
            else:
                stored[key] = deepcopy(value)
        return stored

    @property
    def unknown_in_sections(self) -> list[str]:
        """Dotted names of keys inside known sections that mean nothing here (a misspelt limit, say)."""
        return sorted(f"{name}.{key}" for name in SECTIONS for key in self.unknown.get(name, ()))


SECTIONS: Mapping[str, Any] = {
    "operator_approval": OperatorApproval,
    "signal_layers": SignalLayers,
    "position_limits": PositionLimits,
    "order_rate": OrderRate,
    "instruments": Instruments,
}


def _plain(value: object) -> object:
    if isinstance(value, Multipliers):
        return {ticker: _plain(multiplier) for ticker, multiplier in value.items()}
    return format(value, "f") if isinstance(value, Decimal) else value


def requires_approval(config: PortfolioRiskConfig, mode: TradingMode) -> bool:
    """Whether an order must wait for a person's approval in `mode`.

    In `disabled` there is nothing to approve: the gate blocks the order. Raises ValueError for a mode that
    does not exist, so that a typing error can never read as "no approval needed".
    """
    match TradingMode(mode):
        case TradingMode.LIVE:
            return config.operator_approval.require_approval_for_live
        case TradingMode.PAPER:
            return not config.operator_approval.auto_approve_paper
        case TradingMode.DISABLED:
            return False
