"""The door for bots that speak Alpaca's Trading API: what the official SDK sends, and what it would not."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app.services.accounts import users
from tests.conftest import Api
from tests.serving import TESTER, Desk
from tests.web.conftest import Browser

ORDER = {"symbol": "AAPL", "qty": 10, "side": "buy", "type": "market", "time_in_force": "day"}
SDK_STATUSES = {
    *("new", "partially_filled", "filled", "done_for_day", "canceled", "expired", "replaced", "pending_cancel"),
    *("pending_replace", "pending_review", "accepted", "pending_new", "accepted_for_bidding", "stopped"),
    *("rejected", "suspended", "calculated", "held"),
}


class Bot:
    """Somebody with the two halves of a token."""

    def __init__(self, client: FlaskClient, token: str) -> None:
        self.client = client
        key, _, secret = token.partition(".")
        self.headers = {"APCA-API-KEY-ID": key, "APCA-API-SECRET-KEY": secret}

    def __call__(self, method: str, path: str, body: Any = None, **more: Any) -> TestResponse:
        if isinstance(body, str):
            more |= {"data": body, "content_type": "application/json"}
        elif body is not None:
            more |= {"json": body}
        headers = self.headers | more.pop("headers", {})
        return self.client.open(f"/v2{path}", method=method, headers=headers, **more)

    def order(self, **changes: Any) -> TestResponse:
        return self("POST", "/orders", ORDER | changes)


@pytest.fixture
def bot(app: Flask, desk: Desk) -> Bot:
    return Bot(app.test_client(), desk.add_token("momentum", "engine"))


@pytest.fixture
def another(app: Flask, desk: Desk) -> Bot:
    return Bot(app.test_client(), desk.add_token("another", "engine"))


def refused(answer: TestResponse, status: int, *words: str) -> None:
    assert answer.status_code == status, answer.text
    assert answer.mimetype == "application/json"
    body = answer.get_json()
    assert set(body) == {"code", "message"}
    assert str(body["code"]).startswith(str(status))
    for word in words:
        assert word in body["message"], body


def count(desk: Desk) -> int:
    return int(desk.sql("SELECT count(*) FROM orders")[0][0])


# Who gets in


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"APCA-API-KEY-ID": "nobody", "APCA-API-SECRET-KEY": "nothing"},
        {"APCA-API-KEY-ID": ""},
        {"APCA-API-SECRET-KEY": "alone"},
        {"Authorization": "Bearer nobody.nothing"},
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_nobody_gets_in_without_a_token(app: Flask, desk: Desk, headers: dict[str, str], method: str) -> None:
    answer = app.test_client().open("/v2/orders", method=method, headers=headers)
    refused(answer, 401 if method != "POST" else answer.status_code)
    assert answer.status_code in (401, 415)
    assert count(desk) == 0


def test_the_wrong_half_is_not_let_in(bot: Bot) -> None:
    bot.headers["APCA-API-SECRET-KEY"] = "x" * 43
    refused(bot("GET", "/orders"), 401)
    refused(bot.order(), 401)


def test_a_bearer_token_does_too(bot: Bot, app: Flask) -> None:
    token = ".".join(bot.headers.values())
    answer = app.test_client().get("/v2/orders", headers={"Authorization": f"Bearer {token}"})
    assert (answer.status_code, answer.get_json()) == (200, [])


def test_a_revoked_token_is_out_at_once(bot: Bot, app: Flask) -> None:
    assert bot("GET", "/orders").status_code == 200
    with app.app_context():
        users.revoke_token(TESTER, bot.headers["APCA-API-KEY-ID"])
    refused(bot("GET", "/orders"), 401)
    refused(bot.order(), 401)


def test_a_cookie_of_a_load_balancer_is_no_browser(bot: Bot) -> None:
    for name in ("AWSALB", "countersign_session"):
        bot.client.set_cookie(name, "x")
    order = bot.order()
    assert order.status_code == 200, order.text
    assert bot("GET", "/orders").status_code == 200
    assert bot("DELETE", "/orders").status_code == 207
    refused(bot("DELETE", f"/orders/{order.get_json()['id']}"), 422, "accepted")
    bearer = {"Authorization": f"Bearer {'.'.join(bot.headers.values())}"}
    assert bot.client.delete("/v2/orders", headers=bearer).status_code == 207
    # Elsewhere a cookie may mean a browser that was tricked, as before.
    answer = bot.client.post("/api/admin/trading/orders", json={}, headers=bearer)
    assert (answer.status_code, answer.get_json(force=True)["code"]) == (403, "csrf_failed")


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_no_session_is_let_in(browser: Callable[..., Browser], desk: Desk, method: str) -> None:
    person = browser("admin")
    headers = {"X-CSRFToken": person.csrf}
    refused(person.open(method, "/v2/orders", json=ORDER, headers=headers), 401)
    wrong = headers | {"APCA-API-KEY-ID": "nobody", "APCA-API-SECRET-KEY": "nothing"}
    refused(person.open(method, "/v2/orders", json=ORDER, headers=wrong), 401)
    assert count(desk) == 0


@pytest.mark.parametrize("role", ["viewer", "operator", "admin"])
def test_only_engines_trade(app: Flask, desk: Desk, role: str) -> None:
    person = Bot(app.test_client(), desk.add_token("person", role))
    refused(person.order(), 403)
    assert count(desk) == 0


def test_the_two_halves_are_for_this_door_alone(bot: Bot, app: Flask) -> None:
    assert app.test_client().get("/api/admin/trading/orders", headers=bot.headers).status_code == 401


# An order


def test_an_order_is_an_order_like_any_other(bot: Bot, api: Callable[..., Api], desk: Desk) -> None:
    answer = bot.order(client_order_id="mine", strategy="trend", rationale="it rises", reference_price="151")
    assert answer.status_code == 200, answer.text
    shown = answer.get_json()
    assert (shown["status"], shown["symbol"], shown["qty"], shown["client_order_id"]) == (
        *("accepted", "AAPL", "10"),
        "mine",
    )
    [order] = api("viewer").get("/orders").get_json()["items"]
    assert (order["engine"], order["strategy"], order["status"]) == ("momentum", "trend", "released")
    assert (order["id"], order["client_order_id"]) == (shown["id"], "mine")


def test_numbers_are_taken_digit_by_digit(bot: Bot, desk: Desk) -> None:
    text = """{"symbol": "AAPL", "side": "buy", "type": "limit", "time_in_force": "day",
               "qty": 123456789012345678.123456789, "limit_price": 0.1}"""
    assert bot("POST", "/orders", text).status_code == 200
    assert desk.sql("SELECT qty::text, limit_price::text FROM orders") == [
        ("123456789012345678.123456789", "0.100000000")
    ]


@pytest.mark.parametrize("number", ["1e-9", "1E+2", "10.0", '"10"', "10"])
def test_however_a_number_is_written(bot: Bot, number: str) -> None:
    text = json.dumps(ORDER).replace("10", number, 1)
    assert bot("POST", "/orders", text).status_code == 200


@pytest.mark.parametrize("number", ["0", "-1", "1e-10", "1e18", "NaN", "true", "null", '"ten"', "[]", "1e400"])
def test_what_is_no_quantity_is_refused(bot: Bot, desk: Desk, number: str) -> None:
    answer = bot("POST", "/orders", json.dumps(ORDER).replace("10", number, 1))
    assert answer.status_code in (400, 422)
    assert set(answer.get_json()) == {"code", "message"}
    assert count(desk) == 0


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("take_profit", {"limit_price": 160}),
        ("stop_loss", {"stop_price": 140}),
        ("legs", []),
        ("trail_price", 1),
        ("trail_percent", 1.5),
        ("position_intent", "buy_to_open"),
        ("order_class", "bracket"),
        ("extended_hours", True),
        ("type", "trailing_stop"),
        ("colour", "red"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(bot: Bot, desk: Desk, field: str, value: Any) -> None:
    refused(bot.order(**{field: value}), 422, field)
    assert count(desk) == 0


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("take_profit", None),
        ("legs", None),
        ("order_class", "simple"),
        ("order_class", ""),
        ("order_class", None),
        ("extended_hours", False),
        ("notional", None),
        ("client_order_id", None),
    ],
)
def test_what_asks_for_nothing_more_is_none_of_that(bot: Bot, field: str, value: Any) -> None:
    assert bot.order(**{field: value}).status_code == 200


@pytest.mark.parametrize("missing", ["symbol", "qty", "side", "type", "time_in_force"])
def test_what_is_missing_is_named(bot: Bot, missing: str) -> None:
    refused(
        bot("POST", "/orders", {name: value for name, value in ORDER.items() if name != missing}), 422, missing
    )


@pytest.mark.parametrize("body", ["", "{", "[]", "5", '{"symbol": 1, "symbol": 2}'])
def test_what_is_no_json_is_refused_in_alpacas_words(bot: Bot, body: str) -> None:
    refused(bot("POST", "/orders", body), 400)


def test_an_order_that_is_blocked_is_forbidden_and_on_record(bot: Bot, holding_aapl: None, desk: Desk) -> None:
    answer = bot.order()
    refused(answer, 403, "symbol_locked_out", "earnings")
    assert desk.sql("SELECT status FROM orders") == [("blocked",)]


@pytest.mark.parametrize(
    ("locked", "spelt"),
    [("BTC/USD", "btcusd"), ("BTCUSD", "BTC/USD"), ("BRK.B", "BRK/B"), ("BRK-B", "BRKB"), ("BRKB", "brk.b")],
)
def test_a_symbol_is_locked_out_however_it_is_spelt(bot: Bot, operator: Api, locked: str, spelt: str) -> None:
    operator.post("/lockouts", {"ticker": locked, "reason": "earnings", "duration_minutes": 60})
    refused(bot.order(symbol=spelt), 403, "symbol_locked_out", f"{locked} is locked out")
    assert bot.order(symbol=f"{spelt}X").status_code == 200


def test_every_reason_is_named(bot: Bot, holding_aapl: None, admin: Api) -> None:
    admin.put("/mode", {"trading_mode": "disabled"})
    refused(bot.order(), 403, "trading_disabled", "symbol_locked_out")


@pytest.fixture
def holding_aapl(operator: Api) -> None:
    body = {"ticker": "AAPL", "reason": "earnings", "duration_minutes": 60}
    assert operator.post("/lockouts", body).status_code == 201


# Again


def test_the_same_order_again_is_the_same(bot: Bot, desk: Desk) -> None:
    first, again = (bot.order(client_order_id="a").get_json() for _ in range(2))
    assert first == again
    assert count(desk) == 1


def test_another_order_with_the_same_id_is_refused(bot: Bot, desk: Desk) -> None:
    bot.order(client_order_id="a")
    refused(bot.order(client_order_id="a", qty=11), 422, "client_order_id must be unique")
    assert count(desk) == 1


def test_one_without_an_id_gets_one(bot: Bot, desk: Desk) -> None:
    one, other = (bot.order().get_json()["client_order_id"] for _ in range(2))
    assert one
    assert other
    assert one != other
    assert count(desk) == 2


def test_a_key_of_idempotency_keeps_one_without_an_id_from_being_doubled(bot: Bot, desk: Desk) -> None:
    ids = {bot("POST", "/orders", ORDER, headers={"Idempotency-Key": "k1"}).get_json()["id"] for _ in range(2)}
    assert len(ids) == 1
    assert count(desk) == 1


# Reading


def test_the_words_are_those_of_the_sdk(bot: Bot, desk: Desk) -> None:
    from app.domain.order_status import OrderStatus
    from app.web.alpaca.serializers import STATUSES

    assert set(STATUSES) == set(OrderStatus)
    assert set(STATUSES.values()) <= SDK_STATUSES


def test_an_order_by_its_id_and_by_that_of_the_bot(bot: Bot, another: Bot) -> None:
    shown = bot.order(client_order_id="mine").get_json()
    assert bot("GET", f"/orders/{shown['id']}").get_json() == shown
    assert bot("GET", "/orders:by_client_order_id?client_order_id=mine").get_json() == shown
    refused(another("GET", f"/orders/{shown['id']}"), 404)
    refused(another("GET", "/orders:by_client_order_id?client_order_id=mine"), 404)
    refused(bot("GET", "/orders:by_client_order_id"), 404)


@pytest.mark.parametrize("order_id", ["x", "0", str(uuid.UUID(int=0)), "%00", "..", "a" * 500])
def test_the_id_of_nothing(bot: Bot, order_id: str) -> None:
    refused(bot("GET", f"/orders/{order_id}"), 404)
    refused(bot("DELETE", f"/orders/{order_id}"), 404)
    refused(bot("PATCH", f"/orders/{order_id}", {"qty": 1}), 404)


@pytest.fixture
def five(bot: Bot, operator: Api) -> list[str]:
    """Three that may still change, one of which waits, and two that may not; the oldest first."""
    ids = [
        bot.order(client_order_id="a").get_json()["id"],
        bot.order(client_order_id="b", symbol="MSFT", side="sell").get_json()["id"],
    ]
    operator.put("/approval-config", {"auto_approve_paper": False})
    ids += [bot.order(client_order_id=name).get_json()["id"] for name in ("c", "d", "e")]
    for order_id in ids[3:]:
        operator.post(f"/approvals/{order_id}/reject", {"reason": "no"})
    return ids


def test_a_list_by_status(bot: Bot, five: list[str]) -> None:
    def listed(query: str = "") -> list[str]:
        return [shown["client_order_id"] for shown in bot("GET", f"/orders{query}").get_json()]

    assert listed() == ["c", "b", "a"]
    assert listed("?status=closed") == ["e", "d"]
    assert listed("?status=all") == ["e", "d", "c", "b", "a"]
    assert listed("?status=all&direction=asc&limit=2") == ["a", "b"]
    assert listed("?status=all&side=sell") == ["b"]
    assert listed("?status=all&symbols=msft,TSLA") == ["b"]


def test_a_list_by_symbols_has_every_spelling(bot: Bot) -> None:
    for name, symbol in (("a", "BTC/USD"), ("b", "ESZ26"), ("c", "AAPL261218C00200000")):
        bot.order(client_order_id=name, symbol=symbol)
    shown = bot("GET", "/orders?status=all&symbols=btcusd,ESZ6,AAPL").get_json()
    assert [one["client_order_id"] for one in shown] == ["b", "a"]


def test_an_order_has_its_asset_class(bot: Bot) -> None:
    classes = {"AAPL": "us_equity", "AAPL261218C00200000": "us_option", "BTC/USD": "crypto", "BRK.B": "us_equity"}
    for symbol, asset_class in classes.items():
        assert bot.order(symbol=symbol).get_json()["asset_class"] == asset_class


def test_a_list_by_time(bot: Bot, five: list[str]) -> None:
    middle = bot("GET", f"/orders/{five[2]}").get_json()["submitted_at"]
    for text in (middle, middle.replace("Z", "+00:00")):
        later = bot("GET", f"/orders?status=all&after={text}").get_json()
        earlier = bot("GET", f"/orders?status=all&until={text}").get_json()
        assert [shown["client_order_id"] for shown in later] == ["e", "d"]
        assert [shown["client_order_id"] for shown in earlier] == ["b", "a"]


def test_what_has_expired_is_closed_whether_it_is_written_down_or_not(
    bot: Bot, five: list[str], desk: Desk
) -> None:
    desk.sql("UPDATE orders SET expires_at = clock_timestamp() WHERE id = %s", five[2])
    assert five[2] not in [shown["id"] for shown in bot("GET", "/orders").get_json()]
    closed = {shown["id"]: shown["status"] for shown in bot("GET", "/orders?status=closed").get_json()}
    assert closed[five[2]] == "expired"


@pytest.mark.parametrize(
    "query",
    [
        "status=some",
        "limit=0",
        "limit=501",
        "limit=x",
        "after=now",
        "until=2026-03-02T10:00",
        "direction=up",
        "side=both",
        "symbols=*",
        "symbols=A%00",
    ],
)
def test_a_filter_that_cannot_be_read_is_named(bot: Bot, query: str) -> None:
    refused(bot("GET", f"/orders?{query}"), 422, query.partition("=")[0])


def test_nobody_sees_the_orders_of_others(bot: Bot, another: Bot) -> None:
    bot.order()
    assert another("GET", "/orders?status=all").get_json() == []


# Withdrawing and replacing


def test_what_waits_is_withdrawn(bot: Bot, five: list[str]) -> None:
    answer = bot("DELETE", f"/orders/{five[2]}")
    assert (answer.status_code, answer.data) == (204, b"")
    assert bot("GET", f"/orders/{five[2]}").get_json()["status"] == "canceled"
    refused(bot("DELETE", f"/orders/{five[2]}"), 422, "canceled")


def test_what_the_engine_executes_itself_cannot_be(bot: Bot, five: list[str]) -> None:
    refused(bot("DELETE", f"/orders/{five[0]}"), 422, "accepted")


def test_nobody_withdraws_the_orders_of_others(another: Bot, five: list[str]) -> None:
    refused(another("DELETE", f"/orders/{five[2]}"), 404)
    assert another("DELETE", "/orders").get_json() == []


def test_all_at_once_with_a_result_for_each(bot: Bot, five: list[str], operator: Api) -> None:
    operator.put("/mode", {"trading_mode": "paper", "from": "paper", "reason": "x"})
    answer = bot("DELETE", "/orders")
    assert answer.status_code == 207
    # Without a venue a released order is its engine's to execute.
    released = [
        shown["id"] for shown in bot("GET", "/orders?status=all").get_json() if shown["status"] == "accepted"
    ]
    assert released
    assert {entry["id"]: entry["status"] for entry in answer.get_json()} == {
        five[2]: 200,
        **dict.fromkeys(released, 422),
    }


def test_of_the_released_ones_the_newest_500_are_named(bot: Bot, five: list[str], desk: Desk) -> None:
    desk.sql(
        "INSERT INTO orders (account_id, engine, client_order_id, ticker, side, qty, type, time_in_force,"
        " trading_mode, status, decided_at, decided_by) SELECT account_id, engine, 'many-' || n, ticker, 'buy', 1,"
        " 'market', 'day', 'paper', 'released', now(), 'system:gate' FROM orders, generate_series(1, 600) n"
        " WHERE id = %s",
        five[2],
    )
    statuses = [entry["status"] for entry in bot("DELETE", "/orders").get_json()]
    assert (statuses.count(200), statuses.count(422)) == (1, 500)
    assert [entry["status"] for entry in bot("DELETE", "/orders").get_json()] == [422] * 500


def test_a_date_is_its_first_instant(bot: Bot, five: list[str], desk: Desk) -> None:
    for order_id, at in zip(
        five, ("29T23:59:59.999999", "30T00:00", "30T00:00:00.000001", "30T12:00"), strict=False
    ):
        desk.sql(
            "UPDATE orders SET created_at = %s::timestamptz, decided_at = CASE WHEN decided_at IS NOT NULL THEN"
            " clock_timestamp() END WHERE id = %s",
            f"2026-03-{at}Z",
            order_id,
        )
    desk.sql("UPDATE orders SET created_at = '2026-04-02T00:00Z' WHERE id = %s", five[4])

    def listed(query: str) -> list[str]:
        return [shown["client_order_id"] for shown in bot("GET", f"/orders?status=all&{query}").get_json()]

    assert listed("until=2026-03-30") == ["a"]
    assert listed("after=2026-03-30") == ["e", "d", "c"]
    assert listed("after=2026-03-30&until=2026-03-31") == ["d", "c"]
    for wrong in ("2026-02-30", "2026-1-1", "20260330", "2026-W01-1", "2026-03-30T10:00", "1969-01-01"):
        refused(bot("GET", f"/orders?until={wrong}"), 422, "until")


def test_a_replaced_order_names_the_one_that_replaced_it(bot: Bot, five: list[str]) -> None:
    new = bot("PATCH", f"/orders/{five[2]}", {"qty": 7}).get_json()
    newest = bot("PATCH", f"/orders/{new['id']}", {"qty": 8}).get_json()
    assert (new["replaces"], newest["replaces"]) == (five[2], new["id"])
    listed = {shown["id"]: shown for shown in bot("GET", "/orders?status=all").get_json()}
    chain = [five[2], new["id"], newest["id"]]
    for order_id, before, after in zip(chain, [None, *chain], [*chain[1:], None], strict=False):
        by_client_id = f"/orders:by_client_order_id?client_order_id={listed[order_id]['client_order_id']}"
        for shown in (
            listed[order_id],
            bot("GET", f"/orders/{order_id}").get_json(),
            bot("GET", by_client_id).get_json(),
        ):
            assert (shown["replaces"], shown["replaced_by"]) == (before, after)
    assert [listed[order_id]["replaced_by"] for order_id in five if order_id != five[2]] == [None] * 4


def test_a_replacement_that_was_blocked_replaced_nothing(bot: Bot, five: list[str], holding_aapl: None) -> None:
    refused(bot("PATCH", f"/orders/{five[2]}", {"qty": 7}), 403, "symbol_locked_out")
    assert bot("DELETE", f"/orders/{five[2]}").status_code == 204
    assert bot("GET", f"/orders/{five[2]}").get_json()["replaced_by"] is None


def test_a_replacement_is_an_order_that_passes_the_gate(bot: Bot, five: list[str]) -> None:
    answer = bot("PATCH", f"/orders/{five[2]}", {"qty": 7})
    assert answer.status_code == 200, answer.text
    new = answer.get_json()
    assert (new["qty"], new["symbol"], new["status"]) == ("7", "AAPL", "pending_review")
    assert new["id"] != five[2]
    assert bot("GET", f"/orders/{five[2]}").get_json()["status"] == "canceled"


def test_a_replacement_that_is_blocked_leaves_the_old_one_as_it_was(
    bot: Bot, five: list[str], holding_aapl: None
) -> None:
    refused(bot("PATCH", f"/orders/{five[2]}", {"qty": 7}), 403, "symbol_locked_out")
    assert bot("GET", f"/orders/{five[2]}").get_json()["status"] == "pending_review"


@pytest.mark.parametrize("body", [{}, {"trail": 1}, {"qty": 0}, {"symbol": "MSFT"}, {"limit_price": 5}])
def test_a_replacement_that_makes_no_sense_changes_nothing(
    bot: Bot, five: list[str], body: dict[str, Any], desk: Desk
) -> None:
    refused(bot("PATCH", f"/orders/{five[2]}", body), 422)
    assert count(desk) == 5
    assert bot("GET", f"/orders/{five[2]}").get_json()["status"] == "pending_review"


def test_what_is_final_is_not_replaced(bot: Bot, five: list[str]) -> None:
    for order_id in (five[0], five[4]):
        refused(bot("PATCH", f"/orders/{order_id}", {"qty": 7}), 422)


# The account


def test_trading_is_suspended_while_the_desk_is_halted(bot: Bot, operator: Api) -> None:
    assert bot("GET", "/account/configurations").get_json()["suspend_trade"] is False
    operator.put("/mode", {"trading_mode": "disabled"})
    assert bot("GET", "/account/configurations").get_json()["suspend_trade"] is True


@pytest.mark.parametrize("path", ["/account", "/positions", "/positions/AAPL", "/assets", "/clock", "/calendar"])
def test_without_a_venue_there_is_no_account(bot: Bot, path: str) -> None:
    refused(bot("GET", path), 404, "no venue")


NOT_SERVED = {
    "GET /watchlists": "watchlists",
    "POST /watchlists": "watchlists",
    "DELETE /watchlists/1": "watchlists",
    "GET /watchlists:by_name": "watchlists",
    "POST /positions/AAPL261218C00200000/exercise": "exercising options",
    "POST /positions/AAPL261218C00200000/do-not-exercise": "exercising options",
    "GET /options/contracts": "option contracts",
    "GET /options/contracts/AAPL261218C00200000": "option contracts",
    "GET /account/portfolio/history": "portfolio history",
    "GET /account/activities": "account activities",
    "GET /account/activities/FILL": "account activities",
    "PATCH /account/configurations": "account configurations",
    "GET /corporate_actions/announcements": "corporate actions",
    "GET /wallets/transfers": "crypto wallets",
    "GET /perpetuals/wallets": "crypto wallets",
    "GET /stocks/AAPL/bars": "market data",
    "GET /../v1beta1/options/snapshots": "market data",
    "GET /../v1beta3/crypto/us/bars": "market data",
    "GET /../v1/accounts": "Broker API",
    "GET /../v3/clock": "clock",
}


@pytest.mark.parametrize("asked", NOT_SERVED)
def test_known_paths_that_are_not_served_say_so(app: Flask, bot: Bot, asked: str) -> None:
    method, path = asked.split(" ")
    url = f"/v2{path}" if not path.startswith("/..") else path.removeprefix("/..")
    for headers in (bot.headers, {}):
        answer = app.test_client().open(url, method=method, headers=headers)
        refused(answer, 404, "not served here", NOT_SERVED[asked])
        assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize("path", ["", "/", "/nonsense", "/orders/x/y"])
def test_there_is_nothing_else(bot: Bot, path: str) -> None:
    answer = bot("GET", path)
    assert answer.status_code == 404
