"""The API document: OpenAPI 3.1, true to the code.

The schemas of request bodies are derived from the forms that read them, so the two cannot drift apart; a test
holds that the paths are those of the application, and Schemathesis that the answers are those described.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from flask import Blueprint, Response
from wtforms import Field

from app import forms
from app.desk import audit
from app.domain.risk import MAX_RATE_ORDERS, MAX_RATE_SECONDS, TradingMode
from app.domain.symbols import MAX_TICKER_LENGTH
from app.fields import Between, OneOf, StrictForm, Text, Ticker, json_type
from app.web.body import DEFAULT_LIMIT, MAX_LIMIT, MAX_WORD, answer
from app.web.permissions import API

blueprint = Blueprint("openapi", __name__)

Json = dict[str, Any]

# What is trimmed. Spelt out, because engines of regular expressions do not agree on what `\s` is, and without
# looking around, because few generators of test data can.
WHITE = r"\t-\r\u001c- \u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"


def _trimmed(pattern: str) -> str:
    return f"^[{WHITE}]*{pattern}[{WHITE}]*$"


TICKER: Json = {
    "type": "string",
    "pattern": _trimmed(r"(\*|[A-Za-z0-9]+([./-][A-Za-z0-9]+)*)"),
    "allOf": [{"pattern": _trimmed(f"[!-~]{{1,{MAX_TICKER_LENGTH}}}")}],
    "description": "White space around it is trimmed and the letters are upper-cased.",
}


@blueprint.get("/openapi.json")
@blueprint.get(f"{API}/openapi.json", endpoint="openapi_under_api")
def openapi() -> Response:
    return answer(document())


@cache
def document() -> Json:
    """The whole document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Countersign",
            "version": "1",
            "description": "The operator's desk between trading engines and the broker. Bodies are read strictly:"
            " exact types (an integer is not 5.0), no unknown key, no duplicate key, no NaN."
            " Times are RFC 3339 in UTC. Errors are RFC 9457 problem details.",
        },
        "servers": [{"url": "/"}],
        "security": [{"bearer": []}, {"session": []}],
        "tags": [{"name": "trading"}, {"name": "record"}],
        "paths": _paths(),
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "ID.SECRET of a token"},
                "session": {"type": "apiKey", "in": "cookie", "name": "countersign_session"},
                "csrf": {"type": "apiKey", "in": "header", "name": "X-CSRFToken"},
            },
            "schemas": _schemas(),
        },
    }


def body_schema(kind: type[StrictForm]) -> Json:
    """The JSON Schema of the bodies that a form accepts."""
    form = kind()
    properties = {field.name: _field_schema(field, field.name in kind.nullable) for field in form}
    required = [field.name for field in form if field.flags.required]
    schema: Json = {"type": "object", "properties": properties, "additionalProperties": False}
    if required:
        schema["required"] = required
    if kind.one_of_is_needed:
        schema["minProperties"] = 1
    return schema


def _field_schema(field: Field, nullable: bool) -> Json:
    kind = json_type(field)[0][0]
    schema: Json = {"type": {str: "string", int: "integer", bool: "boolean", dict: "object"}[kind]}
    if field.name == "config":
        schema = {"$ref": "#/components/schemas/RiskConfig"}
    for validator in field.validators:
        match validator:
            case Ticker():
                schema |= TICKER
            case Text():
                ink = rf"[^\u0000{WHITE}]"
                inside = rf"[^\u0000]{{0,{validator.max - 2}}}"
                schema["pattern"] = _trimmed(f"{ink}({inside}{ink})?")
                schema["description"] = f"1 to {validator.max} characters after white space around it is trimmed."
            case Between():
                schema |= {"minimum": validator.min, "maximum": validator.max}
            case OneOf():
                schema["enum"] = [*validator.words, *([None] if nullable else [])]
    if nullable:
        schema["type"] = [schema["type"], "null"]
    if field.default is not None:
        schema["examples"] = [field.default]
    return schema


BOOLEAN: Json = {"type": "boolean"}
STRING: Json = {"type": "string"}
INTEGER: Json = {"type": "integer"}
NULLABLE_STRING: Json = {"type": ["string", "null"]}
TIME: Json = {"type": "string", "format": "date-time"}
OBJECT: Json = {"type": "object"}
MODE: Json = {"enum": [str(mode) for mode in TradingMode]}
LIMIT: Json = {
    "anyOf": [
        {"type": "null"},
        {"type": "string", "pattern": r"^[0-9]{1,18}(\.[0-9]{1,9})?$"},
        {"type": "number", "minimum": 0, "exclusiveMaximum": 10**18, "multipleOf": 1e-9},
    ]
}


def _object(properties: Json, *, optional: tuple[str, ...] = (), closed: bool = True) -> Json:
    return {
        "type": "object",
        "properties": properties,
        "required": [key for key in properties if key not in optional],
        "additionalProperties": not closed,
    }


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _nullable(schema: Json) -> Json:
    return {"anyOf": [schema, {"type": "null"}]}


def _list_of(name: str) -> Json:
    return _object({"items": {"type": "array", "items": _ref(name)}, "next": NULLABLE_STRING})


def _schemas() -> Json:
    approval = {
        "auto_approve_paper": BOOLEAN,
        "require_approval_for_live": BOOLEAN,
        "approval_timeout_minutes": {"type": "integer", "minimum": 1, "maximum": 10_080},
    }
    layers = {"macro": BOOLEAN, "competitive": BOOLEAN}
    limits = {"max_order_quantity": LIMIT, "max_order_value": LIMIT, "price_collar_pct": LIMIT}
    no_rate = {"max_orders": {"type": "null"}, "per_seconds": {"type": "null"}}
    lockout = {
        "id": {"type": "string", "format": "uuid"},
        "ticker": STRING,
        "reason": STRING,
        "lockout_type": {"enum": ["manual", "news_shock", "cooldown"]},
        "created_at": TIME,
        "created_by": STRING,
        "expires_at": TIME,
    }
    return {
        "ApprovalConfig": _object(approval),
        "SignalLayers": _object(layers),
        "Lockout": _object(lockout),
        "LockoutList": _list_of("Lockout"),
        "Mode": _object({"trading_mode": MODE}),
        "RiskConfig": {
            "type": "object",
            "description": "Sections that are not known here are kept as given.",
            "properties": {
                "operator_approval": _object(approval, optional=tuple(approval)),
                "signal_layers": _object(layers, optional=tuple(layers)),
                "position_limits": _object(limits, optional=tuple(limits)),
                "order_rate": {
                    "anyOf": [
                        _object(
                            {
                                "max_orders": {"type": "integer", "minimum": 0, "maximum": MAX_RATE_ORDERS},
                                "per_seconds": {"type": "integer", "minimum": 1, "maximum": MAX_RATE_SECONDS},
                            }
                        ),
                        _object(no_rate, optional=tuple(no_rate)),
                    ]
                },
            },
            "additionalProperties": True,
        },
        "StoredConfig": _object(
            {
                "trading_mode": MODE,
                "config": OBJECT,
                "version": INTEGER,
                "updated_at": TIME,
                "updated_by": STRING,
            }
        ),
        "AuditEvent": _object(
            {
                "id": INTEGER,
                "created_at": TIME,
                "actor": STRING,
                "action": {"enum": list(audit.ACTIONS)},
                "subject": STRING,
                "before": {"type": ["object", "null"]},
                "after": {"type": ["object", "null"]},
                "note": NULLABLE_STRING,
                "request_id": STRING,
            }
        ),
        "AuditList": _list_of("AuditEvent"),
        "State": _object(
            {
                "trading_mode": MODE,
                "config_error": _nullable(_object({"key": STRING, "detail": STRING})),
                "config_warnings": {"type": "array", "items": STRING},
                "approval_config": _nullable(_ref("ApprovalConfig")),
                "signal_layers": _nullable(_ref("SignalLayers")),
                "lockouts": {"type": "array", "items": _ref("Lockout")},
                "lockouts_total": INTEGER,
                "approvals": {"type": "array", "maxItems": 0},
                "recent_orders": {"type": "array", "maxItems": 0},
                "config_version": INTEGER,
                "state_version": INTEGER,
                "server_time": TIME,
            }
        ),
        "Problem": _object(
            {
                "type": {"const": "about:blank"},
                "title": STRING,
                "status": INTEGER,
                "detail": STRING,
                "code": STRING,
                "errors": {
                    "type": "object",
                    "additionalProperties": {"type": "array", "items": STRING},
                },
            },
            optional=("errors",),
        ),
        "ApprovalConfigChange": body_schema(forms.ApprovalConfigForm),
        "SignalLayersChange": body_schema(forms.SignalLayersForm),
        "ModeChange": {"anyOf": [_halt(), _other_mode()]},
        "NewLockout": body_schema(forms.LockoutForm),
        "LockoutExtension": body_schema(forms.ExtendLockoutForm),
        "ConfigReplacement": body_schema(forms.ReplaceConfigForm),
    }


def _halt() -> Json:
    """Stopping is cheap: nothing but the mode is needed."""
    schema = body_schema(forms.ModeForm)
    words = {"type": ["string", "null"], "pattern": r"^[^\u0000]*$"}
    schema["properties"] |= {"trading_mode": {"const": str(TradingMode.DISABLED)}, "from": words, "reason": words}
    schema["properties"]["cancel_open_orders"]["description"] = "Means nothing while no venue is connected."
    return schema


def _other_mode() -> Json:
    schema = body_schema(forms.ModeForm)
    known = schema["properties"]
    known["trading_mode"] = {"enum": [str(mode) for mode in TradingMode if mode is not TradingMode.DISABLED]}
    known["from"] = MODE
    known["reason"] |= {"type": "string"}
    return schema | {"required": ["trading_mode", "from", "reason"]}


PROBLEMS = {
    400: "The body is not JSON, or not an object.",
    401: "No credential, or one that is not accepted.",
    403: "Not allowed with this credential.",
    404: "There is no such thing, or no longer.",
    405: "The route does not take this method.",
    409: "The state of the desk does not allow it.",
    412: "What was read has changed since.",
    413: "The body is larger than 1 MiB.",
    415: "The body is not declared as JSON.",
    422: "A value cannot be used; `errors` names the field.",
    428: "If-Match is missing.",
    503: "The database cannot be reached, or the desk is busy; nothing was changed.",
}


def _operation(  # noqa: PLR0913 - one row of the table below
    path: str,
    method: str,
    summary: str,
    answer_schema: str | None,
    *,
    body: str | None = None,
    status: int = 200,
    problems: tuple[int, ...] = (),
    parameters: tuple[Json, ...] = (),
    headers: tuple[str, ...] = (),
    conditional: bool = False,
) -> Json:
    operation: Json = {"operationId": f"{method} {path}".replace(f"{API}/", ""), "summary": summary}
    if body:
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": _ref(body)}},
        }
        problems = (400, 413, 415, 422, *problems)
    if method != "get":
        operation["security"] = [{"bearer": []}, {"session": [], "csrf": []}]
    if parameters:
        operation["parameters"] = list(parameters)
    success: Json = {"description": summary}
    if answer_schema:
        success["content"] = {"application/json": {"schema": _ref(answer_schema)}}
    if headers:
        success["headers"] = {name: {"required": True, "schema": STRING} for name in headers}
    operation["responses"] = {str(status): success}
    if conditional:
        operation["responses"]["304"] = {"description": "Not changed since If-None-Match."}
    for code in sorted({401, 403, 503, *problems}):
        operation["responses"][str(code)] = {
            "description": PROBLEMS[code],
            "content": {"application/problem+json": {"schema": _ref("Problem")}},
        }
    return operation


def _query(name: str, schema: Json, description: str) -> Json:
    return {"name": name, "in": "query", "required": False, "schema": schema, "description": description}


def _paths() -> Json:
    lockout_id = {
        "name": "lockout_id",
        "in": "path",
        "required": True,
        "schema": {"type": "string", "format": "uuid"},
    }
    if_match = {
        "name": "If-Match",
        "in": "header",
        "required": True,
        "schema": STRING,
        "example": "*",
        "description": "The ETag that was read, or * to overwrite on purpose.",
    }
    version = {
        "name": "If-Match",
        "in": "header",
        "required": False,
        "schema": STRING,
        "example": "*",
        "description": "`config_version` of the state that was looked at, in quotes: 412 when anything has changed"
        " since. A halt is never held to it.",
    }
    if_none_match = {"name": "If-None-Match", "in": "header", "required": False, "schema": STRING}
    limit = _query(
        "limit",
        {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT},
        "How many to a page.",
    )
    said = "`next` of the page before."
    lockout_cursor = _query("cursor", {"type": "string", "format": "lockout-cursor"}, said)
    audit_cursor = _query("cursor", {"type": "string", "format": "audit-cursor"}, said)
    ticker = _query("ticker", TICKER, "Only lockouts of this ticker.")
    action = _query("action", {"enum": list(audit.ACTIONS)}, "Only events of this action.")
    by = _query(
        "actor",
        {"type": "string", "maxLength": MAX_WORD, "pattern": r"^[^\u0000]*$"},
        "Only events of this actor.",
    )
    table: list[tuple[str, str, str, str | None, Json]] = [
        ("approval-config", "get", "The approval settings in force", "ApprovalConfig", {"problems": (409,)}),
        (
            "approval-config",
            "put",
            "Merge into the approval settings",
            "ApprovalConfig",
            {"body": "ApprovalConfigChange", "problems": (409,)},
        ),
        ("signal-layers", "get", "The signal layers in force", "SignalLayers", {"problems": (409,)}),
        (
            "signal-layers",
            "put",
            "Switch signal layers on and off",
            "SignalLayers",
            {"body": "SignalLayersChange", "problems": (409,)},
        ),
        (
            "config",
            "get",
            "The whole stored configuration",
            "StoredConfig",
            {"problems": (409,), "headers": ("ETag",), "conditional": True, "parameters": (if_none_match,)},
        ),
        (
            "config",
            "put",
            "Replace the whole configuration",
            "StoredConfig",
            {
                "body": "ConfigReplacement",
                "problems": (409, 412, 428),
                "parameters": (if_match,),
                "headers": ("ETag",),
            },
        ),
        ("mode", "get", "The trading mode", "Mode", {"problems": (409,)}),
        (
            "mode",
            "put",
            "Change the trading mode",
            "Mode",
            {"body": "ModeChange", "problems": (409, 412), "parameters": (version,)},
        ),
        (
            "lockouts",
            "get",
            "The active lockouts, soonest end first",
            "LockoutList",
            {"parameters": (ticker, limit, lockout_cursor), "problems": (422,)},
        ),
        (
            "lockouts",
            "post",
            "Lock a symbol out",
            "Lockout",
            {"body": "NewLockout", "status": 201, "headers": ("Location",)},
        ),
        (
            "lockouts/{lockout_id}",
            "patch",
            "Move the end of a lockout later",
            "Lockout",
            {"body": "LockoutExtension", "problems": (404,), "parameters": (lockout_id,)},
        ),
        (
            "lockouts/{lockout_id}",
            "delete",
            "Remove a lockout",
            None,
            {"status": 204, "problems": (404,), "parameters": (lockout_id,)},
        ),
        (
            "audit",
            "get",
            "Who did what when, newest first",
            "AuditList",
            {"parameters": (action, by, limit, audit_cursor), "problems": (422,)},
        ),
        (
            "state",
            "get",
            "One snapshot of the desk",
            "State",
            {"problems": (409,), "headers": ("ETag",), "conditional": True, "parameters": (if_none_match,)},
        ),
    ]
    paths: Json = {}
    for name, method, summary, schema, more in table:
        path = f"{API}/{name}"
        paths.setdefault(path, {})[method] = _operation(path, method, summary, schema, **more)
    return paths
