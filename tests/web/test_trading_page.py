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
