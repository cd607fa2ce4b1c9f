"""An unchanged bot with Alpaca's official SDK, which knows nothing of the desk but its address."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from alpaca.common.exceptions import APIError
from alpaca.trading.client import TradingClient
from alpaca.trading.enums import OrderClass, OrderSide, OrderStatus, QueryOrderStatus, TimeInForce
from alpaca.trading.models import Order
from alpaca.trading.requests import (
    ClosePositionRequest,
    GetOrdersRequest,
    LimitOrderRequest,
    MarketOrderRequest,
    ReplaceOrderRequest,
    StopLimitOrderRequest,
    StopLossRequest,
    TakeProfitRequest,
    TrailingStopOrderRequest,
)

from app.services.execution.order_updates import venue_order_id
from examples.freqtrade_countersign import Countersigned
from tests.at_once import Caller, until
from tests.serving import Server
from tests.venues.stand_in import Venue


class Shop:
    """A bot, an operator, the desk between the bot and the venue."""

    def __init__(self, server: Server, venue: Venue) -> None:
        self.token = server.add_token("momentum", "engine")
        key, _, secret = self.token.partition(".")
        self.bot = TradingClient(key, secret, url_override=server.url)
        self.operator = Caller(server.url, server.add_token("olga", "operator"))
        self.server, self.venue = server, venue

    def market(self, **changes: Any) -> Order:
        values = {"symbol": "AAPL", "qty": 10, "side": OrderSide.BUY, "time_in_force": TimeInForce.DAY} | changes
        order = self.bot.submit_order(MarketOrderRequest(**values))
        assert isinstance(order, Order)
        return order

    def there(self, order: Order) -> dict[str, Any]:
        """The one order at the venue."""
        [found] = self.venue.known(venue_order_id(order.id))
        return found

    def becomes(self, order: Order, status: OrderStatus) -> Order:
        def found() -> Order | None:
            shown = self.bot.get_order_by_id(order.id)
            assert isinstance(shown, Order)
            return shown if shown.status == status else None

        shown: Order = until(found, what=f"it never becomes {status}")
        return shown


@pytest.fixture
def shop(server: Server, venue_behind: Venue) -> Shop:
    return Shop(server, venue_behind)


def refused(error: pytest.ExceptionInfo[APIError], status: int, *words: str) -> None:
    assert error.value.status_code == status
    for word in words:
        assert word in error.value.message


def test_a_market_order_is_accepted_and_filled(shop: Shop) -> None:
    order = shop.market()
    assert (order.symbol, order.qty, order.status, order.side) == ("AAPL", "10", OrderStatus.NEW, OrderSide.BUY)
    assert shop.there(order)["qty"] == "10"
    shop.venue.fill(venue_order_id(order.id), "4", "187.5")
    part = shop.becomes(order, OrderStatus.PARTIALLY_FILLED)
    assert (part.filled_qty, part.filled_avg_price) == ("4", "187.5")
    shop.venue.fill(venue_order_id(order.id), "6", "187.6")
    whole = shop.becomes(order, OrderStatus.FILLED)
    assert whole.filled_qty == "10"
    assert whole.filled_at is not None


def test_a_limit_order_a_stop_limit_order_and_one_by_notional(shop: Shop) -> None:
    common: dict[str, Any] = {"symbol": "MSFT", "side": OrderSide.SELL, "time_in_force": TimeInForce.GTC}
    limit = shop.bot.submit_order(LimitOrderRequest(qty=0.1, limit_price=401.15, **common))
    stop = shop.bot.submit_order(StopLimitOrderRequest(qty=3, limit_price=390, stop_price=391.5, **common))
    assert isinstance(limit, Order)
    assert isinstance(stop, Order)
    assert (limit.qty, limit.limit_price, limit.time_in_force) == ("0.1", "401.15", TimeInForce.GTC)
    assert (shop.there(limit)["qty"], shop.there(limit)["limit_price"]) == ("0.1", "401.15")
    assert (stop.stop_price, shop.there(stop)["stop_price"]) == ("391.5", "391.5")
    notional = shop.market(qty=None, notional=1234.56)
    assert (notional.notional, notional.qty, shop.there(notional)["notional"]) == ("1234.56", None, "1234.56")


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (
            MarketOrderRequest(
                symbol="AAPL",
                qty=1,
                side=OrderSide.BUY,
                time_in_force=TimeInForce.DAY,
                order_class=OrderClass.BRACKET,
                take_profit=TakeProfitRequest(limit_price=300),
                stop_loss=StopLossRequest(stop_price=100),
            ),
            ("take_profit", "stop_loss", "not supported"),
        ),
        (
            TrailingStopOrderRequest(
                symbol="AAPL", qty=1, side=OrderSide.BUY, time_in_force=TimeInForce.DAY, trail_percent=5
            ),
            ("trail_percent", "type"),
        ),
    ],
)
def test_what_the_desk_does_not_do_is_refused_by_name(shop: Shop, request_: Any, words: tuple[str, ...]) -> None:
    with pytest.raises(APIError) as error:
        shop.bot.submit_order(request_)
    refused(error, 422, *words)
    assert shop.venue.orders == {}


def test_orders_are_found_and_listed(shop: Shop) -> None:
    first, second = shop.market(client_order_id="one"), shop.market(symbol="MSFT", side=OrderSide.SELL)
    by_name = shop.bot.get_order_by_client_id("one")
    assert isinstance(by_name, Order)
    assert by_name.id == first.id

    def listed(**query: Any) -> list[UUID]:
        found = shop.bot.get_orders(GetOrdersRequest(**query))
        return [order.id for order in found if isinstance(order, Order)]

    assert listed() == [second.id, first.id]
    assert listed(symbols=["MSFT"]) == [second.id]
    assert listed(side=OrderSide.BUY) == [first.id]
    assert listed(status=QueryOrderStatus.CLOSED) == []
    assert listed(status=QueryOrderStatus.ALL, limit=1) == [second.id]
    assert listed(after=first.created_at) == [second.id]
    assert listed(until=second.created_at) == [first.id]


def test_an_order_is_canceled_at_the_venue(shop: Shop) -> None:
    order = shop.market()
    shop.bot.cancel_order_by_id(order.id)
    assert shop.becomes(order, OrderStatus.CANCELED).canceled_at is not None
    assert shop.there(order)["status"] == "canceled"
    with pytest.raises(APIError) as error:
        shop.bot.cancel_order_by_id(order.id)
    refused(error, 422, "canceled")


def test_all_orders_are_canceled(shop: Shop) -> None:
    orders = [shop.market(), shop.market(symbol="MSFT")]
    results = shop.bot.cancel_orders()
    assert {(result.id, result.status) for result in results if not isinstance(result, str)} == {
        (order.id, 200) for order in orders
    }
    for order in orders:
        assert shop.there(order)["status"] == "canceled"


def test_an_order_is_replaced_by_one_that_passes_the_gate(shop: Shop) -> None:
    order = shop.bot.submit_order(
        LimitOrderRequest(
            symbol="AAPL", qty=10, limit_price=100, side=OrderSide.BUY, time_in_force=TimeInForce.DAY
        )
    )
    assert isinstance(order, Order)
    other = shop.bot.replace_order_by_id(order.id, ReplaceOrderRequest(qty=5, limit_price=101))
    assert isinstance(other, Order)
    assert (other.qty, other.limit_price) == ("5", "101")
    assert other.id != order.id
    shop.becomes(other, OrderStatus.NEW)
    assert shop.there(order)["status"] == "canceled"
    assert shop.there(other)["qty"] == "5"


def test_a_blocked_order_is_403_with_every_reason(shop: Shop) -> None:
    shop.operator.post("/lockouts", {"ticker": "AAPL", "reason": "earnings", "duration_minutes": 5})
    shop.operator.put("/mode", {"trading_mode": "disabled"})
    with pytest.raises(APIError) as error:
        shop.market()
    refused(error, 403, "trading_disabled", "symbol_locked_out")
    assert str(error.value.code).startswith("403")
    assert shop.venue.orders == {}


def test_a_rejection_of_the_venue_comes_as_the_venue_gave_it(shop: Shop) -> None:
    shop.venue.rejects = {"code": 40310000, "message": "insufficient buying power", "buying_power": "0"}
    with pytest.raises(APIError) as error:
        shop.market(client_order_id="too much")
    refused(error, 403, "insufficient buying power")
    assert error.value.code == 40310000
    order = shop.bot.get_order_by_client_id("too much")
    assert isinstance(order, Order)
    assert order.status == OrderStatus.REJECTED
    own = Caller(shop.server.url, shop.token).get(f"/orders/{order.id}").json
    assert own["status"] == "venue_rejected"
    assert "insufficient buying power" in own["venue_words"]


def test_one_that_waits_is_approved_and_filled(shop: Shop) -> None:
    shop.operator.put("/approval-config", {"auto_approve_paper": False})
    order = shop.market()
    assert order.status == OrderStatus.PENDING_REVIEW
    assert shop.venue.orders == {}
    assert shop.operator.post(f"/approvals/{order.id}/approve", {}).json["status"] == "accepted"
    assert shop.becomes(order, OrderStatus.NEW).id == order.id
    shop.venue.fill(venue_order_id(order.id), "10", "12")
    shop.becomes(order, OrderStatus.FILLED)


def test_one_that_waits_is_rejected_or_times_out(shop: Shop) -> None:
    shop.operator.put("/approval-config", {"auto_approve_paper": False})
    order, late = shop.market(), shop.market()
    shop.operator.post(f"/approvals/{order.id}/reject", {"reason": "no"})
    assert shop.becomes(order, OrderStatus.REJECTED).failed_at is not None
    shop.server.sql("UPDATE orders SET expires_at = clock_timestamp() WHERE id = %s", late.id)
    assert shop.becomes(late, OrderStatus.EXPIRED).expired_at is not None
    assert shop.venue.orders == {}


def test_the_account_its_configuration_and_what_else_is_read_through(shop: Shop) -> None:
    account: Any = shop.bot.get_account()
    assert (account.account_number, account.cash) == ("PA1", "1000")
    configuration: Any = shop.bot.get_account_configurations()
    assert configuration.suspend_trade is False
    clock: Any = shop.bot.get_clock()
    assert clock.is_open is True
    asset: Any = shop.bot.get_asset("AAPL")
    assert asset.symbol == "AAPL"
    [listed] = shop.bot.get_all_assets()
    assert listed == asset
    [day] = shop.bot.get_calendar()
    assert str(day.date) == "2026-03-02"  # type: ignore[union-attr]
    shop.operator.put("/mode", {"trading_mode": "disabled"})
    configuration = shop.bot.get_account_configurations()
    assert configuration.suspend_trade is True


def test_a_freqtrade_strategy_sends_no_order_to_a_desk_that_trades_itself(shop: Shop) -> None:
    strategy = Countersigned()
    strategy.desk_url, strategy.desk_token = shop.server.url, shop.token
    entry: dict[str, Any] = {"pair": "AAPL/USD", "order_type": "market", "amount": 1.0, "rate": 100.0}
    more: dict[str, Any] = {"time_in_force": "GTC", "current_time": None, "entry_tag": None, "side": "long"}
    assert strategy.confirm_trade_entry(**entry, **more) is False
    assert shop.server.sql("SELECT * FROM orders") == []
    assert shop.venue.orders == {}


def test_closing_by_percentage_and_closing_all(shop: Shop) -> None:
    shop.venue.positions = {"AAPL": "7", "MSFT": "4"}
    half = shop.bot.close_position("MSFT", ClosePositionRequest(percentage="50"))
    assert isinstance(half, Order)
    assert (half.side, half.qty) == (OrderSide.SELL, "2")
    results: Any = {one.symbol: one for one in shop.bot.close_all_positions()}  # type: ignore[union-attr]
    assert {symbol: one.status for symbol, one in results.items()} == {"AAPL": 200, "MSFT": 403}
    assert (results["AAPL"].body.qty, results["AAPL"].body.side) == ("7", OrderSide.SELL)
    assert "not final" in results["MSFT"].body.message
    again: Any = shop.bot.close_all_positions(cancel_orders=True)
    assert {(one.symbol, one.status) for one in again} == {("AAPL", 200), ("MSFT", 200)}


def test_closing_a_position_is_an_order(shop: Shop) -> None:
    shop.venue.positions = {"AAPL": "7"}
    [position] = shop.bot.get_all_positions()
    assert (position.symbol, position.qty) == ("AAPL", "7")  # type: ignore[union-attr]
    assert shop.bot.get_open_position("AAPL") == position
    closed = shop.bot.close_position("AAPL", ClosePositionRequest(qty="3"))
    assert isinstance(closed, Order)
    assert (closed.side, closed.qty) == (OrderSide.SELL, "3")
    assert shop.there(closed)["qty"] == "3"
    shop.operator.put("/mode", {"trading_mode": "disabled"})
    with pytest.raises(APIError) as error:
        shop.bot.close_position("AAPL")
    refused(error, 403, "trading_disabled")
