"""The operations: one row of a table for each."""

from __future__ import annotations

import re

from app.domain.order_status import OrderStatus
from app.domain.roles import Act, Role, may
from app.services.audit import log
from app.services.live.streams import BEAT_EVERY
from app.web.api import audit_export
from app.web.api.orders import LONGEST_WAIT
from app.web.forms.trading import MAX_CLIENT_ORDER_ID_LENGTH, MAX_REASON_LENGTH
from app.web.http.request import DEFAULT_LIMIT, MAX_LIMIT, MAX_WORD
from app.web.openapi import examples
from app.web.openapi.descriptions import ID, STRING, TIME, Json, ref, ticker
from app.web.security.permissions import API, NEVER_LIMITED, right_for

PROBLEMS = {
    400: "The body is not JSON, not an object, or broke off.",
    401: "No credential, or one that is not accepted.",
    403: "Not allowed with this credential, or it ended meanwhile (`code` credential_revoked).",
    404: "There is no such thing, or no longer.",
    405: "The route does not take this method.",
    408: "The body was too long in coming (`code` body_too_slow).",
    409: "The state of the desk does not allow it.",
    412: "What was read has changed since.",
    413: "The body is larger than 64 KiB, or than 1 MiB where it is a whole configuration or many decisions.",
    415: "The body is not declared as JSON.",
    422: "A value cannot be used, or a query parameter is unknown or given twice; `errors` names it.",
    428: "If-Match is missing.",
    429: "Too much at once, too many reads, too many wrong credentials from this address, or too many wrong codes"
    " (`code` too_many_at_once, too_many_reads, too_many_tries); nothing was changed. Retry-After says when to try"
    " again.",
    503: "The database cannot be reached, or the desk is busy; nothing was changed.",
}


def _query(name: str, schema: Json, description: str) -> Json:
    return {"name": name, "in": "query", "required": False, "schema": schema, "description": description}


def _header(name: str, *, required: bool, **more: object) -> Json:
    return {"name": name, "in": "header", "required": required, "schema": STRING, **more}


def _path(name: str) -> Json:
    return {"name": name, "in": "path", "required": True, "schema": ID}


EVENT_ID: Json = {
    "name": "event_id",
    "in": "path",
    "required": True,
    "schema": {"type": "integer", "minimum": 1},
}


AN_INSTANT: Json = TIME | {"pattern": "^(19[7-9][0-9]|[2-8][0-9]{3})-"}


def _word(longest: int) -> Json:
    return {"type": "string", "maxLength": longest, "pattern": r"^[^\u0000]*$"}


def _cursor(kind: str) -> Json:
    return _query("cursor", {"type": "string", "format": f"{kind}-cursor"}, "`next` of the page before.")


LIMIT = _query(
    "limit",
    {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT},
    "How many to a page.",
)
NUMBER_CURSOR, INSTANT_CURSOR = _cursor("number"), _cursor("instant")
REASON = _query("reason", _word(MAX_REASON_LENGTH), "Why; it is kept in the audit log.")
OF_TICKER = _query("ticker", ticker(allow_every=True), "Only those of this instrument, however it is spelled.")
THAT_BLOCK = _query(
    "ticker",
    ticker(allow_every=True),
    "Only those that block an order for this ticker now: of every spelling, of an option's underlying, of a"
    " future's root, and of `*`.",
)
IF_NONE_MATCH = _header("If-None-Match", required=False)
IF_MATCH = _header(
    "If-Match",
    required=True,
    example="*",
    description="The ETag that was read, or * to overwrite on purpose.",
)
VERSION = _header(
    "If-Match",
    required=False,
    example="*",
    description="`config_version` of the state that was looked at, in quotes: 412 when anything has changed"
    " since. A halt is never held to it.",
)
WAIT = _query(
    "wait",
    {"type": "integer", "minimum": 0, "maximum": LONGEST_WAIT, "default": 0},
    "Seconds to wait for the order to stop waiting, or, of one at a venue, for it to change: the answer comes as"
    " soon as it does. Where too many wait"
    " already it comes at once, as for 0: pause before asking again.",
)

EVENTS: Json = {
    "text/event-stream": {"schema": STRING, "example": 'data: {"state_version": 42}\n\n'},
}
STREAM = f"""\
A `message` at once, after every change and at every expiry, at most some ten a second: read `/state` then, with
If-None-Match. A `beat` every {BEAT_EVERY:.0f} seconds, with the same data. The number may stay the same: at an
expiry nothing is written. The stream ends with its credential, and when the server itself hears nothing: open
another one then. 503 `busy`, where too many are open, says with Retry-After when to try again."""

HISTORY = """\
Decisions by hour and outcome: `released` by the gate itself, `approved` by a person. Seconds from an order's
coming in to its approval or rejection by a person: their median, and the 90th percentile. Lockouts of which some
part lies in these hours, also those removed before their end, which is `removed_at`. Changes of the mode. Of very
many lockouts or changes the latest. On a desk with very many orders the answer may be up to a minute old;
`server_time` says of when."""

AUDIT = f"""\
Who did what when, newest first.

`Accept: text/csv` exports the events as CSV, with the columns {", ".join(log.COLUMNS)};
`before` and `after` are JSON of any size. Without `limit` an answer has up to {audit_export.MAX_ROWS:,} events,
and fewer when they exceed {audit_export.MAX_CHARACTERS // 2**20} MiB. A `Link` header with `rel="next"` names the
next part; the last part has none. A cell that begins with `=`, `+`, `-`, `@`, a tab or a carriage return is
prefixed with an apostrophe, so that spreadsheets do not evaluate it as a formula."""
EVENTS_AS_CSV: Json = {"text/csv": {"schema": STRING}}
NEXT_LINK: Json = {
    "Link": {"required": False, "schema": STRING, "description": "Of CSV: the address of the next part."}
}

Row = tuple[str, str, str, str | None, Json]

RULES: tuple[Row, ...] = (
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
        {"problems": (409,), "headers": ("ETag",), "conditional": True, "parameters": (IF_NONE_MATCH,)},
    ),
    (
        "config",
        "put",
        "Replace the whole configuration",
        "StoredConfig",
        {
            "body": "ConfigReplacement",
            "problems": (409, 412, 428),
            "parameters": (IF_MATCH,),
            "headers": ("ETag",),
        },
    ),
    ("mode", "get", "The trading mode", "Mode", {"problems": (409,)}),
    (
        "mode",
        "put",
        "Change the trading mode, which cancels every order that waits",
        "ModeChanged",
        {"body": "ModeChange", "problems": (409, 412, 429), "parameters": (VERSION,)},
    ),
    (
        "lockouts",
        "get",
        "The active lockouts, soonest end first",
        "LockoutList",
        {"parameters": (THAT_BLOCK, LIMIT, INSTANT_CURSOR), "problems": (422,)},
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
        {"body": "LockoutExtension", "problems": (404,), "parameters": (_path("lockout_id"),)},
    ),
    (
        "lockouts/{lockout_id}",
        "delete",
        "Remove a lockout",
        None,
        {"status": 204, "problems": (404, 422), "parameters": (_path("lockout_id"), REASON)},
    ),
)

ORDERS: tuple[Row, ...] = (
    (
        "orders",
        "post",
        "Send an order to the gate",
        "Order",
        {
            "body": "NewOrder",
            "status": 201,
            "headers": ("Location",),
            "again": "The same `client_order_id` was sent before: the order as it is now",
            "problems": (409,),
        },
    ),
    (
        "orders",
        "get",
        "Orders, newest first; an engine sees its own",
        "OrderList",
        {
            "parameters": (
                _query("status", {"enum": [str(status) for status in OrderStatus]}, "Only those of this status."),
                OF_TICKER,
                _query("client_order_id", _word(MAX_CLIENT_ORDER_ID_LENGTH), "Only those of this id."),
                LIMIT,
                NUMBER_CURSOR,
            ),
            "problems": (422,),
        },
    ),
    (
        "orders/{order_id}",
        "get",
        "One order, at once or when it is decided",
        "Order",
        {"parameters": (_path("order_id"), WAIT), "problems": (404, 422)},
    ),
    (
        "orders/{order_id}/cancel",
        "post",
        "Withdraw an order that waits",
        "Order",
        {"parameters": (_path("order_id"),), "problems": (404, 409)},
    ),
)

APPROVALS: tuple[Row, ...] = (
    (
        "approvals",
        "get",
        "The orders that wait, soonest expiry first",
        "WaitingOrderList",
        {"parameters": (LIMIT, INSTANT_CURSOR), "problems": (409, 422)},
    ),
    (
        "approvals/{order_id}/approve",
        "post",
        "Release an order that waits, if the gate still lets it pass",
        "Order",
        {"body": "Approval", "parameters": (_path("order_id"),), "problems": (404, 409)},
    ),
    (
        "approvals/{order_id}/reject",
        "post",
        "Turn an order that waits down",
        "Order",
        {"body": "Rejection", "parameters": (_path("order_id"),), "problems": (404, 409)},
    ),
    (
        "approvals/decisions",
        "post",
        "Decide many, each by itself: a result for each, in the order given",
        "DecisionResults",
        {"body": "Decisions"},
    ),
)

DESK: tuple[Row, ...] = (
    (
        "audit",
        "get",
        "Who did what when, newest first",
        "AuditList",
        {
            "parameters": (
                _query(
                    "action",
                    {"enum": list(log.ACTIONS)},
                    "Only events of this action. It may be given several times.",
                ),
                _query("actor", _word(MAX_WORD), "Only events of actors whose name begins so."),
                _query("people", {"enum": ["true", "false"]}, "With true without engines and `system:` actors."),
                _query(
                    "ticker",
                    ticker(allow_every=True),
                    "Only events of orders and lockouts of this instrument, however it is spelled.",
                ),
                _query("order", ID, "Only events of the order with this id."),
                _query("from", AN_INSTANT, "Only events at or after this instant."),
                _query("to", AN_INSTANT, "Only events before this instant."),
                LIMIT,
                NUMBER_CURSOR,
            ),
            "problems": (422,),
            "description": AUDIT,
            "content": EVENTS_AS_CSV,
            "more_headers": NEXT_LINK,
        },
    ),
    (
        "audit/{event_id}",
        "get",
        "One event, whole",
        "AuditEvent",
        {"parameters": (EVENT_ID,), "problems": (404,)},
    ),
    (
        "state",
        "get",
        "One snapshot of the desk",
        "State",
        {
            "problems": (409,),
            "headers": ("ETag", "Server-Time"),
            "conditional": True,
            "parameters": (IF_NONE_MATCH,),
        },
    ),
    (
        "history",
        "get",
        "The last 24 hours at a glance, by the full hour in UTC",
        "History",
        {"description": HISTORY},
    ),
    (
        "stream",
        "get",
        "Server-sent events: that something changed, and nothing of what",
        None,
        {"content": EVENTS, "description": STREAM},
    ),
)


def paths() -> Json:
    """Every path with its operations."""
    found: Json = {}
    for tag, table in (("rules", RULES), ("orders", ORDERS), ("approvals", APPROVALS), ("desk", DESK)):
        for name, method, summary, schema, more in table:
            path = f"{API}/{name}"
            found.setdefault(path, {})[method] = _operation(path, method, summary, schema, tag=tag, **more)
    return found


def _operation(  # noqa: PLR0913 - one row of the tables above
    path: str,
    method: str,
    summary: str,
    answer_schema: str | None,
    *,
    tag: str,
    body: str | None = None,
    status: int = 200,
    again: str | None = None,
    problems: tuple[int, ...] = (),
    parameters: tuple[Json, ...] = (),
    headers: tuple[str, ...] = (),
    more_headers: Json | None = None,
    conditional: bool = False,
    content: Json | None = None,
    description: str | None = None,
) -> Json:
    """`again` says what a 200 means where 201 is the rule; `content` is an answer that is not JSON."""
    name = path.removeprefix(f"{API}/")
    operation: Json = {
        "operationId": operation_id(method, name),
        "tags": [tag],
        "summary": summary,
        "description": description or f"{summary}.",
    }
    if body:
        operation["requestBody"] = {
            "required": body != "Approval",  # there is nothing that it must have
            "content": {"application/json": {"schema": ref(body)}},
        }
        problems = (400, 408, 413, 415, 422, *problems)
    if method != "get":
        operation["security"] = [{"bearer": []}, {"session": [], "csrf": []}]
    if parameters:
        operation["parameters"] = list(parameters)
    if answer_schema:
        content = {"application/json": {"schema": ref(answer_schema)}} | (content or {})
    answered = {"content": content} if content else {}
    responses: Json = {str(status): {"description": summary, **answered}}
    if headers or more_headers:
        required: Json = {name: {"required": True, "schema": STRING} for name in headers}
        responses[str(status)]["headers"] = required | (more_headers or {})
    if again:
        responses["200"] = {"description": again, **answered}
    if conditional:
        responses["304"] = {"description": "Not changed since If-None-Match."}
    is_limited = (method.upper(), path.replace("{", "<").replace("}", ">")) not in NEVER_LIMITED
    for code in sorted({401, 403, 422, 503, *problems, *([429] if is_limited else [])}):
        responses[str(code)] = {
            "description": PROBLEMS[code],
            "content": {"application/problem+json": {"schema": ref("Problem")}},
        }
    operation |= {"x-roles": _roles(method, path), "responses": responses}
    examples.add_to(operation, f"{method} {name}")
    return operation


def operation_id(method: str, name: str) -> str:
    """An identifier: `patch lockouts/{lockout_id}` is patchLockout, `get audit/{event_id}` getAuditEvent."""
    words = re.sub(r"\{(\w+)_id\}", r"\1", re.sub(r"(\w)s/\{\w+\}", r"\1", name))
    return method + "".join(word.capitalize() for word in re.split(r"\W+", words))


def _roles(method: str, path: str) -> list[str]:
    """Who may; what depends on the body is said beside it."""
    right = right_for(method.upper(), path.replace("{", "<").replace("}", ">"))
    return [str(role) for role in Role if isinstance(right, Act) and may(role, right)]
