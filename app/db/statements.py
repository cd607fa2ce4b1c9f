"""A round trip to the database on the path of an order: several statements at once, without psycopg's cursor.

That looks at each statement for what never happens there (parameters that go apart, pipelines, results to be gone
through), which costs a third of the processor time of the round trip. What is done here is done with psycopg's
own parts: its quoting, its waiting, its errors, its loading.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import psycopg
from psycopg.adapt import Transformer
from psycopg.errors import error_from_result
from psycopg.generators import execute
from psycopg.pq import ExecStatus, TransactionStatus
from psycopg.pq.abc import PGresult

PARAMETER = re.compile(r"%\((\w+)\)s")
GOOD = frozenset({ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK})


class Line:
    """What a connection is spoken with, for as long as it lasts."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self.connection = connection
        self.cursor = connection.cursor()  # for one statement at a time; to make another one takes a while
        self._wire = connection.pgconn
        # It keeps what it finds out about the connection (encoding, time zone), which is not changed any more.
        self._transformer = Transformer(connection)

    @property
    def is_idle(self) -> bool:
        """Whether no transaction is under way on it, and no statement."""
        return self._wire.transaction_status == TransactionStatus.IDLE

    def ask(self, statements: bytes) -> Sequence[PGresult]:
        """The result of each. Raises psycopg.Error: that of the connection, or of the first one that failed, after
        which none was run."""
        self._wire.send_query(statements)
        results = self.connection.wait(execute(self._wire))
        for result in results:
            if result.status not in GOOD:
                raise error_from_result(result, encoding="utf-8")
        return results

    def row(self, result: PGresult) -> tuple[Any, ...]:
        """The first one, as Python has it. Raises psycopg.InterfaceError where there is none."""
        if not result.ntuples:  # of which psycopg in C and in Python say different things
            raise psycopg.InterfaceError("the statement was to have a row")
        self._transformer.set_pgresult(result)
        row: tuple[Any, ...] = self._transformer.load_row(0, tuple)
        return row

    def last_row(self, statements: bytes) -> tuple[Any, ...]:
        """Run them; the first row of the last one, which has one."""
        return self.row(self.ask(statements)[-1])

    def literal(self, value: Any) -> bytes:
        """As it stands in a statement."""
        return b"NULL" if value is None else bytes(self._transformer.as_literal(value))


class Statement:
    """A statement that every connection of a pool has planned before: `sql` has %(name)s parameters.

    It is called by name and with literals, so that several of them go to the server in one round trip; each has a
    snapshot of its own all the same.
    """

    def __init__(self, name: str, sql: str) -> None:
        self._names = list(dict.fromkeys(PARAMETER.findall(sql)))
        places = {each: f"${place}" for place, each in enumerate(self._names, 1)}
        self.prepare = f"PREPARE {name} AS {sql % places}"
        self._template = f"EXECUTE {name}({', '.join(['%s'] * len(self._names))})".encode()

    def call(self, line: Line, parameters: Mapping[str, Any]) -> bytes:
        """Of what is given, the parameters that it has."""
        return self._template % tuple([line.literal(parameters[name]) for name in self._names])
