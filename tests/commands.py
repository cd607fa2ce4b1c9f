"""The `countersign` command as a process of its own, in an environment of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from sqlalchemy.engine import URL

from tests.serving import SECRET_KEY

COUNTERSIGN = str(Path(sys.executable).with_name("countersign"))
Environment = dict[str, str]


def bare(**settings: str) -> Environment:
    """An environment with these settings of ours and no others."""
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "TMPDIR", "LANG")}
    return kept | settings


def on_database(url: URL, instance: Path) -> Environment:
    return bare(
        DATABASE_URL=url.set(drivername="postgresql").render_as_string(hide_password=False),
        SECRET_KEY=SECRET_KEY,
        INSTANCE_PATH=str(instance),
    )


def countersign(
    environment: Environment, *arguments: str | bytes, given: str | bytes = "", seconds: float = 60
) -> subprocess.CompletedProcess[str]:
    """Run the command in a folder that is not the project's; its output as text."""
    done = subprocess.run(
        [COUNTERSIGN, *arguments],
        env=environment,
        cwd="/",
        input=given.encode() if isinstance(given, str) else given,
        capture_output=True,
        timeout=seconds,
        check=False,
    )
    return subprocess.CompletedProcess(
        done.args, done.returncode, done.stdout.decode(), done.stderr.decode(errors="replace")
    )


def said(done: subprocess.CompletedProcess[str]) -> str:
    """What a command that succeeded printed."""
    assert done.returncode == 0, done.stderr
    return done.stdout


def refused(done: subprocess.CompletedProcess[str], status: int = 1) -> str:
    """The one line of a command that failed; it printed nothing else and showed no traceback."""
    assert done.returncode == status, done.stdout + done.stderr
    assert done.stdout == ""
    [line] = done.stderr.splitlines()
    assert line.startswith("countersign: ")
    return line.removeprefix("countersign: ")
