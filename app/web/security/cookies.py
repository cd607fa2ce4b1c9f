"""Cookie names.

A browser sends the cookies of a host to every port of it. So that two instances on one host do not overwrite each
other's, every name ends in a tag of the instance. Over HTTPS a name begins with `__Host-`: the browser accepts
such a cookie only with Secure and Path=/ and without Domain, so no other host and no plain-HTTP page can set it.
"""

from __future__ import annotations

import hmac

from flask import current_app, request

SECURE_PREFIX = "__Host-"


def instance_tag(secret_key: str) -> str:
    """Eight hexadecimal digits that tell instances apart and reveal nothing about the key."""
    return hmac.digest(secret_key.encode(), b"countersign/cookie-names", "sha256").hex()[:8]


def session_name(secret_key: str) -> str:
    """The name of the session cookie, without the prefix."""
    return f"countersign_session_{instance_tag(secret_key)}"


def device_name() -> str:
    """The name of the known-device cookie in this request."""
    return with_prefix(f"countersign_device_{instance_tag(str(current_app.secret_key))}")


def with_prefix(name: str) -> str:
    """`name`, with `__Host-` where the request came over HTTPS."""
    return f"{SECURE_PREFIX}{name}" if request.is_secure else name
