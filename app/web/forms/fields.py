"""Fields, validators and the strict reading of JSON bodies, of which the forms are made.

WTForms was made for form posts and takes JSON far too kindly: `"60"`, `60.9` and `true` would all pass for an
integer, and a missing boolean for false. So a JSON body is checked for exact types first, and only then run
through the same validators as the page's fields.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from typing import Any, ClassVar, Self

from wtforms import Field, Form, IntegerField, PasswordField, StringField
from wtforms.validators import Length, NumberRange, StopValidation, ValidationError

from app.domain.instruments import InvalidTicker, parse_ticker
from app.domain.texts import is_blank, trimmed

UUID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)


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


class ArrayField(ObjectField):
    """A JSON array, as it was given."""


class IdsField(ArrayField):
    """Ids of things, as a JSON array; of a form post those that were ticked."""

    def process_formdata(self, valuelist: list[str]) -> None:
        self.data = valuelist


class AmountField(Field):
    """A positive exact decimal: in JSON a decimal string, or an integer. Never a float."""

    data: Any
    FORM = re.compile(r"[0-9]{1,18}(\.[0-9]{1,9})?", re.ASCII)

    def process_formdata(self, valuelist: list[str]) -> None:
        if valuelist:
            self.data = valuelist[0]

    def pre_validate(self, form: Form) -> None:
        if self.data is None:
            return
        text = self.data if isinstance(self.data, str) else str(self.data) if abs(self.data) < 10**18 else ""
        if not self.FORM.fullmatch(text) or not Decimal(text):
            raise StopValidation("must be a positive decimal with up to 18 digits before the point and 9 after it")
        self.data = Decimal(text)


class ExactField(AmountField):
    """The same, but in JSON a number too, with all its digits: it never passes through a float."""

    def pre_validate(self, form: Form) -> None:
        if isinstance(self.data, Decimal):
            self.data = format(self.data, "f")
        super().pre_validate(form)


class Trimmed(StringField):
    """Text without the white space around it; only invisible characters are no text."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, filters=(lambda text: trimmed(text) if isinstance(text, str) else text,), **kwargs)


JSON_TYPES: Mapping[type[Field], tuple[tuple[type, ...], str]] = {
    StringField: ((str,), "a string"),
    IntegerField: ((int,), "an integer"),
    BooleanWord: ((bool,), "true or false"),
    ObjectField: ((dict,), "an object"),
    ArrayField: ((list,), "an array"),
    AmountField: ((str, int), "a decimal string"),
    ExactField: ((str, int, Decimal), "a number"),
}


def json_type(field: Field) -> tuple[tuple[type, ...], str]:
    """The exact Python types that a field takes from JSON, and their name for people."""
    kind = type(field)
    found = _json_types.get(kind)
    if found is None:
        found = _json_types[kind] = next(JSON_TYPES[each] for each in kind.__mro__ if each in JSON_TYPES)
    return found


_json_types: dict[type[Field], tuple[tuple[type, ...], str]] = {}


class StrictForm(Form):
    """A form that can be filled from a form post or, strictly, from a JSON object."""

    _fields: dict[str, Field]
    one_of_is_needed: ClassVar[bool] = False
    nullable: ClassVar[frozenset[str]] = frozenset()  # keys whose value may be absent: null is the same

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.refused: dict[str, list[str]] = {}
        self.from_a_page = True
        super().__init__(*args, **kwargs)

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Self:
        """Fill the fields from `body`: exact types, no unknown key. Call `validate()` next."""
        form = cls._blank()
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
            if type(value) not in wanted:
                form.refused[key] = [f"must be {name}, not {_json_name(value)}"]
                continue
            field.data = value
            for apply in field.filters:
                field.data = apply(field.data)
            field.raw_data = [value]
        return form

    @classmethod
    def _blank(cls) -> Self:
        """A form with nothing in it. Binding the fields anew takes longer than all else that is done with the form
        of an order, so the fields of one that was never filled are copied."""
        pristine = BLANK.get(cls) or BLANK.setdefault(cls, cls())
        form: Self = _shallow_copy(pristine)
        form.refused, form.form_errors = {}, []
        form._fields = {name: _shallow_copy(field) for name, field in form._fields.items()}
        form.__dict__ |= form._fields
        return form

    def validate(self, extra_validators: Any = None) -> bool:
        everything = self._fields
        if not self.from_a_page:  # what was not given and need not be has nothing that could be wrong
            self._fields = {
                name: field for name, field in everything.items() if field.raw_data or not _may_be_missing(field)
            }
        try:
            valid = super().validate(extra_validators)
        finally:
            self._fields = everything
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
        return bool(field.raw_data) and not (self.from_a_page and is_blank(str(field.raw_data[0])))


BLANK: dict[type[StrictForm], Any] = {}


def _may_be_missing(field: Field) -> bool:
    return not field.validators or isinstance(field.validators[0], IfGiven)


def _shallow_copy(thing: Any) -> Any:
    """`copy.copy`, in a third of the time; what a form puts into a field it puts there anew."""
    made = object.__new__(type(thing))
    made.__dict__ |= thing.__dict__
    return made


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
    """A ticker in its stored form; `*` stands for every symbol, where `allow_every`."""

    def __init__(self, *, allow_every: bool = True) -> None:
        self.allow_every = allow_every

    def __call__(self, form: Form, field: Field) -> None:
        try:
            field.data = parse_ticker(field.data or "", allow_every=self.allow_every)
        except InvalidTicker as error:
            raise StopValidation(str(error)) from error


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
        # A password is compared and never shown, so any characters will do.
        if self.min and is_blank(field.data) and not isinstance(field, PasswordField):
            raise ValidationError("must have a visible character")


class Between(NumberRange):
    """An integer from `lowest` to `highest`. NumberRange makes a float of it, which fails from 309 digits on."""

    def __init__(self, lowest: int, highest: int) -> None:
        super().__init__(lowest, highest, f"must be from {lowest} to {highest}")
        self.allowed = range(lowest, highest + 1)

    def __call__(self, form: Form, field: Field) -> None:
        # Where the field has errors, it was refused already, with a better reason.
        if not field.process_errors and field.data not in self.allowed:
            raise ValidationError(self.message)


class Ids:
    """Each is a UUID as it is shown, in letters of any case; they are lower-cased."""

    def __call__(self, form: Form, field: Field) -> None:
        if not all(type(one) is str and UUID.fullmatch(one) for one in field.data):
            raise ValidationError("must have ids, as they are shown, and nothing else")
        field.data = [one.lower() for one in field.data]


class Printable:
    """No line breaks, no control characters: it is shown in lists and logs."""

    def __call__(self, form: Form, field: Field) -> None:
        if not field.data.isprintable():
            raise ValidationError("must have printable characters only")


class SixDigits:
    """A code of an authenticator."""

    PATTERN = r"[0-9]{6}"

    def __call__(self, form: Form, field: Field) -> None:
        if not re.fullmatch(self.PATTERN, field.data or "", re.ASCII):
            raise ValidationError("must be six digits")


class OneOf:
    """One of the words of an enumeration, exactly as they are written."""

    def __init__(self, words: type[StrEnum]) -> None:
        self.words = [str(word) for word in words]

    def __call__(self, form: Form, field: Field) -> None:
        if field.data not in self.words:
            raise ValidationError(f"must be one of {', '.join(self.words)}")
