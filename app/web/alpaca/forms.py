"""What a bot sends that speaks Alpaca's Trading API: https://docs.alpaca.markets/reference/postorder

Read as strictly as every other body, but for the numbers: the official SDK sends JSON numbers, which are taken
digit by digit, as they are written, and never pass through a float. What the desk does not do is refused by
name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from wtforms import StringField

from app.domain.gate import OrderType, Side, SignalLayer, TimeInForce
from app.web.forms.fields import (
    BooleanWord,
    ExactField,
    IfGiven,
    OneOf,
    Printable,
    Required,
    StrictForm,
    Text,
    Ticker,
    Trimmed,
)
from app.web.forms.trading import (
    MAX_CLIENT_ORDER_ID_LENGTH,
    MAX_RATIONALE_LENGTH,
    MAX_STRATEGY_LENGTH,
    is_blank_value,
    prices_belong_to_the_type,
)

NOT_SUPPORTED = "is not supported: the desk takes simple orders only"
UNSUPPORTED = ("take_profit", "stop_loss", "legs", "trail_price", "trail_percent", "position_intent", "trail")


class _DoorForm(StrictForm):
    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Self:
        """What is not supported may be there without a value: then nothing is asked for."""
        return super().from_json({k: v for k, v in body.items() if v is not None or k not in UNSUPPORTED})

    def validate(self, extra_validators: Any = None) -> bool:
        for name in UNSUPPORTED:
            if name in self.refused:
                self.refused[name] = [NOT_SUPPORTED]
        return super().validate(extra_validators)


class DoorOrderForm(_DoorForm):
    """`POST /v2/orders`. The four last fields are the desk's own: a bot may give them, and need not."""

    nullable = frozenset(
        {
            *("qty", "notional", "limit_price", "stop_price", "client_order_id", "extended_hours", "order_class"),
            *("reference_price", "signal_layer", "strategy", "rationale"),
        }
    )
    symbol = Trimmed("Symbol", [Required(), Ticker(allow_every=False)])
    qty = ExactField("Quantity")
    notional = ExactField("Notional")
    side = StringField("Side", [Required(), OneOf(Side)])
    type = StringField("Type", [Required(), OneOf(OrderType)])
    time_in_force = StringField("Time in force", [Required(), OneOf(TimeInForce)])
    limit_price = ExactField("Limit price")
    stop_price = ExactField("Stop price")
    client_order_id = StringField("Client order id", [IfGiven(), Text(1, MAX_CLIENT_ORDER_ID_LENGTH), Printable()])
    extended_hours = BooleanWord("Extended hours")
    order_class = StringField("Order class")
    reference_price = ExactField("Reference price")
    signal_layer = StringField("Signal layer", [IfGiven(), OneOf(SignalLayer)])
    strategy = StringField("Strategy", [IfGiven(), Text(0, MAX_STRATEGY_LENGTH)])
    rationale = StringField("Rationale", [IfGiven(), Text(0, MAX_RATIONALE_LENGTH)])

    def validate(self, extra_validators: Any = None) -> bool:
        return super().validate(extra_validators) and self._is_simple() and prices_belong_to_the_type(self)

    def _is_simple(self) -> bool:
        if self.extended_hours.data:
            self.refused["extended_hours"] = [NOT_SUPPORTED]
        if self.order_class.data not in (None, "", "simple"):
            self.refused["order_class"] = [f"{self.order_class.data} {NOT_SUPPORTED}"]
        return not self.refused

    def order(self, client_order_id: str) -> dict[str, Any]:
        """What makes a `desk.orders.NewOrder`; `client_order_id` where the bot gave none."""
        values = {name: value for name, value in self.given().items() if not is_blank_value(value)}
        ticker = values.pop("symbol")
        for name in ("extended_hours", "order_class"):
            values.pop(name, None)
        return {"client_order_id": client_order_id, **values, "ticker": ticker}


class ReplaceForm(_DoorForm):
    """`PATCH /v2/orders/{id}`: what is to be another. `reference_price` is the desk's own: the price of now."""

    one_of_is_needed = True
    nullable = frozenset(
        {"qty", "time_in_force", "limit_price", "stop_price", "client_order_id", "reference_price"}
    )
    qty = ExactField("Quantity")
    time_in_force = StringField("Time in force", [IfGiven(), OneOf(TimeInForce)])
    limit_price = ExactField("Limit price")
    stop_price = ExactField("Stop price")
    client_order_id = StringField("Client order id", [IfGiven(), Text(1, MAX_CLIENT_ORDER_ID_LENGTH), Printable()])
    reference_price = ExactField("Reference price")
