"""For tests that call the desk in their own process, and do not look at whom it cuts off.

A decision that stalls for a second in the middle of its transaction is cut off, which is right; a busy machine
stalls any of them now and then.
"""

from __future__ import annotations

import re

import pytest

from app.db import transaction

BEGINNINGS = ("SHARE_RULES", "OWN_RULES", "BEGIN_DECISION")
IDLE = "; SET LOCAL idle_in_transaction_session_timeout = '1min'"


def let_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever does nothing in the middle of a transaction is left alone."""
    for name in BEGINNINGS:
        monkeypatch.setattr(transaction, name, getattr(transaction, name) + IDLE)


def let_take_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """And whoever is long at work, or waits long for a lock."""
    for name in BEGINNINGS:
        patient = re.sub(r"timeout = '\d+m?s'", "timeout = '1min'", getattr(transaction, name))
        monkeypatch.setattr(transaction, name, patient + IDLE)
