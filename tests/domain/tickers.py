"""Strategies for tickers: shares and pairs, options, futures, and other spellings of the same instrument."""

from __future__ import annotations

import re
from datetime import date

from hypothesis import strategies as st

from app.domain.instruments import MAX_TICKER_LENGTH

SEPARATORS = "./-_"
CONTRACT = re.compile(r"([A-Z0-9]+[FGHJKMNQUVXZ])([0-9]{1,2}|[0-9]{4})")
OPTION = re.compile(r"[A-Z0-9]{1,6}[0-9]{6}[CP][0-9]{8}")
CONTINUOUS = re.compile(r"([A-Z0-9]+)(=F|[1-9]!)")

# No digits in the last part, so that it is not a futures contract.
shares = st.from_regex(r"[A-Z]{1,4}([./_-][A-Z]{1,4}){0,2}", fullmatch=True)
roots = st.sampled_from(["ES", "6E", "M2K", "CL", "10Y", "A"])
years = st.integers(2026, 2035)
contracts = st.builds(
    lambda root, month, year, digits: (f"{root}{month}{str(year)[-digits:]}", root),
    roots,
    st.sampled_from("FGHJKMNQUVXZ"),
    years,
    st.sampled_from([1, 2, 4]),
)
continuous = st.builds(lambda root, form: form.format(root), roots, st.sampled_from(["{}=F", "{}1!"]))
options = st.builds(
    lambda root, day, kind, strike: f"{root}{day:%y%m%d}{kind}{strike:08}",
    st.from_regex(r"[A-Z]{1,4}[1-9]?", fullmatch=True),
    st.dates(min_value=date(2026, 1, 1), max_value=date(2030, 12, 31)),
    st.sampled_from("CP"),
    st.integers(1, 99_999_999),
)
others = st.sampled_from(["BTC/USDT:USDT", "^GSPC", "M&M.NS", "EURUSD=X", "A=F=F", "H6", "ESZ026", "ES.CME"])
tickers = shares | contracts.map(lambda pair: pair[0]) | continuous | options | others


@st.composite
def spellings(draw: st.DrawFn, ticker: str) -> str:
    """Another way to write the same instrument, which may be the same one."""
    plain = ticker.translate(str.maketrans("", "", SEPARATORS))
    if found := CONTRACT.fullmatch(plain):
        digits = draw(st.sampled_from([1, 2, 4]))
        plain = found[1] + ("202" + found[2][-1])[-digits:]
    if found or OPTION.fullmatch(plain) or CONTINUOUS.fullmatch(plain):
        plain = draw(st.sampled_from(["{}", "CME:{}", "{}CME", "CME_MINI:{}NYM"])).format(plain)
    separated = "".join(
        character + (draw(st.sampled_from(["", *SEPARATORS])) if place and draw(st.integers(0, 3)) == 0 else "")
        for place, character in enumerate(plain)
    )
    return separated if len(separated) <= MAX_TICKER_LENGTH else plain
