"""What people are told, in words: short, true, with what is needed to act, and nothing that a receiver could take
for anything but words."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.domain.notifications import (
    LONGEST_BODY,
    LONGEST_TITLE,
    NAMED,
    Digest,
    Kind,
    Lockout,
    ModeChange,
    Order,
    Some,
    compose,
    harmless,
    order_line,
    trial,
    unworded,
    warn_from,
)

NOW = datetime(2026, 3, 2, 14, 30, tzinfo=UTC)
LINK = "https://desk.example/trading"
ORDER = Order("AAPL", "buy", "momentum", "market", NOW + timedelta(minutes=30), qty=Decimal("10.000000000"))
HALT = ModeChange("paper", "disabled", "olga", NOW)


def some(*things: object, number: int = 0) -> Some:  # type: ignore[type-arg]
    return Some(things, number or len(things))


def told(digest: Digest, link: str | None = LINK) -> tuple[str, list[str]]:
    message = compose(digest, NOW, link)
    assert message is not None
    return message.title, message.body.splitlines()


def test_an_order_that_waits_is_told_with_all_that_it_takes_to_decide() -> None:
    assert told(Digest("paper", waiting=some(ORDER))) == (
        "[PAPER] waits: buy 10 AAPL",
        [
            "To be approved or rejected:",
            "- buy 10 AAPL, market, from momentum, before 2026-03-02 15:00:00 UTC (in 30 min)",
            LINK,
        ],
    )


@pytest.mark.parametrize(
    ("order", "line"),
    [
        (ORDER, "buy 10 AAPL, market, from momentum"),
        (
            Order("BRK.B", "sell", "e", "limit", NOW, qty=Decimal("0.5"), limit_price=Decimal("480.10")),
            "sell 0.5 BRK.B, limit 480.1, from e",
        ),
        (
            Order("A", "sell", "e", "stop_limit", NOW, Decimal(1), None, Decimal(89), Decimal(90)),
            "sell 1 A, stop 90, limit 89, from e",
        ),
        (Order("A", "buy", "e", "market", NOW, notional=Decimal(5000)), "buy A for 5000, market, from e"),
    ],
)
def test_orders_of_every_kind_in_a_line(order: Order, line: str) -> None:
    assert order_line(order) == line


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (59, "(in 59 s)"),
        (61, "(in 1 min)"),
        (3600, "(in 1 h 0 min)"),
        (90_061, "(in 25 h 1 min)"),
        (0, ", at 2026-03-02 14:30:00 UTC"),
        (-5, ", at 2026-03-02 14:29:55 UTC"),
    ],
)
def test_the_time_that_is_left(seconds: int, words: str) -> None:
    order = Order("A", "buy", "e", "market", NOW + timedelta(seconds=seconds), qty=Decimal(1))
    assert told(Digest("paper", expiring=some(order)))[1][1].endswith(words)


def test_a_halt_says_who_and_what_it_ended_and_comes_before_everything_else() -> None:
    halt = ModeChange("live", "disabled", "olga", NOW, "the feed is wrong", 12)
    title, body = told(Digest("disabled", modes=some(halt), waiting=some(ORDER), lockouts=some(LOCKOUT)))
    assert title == "[HALTED] trading HALTED, waits: buy 10 AAPL, AAPL locked out"
    assert body[:2] == [
        "2026-03-02 14:30:00 UTC: olga HALTED trading (it was live). 12 orders that waited were canceled.",
        "Reason: the feed is wrong",
    ]


LOCKOUT = Lockout("AAPL", "earnings", "olga", NOW + timedelta(hours=1))


def test_going_live_and_back() -> None:
    live = ModeChange("paper", "live", "ada", NOW, "go", 1)
    assert told(Digest("live", modes=some(live)))[0] == "[LIVE] trading went LIVE"
    assert "1 order that waited was canceled." in told(Digest("live", modes=some(live)))[1][0]
    paper = ModeChange("disabled", "paper", "ada", NOW, "mended")
    title, body = told(Digest("paper", modes=some(HALT, paper)))
    assert title == "[PAPER] trading is on paper"
    assert [line.split(": ")[1] for line in body[:2]] == [
        "olga HALTED trading (it was paper).",
        "ada switched trading to PAPER (it was disabled).",
    ]


def test_a_halt_that_is_told_late_says_that_it_is_over() -> None:
    title, body = told(Digest("paper", modes=some(HALT)))
    assert title == "[PAPER] trading HALTED"
    assert body[1] == "By now the mode is paper."


def test_a_lockout_of_every_symbol() -> None:
    title, body = told(Digest("paper", lockouts=some(Lockout("*", "storm", "bot", NOW))))
    assert title == "[PAPER] every symbol locked out"
    assert body[0] == "every symbol locked out until 2026-03-02 14:30:00 UTC by bot: storm"


def test_many_are_counted_and_a_few_are_named() -> None:
    title, body = told(
        Digest("paper", waiting=some(*[ORDER] * NAMED, number=200), expired=some(ORDER, number=10_000))
    )
    assert title == "[PAPER] 200 orders wait, 10000 orders expired"
    assert body.count("- and 195 more") == body.count("- and 9999 more") == 1
    assert len(body) == 1 + NAMED + 1 + 3 + 1


def test_nothing_to_tell_is_no_message() -> None:
    assert compose(Digest("paper"), NOW, LINK) is None


@pytest.mark.parametrize(
    ("digest", "level"),
    [
        (Digest("disabled", modes=some(HALT)), "failure"),
        (Digest("paper", unknown=some(ORDER)), "failure"),
        (Digest("live", modes=some(ModeChange("paper", "live", "ada", NOW))), "warning"),
        (Digest("paper", expiring=some(ORDER)), "warning"),
        (Digest("paper", waiting=some(ORDER)), "info"),
        (Digest("paper", lockouts=some(LOCKOUT)), "info"),
    ],
)
def test_how_loud_it_is(digest: Digest, level: str) -> None:
    message = compose(digest, NOW)
    assert message is not None
    assert message.level == level


def test_a_lockout_cannot_call_people_together_nor_send_them_somewhere() -> None:
    reason = "<!channel> @everyone see https://evil.example [here](x) `rm`\n\n[HALTED]\u202e olleh\x00\x1b[1m"
    body = told(Digest("paper", lockouts=some(Lockout("AAPL", reason, "bot", NOW))))[1]
    assert len(body) == 2
    assert body[0].endswith(
        "by bot: ‹!channel› ＠everyone see https:/ /evil. example (here)(x) 'rm' (HALTED)(U+202E) olleh (1m"
    )


@given(st.text(max_size=500), st.integers(1, 200))
@settings(max_examples=200)
def test_whatever_others_wrote_is_one_short_line_of_plain_characters(words: str, longest: int) -> None:
    line = harmless(words, longest)
    assert len(line) <= longest
    assert line == line.strip()
    assert not set(line) & set("<>@&`[]")
    assert "://" not in line
    assert all(c == " " or unicodedata.category(c)[0] not in "CZ" for c in line)


# What mail programs, chats and telephones make something tappable of.
TAPPABLE = re.compile(
    r"""
    (?:[^\s/.。．｡․﹒]+[.。．｡․﹒])+[^\W\d_]{2,}  # a host, without a scheme
    | (?:mailto|tel|sms|sip|xmpp|geo|tg|magnet|bitcoin):[\w+?]
    | [a-z]:// | www\.\w | [@&]
    | (?<!\d)\d{1,3}(?:\.\d{1,3}){3}(?!\d)
    """,
    re.VERBOSE | re.IGNORECASE,
)
LURES = {
    "discord.gg/abc": "discord. gg/abc",
    "t.me/evil": "t. me/evil",
    "www.evil.example": "www. evil. example",
    "evil.example/pay-now": "evil. example/pay-now",
    "WWW.EVIL.COM": "WWW. EVIL. COM",
    "ｅｖｉｌ．ｃｏｍ": "evil. com",
    "evil。com and evil｡com": "evil。 com and evil。 com",
    "evil․com": "evil. com",
    "i❤.ws (evil).ws": "i❤. ws (evil). ws",
    "пример.рф": "пример. рф",
    "www.1/x": "www. 1/x",
    "192.0.2.7/login": "192. 0.2.7/login",
    "mailto:x@y.z": "mailto: x＠y.z",
    "tel:+4930123": "tel: +4930123",
    "&commat;everyone &#64;here ＆commat;all": "＆commat;everyone ＆#64;here ＆commat;all",
    "https://evil.example": "https:/ /evil. example",
    "momentum.py": "momentum. py",
}


@pytest.mark.parametrize("lure", LURES)
def test_nothing_that_others_wrote_can_be_tapped(lure: str) -> None:
    assert TAPPABLE.search(lure), "the pattern of this test knows it"
    assert harmless(f"look: {lure} now") == f"look: {LURES[lure]} now"
    halt = ModeChange("paper", "disabled", lure, NOW, lure)
    order, lockout = replace(ORDER, engine=lure, ticker=lure), Lockout(lure, lure, lure, NOW)
    title, body = told(
        Digest("disabled", modes=some(halt), waiting=some(order), lockouts=some(lockout)), link=None
    )
    assert not TAPPABLE.search("\n".join([title, *body]))


@pytest.mark.parametrize(
    "words",
    [
        *("limit 150.25, stop 0.5", "down 3.5% at 14:30:05 UTC.", "on 02.03.2026", "v2.10.1", "1,234.50 USD"),
        *(
            "earnings: wait. Then look",
            "ratio 2:1",
            "BTC/USD",
            "BRK.B, in the U.S.",
            "momentum.v2",
            "and so on...",
            "2026-03-02T14:30:00Z",
        ),
    ],
)
def test_prices_times_and_sentences_stay_as_they_are(words: str) -> None:
    assert harmless(words) == words


@given(st.lists(st.decimals("0", 10**9, places=4) | st.times().map(str), min_size=1, max_size=5))
@settings(max_examples=100)
def test_and_so_do_all_amounts_and_times(amounts: list[object]) -> None:
    words = ", ".join(map(str, amounts))
    assert harmless(words) == words


pieces = st.sampled_from(
    [
        *("discord", "evil", "example", "com", "gg", "x", "www", "é", "中国", "ｃｏｍ", "xn--p1ai", "1", "192"),
        *(
            ".",
            ".",
            ".",
            "。",
            "．",
            "｡",
            "․",
            "﹒",
            "⒈",
            ":",
            "://",
            "/",
            "@",
            "&",
            "＆",
            "-",
            "_",
            ")",
            "…",
            "❤",
        ),
        *("mailto:", "tel:", "TG:", " ", "\u200b", "\u00ad", "\n"),
    ]
)


@given(st.lists(pieces, max_size=25).map("".join) | st.text(max_size=200), st.integers(1, 200))
@settings(max_examples=500)
def test_whatever_others_wrote_cannot_be_tapped(words: str, longest: int) -> None:
    assert not TAPPABLE.search(harmless(words, longest))


texts = st.text(max_size=120)
amounts = st.decimals("0.000000001", 10**18 - 1, places=9)
instants = st.datetimes(datetime(2020, 1, 1), datetime(9998, 1, 1), timezones=st.just(UTC))
tickers = st.from_regex(r"[A-Z0-9]{1,19}", fullmatch=True)
orders = st.builds(
    Order,
    tickers,
    st.sampled_from(["buy", "sell"]),
    texts,
    st.sampled_from(["market", "limit", "stop", "stop_limit"]),
    instants,
    qty=amounts,
    limit_price=st.none() | amounts,
    stop_price=st.none() | amounts,
)
changes = st.builds(
    ModeChange,
    st.sampled_from(["disabled", "paper", "live"]),
    st.sampled_from(["disabled", "paper", "live"]),
    texts,
    instants,
    st.none() | texts,
    st.integers(0, 10**6),
)
lockouts = st.builds(Lockout, tickers | st.just("*"), texts, texts, instants)


def groups(things: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    lists = st.lists(things, max_size=3)
    return st.builds(
        lambda first, more: Some(first, len(first) + more * bool(first)), lists, st.integers(0, 10**6)
    )


digests = st.builds(
    Digest,
    st.sampled_from(["disabled", "paper", "live"]),
    groups(changes),
    groups(orders),
    groups(orders),
    groups(orders),
    groups(orders),
    groups(lockouts),
)


@given(digests, instants, st.none() | st.just(LINK))
@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])  # the machine may be
def test_whatever_happened_a_message_fits_and_says_the_mode_and_the_link(
    digest: Digest, now: datetime, link: str | None
) -> None:
    message = compose(digest, now, link)
    several = (digest.modes, digest.unknown, digest.expiring, digest.waiting, digest.expired, digest.lockouts)
    if not any(each.number for each in several):
        assert message is None
        return
    assert message is not None
    assert message.title.startswith(("[HALTED] ", "[PAPER] ", "[LIVE] "))
    assert len(message.title) <= LONGEST_TITLE
    assert "\n" not in message.title
    assert len(message.body) <= LONGEST_BODY
    lines = message.body.split("\n")
    assert all(lines)
    assert link is None or lines[-1] == link
    if digest.modes.number:
        assert any(word in message.title for word in ("HALTED", "LIVE", "paper"))
    assert message.level in ("info", "warning", "failure")


@given(
    instants,
    st.timedeltas(timedelta(seconds=1), timedelta(days=7)),
    st.timedeltas(timedelta(seconds=10), timedelta(days=1)),
)
@settings(max_examples=200)
def test_nobody_is_warned_before_half_of_the_time_is_over(
    created: datetime, waits: timedelta, before: timedelta
) -> None:
    at = warn_from(created, created + waits, before)
    assert created + waits / 2 - timedelta(microseconds=1) <= at < created + waits
    assert created + waits - at <= before


def test_a_trial_and_what_has_no_words() -> None:
    assert "test" in trial(3).title
    assert "3" in trial(3).body
    assert unworded(4, LINK).body.endswith(LINK)


def test_the_kinds_are_what_the_settings_call_them() -> None:
    assert [str(kind) for kind in Kind] == [
        *("halted", "live", "paper", "order_unknown"),
        *("order_expiring", "order_waits", "order_expired", "lockout"),
    ]
