"""The desk as `deploy/roles.sql` has it run: every act goes on record, and nothing on record can be altered."""

from __future__ import annotations

import re
import secrets
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pyotp
import pytest
from psycopg import errors, sql
from sqlalchemy.engine import URL

from app.db.embedded import _programs
from app.extensions import db
from app.services.audit import log
from app.settings import PROJECT
from tests.at_once import Caller, until
from tests.commands import Environment, bare, countersign, refused, said
from tests.database import connect, new_database
from tests.serving import SECRET_KEY, free_port
from tests.test_serve import Serve, serving, sign_in
from tests.venues.stand_in import KEY, standing_in

ROLES = PROJECT / "deploy" / "roles.sql"
ORDER = {"ticker": "AAPL", "side": "buy", "qty": "1", "type": "market"}
PASSWORD = "correct horse"
AT_A_VENUE = {
    "order.send",
    "order.unsent",
    "order.unknown",
    "order.venue",
    "order.cancel_at_venue",
    "venue.answers",
}


@dataclass
class Roles:
    """A database that `owner` owns, and on which the desk runs as `app`. All URLs are plain ones."""

    url: URL
    owner: URL
    app: URL

    def environment(self, instance: Path, *, migrating: bool) -> Environment:
        settings = {"DATABASE_URL": plain(self.app), "SECRET_KEY": SECRET_KEY, "INSTANCE_PATH": str(instance)}
        return bare(**settings, **({"MIGRATION_DATABASE_URL": plain(self.owner)} if migrating else {}))

    def grant(self, app: str) -> subprocess.CompletedProcess[str]:
        command = [_programs() / "psql", "-qX", "-v", f"app={app}", "-f", ROLES, plain(self.owner)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def plain(url: URL) -> str:
    return url.set(drivername="postgresql").render_as_string(hide_password=False)


@pytest.fixture(scope="module")
def roles(postgres_server: URL) -> Iterator[Roles]:
    """Both roles, with nothing in the database yet; they are of the whole server, so their names are new ones."""
    names = [f"countersign_test_{kind}_{secrets.token_hex(4)}" for kind in ("owner", "app")]
    password = secrets.token_urlsafe(12)
    with new_database(postgres_server) as url, connect(url) as connection:
        for name in names:
            connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(name), password))
        owner, app = names
        connection.execute(
            sql.SQL("ALTER DATABASE {} OWNER TO {}").format(
                sql.Identifier(str(url.database)), sql.Identifier(owner)
            )
        )
        try:
            yield Roles(url, *(url.set(username=name, password=password) for name in names))
        finally:
            for name in (app, owner):
                connection.execute(sql.SQL("DROP OWNED BY {} CASCADE").format(sql.Identifier(name)))
                connection.execute(sql.SQL("REASSIGN OWNED BY {} TO CURRENT_USER").format(sql.Identifier(name)))
                connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


@pytest.fixture(scope="module")
def granted(roles: Roles, tmp_path_factory: pytest.TempPathFactory) -> Roles:
    """As docs/AUDIT.md says: migrated by the owner, then the rights of the application."""
    folder = tmp_path_factory.mktemp("owner")
    said(countersign(roles.environment(folder, migrating=True), "db", "upgrade"))
    for _ in range(2):  # the second time changes nothing
        done = roles.grant(str(roles.app.username))
        assert done.returncode == 0, done.stderr
    return roles


@pytest.fixture(scope="module")
def desk(granted: Roles, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Serve, Environment]]:
    folder = tmp_path_factory.mktemp("served")
    environment = granted.environment(folder, migrating=False)
    said(countersign(environment, "user", "add", "alice", "--role", "admin", "--password-stdin", given=PASSWORD))
    # Nobody is at that address, so that what is to be told stays in the outbox.
    told = {"NOTIFY_URLS": "json://127.0.0.1:9/nobody"}
    with serving(folder, folder, **environment, **told, PORT=str(free_port()), WEB_CONCURRENCY="2") as served:
        yield served.wait_until_ready(), environment
        assert served.stop() == 0
        assert "permission denied" not in served.output
        assert "Traceback" not in served.output


def rows(url: URL, statement: str) -> list[tuple[Any, ...]]:
    with connect(url) as connection:
        cursor = connection.execute(statement)  # type: ignore[arg-type]
        return cursor.fetchall() if cursor.description else []


def test_every_table_has_its_rights_written_down() -> None:
    """Whoever adds a table, or an act, thinks of this file too."""
    granted = set(re.findall(r"\b[a-z_]+\b", " ".join(re.findall(r"ON ([a-z_, ]+) TO", ROLES.read_text()))))
    assert granted >= set(db.metadata.tables)


def test_orders_go_to_a_venue_and_what_becomes_of_them_is_on_record(granted: Roles, tmp_path: Path) -> None:
    """Before the desk of the other tests is served: that one has no venue, and would lead."""
    with standing_in() as venue:
        environment = granted.environment(tmp_path, migrating=False) | {
            "ALPACA_PAPER_KEY_ID": KEY["APCA-API-KEY-ID"],
            "ALPACA_PAPER_SECRET_KEY": KEY["APCA-API-SECRET-KEY"],
            "ALPACA_PAPER_URL": venue.url,
            "ALPACA_PAPER_STREAM_URL": venue.stream_url,
            **{"SEND_WITHIN": "2", "VENUE_PATIENCE": "1"},
        }
        admin = said(countersign(environment, "token", "add", "sender", "--role", "admin")).strip()
        bot = said(countersign(environment, "token", "add", "sending", "--role", "engine")).strip()
        with serving(tmp_path, tmp_path, **environment, PORT=str(free_port())) as served:
            served.wait_until_ready()
            operator, engine = Caller(served.url, admin), Caller(served.url, bot)
            mode = operator.get("/mode").json["trading_mode"]
            operator.put("/mode", {"trading_mode": "paper", "from": mode, "reason": "a new day"})
            operator.put("/config", {"config": {}}, If_Match="*")

            def send(name: str) -> str:
                made = engine.post("/orders", ORDER | {"client_order_id": name})
                assert made.status == 201, made.text
                return str(made.json["id"])

            def becomes(order_id: str, status: str) -> None:
                until(lambda: engine.get(f"/orders/{order_id}").json["status"] == status, what=f"never {status}")

            filled, withdrawn = send("filled"), send("withdrawn")
            venue.fill(f"cs-{filled}", "1", "100")
            becomes(filled, "filled")
            assert engine.post(f"/orders/{withdrawn}/cancel", {}).status == 200
            becomes(withdrawn, "venue_canceled")
            operator.put("/approval-config", {"auto_approve_paper": False})
            approved = send("approved too")
            assert operator.post(f"/approvals/{approved}/approve", {}).json["status"] == "accepted"
            operator.put("/approval-config", {"auto_approve_paper": True})
            venue.fails = 500
            becomes(send("nobody knows"), "unknown")
            venue.fails = None
            venue.go_away()
            late = send("late there")
            becomes(late, "canceled")
            assert [reason["code"] for reason in engine.get(f"/orders/{late}").json["reasons"]] == [
                "send_deadline"
            ]
            until(lambda: operator.get("/state").json["venue"]["silent_since"], 60, "its silence was never told")
            assert served.stop() == 0
            assert "permission denied" not in served.output
    recorded = {action for (action,) in rows(granted.url, "SELECT DISTINCT action FROM audit_events")}
    assert recorded >= AT_A_VENUE


def manage_accounts(granted: Roles, environment: Environment, url: str) -> None:
    """What admins do with accounts, and everybody with their own: by the command, and on the pages."""
    for name in ("bob", "carol"):
        said(countersign(environment, "user", "add", name, "--role", "viewer", "--password-stdin", given=PASSWORD))
    said(countersign(environment, "user", "set-role", "bob", "operator"))
    said(countersign(environment, "token", "add", "bobs-bot", "--role", "engine", "--owner", "bob"))
    for command in ("deactivate", "reactivate"):
        said(countersign(environment, "user", command, "bob"))
    said(countersign(environment, "token", "owner", "bobs-bot", "alice"))
    password = said(countersign(environment, "user", "reset-password", "carol")).strip()
    secret, spare = "", ""

    def code() -> str:
        rows(granted.url, "UPDATE second_factors SET last_step = 0")  # this machine has no half a minute to wait
        return pyotp.TOTP(secret).now()

    with httpx.Client(base_url=url) as browser:

        def post(path: str, **fields: str) -> str:
            page = browser.get("/account", follow_redirects=True).text
            token = re.findall(r'name="csrf_token" value="([^"]+)"', page)[0]
            answer = browser.post(path, data={"csrf_token": token, **fields})
            assert answer.status_code in (200, 303), answer.text
            return answer.text

        assert sign_in(browser, "alice", PASSWORD).status_code == 303
        post("/account/password", password=PASSWORD, new_password=password, again=password)
        page = post("/account/second-factor/start", password=password)
        secret = re.findall(r'aria-labelledby="secret-label">([A-Z2-7 ]+)<', page)[0].replace(" ", "")
        post("/account/second-factor/confirm", secret=secret, code=code())
        codes = post("/account/second-factor/recovery-codes", code=code())
        spare = re.findall(r"[A-Z2-7]{4}(?:-[A-Z2-7]{4}){3}", codes)[0]
        rows(granted.url, "UPDATE web_sessions SET confirmed_at = confirmed_at - interval '11 minutes'")
        for required in ("true", "false"):
            live = {"required": required, "confirmed": "yes", "totp_code": code(), "current_password": password}
            post("/accounts/second-factor-for-live", **live)
        post("/account/sessions/end-all")
        assert sign_in(browser, "alice", password).headers["Location"].startswith("/login/code")
        post("/login/code", code=spare)
        post("/account/second-factor/off", password=password, code=code())
        page = post("/account/second-factor/start", password=password)
        secret = re.findall(r'aria-labelledby="secret-label">([A-Z2-7 ]+)<', page)[0].replace(" ", "")
        post("/account/second-factor/confirm", secret=secret, code=code())
    said(countersign(environment, "user", "reset-second-factor", "alice"))


def test_every_kind_of_act_is_done_and_on_record(granted: Roles, desk: tuple[Serve, Environment]) -> None:
    served, environment = desk
    made = [
        said(countersign(environment, "token", "add", name, "--role", name)).strip()
        for name in ("operator", "admin")
    ]
    operator, admin = (Caller(served.url, token) for token in made)
    add = ("token", "add", "engine", "--role", "engine")
    said(countersign(environment, *add))
    engine = Caller(served.url, said(countersign(environment, *add, "--owner", "alice")).strip())

    with httpx.Client(base_url=served.url) as browser:
        assert sign_in(browser, "alice", "not the password").status_code == 401
        assert sign_in(browser, "alice", PASSWORD).status_code == 303
        assert browser.get("/trading").status_code == 200
        rows(granted.url, "UPDATE web_sessions SET seen_at = seen_at - interval '2 minutes'")
        page = browser.get("/trading")
        assert rows(granted.url, "SELECT seen_at > now() - interval '1 minute' FROM web_sessions") == [(True,)]
        [token] = set(re.findall(r'name="csrf[-_]token" (?:content|value)="([^"]+)"', page.text))
        assert browser.post("/logout", data={"csrf_token": token}).status_code == 303

    lockout = operator.post("/lockouts", {"ticker": "MSFT", "reason": "r", "duration_minutes": 5})
    assert lockout.status == 201
    place = f"/lockouts/{lockout.json['id']}"
    assert operator("PATCH", place, {"extend_minutes": 5}).status == 200
    assert operator("DELETE", place).status == 204
    assert operator.put("/signal-layers", {"macro": False}).status == 200
    assert (
        admin.put("/config", {"config": {"order_rate": {"max_orders": 9, "per_seconds": 1}}}, If_Match="*").status
        == 200
    )

    assert engine.post("/orders", ORDER | {"client_order_id": "released"}).json["status"] == "released"
    assert engine.post("/orders", ORDER | {"client_order_id": "released"}).status == 200
    assert operator.put("/approval-config", {"auto_approve_paper": False}).status == 200
    waiting = {
        name: engine.post("/orders", ORDER | {"client_order_id": name}).json["id"]
        for name in ("approved", "rejected", "canceled", "bulk", "late", "late too", "halted")
    }
    assert engine.post(f"/orders/{waiting['canceled']}/cancel", {}).status == 200
    assert operator.post(f"/approvals/{waiting['approved']}/approve", {}).status == 200
    assert operator.post(f"/approvals/{waiting['rejected']}/reject", {"reason": "r"}).status == 200
    decisions = {"decisions": [{"id": waiting["bulk"], "action": "approve"}]}
    assert operator.post("/approvals/decisions", decisions).json["results"][0]["status"] == 200
    late = "UPDATE orders SET expires_at = clock_timestamp() WHERE client_order_id = '{}'"
    rows(granted.url, late.format("late"))
    assert engine.get(f"/orders/{waiting['late']}").json["status"] == "expired"
    rows(granted.url, late.format("late too"))
    until(lambda: rows(granted.url, "SELECT count(*) FROM orders WHERE status = 'expired'") == [(2,)], 5)
    assert operator.put("/mode", {"trading_mode": "disabled"}).status == 200
    assert engine.get(f"/orders/{waiting['halted']}").json["status"] == "canceled"
    assert engine.post("/orders", ORDER | {"client_order_id": "blocked"}).json["status"] == "blocked"
    for path in ("/state", "/approvals", "/orders", "/audit", "/config"):
        assert admin.get(path).status == 200
    said(countersign(environment, "token", "revoke", made[0]))
    manage_accounts(granted, environment, served.url)

    recorded = {action for (action,) in rows(granted.url, "SELECT DISTINCT action FROM audit_events")}
    assert recorded - AT_A_VENUE == set(log.ACTIONS) - AT_A_VENUE
    # The deadlines were a matter of SQL, so nothing was about to expire here.
    notices = {kind for (kind,) in rows(granted.url, "SELECT DISTINCT kind FROM notices")}
    assert notices >= {"halted", "order_waits", "order_expired", "lockout"}
    until(
        lambda: (
            rows(granted.url, "SELECT tries > 0, last_error IS NOT NULL FROM notice_receivers") == [(True, True)]
        )
    )
    [(events,)] = rows(granted.url, "SELECT count(*) FROM audit_events")
    until(lambda: rows(granted.url, "SELECT count(*) FROM audit_seals") == [(events,)], 10)
    head = said(countersign(environment, "audit", "head")).strip()
    verified = said(countersign(environment, "audit", "verify", "--head", head))
    assert verified == f"{events} events sealed and whole, 0 not sealed yet, head {head}\n"


TAMPERING = [
    *("UPDATE {0} SET {1} = {1}", "UPDATE {0} SET {1} = {1} WHERE false", "DELETE FROM {0}", "TRUNCATE {0}"),
    *("DROP TABLE {0}", "ALTER TABLE {0} RENAME TO x", "ALTER TABLE {0} DROP COLUMN {1}"),
    *("ALTER TABLE {0} DISABLE TRIGGER {0}_are_final", "ALTER TABLE {0} DISABLE TRIGGER ALL"),
    *("DROP TRIGGER {0}_are_final ON {0}", "SELECT * FROM {0} FOR UPDATE"),
    "CREATE RULE gone AS ON INSERT TO {0} DO INSTEAD NOTHING",
    "CREATE TRIGGER another BEFORE INSERT ON {0} EXECUTE FUNCTION audit_events_are_final()",
    "ALTER TABLE {0} OWNER TO CURRENT_USER",
]
MORE_TAMPERING = [
    "CREATE OR REPLACE FUNCTION audit_events_are_final() RETURNS trigger LANGUAGE plpgsql"
    " AS 'BEGIN RETURN NULL; END'",
    "DROP FUNCTION audit_events_are_final() CASCADE",
    "SET session_replication_role = replica",
    "ALTER SEQUENCE audit_events_id_seq RESTART",
    "SELECT setval('audit_events_id_seq', 1)",
    "SELECT nextval('audit_events_id_seq')",
    "CREATE TABLE mine (x int)",
    "CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "INSERT INTO audit_events (id, actor, action, subject, request_id)"
    " OVERRIDING SYSTEM VALUE VALUES (-1, 'x', 'y', 'z', 'r')",
    "INSERT INTO audit_events (created_at, actor, action, subject, request_id)"
    " VALUES ('2020-01-01', 'x', 'y', 'z', 'r')",
    # And what would come close to it.
    "UPDATE accounts SET name = 'x'",
    "UPDATE accounts SET created_at = now()",
    "DELETE FROM accounts",
    "UPDATE tokens SET secret_hash = sha256('x')",
    "UPDATE tokens SET allow_live = true",
    "DELETE FROM orders",
    "TRUNCATE orders",
    "DELETE FROM risk_configs",
    "INSERT INTO risk_configs DEFAULT VALUES",
    "UPDATE risk_configs SET is_active = false",
    "UPDATE alembic_version SET version_num = '0'",
    "GRANT ALL ON audit_events TO PUBLIC",
]


@pytest.mark.parametrize(
    "statement",
    [
        statement.format(table, column)
        for table, column in (("audit_events", "actor"), ("audit_seals", "digest"))
        for statement in TAMPERING
    ]
    + MORE_TAMPERING,
)
def test_it_may_not(granted: Roles, statement: str) -> None:
    if "GRANT ALL" in statement:
        # PostgreSQL only warns of a right that cannot be given on.
        rows(granted.app, statement)
        assert rows(granted.url, "SELECT has_table_privilege('public', 'audit_events', 'SELECT')") == [(False,)]
        return
    with connect(granted.app) as connection, pytest.raises(errors.InsufficientPrivilege):
        connection.execute(statement)  # type: ignore[arg-type]


def test_it_cannot_become_the_owner(granted: Roles) -> None:
    with connect(granted.app) as connection, pytest.raises(errors.InsufficientPrivilege):
        connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(str(granted.owner.username))))


def test_the_owner_himself_is_stopped_by_the_trigger(granted: Roles) -> None:
    for table in ("audit_events", "audit_seals"):
        with connect(granted.owner) as connection, pytest.raises(errors.RestrictViolation):
            connection.execute(f"DELETE FROM {table}")  # type: ignore[arg-type]


def test_a_role_with_the_rights_of_the_owner_is_refused(granted: Roles) -> None:
    before = rows(granted.url, "SELECT relname, relacl::text FROM pg_class WHERE relname ~ '^audit' ORDER BY 1")
    done = granted.grant(str(granted.owner.username))
    assert done.returncode == 3
    assert "has the rights of the owner of accounts, " in done.stderr
    after = rows(granted.url, "SELECT relname, relacl::text FROM pg_class WHERE relname ~ '^audit' ORDER BY 1")
    assert after == before


def test_a_role_that_is_not_there_is_said_to_be_missing(granted: Roles) -> None:
    done = granted.grant("nobody_of_this_name")
    assert done.returncode == 3
    assert 'role "nobody_of_this_name" does not exist' in done.stderr


# Migrations


def test_serve_migrates_as_the_owner_and_forgets_how(granted: Roles, tmp_path: Path) -> None:
    """Whoever got hold of a process that answers requests finds no way to the owner in it."""
    environment = granted.environment(tmp_path, migrating=True)
    with serving(tmp_path, tmp_path, **environment, PORT=str(free_port()), WEB_CONCURRENCY="1") as served:
        served.wait_until_ready()
        process = psutil.Process(served.process.pid)
        for each in (process, *process.children(recursive=True)):
            assert each.environ()["DATABASE_URL"] == plain(granted.app)
            assert "MIGRATION_DATABASE_URL" not in each.environ()
        assert served.stop() == 0


def test_on_tables_of_an_older_version_it_says_that_it_may_not_migrate(granted: Roles, tmp_path: Path) -> None:
    """Without the owner's URL, a new version does not start on old tables."""
    environment = granted.environment(tmp_path, migrating=False) | {"PORT": str(free_port())}
    [(newest,)] = rows(granted.url, "SELECT version_num FROM alembic_version")
    rows(granted.url, "UPDATE alembic_version SET version_num = '0001'")
    try:
        for command in (["serve"], ["db", "upgrade"]):
            assert "permission denied for schema public" in refused(countersign(environment, *command))
    finally:
        rows(granted.url, f"UPDATE alembic_version SET version_num = '{newest}'")
    said(countersign(environment, "db", "upgrade"))
