"""The API document as a page for people, drawn from the very document that programs read."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from functools import cache
from typing import Any
from urllib.parse import quote, urlencode

from flask import Blueprint, render_template
from markupsafe import Markup, escape

from app.lib import strict_json
from app.web.openapi import document
from app.web.openapi.descriptions import Json
from app.web.security.permissions import API

blueprint = Blueprint("api_page", __name__)

BESIDE = ("description", "examples", "title", "default")  # of a schema, what is no rule
SHORT = 60  # characters of a body that need no lines of their own


@blueprint.get("/docs/api")
def api_page() -> str:
    found = document()
    return render_template(
        "api.html",
        info=found["info"],
        tags=[(tag, [each for each in _operations() if tag["name"] in each["tags"]]) for tag in found["tags"]],
        schemas=found["components"]["schemas"],
    )


@cache
def _operations() -> list[Json]:
    """Every operation with what the page says of it beside the document's own words."""
    return list(_described())


def _described() -> Iterator[Json]:
    for path, methods in document()["paths"].items():
        for method, operation in methods.items():
            content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
            yield operation | {
                "anchor": anchor_of(method, path),
                "method": method.upper(),
                "path": path,
                "body": content.get("schema"),
                "curl": curl(path, method, operation),
                "answered": _answered(operation),
            }


def anchor_of(method: str, path: str) -> str:
    words = path.removeprefix(f"{API}/").replace("{", "").replace("}", "").replace("/", "-")
    return f"{method.lower()}-{words}"


def curl(path: str, method: str, operation: Json) -> str:
    """The example as a command; $DESK and the tokens by roles are set once."""
    query, lines = [], []
    for parameter in operation.get("parameters", ()):
        if "example" not in parameter:
            continue
        name, value = parameter["name"], str(parameter["example"])
        if parameter["in"] == "path":
            path = path.replace(f"{{{name}}}", quote(value))
        elif parameter["in"] == "query":
            query.append((name, value))
        else:
            lines.append(f"-H {shlex.quote(f'{name}: {value}')}")
    url = f"{path}?{urlencode(query)}" if query else path
    how = "" if method == "get" else f"-X {method.upper()} "
    body = _usual(operation.get("requestBody", {}).get("content", {}).get("application/json", {}))
    if "text/event-stream" in str(operation["responses"].get("200")):
        how = "-N "
    if body is not None:
        lines += ["-H 'Content-Type: application/json'", f"-d {shlex.quote(pretty(body))}"]
    role = operation["x-roles"][0].upper()
    return " \\\n  ".join([f'curl {how}"$DESK{url}"', f'-H "Authorization: Bearer ${role}"', *lines])


def _answered(operation: Json) -> tuple[str, str]:
    """Status and text of the example's answer."""
    for status, said in operation["responses"].items():
        for content in said.get("content", {}).values():
            if (value := _usual(content)) is not None:
                return status, pretty(value)
            if "example" in content:
                return status, content["example"].strip()
    return next(status for status in operation["responses"] if status.startswith("2")), ""


def _usual(content: Json) -> Any:
    return content.get("examples", {}).get("usual", {}).get("value")


def pretty(value: Any) -> str:
    short = strict_json.dumps(value)
    return short if len(short) <= SHORT else json.dumps(value, indent=2, ensure_ascii=False)


@blueprint.app_template_filter("pretty")
def _pretty(value: Any) -> str:
    return pretty(value)


@blueprint.app_template_filter("ticks")
def ticks(text: str) -> Markup:
    """What stands between ` in the words of the document is code."""
    parts = str(text).split("`")
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if place % 2 else escape(part) for place, part in enumerate(parts)
    )


@blueprint.app_template_filter("kind")
def kind(schema: Json) -> Markup:
    """A schema in a few words, with links to those that it names."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return Markup('<a href="#schema-{0}">{0}</a>').format(name)
    if "anyOf" in schema:
        return Markup(" or ").join(kind(each) for each in schema["anyOf"])
    if "const" in schema:
        return Markup("<code>{}</code>").format(strict_json.dumps(schema["const"]))
    if "enum" in schema:
        return Markup(", ").join(
            Markup("<code>{}</code>").format(strict_json.dumps(each)) for each in schema["enum"]
        )
    if schema.get("type") == "array":
        return Markup("list of {}").format(kind(schema.get("items", {})))
    types = schema.get("type", "anything")
    words = " or ".join(types) if isinstance(types, list) else types
    rules = [words, *_bounds(schema)]
    if "format" in schema:
        rules.append(schema["format"])
    return escape(", ".join(rules))


def _bounds(schema: Json) -> Iterator[str]:
    if "minimum" in schema and "maximum" in schema:
        yield f"{schema['minimum']} to {schema['maximum']}"
    if "maxLength" in schema:
        yield f"at most {schema['maxLength']} characters"
