"""The API as a page: every operation with its example, and every example runs as it stands there."""

from __future__ import annotations

import html
import json
import re
import shlex
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import jsonschema_rs
import pytest
from flask import Flask
from flask.testing import FlaskClient

from app.web.openapi import document
from app.web.openapi.examples import EXAMPLES, LOCKOUT_ID, ORDER_ID
from app.web.pages.api_docs import anchor_of
from app.web.security.permissions import API
from tests.conftest import Api
from tests.serving import Desk
from tests.web.orders import HOLDS, LOCKOUT, configure, sent, waiting
from tests.web.test_history import anew  # noqa: F401 - nothing is remembered of another desk

STREAM = ("get", "stream")
OPERATIONS = {
    (method, path): operation
    for path, methods in document()["paths"].items()
    for method, operation in methods.items()
}


@pytest.fixture
def text(app: Flask) -> str:
    return app.test_client().get("/docs/api").text


def name_of(route: tuple[str, str]) -> str:
    """The name that an example has."""
    return " ".join(route).replace(f"{API}/", "")


def commands(page: str) -> dict[tuple[str, str], list[str]]:
    """The words of each example's command, by method and path."""
    found = {}
    for method, path in OPERATIONS:
        article = page.partition(f'id="{anchor_of(method, path)}"')[2]
        command = re.search(r'<pre class="curl"[^>]*>(.*?)</pre>', article, re.DOTALL)
        assert command is not None
        found[method, path] = shlex.split(html.unescape(command[1]).replace("\\\n", " "))
    return found


def test_it_is_for_anybody_as_the_document_is(app: Flask) -> None:
    answer = app.test_client().get("/docs/api")
    assert (answer.status_code, answer.mimetype) == (200, "text/html")
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


def test_every_operation_and_schema_is_on_it_and_every_link_leads_somewhere(text: str) -> None:
    anchors = re.findall(r' id="([^"]+)"', text)
    assert len(anchors) == len(set(anchors))
    assert {anchor_of(method, path) for method, path in OPERATIONS} <= set(anchors)
    assert {f"schema-{name}" for name in document()["components"]["schemas"]} <= set(anchors)
    assert set(re.findall(r'href="#([^"]+)"', text)) <= set(anchors)


def test_it_says_who_may_as_the_table_of_rights_does(text: str) -> None:
    for (method, path), operation in OPERATIONS.items():
        article = text.partition(f'<article class="card operation" id="{anchor_of(method, path)}"')[2]
        assert (
            re.findall(r'<span class="role">(\w+)</span>', article.partition("</article>")[0])
            == operation["x-roles"]
        )
    assert OPERATIONS["post", f"{API}/orders"]["x-roles"] == ["engine"]
    assert OPERATIONS["put", f"{API}/config"]["x-roles"] == ["admin"]


def test_nothing_on_it_is_inline_or_from_elsewhere(text: str) -> None:
    assert not re.search(r'<style|\sstyle="|\son\w+="|<script', text)
    for source in re.findall(r'(?:src|href)="([^"]+)"', text):
        assert source.startswith(("/", "#")), source


def test_every_operation_has_an_example_and_no_other_has() -> None:
    assert set(EXAMPLES) == {name_of(route) for route in OPERATIONS} - {"get stream"}


def validate(schema: dict[str, Any], value: Any) -> None:
    whole = {"components": document()["components"]} | schema
    assert [str(error) for error in jsonschema_rs.Draft202012Validator(whole).iter_errors(value)] == []


@pytest.mark.parametrize("route", OPERATIONS, ids=" ".join)
def test_every_example_follows_its_schema(route: tuple[str, str]) -> None:
    operation = OPERATIONS[route]
    contents = [operation.get("requestBody", {}), *operation["responses"].values()]
    for content in [each for said in contents for each in said.get("content", {}).values()]:
        for example in content.get("examples", {}).values():
            validate(content["schema"], example["value"])
    for parameter in operation.get("parameters", ()):
        if "example" in parameter:
            validate(parameter["schema"], parameter["example"])


def shape(value: Any) -> Any:
    """What a value is made of: members, and of lists the first item."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return float if isinstance(value, int | float) and not isinstance(value, bool) else type(value)


def same_shape(shown: Any, real: Any, where: str = "") -> None:
    """Null stands for what there may be; the configuration and the record hold whatever was put there."""
    if isinstance(shown, dict) and isinstance(real, dict):
        assert set(shown) == set(real), where
        for key in set(shown) - {"config", "before", "after", "approvals_by_ticker"}:
            same_shape(shown[key], real[key], f"{where}.{key}")
    elif isinstance(shown, list) and isinstance(real, list):
        assert bool(shown) == bool(real), where
        for one, other in zip(shown, real, strict=False):
            same_shape(one, other, where)
    elif shown is not None and real is not None:
        assert shape(shown) == shape(real), where


class Day:
    """A desk on which each example has what it speaks of."""

    def __init__(self, engine: Api, operator: Api, admin: Api, desk: Desk) -> None:
        self.engine, self.operator, self.admin, self.desk = engine, operator, admin, desk
        self.ids: dict[str, str] = {}

    def prepare(self, operation: str) -> None:
        configure(self.desk, HOLDS)
        if "approvals" in operation or operation in ("get state", "post orders/{order_id}/cancel"):
            self.ids[ORDER_ID] = waiting(self.engine, ticker="MSFT")["id"]
        if operation in ("get orders", "get orders/{order_id}", "get state"):
            order = waiting(self.engine, ticker="MSFT")
            self.operator.post(f"/approvals/{order['id']}/approve", {"note": "saw it too"})
            self.ids.setdefault(ORDER_ID, order["id"])
        if "lockouts" in operation or operation in ("get audit", "get state", "get history"):
            self.ids[LOCKOUT_ID] = self.operator.post("/lockouts", LOCKOUT).json["id"]
        if operation == "get audit/{event_id}":
            self.operator.post("/lockouts", LOCKOUT)
            [event] = self.operator.get("/audit?action=lockout.create").json["items"]
            self.ids["/audit/118"] = f"/audit/{event['id']}"
        if operation == "put config":
            self.admin.put("/config", {"config": {}}, headers={"If-Match": "*"})
        if operation == "get history":
            self.admin.put("/mode", {"trading_mode": "disabled"})
            configure(self.desk, {})
        if operation == "post lockouts":
            sent(self.engine, "blocked", ticker="AAPL")

    def real(self, text: str) -> str:
        for shown, real in self.ids.items():
            text = text.replace(shown, real)
        return text


@pytest.fixture
def day(engine: Api, operator: Api, admin: Api, desk: Desk) -> Day:
    return Day(engine, operator, admin, desk)


def run(client: FlaskClient, words: list[str], day: Day, token: str) -> Any:
    """A command as it stands on the page, with the token and the ids of this desk."""
    method, url, headers, body = "GET", "", {}, None
    rest = iter(words[1:])
    for word in rest:
        if word == "-X":
            method = next(rest)
        elif word == "-H":
            name, _, value = next(rest).partition(": ")
            headers[name] = value
        elif word == "-d":
            body = day.real(next(rest))
        elif word != "-N":
            url = word
    headers["Authorization"] = token
    assert url.startswith("$DESK/")
    place = urlsplit(day.real(url.removeprefix("$DESK")))
    return client.open(place.path, method=method, query_string=place.query, headers=headers, data=body)


@pytest.mark.parametrize("route", [route for route in OPERATIONS if route[1] != f"{API}/stream"], ids=" ".join)
def test_every_example_on_the_page_runs_and_is_answered_so(
    app: Flask, api: Callable[..., Api], text: str, day: Day, route: tuple[str, str]
) -> None:
    operation = OPERATIONS[route]
    day.prepare(name_of(route))
    words = commands(text)[route]
    role = operation["x-roles"][0]
    assert f"Authorization: Bearer ${role.upper()}" in words
    client = {"engine": day.engine, "operator": day.operator, "admin": day.admin}.get(role) or api(role)
    answer = run(app.test_client(), words, day, client.headers["Authorization"])
    [status] = [
        status
        for status, said in operation["responses"].items()
        if status < "300"
        and (route[0] == "delete" or any("examples" in one for one in said.get("content", {}).values()))
    ][-1:]
    assert answer.status_code == int(status), answer.text
    example = EXAMPLES[name_of(route)].answer
    if example is None:
        assert answer.data == b""
        return
    validate(operation["responses"][status]["content"]["application/json"]["schema"], answer.json)
    same_shape(example, answer.json, name_of(route))


def test_the_command_for_the_stream_is_one_too(text: str) -> None:
    words = commands(text)["get", f"{API}/stream"]
    assert words[:3] == ["curl", "-N", f"$DESK{API}/stream"]


def test_what_is_shown_of_the_examples_is_what_the_document_has(text: str) -> None:
    shown = [html.unescape(each) for each in re.findall(r'<pre class="answer"[^>]*>(.*?)</pre>', text, re.DOTALL)]
    whole = [json.loads(each) for each in shown if not each.startswith("data:")]
    by_place = sorted(OPERATIONS, key=lambda route: text.index(f'id="{anchor_of(*route)}"'))
    examples = [EXAMPLES[name_of(route)] for route in by_place if name_of(route) in EXAMPLES]
    assert whole == [example.answer for example in examples if example.answer is not None]
