"""Why the desk says no. Nothing has been changed when one of these is raised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from app.domain.gate import Reason


class DeskError(Exception):
    """`code` is for programs, the message for people; `more` is what a program may want to know besides."""

    code = "refused"
    more: Mapping[str, Any] = MappingProxyType({})

    def __init__(self, detail: str, code: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.code = code or self.code


class Forbidden(DeskError):
    """The credential does not allow this."""

    code = "forbidden"


class ConfirmationRequired(Forbidden):
    """The person has to give the password again, and the code of the second factor where there is one."""

    code = "confirmation_required"

    def __init__(self) -> None:
        super().__init__("confirm that it is you: you last gave your password more than ten minutes ago")


class NotFound(DeskError):
    """There is no such thing, or no longer."""

    code = "not_found"


class Conflict(DeskError):
    """The desk is in a state in which this cannot be done."""

    code = "conflict"


class Decided(Conflict):
    """Somebody, or the deadline, was quicker: `more` has the order as it is, with who and when."""

    code = "already_decided"

    def __init__(self, order: Mapping[str, Any]) -> None:
        who = "its deadline" if order["status"] == "expired" else order["decided_by"]
        super().__init__(f"the order is {order['status']} already, by {who} at {order['decided_at']}")
        self.more = {"decided_by": order["decided_by"], "decided_at": order["decided_at"], "order": order}


class Blocked(Conflict):
    """The gate does not let an order pass that waits; it goes on waiting. `more` has all the reasons."""

    def __init__(self, reasons: Sequence[Reason]) -> None:
        super().__init__("; ".join(reason.detail for reason in reasons), reasons[0].code.value)
        self.more = {"reasons": [{"code": reason.code.value, "detail": reason.detail} for reason in reasons]}


class TooManyTries(DeskError):
    """Wait `retry_after` seconds: what was tried was not looked at."""

    code = "too_many_tries"

    def __init__(self, retry_after: int, what: str = "failed tries") -> None:
        minutes = -(-retry_after // 60)
        wait = f"{minutes} minute{'s'[: minutes > 1]}" if minutes <= 120 else f"{-(-minutes // 60)} hours"
        super().__init__(f"too many {what}: wait {wait} and try again")
        self.retry_after = retry_after


class Stale(DeskError):
    """What the caller saw has changed since."""

    code = "stale"


class Invalid(DeskError):
    """Values that cannot be used: `errors` maps each field to its messages."""

    code = "invalid"

    def __init__(self, errors: Mapping[str, Sequence[str]]) -> None:
        super().__init__("; ".join(f"{field}: {' '.join(messages)}" for field, messages in errors.items()))
        self.errors = {field: list(messages) for field, messages in errors.items()}
