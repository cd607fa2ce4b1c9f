"""The account at the venue, through the Alpaca door: whatever the venue says, and whatever happens meanwhile."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from app.lib.timestamps import rfc3339
from app.services.accounts import users
from app.services.execution.brokers.alpaca import Alpaca
from app.services.execution.brokers.base import Answer
from app.services.execution.dispatcher import Dispatch
from app.services.execution.order_updates import venue_order_id
from tests.at_once import results_of
from tests.conftest import Api
from tests.serving import TESTER, Desk
from tests.venues.sending import PATIENCE, WITHIN
from tests.venues.stand_in import Venue, position
from tests.web.test_the_alpaca_door import Bot, count, refused

HTML = b"<html><h1>Bad gateway</h1></html>"


class Account(Alpaca):
    """The stand-in, which may be told what it says of itself, and what happens before it does."""

    says: Answer | None = None
    asked: list[str]

    @staticmethod
    def meanwhile() -> None:
        """Nothing."""

    def read(self, path: str, query: Mapping[str, Any]) -> Answer:
        self.asked.append(path)
        self.meanwhile()
        return self.says or super().read(path, query)


@pytest.fixture
def accounts_of(app: Flask, desk: Desk, venue: Venue) -> Iterator[Callable[..., Mapping[str, Account]]]:
    """Connects the desk to an account for each of these modes."""
    before = app.extensions["dispatch"]

    def connected(*modes: str) -> Mapping[str, Account]:
        made = {mode: Account(venue.account, mode, PATIENCE) for mode in modes}
        for one in made.values():
            one.asked = []
        app.extensions["dispatch"] = Dispatch(made, WITHIN)
        return made

    yield connected
    with closing(app.extensions["dispatch"]):
        app.extensions["dispatch"] = before


@pytest.fixture
def account(accounts_of: Callable[..., Mapping[str, Account]]) -> Account:
    return accounts_of("paper")["paper"]


@pytest.fixture
def bot(app: Flask, desk: Desk, account: Account) -> Bot:
    return Bot(app.test_client(), desk.add_token("momentum", "engine"))


@pytest.fixture
def holding(venue: Venue) -> None:
    venue.positions = {"AAPL": "7"}


def said(status: int, body: Any) -> Answer:
    return Answer(status, body if isinstance(body, bytes) else json.dumps(body).encode())


def on_record(desk: Desk) -> list[tuple[Any, ...]]:
    return desk.sql("SELECT ticker, side, qty::text, status FROM orders ORDER BY seq")


# Closing one


def test_closing_a_position_sends_an_order_of_that_size(bot: Bot, venue: Venue, holding: None) -> None:
    shown = bot("DELETE", "/positions/AAPL")
    assert shown.status_code == 200, shown.text
    [there] = venue.known(venue_order_id(shown.get_json()["id"]))
    assert (there["symbol"], there["side"], there["qty"], there["type"]) == ("AAPL", "sell", "7", "market")


@pytest.mark.parametrize(
    ("query", "size"),
    [
        ("", "7"),
        ("qty=3", "3"),
        ("qty=0.000000001", "0.000000001"),
        ("percentage=50", "3.5"),
        ("percentage=100", "7"),
    ],
)
def test_a_part_of_it(bot: Bot, holding: None, query: str, size: str) -> None:
    assert bot("DELETE", f"/positions/AAPL?{query}").get_json()["qty"] == size


def test_a_part_is_never_rounded_up(bot: Bot, account: Account) -> None:
    account.says = said(200, position("AAPL", "0.000000002"))
    assert bot("DELETE", "/positions/AAPL?percentage=99").get_json()["qty"] == "0.000000001"


def test_a_short_position_is_closed_by_buying_and_passes_the_gate_too(
    bot: Bot, account: Account, operator: Api, desk: Desk
) -> None:
    account.says = said(200, position("TSLA", "-5") | {"side": "short", "qty_available": "-5"})
    operator.post("/lockouts", {"ticker": "TSLA", "reason": "x", "duration_minutes": 5})
    refused(bot("DELETE", "/positions/TSLA"), 403, "symbol_locked_out")
    desk.sql("DELETE FROM symbol_lockouts")
    assert bot("DELETE", "/positions/TSLA").status_code == 200
    assert on_record(desk) == [
        ("TSLA", "buy", "5.000000000", "blocked"),
        ("TSLA", "buy", "5.000000000", "accepted"),
    ]


def test_a_lockout_holds_the_position_however_the_venue_spells_it(
    bot: Bot, account: Account, operator: Api
) -> None:
    account.says = said(200, position("BTCUSD", "1") | {"asset_class": "crypto"})
    operator.post("/lockouts", {"ticker": "BTC/USD", "reason": "x", "duration_minutes": 5})
    refused(bot("DELETE", "/positions/BTCUSD"), 403, "symbol_locked_out")


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("percentage=0.0000000001", "percentage"),
        ("percentage=0.000000001", "percentage"),
        ("percentage=0", "percentage"),
        ("percentage=100.1", "percentage"),
        ("percentage=", "percentage"),
        ("qty=1e-12", "qty"),
        ("qty=1e-999999", "qty"),
        ("qty=1e999999", "qty"),
        ("qty=%C2%A03", "qty"),
        ("qty=8", "qty"),
        ("qty=0", "qty"),
        ("qty=-1", "qty"),
        ("qty=NaN", "qty"),
        ("qty=", "qty"),
        ("qty=1&percentage=50", "percentage"),
        ("qyt=3", "qyt"),
    ],
)
def test_what_is_no_part_is_named_and_closes_nothing(
    bot: Bot, account: Account, desk: Desk, query: str, field: str
) -> None:
    account.says = said(200, position("AAPL", "7" if "0.000000001" not in query else "0.5"))
    refused(bot("DELETE", f"/positions/AAPL?{query}"), 422, field)
    assert count(desk) == 0


@pytest.mark.parametrize(
    "answer",
    [
        said(200, HTML),
        said(200, b"{"),
        said(200, b"null"),
        said(200, []),
        said(200, "seven"),
        said(200, {}),
        said(200, position("AAPL", "7") | {"qty": None}),
        *(
            said(200, position("AAPL", qty))
            for qty in ("x", "0", "NaN", "Infinity", "1e-999999", "9" * 30, "9e9999999")
        ),
        said(200, position("AAPL", "-7")),
        said(200, position("AAPL", "7") | {"symbol": 5}),
        said(200, position("A PL", "7")),
        said(200, position("AAPL", "7") | {"qty_available": "x"}),
        said(200, b'{"symbol": "AAPL", "qty": NaN}'),
        said(404, HTML),
        *(said(status, {"code": 1, "message": "no"}) for status in (301, 401, 403, 429, 500, 503, 504)),
    ],
    ids=repr,
)
def test_nonsense_of_the_venue_is_its_own_mistake_and_closes_nothing(
    bot: Bot, account: Account, desk: Desk, answer: Answer
) -> None:
    account.says = answer
    refused(bot("DELETE", "/positions/AAPL"), 502)
    assert count(desk) == 0


@pytest.mark.parametrize("price", ["x", 0, "0", "-1", "1e-30", "9" * 30, None, [], True, "NaN"])
def test_a_price_that_cannot_be_used_is_none(bot: Bot, account: Account, desk: Desk, price: Any) -> None:
    account.says = said(200, position("AAPL", "7") | {"current_price": price})
    assert bot("DELETE", "/positions/AAPL").status_code == 200
    assert desk.sql("SELECT reference_price FROM orders") == [(None,)]


def test_no_position_is_a_404_in_the_words_of_the_venue(bot: Bot, desk: Desk) -> None:
    refused(bot("DELETE", "/positions/MSFT"), 404, "not found")
    for name in ("x y", "..%2Forders", "*"):
        refused(bot("DELETE", f"/positions/{name}"), 404)
    assert count(desk) == 0


# Not twice over


def test_a_position_is_not_closed_beside_an_order_that_closes_it(
    bot: Bot, holding: None, desk: Desk, venue: Venue
) -> None:
    first = bot("DELETE", "/positions/AAPL").get_json()
    refused(bot("DELETE", "/positions/AAPL"), 403, "not final")
    for status in ("sending", "unknown", "partially_filled"):
        desk.sql("UPDATE orders SET status = %s", status)
        refused(bot("DELETE", "/positions/AAPL"), 403, "not final")
    desk.sql("UPDATE orders SET status = 'venue_canceled'")
    assert bot("DELETE", "/positions/AAPL").get_json()["id"] != first["id"]
    assert len(venue.orders) == 2


def test_nor_beside_one_that_waits_or_is_spelt_otherwise(bot: Bot, account: Account, operator: Api) -> None:
    operator.put("/approval-config", {"auto_approve_paper": False})
    account.says = said(200, position("BTCUSD", "1"))
    assert bot.order(symbol="BTC/USD", side="sell").get_json()["status"] == "pending_review"
    refused(bot("DELETE", "/positions/BTCUSD"), 403, "not final")


def test_two_at_once_close_it_once(app: Flask, bot: Bot, holding: None, desk: Desk, venue: Venue) -> None:
    bots = [Bot(app.test_client(), ".".join(bot.headers.values())) for _ in range(4)]
    answers = results_of(*[lambda bot=bot: bot("DELETE", "/positions/AAPL").status_code for bot in bots])
    assert sorted(answers) == [200, 403, 403, 403]
    assert len(venue.orders) == count(desk) == 1


def test_what_other_orders_hold_is_not_closed(bot: Bot, account: Account, desk: Desk) -> None:
    account.says = said(200, position("AAPL", "7") | {"qty_available": "4"})
    refused(bot("DELETE", "/positions/AAPL"), 403, "insufficient qty available", "available: 4")
    assert count(desk) == 0
    assert bot("DELETE", "/positions/AAPL?qty=4").status_code == 200


def test_a_retry_with_its_key_is_the_same_order(bot: Bot, venue: Venue, account: Account, desk: Desk) -> None:
    key = {"headers": {"Idempotency-Key": "k" * 100}}
    account.says = said(200, position("AAPL", "7"))
    first = bot("DELETE", "/positions/AAPL", **key).get_json()
    account.says = said(200, position("AAPL", "6") | {"current_price": "99"})
    assert bot("DELETE", "/positions/AAPL", **key).get_json() == first
    account.says = said(404, {"code": 40410000, "message": "position does not exist"})
    assert bot("DELETE", "/positions/AAPL", **key).get_json() == first
    refused(bot("DELETE", "/positions/AAPL?qty=1", **key), 422, "must be unique")
    assert count(desk) == len(venue.orders) == 1


def test_a_key_that_cannot_be_kept_is_refused(bot: Bot, holding: None, desk: Desk) -> None:
    key = {"headers": {"Idempotency-Key": "k" * 101}}
    refused(bot("DELETE", "/positions/AAPL", **key), 422, "Idempotency-Key")
    refused(bot("POST", "/orders", {"symbol": "A"}, **key), 422)
    assert count(desk) == 0


# All of them


def results(answer: TestResponse) -> dict[str | None, int]:
    assert answer.status_code == 207, answer.text
    for entry in answer.get_json():
        assert set(entry) == {"symbol", "status", "body"}
        assert entry["status"] == 200 or set(entry["body"]) == {"code", "message"}
    return {entry["symbol"]: entry["status"] for entry in answer.get_json()}


def test_closing_all_has_a_result_for_each_whatever_becomes_of_one(
    bot: Bot, account: Account, operator: Api, desk: Desk
) -> None:
    operator.post("/lockouts", {"ticker": "MSFT", "reason": "x", "duration_minutes": 5})
    account.says = said(
        200,
        [
            position("MSFT", "1"),
            {"symbol": "ODD", "qty": "many"},
            "nonsense",
            position("HELD", "5") | {"qty_available": "0"},
            position("AAPL", "2"),
        ],
    )
    key = {"headers": {"Idempotency-Key": "all"}}
    answer = bot("DELETE", "/positions", **key)
    assert results(answer) == {"MSFT": 403, "ODD": 502, None: 502, "HELD": 403, "AAPL": 200}
    assert bot("DELETE", "/positions", **key).get_json() == answer.get_json()
    assert on_record(desk) == [
        ("MSFT", "sell", "1.000000000", "blocked"),
        ("AAPL", "sell", "2.000000000", "accepted"),
    ]


def test_one_key_closes_each_of_two_symbols_that_differ_in_separators(bot: Bot, venue: Venue) -> None:
    """They may be two instruments of the broker: closing goes by the ticker as it is stored."""
    venue.positions = {"BF.B": "7", "BFB": "2"}
    key = {"headers": {"Idempotency-Key": "all"}}
    first = bot("DELETE", "/positions/BF.B", **key).get_json()
    refused(bot("DELETE", "/positions/BFB", **key), 403, "not final")
    assert bot("DELETE", f"/orders/{first['id']}").status_code == 204
    second = bot("DELETE", "/positions/BFB", **key).get_json()
    assert (second["symbol"], second["qty"]) == ("BFB", "2")
    for symbol, closed in (("BF.B", first), ("BFB", second)):
        assert bot("DELETE", f"/positions/{symbol}", **key).get_json()["id"] == closed["id"]


def test_one_whose_transaction_fails_does_not_hide_the_others(
    bot: Bot, venue: Venue, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    from app.services.execution import close_position as desk_closing

    venue.positions = {"AAPL": "7", "MSFT": "1"}
    really = desk_closing.close

    def close(actor: Any, position: Any, *more: Any) -> Any:
        if position.ticker == "AAPL":
            raise RuntimeError("out of order")
        return really(actor, position, *more)

    monkeypatch.setattr(desk_closing, "close", close)
    assert results(bot("DELETE", "/positions")) == {"AAPL": 500, "MSFT": 200}


@pytest.mark.parametrize("word", ["true", "True"])
def test_open_orders_are_withdrawn_first_where_that_is_asked_for(
    bot: Bot, venue: Venue, holding: None, word: str
) -> None:
    stop = bot.order(type="stop", side="sell", stop_price=90).get_json()
    assert results(bot("DELETE", "/positions")) == {"AAPL": 403}
    assert results(bot("DELETE", f"/positions?cancel_orders={word}")) == {"AAPL": 200}
    assert bot("GET", f"/orders/{stop['id']}").get_json()["status"] == "canceled"


def test_what_they_held_is_free_then(bot: Bot, account: Account) -> None:
    def held() -> None:
        available = "0" if len(account.asked) == 1 else "7"
        account.says = said(200, [position("AAPL", "7") | {"qty_available": available}])

    account.meanwhile = held  # type: ignore[method-assign]
    bot.order(type="stop", side="sell", stop_price=90)
    assert results(bot("DELETE", "/positions?cancel_orders=true")) == {"AAPL": 200}


def test_no_order_is_withdrawn_where_the_venue_does_not_tell_of_positions(
    bot: Bot, account: Account, desk: Desk
) -> None:
    bot.order(type="limit", limit_price=5)
    account.says = said(503, {})
    refused(bot("DELETE", "/positions?cancel_orders=true"), 502)
    assert desk.sql("SELECT status, cancel_asked_at FROM orders") == [("accepted", None)]


@pytest.mark.parametrize("query", ["cancel_orders=perhaps", "cancel_orders=", "percentage=5"])
def test_what_closing_all_does_not_know_is_named(bot: Bot, holding: None, desk: Desk, query: str) -> None:
    refused(bot("DELETE", f"/positions?{query}"), 422, query.partition("=")[0])
    assert count(desk) == 0


@pytest.mark.parametrize("answer", [said(200, HTML), said(200, {}), said(200, b"null"), said(401, {})], ids=repr)
def test_positions_that_make_no_sense(bot: Bot, account: Account, answer: Answer) -> None:
    account.says = answer
    refused(bot("DELETE", "/positions"), 502)


# Meanwhile


@pytest.mark.parametrize("path", ["/positions/AAPL", "/positions"])
def test_a_token_that_is_revoked_while_the_venue_is_slow_closes_nothing(
    bot: Bot, app: Flask, account: Account, holding: None, desk: Desk, path: str
) -> None:
    def revoked() -> None:
        with app.app_context():
            users.revoke_token(TESTER, bot.headers["APCA-API-KEY-ID"])

    account.meanwhile = revoked  # type: ignore[method-assign]
    answer = bot("DELETE", path)
    if path == "/positions":
        assert results(answer) == {"AAPL": 403}
    else:
        refused(answer, 403, "revoked")
    assert count(desk) == 0


def test_nor_does_it_replace_anything(
    bot: Bot, app: Flask, operator: Api, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    operator.put("/approval-config", {"auto_approve_paper": False})
    old = bot.order().get_json()
    really = Dispatch.replace

    def replace(self: Dispatch, *arguments: Any) -> Any:
        users.revoke_token(TESTER, bot.headers["APCA-API-KEY-ID"])
        return really(self, *arguments)

    monkeypatch.setattr(Dispatch, "replace", replace)
    refused(bot("PATCH", f"/orders/{old['id']}", {"qty": 3}), 403, "revoked")
    assert desk.sql("SELECT status FROM orders") == [("pending_approval",)]


def test_a_position_of_one_mode_is_not_closed_in_another(
    accounts_of: Callable[..., Mapping[str, Account]],
    bot: Bot,
    admin: Api,
    venue: Venue,
    holding: None,
    desk: Desk,
) -> None:
    live = accounts_of("paper", "live")["live"]
    admin.put("/mode", {"trading_mode": "live", "from": "paper", "reason": "x"})
    live.meanwhile = lambda: admin.put(  # type: ignore[method-assign]
        "/mode", {"trading_mode": "paper", "from": "live", "reason": "x"}
    )
    refused(bot("DELETE", "/positions/AAPL"), 409, "paper", "live")
    assert count(desk) == 0
    assert venue.orders == {}


def test_while_halted_the_gate_says_no_and_that_is_on_record(
    bot: Bot, admin: Api, holding: None, desk: Desk
) -> None:
    admin.put("/mode", {"trading_mode": "disabled"})
    refused(bot("DELETE", "/positions/AAPL"), 403, "trading_disabled")
    assert desk.sql("SELECT status FROM orders") == [("blocked",)]


# What is read


@pytest.mark.parametrize("left", ["paper", "live"])
def test_while_halted_the_account_of_the_mode_before_is_read(
    accounts_of: Callable[..., Mapping[str, Account]], bot: Bot, admin: Api, left: str
) -> None:
    both = accounts_of("paper", "live")
    if left == "live":
        admin.put("/mode", {"trading_mode": "live", "from": "paper", "reason": "x"})
    admin.put("/mode", {"trading_mode": "disabled"})
    assert bot("GET", "/account").status_code == 200
    assert {mode: one.asked for mode, one in both.items()} == {"paper": [], "live": []} | {left: ["/account"]}


def test_the_account_of_another_mode_is_never_read_instead(
    accounts_of: Callable[..., Mapping[str, Account]], bot: Bot, admin: Api, desk: Desk
) -> None:
    live = accounts_of("live")["live"]
    for halted in (False, True):
        if halted:
            desk.sql(
                "UPDATE risk_configs SET trading_mode = 'disabled'"
            )  # and the record does not say what was left
        refused(bot("GET", "/positions"), 404, "no venue", "paper")
    assert live.asked == []


@pytest.mark.parametrize("status", [301, 401, 403, 429, 500, 504])
@pytest.mark.parametrize("path", ["/account", "/positions/AAPL"])
def test_a_no_that_is_between_desk_and_venue_is_no_word_on_the_bots_key(
    bot: Bot, account: Account, status: int, path: str
) -> None:
    account.says = said(status, {"code": status * 100_000, "message": "request is not authorized"})
    refused(bot("GET", path), 502)


@pytest.mark.parametrize("status", [200, 400, 404, 422])
def test_html_is_never_handed_on(bot: Bot, account: Account, status: int) -> None:
    account.says = said(status, HTML)
    refused(bot("GET", "/account"), 502)


def test_what_is_wrong_with_the_request_is_handed_on(bot: Bot, account: Account) -> None:
    account.says = said(422, {"code": 42210000, "message": "start is no date"})
    answer = bot("GET", "/calendar?start=x")
    assert (answer.status_code, answer.get_json()["message"]) == (422, "start is no date")


@pytest.mark.parametrize("answer", [said(401, {}), said(200, HTML), said(200, []), said(200, b"null"), None])
@pytest.mark.parametrize("halted", [True, False])
def test_whether_trade_is_suspended_is_told_whatever_the_venue_says(
    bot: Bot, account: Account, admin: Api, venue: Venue, answer: Answer | None, halted: bool
) -> None:
    account.says = answer
    if answer is None:
        venue.go_away()
    if halted:
        admin.put("/mode", {"trading_mode": "disabled"})
    found = bot("GET", "/account/configurations")
    assert found.status_code == 200
    assert found.get_json()["suspend_trade"] is halted
    assert {"fractional_trading", "max_margin_multiplier", "no_shorting", "trade_confirm_email"} <= set(
        found.get_json()
    )


# What is answered once an order is on record


@pytest.mark.parametrize("status", [429, 504])
def test_nothing_that_would_be_sent_again_is_answered(
    bot: Bot, venue: Venue, holding: None, desk: Desk, status: int
) -> None:
    order = bot.order(type="limit", limit_price=5).get_json()
    venue.fails = status
    answers = [
        bot.order(),
        bot("PATCH", f"/orders/{order['id']}", {"qty": 3}),
        bot("DELETE", f"/orders/{order['id']}"),
        bot("DELETE", "/orders"),
        bot("DELETE", "/positions/AAPL"),
        bot("DELETE", "/positions"),
        bot("GET", "/account"),
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 204, 207, 502, 502, 502]
    assert {entry["status"] for entry in answers[3].get_json()}.isdisjoint({429, 504})


@pytest.mark.parametrize("code", [42910000, 50410000, 0, "x"])
def test_nor_is_a_rejection_in_such_words(bot: Bot, venue: Venue, code: Any) -> None:
    venue.rejects = {"code": code, "message": "not now"}
    refused(bot.order(), 422, "not now")


def test_a_rejection_of_many_words_is_one_too(bot: Bot, venue: Venue) -> None:
    venue.rejects = {"code": 40310000, "message": "insufficient buying power " * 50}
    answer = bot.order()
    refused(answer, 403, "insufficient buying power")
    assert answer.get_json()["code"] == 40310000


# When


def test_the_instants_are_those_at_which_it_happened(bot: Bot, desk: Desk) -> None:
    """Released, heard of at the venue, filled: never one for the other."""
    order_id = bot.order().get_json()["id"]
    released = bot("GET", f"/orders/{order_id}").get_json()["created_at"]
    ends = {
        "filled": "filled_at",
        "replaced": "replaced_at",
        "venue_rejected": "failed_at",
        "venue_canceled": "canceled_at",
        "venue_expired": "expired_at",
    }
    at = "2031-03-02T14:30:00.000000Z"
    for status, name in ends.items():
        for venue_at in (at, None):
            desk.sql("UPDATE orders SET status = %s, venue_at = %s", status, venue_at)
            shown = bot("GET", f"/orders/{order_id}").get_json()
            assert {end: shown[end] for end in ends.values()} == dict.fromkeys(ends.values()) | {name: venue_at}
            assert shown["updated_at"] == (venue_at or released)
            assert (shown["created_at"], shown["submitted_at"]) == (released, released)
    desk.sql("UPDATE orders SET status = 'accepted', venue_at = %s", at)
    shown = bot("GET", f"/orders/{order_id}").get_json()
    assert {shown[end] for end in ends.values()} == {None}
    assert shown["updated_at"] == at


def test_what_ended_at_the_desk_ended_when_it_was_decided(bot: Bot, operator: Api, desk: Desk) -> None:
    operator.put("/approval-config", {"auto_approve_paper": False})
    canceled, rejected, expired = (bot.order().get_json()["id"] for _ in range(3))
    bot("DELETE", f"/orders/{canceled}")
    operator.post(f"/approvals/{rejected}/reject", {"reason": "no"})
    desk.sql("UPDATE orders SET expires_at = clock_timestamp() WHERE id = %s", expired)
    for order_id, name in ((canceled, "canceled_at"), (rejected, "failed_at"), (expired, "expired_at")):
        shown = bot("GET", f"/orders/{order_id}").get_json()
        [(decided_at,)] = desk.sql("SELECT decided_at FROM orders WHERE id = %s", order_id)
        assert shown[name] == shown["updated_at"] == rfc3339(decided_at)
        assert shown["filled_at"] is None


# Replacing


def test_a_replacement_names_what_it_replaces(bot: Bot, holding: None) -> None:
    old = bot.order(type="limit", limit_price=5).get_json()
    assert old["replaces"] is None
    new = bot("PATCH", f"/orders/{old['id']}", {"limit_price": 6}).get_json()
    assert new["replaces"] == old["id"]
    assert bot("GET", f"/orders/{new['id']}").get_json()["replaces"] == old["id"]


def test_the_gate_does_not_judge_a_replacement_by_the_old_price(bot: Bot, desk: Desk) -> None:
    desk.sql("""UPDATE risk_configs SET config = '{"position_limits": {"price_collar_pct": "5"}}'""")
    old = bot.order(type="limit", limit_price=100, reference_price=100).get_json()
    assert old["status"] == "new"
    refused(bot("PATCH", f"/orders/{old['id']}", {"limit_price": 104}), 403, "price_unknown")
    refused(bot("PATCH", f"/orders/{old['id']}", {"limit_price": 104, "reference_price": 90}), 403, "price_collar")
    new = bot("PATCH", f"/orders/{old['id']}", {"limit_price": 104, "reference_price": 101.5})
    assert new.status_code == 200, new.text
    assert desk.sql("SELECT reference_price::text FROM orders WHERE id = %s", new.get_json()["id"]) == [
        ("101.500000000",)
    ]


def test_what_is_filled_in_part_is_not_replaced(bot: Bot, desk: Desk, venue: Venue) -> None:
    order_id = bot.order(type="limit", limit_price=5).get_json()["id"]
    desk.sql("UPDATE orders SET status = 'partially_filled', filled_qty = 4")
    refused(bot("PATCH", f"/orders/{order_id}", {"qty": 12}), 422, "filled in part (4)")
    assert count(desk) == len(venue.orders) == 1


# In bulk


def test_what_is_approved_in_bulk_is_sent_by_the_queue_and_not_in_the_request(
    bot: Bot, app: Flask, operator: Api, venue: Venue, desk: Desk
) -> None:
    operator.put("/approval-config", {"auto_approve_paper": False})
    ids = [bot.order().get_json()["id"] for _ in range(3)]
    decisions = [{"id": order_id, "action": "approve"} for order_id in ids]
    answer = operator.post("/approvals/decisions", {"decisions": decisions}).get_json()
    assert [result["order"]["status"] for result in answer["results"]] == ["released"] * 3
    assert "POST /v2/orders" not in venue.asked
    desk.sql("UPDATE orders SET try_at = clock_timestamp()")
    with app.app_context():
        app.extensions["dispatch"].once()
    assert len(venue.orders) == 3
    assert desk.sql("SELECT DISTINCT status FROM orders") == [("accepted",)]
