"""How texts of others are shown; static/js/rows.js does the same."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from flask import Flask
from markupsafe import Markup, escape

from app.domain.texts import escape_bidi, has_bidi

LONG = re.compile(r"[\d,.]{12}|\d{6}[CP]\d{8}$", re.ASCII)
BREAKS = re.compile(r"(?<=\d,)(?=\d)|(?<=\d{6})(?=[CP]\d{8}$)", re.ASCII)


def visible(text: str | None) -> str:
    """`escape_bidi` of a text that may be missing, where a template needs it before it writes the text out."""
    return escape_bidi(text or "")


class Exact(Markup):
    """Text that is written out as it is, because a browser sends it back."""


def exact(text: object) -> Exact:
    """For the value of an input: what a person typed is not changed by showing it again."""
    return Exact(escape(text))


def finalize(value: Any) -> Any:
    """Escape bidirectional controls in whatever a template writes out."""
    if not isinstance(value, str) or isinstance(value, Exact) or not has_bidi(value):
        return value
    shown = escape_bidi(value)
    return Markup(shown) if isinstance(value, Markup) else shown  # noqa: S704 - as safe as it was


def breakable(text: str) -> str:
    """Allow a line break after the commas of a long number and before the strike of an option symbol.

    Broken elsewhere, it would read as a smaller number or strike.
    """
    return Markup("<wbr>").join(BREAKS.split(text)) if LONG.search(text) else text


def venue_said(order: Mapping[str, Any]) -> str:
    """What the venue turned an order away with, or why it could not be sent; nothing of any other order."""
    words, status = order.get("venue_words"), order["status"]
    if not words or status not in ("venue_rejected", "released", "canceled"):
        return ""
    return f"{'the venue' if status == 'venue_rejected' else 'not sent'}: {_message(words)}"


def _message(words: str) -> str:
    """A venue's words as people read them: of an error in JSON its message."""
    try:
        told = json.loads(words)
    except (ValueError, RecursionError):
        return words
    message = told.get("message") if isinstance(told, dict) else None
    # Half a character, which JSON can spell, cannot be sent on.
    return message.encode("utf-8", "replace").decode() if isinstance(message, str) and message else words


def register(app: Flask) -> None:
    app.jinja_env.finalize = finalize
    app.add_template_filter(exact)
    app.add_template_filter(visible)
    app.add_template_filter(breakable)
    app.add_template_filter(venue_said)
