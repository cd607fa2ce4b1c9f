"""How a symbol is written: `AAPL`, `BRK.B`, `BTC/USD`, and `*` where every symbol is meant."""

from __future__ import annotations

import re

MAX_TICKER_LENGTH = 20
EVERY_SYMBOL = "*"
# ASCII on purpose: str.upper() turns "ß" into "SS", which would lock out another symbol than the one typed.
SEPARATORS = "/.-"
TICKER = re.compile(r"[A-Z0-9]+(?:[./-][A-Z0-9]+)*", re.ASCII)


def normalize_ticker(text: str, *, allow_every: bool = False) -> str | None:
    """The ticker as it is stored, or None if `text` is not one. `*` counts only with `allow_every`."""
    trimmed = text.strip()
    if not trimmed.isascii() or not 1 <= len(trimmed) <= MAX_TICKER_LENGTH:
        return None
    ticker = trimmed.upper()
    if ticker == EVERY_SYMBOL:
        return ticker if allow_every else None
    return ticker if TICKER.fullmatch(ticker) else None


WITHOUT_SEPARATORS = str.maketrans("", "", SEPARATORS)


def instrument(ticker: str) -> str:
    """What a ticker names, however it is spelt: a venue takes `BTCUSD` for `BTC/USD` and `BRK/B` for `BRK.B`, so
    what holds one of them holds all. Where two symbols differ by this alone, one too many is held, never one too
    few."""
    return ticker.translate(WITHOUT_SEPARATORS)
