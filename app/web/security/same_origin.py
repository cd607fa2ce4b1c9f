"""Refuse requests that a page of another site made the browser send.

The CSRF token is the proof; these headers are the second line of defense. The browser states in `Sec-Fetch-Site`,
`Origin` and `Referer` which page sent a request, and the page cannot change them. Privacy settings and proxies
remove some of them, so over HTTPS one that names this origin is enough, and each one that is present must name it.

Over plain HTTP only `Sec-Fetch-Site` counts: a proxy that terminates TLS without TRUSTED_PROXIES hides the address
that the browser used.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from flask import request

PORTS = {"http": 80, "https": 443}
MAX_SHOWN = 200  # characters of an origin in a message

Origin = tuple[str, str, int | None]


class CrossOrigin(Exception):
    """The request was sent by another page, or does not say by which; the message says what was found."""


def check() -> None:
    """Raises CrossOrigin."""
    site = request.headers.get("Sec-Fetch-Site", "")
    if site in ("cross-site", "same-site"):
        raise CrossOrigin(f"this was sent by a page of another site (Sec-Fetch-Site: {site})")
    if not request.is_secure:
        return
    named = [(name, request.headers[name]) for name in ("Origin", "Referer") if request.headers.get(name)]
    for name, value in named:
        _compare(name, value)
    if not named and site != "same-origin":
        raise CrossOrigin(
            "the browser does not say which page sent this (no Origin, Referer or Sec-Fetch-Site):"
            " a browser extension or a proxy removes these headers"
        )


def _compare(header: str, value: str) -> None:
    sent_from, ours = _origin(value), _origin(request.host_url)
    if sent_from is None:
        raise CrossOrigin(f"the browser hides which page sent this ({header}: {value[:MAX_SHOWN]})")
    if sent_from != ours:
        shown = f"{sent_from[0]}://{urlsplit(value).netloc.rpartition('@')[2]}"[:MAX_SHOWN]
        raise CrossOrigin(
            f"the {header} header names {shown}, but the request came to {request.host_url.rstrip('/')}:"
            " it was sent by a page of another site, or a proxy passes on another address than the browser asked"
        )


def _origin(url: str) -> Origin | None:
    """Scheme, host and port; None where the URL has none, as `null`."""
    try:
        parts = urlsplit(url)
        if not parts.scheme or not parts.hostname:
            return None
        return parts.scheme, parts.hostname, parts.port or PORTS.get(parts.scheme)
    except ValueError:
        return None
