"""Every route with the act that it is: the permission matrix of the web.

A route that is missing here is refused to everybody, and a test fails. What depends on the body (going live,
live approval, the type of a lockout) is held by the desk, with the same acts.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from app.domain.roles import Act

API = "/api/admin/trading"


class Open(Enum):
    """Routes that need no right."""

    NO_CREDENTIAL = "no credential"  # nobody is asked who they are, so the database is not either
    ANYBODY = "anybody"
    SIGNED_IN = "signed in"


Right = Act | Open

ROUTES: Mapping[tuple[str, str], Right] = {
    ("GET", f"{API}/approval-config"): Act.READ_DESK,
    ("PUT", f"{API}/approval-config"): Act.OPERATE,
    ("GET", f"{API}/config"): Act.READ_DESK,
    ("PUT", f"{API}/config"): Act.REPLACE_CONFIG,
    ("GET", f"{API}/mode"): Act.READ_RULES,
    ("PUT", f"{API}/mode"): Act.OPERATE,
    ("GET", f"{API}/signal-layers"): Act.READ_RULES,
    ("PUT", f"{API}/signal-layers"): Act.OPERATE,
    ("GET", f"{API}/lockouts"): Act.READ_RULES,
    ("POST", f"{API}/lockouts"): Act.LOCK_OUT_AUTOMATICALLY,
    ("PATCH", f"{API}/lockouts/<lockout_id>"): Act.OPERATE,
    ("DELETE", f"{API}/lockouts/<lockout_id>"): Act.OPERATE,
    ("POST", f"{API}/orders"): Act.TRADE,
    ("GET", f"{API}/orders"): Act.READ_ORDERS,
    ("GET", f"{API}/orders/<order_id>"): Act.READ_ORDERS,
    ("POST", f"{API}/orders/<order_id>/cancel"): Act.TRADE,
    ("GET", f"{API}/approvals"): Act.READ_DESK,
    ("POST", f"{API}/approvals/<order_id>/approve"): Act.DECIDE_ORDERS,
    ("POST", f"{API}/approvals/<order_id>/reject"): Act.DECIDE_ORDERS,
    ("POST", f"{API}/approvals/decisions"): Act.DECIDE_ORDERS,
    ("GET", f"{API}/audit"): Act.READ_DESK,
    ("GET", f"{API}/audit/<event_id>"): Act.READ_DESK,
    ("GET", f"{API}/state"): Act.READ_DESK,
    ("GET", f"{API}/stream"): Act.READ_DESK,
    ("GET", f"{API}/history"): Act.READ_DESK,
    ("POST", "/v2/orders"): Act.TRADE,
    ("GET", "/v2/orders"): Act.TRADE,
    ("DELETE", "/v2/orders"): Act.TRADE,
    ("GET", "/v2/orders:by_client_order_id"): Act.TRADE,
    ("GET", "/v2/orders/<order_id>"): Act.TRADE,
    ("PATCH", "/v2/orders/<order_id>"): Act.TRADE,
    ("DELETE", "/v2/orders/<order_id>"): Act.TRADE,
    ("GET", "/v2/account"): Act.TRADE,
    ("GET", "/v2/account/configurations"): Act.TRADE,
    ("GET", "/v2/positions"): Act.TRADE,
    ("DELETE", "/v2/positions"): Act.TRADE,
    ("GET", "/v2/positions/<path:name>"): Act.TRADE,
    ("DELETE", "/v2/positions/<path:name>"): Act.TRADE,
    ("GET", "/v2/assets"): Act.TRADE,
    ("GET", "/v2/assets/<path:name>"): Act.TRADE,
    ("GET", "/v2/clock"): Act.TRADE,
    ("GET", "/v2/calendar"): Act.TRADE,
    ("GET", f"{API}/openapi.json"): Open.NO_CREDENTIAL,
    ("GET", "/openapi.json"): Open.NO_CREDENTIAL,
    ("GET", "/docs/api"): Open.NO_CREDENTIAL,
    ("GET", "/healthz"): Open.NO_CREDENTIAL,
    ("GET", "/readyz"): Open.NO_CREDENTIAL,
    ("GET", "/metrics"): Open.NO_CREDENTIAL,  # it asks for one of its own: app/web/api/metrics.py
    ("GET", "/static/<path:filename>"): Open.NO_CREDENTIAL,
    ("OPTIONS", "/static/<path:filename>"): Open.NO_CREDENTIAL,
    ("GET", "/login"): Open.ANYBODY,
    ("POST", "/login"): Open.ANYBODY,
    ("GET", "/login/code"): Open.ANYBODY,
    ("POST", "/login/code"): Open.ANYBODY,
    ("POST", "/logout"): Open.SIGNED_IN,
    ("GET", "/account"): Open.SIGNED_IN,
    ("GET", "/account/password"): Open.SIGNED_IN,
    ("POST", "/account/password"): Open.SIGNED_IN,
    ("POST", "/account/sessions/end"): Open.SIGNED_IN,
    ("POST", "/account/sessions/end-others"): Open.SIGNED_IN,
    ("POST", "/account/sessions/end-all"): Open.SIGNED_IN,
    ("POST", "/account/second-factor/start"): Open.SIGNED_IN,
    ("POST", "/account/second-factor/confirm"): Open.SIGNED_IN,
    ("POST", "/account/second-factor/recovery-codes"): Open.SIGNED_IN,
    ("POST", "/account/second-factor/off"): Open.SIGNED_IN,
    ("GET", "/accounts"): Act.MANAGE_ACCOUNTS,
    ("POST", "/accounts/people"): Act.MANAGE_ACCOUNTS,
    ("POST", "/accounts/people/<name>/role"): Act.MANAGE_ACCOUNTS,
    ("POST", "/accounts/people/<name>/deactivate"): Act.MANAGE_ACCOUNTS,
    ("POST", "/accounts/people/<name>/reactivate"): Act.MANAGE_ACCOUNTS,
    ("POST", "/accounts/people/<name>/password"): Act.MANAGE_ACCOUNTS,
    ("POST", "/accounts/people/<name>/second-factor"): Act.MANAGE_ACCOUNTS,
    ("POST", "/accounts/tokens"): Act.MANAGE_ACCOUNTS,
    ("POST", "/accounts/tokens/<token_id>/revoke"): Act.MANAGE_ACCOUNTS,
    ("POST", "/accounts/services/<name>/owner"): Act.MANAGE_ACCOUNTS,
    ("POST", "/accounts/second-factor-for-live"): Act.MANAGE_ACCOUNTS,
    ("GET", "/"): Open.ANYBODY,
    ("GET", "/trading"): Act.READ_DESK,
    ("GET", "/audit"): Act.READ_DESK,
    ("POST", "/trading/halt"): Act.OPERATE,
    ("POST", "/trading/mode"): Act.OPERATE,
    ("POST", "/trading/cancel-at-venue"): Act.OPERATE,
    ("POST", "/trading/approval-config"): Act.OPERATE,
    ("POST", "/trading/signal-layers"): Act.OPERATE,
    ("POST", "/trading/lockouts"): Act.OPERATE,
    ("POST", "/trading/lockouts/<lockout_id>/extend"): Act.OPERATE,
    ("POST", "/trading/lockouts/<lockout_id>/remove"): Act.OPERATE,
    ("POST", "/trading/approvals/<order_id>/approve"): Act.DECIDE_ORDERS,
    ("POST", "/trading/approvals/<order_id>/reject"): Act.DECIDE_ORDERS,
}


# Routes that look the token up in the transaction of the act itself: it is one round trip less on the path of an
# order, and exact, for a token that is revoked meanwhile is not good any more.
IN_TRANSACTION = frozenset({("POST", f"{API}/orders"), ("POST", "/v2/orders")})


# Routes where a session is wanted, and no token will do: a script that can make tokens or people can make itself
# one that may do more than it was given.
IN_PERSON = frozenset(route for route in ROUTES if route[1].startswith("/account"))

# What a person may do who has to change their password first. The routes that are open to anybody are, besides.
CHANGES_PASSWORD = frozenset({("GET", "/account/password"), ("POST", "/account/password"), ("POST", "/logout")})

# The route that halts. It takes every change of the trading mode.
CHANGE_MODE = ("PUT", f"{API}/mode")

# Routes that stop something: no rate and no bound of app/web/security/rate_limit.py applies to them. Their
# credentials are checked even while other clients guess from the same address.
NEVER_LIMITED = frozenset(
    {
        ("PUT", f"{API}/mode"),
        ("POST", f"{API}/lockouts"),
        ("PATCH", f"{API}/lockouts/<lockout_id>"),
        ("DELETE", f"{API}/lockouts/<lockout_id>"),
        ("POST", f"{API}/orders/<order_id>/cancel"),
        ("POST", f"{API}/approvals/<order_id>/reject"),
        ("DELETE", "/v2/orders"),
        ("DELETE", "/v2/orders/<order_id>"),
        ("POST", "/trading/halt"),
        ("POST", "/trading/mode"),
        ("POST", "/trading/cancel-at-venue"),
        ("POST", "/trading/lockouts"),
        ("POST", "/trading/lockouts/<lockout_id>/extend"),
        ("POST", "/trading/lockouts/<lockout_id>/remove"),
        ("POST", "/trading/approvals/<order_id>/reject"),
        ("POST", "/logout"),
    }
)

# Sign-in forms, which do not depend on who is signed in already: a flood of them must not cost a lookup each.
SIGN_IN = frozenset({("POST", "/login"), ("POST", "/login/code")})

# Routes that may wait for long without any work; app/services/live/listener.py bounds their number.
WAITING = frozenset({("GET", f"{API}/stream"), ("GET", f"{API}/orders/<order_id>")})

# Reads whose answer takes long to make; app/web/security/rate_limit.py bounds how many a worker makes at a time.
LARGE_READS = frozenset(
    {
        ("GET", f"{API}/audit"),
        ("GET", f"{API}/audit/<event_id>"),
        ("GET", f"{API}/config"),
        ("GET", "/audit"),
        ("GET", "/trading"),
    }
)
# The same of lists, of which engines read too: an operator's page is not to keep them waiting.
LISTS = frozenset(
    {
        ("GET", f"{API}/approvals"),
        ("GET", f"{API}/lockouts"),
        ("GET", f"{API}/orders"),
        ("GET", "/v2/orders"),
    }
)


def right_for(method: str, rule: str) -> Right | None:
    """The right that a request needs; None where the route is not in the table."""
    return ROUTES.get(("GET" if method == "HEAD" else method, rule))
