"""Text from other people: whether it is empty, and how misleading characters are shown."""

from __future__ import annotations

import re

# The inside of a regular expression's character class: the categories Cc, Cf, Zs, Zl and Zp, the code points that
# Unicode calls Default_Ignorable, and U+2800, the blank Braille cell.
INVISIBLE = (
    "\u0000-\u0020\u007f-\u00a0\u00ad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u1680"
    "\u17b4\u17b5\u180b-\u180f\u2000-\u200f\u2028-\u202f\u205f-\u206f\u2800\u3000\u3164\ufe00-\ufe0f\ufeff\uffa0"
    "\ufff0-\ufffb\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff"
)
VISIBLE = re.compile(f"[^{INVISIBLE}]")
BIDI_CONTROLS = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
BIDI_CONTROL = re.compile(f"[{BIDI_CONTROLS}]")
BIDI_OR_CONTROL = re.compile(f"[{BIDI_CONTROLS}\u0000-\u001f\u007f-\u009f\u2028\u2029]")


def is_blank(text: str) -> bool:
    """Whether a reader would see nothing of `text`."""
    return VISIBLE.search(text) is None


def trimmed(text: str) -> str:
    """`text` without the white space around it; "" if it is blank."""
    return "" if is_blank(text) else text.strip()


def escape_bidi(text: str) -> str:
    """Show bidirectional controls as [U+202E]: they would change how the text around them reads."""
    return BIDI_CONTROL.sub(_code_point, text) if has_bidi(text) else text


def has_bidi(text: str) -> bool:
    """Whether `text` holds a bidirectional control. One search for each takes a tenth of what a pattern takes."""
    return not text.isascii() and any(map(text.__contains__, BIDI_CONTROLS))


def escape_controls(text: str) -> str:
    """`escape_bidi` for a terminal: control characters and line breaks, too."""
    return BIDI_OR_CONTROL.sub(_code_point, text)


def _code_point(found: re.Match[str]) -> str:
    return f"[U+{ord(found[0]):04X}]"
