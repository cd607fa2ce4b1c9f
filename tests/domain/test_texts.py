"""Text from other people: what counts as empty, and what is shown escaped."""

from __future__ import annotations

import sys
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.texts import escape_bidi, escape_controls, is_blank, trimmed

# Default_Ignorable_Code_Point of Unicode's DerivedCoreProperties that are of other categories than Cf, and U+2800.
IGNORABLE = {
    *(0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2065, 0x2800, 0x3164, 0xFFA0),
    *range(0x180B, 0x1810),
    *range(0xFE00, 0xFE10),
    *range(0xFFF0, 0xFFF9),
    *range(0xE0000, 0xE1000),
}
BIDI = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


def test_exactly_what_is_not_seen_is_blank() -> None:
    for code in range(sys.maxunicode + 1):
        category = unicodedata.category(chr(code))
        unseen = category in ("Cc", "Cf", "Zs", "Zl", "Zp") or code in IGNORABLE
        if category != "Cn" or unseen:
            assert is_blank(chr(code)) == unseen, f"U+{code:04X}"


@pytest.mark.parametrize("text", ["", " \t\n", "\u200b", "\u2060\u00ad\u202e", "\u3164 \ufeff", "\U000e0101"])
def test_only_invisible_characters_are_trimmed_to_nothing(text: str) -> None:
    assert is_blank(text)
    assert trimmed(text) == ""


@given(st.text())
@settings(max_examples=200)
def test_trimming_keeps_all_that_is_seen(text: str) -> None:
    assert trimmed(f" {text}\n") == ("" if is_blank(text) else text.strip())
    assert trimmed(f"\u200b{text}x") == f"\u200b{text}x"


@given(st.text(st.sampled_from(f"{BIDI}a1é漢\n")))
@settings(max_examples=200)
def test_bidirectional_controls_are_escaped_and_nothing_else(text: str) -> None:
    shown = escape_bidi(text)
    assert not set(shown) & set(BIDI)
    assert shown == "".join(f"[U+{ord(one):04X}]" if one in BIDI else one for one in text)
    assert escape_bidi(shown) == shown


@given(st.text())
@settings(max_examples=200)
def test_a_terminal_gets_one_line_without_controls(text: str) -> None:
    shown = escape_controls(text)
    assert len(shown.splitlines()) <= 1
    assert not any(unicodedata.category(one) == "Cc" or one in BIDI for one in shown)
