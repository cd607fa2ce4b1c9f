"""A large body costs a stranger more than it costs the desk."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from app.lib import strict_json
from tests.conftest import Api
from tests.web.conftest import assert_problem
from tests.web.orders import order

UNKNOWN = {"Authorization": "Bearer nobody.nothing"}


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The lengths of all bodies that were read as JSON."""
    lengths: list[int] = []
    loads = strict_json.loads

    def note(body: bytes) -> Any:
        lengths.append(len(body))
        return loads(body)

    monkeypatch.setattr(strict_json, "loads", note)
    return lengths


@pytest.mark.parametrize("path", ["/orders", "/lockouts", "/approvals/decisions"])
def test_of_one_who_is_unknown_it_is_not_read(api: Callable[..., Api], read: list[int], path: str) -> None:
    large = {"a": [1.5] * 10_000}
    assert_problem(api(None).post(path, large, headers=UNKNOWN), 401, "unauthenticated")
    assert read == []


def test_of_an_engine_it_is_read_and_the_order_taken(engine: Api, read: list[int]) -> None:
    longest = order(rationale="\U0001f600" * 4000, strategy="\U0001f600" * 200)
    answer = engine.post("/orders", longest)
    assert answer.status_code == 201, answer.text
    assert answer.json["rationale"] == longest["rationale"]
    assert read == [pytest.approx(len(json.dumps(longest)), abs=100)]
    too_long = order(rationale="x" * 60_000)
    assert_problem(engine.post("/orders", too_long), 422, "invalid", "rationale")
