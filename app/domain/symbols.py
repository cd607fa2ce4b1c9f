"""How a symbol is written: `AAPL`, `BRK.B`, `BTC/USD`, and `*` where every symbol is meant."""

from __future__ import annotations

import re

MAX_TICKER_LENGTH = 20
EVERY_SYMBOL = "*"
# ASCII on purpose: str.upper() turns "ß" into "SS", which would lock out another symbol than the one typed.
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
