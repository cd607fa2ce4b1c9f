"""What every answer carries: its request id, and the headers that keep a browser strict."""

from __future__ import annotations

from flask import Flask, Request, Response, g, request

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src 'self' data:",
        "font-src 'self'",
        "manifest-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
# A script, style sheet or picture loads nothing itself, even when it is opened as a document.
STATIC_FILE_POLICY = "default-src 'none'; frame-ancestors 'none'"
ALWAYS = (
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    # Under no-referrer browsers send forms with `Origin: null`, which app/web/security/same_origin.py refuses.
    ("Referrer-Policy", "same-origin"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
)
HSTS = "max-age=31536000"


def _add_headers(response: Response) -> Response:
    headers = response.headers
    if response.status_code == 204:
        del headers["Content-Type"]  # there is no content
    asked: Request = request._get_current_object()  # type: ignore[attr-defined]
    is_static_file = asked.endpoint == "static" and response.status_code < 400
    policy = STATIC_FILE_POLICY if is_static_file else CONTENT_SECURITY_POLICY
    headers.extend((("Content-Security-Policy", policy), *ALWAYS, ("X-Request-ID", g.get("request_id", ""))))
    if is_static_file:
        del headers["Content-Disposition"]
    else:
        headers["Cache-Control"] = "no-store"
        if "Vary" in headers:
            response.vary.update(("Cookie", "Authorization"))
        else:
            headers["Vary"] = "Cookie, Authorization"
    if asked.is_secure:
        headers["Strict-Transport-Security"] = HSTS
    return response


def register(app: Flask) -> None:
    app.after_request(_add_headers)
