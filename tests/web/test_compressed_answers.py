"""Large answers are sent compressed to whoever understands that, and mean the same."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable

import pytest

from tests.conftest import Api
from tests.web.conftest import Browser
from tests.web.orders import waiting

FASTEST = 4  # RFC 1952, 2.3.1: "compressor used fastest algorithm", in the byte XFL
GZIP = {"Accept-Encoding": "gzip, deflate, br"}
EVERY_TIME_ANOTHER = re.compile(r'"csrf[-_]token" (content|value)="[^"]+"|"\d{4}-\d\d-\d\dT[^"]+"|\d\d:\d\d:\d\d')


def test_a_state_is(operator: Api, engine: Api, holding: None) -> None:
    for _ in range(3):
        waiting(engine)
    plain, packed = operator.get("/state"), operator.get("/state", headers=GZIP)
    assert packed.headers["Content-Encoding"] == "gzip"
    assert int(packed.headers["Content-Length"]) == len(packed.data) < len(plain.data) / 2
    assert "Accept-Encoding" in packed.headers["Vary"]
    assert "Accept-Encoding" in plain.headers["Vary"]
    assert json.loads(gzip.decompress(packed.data)) | {"server_time": ""} == plain.json | {"server_time": ""}


def test_a_large_one_is_packed_lightly_for_nobody_is_to_wait_meanwhile(
    operator: Api, engine: Api, holding: None
) -> None:
    for _ in range(24):
        waiting(engine, rationale="\U0001f600\U0001f601" * 2000)
    for path in ("/state", "/orders"):
        plain, packed = operator.get(path), operator.get(path, headers=GZIP)
        assert len(plain.data) > 1024 * 1024
        assert len(packed.data) < len(plain.data) / 10
        assert packed.data[8] == FASTEST
        now = {"server_time": ""}
        assert json.loads(gzip.decompress(packed.data)) | now == plain.json | now


def test_it_keeps_its_tag(operator: Api, engine: Api, holding: None) -> None:
    waiting(engine)
    tag = operator.get("/state", headers=GZIP).headers["ETag"]
    assert tag == operator.get("/state").headers["ETag"]
    again = operator.get("/state", headers=GZIP | {"If-None-Match": tag})
    assert (again.status_code, again.data) == (304, b"")
    assert "Content-Encoding" not in again.headers


def test_the_version_that_was_read_compressed_is_the_one_to_replace(admin: Api) -> None:
    config = {"notes": "x" * 2000}
    tag = admin.put("/config", {"config": config}, headers={"If-Match": "*"}).headers["ETag"]
    read = admin.get("/config", headers=GZIP)
    assert (read.headers["Content-Encoding"], read.headers["ETag"]) == ("gzip", tag)
    assert admin.put("/config", {"config": {}}, headers={"If-Match": read.headers["ETag"]}).status_code == 200


@pytest.mark.parametrize("path", ["/trading", "/login", "/static/css/app.css", "/static/js/desk.js"])
def test_pages_and_files_are(browser: Callable[..., Browser], path: str) -> None:
    person = browser("operator")
    if path == "/login":
        person.post("/logout")
    with person.get(path) as plain, person.get(path, headers=GZIP) as packed:
        sent, unpacked = plain.get_data(as_text=True), gzip.decompress(packed.get_data()).decode()
        assert EVERY_TIME_ANOTHER.sub("", unpacked) == EVERY_TIME_ANOTHER.sub("", sent)
    assert packed.headers["Content-Encoding"] == "gzip"


@pytest.mark.parametrize("accepted", ["", "identity", "br", "gzip;q=0", "gzip;q=0, *;q=0"])
def test_not_to_whoever_does_not_understand_it(operator: Api, accepted: str) -> None:
    answer = operator.client.get("/openapi.json", headers={"Accept-Encoding": accepted})
    assert answer.status_code == 200
    assert "Content-Encoding" not in answer.headers
    assert answer.json


def test_nor_what_is_small(operator: Api) -> None:
    answer = operator.get("/mode", headers=GZIP)
    assert "Content-Encoding" not in answer.headers
    assert answer.json == {"trading_mode": "paper"}


def test_an_answer_to_head_is_not(operator: Api) -> None:
    answer = operator.client.head("/openapi.json", headers=GZIP)
    assert (answer.status_code, answer.data) == (200, b"")
    assert "Content-Encoding" not in answer.headers
