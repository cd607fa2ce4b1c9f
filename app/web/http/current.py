"""The way to the venues, for the routes."""

from __future__ import annotations

import uuid
from typing import Any

from flask import current_app

from app.domain.control import SelfApproval
from app.services.actor import Actor
from app.services.execution.dispatcher import Dispatch
from app.services.orders import approvals
from app.services.orders.submit import Shown
from app.services.reporting import snapshot as state


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
