"""The last 24 hours, made once for all who ask."""

from __future__ import annotations

import time
from datetime import datetime
from http import HTTPStatus
from typing import Any

from flask import Blueprint, Response, current_app

from app.lib import strict_json
from app.lib.single_flight import SingleFlight
from app.services.reporting import last_day
from app.web.http.errors import BUSY, Refusal
from app.web.http.request import Written
from app.web.security.permissions import API

# Where an hour has very many decisions it takes a while to count them: about a twentieth of a process's time is
# spent on that. What takes less than a twentieth of a second is not kept, so a small desk is always shown as it
# is, by one count at a time.
KEPT_FOR = 20  # times as long as it took to make
AT_MOST, AT_LEAST = 60.0, 1.0  # seconds; what would be kept for less is not worth it

blueprint = Blueprint("history", __name__, url_prefix=API)


class LastDay:
    """The answer as it is written, and until when it is good."""

    def __init__(self) -> None:
        self._made = SingleFlight(self._make)
        self._written = b""
        self._until = 0.0
        self._busy_hours: dict[datetime, dict[str, Any]] = {}

    def __call__(self) -> bytes:
        return self._written if time.monotonic() < self._until else self._made()

    def _make(self) -> bytes:
        if time.monotonic() < self._until:  # by somebody who came before
            return self._written
        began = time.monotonic()
        self._written = strict_json.dumps(last_day.last_day(self._busy_hours)).encode()
        ended = time.monotonic()
        keep = min(AT_MOST, KEPT_FOR * (ended - began))
        self._until = ended + keep if keep >= AT_LEAST else 0.0
        return self._written


@blueprint.get("/history")
def get_history() -> Response:
    try:
        written: bytes = current_app.extensions["history"]()
    except TimeoutError:
        raise Refusal(HTTPStatus.SERVICE_UNAVAILABLE, BUSY, "busy", {"Retry-After": "1"}) from None
    return Written(written, HTTPStatus.OK, content_type="application/json")
