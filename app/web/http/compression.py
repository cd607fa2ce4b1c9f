"""Answers weigh little: they are sent compressed to whoever understands that, where it is worth the while.

The compression is of our own, because the package for it (Flask-Compress) changes the ETag of what it compresses:
the version that a client read with GET /config would not be the one that If-Match knows.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable
from functools import lru_cache
from http import HTTPStatus

from flask import Flask, Response, request
from jinja2.ext import Extension

from app.lib.threadpool import aside

LEAST = 1000  # bytes; below that nothing is gained
# What is packed, and how hard it is worked on: files once; some other texts would take ten seconds at 9.
LEVELS = {
    "text/css": 9,
    "text/javascript": 9,
    "image/svg+xml": 9,
    "text/html": 6,
    "application/json": 5,
    "text/csv": 5,
}
ASIDE = 128 * 1024  # bytes; nobody is to wait while more than that is packed ...
LARGE = 1024 * 1024  # ... and even aside, more than that is not worked on hard
LEVEL_IF_LARGE = 1
INDENTATION = re.compile(r"^[ \t]+", re.MULTILINE)
ONLY_STATEMENTS = re.compile(r"^((?:\{%(?:(?!%\}).)*%\})+)[ \t]*\n", re.MULTILINE)


def _packed(body: bytes, level: int) -> bytes:
    return gzip.compress(body, level, mtime=0)


# The files are always the same; a state goes to many pages at once, and a former one to nobody.
_packed_file = lru_cache(maxsize=64)(_packed)
_packed_state = lru_cache(maxsize=2)(_packed)


def _pack_of(response: Response) -> Callable[[bytes, int], bytes]:
    if "ETag" not in response.headers:
        return _packed
    return _packed_state if response.mimetype == "application/json" else _packed_file


def _compress(response: Response) -> Response:
    # The stream and whatever else has no length is not for packing; a file has one, and is read here. The answer
    # to an order is short, and gets no further.
    if response.status_code == HTTPStatus.NOT_MODIFIED:
        response.vary.add("Accept-Encoding")
        return response
    if int(response.headers.get("Content-Length", 0)) < LEAST:
        return response
    if response.mimetype not in LEVELS or response.status_code != 200 or "Content-Encoding" in response.headers:
        return response
    response.vary.add("Accept-Encoding")
    if request.accept_encodings.quality("gzip") <= 0 or request.method == "HEAD":
        return response
    response.direct_passthrough = False
    pack, body = _pack_of(response), response.get_data()
    level = LEVELS[response.mimetype] if len(body) <= LARGE else LEVEL_IF_LARGE
    response.set_data(pack(body, level) if len(body) <= ASIDE else aside(pack, body, level))
    response.headers["Content-Encoding"] = "gzip"
    return response


class Unindented(Extension):
    """Templates are read as if they had no indentation, and no lines in which there is nothing but statements:
    nobody sees these, and everybody would be sent them."""

    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:
        return ONLY_STATEMENTS.sub(r"\1", INDENTATION.sub("", source))


def register(app: Flask) -> None:
    app.jinja_env.add_extension(Unindented)
    app.after_request(_compress)
