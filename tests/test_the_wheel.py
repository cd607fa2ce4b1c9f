"""A wheel built from the tree serves by itself: in an empty folder, without the tree and without Node.js."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from sqlalchemy.engine import URL

import hatch_build
from app.settings import PROJECT
from tests.commands import Environment, bare, on_database
from tests.database import connect, new_database
from tests.test_serve import PASSWORD, Serve, none_left, serving, sign_in

VERSION = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["version"]
LINKED = re.compile(r'(?:src|href)="(/static/[^"]+)"')
# At once or later, scripts and their styles.
IMPORTED = re.compile(r"""(?:\bfrom |\bimport\(|\bstyled\()['"](\.{1,2}/[^'"]+)['"]""")


@dataclass
class Installed:
    """An environment with nothing but the wheel in it; the packages that it needs are those of the tests."""

    wheel: Path
    folder: Path

    @property
    def command(self) -> str:
        return str(self.folder / "bin" / "countersign")

    def environment(self, settings: Environment) -> Environment:
        # No Node.js, and no program of the tree's own environment.
        return settings | {"PATH": f"{self.folder / 'bin'}:/usr/bin:/bin"}

    def run(self, *arguments: str, cwd: Path, **settings: str) -> str:
        done = subprocess.run(
            [self.command, *arguments],
            env=self.environment(bare(**settings)),
            cwd=cwd,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    build = ["wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(folder), str(PROJECT)]
    subprocess.run([*pip, *build], check=True, timeout=120)
    [wheel] = folder.glob("*.whl")
    venv.create(folder / "env", with_pip=False, symlinks=True)
    packages = next((folder / "env").glob("lib/python*/site-packages"))
    # A folder named in a .pth file is searched, but .pth files in it are not read: the tree stays out of sight.
    (packages / "needed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    python = str(folder / "env" / "bin" / "python")
    subprocess.run([*pip, "--python", python, "install", "--no-deps", "--no-index", str(wheel)], check=True)
    return Installed(wheel, folder / "env")


@contextmanager
def served(installed: Installed, folder: Path, settings: Environment) -> Iterator[Serve]:
    """`countersign serve` of the wheel, started in an empty folder."""
    home = folder / "empty"
    home.mkdir()
    # Whoever starts it may have a package of the same name where they are.
    (home / "app.py").write_text("raise SystemExit('this is not the desk')")
    with serving(
        home / "instance",
        folder,
        command=installed.command,
        cwd=home,
        **installed.environment(settings),
    ) as desk:
        yield desk.wait_until_ready()


def assert_whole_page(client: httpx.Client, path: str) -> None:
    """The page and all that it is made of: styles, scripts, and what they import."""
    page = client.get(path)
    assert page.status_code == 200
    wanted, seen = set(LINKED.findall(page.text)), set()
    assert any(name.endswith(".css") for name in wanted)
    while wanted - seen:
        name = min(wanted - seen)
        seen.add(name)
        found = client.get(name)
        assert found.status_code == 200, name
        if name.endswith(".js"):
            wanted |= {str(found.url.join(link).path) for link in IMPORTED.findall(found.text)}
    if path != "/login":
        assert {name.rpartition("/static/")[2].partition("/")[2] for name in seen} >= {
            "js/trading.js",
            "js/api.js",
            *(f"vendor/{name}" for name in hatch_build.FILES),
        }


def test_it_holds_all_that_serving_needs_and_nothing_of_what_only_tests_do(installed: Installed) -> None:
    with zipfile.ZipFile(installed.wheel) as wheel:
        names = set(wheel.namelist())
        for name in hatch_build.FILES:
            assert wheel.read(f"app/static/vendor/{name}") == (hatch_build.VENDOR / name).read_bytes()
    tree = {
        path.relative_to(PROJECT).as_posix()
        for folder in ("app/templates", "app/static", "migrations")
        for path in (PROJECT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {name if name.startswith("app/") else f"app/{name}" for name in tree} <= names
    assert {"app/deploy/gunicorn.conf.py", "app/deploy/wsgi.py", "app/deploy/roles.sql"} <= names
    assert {name.partition("/")[0] for name in names} == {"app", f"countersign-{VERSION}.dist-info"}
    assert not [name for name in names if "__pycache__" in name or name.endswith(".pyc")]


def test_front_end_files_that_are_missing_or_older_than_the_list_of_packages_are_brought(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vendor = tmp_path / "vendor"
    monkeypatch.setattr(hatch_build, "VENDOR", vendor)
    assert not hatch_build.is_gathered()
    hatch_build.gather(PROJECT)
    assert hatch_build.is_gathered()
    monkeypatch.setattr(hatch_build, "HERE", tmp_path)
    lock = Path(shutil.copyfile(PROJECT / hatch_build.LOCK, tmp_path / hatch_build.LOCK))
    oldest = min(path.stat().st_mtime for path in vendor.iterdir())
    for age, expected in ((10, True), (-10, False)):
        os.utime(lock, (oldest - age, oldest - age))
        assert hatch_build.is_gathered() is expected


def test_the_command_says_its_version_and_prints_the_rights_of_its_role(
    installed: Installed, tmp_path: Path
) -> None:
    assert installed.run("--version", cwd=tmp_path) == f"countersign {VERSION}\n"
    assert installed.run("db", "roles", cwd=tmp_path) == (PROJECT / "deploy" / "roles.sql").read_text()


def test_by_itself_it_serves_a_new_desk_from_the_folder_where_it_was_started(
    installed: Installed, tmp_path: Path
) -> None:
    with served(installed, tmp_path, bare()) as desk:
        [password] = PASSWORD.findall(desk.output)
        with httpx.Client(base_url=desk.url) as client:
            assert_whole_page(client, "/login")
            assert sign_in(client, "admin", password).status_code == 303
            assert_whole_page(client, "/trading")
        assert (tmp_path / "empty" / "instance" / "secret_key").is_file()
        assert desk.stop() == 0
        assert "Traceback" not in desk.output
    none_left(tmp_path / "empty" / "instance")
    assert {path.name for path in (tmp_path / "empty").iterdir()} == {"app.py", "instance"}


def test_with_a_database_of_ones_own_it_migrates_that_and_writes_nothing_where_it_is(
    installed: Installed, postgres_server: URL, tmp_path: Path
) -> None:
    with new_database(postgres_server) as url:
        settings = on_database(url, tmp_path / "empty" / "instance")
        del settings["INSTANCE_PATH"]
        with served(installed, tmp_path, settings) as desk:
            with httpx.Client(base_url=desk.url) as client:
                assert_whole_page(client, "/login")
            assert desk.stop() == 0
        newest = max(path.name[:4] for path in (PROJECT / "migrations" / "versions").glob("0*.py"))
        with connect(url) as connection:
            assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [(newest,)]
    assert [path.name for path in (tmp_path / "empty").iterdir()] == ["app.py"]
