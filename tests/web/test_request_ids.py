"""Request ids: a client may choose one, and it never looks like one that the program made."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import app
from app.lib import logs
from tests.conftest import Api
from tests.web.conftest import Record

MADE_BY_US = re.compile(r"""(?:own_request_id|round_of|_round\(app, ?)\(?["'](\w+)["']""")
LOOKS_LIKE_OURS = [
    "cli-0123456789ab",
    "CLI-0123456789ab",
    "cli-x",
    "cli.7",
    "cli_7",
    "keeper-1",
    "notify-0123456789ab",
    "system-1",
    "sealer-0123456789ab",
    "0123456789abcdef",
    "0123456789ABCDEF",
]


@pytest.mark.parametrize("given", LOOKS_LIKE_OURS)
def test_one_that_looks_like_ours_is_marked(operator: Api, record: Record, given: str) -> None:
    record.new()
    answer = operator.put("/signal-layers", {"macro": False}, headers={"X-Request-ID": given})
    assert answer.headers["X-Request-ID"] == f"client-{given}"
    assert [event["request_id"] for event in record.new()] == [f"client-{given}"]


@pytest.mark.parametrize(
    "given", ["abc-1", "client-7", "3f0c6b9e-8a51-4f51-9d0e-7c1d2e3f4a5b", "climb-1", "0" * 32]
)
def test_others_stay_as_they_are(operator: Api, given: str) -> None:
    assert operator.get("/mode", headers={"X-Request-ID": given}).headers["X-Request-ID"] == given


def test_every_id_that_the_program_makes_is_recognized() -> None:
    source = "".join(file.read_text() for file in Path(app.__file__).parent.glob("**/*.py"))
    prefixes = {*MADE_BY_US.findall(source)}
    assert {"cli", "keeper", "notify", "follow"} <= prefixes <= {*logs.OWN_PREFIXES}
    for made in (logs.own_request_id(), *map(logs.own_request_id, prefixes)):
        assert logs.request_id_of_client(made) == f"client-{made}"


def test_an_answer_without_content_has_no_content_type(operator: Api) -> None:
    made = operator.post("/lockouts", {"ticker": "AAPL", "reason": "x", "duration_minutes": 5}).json
    answer = operator.delete(f"/lockouts/{made['id']}")
    assert (answer.status_code, answer.data) == (204, b"")
    assert "Content-Type" not in answer.headers
