"""Reading requests strictly, and writing answers exactly."""

from __future__ import annotations

import base64
import binascii
import uuid
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from datetime import datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeVar

from flask import Request, Response, request
from gevent import monkey
from gunicorn.http.errors import ParseException  # type: ignore[import-untyped]

from app.db.gevent_wait import Within
from app.domain.instruments import InvalidTicker, parse_ticker
from app.domain.texts import trimmed
from app.lib import strict_json
from app.lib.timestamps import rfc3339
from app.services.errors import Invalid, NotFound
from app.web.forms.fields import StrictForm
from app.web.forms.trading import MAX_REASON_LENGTH, HaltForm
from app.web.http.errors import Refusal

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment
    from werkzeug.datastructures import Headers

DEFAULT_LIMIT = 50
MAX_LIMIT = 200
MAX_WORD = 100
BODY_WITHIN = 10  # seconds, for all of it

FormType = TypeVar("FormType", bound=StrictForm)


def answer(data: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON answer; decimals keep every digit."""
    return _written(strict_json.dumps(data), status, headers)


def answer_texts(data: Any, status: int, headers: Mapping[str, str]) -> Response:
    """The same where all is texts, as in an order."""
    return _written(strict_json.dumps_texts(data), status, headers)


def answer_unless_known(text: str | bytes, tag: str, **more: str) -> Response:
    """JSON that is written already, with its ETag, or 304 where If-None-Match has it. No other condition is for
    reading."""
    headers = {"ETag": f'"{tag}"', **more}
    if request.if_none_match.contains_weak(tag):
        return Response(status=HTTPStatus.NOT_MODIFIED, headers=headers)
    return _written(text, HTTPStatus.OK, headers)


def answer_written(text: str, headers: Mapping[str, str] | None = None) -> Response:
    """The same of what is JSON already."""
    return _written(text, HTTPStatus.OK, headers)


class Written(Response):
    """An answer whose headers are as they go out: their length is known, and a Location is an address already. To
    find that out anew is a fifteenth of what an order takes."""

    def get_wsgi_headers(self, environ: WSGIEnvironment) -> Headers:
        return self.headers


def _written(text: str | bytes, status: int, headers: Mapping[str, str] | None) -> Response:
    return Written(text, status, dict(headers or {}), content_type="application/json")


def read_form(kind: type[FormType], *, may_be_missing: bool = False) -> FormType:
    """The body as a valid form. 415, 400 or 422 otherwise, naming the field."""
    asked: Request = request._get_current_object()  # type: ignore[attr-defined]
    if may_be_missing and not (asked.content_type or asked.content_length or "Transfer-Encoding" in asked.headers):
        return kind.from_json({})
    if asked.mimetype != "application/json":
        raise Refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "send JSON, with Content-Type: application/json")
    try:
        body = strict_json.loads(whole_body())
    except strict_json.OutOfRange as error:
        if not error.path:
            raise Refusal(HTTPStatus.BAD_REQUEST, str(error), "malformed_json") from error
        raise Invalid({error.path: ["is an integer with too many digits"]}) from error
    except strict_json.Malformed as error:
        raise Refusal(HTTPStatus.BAD_REQUEST, str(error), "malformed_json") from error
    if not isinstance(body, dict):
        raise Refusal(HTTPStatus.BAD_REQUEST, "the body must be a JSON object", "malformed_json")
    form = kind.from_json(body)
    if not form.validate():
        raise Invalid(form.messages())
    return form


def read_halt() -> HaltForm | None:
    """The body as a halt, which is never refused; None where it asks for something else."""
    return HaltForm.from_members(strict_json.loads_members(whole_body()))


class _TooSlow(Exception):
    """Not an OSError: that would be a client who has gone."""


def whole_body() -> bytes:
    """All of the body, which is kept for whoever asks again: a form is then read from memory.

    A client that stalls holds a connection of the server, so it gets so many seconds in all. A server that ends
    the input by itself makes a body that was cut short look whole.
    """
    asked: Request = request._get_current_object()  # type: ignore[attr-defined]
    # Without a server of greenlets nobody would ring the alarm.
    alarm = Within(BODY_WITHIN, _TooSlow()) if monkey.is_module_patched("socket") else nullcontext()
    try:
        with alarm:
            body = asked.get_data()
            if asked.content_length is None:
                asked.stream.read(1)  # 413 where a chunked body goes on beyond the limit
    except _TooSlow:
        detail = f"the body did not arrive within {BODY_WITHIN} seconds: nothing was changed"
        raise Refusal(HTTPStatus.REQUEST_TIMEOUT, detail) from None
    except ParseException as error:
        raise Refusal(HTTPStatus.BAD_REQUEST, "the chunks of the body cannot be told apart") from error
    if asked.content_length not in (None, len(body)):
        raise Refusal(HTTPStatus.BAD_REQUEST, "the body is shorter than its Content-Length")
    return body


def read_limit() -> int:
    """The `limit` of a list: 1 to 200, 50 when it is not given."""
    text = request.args.get("limit", str(DEFAULT_LIMIT))
    if not (text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= MAX_LIMIT):
        raise Invalid({"limit": [f"must be a whole number from 1 to {MAX_LIMIT}"]})
    return int(text)


def page_of(items: list[dict[str, Any]], limit: int, cursor: str | None) -> dict[str, Any]:
    """The list shape; `items` has one more than `limit` where there is a next page, at `cursor`."""
    return {"items": items[:limit], "next": cursor if len(items) > limit else None}


def write_cursor(*place: object) -> str:
    """Where a list goes on, opaque to the client."""
    return base64.urlsafe_b64encode("|".join(map(str, place)).encode()).decode().rstrip("=")


def _read_cursor(parts: int) -> list[str] | None:
    text = request.args.get("cursor")
    if text is None:
        return None
    try:
        place = base64.urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4)).decode().split("|")
    except (ValueError, binascii.Error):
        raise _bad_cursor() from None
    if len(place) != parts or write_cursor(*place) != text:
        raise _bad_cursor()
    return place


def read_instant_cursor() -> tuple[datetime, uuid.UUID] | None:
    """The cursor of a list that is ordered by an instant and an id."""
    place = _read_cursor(2)
    if place is None:
        return None
    try:
        instant, row_id = datetime.fromisoformat(place[0]), uuid.UUID(place[1])
        if rfc3339(instant) != place[0]:
            raise ValueError("Python reads more kinds of times than PostgreSQL does")
    except (ValueError, OverflowError):
        raise _bad_cursor() from None
    return instant, row_id


def read_number_cursor() -> int | None:
    """The cursor of a list that is ordered by a number."""
    place = _read_cursor(1)
    if place is None:
        return None
    if not (place[0].isascii() and place[0].isdigit() and len(place[0]) <= 18):
        raise _bad_cursor()
    return int(place[0])


def read_word(name: str, longest: int = MAX_WORD) -> str | None:
    """A word of the query string that is compared with what is stored."""
    text = request.args.get(name)
    if text is not None and (len(text) > longest or "\0" in text):
        raise Invalid({name: [f"must have at most {longest} characters, none of them U+0000"]})
    return text


def read_reason() -> str | None:
    """The optional `reason` of a request without a body."""
    given = request.args.get("reason", "")
    text = trimmed(given)
    if len(text) > MAX_REASON_LENGTH or "\0" in given:
        raise Invalid({"reason": [f"must have at most {MAX_REASON_LENGTH} characters, none of them U+0000"]})
    return text or None


def read_ticker() -> str | None:
    """The `ticker` that a list is filtered by."""
    text = request.args.get("ticker")
    if text is None:
        return None
    try:
        return parse_ticker(text, allow_every=True)
    except InvalidTicker as error:
        raise Invalid({"ticker": [str(error)]}) from error


def read_id(text: str, no_such: str) -> uuid.UUID:
    """An id in its canonical form; anything else is the id of nothing."""
    try:
        wanted = uuid.UUID(text)
    except ValueError:
        raise NotFound(no_such) from None
    if str(wanted) != text.lower():
        raise NotFound(no_such)
    return wanted


def read_order() -> uuid.UUID | None:
    """The `order` that a list is filtered by."""
    text = request.args.get("order")
    if text is None:
        return None
    try:
        return read_id(text, "")
    except NotFound:
        raise Invalid({"order": ["must be the id of an order, a UUID with hyphens"]}) from None


def read_choice(name: str, words: Sequence[str]) -> str | None:
    """One of `words` in the query string: a misspelt filter must not read as an empty list."""
    return next(iter(read_choices(name, words)), None)


def read_choices(name: str, words: Sequence[str]) -> list[str]:
    """Those of `words` that the query string gives."""
    texts = request.args.getlist(name)
    if any(text not in words for text in texts):
        raise Invalid({name: [f"must be one of {', '.join(filter(None, words))}"]})
    return texts


def read_instant(name: str) -> datetime | None:
    """An instant of the query string, with its offset from UTC."""
    text = request.args.get(name)
    if text is None:
        return None
    try:
        instant = datetime.fromisoformat(text.replace(" ", "+"))  # a plus that was not escaped arrives as a space
        if instant.tzinfo is None or not 1970 <= instant.year < 9998:
            raise ValueError
    except ValueError:
        raise Invalid({name: ["must be an instant such as 2026-03-02T14:30:00Z"]}) from None
    return instant


def _bad_cursor() -> Invalid:
    return Invalid({"cursor": ["is not one that this list gave out"]})
