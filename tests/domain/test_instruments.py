"""Tickers and instruments: stored as typed, and every spelling of an instrument is treated alike."""

from __future__ import annotations

import json
import re
import string
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.domain.instruments import (
    MAX_TICKER_LENGTH,
    InvalidTicker,
    Kind,
    Multipliers,
    asset_class,
    instrument,
    instrument_key,
    is_blocked_by,
    normalize_ticker,
    parse_ticker,
)
from tests.domain.tickers import continuous, contracts, options, shares, spellings, tickers

# The page's script is held to the same table (tests/frontend/instruments.test.js).
TABLE = json.loads((Path(__file__).parent / "instruments.json").read_text())
PUNCTUATION = "./-_:=^&!"

# Characters that some upper-casing or normalisation turns into other ones, and into ASCII among them.
TREACHEROUS = "ßﬁﬀſıİẞŉǆµⅣⅷ①²１ＡａÅ٣०\u0301\u212a\u212b\U0001d400"

likely = st.text(string.ascii_letters + string.digits + PUNCTUATION + "* \t\n" + TREACHEROUS, max_size=36)


class TestGrammar:
    @settings(max_examples=500)
    @given(st.text(max_size=36) | likely, st.booleans())
    @example("ß", False)
    @example("ﬁ", True)
    @example("ＡＡＰＬ", False)
    @example("AAPL\n", False)
    @example("\u212a", False)
    def test_stores_the_ticker_that_was_typed_or_none(self, typed: str, allow_every: bool) -> None:
        ticker = normalize_ticker(typed, allow_every=allow_every)
        if ticker is None:
            return
        assert 1 <= len(ticker) <= MAX_TICKER_LENGTH
        assert re.fullmatch(r"\*|[A-Z0-9./_:=^&!-]*[A-Z0-9][A-Z0-9./_:=^&!-]*", ticker, re.ASCII)
        assert ticker != "*" or allow_every
        # Letter by letter: nothing is dropped, joined, split or exchanged, but the spaces of a padded OCC symbol.
        letters = typed.strip() if " " not in typed.strip() else typed.replace(" ", "").strip()
        assert len(letters) == len(ticker)
        assert all(a == b or (a in string.ascii_lowercase and a.upper() == b) for a, b in zip(letters, ticker))  # noqa: B905

    @settings(max_examples=300)
    @given(st.text(max_size=36) | likely | tickers, st.booleans())
    def test_parsing_again_changes_nothing(self, typed: str, allow_every: bool) -> None:
        once = normalize_ticker(typed, allow_every=allow_every)
        if once is not None:
            assert normalize_ticker(once, allow_every=allow_every) == once

    @settings(max_examples=200)
    @given(
        tickers, st.sampled_from(["", " ", "\t", "\n", "  "]), st.sampled_from(["", " ", "\r\n"]), st.booleans()
    )
    def test_trims_and_upper_cases(self, ticker: str, before: str, after: str, lower: bool) -> None:
        assert normalize_ticker(before + (ticker.lower() if lower else ticker) + after) == ticker

    @pytest.mark.parametrize(
        ("typed", "ticker"),
        [
            ("aapl", "AAPL"),
            (" BRK.B ", "BRK.B"),
            ("btc/usd", "BTC/USD"),
            ("BTC/USDT:USDT", "BTC/USDT:USDT"),
            ("BTC_USDT", "BTC_USDT"),
            ("rds-a", "RDS-A"),
            ("RY.TO", "RY.TO"),
            ("0700.hk", "0700.HK"),
            ("m&m.ns", "M&M.NS"),
            ("es=f", "ES=F"),
            ("^gspc", "^GSPC"),
            ("es1!", "ES1!"),
            ("aapl261218c00200000", "AAPL261218C00200000"),
            ("GOOGL1261218C00200000", "GOOGL1261218C00200000"),
            ("AAPL  261218C00200000", "AAPL261218C00200000"),
            ("A     261218P00012500", "A261218P00012500"),
            ("1", "1"),
            ("A..B", "A..B"),
            ("A.", "A."),
            ("a" * 32, "A" * 32),
        ],
    )
    def test_accepts(self, typed: str, ticker: str) -> None:
        assert normalize_ticker(typed) == ticker

    @pytest.mark.parametrize(
        ("typed", "problem"),
        [
            ("", "must not be empty"),
            (" ", "must not be empty"),
            (".", "must contain a letter or a digit"),
            ("^", "must contain a letter or a digit"),
            (".A", "must start with a letter, a digit or ^, not with ."),
            ("A B", "contains a space: "),
            ("AAPL 261218", "contains a space: "),
            ("A\tB", "contains U+0009: "),
            ("A\0B", "contains U+0000: "),
            ("A\u200bB", "contains U+200B: "),
            ("A\u00a0B", "contains U+00A0: "),
            ("$A", 'contains "$": '),
            ("A,B", 'contains ",": '),
            ("ß", 'contains "ß" (U+00DF): '),
            ("ıBM", 'contains "ı" (U+0131): '),
            ("ﬁs", 'contains "ﬁ" (U+FB01): '),
            ("ß" + "A" * 40, 'contains "ß" (U+00DF): '),
            ("a" * 33, "must have at most 32 characters, not 33"),
        ],
    )
    def test_names_what_is_wrong(self, typed: str, problem: str) -> None:
        for allow_every in (False, True):
            with pytest.raises(InvalidTicker) as refused:
                parse_ticker(typed, allow_every=allow_every)
            assert str(refused.value).startswith(problem)
            assert ("32" in str(refused.value)) == (len(typed) == 33)

    @pytest.mark.parametrize("typed", [before + character for character in TREACHEROUS for before in ("", "A")])
    def test_refuses_letters_that_are_not_ascii(self, typed: str) -> None:
        assert normalize_ticker(typed, allow_every=True) is None

    @pytest.mark.parametrize("typed", ["A*", "**", "* *", "*A"])
    def test_refuses_a_star_beside_other_characters(self, typed: str) -> None:
        assert normalize_ticker(typed, allow_every=True) is None

    def test_accepts_a_star_only_for_lockouts(self) -> None:
        assert normalize_ticker(" * ", allow_every=True) == "*"
        with pytest.raises(InvalidTicker, match="lockouts only"):
            parse_ticker("*")


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row["ticker"])
def test_keys_are_as_in_the_table(row: dict[str, object]) -> None:
    found = instrument(str(row["ticker"]))
    assert (found.key, list(found.lockout_keys)) == (row["key"], row["blocked_by"])


class TestSameInstrument:
    @settings(max_examples=300)
    @given(tickers, st.data())
    def test_spellings_have_the_same_key_and_lockouts(self, ticker: str, data: st.DataObject) -> None:
        spelled = data.draw(spellings(ticker))
        assert instrument_key(spelled) == instrument_key(ticker)
        assert instrument(spelled).lockout_keys == instrument(ticker).lockout_keys

    @settings(max_examples=300)
    @given(shares, shares)
    def test_shares_with_other_letters_stay_apart(self, one: str, other: str) -> None:
        def letters(ticker: str) -> list[str]:
            return [letter for letter in ticker if letter not in "./-_"]

        assert (instrument_key(one) == instrument_key(other)) == (letters(one) == letters(other))

    @settings(max_examples=200)
    @given(tickers, tickers)
    def test_the_star_blocks_every_ticker_and_is_blocked_by_none(self, ticker: str, other: str) -> None:
        assert is_blocked_by(ticker, "*")
        assert not is_blocked_by("*", other)

    @settings(max_examples=200)
    @given(tickers)
    def test_a_ticker_blocks_itself(self, ticker: str) -> None:
        assert is_blocked_by(ticker, ticker)


class TestDerivatives:
    @settings(max_examples=200)
    @given(options)
    def test_the_underlying_blocks_its_options_and_not_the_reverse(self, option: str) -> None:
        found = instrument(option)
        assert found.kind is Kind.OPTION
        assert found.root is not None
        assert is_blocked_by(option, found.root)
        assert is_blocked_by(option, found.root.rstrip(string.digits) or found.root)
        assert not is_blocked_by(found.root, option)

    def test_an_option_blocks_that_option_only(self) -> None:
        assert is_blocked_by("AAPL261218C00200000", "AAPL261218C00200000")
        assert not is_blocked_by("AAPL261218C00200000", "AAPL261218P00200000")
        assert not is_blocked_by("AAPL261218C00200000", "AAP")
        assert is_blocked_by("BRKB261218C00200000", "BRK.B")

    @settings(max_examples=200)
    @given(contracts, st.sampled_from(["{}", "{}=F", "{}1!"]))
    def test_a_root_blocks_every_contract(self, contract: tuple[str, str], form: str) -> None:
        ticker, root = contract
        assert instrument(ticker).kind is Kind.FUTURE
        assert is_blocked_by(ticker, form.format(root))

    def test_a_contract_blocks_that_contract_only(self) -> None:
        assert is_blocked_by("ESZ2026", "ESZ6")
        assert not is_blocked_by("ESH7", "ESZ6")
        assert not is_blocked_by("ES=F", "ESZ6")
        assert not is_blocked_by("NQZ6", "ES")

    @pytest.mark.parametrize(
        "ticker", ["AAPL261332C00200000", "AAPL260230C00200000", "AAPL261218X00200000", "ABCDEFG261218C00200000"]
    )
    def test_what_is_not_an_option_is_sized_as_a_share(self, ticker: str) -> None:
        assert instrument(ticker).kind is Kind.OTHER
        assert not is_blocked_by(ticker, "AAPL")
        assert Multipliers().of(ticker) == 1


class TestContractSizes:
    @pytest.mark.parametrize(
        ("ticker", "configured", "multiplier"),
        [
            ("AAPL", {}, 1),
            ("BTC/USDT:USDT", {}, 1),
            ("AAPL261218C00200000", {}, 100),
            ("AAPL261218C00200000", {"AAPL": 1}, 100),
            ("AAPL261218C00200000", {"AAPL261218C00200000": 10}, 10),
            ("AAPL1261218C00200000", {}, None),
            ("AAPL1261218C00200000", {"AAPL1": 150}, 150),
            ("AAPL1261218C00200000", {"AAPL": 150}, None),
            ("ESZ6", {}, None),
            ("ES=F", {}, None),
            ("ES1!", {}, None),
            ("ESZ6", {"ES": 50}, 50),
            ("ES=F", {"ES": 50}, 50),
            ("ES1!", {"ES=F": 50}, 50),
            ("CME:ESZ2026", {"ES1!": 50}, 50),
            ("ESZ6", {"ES": 50, "ES=F": 20}, 50),
            ("ESZ26", {"ES": 50, "ESZ6": 5}, 5),
            ("ESZ26", {"ESZ2026": 6, "ESZ6": 5}, 6),
            ("NQZ6", {"ES": 50}, None),
            ("ABEV3", {}, None),
            ("ABEV3", {"ABEV3": 1, "ABE": 1000}, 1),
            ("PAH3", {"PAH3": 1}, 1),
        ],
    )
    def test_multiplier(self, ticker: str, configured: dict[str, int], multiplier: int | None) -> None:
        assert Multipliers({name: Decimal(size) for name, size in configured.items()}).of(ticker) == multiplier

    @settings(max_examples=300)
    @given(contracts.map(lambda pair: pair[0]) | options | continuous | shares, st.data())
    def test_no_spelling_of_a_contract_is_worth_less_than_another(self, ticker: str, data: st.DataObject) -> None:
        named = [ticker, data.draw(spellings(ticker)), *filter(None, [instrument(ticker).root])]
        sizes = st.decimals("0.001", 1000, places=3)
        configured = Multipliers(data.draw(st.dictionaries(st.sampled_from(named), sizes)))
        assert configured.of(data.draw(spellings(ticker))) == configured.of(ticker)

    def test_is_a_value_that_can_be_compared_and_hashed(self) -> None:
        one, same = (Multipliers({"ES": Decimal(50)}) for _ in range(2))
        assert one == same
        assert hash(one) == hash(same)
        assert one != Multipliers({"ES": Decimal(20)})


@pytest.mark.parametrize(
    ("ticker", "kind"),
    [
        ("AAPL", "us_equity"),
        ("BRK/B", "us_equity"),
        ("BRK-B", "us_equity"),
        ("AAPL261218C00200000", "us_option"),
        ("O:AAPL1261218C00200000", "us_option"),
        ("BTC/USD", "crypto"),
        ("BTC/USDT:USDT", "crypto"),
        ("BTC_USDT", "crypto"),
        ("BTC-USD", "crypto"),
        ("ESZ6", "us_equity"),
    ],
)
def test_asset_class(ticker: str, kind: str) -> None:
    assert asset_class(ticker) == kind
