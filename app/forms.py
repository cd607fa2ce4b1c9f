"""The forms, and the strict reading of JSON bodies into them. One set of rules for the page and for JSON.

WTForms was made for form posts and takes JSON far too kindly: `"60"`, `60.9` and `true` would all pass for an
integer, and a missing boolean for false. So a JSON body is checked for exact types first, and only then run
through the same validators as the page's fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from wtforms import Field, Form, IntegerField, PasswordField, StringField
from wtforms.validators import Length, NumberRange, StopValidation, ValidationError

from app.domain.lifecycle import MAX_LOCKOUT_MINUTES, MIN_LOCKOUT_MINUTES, LockoutType
from app.domain.risk import (
    MAX_APPROVAL_TIMEOUT_MINUTES,
    MIN_APPROVAL_TIMEOUT_MINUTES,
    TradingMode,
)
from app.domain.symbols import normalize_ticker

MAX_REASON_LENGTH = 500


class BooleanWord(Field):
    """true or false. In a form post the words; missing is None and means *leave as it is*, never false."""

    def process_formdata(self, valuelist: list[str]) -> None:
        if valuelist:
            if valuelist[0] not in ("true", "false"):
                raise ValueError("must be true or false")
            self.data = valuelist[0] == "true"


class WholeNumber(IntegerField):
    """An integer; a form post gives it in ASCII digits, and nothing that merely resembles them."""

    def process_formdata(self, valuelist: list[str]) -> None:
        if valuelist:
            digits = valuelist[0].strip()
            if not (digits.isascii() and digits.removeprefix("-").isdigit() and len(digits) <= 12):
                self.data = None
                raise ValueError("must be a whole number")
            self.data = int(digits)


class ObjectField(Field):
    """A JSON object, as it was given. It cannot come from a form post."""

    def process_formdata(self, valuelist: list[str]) -> None:
        if valuelist:
            raise ValueError("must be a JSON object")


class Trimmed(StringField):
    """Text without the white space around it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, filters=(lambda text: text.strip() if isinstance(text, str) else text,), **kwargs)


JSON_TYPES: Mapping[type[Field], tuple[type, str]] = {
    StringField: (str, "a string"),
    IntegerField: (int, "an integer"),
    BooleanWord: (bool, "true or false"),
    ObjectField: (dict, "an object"),
}


def json_type(field: Field) -> tuple[type, str]:
    """The exact Python type that a field takes from JSON, and its name for people."""
    return next(JSON_TYPES[kind] for kind in type(field).__mro__ if kind in JSON_TYPES)


class StrictForm(Form):
    """A form that can be filled from a form post or, strictly, from a JSON object."""

    one_of_is_needed: ClassVar[bool] = False
    nullable: ClassVar[frozenset[str]] = frozenset()  # keys whose value may be absent: null is the same

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.refused: dict[str, list[str]] = {}
        self.from_a_page = True
        super().__init__(*args, **kwargs)

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Self:
        """Fill the fields from `body`: exact types, no unknown key. Call `validate()` next."""
        form = cls()
        form.from_a_page = False
        by_key = {field.name: field for field in form}
        for key, value in body.items():
            field = by_key.get(key)
            if field is None:
                form.refused[key] = ["is not a known key"]
                continue
            if value is None and field.name in form.nullable:
                continue
            wanted, name = json_type(field)
            if type(value) is not wanted:
                form.refused[key] = [f"must be {name}, not {_json_name(value)}"]
                continue
            field.data = value
            for apply in field.filters:
                field.data = apply(field.data)
            field.raw_data = [value]
        return form

    def validate(self, extra_validators: Any = None) -> bool:
        valid = super().validate(extra_validators)
        if self.one_of_is_needed and not self.refused and not self.given():
            self.refused["body"] = [f"needs at least one of {', '.join(field.name for field in self)}"]
        return valid and not self.refused

    def given(self) -> dict[str, Any]:
        """The values that were given, by key; missing ones are not there."""
        return {field.name: field.data for field in self if self.gives(field)}

    def messages(self) -> dict[str, list[str]]:
        """Every error by key, those of the strict reading first; "body" stands for the body as a whole."""
        found = {field.name: list(field.errors) for field in self if field.errors}
        return found | self.refused

    def gives(self, field: Field) -> bool:
        """Whether there was a value for this field. A blank input on a page is none."""
        return bool(field.raw_data) and not (self.from_a_page and not str(field.raw_data[0]).strip())


def _json_name(value: Any) -> str:
    for kind, name in ((type(None), "null"), (bool, "a boolean"), (str, "a string"), (dict, "an object")):
        if isinstance(value, kind):
            return name
    return "an array" if isinstance(value, list) else "an integer" if isinstance(value, int) else "a fraction"


# Validators


class Required:
    """Stops with "is required" where nothing was given."""

    field_flags: ClassVar[Mapping[str, bool]] = {"required": True}

    def __call__(self, form: StrictForm, field: Field) -> None:
        if not form.gives(field) or field.data == "":
            raise StopValidation("is required")


class IfGiven:
    """What follows holds only where something was given."""

    def __call__(self, form: StrictForm, field: Field) -> None:
        if not form.gives(field):
            field.errors = []
            raise StopValidation


class Ticker:
    """Normalises to upper case; `*` stands for every symbol."""

    def __call__(self, form: Form, field: Field) -> None:
        ticker = normalize_ticker(field.data or "", allow_every=True)
        if ticker is None:
            raise StopValidation(
                "must be a symbol such as AAPL, BRK.B or BTC/USD of at most 20 characters, or * for every symbol"
            )
        field.data = ticker


class Text(Length):
    def __init__(self, lowest: int, highest: int) -> None:
        super().__init__(lowest, highest, f"must have {lowest} to {highest} characters")

    def __call__(self, form: Form, field: Field) -> None:
        super().__call__(form, field)
        # A form post can hold what the strict JSON reader has refused already.
        if "\0" in field.data or (
            not field.data.isprintable() and any("\ud800" <= character <= "\udfff" for character in field.data)
        ):
            raise ValidationError("holds a character that cannot be stored")


class Between(NumberRange):
    def __init__(self, lowest: int, highest: int) -> None:
        super().__init__(lowest, highest, f"must be from {lowest} to {highest}")

    def __call__(self, form: Form, field: Field) -> None:
        if not field.process_errors:  # it has been refused already, with a better reason
            super().__call__(form, field)


class OneOf:
    """One of the words of an enumeration, exactly as they are written."""

    def __init__(self, words: type[TradingMode] | type[LockoutType]) -> None:
        self.words = [str(word) for word in words]

    def __call__(self, form: Form, field: Field) -> None:
        if field.data not in self.words:
            raise ValidationError(f"must be one of {', '.join(self.words)}")


# Forms


class SignInForm(StrictForm):
    name = Trimmed("Name", [Required(), Text(1, 64)])
    password = PasswordField("Password", [Required(), Text(1, 256)])


class LockoutForm(StrictForm):
    ticker = Trimmed("Ticker", [Required(), Ticker()])
    reason = Trimmed("Reason", [Required(), Text(1, MAX_REASON_LENGTH)])
    duration_minutes = WholeNumber(
        "Duration (minutes)", [Required(), Between(MIN_LOCKOUT_MINUTES, MAX_LOCKOUT_MINUTES)], default=60
    )
    lockout_type = StringField("Type", [IfGiven(), OneOf(LockoutType)])

    def lockout(self) -> dict[str, Any]:
        """What `desk.lockouts.create` takes; a lockout is manual unless it says otherwise."""
        values = {"lockout_type": LockoutType.MANUAL} | self.given()
        return values | {"lockout_type": LockoutType(values["lockout_type"])}


class ExtendLockoutForm(StrictForm):
    extend_minutes = WholeNumber(
        "Extend by (minutes)", [Required(), Between(MIN_LOCKOUT_MINUTES, MAX_LOCKOUT_MINUTES)]
    )


class ApprovalConfigForm(StrictForm):
    one_of_is_needed = True
    auto_approve_paper = BooleanWord("Auto-approve paper orders")
    require_approval_for_live = BooleanWord("Require approval for live orders")
    approval_timeout_minutes = WholeNumber(
        "Approval timeout (minutes)",
        [IfGiven(), Between(MIN_APPROVAL_TIMEOUT_MINUTES, MAX_APPROVAL_TIMEOUT_MINUTES)],
    )


class SignalLayersForm(StrictForm):
    one_of_is_needed = True
    macro = BooleanWord("Macro Signal Layer")
    competitive = BooleanWord("Competitive Signal Layer")


class ModeForm(StrictForm):
    nullable = frozenset({"from", "reason"})
    trading_mode = StringField("Trading mode", [Required(), OneOf(TradingMode)])
    leaving = StringField("From", [IfGiven(), OneOf(TradingMode)], name="from")
    reason = Trimmed("Reason", [IfGiven(), Text(1, MAX_REASON_LENGTH)])
    cancel_open_orders = BooleanWord("Cancel open orders at the venue")

    def validate(self, extra_validators: Any = None) -> bool:
        valid = super().validate(extra_validators)
        if self.trading_mode.data != TradingMode.DISABLED or self.trading_mode.errors:
            return valid
        # A halt needs nothing else, so it is not refused over the words that come along.
        if self.leaving.errors:
            self.leaving.data, self.leaving.errors = None, ()
        if self.reason.errors:
            self.reason.data, self.reason.errors = self.reason.data[:MAX_REASON_LENGTH] or None, ()
        return not self.messages()


class ReplaceConfigForm(StrictForm):
    config = ObjectField("Configuration", [Required()])
