"""What is written to the log, by whom and how: one line for each thing, JSON for machines or words for people.

The standard library's loggers (ours, gunicorn's, warnings) and the lines of requests end here alike. Each has a
request id, none has a secret, and nothing that a stranger sent can make a second line.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import lru_cache
from secrets import token_hex
from typing import Any

import structlog
from structlog.stdlib import ProcessorFormatter
from structlog.typing import EventDict, Processor

NOBODY = "-"  # the request id of what belongs to no request
CHATTY = (
    "alembic",
    "app.db.pool",
    "asyncio",
    "httpcore",
    "httpx",
    "sqlalchemy",
    "urllib3",
)  # and tell what they send

request_id: ContextVar[str] = ContextVar("request_id", default=NOBODY)

# What hides a secret by what it looks like, wherever in a text it stands. Each takes time in proportion to the
# text, for a stranger may have written it.
PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    # postgresql://user:password@host: up to the last @, for a password may have one in it.
    (re.compile(r"(\b[a-z][a-z0-9+.-]{0,20}://[^\s:/@]{0,80}:)\S{1,200}@", re.IGNORECASE), r"\1[hidden]@"),
    # Authorization: Bearer ..., and what is left of it where the name is missing.
    (re.compile(r"\b(bearer|basic|digest)([\s:=]{1,3})[^\s'\",;]{3,}", re.IGNORECASE), r"\1\2[hidden]"),
    # password=..., "token": "...", csrf_token=..., APCA-API-SECRET-KEY: ...
    (
        re.compile(
            r"((?:passw(?:or)?d|secret|token|api[-_]?key|secret[-_]?key|key[-_]?id|authorization|cookie)"
            r"[\\\"']{0,3}\s?[:=]\s?[\\\"']{0,3})[^\s\\\"'&,;}]+",
            re.IGNORECASE,
        ),
        r"\1[hidden]",
    ),
    # What itsdangerous signed: the session's cookie, a CSRF token.
    (re.compile(r"(?<![\w.-])[\w-]{16,}\.[\w-]{5,8}\.[\w-]{27,}(?![\w-])"), "[hidden]"),
    # A token, mistyped too: its id may be known, and tells whose it was.
    (re.compile(r"(?<![\w-])([0-9a-f]{16}\.)[\w-]{8,}"), r"\1[hidden]"),
    # 256 bits alone, give or take a few; digests and ids of traces are of hexadecimal digits, and may be read.
    (re.compile(r"(?<![\w-])(?![0-9a-f-]+(?![\w-]))[\w-]{40,}"), "[hidden]"),
)
NEVER = re.compile(r"passw|secret|token|authorization|cookie|csrf|api.?key|dsn", re.IGNORECASE)  # names of values
OUR_OWN = re.compile(r"-|[0-9a-f]{16}")  # the request ids that we make
# Ours are 16 hexadecimal digits for a request, and one of these words with 12 of them for a command or a job.
OWN_PREFIXES = ("ask", "cli", "dispatch", "follow", "keeper", "notify", "system", "uses")
LIKE_OURS = re.compile(
    rf"[0-9a-f]{{16}}|({'|'.join(OWN_PREFIXES)})[._-].*|[a-z]+-[0-9a-f]{{12}}", re.ASCII | re.IGNORECASE
)
SHORTEST = 8  # characters; what is shorter would be found in ordinary words
_known: set[str] = set()
_of_requests: tuple[int, list[Processor]] | None = None  # from which level on, and what makes a line of one


# Secrets


def hide(secrets: Iterable[str | None]) -> None:
    """These very words are never written from now on, whatever they stand in."""
    _known.update(secret for secret in secrets if secret and len(secret) >= SHORTEST)
    _hidden_short.cache_clear()


def hidden(text: str) -> str:
    """`text` without what is, or looks like, a secret."""
    if OUR_OWN.fullmatch(text):
        return text
    return _hidden_short(text) if len(text) <= 200 else _hidden(text)


def _hidden(text: str) -> str:
    for secret in _known:
        if secret in text:
            text = text.replace(secret, "[hidden]")
    for pattern, instead in PATTERNS:
        text = pattern.sub(instead, text)
    return text


_hidden_short = lru_cache(maxsize=2048)(_hidden)  # paths and names come again and again


# The shape of a line


def _complete(logger: Any, method: str, line: EventDict) -> EventDict:
    line["request_id"] = hidden(request_id.get())  # which a stranger may have chosen
    line["pid"] = os.getpid()
    line["time"] = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    return line


def _harmless(logger: Any, method: str, line: EventDict) -> EventDict:
    """Hide secrets; what is neither a text nor a number becomes one."""
    for name, value in line.items():
        if value is None or isinstance(value, int | float):
            continue
        if _is_secret(name):
            line[name] = "[hidden]"
        else:
            line[name] = hidden(value if isinstance(value, str) else repr(value))
    return line


@lru_cache(maxsize=256)
def _is_secret(name: str) -> bool:
    return NEVER.search(name) is not None


def _visible(text: str) -> str:
    """With nothing in it that moves the cursor, ends the line or hides what follows."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "surrogatepass").decode() for char in text
    )


def _on_one_line(logger: Any, method: str, line: EventDict) -> EventDict:
    """For people: a traceback keeps its lines, each behind a bar, so that none passes for one of the log."""
    for name, value in line.items():
        if isinstance(value, str):
            if name == "exception":
                line[name] = "\n".join(f"    | {_visible(part)}" for part in value.splitlines())
            else:
                line[name] = _visible(value)
    return line


_encode = json.JSONEncoder(separators=(",", ":"), default=repr).encode


def _as_json(logger: Any, method: str, line: EventDict) -> str:
    return _encode(line)


def _last_steps(form: str, *, colors: bool) -> list[Processor]:
    if form == "json":
        return [_complete, _as_json]
    words = structlog.dev.ConsoleRenderer(colors=colors, sort_keys=False, timestamp_key="time", pad_event_to=0)
    return [_complete, _on_one_line, words]


# Setting it up


class _Handler(logging.Handler):
    """To stderr, whatever that is by now; a line is one write, so that processes do not mix theirs."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            _write(self.format(record))
        except Exception:  # what cannot be logged must not become an error of what was done
            self.handleError(record)


def _write(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def configure(*, form: str | None = None, level: str = "info", for_people: bool = False) -> None:
    """From now on everything that this process logs goes to stderr in this form.

    Without a `form` it is for people where there are any: on the trial database (`for_people`), or at a terminal.
    """
    global _of_requests  # noqa: PLW0603 - a process has one log
    at_terminal = sys.stderr.isatty()
    form = form or ("console" if for_people or at_terminal else "json")
    last_steps = _last_steps(form, colors=at_terminal)
    lowest = getattr(logging, level.upper())
    handler = _Handler()
    handler.setFormatter(
        ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_log_level, structlog.stdlib.add_logger_name],
            processors=[
                ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,  # the traceback as text: no values of variables
                _harmless,
                *last_steps,
            ],
        )
    )
    for former in [one for one in logging.root.handlers if isinstance(one, _Handler)]:
        logging.root.removeHandler(former)
    logging.root.addHandler(handler)
    logging.root.setLevel(lowest)
    for name in CHATTY:
        logging.getLogger(name).setLevel(max(lowest, logging.WARNING))
    _of_requests = lowest, last_steps


def request(level: str, path: str, actor: str | None, address: str | None, **values: Any) -> None:
    """The line of a request that was answered; nothing before `configure`. Its `values` are none that a stranger
    sent: to look through them for secrets would take as long as all the rest.

    It goes through the steps by itself, for every order has such a line: a logger in between takes as long again.
    """
    if _of_requests is None or getattr(logging, level.upper()) < _of_requests[0]:
        return
    line: Any = {
        "event": "request",
        "level": level,
        "logger": "access",
        "path": hidden(path),
        "actor": actor and hidden(actor),
        "address": address and hidden(address),
        **values,
    }
    for step in _of_requests[1]:
        line = step(None, level, line)
    _write(line)


def _of_process(kind: type[BaseException], error: BaseException, where: Any) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, where)
    else:
        logging.getLogger(__name__).critical("the process ends by an exception", exc_info=(kind, error, where))


def _of_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is not None and not isinstance(args.exc_value, SystemExit):
        what = (args.exc_type, args.exc_value, args.exc_traceback)
        name = args.thread.name if args.thread else "?"
        logging.getLogger(__name__).error("the thread %s ended by an exception", name, exc_info=what)


def take_over() -> None:
    """In a server, where nobody is at the terminal: warnings, and what ends the process or a thread, are lines of
    the log too."""
    logging.captureWarnings(True)
    sys.excepthook = _of_process
    threading.excepthook = _of_thread


def of_greenlets(hub: Any) -> None:
    """What ends a greenlet is a line of the log too; by itself gevent prints a traceback."""

    def print_exception(context: Any, kind: Any, error: Any, where: Any) -> None:
        logging.getLogger(__name__).error("a greenlet ended by an exception", exc_info=(kind, error, where))

    hub.print_exception = print_exception


def own_request_id(who: str | None = None) -> str:
    """A new request id: of a request, or of the command or background job `who`."""
    return token_hex(8) if who is None else f"{who}-{token_hex(6)}"


def request_id_of_client(given: str) -> str:
    """The request id that a client chose, marked where it could pass for one of ours."""
    return f"client-{given}" if LIKE_OURS.fullmatch(given) else given


@contextmanager
def round_of(who: str) -> Iterator[str]:
    """What is done in here belongs together: a request id for what nobody asked for."""
    made = own_request_id(who)
    token = request_id.set(made)
    try:
        yield made
    finally:
        request_id.reset(token)
