"""A browser keeps the static files for good, and asks anew when one of them has changed."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask, url_for
from werkzeug.test import TestResponse

from app.web.http import static
from tests.serving import Desk
from tests.web.conftest import Browser

FOR_GOOD = "public, max-age=31536000, immutable"  # a year


@pytest.fixture
def fetch(app: Flask, desk: Desk) -> Callable[..., TestResponse]:
    def get(path: str, **headers: str) -> TestResponse:
        with app.test_client().get(path, headers=headers) as answer:
            answer.get_data()
            return answer

    return get


@pytest.fixture
def style(fetch: Callable[..., TestResponse]) -> str:
    """The address of a style sheet, as a page names it."""
    page = fetch("/login").text
    found = re.search(r'href="(/static/v-[0-9a-f]{12}/css/app\.css)"', page)
    assert found, page
    return found[1]


def test_what_a_page_names_is_kept_for_good(fetch: Callable[..., TestResponse], style: str) -> None:
    answer = fetch(style)
    assert (answer.status_code, answer.mimetype) == (200, "text/css")
    assert answer.headers["Cache-Control"] == FOR_GOOD
    assert "Cookie" not in answer.headers.get("Vary", "")


@pytest.mark.parametrize("folder", ["", "v-000000000000/"])
def test_another_version_finds_the_file_and_does_not_keep_it(
    fetch: Callable[..., TestResponse], style: str, folder: str
) -> None:
    """During an upgrade the page of one host may ask another for its files."""
    answer = fetch(f"/static/{folder}css/app.css")
    assert answer.data == fetch(style).data
    assert answer.headers["Cache-Control"] == "no-cache"
    again = fetch(f"/static/{folder}css/app.css", **{"If-None-Match": answer.headers["ETag"]})
    assert again.status_code == 304


def test_a_file_that_is_not_there_is_not_kept(fetch: Callable[..., TestResponse], style: str) -> None:
    answer = fetch(style.replace("app.css", "nothing.css"))
    assert (answer.status_code, answer.headers["Cache-Control"]) == (404, "no-store")


def test_it_is_sent_whole_whatever_part_is_asked_for(fetch: Callable[..., TestResponse], style: str) -> None:
    """A part of the file joined to a part of the packed file would be neither, and be kept for a year."""
    whole = fetch(style)
    etag = whole.headers["ETag"]
    assert etag.startswith('W/"')
    for more in ({}, {"If-Range": etag}, {"If-Range": etag.removeprefix("W/")}):
        part = fetch(style, Range="bytes=100-", **more)
        assert (part.status_code, part.data) == (200, whole.data)
    assert "Accept-Ranges" not in whole.headers
    unchanged = fetch(style, **{"If-None-Match": etag})
    assert (unchanged.status_code, unchanged.headers["ETag"]) == (304, etag)
    assert "Accept-Encoding" in unchanged.headers["Vary"]


def test_a_file_that_is_newer_than_the_process_is_not_kept_under_its_name(tmp_path: Path) -> None:
    """Upgraded in place, an old worker would give new files an old name for a year."""
    for name in ("a.js", "b.js"):
        (tmp_path / name).write_text("1")
    app = Flask(__name__, static_folder=tmp_path, static_url_path="/static")
    static.register(app)
    with app.test_request_context():
        names = [url_for("static", filename=name) for name in ("a.js", "b.js")]
    (tmp_path / "a.js").write_text("22")
    kept = []
    for name in names:
        with app.test_client().get(name) as answer:
            kept.append(answer.headers["Cache-Control"] == FOR_GOOD)
    assert kept == [False, True]


def test_the_version_changes_with_any_file(tmp_path: Path) -> None:
    seen = [static._version(tmp_path)[0]]
    for name, content in (("a.js", "1"), ("a.js", "2"), ("b.js", ""), ("css/a.js", "2")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
        seen.append(static._version(tmp_path)[0])
    (tmp_path / "b.js").unlink()
    seen.append(static._version(tmp_path)[0])
    assert len(set(seen)) == len(seen)


IMPORTED = re.compile(r"from '(\./\w+\.js|\.\./vendor/\w+\.js)'")


def imported_by(script: Path) -> set[Path]:
    """All that the script imports, and they, and so on."""
    found: set[Path] = set()
    new = {script}
    while new:
        named = {(path.parent / name).resolve() for path in new for name in IMPORTED.findall(path.read_text())}
        new = named - found
        found |= new
    return found


def test_the_page_names_all_modules_at_once(app: Flask, browser: Callable[..., Browser]) -> None:
    """Found out one by one they would cost a browser several round trips."""
    folder = Path(app.static_folder or "")
    page = browser("viewer").get("/trading").text
    named = re.findall(r'<link rel="modulepreload" href="/static/v-[0-9a-f]{12}/([^"]+)">', page)
    assert sorted(named) == sorted(
        path.relative_to(folder).as_posix() for path in imported_by(folder / "js" / "trading.js")
    )
