"""Schemathesis reads the API document and runs all its checks against the real server.

Every phase runs: examples, coverage, fuzzing with valid and invalid data, and sequences of calls. Nothing is
switched off. What is configured, and why:

- NUL is not generated for valid data: the document says that no text may hold it, yet JSON Schema cannot say so
  for every text inside of an arbitrary configuration. `test_strict_json.py` sends it everywhere.
- JSON Schema takes 5.0 for an integer, the desk does not (the document says so, in words): whole fractions that
  are generated as valid integers are sent as integers. `test_strict_json.py` sends the fractions.
- PUT /config and PUT /mode may answer 412 to a valid body: If-Match is then a version other than the present one.
- A cursor is opaque; its two formats are taught to the generator, for any other text is refused. So is what a
  printable character is, which JSON Schema cannot say.
- Three credentials take turns, for nobody may do everything: an engine sends orders, a person decides them. So
  that they have something to say yes to, orders wait beforehand, and made-up ids of orders become theirs.
- An order has many parts with rules of their own, and the generator throws many away before it has a valid one: it
  is not to give up over that. That it gets anywhere is held, for every operation has to succeed at least once.
- The stream has no end, and no client of the generator reads an answer that has none: it is left out, by its name.
  `test_stream.py` holds it to the document.
- A valid `wait` is cut to a second, most to none. `test_waiting_for_a_decision.py` waits for longer.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC
from itertools import cycle
from typing import Any
from uuid import UUID

import pytest
import schemathesis
from hypothesis import strategies as st
from schemathesis import engine
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events

from app.lib.timestamps import rfc3339
from app.web.http.request import write_cursor
from app.web.openapi import document
from tests.at_once import API, Caller
from tests.serving import Server
from tests.web.orders import HOLDS, configure

EVERY_CHECK = {
    "allow_header_conformance",
    "content_type_conformance",
    "ensure_resource_availability",
    "ignored_auth",
    "missing_required_header",
    "negative_data_rejection",
    "not_a_server_error",
    "object_level_authorization",
    "positive_data_acceptance",
    "response_headers_conformance",
    "response_schema_conformance",
    "status_code_conformance",
    "unsupported_method",
    "use_after_free",
}
CONFIG = {
    "seed": 20_260_301,
    "suppress-health-check": ["filter_too_much"],
    "generation": {"max-examples": 30, "deterministic": True, "allow-x00": False},
    "operations": [
        {
            "include-name": ["PUT /api/admin/trading/config", "PUT /api/admin/trading/mode"],
            "checks": {"positive_data_acceptance": {"expected-statuses": ["200", "401", "403", "409", "412"]}},
        }
    ],
}

schemathesis.openapi.format("number-cursor", st.integers(0, 10**18 - 1).map(write_cursor))
schemathesis.openapi.format(
    "instant-cursor",
    st.builds(
        lambda when, row: write_cursor(rfc3339(when), row), st.datetimes(timezones=st.just(UTC)), st.uuids()
    ),
)
PRINTABLE = st.characters(exclude_categories=["C", "Z"]) | st.just(" ")
schemathesis.openapi.format("printable", st.text(PRINTABLE, min_size=1))


def whole_fractions_as_integers(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: whole_fractions_as_integers(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [whole_fractions_as_integers(inner) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def failures(event: events.ScenarioFinished) -> list[str]:
    found = []
    for case_id, checks in event.recorder.checks.items():
        for check in checks:
            if check.failure_info is not None:
                answer = event.recorder.interactions[case_id].response
                said = answer.content.decode(errors="replace") if answer else "no answer"
                failure = check.failure_info
                found.append(f"{check.name}: {failure.failure}\n{failure.code_sample}\n{said}")
    return found


def successes(event: events.ScenarioFinished) -> set[str]:
    """The operations that said yes at least once: refusing everything would pass most checks too."""
    answers = {key: made.response for key, made in event.recorder.interactions.items() if made.response}
    return {
        node.value.operation.label
        for key, node in event.recorder.cases.items()
        if key in answers and answers[key].status_code < 300
    }


class WaitingOrders:
    """Ids of orders that wait, for requests whose own ids are valid but nobody's."""

    def __init__(self, server: Server, account: str) -> None:
        configure(server, HOLDS)
        server.sql(
            "INSERT INTO orders (account_id, engine, client_order_id, ticker, side, qty, type, time_in_force,"
            "                    trading_mode, status, expires_at)"
            " SELECT id, name, 'waiting-' || n, 'AAPL', 'buy', 1, 'market', 'day', 'paper', 'pending_approval',"
            "        now() + interval '1 h' FROM accounts, generate_series(1, 2000) n WHERE name = %s",
            account,
        )
        self.server = server
        self.turns = cycle((True, False))
        self.ids = cycle(str(row[0]) for row in server.sql("SELECT id FROM orders"))

    def instead_of(self, given: Any) -> Any:
        """One of them for a valid id of no order, and every other time for one that an answer had in it: most of
        those are decided already. Anything else stays as it is."""
        try:
            wanted = UUID(given)
        except (AttributeError, TypeError, ValueError):
            return given
        known = self.server.sql("SELECT 1 FROM orders WHERE id = %s", wanted)
        return given if known and next(self.turns) else next(self.ids)

    def in_decisions(self, body: Any) -> Any:
        """One of them for every id of a body of decisions; what is not valid stays as it is."""
        entries = body.get("decisions") if isinstance(body, dict) else None
        if not isinstance(entries, list):
            return body
        theirs = [
            entry | {"id": next(self.ids)}
            if isinstance(entry, dict) and isinstance(entry.get("id"), str) and entry["id"]
            else entry
            for entry in entries
        ]
        return body | {"decisions": theirs}


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    wait = str((case.query or {}).get("wait", ""))
    if wait.isdecimal() and 1 < int(wait) <= 30:
        case.query["wait"] = int(int(wait) % 8 == 0)


def teach(schema: Any, orders: WaitingOrders) -> None:
    @schema.hook
    def map_body(context: Any, body: Any) -> Any:
        return orders.in_decisions(whole_fractions_as_integers(body))

    @schema.hook
    def map_path_parameters(context: Any, path_parameters: Any) -> Any:
        if path_parameters and "order_id" in path_parameters:
            return path_parameters | {"order_id": orders.instead_of(path_parameters["order_id"])}
        return path_parameters

    @schema.hook
    def map_headers(context: Any, headers: Any) -> Any:
        # Hardly any made-up version is the present one, and the mode would never change. Held to what it says
        # otherwise: PUT /config meets every If-Match there is, and tests/web/test_mode.py has this one's.
        if context.operation.path.endswith("/mode") and headers and headers.get("If-Match", "*") != "*":
            return {name: value for name, value in headers.items() if name != "If-Match"}
        return headers


PARTS = {"admin": ["rules", "desk"], "engine": ["orders"], "operator": ["approvals"]}


def test_every_operation_has_its_part() -> None:
    tags = [
        tag for path in document()["paths"].values() for operation in path.values() for tag in operation["tags"]
    ]
    assert set(tags) == {tag for part in PARTS.values() for tag in part}


def part_of_the_document(server: Server, tags: list[str]) -> dict[str, Any]:
    """The document as it is served, less the operations that have none of the tags, and the stream."""
    whole: dict[str, Any] = Caller(server.url).get("//openapi.json").json
    paths = {
        path: {method: operation for method, operation in methods.items() if {*operation["tags"]} & {*tags}}
        for path, methods in whole["paths"].items()
        if path != f"{API}/stream"
    }
    return whole | {"paths": {path: methods for path, methods in paths.items() if methods}}


@pytest.mark.timeout(240)
@pytest.mark.parametrize("role", PARTS)
def test_every_route_keeps_to_the_document(server: Server, role: str) -> None:
    token = server.add_token("schemathesis", role, allow_live=True)
    config = SchemathesisConfig.from_dict(
        CONFIG | {"base-url": server.url, "headers": {"Authorization": f"Bearer {token}"}}
    )
    schema = schemathesis.openapi.from_dict(part_of_the_document(server, PARTS[role]), config=config)
    # A person does not approve orders of their own account.
    server.add_token("another-engine", "engine")
    teach(schema, WaitingOrders(server, "schemathesis" if role == "engine" else "another-engine"))

    errors: list[str] = []
    checks: Counter[str] = Counter()
    succeeded: set[str] = set()
    for event in engine.from_schema(schema).execute():
        if isinstance(event, events.NonFatalError | events.FatalError):
            errors.append(str(event))
        if isinstance(event, events.ScenarioFinished):
            errors += failures(event)
            checks.update(check.name for made in event.recorder.checks.values() for check in made)
            succeeded |= successes(event)

    assert not errors, "\n\n".join(errors[:10])
    assert set(checks) == EVERY_CHECK
    assert succeeded == {operation.ok().label for operation in schema.get_all_operations()}
