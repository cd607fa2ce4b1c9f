"""Bidirectional controls in other people's text are escaped wherever a page shows them, and kept in JSON."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from flask import Flask, render_template_string
from markupsafe import Markup

from app.lib import strict_json
from app.web.pages.filters import Exact, finalize
from tests.conftest import Api
from tests.serving import Desk
from tests.web.conftest import Browser
from tests.web.orders import waiting

TURNED = "a \u202elevel\u2066 b"
SHOWN = "a [U+202E]level[U+2066] b"
BIDI = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


def test_keys_and_values_of_the_configuration_on_the_audit_page(
    admin: Api, browser: Callable[..., Browser], desk: Desk
) -> None:
    config = {f"key {TURNED}": {f"inner {TURNED}": [TURNED, {TURNED: 1}]}}
    assert admin.put("/config", {"config": config}, headers={"If-Match": "*"}).status_code == 200
    page = browser("viewer").get("/audit").text
    assert not set(page) & set(BIDI)
    assert f"key {SHOWN}.inner {SHOWN}" in page
    assert page.count(r"a \u202elevel\u2066 b") >= 4  # in the full record, which is JSON
    assert admin.get("/config").json["config"] == config
    assert admin.get("/audit?action=config.replace").json["items"][0]["after"] == config


def test_what_the_stored_configuration_says_that_cannot_be_read(
    desk: Desk, browser: Callable[..., Browser]
) -> None:
    person = browser("viewer")
    stored = {"operator_approval": {"auto_approve_paper": TURNED, TURNED: 1}}
    desk.sql("UPDATE risk_configs SET config = %s::jsonb", strict_json.dumps(stored))
    before, _, rest = person.get("/trading").text.partition('id="desk-data">')
    data, _, after = rest.partition("</script>")
    assert not set(before + after) & set(BIDI)
    assert SHOWN in after
    assert TURNED in json.loads(data)["state"]["config_error"]["detail"]


@pytest.mark.usefixtures("holding")
def test_what_a_person_typed_is_shown_again_as_it_was(engine: Api, browser: Callable[..., Browser]) -> None:
    made = waiting(engine)
    person = browser("operator")
    page = person.post("/trading/lockouts", ticker="AAPL", reason=TURNED, duration_minutes="0").text
    assert f'value="{TURNED}"' in page
    page = person.post(f"/trading/approvals/{made['id']}/reject", reason=TURNED + "x" * 500, confirmed="yes").text
    assert f'value="{TURNED}' in page


def test_whatever_a_template_writes_out(app: Flask) -> None:
    template = """{% macro row(text) %}<td>{{ text }}</td>{% endmacro %}
        {{ text }}|{{ markup }}|{{ row(text) }}|{{ markup ~ text }}
        {{ [markup, text]|join }}|<i title="{{ text }}">"""
    with app.test_request_context():
        shown = render_template_string(template, text=f"<{TURNED}>", markup=Markup(f"<b>{TURNED}</b>"))
        exact = render_template_string('<input value="{{ text|exact }}">', text=f"<{TURNED}>")
    assert not set(shown) & set(BIDI)
    assert shown.count(SHOWN) == 8
    assert f"<b>{SHOWN}</b>&lt;{SHOWN}&gt;" in shown
    assert exact == f'<input value="&lt;{TURNED}&gt;">'


def test_other_values_are_written_out_as_they_are() -> None:
    for value in (1, None, "plain", "naïve ‘日本’", Exact(TURNED)):
        assert finalize(value) is value
