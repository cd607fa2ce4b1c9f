"""Messages to people, by Apprise, from a process of its own (app/services/notifications/apprise_process.py).

Apprise takes 40 MB and half a second to load, speaks in a hundred ways of which any may hang or trickle, and knows
nothing of greenlets. A process apart can be given up at a deadline whatever it is doing, so nobody in a worker
ever waits for a receiver.
"""

from __future__ import annotations

import hashlib
import hmac
import itertools
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from app.domain.notifications import Message
from app.settings import SettingsError

PROGRAM = Path(__file__).with_name("apprise_process.py")
PATIENCE = 20.0  # seconds that a message may take, from the first byte to the last
STARTING = 15.0  # seconds more for the first message, while Apprise is loaded on a busy machine
LEAVING = 5.0
IDLE = 60.0  # seconds, after which nobody needs the process any more
# What the process gets of our environment: none of the desk's secrets.
PASSED_ON = {
    *("PATH", "PYTHONPATH", "HOME", "USER", "LANG", "LC_ALL", "TZ", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR"),
    *("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SYSTEMROOT"),
}
# The host, where there can be no doubt which part that is: a password may have been written with a slash in it.
HOST = re.compile(r"(?:[^@/?#]*@)?([A-Za-z0-9.-]+(?::\d+)?)(?:[/?#][^@]*)?")
# Elsewhere even the place of the host may hold a token.
HAS_A_HOST = {"json", "jsons", "xml", "xmls", "form", "forms", "mailto", "mailtos"}


class NotTold(Exception):
    """A message was not taken, or nobody knows; the text is why, with nothing secret in it."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where somebody is told. `name` is what may be shown of it."""

    name: str
    url: str = field(repr=False)

    def key(self, secret: str) -> str:
        """What it is known by in the database, from which nobody finds out what it is."""
        return hmac.new(secret.encode(), b"notify " + self.url.encode(), hashlib.sha256).hexdigest()[:32]


def addresses(urls: Sequence[str]) -> list[Address]:
    """Each with its place in NOTIFY_URLS and its kind, as in `1 slack` or `2 json://desk.example:8080`."""
    return [Address(f"{number} {_shown(url)}", url) for number, url in enumerate(urls, 1)]


def _shown(url: str) -> str:
    scheme = url.partition("://")[0].lower()
    host = HOST.fullmatch(url.partition("://")[2]) if scheme in HAS_A_HOST else None
    return f"{scheme}://{host[1]}" if host else scheme


def check(urls: Sequence[str]) -> None:
    """Raises SettingsError where there is no Apprise, or where it cannot read one of them."""
    if not urls:
        return
    if find_spec("apprise") is None:
        raise SettingsError("NOTIFY_URLS is set, but Apprise is not installed: install countersign[notify]")
    messenger = Messenger()
    try:
        for number, address in enumerate(addresses(urls), 1):
            try:
                messenger.check(address)
            except NotTold as problem:
                scheme = address.url.partition("://")[0].lower()
                raise SettingsError(f"NOTIFY_URLS: address {number} ({scheme}://…): {problem}") from None
    finally:
        messenger.close()


class Messenger:
    """Sends messages, from a process that is started when one is to be sent. For many threads."""

    def __init__(self, patience: float = PATIENCE) -> None:
        self._patience = patience
        self._lock = threading.Lock()
        self._child: _Child | None = None
        self._used = 0.0

    def tell(self, address: Address, message: Message) -> None:
        """Returns once it was taken. Raises NotTold, after PATIENCE seconds at the latest."""
        self._ask(address.url, title=message.title, body=message.body, level=message.level)

    def check(self, address: Address) -> None:
        """Raises NotTold where Apprise cannot read it."""
        self._ask(address.url)

    def rest(self) -> None:
        """Give the memory back, where nothing was sent for a while."""
        if self._child is not None and time.monotonic() - self._used > IDLE:
            self.close()

    def close(self) -> None:
        with self._lock:
            child, self._child = self._child, None
        if child is not None:
            child.retire()
            child.join(LEAVING)

    def _ask(self, url: str, **task: str) -> None:
        with self._lock:
            self._used = time.monotonic()
            if self._child is None or self._child.is_spent:
                if self._child is not None:
                    self._child.retire()
                self._child = _Child()
            child = self._child
        problem = child.ask({"url": url, **task}, self._patience)
        if problem is not None:
            raise NotTold(problem)


class _Child:
    """One such process, until something in it hangs. Then nobody new is given to it, and it ends with the last of
    those that it is still busy with."""

    def __init__(self) -> None:
        environment = {name: value for name, value in os.environ.items() if name.upper() in PASSED_ON}
        self._process = subprocess.Popen(
            # -P: the folder of the program is that of our modules, and none of Apprise's.
            [sys.executable, "-P", str(PROGRAM)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # a traceback may show an address
            env=environment,
        )
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._waiting: dict[int, Future[str | None]] = {}
        self._retired = False
        self._answered = False
        self.is_spent = False
        self._hearing = threading.Thread(target=self._hear, name="messenger", daemon=True)
        self._hearing.start()

    def ask(self, task: dict[str, Any], patience: float) -> str | None:
        answer: Future[str | None] = Future()
        with self._lock:
            number = next(self._numbers)
            self._waiting[number] = answer
            try:
                self._write({"id": number, **task})
            except OSError:
                answer.set_result(GONE)
        try:
            return answer.result(patience if self._answered else patience + STARTING)
        except TimeoutError:
            self.is_spent = True
            return f"no answer within {patience:g} seconds"
        finally:
            with self._lock:
                del self._waiting[number]
            if self.is_spent:
                self.retire()

    def retire(self) -> None:
        """End it once nobody waits for it."""
        with self._lock:
            self._retired = True
            if not self._waiting:
                self._process.kill()

    def join(self, seconds: float) -> None:
        """Wait for its end, so that it is nobody's dead child: `serve` is about to become another program."""
        self._hearing.join(seconds)

    def _write(self, task: dict[str, Any]) -> None:
        if self._process.stdin is None:
            raise BrokenPipeError
        self._process.stdin.write(json.dumps(task, ensure_ascii=False).encode() + b"\n")
        self._process.stdin.flush()

    def _hear(self) -> None:
        for line in self._process.stdout or ():
            said = json.loads(line)
            with self._lock:
                answer = self._waiting.get(said["id"])
            self._answered = True
            if answer is not None:
                answer.set_result(said["problem"])
        self.is_spent = True
        with self._lock:
            left = [answer for answer in self._waiting.values() if not answer.done()]
        for answer in left:
            answer.set_result(GONE)
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(OSError):
                if pipe is not None:
                    pipe.close()


GONE = "the process that sends ended in the middle"


def tell_at_once(them: Sequence[Address], message: Callable[[int], Message]) -> list[str | None]:
    """Tell all of them at the same time, the first one `message(1)`; for each why it was not told, or None."""

    def tell(place: int) -> None:
        try:
            messenger.tell(them[place], message(place + 1))
        except NotTold as problem:
            problems[place] = str(problem)

    messenger = Messenger()
    problems: list[str | None] = [None] * len(them)
    threads = [threading.Thread(target=tell, args=(place,), daemon=True) for place in range(len(them))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    messenger.close()
    return problems
