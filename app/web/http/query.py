"""Query parameters of the JSON routes: a table of those that each route takes; others are refused by name.

A misspelt filter must not read as a list without that filter. Pages ignore what they do not know.
"""

from __future__ import annotations

from collections.abc import Mapping

from flask import request

from app.services.errors import Invalid
from app.web.security.permissions import API, CHANGE_MODE

Route = tuple[str, str]
MAX_NAMED = 20  # unknown parameters that one answer names
MAX_NAME_SHOWN = 60  # characters

PARAMETERS: Mapping[Route, tuple[str, ...]] = {
    ("GET", f"{API}/lockouts"): ("ticker", "limit", "cursor"),
    ("DELETE", f"{API}/lockouts/<lockout_id>"): ("reason",),
    ("GET", f"{API}/orders"): ("status", "ticker", "client_order_id", "limit", "cursor"),
    ("GET", f"{API}/orders/<order_id>"): ("wait",),
    ("GET", f"{API}/approvals"): ("limit", "cursor"),
    ("GET", f"{API}/audit"): ("action", "actor", "people", "ticker", "order", "from", "to", "limit", "cursor"),
    # `nested` is what SDKs send; without orders of several legs it changes nothing.
    ("GET", "/v2/orders"): ("status", "limit", "after", "until", "direction", "nested", "side", "symbols"),
    ("GET", "/v2/orders/<order_id>"): ("nested",),
    ("GET", "/v2/orders:by_client_order_id"): ("client_order_id", "nested"),
    ("DELETE", "/v2/positions"): ("cancel_orders",),
    ("DELETE", "/v2/positions/<path:name>"): ("qty", "percentage"),
    ("GET", "/v2/assets"): ("status", "asset_class", "exchange", "attributes"),
    ("GET", "/v2/calendar"): ("start", "end", "date_type"),
}
# Parameters that may be given more than once.
REPEATABLE: frozenset[tuple[str, str, str]] = frozenset({("GET", f"{API}/audit", "action")})
# A halt always works, whatever else the request holds.
UNCHECKED = frozenset({CHANGE_MODE})


def check(route: Route) -> None:
    """Raises Invalid for a parameter that the JSON route does not take, or takes once and was given twice."""
    if route in UNCHECKED:
        return
    known, errors = PARAMETERS.get(route, ()), {}
    for name, values in request.args.lists():
        if name not in known:
            errors[name[:MAX_NAME_SHOWN]] = ["is not a known query parameter"]
        elif len(values) > 1 and (*route, name) not in REPEATABLE:
            errors[name] = ["is given more than once"]
        if len(errors) == MAX_NAMED:
            break
    if errors:
        raise Invalid(errors)
