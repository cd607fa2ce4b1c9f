"""SQL expressions over tickers, in the indexes and in every statement that uses these indexes."""

from __future__ import annotations

from sqlalchemy import ColumnElement, Text, literal_column

from app.domain.instruments import KEY_SQL

# `instruments.instrument_key` of the column `ticker`.
INSTRUMENT_KEY = KEY_SQL.format(ticker="ticker")


def instrument_key_of(column: str) -> ColumnElement[str]:
    """The same for a column that is named with its table."""
    return literal_column(KEY_SQL.format(ticker=column), Text)
