"""The way to the venues, for the routes."""

from __future__ import annotations

from typing import Any

from flask import current_app

from app.desk import state
from app.desk.dispatch import Dispatch


def dispatch() -> Dispatch:
    """The one of this application; where no venue is connected it has none."""
    found: Dispatch = current_app.extensions["dispatch"]
    return found


def snapshot() -> dict[str, Any]:
    """The desk as a page shows it, with what is at the venues where one is connected."""
    shown = state.snapshot()  # first: what is newer than its version is shown again with the next one
    outstanding = dispatch().outstanding()
    return shown | ({"venue": outstanding} if outstanding else {})
