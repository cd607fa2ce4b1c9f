"""The record is sealed: whatever is altered, removed, inserted or reordered afterwards is found and named."""

from __future__ import annotations

import hashlib
import json
import random
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from flask import Flask
from sqlalchemy import text
from sqlalchemy.engine import URL

from app.db.embedded import _programs
from app.db.transaction import recording
from app.domain.risk_config import TradingMode
from app.services.audit import log
from app.services.audit import seal as sealing
from app.services.audit.seal import START, Head, Verdict
from app.services.errors import Invalid
from app.services.trading import config
from tests.at_once import at_once, in_one_of_three, results_of, timed, until
from tests.commands import COUNTERSIGN, on_database
from tests.database import connect, new_database
from tests.serving import TESTER, Desk, application


class Record:
    """A record of nine events, 1 to 4 and 6 to 10: number 5 was given out and never came to be."""

    def __init__(self, app: Flask, desk: Desk) -> None:
        self.app = app
        self.desk = desk
        for number in range(1, 11):
            if number == 5:
                desk.sql("SELECT nextval(pg_get_serial_sequence('audit_events', 'id'))")
            else:
                self.add(number)

    def add(self, number: int) -> None:
        with self.app.app_context(), recording() as session:
            log.record(
                session,
                TESTER,
                "config.replace",
                f"subject {number}",
                before={"limit": 1, "nested": {"é\u2028": [None, True]}},
                after={"limit": number},
                note=f"note {number}" if number % 2 else None,
            )

    def seal(self, most: int = sealing.MOST_AT_ONCE) -> Head | None:
        with self.app.app_context():
            return sealing.seal(most)

    def verify(self, kept: Head | None = None) -> Verdict:
        with self.app.app_context():
            return sealing.verify(kept)

    def head(self) -> Head:
        with self.app.app_context():
            return sealing.head()

    def tamper(self, *statements: str) -> None:
        """As whoever owns the tables could: with the triggers switched off."""
        off = "ALTER TABLE {0} DISABLE TRIGGER {0}_are_final"
        on = "ALTER TABLE {0} ENABLE ALWAYS TRIGGER {0}_are_final"
        tables = ("audit_events", "audit_seals")
        self.desk.sql("; ".join([*(off.format(t) for t in tables), *statements, *(on.format(t) for t in tables)]))


@pytest.fixture
def record(app: Flask, desk: Desk) -> Record:
    return Record(app, desk)


@pytest.fixture
def sealed(record: Record) -> Record:
    head = record.seal()
    assert head is not None
    assert head.event_id == 10
    assert record.verify() == Verdict(sealed=9, head=head)
    return record


# What is sealed


def test_an_empty_record_is_whole(app: Flask, desk: Desk) -> None:
    with app.app_context():
        assert sealing.seal() is None
        assert sealing.verify() == Verdict(0, START, None, 0)
        assert sealing.verify(START) == Verdict(0, START, None, 0)
        assert str(sealing.head()) == f"0:{'0' * 64}"


def test_every_event_gets_one_seal_and_later_events_go_on_from_there(sealed: Record) -> None:
    first = sealed.head()
    assert sealed.seal() is None, "there is nothing to seal"
    sealed.add(11)
    assert sealed.verify() == Verdict(9, first, None, unsealed=1)
    second = sealed.seal()
    assert sealed.head() == second
    assert sealed.verify() == Verdict(10, second)
    assert sealed.desk.sql("SELECT position, event_id FROM audit_seals ORDER BY 1") == [
        *((n, n) for n in range(1, 5)),
        *((n - 1, n) for n in range(6, 12)),
    ]


def test_the_chain_is_what_the_documentation_says(sealed: Record) -> None:
    """Recomputed by other means: from text that psycopg never turned into values."""
    rows = sealed.desk.sql(
        "SELECT extract(epoch FROM sealed_at)::text, digest, id, extract(epoch FROM created_at)::text,"
        " actor, action, subject, before::text, after::text, note, request_id"
        " FROM audit_events JOIN audit_seals ON event_id = id ORDER BY position"
    )
    previous = bytes(32)
    for sealed_at, digest, *event in rows:
        array = ",".join(json.dumps(value) for value in (sealed_at, *event))
        previous = hashlib.sha256(previous + f"[{array}]".encode("ascii")).digest()
        assert digest == previous
    assert sealed.head() == Head(10, previous)


def test_the_form_of_a_seal_never_changes() -> None:
    """A record that was sealed by an earlier version must verify for ever."""
    event: Any = (
        7,
        "1767225600.000001",
        "alice",
        "mode.change",
        "é\u2028",
        '{"a": 1.10}',
        None,
        'of "two"\n',
        "r-1",
    )
    digest = sealing.digest(bytes(range(32)), "1767225601.5", event)
    assert digest.hex() == "b9491435bfc10c901d3c09169f93e8815e46ccdb77cdc160429f0b33bc839377"


def test_many_events_are_sealed_some_at_a_time(record: Record) -> None:
    fill(record.desk, 2300)
    heads = [record.seal(most=1000).event_id for _ in range(3)]  # type: ignore[union-attr]
    assert heads == [1001, 2001, 2310]
    assert record.seal() is None
    assert record.verify() == Verdict(2309, record.head())


def fill(desk: Desk, count: int, payload: str = "") -> None:
    desk.sql(
        "INSERT INTO audit_events (actor, action, subject, after, request_id)"
        " SELECT 'engine', 'order.submit', gen_random_uuid()::text,"
        " jsonb_build_object('n', n, 'payload', %s::text), 'r' FROM generate_series(1, %s) n",
        payload,
        count,
    )


# What was done to it is found


INSERT_AS_5 = (
    "INSERT INTO audit_events (id, created_at, actor, action, subject, before, after, note, request_id)"
    " OVERRIDING SYSTEM VALUE SELECT 5, created_at, actor, action, subject, before, after, note, request_id"
    " FROM audit_events WHERE id = 3"
)
INSERT_WITH = (
    "INSERT INTO audit_events (id, actor, action, subject, request_id)"
    " OVERRIDING SYSTEM VALUE VALUES ({id}, 'x', 'mode.change', 's', 'r')"
)
NOT_SEALED_SO = "event {} is not what was sealed"
WITHOUT_SEAL = "event {} was inserted, or its seal was removed or moved"
REMOVED = "event {} was removed, or its seal was moved"

ALTERED = [
    "created_at = created_at + interval '1 microsecond'",
    "created_at = 'infinity'",
    "created_at = (created_at::text || ' BC')::timestamptz",
    "actor = 'somebody else'",
    "actor = actor || ' '",
    "action = 'mode.change'",
    "subject = 'subject 4'",
    "(actor, subject) = (subject, actor)",
    "before = NULL",
    "before = 'null'",
    "before = after, after = before",
    "before = before || '{\"limit\": 2}'",
    "before = before || '{\"more\": null}'",
    "before = before - 'nested'",
    "after = '{\"limit\": 3.0}'",  # the same number, and other digits
    'after = \'{"limit": "3"}\'',
    "note = NULL",
    "note = ''",
    "note = 'note 4'",
    "request_id = 'another'",
]


@pytest.mark.parametrize("change", ALTERED)
def test_an_altered_column_is_found(sealed: Record, change: str) -> None:
    sealed.tamper(f"UPDATE audit_events SET {change} WHERE id = 3")
    verdict = sealed.verify()
    assert (verdict.fault or "").startswith(NOT_SEALED_SO.format(3))
    assert verdict.sealed == 2
    assert verdict.head.event_id == 2


@pytest.mark.parametrize("event", [1, 2, 4, 6, 9, 10])
def test_it_is_found_wherever_it_is(sealed: Record, event: int) -> None:
    sealed.tamper(f"UPDATE audit_events SET actor = 'somebody else' WHERE id = {event}")
    assert (sealed.verify().fault or "").startswith(NOT_SEALED_SO.format(event))
    assert sealed.verify().sealed == sum(1 for n in (1, 2, 3, 4, 6, 7, 8, 9, 10) if n < event)


SWAP = (
    "UPDATE audit_events a SET (created_at, actor, action, subject, before, after, note, request_id)"
    " = (b.created_at, b.actor, b.action, b.subject, b.before, b.after, b.note, b.request_id)"
    " FROM audit_events b WHERE (a.id, b.id) IN ((3, 7), (7, 3))"
)
REORDERED_AND_REMOVED = [
    # events
    (["DELETE FROM audit_events WHERE id = 1"], REMOVED.format(1)),
    (["DELETE FROM audit_events WHERE id = 6"], REMOVED.format(6)),
    (["DELETE FROM audit_events WHERE id IN (4, 7)"], REMOVED.format(4)),
    (["DELETE FROM audit_events WHERE id = 10"], REMOVED.format(10)),
    (["TRUNCATE audit_events"], REMOVED.format(1)),
    ([SWAP], NOT_SEALED_SO.format(3)),
    ([INSERT_AS_5], WITHOUT_SEAL.format(5)),
    ([INSERT_AS_5, "DELETE FROM audit_events WHERE id = 3"], REMOVED.format(3)),
    ([INSERT_WITH.format(id=0)], WITHOUT_SEAL.format(0)),
    ([INSERT_WITH.format(id=-7)], WITHOUT_SEAL.format(-7)),
    # seals
    (["DELETE FROM audit_seals WHERE position = 1"], WITHOUT_SEAL.format(1)),
    (["DELETE FROM audit_seals WHERE position = 5"], WITHOUT_SEAL.format(6)),
    (["UPDATE audit_seals SET digest = sha256('x') WHERE position = 5"], NOT_SEALED_SO.format(6)),
    (["UPDATE audit_seals SET digest = sha256('x') WHERE position = 9"], NOT_SEALED_SO.format(10)),
    (["UPDATE audit_seals SET event_id = 5 WHERE position = 5"], REMOVED.format(5)),
    (["UPDATE audit_seals SET event_id = 11 WHERE position = 9"], WITHOUT_SEAL.format(10)),
    (
        ["UPDATE audit_seals SET sealed_at = sealed_at - interval '1 day' WHERE position = 5"],
        NOT_SEALED_SO.format(6),
    ),
    (
        ["UPDATE audit_seals SET position = 12 WHERE position = 9"],
        "what was between event 9 and event 10 was removed",
    ),
    (
        ["UPDATE audit_seals SET position = 0 WHERE position = 1"],
        "what was between event 0 and event 1 was removed",
    ),
    (["UPDATE audit_seals SET position = -1 WHERE position = 5"], WITHOUT_SEAL.format(1)),
    (
        [
            "UPDATE audit_seals SET position = position + 100",
            "UPDATE audit_seals SET position = CASE position WHEN 103 THEN 7 WHEN 107 THEN 3"
            " ELSE position - 100 END",
        ],
        WITHOUT_SEAL.format(3),
    ),
    # an event together with its seal
    (
        ["DELETE FROM audit_events WHERE id = 6", "DELETE FROM audit_seals WHERE event_id = 6"],
        "what was between event 4 and event 7 was removed",
    ),
    (
        [
            "DELETE FROM audit_events WHERE id = 6",
            "DELETE FROM audit_seals WHERE event_id = 6",
            "UPDATE audit_seals SET position = position - 1 + 100 WHERE position > 5",
            "UPDATE audit_seals SET position = position - 100 WHERE position > 100",
        ],
        NOT_SEALED_SO.format(7),
    ),
    (
        ["TRUNCATE audit_seals", "DELETE FROM audit_events WHERE id = 1"],
        None,  # nothing is sealed any more: it takes a kept head to see that
    ),
]


@pytest.mark.parametrize(("statements", "fault"), REORDERED_AND_REMOVED)
def test_what_is_removed_inserted_or_reordered_is_found(
    sealed: Record, statements: list[str], fault: str | None
) -> None:
    kept = sealed.head()
    sealed.tamper(*statements)
    found = sealed.verify().fault
    assert (found or "").startswith(fault) if fault else found is None
    assert sealed.verify(kept).fault is not None
    sealed.add(11)
    sealed.seal()
    assert (sealed.verify().fault or "").startswith(fault or ""), "and it stays so while the record goes on"
    assert sealed.verify(kept).fault is not None


def test_a_number_that_is_there_twice_is_found(sealed: Record) -> None:
    """Wherever it stands: also as the last one, and where a page of a listing would end."""
    for event in (4, 10):
        sealed.desk.sql("ALTER TABLE audit_events DROP CONSTRAINT pk_audit_events")
        try:
            sealed.tamper(INSERT_WITH.format(id=event))
            fault = sealed.verify().fault or ""
        finally:
            sealed.tamper(f"DELETE FROM audit_events WHERE id = {event} AND actor = 'x'")
            sealed.desk.sql("ALTER TABLE audit_events ADD CONSTRAINT pk_audit_events PRIMARY KEY (id)")
        assert fault.startswith(f"event {event} is ")
        assert sealed.verify().fault is None


def test_an_event_that_is_not_sealed_yet_is_counted_and_not_covered(sealed: Record) -> None:
    sealed.add(11)
    sealed.tamper("UPDATE audit_events SET actor = 'somebody else' WHERE id = 11")
    assert sealed.verify() == Verdict(9, sealed.head(), None, unsealed=1)


# A head that was kept elsewhere


def test_every_head_that_ever_was_is_passed_by_a_whole_chain(record: Record) -> None:
    heads = [record.head()]
    for number in range(11, 15):
        sealed = record.seal()
        assert sealed is not None
        heads.append(sealed)
        record.add(number)
    assert [record.verify(Head.parse(str(head))).fault for head in heads] == [None] * 5


def test_the_last_events_removed_together_with_their_seals_are_missed(sealed: Record) -> None:
    kept = sealed.head()
    sealed.tamper("DELETE FROM audit_events WHERE id > 8", "DELETE FROM audit_seals WHERE event_id > 8")
    assert sealed.verify().fault is None, "what is left is whole"
    ends = "what came after event 8 was removed, up to the head that was kept: 10"
    assert sealed.verify(kept).fault == ends
    sealed.add(11)
    sealed.seal()
    assert sealed.verify().fault is None
    assert sealed.verify(kept).fault == "event 10 is not that of the head that was kept"


def test_a_chain_that_was_rewritten_from_the_beginning_is_found(sealed: Record) -> None:
    kept = sealed.head()
    sealed.tamper("UPDATE audit_events SET actor = 'somebody else' WHERE id = 3", "TRUNCATE audit_seals")
    rewritten = sealed.seal()
    assert rewritten is not None
    assert rewritten.event_id == kept.event_id
    assert sealed.verify().fault is None
    assert sealed.verify(kept).fault == "event 10 is not that of the head that was kept"
    assert sealed.verify(rewritten).fault is None


def test_a_head_that_never_was_is_refused(sealed: Record) -> None:
    head = sealed.head()
    for event_id in (0, 5, 9, 10):
        wrong = Head(event_id, hashlib.sha256(b"x").digest())
        assert sealed.verify(wrong).fault == f"event {event_id} is not that of the head that was kept"
    assert "up to the head that was kept: 11" in (sealed.verify(Head(11, head.digest)).fault or "")


HEX = "a0" * 32


@pytest.mark.parametrize(
    "written",
    [
        *("", "10", "10:", f":{HEX}", f"10:{HEX[1:]}", f"10:{HEX[1:]}g", f"10:{HEX}0", f"-1:{HEX}", f"1_0:{HEX}"),
        *(f"١:{HEX}", f"1 0:{HEX}", f"{'9' * 20}:{HEX}", f"10:{HEX}\n\0"),
    ],
)
def test_what_is_no_head_is_not_taken_for_one(written: str) -> None:
    with pytest.raises(Invalid, match="ID:HEX"):
        Head.parse(written)


# While the desk is at work


def test_an_event_that_is_committed_late_is_not_passed_over(record: Record) -> None:
    """Numbers are given out before the commit: a later one may be seen earlier."""
    record.seal()
    written, go = threading.Event(), threading.Event()

    def late() -> None:
        with record.app.app_context(), recording() as session:
            log.record(session, TESTER, "mode.change", "late")
            written.set()
            assert go.wait(10)

    writer = threading.Thread(target=late, daemon=True)
    writer.start()
    try:
        assert written.wait(10)
        record.add(12)
        assert record.desk.sql("SELECT max(id) FROM audit_events") == [(12,)]
        assert record.seal() is None, "it does not wait for long, and seals nothing meanwhile"
        assert record.head().event_id == 10
    finally:
        go.set()
        writer.join(10)
    assert record.desk.sql("SELECT subject FROM audit_events WHERE id = 11") == [("late",)]
    assert record.seal() == record.head()
    assert record.verify() == Verdict(11, record.head())


def test_no_event_is_passed_over_while_many_write_and_several_seal(record: Record) -> None:
    latest = time.monotonic() + 30
    sealed: list[int] = []
    finished: list[int] = []

    def go_on() -> bool:
        """Until it was sealed in between, and not only in the end, among many events."""
        return (len(sealed) <= 40 or sum(finished) <= 400) and time.monotonic() < latest

    def write(seed: int) -> int:
        chance, written = random.Random(seed), 0
        while go_on():
            with record.app.app_context():
                try:
                    with recording() as session:
                        log.record(session, TESTER, "mode.change", str(seed))
                        time.sleep(chance.choice([0, 0, 0.005, 0.03]))
                        if chance.random() < 0.2:
                            raise ZeroDivisionError
                        log.record(session, TESTER, "mode.change", str(seed))
                except ZeroDivisionError:
                    continue
            written += 2
            finished.append(2)
            time.sleep(0.005)
        return written

    def seal() -> int:
        while go_on():
            found = record.seal(most=500)
            if found is not None:
                sealed.append(found.event_id)
        return 0

    written = sum(results_of(*[lambda seed=seed: write(seed) for seed in range(5)], seal, seal))
    assert len(sealed) > 40
    assert written > 400
    while record.seal():
        pass
    assert record.verify() == Verdict(9 + written, record.head())
    [(last,)] = record.desk.sql("SELECT max(id) FROM audit_events")
    assert last > 9 + written + 1, "some numbers never came to be"


@pytest.mark.alone
def test_sealing_keeps_nobody_waiting_for_long(record: Record) -> None:
    """Somebody is in the middle of writing; whoever comes after the sealer waits behind it in the queue."""

    def sitting() -> bool:
        written, go = threading.Event(), threading.Event()

        def stall() -> None:
            with record.app.app_context(), recording() as session:
                log.record(session, TESTER, "mode.change", "stalled")
                written.set()
                assert go.wait(30)

        writer = threading.Thread(target=stall, daemon=True)
        writer.start()
        waits: list[float] = []
        try:
            assert written.wait(10)
            sealer = threading.Thread(target=record.seal, daemon=True)
            sealer.start()
            while sealer.is_alive():
                waits.append(timed(lambda: record.add(1))[0])
            assert writer.is_alive()
        finally:
            go.set()
            writer.join(10)
        return bool(waits) and 0.05 < max(waits) < 0.5

    in_one_of_three(sitting)


def test_while_it_is_at_work_a_halt_goes_through(record: Record) -> None:
    """Stopped at the beginning of its work, by another sealer."""
    at_work = (
        "SELECT 1 FROM pg_locks JOIN pg_database d ON d.oid = database WHERE datname = current_database()"
        " AND locktype = 'advisory' AND classid = 0 AND objid = %s AND NOT granted"
    )
    with connect(record.desk.database) as another:
        another.execute("SELECT pg_advisory_lock(%s)", [sealing.SEALERS_LOCK])
        sealer = threading.Thread(target=lambda: at_once(record.seal), daemon=True)
        sealer.start()
        until(lambda: record.desk.sql(at_work, sealing.SEALERS_LOCK))
        with record.app.app_context():
            assert config.change_mode(TESTER, TradingMode.DISABLED).current is TradingMode.DISABLED
        assert record.desk.sql(at_work, sealing.SEALERS_LOCK) == [(1,)], "it is still there"
    sealer.join(10)
    record.seal()
    assert record.verify() == Verdict(10, record.head())


def test_a_sealer_that_is_cut_off_leaves_no_half_chain(record: Record) -> None:
    fill(record.desk, 3000)

    def cut_off() -> None:
        for _ in range(20):
            time.sleep(0.03)
            record.desk.sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND application_name = 'countersign'"
            )

    at_once(*[lambda: record.seal(most=1000)] * 3, cut_off)
    assert record.verify().fault is None
    while record.seal():
        pass
    assert record.verify() == Verdict(3009, record.head())


# Whatever the settings, and wherever it was restored


def test_the_settings_of_a_session_change_nothing(sealed: Record, tmp_path: Path) -> None:
    name = sealed.desk.database.database
    odd = {
        "TimeZone": "Asia/Kathmandu",
        "IntervalStyle": "sql_standard",
        "extra_float_digits": "-15",
        "bytea_output": "escape",
        "standard_conforming_strings": "off",
    }
    try:
        for setting, value in odd.items():
            sealed.desk.sql(f"ALTER DATABASE \"{name}\" SET {setting} = '{value}'")
        with application(sealed.desk.database, tmp_path) as app, app.app_context():
            assert sealing.verify(sealed.head()) == Verdict(9, sealed.head())
            with recording() as session:
                session.execute(text("SET LOCAL timezone = 'America/St_Johns'"))
                log.record(session, TESTER, "mode.change", "s", before={"x": 1})
            assert sealing.seal() is not None
    finally:
        sealed.desk.sql(f'ALTER DATABASE "{name}" RESET ALL')
    assert sealed.verify() == Verdict(10, sealed.head())


def test_it_holds_after_a_dump_and_restore(sealed: Record, postgres_server: URL, tmp_path: Path) -> None:
    kept, program = sealed.head(), _programs()
    sealed.add(11)
    dump = tmp_path / "dump.sql"
    subprocess.run([program / "pg_dump", "--no-owner", "-f", dump, plain(sealed.desk.database)], check=True)
    with new_database(postgres_server) as url:
        subprocess.run(
            [program / "psql", "-qX", "-v", "ON_ERROR_STOP=1", "-f", dump, plain(url)],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        with application(url, tmp_path) as app, app.app_context():
            assert sealing.verify(kept) == Verdict(9, kept, None, unsealed=1)
            assert sealing.seal() is not None
            assert sealing.verify(kept) == Verdict(10, sealing.head())
        with connect(url) as connection:
            connection.execute("ALTER TABLE audit_events DISABLE TRIGGER USER")
            connection.execute("UPDATE audit_events SET note = 'x' WHERE id = 7")
        with application(url, tmp_path) as app, app.app_context():
            assert (sealing.verify().fault or "").startswith(NOT_SEALED_SO.format(7))


def plain(url: URL) -> str:
    return url.set(drivername="postgresql").render_as_string(hide_password=False)


def test_checking_many_events_takes_no_more_memory_than_checking_a_few(record: Record, tmp_path: Path) -> None:
    """Watched from outside: what the driver holds is not memory of Python's."""
    few = peak_of_verifying(record, tmp_path)
    fill(record.desk, 30_000, payload="x" * 1800)
    while record.seal():
        pass
    many = peak_of_verifying(record, tmp_path)
    assert record.verify() == Verdict(30_009, record.head())
    assert many < few + 20_000_000, "of some 60,000,000 bytes"


def peak_of_verifying(record: Record, tmp_path: Path) -> int:
    """The most memory in bytes that `countersign audit verify` takes."""
    command = [COUNTERSIGN, "audit", "verify"]
    environment = on_database(record.desk.database, tmp_path)
    peak = 0
    with psutil.Popen(command, env=environment, cwd="/", stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            peak = max(peak, process.memory_info().rss)
            time.sleep(0.005)
    assert process.returncode == 0
    return peak
