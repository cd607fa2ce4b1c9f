"""The words that schemas are made of."""

from __future__ import annotations

import re
from typing import Any

from app.domain.instruments import MAX_TICKER_LENGTH
from app.domain.risk_config import MAX_FRACTION_DIGITS, MAX_INTEGER_DIGITS, TradingMode
from app.domain.texts import INVISIBLE

Json = dict[str, Any]

BOOLEAN: Json = {"type": "boolean"}
STRING: Json = {"type": "string"}
INTEGER: Json = {"type": "integer"}
OBJECT: Json = {"type": "object"}
NULL: Json = {"type": "null"}
TIME: Json = {"type": "string", "format": "date-time"}
ID: Json = {"type": "string", "format": "uuid"}
MODE: Json = {"enum": [str(mode) for mode in TradingMode]}

DIGITS = rf"^[0-9]{{1,{MAX_INTEGER_DIGITS}}}(\.[0-9]{{1,{MAX_FRACTION_DIGITS}}})?$"
DECIMAL: Json = {"type": "string", "pattern": DIGITS}
BEYOND = 10**MAX_INTEGER_DIGITS

# What is trimmed. Spelt out, because engines of regular expressions do not agree on what `\s` is, and without
# looking around, because few generators of test data can.
WHITE = r"\t-\r\u001c- \u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"


# A character that is seen. Up to U+FFFF: beyond it an escape would need a flag that not every engine sets.
_UNSEEN = "".join(c if c == "-" else f"\\u{ord(c):04x}" for c in re.split("[\U00010000-\U0010ffff]", INVISIBLE)[0])
VISIBLE: Json = {"pattern": f"[^{_UNSEEN}]"}


def trimmed(pattern: str) -> str:
    return f"^[{WHITE}]*{pattern}[{WHITE}]*$"


TICKER_CHARACTER = "[A-Za-z0-9./_:=^&!-]"
# As `instruments.TICKER_PATTERN`, with letters of either case, and as a padded OCC symbol.
TICKER = rf"(\^[./_:=^&!-]*)?[A-Za-z0-9]{TICKER_CHARACTER}*|[A-Za-z0-9]{{1,6}} {{1,5}}[0-9]{{6}}[CPcp][0-9]{{8}}"


def ticker(*, allow_every: bool) -> Json:
    every = r"\*|" if allow_every else ""
    return {
        "type": "string",
        "pattern": trimmed(f"({every}{TICKER})"),
        "allOf": [{"pattern": trimmed(f"[ -~]{{1,{MAX_TICKER_LENGTH}}}")}],
        "description": f"1 to {MAX_TICKER_LENGTH} characters after white space around it is trimmed; ASCII letters"
        " are upper-cased, and a padded OCC symbol loses its spaces.",
        "examples": ["AAPL", "BRK.B", "BTC/USD", "AAPL261218C00200000", "ESZ6"],
    }


def object_of(properties: Json, *, optional: tuple[str, ...] = ()) -> Json:
    """An object of exactly these members, of which some may be missing."""
    return {
        "type": "object",
        "properties": properties,
        "required": [key for key in properties if key not in optional],
        "additionalProperties": False,
    }


def ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def nullable(schema: Json) -> Json:
    return {"anyOf": [schema, NULL]}


def array_of(schema: Json) -> Json:
    return {"type": "array", "items": schema}


def page_of(name: str) -> Json:
    return object_of({"items": array_of(ref(name)), "next": nullable(STRING)})
