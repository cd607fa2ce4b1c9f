"""The way to the venues, for the routes."""

from __future__ import annotations

import uuid
from typing import Any

from flask import current_app

from app.desk import approvals, state
from app.desk.actor import Actor
from app.desk.dispatch import Dispatch
from app.desk.orders import Shown
from app.domain.control import SelfApproval


def dispatch() -> Dispatch:
    """The one of this application; where no venue is connected it has none."""
    found: Dispatch = current_app.extensions["dispatch"]
    return found


def approve(actor: Actor, order_id: uuid.UUID, note: str | None = None) -> Shown:
    """Release an order as this application is set up to: see `approvals.approve`."""
    allowed: SelfApproval = current_app.config["SELF_APPROVAL"]
    return approvals.approve(actor, order_id, note, dispatch().send_within, allowed)


def snapshot() -> dict[str, Any]:
    """The desk as a page shows it, with what is at the venues where one is connected."""
    shown = state.snapshot()  # first: what is newer than its version is shown again with the next one
    outstanding = dispatch().outstanding()
    return shown | ({"venue": outstanding} if outstanding else {})
