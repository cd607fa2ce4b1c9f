"""Why the desk says no. Nothing has been changed when one of these is raised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


class DeskError(Exception):
    """`code` is for programs, the message for people."""

    code = "refused"

    def __init__(self, detail: str, code: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.code = code or self.code


class Forbidden(DeskError):
    """The credential does not allow this."""

    code = "forbidden"


class NotFound(DeskError):
    """There is no such thing, or no longer."""

    code = "not_found"


class Conflict(DeskError):
    """The desk is in a state in which this cannot be done."""

    code = "conflict"


class Stale(DeskError):
    """What the caller saw has changed since."""

    code = "stale"


class Invalid(DeskError):
    """Values that cannot be used: `errors` maps each field to its messages."""

    code = "invalid"

    def __init__(self, errors: Mapping[str, Sequence[str]]) -> None:
        super().__init__("; ".join(f"{field}: {' '.join(messages)}" for field, messages in errors.items()))
        self.errors = {field: list(messages) for field, messages in errors.items()}
