"""An engine hears by `?wait=` what becomes of its order at the venue."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from tests.at_once import Caller
from tests.desk.orders import body
from tests.serving import Server
from tests.venues.stand_in import Venue


@pytest.fixture
def engine(server: Server) -> Caller:
    return Caller(server.url, server.add_token("momentum", "engine"))


def test_it_answers_at_the_next_change_and_at_once_where_there_will_be_none(
    engine: Caller, venue_behind: Venue
) -> None:
    made = engine.post("/orders", body()).json
    assert (made["status"], made["filled_qty"]) == ("accepted", "0")

    def after(act: Any) -> dict[str, Any]:
        threading.Timer(1, act).start()
        began = time.monotonic()
        answer: dict[str, Any] = engine.get(f"/orders/{made['id']}?wait=20").json
        assert time.monotonic() - began < 15, "news, and not the end of the wait"
        return answer

    part = after(lambda: venue_behind.fill(f"cs-{made['id']}", "4", "100.5"))
    assert (part["status"], part["filled_qty"], part["filled_avg_price"]) == ("partially_filled", "4", "100.5")
    more = after(lambda: venue_behind.fill(f"cs-{made['id']}", "1", "100.6"))
    assert (more["status"], more["filled_qty"]) == ("partially_filled", "5")
    whole = after(lambda: venue_behind.fill(f"cs-{made['id']}", "5", "101"))
    assert whole["status"] == "filled"
    began = time.monotonic()
    assert engine.get(f"/orders/{made['id']}?wait=20").json == whole
    assert time.monotonic() - began < 15, "what is final is told at once"
