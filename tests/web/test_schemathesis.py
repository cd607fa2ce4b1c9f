"""Schemathesis reads the API document and runs all its checks against the real server.

Every phase runs: examples, coverage, fuzzing with valid and invalid data, and sequences of calls. Nothing is
switched off. What is configured, and why:

- NUL is not generated for valid data: the document says that no text may hold it, yet JSON Schema cannot say so
  for every text inside of an arbitrary configuration. `test_strict_json.py` sends it everywhere.
- JSON Schema takes 5.0 for an integer, the desk does not (the document says so, in words): whole fractions that
  are generated as valid integers are sent as integers. `test_strict_json.py` sends the fractions.
- PUT /config and PUT /mode may answer 412 to a valid body: If-Match is then a version other than the present one.
- A cursor is opaque; its two formats are taught to the generator, for any other text is refused.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC
from typing import Any

import pytest
import schemathesis
from hypothesis import strategies as st
from schemathesis import engine
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events

from app.desk.times import rfc3339
from app.web.body import write_cursor
from tests.serving import Server

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
    "generation": {"max-examples": 30, "deterministic": True, "allow-x00": False},
    "operations": [
        {
            "include-name": ["PUT /api/admin/trading/config", "PUT /api/admin/trading/mode"],
            "checks": {"positive_data_acceptance": {"expected-statuses": ["200", "401", "403", "409", "412"]}},
        }
    ],
}

schemathesis.openapi.format("audit-cursor", st.integers(0, 10**18 - 1).map(write_cursor))
schemathesis.openapi.format(
    "lockout-cursor",
    st.builds(
        lambda when, row: write_cursor(rfc3339(when), row), st.datetimes(timezones=st.just(UTC)), st.uuids()
    ),
)


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


@pytest.mark.timeout(180)
def test_every_route_keeps_to_the_document(server: Server) -> None:
    token = server.add_token("schemathesis", "admin", allow_live=True)
    config = SchemathesisConfig.from_dict(CONFIG | {"headers": {"Authorization": f"Bearer {token}"}})
    schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json", config=config)

    @schema.hook
    def map_body(context: Any, body: Any) -> Any:
        return whole_fractions_as_integers(body)

    @schema.hook
    def map_headers(context: Any, headers: Any) -> Any:
        # Hardly any made-up version is the present one, and the mode would never change. Held to what it says
        # otherwise: PUT /config meets every If-Match there is, and tests/web/test_mode.py has this one's.
        if context.operation.path.endswith("/mode") and headers and headers.get("If-Match", "*") != "*":
            return {name: value for name, value in headers.items() if name != "If-Match"}
        return headers

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
