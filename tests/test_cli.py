"""The `countersign` command: does what it says, or says in one line on stderr why not."""

from __future__ import annotations

import json
import os
import pwd
import re
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner
from flask import Flask
from sqlalchemy.engine import URL

from app.cli import main
from app.db.embedded import EmbeddedPostgres
from app.server import startup
from app.services.accounts import users
from app.settings import Settings
from tests.at_once import Caller, results_of
from tests.commands import Environment, bare, countersign, on_database, refused, said
from tests.database import connect, new_database
from tests.desk.orders import actor_of, place_waiting
from tests.serving import SECRET_KEY, Desk, Server, free_port

ME = f"cli:{pwd.getpwuid(os.getuid()).pw_name}"
TOKEN = re.compile(r"[0-9a-f]{16}\.[A-Za-z0-9_-]{43}\n")


@pytest.fixture(scope="module")
def on_embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    """A new instance folder whose database is kept running, as a server beside the commands would."""
    instance = tmp_path_factory.mktemp("instance")
    with EmbeddedPostgres(instance / "postgres", durable=False):
        yield bare(INSTANCE_PATH=str(instance))


@pytest.fixture
def environment(desk: Desk, tmp_path: Path) -> Environment:
    return on_database(desk.database, tmp_path)


Run = Callable[..., CompletedProcess[str]]


@pytest.fixture
def run(environment: Environment, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command on the database of `desk`, in this process: the same code in a tenth of the time."""
    for name in ("DATABASE_URL", "SECRET_KEY", "INSTANCE_PATH", "HOST", "PORT", "MIGRATION_DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)

    def invoke(*arguments: str, given: str | bytes = "", **more: str) -> CompletedProcess[str]:
        result = CliRunner().invoke(main, arguments, input=given, env=environment | more)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return CompletedProcess(arguments, result.exit_code, result.stdout, result.stderr)

    return invoke


def events(desk: Desk, *columns: str) -> list[tuple[Any, ...]]:
    return desk.sql(f"SELECT {', '.join(columns or ('action',))} FROM audit_events ORDER BY id")


# As it is used: on a new folder, with the embedded database


def test_a_first_command_on_a_new_folder_makes_the_desk_and_every_command_works_on_it(
    on_embedded: Environment,
) -> None:
    run = partial(countersign, on_embedded)
    made = run("user", "add", "alice", "--role", "admin", "--password-stdin", given="correct horse\n")
    assert (said(made), made.stderr) == ("", "alice can sign in as admin.\n")
    token = run("token", "add", "engine", "--role", "engine", "--owner", "Alice")
    assert TOKEN.fullmatch(said(token))
    assert token.stderr == ""

    lockout = said(run("lockout", "add", "brk.b", "--reason", " earnings ", "--minutes", "90")).strip()
    assert str(uuid.UUID(lockout)) == lockout
    [line] = said(run("lockout", "list")).splitlines()
    assert line.split()[:3] == [lockout, "BRK.B", "manual"]
    assert line.endswith(f"{ME}  earnings")
    assert said(run("lockout", "remove", lockout)) == ""
    assert said(run("lockout", "list")) == ""

    assert said(run("mode")) == "paper\n"
    assert said(run("mode", "disabled")) == "disabled\n"
    for junk in (["--reason", "\udcff" + "x" * 600], ["--bogus", "1"], ["now", "please"], ["--reason"]):
        assert said(run("mode", "disabled", *junk)) == "disabled\n"
    assert said(run("mode", "paper", "--reason", "all is well")) == "paper\n"

    tail = [json.loads(line) for line in said(run("audit", "tail")).splitlines()]
    assert [event["action"] for event in tail] == [
        "account.create",
        "account.create",
        "token.create",
        "lockout.create",
        "lockout.remove",
        "mode.change",
        "mode.change",
    ]
    assert {event["actor"] for event in tail} == {ME}
    assert len({event["request_id"] for event in tail}) == 6
    assert tail[-1]["note"] == "all is well"
    assert tail[-1]["before"] == {"trading_mode": "disabled"}
    assert "correct horse" not in json.dumps(tail)


def test_the_embedded_database_is_refused_where_it_could_be_mistaken_for_a_real_one(
    run: Run, tmp_path: Path
) -> None:
    new = {"INSTANCE_PATH": str(tmp_path / "new"), "DATABASE_URL": ""}
    for more, words in (
        ({"HOST": "0.0.0.0"}, "HOST must be a loopback address"),
        ({"ALPACA_LIVE_KEY_ID": "x"}, "ALPACA_LIVE_KEY_ID is set, but DATABASE_URL is not"),
    ):
        assert words in refused(run("serve", **new | more))
    assert list(tmp_path.iterdir()) == [], "nothing was made"


# Settings that cannot be used


def test_wrong_settings_stop_a_command_with_one_line(run: Run) -> None:
    for settings, words in [
        ({"PORT": "abc"}, "PORT must be a whole number"),
        ({"DATABASE_URL": "mysql://host/db"}, "DATABASE_URL must begin with postgresql://"),
        ({"SECRET_KEY": ""}, "SECRET_KEY is required when DATABASE_URL is set"),
        ({"DATABASE_URL": "", "HOST": "0.0.0.0"}, "HOST must be a loopback address"),
        ({"DATABASE_URL": "", "ALPACA_LIVE_KEY_ID": "x"}, "ALPACA_LIVE_KEY_ID is set"),
        ({"WEB_CONCURRENCY": "0"}, "WEB_CONCURRENCY must be"),
    ]:
        for command in (["mode"], ["serve"], ["db", "upgrade"]):
            assert words in refused(run(*command, **settings))


def test_as_a_process_too(environment: Environment) -> None:
    assert refused(countersign(environment | {"PORT": "abc"}, "mode")) == (
        "PORT must be a whole number from 1 to 65535, not 'abc'"
    )


def test_a_database_that_cannot_be_reached_is_said_in_one_line_without_its_password(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(startup, "DATABASE_TIMEOUT", 0.0)
    nowhere = {
        "DATABASE_URL": "postgresql://somebody:hunter2@127.0.0.1:1/desk",
        "PORT": str(free_port()),
    }
    for command in (["mode"], ["serve"]):
        line = refused(run(*command, **nowhere))
        assert "127.0.0.1" in line
        assert "refused" in line
        assert "hunter2" not in line


def test_a_database_without_tables_is_said_with_what_to_do(postgres_server: URL, run: Run) -> None:
    with new_database(postgres_server) as url:
        empty = on_database(url, Path("/nonexistent"))
        for command in (
            ["mode"],
            ["lockout", "list"],
            ["audit", "tail"],
            ["token", "add", "e", "--role", "engine"],
        ):
            assert refused(run(*command, **empty)) == (
                "the database has no tables of this version: run countersign db upgrade"
            )
        with connect(url) as connection:
            assert connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchall() == [
                (0,)
            ]
        assert run("db", "upgrade", **empty).stderr.endswith("the database is at the newest version\n")
        assert said(run("mode", **empty)) == "paper\n"


def test_tables_of_a_newer_version_are_refused(postgres_server: URL, run: Run) -> None:
    with new_database(postgres_server) as url:
        newer = on_database(url, Path("/nonexistent"))
        said(run("db", "upgrade", **newer))
        with connect(url) as connection:
            connection.execute("UPDATE alembic_version SET version_num = '9999'")
        assert "9999" in refused(run("db", "upgrade", **newer))


def test_migrations_run_as_the_role_that_owns_the_tables(postgres_server: URL, run: Run) -> None:
    with new_database(postgres_server) as url, new_database(postgres_server) as other:
        both = on_database(url, Path("/nonexistent"))
        assert said(run("db", "upgrade", **both | {"MIGRATION_DATABASE_URL": both["DATABASE_URL"]})) == ""
        assert said(run("mode", **both)) == "paper\n"
        elsewhere = on_database(other, Path("/nonexistent"))["DATABASE_URL"]
        assert said(run("db", "upgrade", **both | {"MIGRATION_DATABASE_URL": elsewhere})) == ""
        with connect(other) as connection:
            assert connection.execute("SELECT trading_mode FROM risk_configs").fetchall() == [("paper",)]


# Calling it wrongly


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("fly", "No such command 'fly'"),
        ("user fly", "No such command 'fly'"),
        ("mode sideways", "'sideways' is not one of 'disabled', 'paper', 'live'"),
        ("user add alice", "Missing option '--role'"),
        ("user add alice --role root", "'root' is not one of 'viewer', 'operator', 'admin'"),
        ("user add alice --role engine", "'engine' is not one of"),
        ("token add robot --role root", "'root' is not one of"),
        ("token add --role viewer", "Missing argument 'NAME'"),
        ("lockout add AAPL", "Missing option '--reason'"),
        ("lockout add AAPL --reason r --minutes 1.5", "'1.5' is not a valid integer"),
        ("lockout remove nonsense", "'nonsense' is not a valid UUID"),
        ("audit tail -n 0", "0 is not in the range"),
        ("mode --speed 9", "No such option"),
    ],
)
def test_a_wrong_call_is_one_line_and_status_2(run: Run, desk: Desk, arguments: str, words: str) -> None:
    assert words in refused(run(*arguments.split()), status=2)
    assert events(desk) == []


def test_a_group_alone_shows_its_commands(run: Run) -> None:
    for group in ("user", "token", "lockout", "audit", "db"):
        assert "Commands:" in run(group).stderr + run(group).stdout
        assert "Commands:" in said(run(group, "--help"))
    assert {"serve", "user", "token", "lockout", "mode", "expire", "audit", "db"} <= set(main.commands)


# People


@pytest.mark.usefixtures("real_password_hashes")
def test_a_person_is_made_with_a_password_from_standard_input(run: Run, desk: Desk, app: Flask) -> None:
    for number, line in enumerate(["correct horse\n", "correct horse\r\n", "correct horse", "ein schönes Wort\n"]):
        said(run("user", "add", f"p{number}", "--role", "operator", "--password-stdin", given=line))
        with app.app_context():
            found = users.password_matches(f"p{number}", line.rstrip())
        assert found is not None
        assert (found.name, found.role) == (f"p{number}", "operator")
    [(stored,)] = set(desk.sql("SELECT left(password_hash, 31) FROM accounts"))
    assert stored == "$argon2id$v=19$m=19456,t=2,p=1$"


def test_a_person_is_asked_for_the_password_twice(run: Run, desk: Desk) -> None:
    asked = run("user", "add", "alice", "--role", "viewer", given="correct horse\ncorrect horse\n")
    assert "correct horse" not in said(asked) + asked.stderr
    assert events(desk, "actor", "action", "subject") == [(ME, "account.create", "alice")]


@pytest.mark.parametrize(
    ("name", "password", "words"),
    [
        ("alice", "short", "password: must have 8 to 256 characters"),
        ("alice", "", "password: must have 8 to 256 characters"),
        ("alice", "x" * 257, "password: must have 8 to 256 characters"),
        ("alice", "password", "password: is easy to guess: use four or more unrelated words"),
        ("", "correct horse", "name: must be 1 to 64"),
        ("-", "correct horse", "name: must be 1 to 64"),
        ("cli:root", "correct horse", "name: must be 1 to 64"),
        ("alice bob", "correct horse", "name: must be 1 to 64"),
        ("a" * 65, "correct horse", "name: must be 1 to 64"),
        ("alicé", "correct horse", "name: must be 1 to 64"),
    ],
)
def test_a_person_that_cannot_be_is_refused(run: Run, desk: Desk, name: str, password: str, words: str) -> None:
    assert words in refused(run("user", "add", "--role", "admin", "--password-stdin", "--", name, given=password))
    assert desk.sql("SELECT count(*) FROM accounts") == [(0,)]
    assert events(desk) == []


def test_a_name_is_taken_in_whatever_case(run: Run, desk: Desk) -> None:
    add = partial(run, "user", "add", "--role", "viewer", "--password-stdin", given="correct horse")
    said(add("alice"))
    assert refused(add("ALICE")) == "there is an account named ALICE already"
    said(run("token", "add", "robot", "--role", "viewer"))
    assert refused(add("Robot")) == "there is an account named Robot already"
    assert desk.sql("SELECT name FROM accounts ORDER BY name") == [("alice",), ("robot",)]


def test_bytes_that_are_no_text_are_refused(run: Run, environment: Environment, desk: Desk) -> None:
    add = ["user", "add", "alice", "--role", "viewer", "--password-stdin"]
    assert "not UTF-8" in refused(run(*add, given=b"\xff\xfe correct horse\n"))
    # There Python lets them through, in disguise.
    assert "not UTF-8" in refused(
        countersign(environment | {"LC_ALL": "C"}, *add, given=b"\xff\xfe correct horse\n")
    )
    assert "not UTF-8" in refused(run("token", "revoke", "\udcff"))
    assert "not UTF-8" in refused(run("user", "deactivate", "\udcff"))
    assert "cannot be stored" in refused(run("mode", "paper", "--reason", "\udcff"))
    assert desk.sql("SELECT count(*) FROM accounts") == [(0,)]


# Tokens


def test_a_token_is_printed_alone_and_only_its_hash_is_kept(run: Run, desk: Desk) -> None:
    done = run("token", "add", "robot", "--role", "operator")
    assert TOKEN.fullmatch(said(done))
    assert done.stderr == ""
    token_id, secret = done.stdout.strip().split(".")
    assert desk.sql("SELECT id, secret_hash = sha256(%s::text::bytea), allow_live FROM tokens", secret) == [
        (token_id, True, False)
    ]
    assert secret not in str(desk.sql("SELECT * FROM audit_events"))
    another = said(run("token", "add", "ROBOT", "--role", "operator", "--allow-live"))
    assert another != done.stdout
    assert desk.sql("SELECT count(*) FROM accounts") == [(1,)]
    assert desk.sql("SELECT allow_live FROM tokens ORDER BY created_at") == [(False,), (True,)]
    assert events(desk) == [("account.create",), ("token.create",), ("token.create",)]


def test_an_account_keeps_its_role(run: Run, desk: Desk) -> None:
    said(run("token", "add", "robot", "--role", "viewer"))
    said_no = refused(run("token", "add", "robot", "--role", "admin"))
    assert said_no == "the account robot has the role viewer, not admin"
    assert desk.sql("SELECT count(*) FROM tokens") == [(1,)]
    assert len(events(desk)) == 2


def test_an_owner_is_a_person_and_given_once(run: Run, desk: Desk) -> None:
    desk.add_user("alice", "operator")
    desk.add_user("bob", "operator")
    said(run("token", "add", "robot", "--role", "viewer"))
    said(run("token", "add", "other-engine", "--role", "engine"))
    before = events(desk)
    add = partial(run, "token", "add", "engine", "--role", "engine")
    for nobody in ("carol", "robot", "other-engine", "engine", ""):
        assert refused(add("--owner", nobody)) == f"owner: there is no person named {nobody}".strip()
    assert events(desk) == before
    assert desk.sql("SELECT count(*) FROM accounts WHERE name = 'engine'") == [(0,)]

    said(add())
    said(add("--owner", "Alice"))
    said(add("--owner", "alice"))
    said(add())
    assert refused(add("--owner", "bob")) == "the account engine has another owner already"
    assert desk.sql(
        "SELECT o.name FROM accounts e JOIN accounts o ON o.id = e.owner_id WHERE e.name = 'engine'"
    ) == [("alice",)]


def test_a_token_that_is_revoked_ends_at_once(server: Server, tmp_path: Path) -> None:
    environment = on_database(server.database, tmp_path)
    token = said(countersign(environment, "token", "add", "robot", "--role", "operator")).strip()
    robot = Caller(server.url, token)
    assert [robot.get("/mode").status for _ in range(8)] == [200] * 8
    revoked = countersign(environment, "token", "revoke", token.partition(".")[0])
    assert (said(revoked), revoked.stderr) == ("", "revoked\n")
    assert [robot.get("/mode").status for _ in range(8)] == [401] * 8, "in every worker"


def test_revoking_takes_the_id_or_the_whole_token_and_happens_once(run: Run, desk: Desk) -> None:
    token = said(run("token", "add", "robot", "--role", "viewer")).strip()
    said(run("token", "revoke", token))
    for again in (token, token.partition(".")[0], "0" * 16, "nonsense", "", "'; DROP TABLE tokens"):
        line = refused(run("token", "revoke", again))
        assert "that could be revoked" in line
        assert token.partition(".")[2] not in line
    assert events(desk, "action", "subject")[2:] == [("token.revoke", token.partition(".")[0])]


# Lockouts


def test_a_lockout_is_as_on_the_page(run: Run, desk: Desk) -> None:
    first = said(run("lockout", "add", "aapl", "--reason", "earnings")).strip()
    every = said(run("lockout", "add", "*", "--reason", "of two\nlines", "--minutes", "1", "--type", "cooldown"))
    assert desk.sql(
        "SELECT id::text, ticker, lockout_type, extract(epoch FROM expires_at - created_at)::int, created_by"
        " FROM symbol_lockouts ORDER BY created_at"
    ) == [(first, "AAPL", "manual", 3600, ME), (every.strip(), "*", "cooldown", 60, ME)]
    lines = said(run("lockout", "list")).splitlines()
    assert [line.split()[0] for line in lines if re.match("[0-9a-f]{8}-", line)] == [every.strip(), first]


def test_a_reason_reaches_the_terminal_without_control_characters(run: Run) -> None:
    reason = "of two\nlines \x1b[2J \u202eolleh \u2066"
    said(run("lockout", "add", "*", "--reason", reason))
    [line] = said(run("lockout", "list")).splitlines()
    assert line.endswith("of two[U+000A]lines [U+001B][2J [U+202E]olleh [U+2066]")


def test_a_reason_of_invisible_characters_is_refused(run: Run) -> None:
    for reason in ("\u200b", "\u3164 \ufeff"):
        assert "reason: is required" in refused(run("lockout", "add", "AAPL", "--reason", reason))
        assert "reason" in refused(run("mode", "live", "--reason", reason))


def test_all_lockouts_are_listed_however_many(run: Run, desk: Desk) -> None:
    desk.sql(
        "INSERT INTO symbol_lockouts (ticker, reason, created_by, expires_at)"
        " SELECT 'T' || n, 'r', 'x', now() + interval '1 hour' + n * interval '1 s' FROM generate_series(1, 450) n"
    )
    assert [line.split()[1] for line in said(run("lockout", "list")).splitlines()] == [
        f"T{n}" for n in range(1, 451)
    ]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["A B", "--reason", "r"], "ticker: contains a space"),
        (["ß", "--reason", "r"], 'ticker: contains "ß"'),
        (["AAPL", "--reason", " "], "reason: "),
        (["AAPL", "--reason", "x" * 501], "reason: must have 1 to 500 characters"),
        (["AAPL", "--reason", "r", "--minutes", "0"], "duration_minutes: must be from 1 to 525600"),
        (["AAPL", "--reason", "r", "--minutes", "525601"], "duration_minutes: must be from 1 to 525600"),
        (["AAPL", "--reason", "r", "--type", "halt"], "lockout_type: must be one of"),
    ],
)
def test_a_lockout_that_the_form_refuses_is_refused(
    run: Run, desk: Desk, arguments: list[str], words: str
) -> None:
    assert words in refused(run("lockout", "add", *arguments))
    assert desk.sql("SELECT count(*) FROM symbol_lockouts") == [(0,)]


def test_a_lockout_is_removed_once(run: Run, desk: Desk) -> None:
    made = said(run("lockout", "add", "AAPL", "--reason", "r")).strip()
    assert run("lockout", "remove", made).stderr == "removed\n"
    for nothing in (made, str(uuid.uuid4())):
        assert refused(run("lockout", "remove", nothing)) == "there is no such lockout"
    assert events(desk) == [("lockout.create",), ("lockout.remove",)]


# The mode


def test_halting_needs_no_reason_and_everything_else_does(run: Run, desk: Desk) -> None:
    assert said(run("mode")) == "paper\n"
    for to in ("paper", "live"):
        for reason in ([], ["--reason", ""], ["--reason", "  "], ["--reason", "x" * 501]):
            assert refused(run("mode", to, *reason)).startswith("reason: ")
    assert said(run("mode", "disabled")) == "disabled\n"
    assert said(run("mode", "disabled")) == "disabled\n"
    assert said(run("mode", "live", "--reason", " the market opens ")) == "live\n"
    assert said(run("mode")) == "live\n"
    assert said(run("mode", "disabled", "--reason", "fire")) == "disabled\n"
    assert events(desk, "before ->> 'trading_mode'", "after ->> 'trading_mode'", "note", "actor") == [
        ("paper", "disabled", None, ME),
        ("disabled", "live", "the market opens", ME),
        ("live", "disabled", "fire", ME),
    ]


def test_it_works_where_the_configuration_cannot_be_read(run: Run, desk: Desk) -> None:
    desk.sql("""UPDATE risk_configs SET config = '{"operator_approval": 5, "signal_layers": []}'""")
    assert said(run("mode", "disabled")) == "disabled\n"
    said(run("lockout", "add", "AAPL", "--reason", "r"))


def test_a_desk_without_an_active_configuration_says_so(run: Run, desk: Desk) -> None:
    desk.sql("UPDATE risk_configs SET is_active = false")
    for command in (["mode"], ["mode", "disabled"]):
        assert "there is no active risk configuration" in refused(run(*command))


# The record


def test_the_tail_is_one_json_object_to_a_line_oldest_first(run: Run, desk: Desk) -> None:
    said(run("lockout", "add", "AAPL", "--reason", 'of "two"\nlines\u2028and ünïcode'))
    for mode in (["disabled"], ["paper", "--reason", "r"]):
        said(run("mode", *mode))
    lines = said(run("audit", "tail")).removesuffix("\n").split("\n")
    tail = [json.loads(line) for line in lines]
    assert [event["id"] for event in tail] == [1, 2, 3]
    assert set(tail[0]) == {
        *("id", "created_at", "actor", "action", "subject", "before", "after", "note", "request_id", "truncated")
    }
    assert tail[0]["after"]["reason"] == 'of "two"\nlines\u2028and ünïcode'
    assert datetime.fromisoformat(tail[0]["created_at"]).tzinfo is not None
    assert tail[0]["created_at"].endswith("Z")
    assert [json.loads(line)["id"] for line in said(run("audit", "tail", "-n", "2")).splitlines()] == [2, 3]


def test_an_empty_record_has_an_empty_tail(run: Run, desk: Desk) -> None:
    assert said(run("audit", "tail")) == ""


def test_who_acted_is_told_by_the_system_not_by_the_environment(
    run: Run, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    said(run("mode", "disabled", LOGNAME="somebody-else", USER="somebody-else", USERNAME="somebody-else"))

    def unknown(number: int) -> None:
        raise KeyError(number)

    monkeypatch.setattr(pwd, "getpwuid", unknown)  # a container under a number without a name
    said(run("mode", "paper", "--reason", "r"))
    assert events(desk, "actor") == [(ME,), (f"cli:{os.getuid()}",)]


# Beside a server


def test_commands_at_once_beside_a_server_are_all_done(server: Server, tmp_path: Path) -> None:
    environment = on_database(server.database, tmp_path)
    script = Caller(server.url, server.add_token("script", "admin"))
    commands = [
        ["lockout", "add", "AAPL", "--reason", "by hand"],
        ["lockout", "add", "MSFT", "--reason", "by hand"],
        ["mode", "disabled"],
        ["token", "add", "engine", "--role", "engine"],
    ]

    def change() -> None:
        for minutes in range(1, 16):
            assert script.put("/approval-config", {"approval_timeout_minutes": minutes}).status == 200

    *done, _ = results_of(*(partial(countersign, environment, *command) for command in commands), change)
    for command in done:
        said(command)
    assert script.get("/mode").json == {"trading_mode": "disabled"}
    assert sorted(row["ticker"] for row in script.get("/lockouts").json["items"]) == ["AAPL", "MSFT"]
    assert Caller(server.url, done[-1].stdout.strip()).get("/mode").status == 200
    assert script.get("/approval-config").json["approval_timeout_minutes"] == 15
    assert server.sql("SELECT count(*) FROM audit_events WHERE actor = %s", ME) == [(5,)]


def test_a_command_that_waits_too_long_for_the_rules_says_so(run: Run, desk: Desk) -> None:
    dsn = desk.database.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(dsn) as connection:
        connection.execute("LOCK TABLE risk_configs IN ACCESS EXCLUSIVE MODE")
        line = refused(run("mode", "disabled"))
    assert "lock timeout" in line
    assert said(run("mode")) == "paper\n"


def test_the_settings_of_a_command_are_those_of_the_server(environment: Environment) -> None:
    assert Settings.from_environment(environment).session_secret() == SECRET_KEY


# People, tokens and the second factor


def test_people_are_listed_and_their_roles_changed(run: Run, desk: Desk) -> None:
    for name in ("ada", "olga"):
        desk.add_user(name, "admin")
    said(run("user", "set-role", "olga", "operator"))
    said(run("user", "deactivate", "olga"))
    ada, olga = said(run("user", "list")).splitlines()
    assert ada.split()[:3] == ["ada", "admin", "active"]
    assert olga.split()[:3] == ["olga", "operator", "deactivated"]
    said(run("user", "reactivate", "olga"))
    assert "active" in said(run("user", "list")).splitlines()[1].split()
    assert {actor for (actor,) in events(desk, "actor")} == {"cli:tests", ME}


def test_the_last_admin_stays(run: Run, desk: Desk) -> None:
    desk.add_user("ada", "admin")
    for command in (("set-role", "ada", "viewer"), ("deactivate", "ada")):
        assert "last admin" in refused(run("user", *command))
    assert desk.sql("SELECT role, deactivated_at FROM accounts") == [("admin", None)]


def test_a_password_is_reset_and_printed_once(run: Run, desk: Desk) -> None:
    desk.add_user("ada", "admin")
    password = said(run("user", "reset-password", "ada")).strip()
    with desk.app.app_context():
        assert users.password_matches("ada", password) is not None
    assert "easy to guess" in refused(run("user", "reset-password", "ada", "--password-stdin", given="12345678\n"))
    assert said(run("user", "reset-password", "ada", "--password-stdin", given="a horse, a horse\n")) == ""
    with desk.app.app_context():
        assert users.password_matches("ada", "a horse, a horse") is not None
    assert "horse" not in str(desk.sql("SELECT * FROM audit_events"))


@pytest.mark.parametrize(
    "command", [("set-role", "nobody", "viewer"), ("deactivate", "nobody"), ("reset-second-factor", "nobody")]
)
def test_nobody_is_nobody(run: Run, desk: Desk, command: tuple[str, ...]) -> None:
    assert "named nobody" in refused(run("user", *command))


def test_tokens_are_listed_less_those_that_were_revoked(run: Run, desk: Desk) -> None:
    desk.add_user("ada", "admin")
    held = desk.add_token("bot", "engine", owner="ada").partition(".")[0]
    revoked = desk.add_token("script", "admin", allow_live=True).partition(".")[0]
    said(run("token", "revoke", revoked))
    [line] = said(run("token", "list")).splitlines()
    assert line.split() == [held, "bot", "engine", "never", "used", "owner", "ada"]
    assert revoked in said(run("token", "list", "--all"))


def test_what_a_deactivation_suspends_is_printed_and_resumed_with_another_owner(run: Run, desk: Desk) -> None:
    for name, role in (("ada", "admin"), ("olga", "operator"), ("bob", "operator")):
        desk.add_user(name, role)
    bot = desk.add_token("bot", "engine", owner="olga").partition(".")[0]
    desk.add_token("script", "operator", owner="olga")
    place_waiting(desk, actor_of(desk, "bot"), 2)
    done = run("user", "set-role", "olga", "viewer")
    assert [line.split() for line in said(done).splitlines()] == [
        ["stopped", "bot", "engine", "2", "pending", "orders", "canceled"],
        ["stopped", "script", "operator", "0", "pending", "orders", "canceled"],
    ]
    assert "suspended" in next(line for line in said(run("token", "list")).splitlines() if bot in line)
    assert said(run("user", "set-role", "olga", "operator")).split() == ["resumed", "bot", "resumed", "script"]
    assert "stopped  bot" in said(run("user", "deactivate", "olga"))
    moved = run("token", "owner", "bot", "bob")
    assert (said(moved), moved.stderr) == ("resumed  bot\n", "bob owns bot now\n")
    assert said(run("user", "reactivate", "olga")) == "resumed  script\n"
    assert run("token", "owner", "bot", "bob").stderr == "bob owns bot already\n"
    assert "no person named nobody" in refused(run("token", "owner", "bot", "nobody"))
    assert "no account named nobody" in refused(run("token", "owner", "nobody", "bob"))


def test_the_command_line_controls_nothing(run: Run, desk: Desk) -> None:
    said(run("user", "add", "ada", "--role", "admin", "--password-stdin", given="a horse, a horse\n"))
    said(run("token", "add", "bot", "--role", "engine"))
    assert desk.sql(
        "SELECT count(*) FROM accounts WHERE created_by_id IS NULL AND password_set_by_id IS NULL"
    ) == [(2,)]
    assert desk.sql("SELECT created_by_id FROM tokens") == [(None,)]


def test_the_command_does_not_go_live_where_that_takes_a_second_factor_and_lifts_it_on_the_record(
    run: Run, desk: Desk
) -> None:
    assert said(run("second-factor-for-live")) == "off\n"
    desk.sql("UPDATE risk_configs SET second_factor_for_live = true")
    assert said(run("second-factor-for-live")) == "on\n"
    assert "takes a second factor" in refused(run("mode", "live", "--reason", "r"))
    assert said(run("mode", "disabled")) == "disabled\n"
    assert said(run("second-factor-for-live", "off")) == "off\n"
    assert events(desk, "actor", "action")[-1] == (ME, "second_factor_for_live.change")
    assert said(run("mode", "live", "--reason", "r")) == "live\n"
