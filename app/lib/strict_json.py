"""JSON in and out, exactly: no number loses a digit, and nothing ambiguous is let in.

RFC 8259 leaves duplicate keys, huge numbers and lone surrogates to the implementation; here they are errors.
"""

from __future__ import annotations

import json
import re
from decimal import Decimal, InvalidOperation
from typing import Any, NoReturn

import simplejson

MAX_DEPTH = 64
# Covers every IEEE 754 double written out, and is far below PostgreSQL's own limit.
MAX_NUMBER_CHARACTERS = 400


LONE_SURROGATE = re.compile("[\ud800-\udfff]")


class Malformed(ValueError):
    """A text that is not JSON, or JSON that two readers could understand differently."""


class OutOfRange(Malformed):
    """An integer with more digits than MAX_NUMBER_CHARACTERS. `path` is the key that holds it, "" for the body."""

    def __init__(self, path: str) -> None:
        super().__init__(f"{path or 'the body'} holds an integer of more than {MAX_NUMBER_CHARACTERS} digits")
        self.path = path


class _HugeInteger:
    """Stands for an integer that is not converted: the time to convert one grows with the square of its digits."""


_HUGE = _HugeInteger()


def loads(text: str | bytes) -> Any:
    """Read JSON from a stranger; fractions become Decimal. Raises Malformed, saying what is wrong."""
    try:
        return _loads(text, FROM_STRANGERS)
    except OutOfRange:
        return _loads(text, MARKING, check=True)  # once more, to name the key that holds the integer


def _loads(text: str | bytes, decoder: json.JSONDecoder, *, check: bool = False) -> Any:
    try:
        decoded = text.decode("utf-8") if isinstance(text, bytes) else text
        if decoded.startswith("\ufeff"):
            raise Malformed("not JSON: it begins with a byte order mark")
        value = decoder.decode(decoded)
        # In UTF-8 only what is escaped can be no character, and only what opens can nest.
        if (
            check
            or isinstance(text, str)
            or "\\" in decoded
            or decoded.count("{") + decoded.count("[") > MAX_DEPTH
        ):
            _check_values(value)
    except UnicodeDecodeError:
        raise Malformed("the body is not UTF-8") from None
    except RecursionError:
        raise Malformed(f"nested deeper than {MAX_DEPTH} levels") from None
    except json.JSONDecodeError as error:
        raise Malformed(f"not JSON: {error.msg} at line {error.lineno}, column {error.colno}") from None
    return value


def loads_members(text: bytes) -> list[tuple[str, Any]]:
    """The members of a JSON object, read as leniently as possible; none where the text is not a JSON object.

    For a halt, which no invalid value may prevent. All members of a name that is given more than once are there,
    every number is zero, what is nested deeper than MAX_DEPTH is null, and a string may hold any character.
    """
    decoded = text.decode("utf-8", "replace").strip("\ufeff\0 \t\r\n")
    try:
        value = LENIENT.decode(_without_deep_values(decoded))
    except json.JSONDecodeError:
        return []
    if not isinstance(value, tuple):
        return []
    return [(name, dict(inner) if isinstance(inner, tuple) else inner) for name, inner in value]


def dumps(value: Any, indent: int | None = None) -> str:
    """Write JSON, on one line or for reading; a Decimal is written as the number that it is."""
    encoder = ON_ONE_LINE if indent is None else _encoder(indent)
    return str(encoder.encode(value))


def dumps_texts(value: Any) -> str:
    """The same where no number is among it but whole ones: three times as fast."""
    return _texts(value)


def _encoder(indent: int | None) -> simplejson.JSONEncoder:
    separators = (",", ":") if indent is None else (",", ": ")
    return simplejson.JSONEncoder(use_decimal=True, allow_nan=False, indent=indent, separators=separators)


ON_ONE_LINE = _encoder(None)
_texts = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode


def loads_stored(text: str | bytes) -> Any:
    """Read JSON that the database gave back: whatever it holds is readable, and no digit is lost."""
    return STORED.decode(text if isinstance(text, str) else text.decode())


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise Malformed(f"the key {twice[:60]!r} is given twice")
    return result


def _constant(name: str) -> NoReturn:
    raise Malformed(f"{name} is not a JSON number")


def _fraction(text: str) -> Decimal:
    try:
        if len(text) <= MAX_NUMBER_CHARACTERS and _can_be_written(value := Decimal(text)):
            return value
    except InvalidOperation:  # an exponent beyond what even Decimal holds
        pass
    raise Malformed(f"the number {text[:40]} is out of range")


def _integer(text: str) -> int:
    if len(text) > MAX_NUMBER_CHARACTERS:
        raise OutOfRange("")
    return int(text)


def _marked_integer(text: str) -> int | _HugeInteger:
    return int(text) if len(text) <= MAX_NUMBER_CHARACTERS else _HUGE


# Made once: `json.loads` makes a decoder for each text.
FROM_STRANGERS = json.JSONDecoder(
    object_pairs_hook=_object,
    parse_constant=_constant,
    parse_float=_fraction,
    parse_int=_integer,
)
MARKING = json.JSONDecoder(
    object_pairs_hook=_object,
    parse_constant=_constant,
    parse_float=_fraction,
    parse_int=_marked_integer,
)
LENIENT = json.JSONDecoder(
    object_pairs_hook=tuple,
    parse_constant=lambda _: Decimal(0),
    parse_float=lambda _: Decimal(0),
    parse_int=lambda _: 0,
    strict=False,
)
STORED = json.JSONDecoder(
    parse_float=Decimal,
    parse_int=lambda digits: int(digits) if len(digits) <= MAX_NUMBER_CHARACTERS else Decimal(digits),
)


def _can_be_written(value: Decimal) -> bool:
    """PostgreSQL writes every digit out, and what it gives back must be readable here again."""
    exponent = value.as_tuple().exponent
    return (
        isinstance(exponent, int)
        and abs(exponent) <= MAX_NUMBER_CHARACTERS
        and len(format(value, "f")) <= MAX_NUMBER_CHARACTERS
    )


# A string (the last may lack its end), a bracket, or all between. Each character is looked at once.
TOKEN = re.compile(r'"(?:[^"\\]|\\.)*+"?|[\[\]{}]|[^"\[\]{}]+', re.DOTALL)


def _without_deep_values(text: str) -> str:
    """The same JSON text with null for what is nested deeper than MAX_DEPTH: decoders are recursive."""
    if text.count("{") + text.count("[") <= MAX_DEPTH:
        return text
    kept, depth = [], 0
    for token in TOKEN.findall(text):
        if token in ("{", "["):
            depth += 1
        if depth <= MAX_DEPTH:
            kept.append(token)
        elif depth == MAX_DEPTH + 1 and token in ("{", "["):
            kept.append("null")
        if token in ("}", "]"):
            depth -= 1
    return "".join(kept)


DEEPER = (str, dict, list, _HugeInteger)


def _check_values(value: Any) -> None:
    """Level by level, so that no nesting can exhaust the stack. Paths are cut: keys may be as long as the body."""
    level: list[tuple[str, Any]] = [("", value)]
    for _ in range(MAX_DEPTH):
        deeper: list[tuple[str, Any]] = []
        for path, item in level:
            if isinstance(item, str):
                _check_text(path, item)
            elif item is _HUGE:
                raise OutOfRange(path)
            elif isinstance(item, dict):
                for key, inner in item.items():
                    _check_text(path, key)
                    if isinstance(inner, DEEPER):
                        deeper.append((f"{path}.{key[:60]}"[:200] if path else key[:60], inner))
            elif isinstance(item, list):
                deeper.extend((path, inner) for inner in item if isinstance(inner, DEEPER))
        level = deeper
        if not level:
            return
    raise Malformed(f"nested deeper than {MAX_DEPTH} levels")


def _check_text(path: str, text: str) -> None:
    where = path or "the body"
    if "\0" in text:
        raise Malformed(f"{where} holds the character U+0000, which cannot be stored")
    if not text.isascii() and LONE_SURROGATE.search(text):
        raise Malformed(f"{where} holds half of a surrogate pair, which is not a character")
