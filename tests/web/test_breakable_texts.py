"""Where a browser may break a long number or an option symbol."""

from __future__ import annotations

import pytest

from app.web.pages.filters import breakable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("value 123,456,789,012.5", "value 123,<wbr>456,<wbr>789,<wbr>012.5"),
        ("AAPL261218C00200000", "AAPL261218<wbr>C00200000"),
        ("AAPL1261218P00200000", "AAPL1261218<wbr>P00200000"),
        ("1,234.50", "1,234.50"),
        ("M&M.NS", "M&M.NS"),
        ("ESZ6", "ESZ6"),
    ],
)
def test_breaks_where_no_part_reads_as_another_amount(text: str, shown: str) -> None:
    assert str(breakable(text)) == shown
