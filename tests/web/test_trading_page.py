"""The Trading page comes with what there is to show, and its first read costs next to nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import API, Api
from tests.web.conftest import Browser
from tests.web.orders import LOCKOUT, sent, waiting


def carried(page: str) -> dict[str, Any]:
    [data] = re.findall(r'<script type="application/json" id="desk-data">(.*?)</script>', page, re.DOTALL)
    read: dict[str, Any] = json.loads(data)
    return read


@pytest.mark.usefixtures("holding")
@pytest.mark.parametrize("crowd", [0, 3])
def test_it_carries_the_state_and_its_tag(
    browser: Callable[..., Browser], engine: Api, operator: Api, crowd: int
) -> None:
    for _ in range(crowd):
        waiting(engine)
        operator.post("/lockouts", LOCKOUT | {"ticker": "LOCKED", "reason": "</script><b>é\u2028&amp;"})
    if crowd:
        sent(engine, "blocked", ticker="LOCKED")
    person = browser("operator")
    data = carried(person.get("/trading").text)
    state = person.get(f"{API}/state")
    assert data["state"] | {"server_time": ""} == state.json | {"server_time": ""}
    assert state.headers["ETag"] == f'"{data["tag"]}"'
    again = person.get(f"{API}/state", headers={"If-None-Match": f'"{data["tag"]}"'})
    assert (again.status_code, again.data) == (304, b"")


@pytest.mark.usefixtures("holding")
def test_what_turns_text_around_is_shown_as_what_it_is(
    browser: Callable[..., Browser], engine: Api, operator: Api
) -> None:
    """Or `buy \u202e...` could read as other words than were sent."""
    turned, shown = "a \u202elevel\u2066 b", "a [U+202E]level[U+2066] b"
    order = waiting(engine, rationale=turned, strategy=turned)
    operator.post("/lockouts", LOCKOUT | {"ticker": "LOCKED", "reason": turned})
    waiting(engine)
    assert operator.post(f"/approvals/{order['id']}/reject", {"reason": turned}).status_code == 200
    kept = waiting(engine, rationale=turned)
    person = browser("operator")
    for path, many in (("/trading", 3), ("/audit", 4)):
        drawn = person.get(path).text.partition("desk-data")
        drawn = drawn[0] + drawn[2].partition("</script>")[2] if drawn[1] else drawn[0]
        assert "\u202e" not in drawn
        assert "\u2066" not in drawn
        assert drawn.count(shown) >= many
    assert engine.get(f"/orders/{kept['id']}").json["rationale"] == turned
