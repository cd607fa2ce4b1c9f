"""Symbols: whatever is typed, the symbol that is stored is that one or none at all."""

from __future__ import annotations

import re
import string

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.domain.symbols import MAX_TICKER_LENGTH, instrument, normalize_ticker

# Characters that some upper-casing or normalisation turns into other ones, and into ASCII among them.
TREACHEROUS = "ßﬁﬀſıİẞŉǆµⅣⅷ①²１ＡａÅ٣०\u0301\u212a\u212b\U0001d400"

likely = st.text(string.ascii_letters + string.digits + "./-* \t\n" + TREACHEROUS, max_size=24)
valid = st.from_regex(r"[A-Z0-9]{1,5}([./-][A-Z0-9]{1,4}){0,2}", fullmatch=True).filter(
    lambda ticker: len(ticker) <= MAX_TICKER_LENGTH
)


@settings(max_examples=500)
@given(st.text(max_size=24) | likely, st.booleans())
@example("ß", False)
@example("ﬁ", True)
@example("ＡＡＰＬ", False)
@example("AAPL\n", False)
@example("\u212a", False)
def test_the_symbol_is_the_one_that_was_typed_or_none(typed: str, allow_every: bool) -> None:
    ticker = normalize_ticker(typed, allow_every=allow_every)
    if ticker is None:
        return
    assert ticker.isascii()
    assert 1 <= len(ticker) <= MAX_TICKER_LENGTH
    assert re.fullmatch(r"\*|[A-Z0-9]+([./-][A-Z0-9]+)*", ticker, re.ASCII)
    assert ticker != "*" or allow_every
    # Letter by letter: nothing is dropped, joined, split or exchanged.
    letters = typed.strip()
    assert len(letters) == len(ticker)
    assert all(a == b or (a in string.ascii_lowercase and a.upper() == b) for a, b in zip(letters, ticker))  # noqa: B905


@settings(max_examples=300)
@given(st.text(max_size=24) | likely | valid, st.booleans())
def test_normalising_again_changes_nothing(typed: str, allow_every: bool) -> None:
    once = normalize_ticker(typed, allow_every=allow_every)
    if once is not None:
        assert normalize_ticker(once, allow_every=allow_every) == once


@settings(max_examples=200)
@given(valid, st.sampled_from(["", " ", "\t", "\n", "  "]), st.sampled_from(["", " ", "\r\n"]), st.booleans())
def test_a_symbol_in_any_case_between_white_space_is_understood(
    ticker: str, before: str, after: str, lower: bool
) -> None:
    assert normalize_ticker(before + (ticker.lower() if lower else ticker) + after) == ticker


@pytest.mark.parametrize(
    ("typed", "ticker"),
    [
        ("aapl", "AAPL"),
        (" BRK.B ", "BRK.B"),
        ("btc/usd", "BTC/USD"),
        ("rds-a", "RDS-A"),
        ("0700.hk", "0700.HK"),
        ("1", "1"),
        ("a" * 20, "A" * 20),
    ],
)
def test_what_is_a_symbol(typed: str, ticker: str) -> None:
    assert normalize_ticker(typed) == ticker


@pytest.mark.parametrize(
    "typed",
    [
        "",
        " ",
        ".",
        "A.",
        ".A",
        "A..B",
        "A./B",
        "A B",
        "A_B",
        "A*",
        "**",
        "* *",
        "A\0B",
        "A\nB",
        "$A",
        "A,B",
        "a" * 21,
        *(before + character for character in TREACHEROUS for before in ("", "A")),
    ],
)
def test_what_is_none(typed: str) -> None:
    assert normalize_ticker(typed) is None
    assert normalize_ticker(typed, allow_every=True) is None


def test_the_star_counts_only_where_every_symbol_may_be_meant() -> None:
    assert normalize_ticker(" * ", allow_every=True) == "*"
    assert normalize_ticker("*") is None


@settings(max_examples=300)
@given(valid, st.data())
def test_every_spelling_of_a_symbol_names_the_same(ticker: str, data: st.DataObject) -> None:
    separators = st.sampled_from(["", "/", ".", "-"])
    spelt = "".join(data.draw(separators) if letter in "./-" else letter for letter in ticker)
    assert instrument(spelt) == instrument(ticker)
    assert instrument(ticker).isalnum()


@settings(max_examples=300)
@given(valid, valid)
def test_symbols_with_other_letters_stay_apart(one: str, other: str) -> None:
    def letters(ticker: str) -> list[str]:
        return [letter for letter in ticker if letter not in "./-"]

    assert (instrument(one) == instrument(other)) == (letters(one) == letters(other))


def test_every_symbol_is_none_of_them() -> None:
    assert instrument("*") == "*"
