"""Who leads the background jobs, in the log and for /readyz."""

from __future__ import annotations

import logging
import threading
from datetime import UTC, datetime

import pytest
from sqlalchemy.engine import URL

from app.db.advisory_locks import LockHolder
from app.lib.outages import OutageLog
from app.server import background, leader
from app.server.leader import Election
from tests.at_once import until
from tests.database import connect

SINCE = datetime(2026, 3, 2, 14, 30, tzinfo=UTC)


def holder(idle: float | None, pid: int = 41) -> LockHolder:
    return LockHolder(pid, "countersign keeper 7", "app", "192.0.2.7", SINCE, idle)


@pytest.fixture(autouse=True)
def all_levels(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "app.server.leader")


@pytest.fixture
def now() -> list[float]:
    return [1000.0]


@pytest.fixture
def election(now: list[float]) -> Election:
    return Election(clock=lambda: now[0])


def test_a_leader_elsewhere_is_logged_once(election: Election, caplog: pytest.LogCaptureFixture) -> None:
    for idle in (0.4, 0.9, None, 14.0):
        election.seen(holder(idle))
    [record] = caplog.records
    assert record.levelno == logging.INFO
    assert record.getMessage() == (
        'another process leads the background jobs: session 41, application "countersign keeper 7", role app,'
        " from 192.0.2.7, connected since 2026-03-02 14:30:00+0000, idle for 0 s"
    )
    assert election.details() == {
        "state": "another_process",
        "session": 41,
        "application": "countersign keeper 7",
        "connected_at": "2026-03-02T14:30:00.000000Z",
        "idle_seconds": 14,
    }
    election.seen(holder(0.1, pid=42))
    assert len(caplog.records) == 2, "another leader"


def test_a_leader_that_does_nothing_is_warned_of_once_a_minute(
    election: Election, now: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    for seconds in range(31, 170, 5):
        election.seen(holder(float(seconds)))
        now[0] += 5
    assert election.details()["state"] == "stalled"
    election.seen(holder(0.5))
    assert election.details()["state"] == "another_process"
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 4
    assert warnings[0].startswith(
        "the leader does nothing, and no other process can lead: the lock is held by session 41, "
    )
    assert "idle for 31 s" in warnings[0]
    assert "pg_terminate_backend" in warnings[0]
    assert "for 120 s now" in warnings[2]
    assert warnings[3].endswith("over after 135 s (failures: 28)")


def test_the_process_that_leads_says_so(election: Election, caplog: pytest.LogCaptureFixture) -> None:
    election.seen(holder(0.5))
    election.won(43)
    assert election.leads
    assert election.details() == {"state": "this_process"}
    assert caplog.messages[-1] == "this process leads the background jobs, by database session 43"
    election.lost()
    assert not election.leads
    assert election.details() == {"state": "unknown"}


def test_winning_the_lead_ends_the_warning(election: Election, caplog: pytest.LogCaptureFixture) -> None:
    election.seen(holder(20.0))
    election.won(43)
    assert caplog.messages[-1].endswith("over after 0 s (failures: 1)")


def test_an_abandoned_session_that_holds_the_lock_is_named_until_it_ends(
    database: URL, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leader, "STALLED_AFTER", 0.2)
    monkeypatch.setattr(background, "LOOK_EVERY", 0.05)
    monkeypatch.setattr(background, "EVERY", 0.05)
    outage = OutageLog(logging.getLogger("tests"), "never")
    with connect(database) as abandoned, connect(database) as candidate:
        abandoned.execute("SET application_name = 'left by a pooler'")
        abandoned.execute("SELECT pg_advisory_lock(%s)", [background.LEADER_LOCK])
        waits = threading.Thread(target=background.wait_for_lead, args=(candidate, outage))
        waits.start()
        try:
            until(lambda: "the leader does nothing" in caplog.text)
            assert f'held by session {abandoned.info.backend_pid}, application "left by a pooler"' in caplog.text
            assert waits.is_alive()
        finally:
            abandoned.close()
            waits.join(20)
            leader.election.lost()
        assert not waits.is_alive()
