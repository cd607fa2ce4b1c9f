"""No lost update: whatever happens at once, every acknowledged change is there, and on record exactly once."""

from __future__ import annotations

import itertools
import random
import uuid
from collections.abc import Callable
from functools import partial
from typing import Any

from flask import Flask

from app.domain.order_status import LockoutType
from app.domain.risk_config import TradingMode
from app.domain.roles import Role
from app.services.accounts import login, users
from app.services.actor import Actor
from app.services.errors import Conflict, DeskError, NotFound
from app.services.trading import config, lockouts
from tests.at_once import Caller, Reply, at_once, results_of, statuses
from tests.serving import TESTER, Desk, Server

# One writer for each of these turns it on and off and on; nobody else touches it.
SETTINGS: list[tuple[str, str, list[Any]]] = [
    ("/approval-config", "auto_approve_paper", [False, True]),
    ("/approval-config", "require_approval_for_live", [False, True]),
    ("/approval-config", "approval_timeout_minutes", [11, 12, 13]),
    ("/signal-layers", "macro", [False, True]),
    ("/signal-layers", "competitive", [False, True]),
]
ROUNDS = 10


def chain(desk: Desk, action: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Before and after of every event of this kind; each begins where the former ended."""
    found = desk.sql("SELECT before, after FROM audit_events WHERE action = %s ORDER BY id", action)
    for (_, after), (before, _) in itertools.pairwise(found):
        assert before == after, "two changes that did not know of each other"
    return found  # type: ignore[return-value]


def test_fifty_puts_of_different_keys_by_threads_lose_nothing(desk: Desk, app: Flask) -> None:
    changes = {"/approval-config": config.change_approval_config, "/signal-layers": config.change_signal_layers}

    def writer(route: str, key: str, values: list[Any]) -> Callable[[], Any]:
        def write() -> Any:
            for value in itertools.islice(itertools.cycle(values), ROUNDS):
                with app.app_context():
                    assert getattr(changes[route](TESTER, {key: value}), key) == value
            return value

        return write

    last = results_of(*(writer(*setting) for setting in SETTINGS))
    with app.app_context():
        stored = config.read()
    assert {
        key: stored.config[section][key]
        for section in ("operator_approval", "signal_layers")
        for key in stored.config[section]
    } == {key: value for (_, key, _), value in zip(SETTINGS, last, strict=True)}
    assert stored.version == 1 + 5 * ROUNDS
    assert len(chain(desk, "approval_config.change")) == 3 * ROUNDS
    assert len(chain(desk, "signal_layers.change")) == 2 * ROUNDS


def test_fifty_puts_and_lockouts_and_halts_by_scripts_lose_nothing(server: Server) -> None:
    """Two processes, eight threads each; everything at once."""
    admin = Caller(server.url, server.add_token("script", "admin", allow_live=True))
    engine = Caller(server.url, server.add_token("engine", "engine"))
    server.sql("""UPDATE risk_configs SET config = '{"sector_exposure": {"tech": 0.10}, "x": [1.50]}'""")

    def writer(route: str, key: str, values: list[Any]) -> Callable[[], list[Reply]]:
        return lambda: [
            admin.put(route, {key: value}) for value in itertools.islice(itertools.cycle(values), ROUNDS)
        ]

    def switch() -> list[Reply]:
        there = {"trading_mode": "disabled"}
        back = {"trading_mode": "paper", "from": "disabled", "reason": "all is well"}
        return [admin.put("/mode", body) for body in [there, back] * 5]

    def lock_out(who: Caller, kind: str) -> Callable[[], list[Reply]]:
        def act() -> list[Reply]:
            body = {"ticker": "AAPL", "reason": kind, "duration_minutes": 5, "lockout_type": kind}
            made = [who.post("/lockouts", body) for _ in range(5)]
            if kind == "cooldown":
                return made
            extended = admin("PATCH", f"/lockouts/{made[0].json['id']}", {"extend_minutes": 60})
            removed = admin("DELETE", f"/lockouts/{made[1].json['id']}")
            return [*made, extended, removed]

        return act

    writers = [writer(*setting) for setting in SETTINGS]
    replies = results_of(
        *writers, switch, lock_out(admin, "manual"), lock_out(admin, "news_shock"), lock_out(engine, "cooldown")
    )
    for reply in itertools.chain.from_iterable(replies):
        assert reply.status in (200, 201, 204), reply.text

    [(stored, mode, version)] = server.sql("SELECT config, trading_mode, version FROM risk_configs")
    assert stored == {
        "sector_exposure": {"tech": 0.1},
        "x": [1.5],
        "operator_approval": {
            "auto_approve_paper": True,
            "require_approval_for_live": True,
            "approval_timeout_minutes": 11,
        },
        "signal_layers": {"macro": True, "competitive": True},
    }
    assert server.sql("SELECT config -> 'x' ->> 0 FROM risk_configs") == [("1.50",)]
    assert mode == "paper"
    assert version == 1 + 6 * ROUNDS
    counts = dict(server.sql("SELECT action, count(*) FROM audit_events GROUP BY action"))
    assert counts == {
        "account.create": 2,
        "token.create": 2,
        "approval_config.change": 3 * ROUNDS,
        "signal_layers.change": 2 * ROUNDS,
        "mode.change": ROUNDS,
        "lockout.create": 15,
        "lockout.extend": 2,
        "lockout.remove": 2,
    }
    for action in ("approval_config.change", "signal_layers.change", "mode.change"):
        chain(server, action)
    assert server.sql("SELECT count(*), count(DISTINCT request_id) FROM audit_events WHERE actor = 'script'") == [
        (sum(counts.values()) - 4 - 5, sum(counts.values()) - 4 - 5)
    ]
    assert server.sql("SELECT lockout_type, count(*) FROM symbol_lockouts GROUP BY 1 ORDER BY 1") == [
        ("cooldown", 5),
        ("manual", 4),
        ("news_shock", 4),
    ]


def test_the_same_change_twenty_times_at_once_is_one_change(server: Server) -> None:
    admin = Caller(server.url, server.add_token("script", "admin"))
    for route, body, action in (
        ("/approval-config", {"auto_approve_paper": False}, "approval_config.change"),
        ("/signal-layers", {"macro": False}, "signal_layers.change"),
        ("/mode", {"trading_mode": "disabled"}, "mode.change"),
    ):
        replies = results_of(*[partial(admin.put, route, body)] * 20)
        assert statuses(replies) == [200] * 20
        assert len({reply.text for reply in replies}) == 1
        assert len(chain(server, action)) == 1
    assert server.sql("SELECT version FROM risk_configs") == [(4,)]


def test_of_whole_configurations_written_over_the_same_one_exactly_one_wins(server: Server) -> None:
    admin = Caller(server.url, server.add_token("script", "admin"))
    for round_ in range(3):
        etag = admin.get("/config").headers["etag"]
        bodies = [{"config": {"written_by": [round_, number]}} for number in range(12)]
        replies = results_of(*(partial(admin.put, "/config", body, If_Match=etag) for body in bodies))
        assert statuses(replies) == [200] + [412] * 11
        [(winner, body)] = [(r, b) for r, b in zip(replies, bodies, strict=True) if r.status == 200]
        now = admin.get("/config")
        assert now.json["config"] == winner.json["config"] == body["config"]
        assert now.headers["etag"] == winner.headers["etag"] != etag
        for reply in replies:
            if reply.status == 412:
                assert reply.json["code"] == "stale"
    assert len(chain(server, "config.replace")) == 3


def test_a_whole_configuration_and_a_merge_at_once_never_lose_the_merge(server: Server) -> None:
    """Either the whole one came first and the merge is in it, or it is refused as stale."""
    admin = Caller(server.url, server.add_token("script", "admin"))
    for timeout in range(1, 9):
        read = admin.get("/config")
        whole = {"config": read.json["config"] | {"round": timeout}}
        replaced, merged = results_of(
            partial(admin.put, "/config", whole, If_Match=read.headers["etag"]),
            partial(admin.put, "/approval-config", {"approval_timeout_minutes": timeout}),
        )
        assert merged.status == 200
        assert replaced.status in (200, 412)
        stored = admin.get("/config").json["config"]
        assert stored["operator_approval"]["approval_timeout_minutes"] == timeout
        assert (stored.get("round") == timeout) is (replaced.status == 200)


def test_a_stale_page_cannot_undo_a_halt(server: Server) -> None:
    """The page shows `paper`; whoever is first, the desk is halted in the end."""
    admin = Caller(server.url, server.add_token("script", "admin", allow_live=True))
    outcomes = set()
    for round_ in range(12):
        stale = {"trading_mode": "live" if round_ % 2 else "paper", "from": "paper", "reason": "off we go"}
        acts = [
            lambda: admin.put("/mode", {"trading_mode": "disabled"}),
            *[partial(admin.put, "/mode", stale)] * 3,
        ]
        halted, *replies = results_of(*acts)
        assert halted.status == 200
        assert admin.get("/mode").json == {"trading_mode": "disabled"}
        for reply in replies:
            assert reply.status in (200, 409), reply.text
            if reply.status == 409:
                assert reply.json["code"] == "mode_changed"
        outcomes |= set(statuses(replies))
        late = admin.put("/mode", stale)
        assert (late.status, late.json["code"]) == (409, "mode_changed")
        assert admin.get("/mode").json == {"trading_mode": "disabled"}
        back = {"trading_mode": "paper", "from": "disabled", "reason": "the next round"}
        assert admin.put("/mode", back).status == 200
    assert 409 in outcomes
    chain(server, "mode.change")


def test_of_many_who_leave_a_halt_one_does(server: Server) -> None:
    admin = Caller(server.url, server.add_token("script", "admin", allow_live=True))
    assert admin.put("/mode", {"trading_mode": "disabled"}).status == 200
    bodies = [{"trading_mode": to, "from": "disabled", "reason": "go"} for to in ("paper", "live") * 5]
    replies = results_of(*(partial(admin.put, "/mode", body) for body in bodies))
    assert statuses(replies) == [200] + [409] * 9
    [winner] = [reply for reply in replies if reply.status == 200]
    assert admin.get("/mode").json == winner.json
    assert len(chain(server, "mode.change")) == 2


def test_a_lockout_that_many_remove_at_once_is_removed_once(server: Server) -> None:
    admin = Caller(server.url, server.add_token("script", "admin"))
    body = {"ticker": "AAPL", "reason": "r", "duration_minutes": 5}
    for _ in range(4):
        made = admin.post("/lockouts", body).json
        replies = results_of(*[partial(admin, "DELETE", f"/lockouts/{made['id']}")] * 8)
        assert statuses(replies) == [204] + [404] * 7
        assert server.sql(
            "SELECT count(*) FROM audit_events WHERE action = 'lockout.remove' AND subject = %s", made["id"]
        ) == [(1,)]


def test_extensions_at_once_add_up(server: Server) -> None:
    admin = Caller(server.url, server.add_token("script", "admin"))
    made = admin.post("/lockouts", {"ticker": "AAPL", "reason": "r", "duration_minutes": 5}).json
    replies = results_of(*[lambda: admin("PATCH", f"/lockouts/{made['id']}", {"extend_minutes": 10})] * 12)
    assert statuses(replies) == [200] * 12
    assert server.sql("SELECT expires_at - created_at = interval '125 minutes' FROM symbol_lockouts") == [(True,)]
    assert len(chain(server, "lockout.extend")) == 12


def test_accounts_and_tokens_made_at_once(desk: Desk, app: Flask) -> None:
    def add_token() -> str:
        with app.app_context():
            return users.add_token(TESTER, "engine", Role.ENGINE)

    def add_person(name: str) -> Callable[[], Any]:
        def add() -> None:
            with app.app_context():
                users.add_person(TESTER, name, Role.VIEWER, "correct horse")

        return add

    tokens = results_of(*[add_token] * 8)
    assert len({token.partition(".")[0] for token in tokens}) == 8
    assert desk.sql("SELECT count(*) FROM accounts") == [(1,)]
    made = at_once(*(add_person(name) for name in ("alice", "Alice", "ALICE", "aLICE")))
    assert sorted(str(getattr(result, "code", result)) for result in made) == ["None"] + ["name_taken"] * 3
    assert desk.sql("SELECT count(*) FROM accounts WHERE lower(name) = 'alice'") == [(1,)]

    def revoke() -> None:
        with app.app_context():
            users.revoke_token(TESTER, tokens[0].partition(".")[0])

    revoked = at_once(*[revoke] * 6)
    assert [type(result) for result in revoked if result] == [NotFound] * 5
    assert desk.sql("SELECT count(*) FROM audit_events WHERE action = 'token.revoke'") == [(1,)]


def test_no_mix_of_acts_ever_deadlocks(desk: Desk, app: Flask) -> None:
    """Every kind of act in every order; a deadlock would show as an error, and in the database's own count."""
    deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    before = desk.sql(deadlocks)
    password = desk.add_user("alice", "admin")
    desk.add_user("bob", "viewer")
    shared: list[uuid.UUID] = []

    def lock_out() -> None:
        made = lockouts.create(
            TESTER, ticker="AAPL", reason="r", duration_minutes=5, lockout_type=LockoutType.MANUAL
        )
        shared.append(made.id)

    def go_on() -> None:
        config.change_mode(TESTER, TradingMode.PAPER, leaving=TradingMode.DISABLED, reason="go on")

    def come_and_go() -> None:
        found = login.sign_in("alice", password, address="10.0.0.1", device_names={}, request_id="r")
        assert found is not None
        person, secret = found
        assert login.signed_in(secret) == person
        desk.sql("UPDATE web_sessions SET seen_at = now() - interval '2 minutes'")
        assert login.signed_in(secret) == person
        login.sign_out(Actor(person.name, person.role, "r", person.account_id), secret)

    def rotate() -> None:
        token = users.add_token(TESTER, "engine", Role.ENGINE, owner="alice")
        claim = users.Claim.read(token)
        assert claim is not None
        assert claim.look_up() is not None
        users.revoke_token(TESTER, claim.token_id)
        assert claim.look_up() is None

    acts: list[Callable[[], Any]] = [
        lambda: config.change_approval_config(TESTER, {"auto_approve_paper": random.random() < 0.5}),
        lambda: config.change_signal_layers(TESTER, {"macro": random.random() < 0.5}),
        lambda: config.replace(TESTER, {"order_rate": {}, "x": random.random()}, expected_versions=None),
        lambda: config.change_mode(TESTER, TradingMode.DISABLED),
        go_on,
        lock_out,
        lock_out,
        lambda: shared and lockouts.extend(TESTER, random.choice(shared), 1),
        lambda: shared and lockouts.remove(TESTER, shared.pop()),
        come_and_go,
        rotate,
        lambda: login.sign_in("bob", "wrong", address="10.0.0.2", device_names={}, request_id="r"),
    ]
    refused: list[DeskError] = []

    def several(seed: int) -> Callable[[], None]:
        order = random.Random(seed).sample(acts, len(acts)) * 2

        def run() -> None:
            for act in order:
                try:
                    with app.app_context():
                        act()
                except (Conflict, NotFound, login.TooManyTries) as error:
                    refused.append(error)  # an honest no: somebody else was quicker

        return run

    results_of(*(several(seed) for seed in range(8)), seconds=90)
    assert desk.sql(deadlocks) == before
    assert {type(error) for error in refused} <= {Conflict, NotFound, login.TooManyTries}
    for action in ("mode.change", "approval_config.change", "signal_layers.change"):
        found = desk.sql("SELECT before, after FROM audit_events WHERE action = %s ORDER BY id", action)
        assert found
        assert all(before != after for before, after in found)
    chain(desk, "mode.change")
