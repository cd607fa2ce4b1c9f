"""The schemas of request bodies, derived from the forms that read them."""

from __future__ import annotations

from wtforms import Field

from app.domain.gate import OrderType
from app.domain.risk_config import TradingMode
from app.web.forms import trading
from app.web.forms.fields import (
    AmountField,
    Between,
    Ids,
    OneOf,
    Printable,
    SixDigits,
    StrictForm,
    Text,
    Ticker,
    Trimmed,
    json_type,
)
from app.web.openapi.descriptions import (
    BEYOND,
    DECIMAL,
    ID,
    MODE,
    NULL,
    VISIBLE,
    WHITE,
    Json,
    nullable,
    ref,
    ticker,
    trimmed,
)

JSON_NAMES = {str: "string", int: "integer", bool: "boolean", dict: "object", list: "array"}

# Zero is refused. That no generator of test data has to look around, the digit is asked for apart.
POSITIVE_AMOUNT: Json = {
    "anyOf": [
        DECIMAL | {"allOf": [{"pattern": "[1-9]"}]},
        {"type": "integer", "minimum": 1, "exclusiveMaximum": BEYOND},
    ],
    "description": "Exact and positive: a decimal string, or an integer.",
    "examples": ["10.5"],
}
AMOUNT = ref("Amount")
# JSON Schema cannot say "printable": the pattern keeps out what everybody agrees on.
PRINTABLE: Json = {
    "format": "printable",
    "pattern": r"^[^\u0000-\u001f\u007f-\u00a0\u2028\u2029]*$",
    "description": "Printable characters only.",
}


def body_schemas() -> Json:
    """Every schema of a body, by its name."""
    return {
        "Amount": POSITIVE_AMOUNT,
        "ApprovalConfigChange": body_schema(trading.ApprovalConfigForm),
        "SignalLayersChange": body_schema(trading.SignalLayersForm),
        "ModeChange": {"anyOf": [_halt(), _other_mode()]},
        "NewLockout": body_schema(trading.LockoutForm),
        "LockoutExtension": body_schema(trading.ExtendLockoutForm),
        "ConfigReplacement": body_schema(trading.ReplaceConfigForm),
        "NewOrder": {"anyOf": [_order(kind, size) for kind in OrderType for size in ("qty", "notional")]},
        "Approval": body_schema(trading.ApproveForm),
        "Rejection": body_schema(trading.RejectForm),
        "Decisions": _decisions(),
    }


def body_schema(kind: type[StrictForm]) -> Json:
    """The JSON Schema of the bodies that a form accepts, less what its fields must be together."""
    form = kind()
    properties = {field.name: _field_schema(field, field.name in kind.nullable) for field in form}
    required = [field.name for field in form if field.flags.required]
    schema: Json = {"type": "object", "properties": properties, "additionalProperties": False}
    if required:
        schema["required"] = required
    if kind.one_of_is_needed:
        schema["minProperties"] = 1
    return schema


def _field_schema(field: Field, may_be_null: bool) -> Json:
    if field.name == "config":
        return ref("RiskConfig")
    if isinstance(field, AmountField):
        return nullable(AMOUNT) if may_be_null else AMOUNT
    schema: Json = {"type": JSON_NAMES[json_type(field)[0][0]]}
    for validator in field.validators:
        schema |= _rule(validator, field)
    if may_be_null:
        schema["type"] = [schema["type"], "null"]
        if "enum" in schema:
            schema["enum"].append(None)
    if field.default is not None:
        schema["examples"] = [field.default]
    return schema


def _rule(validator: object, field: Field) -> Json:
    match validator:
        case Ticker():
            return ticker(allow_every=validator.allow_every)
        case Text():
            return _text(validator, isinstance(field, Trimmed))
        case Printable():
            return PRINTABLE
        case Between():
            return {"minimum": validator.min, "maximum": validator.max}
        case Ids():
            return {"items": ID, "description": "In letters of any case."}
        case SixDigits():
            return {"pattern": f"^{validator.PATTERN}$", "examples": ["123456"]}
        case OneOf():
            return {"enum": [*validator.words]}
    return {}


def _text(validator: Text, is_trimmed: bool) -> Json:
    lowest, highest = validator.min, validator.max
    visible: Json = {"allOf": [VISIBLE]} if lowest else {}
    if not is_trimmed:
        return visible | {"minLength": lowest, "maxLength": highest, "pattern": r"^[^\u0000]*$"}
    ink = rf"[^\u0000{WHITE}]"
    inside = rf"[^\u0000]{{0,{highest - 2}}}"
    return visible | {
        "pattern": trimmed(f"({ink}({inside}{ink})?)" + ("" if lowest else "?")),
        "description": f"{lowest} to {highest} characters after white space around it is trimmed.",
    }


def _halt() -> Json:
    """Any object with `"trading_mode": "disabled"`: the types of the others are said in words only."""
    return {
        "title": "halt",
        "type": "object",
        "description": (
            "Halts trading. Nothing else in the request prevents that: what is invalid or unknown is left out, and"
            " reported in `ignored`. The Content-Type may be any, and of several `trading_mode` one is enough."
        ),
        "properties": {
            "trading_mode": {"const": str(TradingMode.DISABLED)},
            "from": {"description": "Not looked at."},
            "reason": {
                "description": f"Stored with the halt: a string, of which the first {trading.MAX_REASON_LENGTH}"
                " characters are kept."
            },
            "cancel_open_orders": {
                "description": "`true` requests cancellation of all orders that are open at the venue, but not of"
                " stops. It may come with the halt, or once trading is halted. Means nothing while no venue is"
                " connected."
            },
            "protective_stops": {"description": "The ids of stop orders to cancel as well, in an array."},
            "totp_code": {"description": "Not looked at."},
        },
        "required": ["trading_mode"],
        "additionalProperties": True,
    }


def _other_mode() -> Json:
    schema = body_schema(trading.ModeForm)
    known = schema["properties"]
    known["cancel_open_orders"] |= {"const": False}
    known["protective_stops"] |= {"maxItems": 0}
    known["trading_mode"] = {"enum": [str(mode) for mode in TradingMode if mode is not TradingMode.DISABLED]}
    known["from"] = MODE
    known["reason"] |= {"type": "string"}
    known["totp_code"]["description"] = (
        "Looked at, and required, for going live where `second_factor_for_live` of the state says so: 403"
        " `second_factor_wrong` where it does not count. A token gets 403 `second_factor_required` then, always."
    )
    return schema | {"required": ["trading_mode", "from", "reason"]}


def _order(kind: OrderType, size: str) -> Json:
    """Orders of one type and one way to say how much: with the prices that the type demands and no others."""
    schema = body_schema(trading.OrderForm)
    demanded = [size, *(name for name, types in trading.PRICES_OF.items() if kind in types)]
    out_of_place = {"qty", "notional", *trading.PRICES_OF} - {*demanded}
    schema["title"] = f"{kind} order, by {size}"
    schema["properties"] |= {"type": {"const": str(kind)}} | dict.fromkeys(demanded, AMOUNT)
    schema["properties"] |= dict.fromkeys(sorted(out_of_place), NULL)
    schema["required"] += demanded
    return schema


def _decisions() -> Json:
    schema = body_schema(trading.DecisionsForm)
    schema["properties"]["decisions"] = {
        "type": "array",
        "minItems": 1,
        "maxItems": trading.MOST_DECISIONS,
        "items": {"anyOf": [_decision(choice) for choice in trading.Choice]},
    }
    return schema


def _decision(choice: trading.Choice) -> Json:
    schema = body_schema(trading.DecisionForm)
    known = schema["properties"]
    known["action"] = {"const": str(choice)}
    known["id"] = {"type": "string", "minLength": 1, "pattern": r"^[^\u0000]*$", "description": "Of an order."}
    if choice is trading.Choice.APPROVE:
        del known["reason"]
        return schema
    known["note"] = NULL
    return schema | {"required": [*schema["required"], "reason"]}
