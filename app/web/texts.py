"""How texts of others are shown; static/js/rows.js does the same."""

from __future__ import annotations

import re

from flask import Flask
from markupsafe import Markup

# What turns the text around it.
TURNING = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
LONG = re.compile(r"[\d,.]{12}", re.ASCII)
AFTER_COMMAS = re.compile(r"(?<=\d,)(?=\d)", re.ASCII)


def visible(text: str | None) -> str:
    """Characters that turn text around, as what they are: an engine's words must not read as something else."""
    return TURNING.sub(lambda one: f"[U+{ord(one[0]):04X}]", text or "")


def breakable(text: str) -> str:
    """A long number goes on in the next line after a comma: broken anywhere it would read as a smaller one."""
    return Markup("<wbr>").join(AFTER_COMMAS.split(text)) if LONG.search(text) else text


def register(app: Flask) -> None:
    app.add_template_filter(visible)
    app.add_template_filter(breakable)
