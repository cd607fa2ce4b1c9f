"""Limits that protect a halt, stated once more: a change in the code needs a deliberate change here.

Tests that make a limit smaller to reach it, and tests that only compare with it, would not notice a changed value.
"""

from __future__ import annotations

import pytest

from app.services.execution import dispatcher, reconciler
from app.services.live import listener, streams
from app.settings import Settings
from app.web.api import orders
from app.web.http import compression, request
from app.web.security import auth, rate_limit

LIMITS = {
    "requests of one credential at once, in parts of 4 KiB": (rate_limit.MOST_AT_ONCE, rate_limit.PART, 200, 4096),
    "what one large request counts for at most": (rate_limit.LARGEST, 100),
    "credentials that are remembered": (rate_limit.MOST_KNOWN, 10_000),
    "bytes of a body, and of a form": (auth.LARGEST_BODY, auth.LARGEST_FORM, 65_536, 65_536),
    "seconds for all of a body": (request.BODY_WITHIN, 10),
    "bytes that are compressed hard": (compression.LARGE, 1_048_576),
    "seconds of ?wait=": (orders.LONGEST_WAIT, 30),
    "waiting requests of one account, and of all": (listener.MOST_OF_ONE, listener.MOST, 200, 400),
    "streams of one account, and of all": (streams.MOST_OF_ONE, streams.MOST, 500, 1000),
    "seconds between two beats of a stream": (streams.BEAT_EVERY, 10.0),
    "seconds after its claim in which an order is sent": (dispatcher.FRESH, 2.0),
    "unanswered questions until a broker counts as silent": (reconciler.SILENT_AFTER, 3),
}


@pytest.mark.parametrize("what", LIMITS)
def test_has_the_documented_value(what: str) -> None:
    values = LIMITS[what]
    half = len(values) // 2
    assert values[:half] == values[half:], what


def test_default_rates_of_one_worker() -> None:
    environment = {"DATABASE_URL": "postgresql://desk@localhost/desk", "SECRET_KEY": "x" * 32}
    settings = Settings.from_environment(environment)
    assert [str(settings.read_rate), str(settings.failed_credential_rate)] == [
        "2000 per 10 second",
        "300 per 1 minute",
    ]
