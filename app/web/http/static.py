"""Static files, in a folder named by what they hold: a browser keeps them for good, until one of them changes.

One name stands for all of them, because the modules import each other by relative paths.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

from flask import Flask, Response, request

VERSION = re.compile(r"v-[0-9a-f]{12}", re.ASCII)
FOR_GOOD = "public, max-age=31536000, immutable"

TRADING, ALPINE, LATER = "js/trading.js", "vendor/alpine.js", "js/later/"

Stamp = tuple[int, int]  # when it was changed, and how long it is


def _version(folder: Path) -> tuple[str, dict[str, Stamp]]:
    """The name for what the files hold, and what each of them looked like from outside."""
    digest, stamps = hashlib.sha256(), {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder).as_posix()
        stamps[name], content = _stamp(path), path.read_bytes()
        digest.update(f"{name}\0{len(content)}\0".encode())
        digest.update(content)
    return f"v-{digest.hexdigest()[:12]}", stamps


def _stamp(path: Path) -> Stamp:
    status = path.stat()
    return status.st_mtime_ns, status.st_size


def _send(app: Flask, filename: str) -> Response:
    """Whole: a part of a file as it is could be joined to a part of the same file packed."""
    request.environ.pop("HTTP_RANGE", None)
    response = app.send_static_file(filename)
    response.headers.pop("Accept-Ranges", None)
    etag, _ = response.get_etag()
    if etag:
        response.set_etag(etag, weak=True)
    return response


def register(app: Flask) -> None:
    """Let `url_for("static", ...)` name the version, and the files be found by it."""
    folder = Path(app.static_folder or "")
    version, stamps = _version(folder)

    @app.url_defaults
    def name_version(endpoint: str, values: dict[str, Any]) -> None:
        if endpoint == "static":
            values["filename"] = f"{version}/{values['filename']}"

    def serve(filename: str) -> Response:
        asked, _, rest = filename.partition("/")
        # During an upgrade the page may come from one host and its files from another, or the files be newer than
        # the process: any version finds the files that are here, but only under their own name are they kept.
        response = _send(app, rest if VERSION.fullmatch(asked) else filename)
        if asked == version and stamps.get(rest) == _stamp(folder / rest):
            response.headers["Cache-Control"] = FOR_GOOD
        return response

    app.view_functions["static"] = serve
    # What the Trading page's script imports: to find that out one by one takes a browser several round trips. Not
    # what is below js/later: that is for other pages, or is imported once somebody looks at it.
    app.jinja_env.globals["modules"] = [
        name
        for name in stamps
        if name == ALPINE or (name.startswith("js/") and not name.startswith(LATER) and name != TRADING)
    ]
