"""The forms: one set of rules for the page and for JSON."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Self

from wtforms import PasswordField, StringField

from app.domain.gate import OrderType, Side, SignalLayer, TimeInForce
from app.domain.order_status import MAX_LOCKOUT_MINUTES, MIN_LOCKOUT_MINUTES, LockoutType
from app.domain.risk_config import MAX_APPROVAL_TIMEOUT_MINUTES, MIN_APPROVAL_TIMEOUT_MINUTES, TradingMode
from app.domain.roles import Role
from app.domain.texts import is_blank
from app.web.forms.fields import (
    AmountField,
    ArrayField,
    Between,
    BooleanWord,
    Ids,
    IdsField,
    IfGiven,
    ObjectField,
    OneOf,
    Printable,
    Required,
    SixDigits,
    StrictForm,
    Text,
    Ticker,
    Trimmed,
    WholeNumber,
)

MAX_REASON_LENGTH = 500
MAX_CLIENT_ORDER_ID_LENGTH = 128
MAX_STRATEGY_LENGTH = 200
MAX_RATIONALE_LENGTH = 4000
MOST_DECISIONS = 200


class Choice(StrEnum):
    """What a person makes of an order that waits."""

    APPROVE = "approve"
    REJECT = "reject"


class SignInForm(StrictForm):
    name = Trimmed("Name", [Required(), Text(1, 64)])
    password = PasswordField("Password", [Required(), Text(1, 256)])


class CodeForm(StrictForm):
    """A code of the authenticator, or where the page says so a recovery code; people write them in groups."""

    code = Trimmed("Code", [Required(), Text(1, 40)])


class ConfirmForm(CodeForm):
    """The first code of an authenticator, with the secret that it was given."""

    secret = StringField("Secret", [IfGiven(), Text(1, 64)])


class PersonForm(StrictForm):
    name = Trimmed("Name", [Required(), Text(1, 64)])
    role = StringField("Role", [Required(), OneOf(Role)])
    password = PasswordField("Password", [IfGiven(), Text(1, 256)])
    totp_code = Trimmed("Code of your authenticator", [IfGiven(), Text(1, 40)])


class RoleForm(StrictForm):
    role = StringField("Role", [Required(), OneOf(Role)])


class TokenForm(StrictForm):
    name = Trimmed("Account", [Required(), Text(1, 64)])
    role = StringField("Role", [Required(), OneOf(Role)])
    owner = Trimmed("Owner", [IfGiven(), Text(1, 64)])
    allow_live = BooleanWord("May go live")
    totp_code = Trimmed("Code of your authenticator", [IfGiven(), Text(1, 40)])


class OwnerForm(StrictForm):
    owner = Trimmed("Owner", [Required(), Text(1, 64)])


class PasswordForm(StrictForm):
    """Of whoever is signed in, typed once more."""

    password = PasswordField("Password", [Required(), Text(1, 256)])


class ChangePasswordForm(PasswordForm):
    new_password = PasswordField("New password", [Required(), Text(1, 256)])
    again = PasswordField("New password again", [Required(), Text(1, 256)])

    def validate(self, extra_validators: Any = None) -> bool:
        valid = super().validate(extra_validators)
        if valid and self.again.data != self.new_password.data:
            self.refused["again"] = ["must be the same as the new one"]
        return valid and not self.refused


class TurnOffForm(PasswordForm, CodeForm):
    """Both."""


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


class _ModeFields(StrictForm):
    nullable = frozenset({"from", "reason", "totp_code"})
    trading_mode = StringField("Trading mode", [Required(), OneOf(TradingMode)])
    leaving = StringField("From", [IfGiven(), OneOf(TradingMode)], name="from")
    reason = Trimmed("Reason", [IfGiven(), Text(1, MAX_REASON_LENGTH)])
    cancel_open_orders = BooleanWord("Cancel open orders at the venue")
    protective_stops = IdsField("Stops to cancel with them, by id", [IfGiven(), Ids()])
    totp_code = StringField("Code of your authenticator", [IfGiven(), SixDigits()])


class ModeForm(_ModeFields):
    """A change of the trading mode to `paper` or `live`."""

    def validate(self, extra_validators: Any = None) -> bool:
        valid = super().validate(extra_validators)
        for field in (self.cancel_open_orders, self.protective_stops):
            if field.data and not field.errors:
                self.refused[field.name] = ["has no place but with a halt"]
        return valid and not self.refused


# NUL and lone surrogates, which PostgreSQL does not store.
NOT_STORABLE = re.compile("[\0\ud800-\udfff]")


class HaltForm(_ModeFields):
    """What accompanies a halt. It is always valid: what cannot be used is left out, and `ignored` says why."""

    ignored: dict[str, list[str]]

    @classmethod
    def from_members(cls, members: Sequence[tuple[str, Any]]) -> Self | None:
        """The form for the members of a JSON object, validated; None where none of them asks for a halt."""
        if ("trading_mode", TradingMode.DISABLED) not in members:
            return None
        given = Counter(name for name, _ in members)
        body = {name: value for name, value in members if given[name] == 1}
        form = cls.from_json(body | {"trading_mode": str(TradingMode.DISABLED)})
        form.refused |= {name: ["is given more than once"] for name in given if given[name] > 1}
        form.validate()
        return form

    def validate(self, extra_validators: Any = None) -> bool:
        changed = self._make_reason_storable()
        super().validate(extra_validators)
        self.trading_mode.errors = ()
        self.ignored = {NOT_STORABLE.sub("\ufffd", name): said for name, said in self.messages().items()} | changed
        for field in self:
            if field.errors:
                field.data, field.errors = None, ()
        self.refused = {}
        return True

    def _make_reason_storable(self) -> dict[str, list[str]]:
        """Replace and cut what could not be stored of the reason; the messages that say so."""
        reason, said = self.reason.data or "", []
        if NOT_STORABLE.search(reason):
            reason = NOT_STORABLE.sub("\ufffd", reason)
            said.append("holds characters that cannot be stored; each is replaced by U+FFFD")
        if len(reason) > MAX_REASON_LENGTH:
            reason = reason[:MAX_REASON_LENGTH]
            said.append(f"has more than {MAX_REASON_LENGTH} characters; the first {MAX_REASON_LENGTH} are stored")
        if said:
            self.reason.data = reason
        return {"reason": said} if said else {}


class CancelAtVenueForm(StrictForm):
    """The second step of a halt, on a page without a script."""

    protective_stops = IdsField("Stops to cancel", [IfGiven(), Ids()])


class OrderForm(StrictForm):
    nullable = frozenset(
        {
            "qty",
            "notional",
            "limit_price",
            "stop_price",
            "reference_price",
            "signal_layer",
            "strategy",
            "rationale",
        }
    )
    client_order_id = StringField(
        "Client order id", [Required(), Text(1, MAX_CLIENT_ORDER_ID_LENGTH), Printable()]
    )
    ticker = Trimmed("Ticker", [Required(), Ticker(allow_every=False)])
    side = StringField("Side", [Required(), OneOf(Side)])
    qty = AmountField("Quantity")
    notional = AmountField("Notional")
    type = StringField("Type", [Required(), OneOf(OrderType)])
    time_in_force = StringField("Time in force", [IfGiven(), OneOf(TimeInForce)], default="day")
    limit_price = AmountField("Limit price")
    stop_price = AmountField("Stop price")
    reference_price = AmountField("Reference price")
    signal_layer = StringField("Signal layer", [IfGiven(), OneOf(SignalLayer)])
    strategy = StringField("Strategy", [IfGiven(), Text(0, MAX_STRATEGY_LENGTH)])
    rationale = StringField("Rationale", [IfGiven(), Text(0, MAX_RATIONALE_LENGTH)])

    def order(self) -> dict[str, Any]:
        """What makes a `desk.orders.NewOrder`; an empty text is none."""
        return {name: value for name, value in self.given().items() if not is_blank_value(value)}

    def validate(self, extra_validators: Any = None) -> bool:
        return super().validate(extra_validators) and prices_belong_to_the_type(self)


def is_blank_value(value: Any) -> bool:
    return isinstance(value, str) and is_blank(value)


def prices_belong_to_the_type(form: Any) -> bool:
    """Whether an order has a quantity or a notional, and the prices that its type demands and no others."""
    if (form.qty.data is None) == (form.notional.data is None):
        form.refused["qty"] = ["give exactly one of qty and notional"]
    for name, types in PRICES_OF.items():
        given, demanded = form[name].data is not None, form.type.data in types
        if given != demanded:
            form.refused[name] = [f"{'is required' if demanded else 'has no place'} for a {form.type.data} order"]
    return not form.refused


PRICES_OF = {
    "limit_price": (OrderType.LIMIT, OrderType.STOP_LIMIT),
    "stop_price": (OrderType.STOP, OrderType.STOP_LIMIT),
}


class ApproveForm(StrictForm):
    nullable = frozenset({"note"})
    note = Trimmed("Note", [IfGiven(), Text(0, MAX_REASON_LENGTH)])


class RejectForm(StrictForm):
    reason = Trimmed("Reason", [Required(), Text(1, MAX_REASON_LENGTH)])


class DecisionForm(StrictForm):
    """One entry of a bulk decision: a rejection needs a reason, an approval may have a note."""

    nullable = frozenset({"note"})
    id = StringField("Order", [Required()])
    action = StringField("Action", [Required(), OneOf(Choice)])
    note = Trimmed("Note", [IfGiven(), Text(0, MAX_REASON_LENGTH)])
    reason = Trimmed("Reason", [IfGiven(), Text(1, MAX_REASON_LENGTH)])

    def validate(self, extra_validators: Any = None) -> bool:
        valid = super().validate(extra_validators)
        if valid and self.action.data == Choice.REJECT and not self.reason.data:
            self.refused["reason"] = ["is required"]
        elif valid and self.action.data == Choice.REJECT and self.note.data is not None:
            self.refused["note"] = ["has no place in a rejection: give a reason"]
        elif valid and self.action.data == Choice.APPROVE and self.reason.data is not None:
            self.refused["reason"] = ["has no place in an approval: give a note"]
        return valid and not self.refused


class DecisionsForm(StrictForm):
    decisions = ArrayField("Decisions", [Required()])

    def validate(self, extra_validators: Any = None) -> bool:
        return super().validate(extra_validators) and self._each_is_valid()

    def _each_is_valid(self) -> bool:
        entries = self.decisions.data
        if not 1 <= len(entries) <= MOST_DECISIONS:
            self.refused["decisions"] = [f"must have 1 to {MOST_DECISIONS} entries"]
        self.entries: list[DecisionForm] = []
        for index, entry in enumerate(entries[:MOST_DECISIONS]):
            if not isinstance(entry, dict):
                self.refused[f"decisions[{index}]"] = ["must be an object"]
                continue
            form = DecisionForm.from_json(entry)
            if not form.validate():
                self.refused |= {f"decisions[{index}].{name}": said for name, said in form.messages().items()}
            self.entries.append(form)
        return not self.refused


class ReplaceConfigForm(StrictForm):
    config = ObjectField("Configuration", [Required()])
