"""A person alone at the desk approves their own engine's orders where SELF_APPROVAL says so, by every way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from app.domain.control import SelfApproval
from tests.serving import Desk
from tests.web.conftest import Browser
from tests.web.orders import client_of, stored, waiting

WAYS: dict[str, Callable[[Browser, str], Any]] = {
    "the JSON route": lambda person, id_: person.json("POST", f"/approvals/{id_}/approve", {}),
    "a bulk decision": lambda person, id_: person.json(
        "POST", "/approvals/decisions", {"decisions": [{"id": id_, "action": "approve"}]}
    ),
    "the page": lambda person, id_: person.post(f"/trading/approvals/{id_}/approve"),
}


@pytest.mark.parametrize("way", WAYS)
def test_alone_at_the_desk(
    app: Flask,
    desk: Desk,
    browser: Callable[..., Browser],
    holding: None,
    monkeypatch: pytest.MonkeyPatch,
    way: str,
) -> None:
    person = browser("admin", "ada")
    made = waiting(client_of(app, desk, "bot", "engine", owner="ada"))
    WAYS[way](person, made["id"])
    assert stored(desk, made) == "pending_approval"
    monkeypatch.setitem(app.config, "SELF_APPROVAL", SelfApproval.ALONE)
    assert WAYS[way](person, made["id"]).status_code in (200, 303)
    assert stored(desk, made) == "released"
    assert person.open("GET", f"/api/admin/trading/orders/{made['id']}").json["self_approved"] is True
    assert "ada (own engine)" in person.get("/trading").text
