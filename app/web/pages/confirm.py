"""What plain forms have in common: reading them, asking once more, and going back with what came of it."""

from __future__ import annotations

import secrets
from http import HTTPStatus
from typing import Any, TypeVar

from flask import flash, redirect, render_template, request, session, url_for

from app.services.errors import DeskError, Invalid
from app.web.forms.fields import StrictForm

FormType = TypeVar("FormType", bound=StrictForm)


def read(kind: type[FormType]) -> FormType:
    """The form that was sent. Raises DeskError, in words for whoever filled it in."""
    form = kind(request.form)
    if not form.validate():
        labels = {field.name: field.label.text for field in form}
        raise DeskError(in_words(form.messages(), labels), "invalid")
    return form


def in_words(errors: dict[str, list[str]], labels: dict[str, str]) -> str:
    return "; ".join(f"{labels.get(name, name)} {' '.join(said)}" for name, said in errors.items())


YOUR_PASSWORD = "current_password"  # noqa: S105 - the name of a field: the password of who is signed in, again
USED = "used"  # in the session: forms that have shown what is shown once
MOST_USED = 10


def form_id() -> str:
    """Of a form whose answer shows a secret, so that to load that answer anew does not make another one."""
    return secrets.token_urlsafe(6)


def is_used() -> bool:
    """Whether this browser has had the answer to this form."""
    return request.form.get("form_id", "") in session.get(USED, [])


def use() -> None:
    session[USED] = [*session.get(USED, []), request.form.get("form_id", form_id())][-MOST_USED:]


LABELS = {"totp_code": "The code", "new_password": "The new password"}


def sentence(error: DeskError, **labels: str) -> str:
    """What the desk says, as a sentence; `labels` are what fields are called where that differs."""
    said = error.detail
    if isinstance(error, Invalid):
        said = in_words(error.errors, {name: (LABELS | labels).get(name, f"The {name}") for name in error.errors})
    return f"{said[:1].upper()}{said[1:]}"


def confirmed() -> bool:
    return request.form.get("confirmed") == "yes"


def confirm(title: str, explanation: str, submit_label: str, **more: Any) -> str:
    """The question that a dialog would ask, as a page; nothing has been changed yet."""
    kept = ("csrf_token", "confirmed", "reason", "confirm_word", "totp_code", "password", YOUR_PASSWORD)
    fields = {name: value for name, value in request.form.items() if name not in kept}
    return render_template(
        "confirm.html",
        title=title,
        text=explanation,
        action=request.path,
        fields=fields | {"confirmed": "yes"},
        submit_label=submit_label,
        need_reason=more.get("need_reason", False),
        need_word=more.get("need_word"),
        need_code=more.get("need_code", False),
        need_password=more.get("need_password", False),
        need_first_password=more.get("need_first_password", False),
        details=more.get("details", ()),
        grave=more.get("grave", False),
        back=more.get("back", "/trading"),
        reason=request.form.get("reason", ""),
        error=more.get("error"),
        venue=more.get("venue"),
    )


def back(page: str, category: str, message: str) -> Any:
    """To `page`, an endpoint, which says `message`."""
    flash(message, category)
    return redirect(url_for(page), HTTPStatus.SEE_OTHER)
