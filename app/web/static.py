"""Static files, in a folder named by what they hold: a browser keeps them for good, until one of them changes.

One name stands for all of them, because the modules import each other by relative paths.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

from flask import Flask, Response

VERSION = re.compile(r"v-[0-9a-f]{12}", re.ASCII)
FOR_GOOD = "public, max-age=31536000, immutable"


def _version(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(folder).as_posix()}\0{len(content)}\0".encode())
        digest.update(content)
    return f"v-{digest.hexdigest()[:12]}"


def register(app: Flask) -> None:
    """Let `url_for("static", ...)` name the version, and the files be found by it."""
    version = _version(Path(app.static_folder or ""))

    @app.url_defaults
    def name_version(endpoint: str, values: dict[str, Any]) -> None:
        if endpoint == "static":
            values["filename"] = f"{version}/{values['filename']}"

    def serve(filename: str) -> Response:
        asked, _, rest = filename.partition("/")
        # During an upgrade the page may come from one host and its files from another: any version finds the
        # files that are here, but only their own is kept.
        response = app.send_static_file(rest if VERSION.fullmatch(asked) else filename)
        if asked == version:
            response.headers["Cache-Control"] = FOR_GOOD
        return response

    app.view_functions["static"] = serve
