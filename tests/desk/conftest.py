"""Fixtures of the desk tests."""

from __future__ import annotations

import pytest

from tests.desk import patience


@pytest.fixture
def any_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long anything takes, nobody in this process is cut off."""
    patience.let_take_long(monkeypatch)


@pytest.fixture(autouse=True)
def nobody_stalls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody in this process is cut off for doing nothing; otherwise where that very thing is looked at."""
    patience.let_idle(monkeypatch)
