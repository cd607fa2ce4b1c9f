"""Tickers and the instruments that they name: grammar, spellings, options, futures and contract sizes.

Pure, and the only place that knows this. Two patterns are shared with SQL (models/) and the page
(static/js/instruments.js), so that a lockout, a list and the gate always agree.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache

MAX_TICKER_LENGTH = 32
EVERY_SYMBOL = "*"
PUNCTUATION = "./-_:=^&!"
SEPARATORS = "./-_"  # spellings of one instrument differ by these
OPTION_MULTIPLIER = Decimal(100)
ONE = Decimal(1)

TICKER_PATTERN = r"^(\^[./_:=^&!-]*)?[A-Z0-9][A-Z0-9./_:=^&!-]*$"
# A derivative, once the separators are removed: an exchange's prefix; then a futures contract (root and month,
# year), a continuous future (root) or an OCC option; then an exchange's suffix. The replacement keeps what
# identifies the contract. Of the year it keeps the last digit, because a year of one digit has no more: contracts
# ten years apart are one instrument here, which blocks or shows too much and never too little.
DERIVATIVE_PATTERN = (
    r"^(.*:)?(([A-Z0-9]+[FGHJKMNQUVXZ])([0-9]|[0-9]{3})?([0-9])|([A-Z0-9]+)(=F|[1-9]!)"
    r"|([A-Z0-9]{1,6}[0-9]{6}[CP][0-9]{8}))(CME|CBT|CMX|NYM|NYB)?$"
)
KEY_REPLACEMENT = r"\3\5\6\8"
# `instrument_key` in SQL, as a format string for the column or parameter.
KEY_SQL = (
    f"regexp_replace(translate({{ticker}}, '{SEPARATORS}', ''),"
    f" '{DERIVATIVE_PATTERN.replace('{', '{{').replace('}', '}}')}', '{KEY_REPLACEMENT}')"
)

_TICKER = re.compile(TICKER_PATTERN.replace("$", r"\Z"), re.ASCII)
_DERIVATIVE = re.compile(DERIVATIVE_PATTERN.replace("$", r"\Z"), re.ASCII)
_ALLOWED = re.compile(r"[A-Z0-9./_:=^&!-]", re.ASCII)
# An OCC symbol as some systems write it: its root padded with spaces to six characters.
_PADDED_OPTION = re.compile(r"([A-Za-z0-9]{1,6}) {1,5}([0-9]{6}[CPcp][0-9]{8})", re.ASCII)
_TO_UPPER = str.maketrans("abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ")
_WITHOUT_SEPARATORS = str.maketrans("", "", SEPARATORS)
_PAIR = re.compile(r"[^/]+/[A-Z0-9]{3,}(:.*)?|[A-Z0-9]+[_-](USD|USDT|USDC|BTC|ETH)", re.ASCII)

CACHED_TICKERS = 10_000


class InvalidTicker(ValueError):
    """A text that is not a ticker; the message is a predicate, such as `must not be empty`."""


def parse_ticker(text: str, *, allow_every: bool = False) -> str:
    """The ticker in the form that is stored. `*` is accepted with `allow_every` only.

    Only ASCII letters are upper-cased: `str.upper` turns `ß` into `SS`, which is another symbol than was typed.
    """
    ticker = text.strip()
    if padded := _PADDED_OPTION.fullmatch(ticker):
        ticker = padded[1] + padded[2]
    ticker = ticker.translate(_TO_UPPER)
    if ticker == EVERY_SYMBOL and allow_every:
        return ticker
    if len(ticker) > MAX_TICKER_LENGTH or not _TICKER.match(ticker):
        raise InvalidTicker(_problem(ticker, allow_every))
    return ticker


def _problem(ticker: str, allow_every: bool) -> str:
    wrong = next((character for character in ticker if not _ALLOWED.match(character)), None)
    if not ticker:
        return "must not be empty"
    if wrong == EVERY_SYMBOL:
        return (
            "may be * alone, for every symbol" if allow_every else "must name one symbol: * is for lockouts only"
        )
    if wrong is not None:
        return f"contains {_named(wrong)}: allowed are A-Z, 0-9 and {' '.join(PUNCTUATION)}"
    if not any(character.isalnum() for character in ticker):
        return "must contain a letter or a digit"
    if not (ticker[0].isalnum() or ticker[0] == "^"):
        return f"must start with a letter, a digit or ^, not with {ticker[0]}"
    return f"must have at most {MAX_TICKER_LENGTH} characters, not {len(ticker)}"


def _named(character: str) -> str:
    code = f"U+{ord(character):04X}"
    if character == " ":
        return "a space"
    if not character.isprintable():
        return code
    return f'"{character}"' if character.isascii() else f'"{character}" ({code})'


def normalize_ticker(text: str, *, allow_every: bool = False) -> str | None:
    """`parse_ticker`, or None where `text` is not a ticker."""
    try:
        return parse_ticker(text, allow_every=allow_every)
    except InvalidTicker:
        return None


def compact(ticker: str) -> str:
    """The ticker without separators."""
    return ticker.translate(_WITHOUT_SEPARATORS)


class Kind(StrEnum):
    OPTION = "option"
    FUTURE = "future"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Instrument:
    """What a ticker names. Two tickers with the same `key` are spellings of the same instrument.

    `root` is an option's OCC root or a future's root. `lockout_keys` are the keys of the lockouts that block an
    order for it: its own, those of its underlying or root, and `*` as the last.
    """

    key: str
    kind: Kind
    root: str | None
    lockout_keys: tuple[str, ...]

    @property
    def is_adjusted(self) -> bool:
        """An option whose root ends in a digit: a contract that a split or merger changed, of unknown size."""
        return self.kind is Kind.OPTION and self.root is not None and self.root[-1].isdigit()

    @property
    def usual_multiplier(self) -> Decimal | None:
        """The contract size unless another one is configured; None where it is unknown."""
        if self.kind is Kind.OPTION and not self.is_adjusted:
            return OPTION_MULTIPLIER
        return ONE if self.kind is Kind.OTHER else None

    @property
    def sized_by_root(self) -> bool:
        """Whether a multiplier that is configured for its root applies. A share's is not that of its options."""
        return self.kind is Kind.FUTURE or self.is_adjusted


@lru_cache(maxsize=CACHED_TICKERS)
def instrument(ticker: str) -> Instrument:
    """The instrument that a ticker names, however it is spelled."""
    spelled = compact(ticker)
    found = _DERIVATIVE.match(spelled)
    if found is None:
        return Instrument(spelled, Kind.OTHER, None, _distinct(spelled, EVERY_SYMBOL))
    key = found.expand(KEY_REPLACEMENT)
    if (option := found[8]) is not None:
        root = option[:-15]
        if not _is_date(option[-15:-9]):
            return Instrument(key, Kind.OTHER, None, _distinct(key, EVERY_SYMBOL))
        underlyings = (root, root.rstrip("0123456789") or root)
        return Instrument(key, Kind.OPTION, root, _lockout_keys(key, underlyings))
    root = found[6] or found[3][:-1]
    return Instrument(key, Kind.FUTURE, root, _lockout_keys(key, (root,)))


def _lockout_keys(key: str, roots: tuple[str, ...]) -> tuple[str, ...]:
    """What blocks the underlying blocks the derivative."""
    of_roots = [each for root in roots for each in (root, *instrument(root).lockout_keys[:-1])]
    return _distinct(key, *of_roots, EVERY_SYMBOL)


def _distinct(*keys: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(keys))


def _is_date(digits: str) -> bool:
    try:
        date(2000 + int(digits[:2]), int(digits[2:4]), int(digits[4:]))
    except ValueError:
        return False
    return True


def instrument_key(ticker: str) -> str:
    """Equal for all spellings of one instrument; KEY_SQL is the same in SQL."""
    return instrument(ticker).key


def is_blocked_by(ticker: str, lockout_ticker: str) -> bool:
    """Whether a lockout of `lockout_ticker` blocks orders for `ticker`."""
    return instrument(lockout_ticker).key in instrument(ticker).lockout_keys


class Multipliers(Mapping[str, Decimal]):
    """The configured contract sizes, by ticker or by root. Immutable, and hashable as part of a configuration."""

    __slots__ = ("_by_key", "_given")

    def __init__(self, given: Mapping[str, Decimal] | None = None) -> None:
        self._given = dict(given or {})
        # Of two entries for one instrument the larger one counts: no spelling makes an order worth less.
        self._by_key: dict[str, Decimal] = {}
        for ticker, multiplier in self._given.items():
            key = instrument_key(ticker)
            self._by_key[key] = max(multiplier, self._by_key.get(key, multiplier))

    def __getitem__(self, ticker: str) -> Decimal:
        return self._given[ticker]

    def __iter__(self) -> Iterator[str]:
        return iter(self._given)

    def __len__(self) -> int:
        return len(self._given)

    def __hash__(self) -> int:
        return hash(frozenset(self._given.items()))

    def of(self, ticker: str) -> Decimal | None:
        """How many units one contract stands for; None where that is unknown.

        An entry for the instrument itself wins over one for its root, and that over the usual multiplier.
        """
        named = instrument(ticker)
        if (exact := self._by_key.get(named.key)) is not None:
            return exact
        if named.sized_by_root and named.root is not None:
            keys = (named.root, instrument_key(named.root))
            if sizes := [self._by_key[key] for key in keys if key in self._by_key]:
                return max(sizes)
        return named.usual_multiplier


def asset_class(ticker: str) -> str:
    """Alpaca's word for the kind of asset. It has none for futures: they are `us_equity`, as everything else."""
    if instrument(ticker).kind is Kind.OPTION:
        return "us_option"
    return "crypto" if _PAIR.fullmatch(ticker) else "us_equity"
