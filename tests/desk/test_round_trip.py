"""What the path of an order says to the database arrives as it was meant, and leaves nothing behind that whoever
gets the connection next would find."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import errors
from sqlalchemy import Pool
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app.db import statements, transaction
from app.db.pool import Taken
from app.db.statements import Line, Statement
from app.db.transaction import CREDENTIALS, DECISIONS, _first_statement
from app.extensions import db
from tests.at_once import until
from tests.database import connect
from tests.serving import Desk

PLACES = 8  # at most
WHO = b"SELECT pg_backend_pid()"
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))


@pytest.fixture
def line(desk: Desk) -> Iterator[Line]:
    with connect(desk.database) as connection:
        yield Line(connection)


@pytest.fixture
def take(app: Flask) -> Iterator[Callable[[], Taken]]:
    """Takes a connection of the decisions' pool."""
    with app.app_context():
        db.engines[DECISIONS].dispose()
        yield lambda: Taken(db.engines[DECISIONS].pool)
        assert db.engines[DECISIONS].pool.checkedout() == 0  # type: ignore[attr-defined]


class TestLine:
    @pytest.mark.parametrize(
        ("type_", "values"),
        [
            ("text", TEXTS),
            ("text", st.text("'\\\"%$()s;E\n-", max_size=12)),
            ("numeric", st.decimals(allow_nan=False, allow_infinity=False, places=9)),
            ("bigint", st.integers(-(2**63), 2**63 - 1)),
            ("boolean", st.booleans()),
            ("uuid", st.uuids()),
            ("timestamptz", st.datetimes(datetime(1000, 1, 1), timezones=st.just(UTC))),
        ],
        ids=["text", "quotes", "numeric", "bigint", "boolean", "uuid", "timestamptz"],
    )
    @settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
    @given(data=st.data())
    def test_what_is_given_comes_back(self, line: Line, type_: str, values: Any, data: Any) -> None:
        given = data.draw(st.none() | values)
        row = line.last_row(b"SELECT CAST(%s AS %s)" % (line.literal(given), type_.encode()))
        assert row == (given,)

    def test_each_statement_has_a_result(self, line: Line) -> None:
        none, two, rows = line.ask(b"SELECT 1 WHERE false; SELECT 2, 'b'; SELECT 3 UNION ALL SELECT 4")
        assert (line.row(two), line.row(rows)) == ((2, "b"), (3,))
        with pytest.raises(psycopg.InterfaceError):
            line.row(none)

    def test_after_one_that_failed_nothing_is_run(self, line: Line, desk: Desk) -> None:
        with pytest.raises(errors.DivisionByZero):
            line.ask(b"UPDATE risk_configs SET version = 7; SELECT 1 / 0; UPDATE risk_configs SET version = 8")
        assert line.is_idle
        assert desk.sql("SELECT version FROM risk_configs") == [(1,)]
        assert line.last_row(b"SELECT 5") == (5,)

    def test_one_that_is_in_a_transaction_says_so(self, line: Line) -> None:
        assert line.is_idle
        line.ask(b"BEGIN")
        assert not line.is_idle
        line.ask(b"COMMIT")
        assert line.is_idle

    def test_a_connection_that_is_gone_is_an_error_of_it(self, line: Line, desk: Desk) -> None:
        [pid] = line.last_row(WHO)
        desk.sql("SELECT pg_terminate_backend(%s, 5000)", pid)
        for _ in range(2):
            with pytest.raises(psycopg.OperationalError):
                line.ask(b"SELECT 1")
        assert line.connection.closed

    def test_a_notice_of_the_server_is_no_result(self, line: Line) -> None:
        assert line.last_row(b"DO $$ BEGIN RAISE WARNING 'attention'; END $$; SELECT 1") == (1,)


class TestStatement:
    def test_is_planned_once_and_called_with_what_it_has_of_what_is_given(self, line: Line) -> None:
        statement = Statement("sum", "SELECT %(b)s::numeric - %(a)s, %(c)s::text, %(b)s::numeric")
        line.ask(statement.prepare.encode())
        given = {"a": Decimal("0.1"), "b": Decimal("1"), "c": "it's 100 %s", "more": object()}
        called = statement.call(line, given)
        assert line.last_row(called) == (Decimal("0.9"), "it's 100 %s", Decimal("1"))
        assert called.startswith(b"EXECUTE sum(")

    def test_without_what_it_needs_nothing_is_sent(self, line: Line) -> None:
        with pytest.raises(KeyError, match="wanted"):
            Statement("one", "SELECT %(wanted)s").call(line, {"given": uuid.uuid4()})


class TestTaken:
    def test_is_the_same_one_again_with_its_statements(self, take: Callable[[], Taken]) -> None:
        first = take()
        pid = first.line.last_row(WHO)
        first.give_back()
        again = take()
        assert again.line.last_row(WHO) == pid
        assert again.line.last_row(b"SELECT count(*) FROM pg_prepared_statements") == (4,)
        again.give_back()

    def test_what_was_not_committed_is_rolled_back(self, take: Callable[[], Taken], desk: Desk) -> None:
        taken = take()
        taken.line.ask(b"BEGIN; UPDATE risk_configs SET version = 7")
        taken.give_back()
        assert desk.sql("SELECT version FROM risk_configs FOR UPDATE NOWAIT") == [(1,)]
        again = take()
        assert again.line is taken.line
        assert again.line.is_idle
        again.give_back()

    @pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, RuntimeError])
    def test_one_that_was_left_in_the_middle_of_a_statement_is_never_seen_again(
        self, error: type[BaseException], take: Callable[[], Taken], monkeypatch: pytest.MonkeyPatch, desk: Desk
    ) -> None:
        """What comes back there would be taken for the answer to what is asked next."""
        taken = take()
        pid = taken.line.last_row(WHO)

        def interrupted(wire: object) -> Any:
            raise error

        monkeypatch.setattr(statements, "execute", interrupted)
        with pytest.raises(error):
            taken.line.ask(b"BEGIN; UPDATE risk_configs SET version = 7; SELECT 'of somebody else'")
        monkeypatch.undo()
        taken.give_back()
        again = take()
        assert again.line.last_row(WHO) != pid
        again.give_back()
        assert desk.sql("SELECT version FROM risk_configs") == [(1,)]

    def test_one_whose_end_is_interrupted_is_not_lost_to_the_pool(
        self, take: Callable[[], Taken], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        taken = take()
        taken.line.ask(b"BEGIN")

        def interrupted(wire: object) -> Any:
            raise KeyboardInterrupt

        monkeypatch.setattr(statements, "execute", interrupted)
        with pytest.raises(KeyboardInterrupt):
            taken.give_back()
        monkeypatch.undo()
        again = take()
        assert again.line is not taken.line
        again.give_back()

    def test_one_that_was_thrown_away_is_closed_and_its_place_is_free(self, take: Callable[[], Taken]) -> None:
        thrown = take()
        thrown.throw_away()
        assert thrown.line.connection.closed
        all_of_them = [take() for _ in range(PLACES)]
        assert all(taken.line.is_idle for taken in all_of_them)
        for taken in all_of_them:
            taken.give_back()

    @pytest.mark.parametrize("error", [psycopg.OperationalError, KeyboardInterrupt])
    def test_a_place_whose_connection_cannot_be_made_anew_is_free_again(
        self, error: type[BaseException], take: Callable[[], Taken], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        take().throw_away()

        def refused(entry: object) -> Any:
            raise error

        monkeypatch.setattr(db.engines[DECISIONS].pool, "_invoke_creator", refused)
        for _ in range(PLACES + 1):
            with pytest.raises(error):
                take()
        monkeypatch.undo()
        take().give_back()

    def test_those_of_a_pool_that_was_disposed_of_are_closed_as_they_come_back(
        self, take: Callable[[], Taken], desk: Desk
    ) -> None:
        held = [take() for _ in range(3)]
        held.pop().give_back()
        db.engines[DECISIONS].dispose()
        again = take()
        for taken in held:
            assert not taken.line.connection.closed
            taken.give_back()
            assert taken.line.connection.closed
        assert not again.line.connection.closed
        again.give_back()
        deciders = "datname = current_database() AND application_name = 'countersign decisions'"
        until(lambda: desk.sql(f"SELECT count(*) FROM pg_stat_activity WHERE {deciders}") == [(1,)])

    def test_where_all_are_taken_it_says_so(
        self, take: Callable[[], Taken], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        held = [take() for _ in range(PLACES)]
        monkeypatch.setattr(db.engines[DECISIONS].pool, "_timeout", 0.1)
        with pytest.raises(PoolTimeout):
            take()
        for taken in held:
            taken.give_back()


def is_busy(line: Line) -> Any:
    return line.ask(b"DO $$ BEGIN RAISE 'not now' USING ERRCODE = 'lock_not_available'; END $$")


def stays_in_a_transaction(line: Line) -> Any:
    line.ask(b"BEGIN")
    return is_busy(line)


def is_wrong(line: Line) -> Any:
    return line.ask(b"SELECT 1 / 0")


def dies(line: Line) -> Any:
    return line.ask(b"SELECT pg_terminate_backend(pg_backend_pid())")


def is_interrupted(line: Line) -> Any:
    line.connection.pgconn.send_query(b"SELECT 'what somebody else asked for'")
    raise KeyboardInterrupt


@pytest.mark.parametrize("pool", [DECISIONS, CREDENTIALS])
@pytest.mark.usefixtures("desk")
class TestFirstStatement:
    @pytest.fixture(autouse=True)
    def of_the_application(self, app: Flask, pool: str) -> Iterator[None]:
        with app.app_context():
            db.engines[pool].dispose()
            yield

    @pytest.mark.parametrize(
        ("fails", "error"),
        [
            (is_busy, errors.LockNotAvailable),
            (stays_in_a_transaction, errors.LockNotAvailable),
            (is_wrong, errors.DivisionByZero),
            (dies, psycopg.OperationalError),
            (is_interrupted, KeyboardInterrupt),
        ],
    )
    def test_whatever_happens_in_it_no_place_is_lost_and_the_next_one_hears_its_own(
        self, fails: Callable[[Line], Any], error: type[BaseException], pool: str
    ) -> None:
        for _ in range(PLACES + 1):
            with pytest.raises(error):
                _first_statement(pool, fails)
        connections: Any = db.engines[pool].pool
        assert connections.checkedout() == 0
        taken = [Taken(connections) for _ in range(connections.size())]
        assert [one.line.last_row(b"SELECT 1") for one in taken] == [(1,)] * connections.size()
        for one in taken:
            one.give_back()

    def test_of_a_pool_that_died_all_are_replaced_at_once(self, pool: str, desk: Desk) -> None:
        taken = [Taken(db.engines[pool].pool) for _ in range(3)]
        for one in taken:
            one.give_back()
        desk.sql(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name LIKE 'countersign %%'"
        )
        tried: list[Line] = []

        def asks(line: Line) -> Any:
            tried.append(line)
            return line.last_row(b"SELECT 1")

        replaced, answer = _first_statement(pool, asks)
        assert answer == (1,)
        assert (len(tried), tried[0].connection.closed) == (2, True)
        another, answer = _first_statement(pool, asks)
        assert (answer, len(tried)) == ((1,), 3)
        for one in (replaced, another):
            one.give_back()

    def test_those_that_live_stay_where_one_was_replaced_already(self, pool: str) -> None:
        engine = db.engines[pool]

        def dies_while_another_finds_it_out(line: Line) -> Any:
            if not line.connection.closed and engine.pool is first:
                engine.dispose()
                pools.append(engine.pool)
                dies(line)
            return line.last_row(b"SELECT 1")

        first = engine.pool
        pools: list[Pool] = []
        taken, answer = _first_statement(pool, dies_while_another_finds_it_out)
        assert answer == (1,)
        taken.give_back()
        assert pools == [engine.pool]

    def test_where_it_took_long_to_find_out_another_one_is_not_tried(
        self, pool: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(transaction, "AT_ONCE", 0.0)
        tried: list[Line] = []

        def hangs(line: Line) -> Any:
            tried.append(line)
            return dies(line)

        with pytest.raises(psycopg.OperationalError):
            _first_statement(pool, hangs)
        assert len(tried) == 1
