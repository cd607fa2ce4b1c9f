"""One-time codes (RFC 6238): which of them are good at an instant, and how people write them."""

from __future__ import annotations

import re
from datetime import datetime

STEP_SECONDS = 30
DRIFT = 1  # steps that a telephone's clock may be early or late
CODE = re.compile(r"[0-9]{6}", re.ASCII)
RECOVERY_CODE = re.compile(r"[A-Z2-7]{16}", re.ASCII)  # 80 bits in Base32


def steps_at(now: datetime, after: int) -> range:
    """The time steps whose codes are good at `now`, and later than `after`, the last one that was used: no code
    counts twice, nor does an older one."""
    present = int(now.timestamp()) // STEP_SECONDS
    return range(max(present - DRIFT, after + 1), present + DRIFT + 1)


def read_code(written: str) -> str | None:
    """The six digits, however they are spaced; None where it is no such code."""
    digits = "".join(written.split())
    return digits if CODE.fullmatch(digits) else None


def read_recovery_code(written: str) -> str | None:
    """The sixteen characters, without the dashes that they are shown with; None where it is no such code."""
    letters = "".join(written.split()).replace("-", "").upper()
    return letters if RECOVERY_CODE.fullmatch(letters) else None


def show_recovery_code(code: str) -> str:
    """In groups of four: `ABCD-EFGH-IJKL-MNOP`."""
    return "-".join(code[start : start + 4] for start in range(0, len(code), 4))
