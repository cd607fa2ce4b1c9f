"""Sends messages to receivers: a process of its own that imports Apprise and nothing of the application.

app/services/notifications/apprise.py runs it by its path, so that `app` is never imported here, nor Apprise there.
It reads one JSON object to a line, sees to each in a thread of its own, for a receiver may hang, and answers in
whatever order they are done. It ends with its input: when whoever started it is gone.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import threading
from contextvars import ContextVar
from typing import Any

MISSING = "Apprise is not installed"
UNREADABLE = "Apprise cannot read this address"
# Nothing of what Apprise says itself is passed on: there may be secrets in it.
REASONS = (
    (re.compile(r"timed out|timeout", re.IGNORECASE), "no answer in time"),
    (re.compile(r"error=(\d{3})\b"), "it answered {}"),
    (re.compile(r"connection error|socket exception|smtp", re.IGNORECASE), "it cannot be reached, or hung up"),
)
OTHERWISE = "Apprise could not deliver it"

Task = dict[str, Any]
heard: ContextVar[list[str] | None] = ContextVar("heard", default=None)


class Listener(logging.Handler):
    """Hears why something was not delivered; Apprise only logs that."""

    def emit(self, record: logging.LogRecord) -> None:
        lines = heard.get()
        if lines is not None:
            lines.append(record.getMessage())


class Sender:
    def __init__(self) -> None:
        import apprise

        logger = logging.getLogger("apprise")
        logger.setLevel(logging.DEBUG)
        logger.propagate = False
        logger.handlers = [Listener()]
        self._apprise = apprise
        # Nothing is kept on the disk or put into templates, and no time-out of Apprise's own: its pool of threads
        # is shared by all receivers, and those that hang would fill it.
        self._asset = apprise.AppriseAsset(
            storage_mode=apprise.PersistentStoreMode.MEMORY, service_timeout=0, allow_templates=False
        )
        self._asset.app_id = self._asset.app_desc = "Countersign"
        self._asset.app_url = ""
        self._asset.async_mode = False
        apprise.Apprise.instantiate("json://localhost")  # loads all plugins, before there are threads

    def problem(self, task: Task) -> str | None:
        """Send what the task says, or see whether its address can be read; why not, in our own words."""
        lines: list[str] = []
        heard.set(lines)
        receiver = self._apprise.Apprise(asset=self._asset)
        if not receiver.add(task["url"]):
            return UNREADABLE
        if "title" not in task:
            return None
        taken = receiver.notify(
            title=task["title"], body=task["body"], notify_type=task["level"], body_format="text"
        )
        return None if taken else _why("\n".join(lines))


def _why(lines: str) -> str:
    for pattern, reason in REASONS:
        if found := pattern.search(lines):
            return reason.format(*found.groups())
    return OTHERWISE


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # whatever a plugin prints is no answer
    lock = threading.Lock()
    try:
        sender = Sender()
    except ImportError:
        sender = None

    def see_to(task: Task) -> None:
        try:
            problem = sender.problem(task) if sender else MISSING
        except Exception:  # of a plugin, whichever it is
            problem = OTHERWISE
        with lock:
            print(json.dumps({"id": task["id"], "problem": problem}), file=answers, flush=True)

    for line in sys.stdin.buffer:
        threading.Thread(target=see_to, args=(json.loads(line),), daemon=True).start()
    os._exit(0)  # those that hang are not waited for


if __name__ == "__main__":
    main()
