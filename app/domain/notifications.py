"""What people are told of the desk wherever they are: which events, and in what words.

A message is read on a telephone by somebody who has to act. Words that came from an engine or a person go into it
shortened, on one line, and without what a receiver would take for markup, a mention or a link.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Generic, TypeVar

from app.domain.gate import plain
from app.domain.texts import escape_bidi

Told = TypeVar("Told")


class Kind(StrEnum):
    """Of what somebody may be told, the most pressing first."""

    HALTED = "halted"
    LIVE = "live"
    PAPER = "paper"
    ORDER_UNKNOWN = "order_unknown"
    ORDER_EXPIRING = "order_expiring"
    ORDER_WAITS = "order_waits"
    ORDER_EXPIRED = "order_expired"
    LOCKOUT = "lockout"


MODE_KINDS = (Kind.HALTED, Kind.LIVE, Kind.PAPER)
NAMED = 5  # of each kind; the others are counted
LONGEST_TITLE = 120
LONGEST_BODY = 1500  # characters: the strictest of the usual receivers takes 2000
LONGEST_WORDS = 120
ELSEWHERE = "… more on the desk"
MODES = {"disabled": "HALTED", "paper": "PAPER", "live": "LIVE"}
# What is a tag, a link or a mention to one receiver or another; the look-alike is none to any.
HARMLESS = str.maketrans({"<": "‹", ">": "›", "@": "＠", "&": "＆", "`": "'", "[": "(", "]": ")"})
# What makes an address that can be tapped of words, with a scheme or without: a dot before two letters
# (evil.example; never BRK.B, for no domain ends with one letter), one of those of four numbers, a colon behind a
# letter (mailto:x); prices and times have none of these. A space is put behind it, in names too: that they are not
# spelt so is plain to see, and no receiver makes an address of it again, as some do of what only looks like a dot.
TAPPABLE = re.compile(
    r"(?<=\S)[.。](?=[^\W\d_]{2})|(?<=www)\.(?=\w)|(?<=\d)\.(?=\d+\.\d+\.\d)|(?<=[^\W\d_]):(?=[^\s/])",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Order:
    """An order that somebody has to know of; amounts are exact, absent ones None."""

    ticker: str
    side: str
    engine: str
    type: str
    expires_at: datetime | None
    qty: Decimal | None = None
    notional: Decimal | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None


@dataclass(frozen=True, slots=True)
class ModeChange:
    """`canceled` orders waited when it came."""

    before: str
    after: str
    by: str
    at: datetime
    reason: str | None = None
    canceled: int = 0


@dataclass(frozen=True, slots=True)
class Lockout:
    ticker: str
    reason: str
    by: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Some(Generic[Told]):
    """The `first` of a `number` of things, of which there may be thousands."""

    first: Sequence[Told] = ()
    number: int = 0


@dataclass(frozen=True, slots=True)
class Digest:
    """All that one receiver is to be told at once. `mode` is the trading mode of the present."""

    mode: str
    modes: Some[ModeChange] = field(default_factory=Some)
    unknown: Some[Order] = field(default_factory=Some)
    expiring: Some[Order] = field(default_factory=Some)
    waiting: Some[Order] = field(default_factory=Some)
    expired: Some[Order] = field(default_factory=Some)
    lockouts: Some[Lockout] = field(default_factory=Some)


@dataclass(frozen=True, slots=True)
class Message:
    """`level` is one of Apprise's: info, success, warning, failure."""

    title: str
    body: str
    level: str


def warn_from(created_at: datetime, expires_at: datetime, before: timedelta) -> datetime:
    """From when on an order that waits is about to expire: never before half of its time is over, or whoever gives
    an order a minute would be told twice at once."""
    return expires_at - min(before, (expires_at - created_at) / 2)


def harmless(words: str, longest: int = LONGEST_WORDS) -> str:
    """Words of others on one line of at most so many characters, which no receiver takes for anything else."""
    # What only looks like a character is that character; of one there may be many.
    plainly = unicodedata.normalize("NFKC", escape_bidi(words))
    # Control characters, and those that are not seen at all.
    spaced = "".join(" " if unicodedata.category(c)[0] in "CZ" else c for c in plainly)
    apart = TAPPABLE.sub(r"\g<0> ", spaced.translate(HARMLESS).replace("://", ":/ /"))
    line = " ".join(apart.split())
    return line if len(line) <= longest else f"{line[: longest - 1].rstrip()}…"


def instant(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def order_line(order: Order) -> str:
    """As in `buy 10 AAPL, limit 150.25, from momentum`, or `sell AAPL for 5000, market, from momentum`."""
    ticker = harmless(order.ticker)  # T.ME/X is one by its form
    amount = f"{ticker} for {plain(order.notional)}" if order.qty is None else f"{plain(order.qty)} {ticker}"
    prices = [
        f"{word} {plain(price)}"
        for word, price in (("stop", order.stop_price), ("limit", order.limit_price))
        if price is not None
    ]
    return f"{order.side} {amount}, {', '.join(prices) or order.type}, from {harmless(order.engine, 64)}"


def compose(digest: Digest, now: datetime, link: str | None = None) -> Message | None:
    """The message, or None where there is nothing to tell. `link` is where the desk is."""
    titles: list[str] = []
    lines: list[str] = []
    for headline, body in (
        _of_modes(digest),
        _of_orders(digest.unknown, now, ("UNKNOWN at the broker",) * 2, "Nobody knows whether the broker has:"),
        _of_orders(digest.expiring, now, ("about to expire",) * 2, "About to expire:"),
        _of_orders(digest.waiting, now, ("waits", "wait"), "To be approved or rejected:"),
        _of_orders(digest.expired, now, ("expired",) * 2, "Expired, and will not be traded:"),
        _of_lockouts(digest.lockouts),
    ):
        titles += headline
        lines += body
    if not titles:
        return None
    title = f"[{MODES.get(digest.mode, digest.mode)}] {', '.join(titles)}"
    return Message(_cut(title, LONGEST_TITLE), _body(lines, link), _level(digest))


def trial(number: int) -> Message:
    """What `countersign notify test` sends to the receiver of that number."""
    return Message(
        "Countersign: this is a test",
        f"Address {number} of NOTIFY_URLS works. Nothing has happened at the desk.",
        "info",
    )


def unworded(number: int, link: str | None = None) -> Message:
    """For what no words could be found for: better said so than never."""
    return Message(f"Countersign: {number} news", _body(["Look at the desk: there is news."], link), "warning")


def _of_modes(digest: Digest) -> tuple[list[str], list[str]]:
    if not digest.modes.first:
        return [], []
    last = digest.modes.first[-1]
    title = {"disabled": "trading HALTED", "live": "trading went LIVE"}.get(
        last.after, f"trading is on {last.after}"
    )
    lines = []
    for change in digest.modes.first:
        line = f"{instant(change.at)}: {harmless(change.by, 64)} "
        line += "HALTED trading" if change.after == "disabled" else f"switched trading to {change.after.upper()}"
        line += f" (it was {change.before})."
        if change.canceled:
            were = "order that waited was" if change.canceled == 1 else "orders that waited were"
            line += f" {change.canceled} {were} canceled."
        lines.append(line)
        if change.reason:
            lines.append(f"Reason: {harmless(change.reason)}")
    if last.after != digest.mode:
        lines.append(f"By now the mode is {digest.mode}.")
    return [title], lines


def _of_orders(
    some: Some[Order], now: datetime, words: tuple[str, str], heading: str
) -> tuple[list[str], list[str]]:
    """`words` are what is said in the title of one, and of many."""
    if not some.number:
        return [], []
    if some.number == 1:
        only = some.first[0]
        titles = [f"{words[0]}: {order_line(only).partition(',')[0]}"]
    else:
        titles = [f"{some.number} orders {words[1]}"]
    lines = [heading, *(f"- {order_line(order)}{_deadline(order, now)}" for order in some.first)]
    return titles, lines + _others(some)


def _of_lockouts(some: Some[Lockout]) -> tuple[list[str], list[str]]:
    if not some.number:
        return [], []
    only = some.first[0]
    titles = [f"{_symbol(only)} locked out"] if some.number == 1 else [f"{some.number} lockouts"]
    lines = [
        f"{_symbol(each)} locked out until {instant(each.expires_at)} by {harmless(each.by, 64)}:"
        f" {harmless(each.reason)}"
        for each in some.first
    ]
    return titles, lines + _others(some)


def _symbol(lockout: Lockout) -> str:
    return "every symbol" if lockout.ticker == "*" else harmless(lockout.ticker)


def _others(some: Some[Told]) -> list[str]:
    more = some.number - len(some.first)
    return [f"- and {more} more"] if more > 0 else []


def _deadline(order: Order, now: datetime) -> str:
    """When it is over, and how long that is from `now`."""
    if order.expires_at is None:
        return ""
    left = int((order.expires_at - now).total_seconds())
    if left <= 0:
        return f", at {instant(order.expires_at)}"
    hours, minutes = divmod(left // 60, 60)
    rest = f"{hours} h {minutes} min" if hours else f"{minutes} min" if minutes else f"{left} s"
    return f", before {instant(order.expires_at)} (in {rest})"


def _body(lines: Sequence[str], link: str | None) -> str:
    """As many whole lines as fit, and the link always."""
    room = LONGEST_BODY - len(ELSEWHERE) - 1 - (len(link) + 1 if link else 0)
    kept: list[str] = []
    for line in lines:
        room -= len(line) + 1
        if room < 0:
            kept.append(ELSEWHERE)
            break
        kept.append(line)
    return "\n".join([*kept, link] if link else kept)


def _cut(line: str, longest: int) -> str:
    return line if len(line) <= longest else f"{line[: longest - 1].rstrip()}…"


def _level(digest: Digest) -> str:
    if (digest.modes.first and digest.modes.first[-1].after == "disabled") or digest.unknown.number:
        return "failure"
    urgent = digest.modes.first or digest.expiring.number or digest.expired.number
    return "warning" if urgent else "info"
