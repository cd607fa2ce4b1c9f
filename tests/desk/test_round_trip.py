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
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app import round_trip
from app.desk.transaction import DECISIONS
from app.extensions import db
from app.round_trip import Line, Statement
from app.shelf import Taken
from tests.database import connect
from tests.serving import Desk

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
        row = line.row(line.ask(b"SELECT CAST(%s AS %s)" % (line.literal(given), type_.encode()))[-1])
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
        assert line.row(line.ask(b"SELECT 5")[-1]) == (5,)

    def test_one_that_is_in_a_transaction_says_so(self, line: Line) -> None:
        assert line.is_idle
        line.ask(b"BEGIN")
        assert not line.is_idle
        line.ask(b"COMMIT")
        assert line.is_idle

    def test_a_connection_that_is_gone_is_an_error_of_it(self, line: Line, desk: Desk) -> None:
        [pid] = line.row(line.ask(WHO)[-1])
        desk.sql("SELECT pg_terminate_backend(%s, 5000)", pid)
        for _ in range(2):
            with pytest.raises(psycopg.OperationalError):
                line.ask(b"SELECT 1")
        assert line.connection.closed

    def test_a_notice_of_the_server_is_no_result(self, line: Line) -> None:
        assert line.row(line.ask(b"DO $$ BEGIN RAISE WARNING 'attention'; END $$; SELECT 1")[-1]) == (1,)


class TestStatement:
    def test_is_planned_once_and_called_with_what_it_has_of_what_is_given(self, line: Line) -> None:
        statement = Statement("sum", "SELECT %(b)s::numeric - %(a)s, %(c)s::text, %(b)s::numeric")
        line.ask(statement.prepare.encode())
        given = {"a": Decimal("0.1"), "b": Decimal("1"), "c": "it's 100 %s", "more": object()}
        called = statement.call(line, given)
        assert line.row(line.ask(called)[-1]) == (Decimal("0.9"), "it's 100 %s", Decimal("1"))
        assert called.startswith(b"EXECUTE sum(")

    def test_without_what_it_needs_nothing_is_sent(self, line: Line) -> None:
        with pytest.raises(KeyError, match="wanted"):
            Statement("one", "SELECT %(wanted)s").call(line, {"given": uuid.uuid4()})


class TestTaken:
    def test_is_the_same_one_again_with_its_statements(self, take: Callable[[], Taken]) -> None:
        first = take()
        pid = first.line.row(first.line.ask(WHO)[-1])
        first.give_back()
        again = take()
        assert again.line.row(again.line.ask(WHO)[-1]) == pid
        assert again.line.row(again.line.ask(b"SELECT count(*) FROM pg_prepared_statements")[-1]) == (4,)
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
        pid = taken.line.row(taken.line.ask(WHO)[-1])

        def interrupted(wire: object) -> Any:
            raise error

        monkeypatch.setattr(round_trip, "execute", interrupted)
        with pytest.raises(error):
            taken.line.ask(b"BEGIN; UPDATE risk_configs SET version = 7; SELECT 'of somebody else'")
        monkeypatch.undo()
        taken.give_back()
        again = take()
        assert again.line.row(again.line.ask(WHO)[-1]) != pid
        again.give_back()
        assert desk.sql("SELECT version FROM risk_configs") == [(1,)]

    def test_one_whose_end_is_interrupted_is_not_lost_to_the_pool(
        self, take: Callable[[], Taken], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        taken = take()
        taken.line.ask(b"BEGIN")

        def interrupted(wire: object) -> Any:
            raise KeyboardInterrupt

        monkeypatch.setattr(round_trip, "execute", interrupted)
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
        all_of_them = [take() for _ in range(8)]
        assert all(taken.line.is_idle for taken in all_of_them)
        for taken in all_of_them:
            taken.give_back()

    def test_a_place_whose_connection_cannot_be_made_anew_is_free_again(
        self, take: Callable[[], Taken], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pool: Any = db.engines[DECISIONS].pool
        take().throw_away()

        def refused(entry: object) -> Any:
            raise psycopg.OperationalError("refused")

        monkeypatch.setattr(pool, "_invoke_creator", refused)
        for _ in range(10):  # more than there are places
            with pytest.raises(psycopg.OperationalError):
                take()
        monkeypatch.undo()
        take().give_back()

    def test_where_all_are_taken_it_says_so(
        self, take: Callable[[], Taken], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        held = [take() for _ in range(8)]
        monkeypatch.setattr(db.engines[DECISIONS].pool, "_timeout", 0.1)
        with pytest.raises(PoolTimeout):
            take()
        for taken in held:
            taken.give_back()
