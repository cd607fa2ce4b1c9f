"""Text of which a reader would see nothing counts as empty, in every field."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import pytest
from wtforms import PasswordField

from app.web.alpaca import forms as door_forms
from app.web.forms import trading
from app.web.forms.fields import Required, StrictForm, Text
from app.web.forms.trading import LockoutForm
from tests.conftest import Api
from tests.web.conftest import Browser, Record, assert_problem
from tests.web.orders import order, sent, waiting

BLANK = [
    "\u200b",
    "\u2060",
    "\u00ad",
    "\u202e",
    "\u3164",
    "\ufeff",
    "\u115f\u1160",
    " \u180e\u2800\ufe0f",
    "\u2028\t",
]
REQUIRED = [
    (kind, field.name)
    for module in (trading, door_forms)
    for kind in vars(module).values()
    if isinstance(kind, type) and issubclass(kind, StrictForm) and kind.__module__ == module.__name__
    for field in kind()
    if {Required, Text} <= {type(validator) for validator in field.validators}
    and not isinstance(field, PasswordField)
]


def test_reasons_are_among_the_fields() -> None:
    assert (LockoutForm, "reason") in REQUIRED


@pytest.mark.parametrize(("kind", "name"), REQUIRED, ids=lambda part: getattr(part, "__name__", part))
def test_every_required_text_is_refused(kind: type[StrictForm], name: str) -> None:
    for text in BLANK:
        form = kind.from_json({name: text})
        assert not form.validate()
        assert form.messages()[name], ascii(text)


@pytest.mark.usefixtures("holding")
@pytest.mark.parametrize("text", BLANK, ids=ascii)
def test_a_reason_of_invisible_characters_changes_nothing(
    operator: Api, engine: Api, browser: Callable[..., Browser], record: Record, text: str
) -> None:
    made = waiting(engine)
    person = browser("operator")
    record.new()
    lockout = {"ticker": "AAPL", "reason": text, "duration_minutes": 60}
    assert_problem(operator.post("/lockouts", lockout), 422, "invalid", "reason")
    assert person.post("/trading/lockouts", **lockout).status_code == 422
    assert_problem(operator.post(f"/approvals/{made['id']}/reject", {"reason": text}), 422, "invalid", "reason")
    mode = {"trading_mode": "disabled", "from": "paper", "reason": text}
    assert_problem(operator.put("/mode", mode | {"trading_mode": "live"}), 422, "invalid", "reason")
    assert record.new() == []
    assert operator.put("/mode", mode).status_code == 200
    assert [event["note"] for event in record.new() if event["action"] == "mode.change"] == [None]


def test_an_optional_text_of_invisible_characters_is_none(engine: Api, operator: Api) -> None:
    made = sent(engine, "released", strategy="\u200b", rationale="\u3164 \ufeff")
    assert (made["strategy"], made["rationale"]) == (None, None)
    body = order(client_order_id="\u3164")
    assert_problem(engine.post("/orders", body), 422, "invalid", "client_order_id")
    alpaca = {"symbol": "AAPL", "qty": 1, "side": "buy", "type": "market", "time_in_force": "day"}
    alpaca |= {"client_order_id": str(uuid.uuid4()), "strategy": "\u2060"}
    answer = engine.client.post("/v2/orders", json=alpaca, headers=engine.headers)
    assert answer.status_code == 200
    shown = engine.get(f"/orders?client_order_id={alpaca['client_order_id']}").json["items"][0]
    assert shown["strategy"] is None


@pytest.mark.usefixtures("holding")
def test_a_note_of_invisible_characters_is_none(engine: Api, operator: Api) -> None:
    made = waiting(engine)
    answer = operator.post(f"/approvals/{made['id']}/approve", {"note": "\u200b\u2060"})
    assert (answer.status_code, answer.json["decision_note"]) == (200, None)


def test_visible_text_keeps_its_invisible_characters(operator: Api) -> None:
    text = "\u200bfamily 👨\u200d👩\u200d👧 \u202e\u3164"
    answer = operator.post("/lockouts", {"ticker": "AAPL", "reason": f" {text} ", "duration_minutes": 60})
    assert (answer.status_code, answer.json["reason"]) == (201, text)
