"""What deploys the desk agrees with the desk: times to stop in, times that connections idle, names of settings."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.settings import PROJECT
from tests.serving import SECRET_KEY

COMPOSE = yaml.safe_load((PROJECT / "compose.yaml").read_text())
UNIT = (PROJECT / "deploy" / "countersign.service").read_text()
NGINX = (PROJECT / "deploy" / "nginx.conf").read_text()
SETTINGS = set(
    re.findall(r'given, "([A-Z_]+)"|given\.get\("([A-Z_]+)"', (PROJECT / "app/settings.py").read_text())
)
NAMES = {one or other for one, other in SETTINGS} | {
    f"ALPACA_{mode}_{what}" for mode in ("PAPER", "LIVE") for what in ("KEY_ID", "SECRET_KEY", "URL", "STREAM_URL")
}


def gunicorn(monkeypatch: pytest.MonkeyPatch, folder: Path, **settings: str) -> dict[str, Any]:
    """The server's settings as they are read, with nothing patched for good."""
    for name, value in ({"DATABASE_URL": "postgresql:///x", "SECRET_KEY": SECRET_KEY} | settings).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("gevent.monkey.patch_all", lambda: None)
    monkeypatch.setattr("app.db.gevent_wait.install", lambda: None)
    monkeypatch.setattr("app.server.accepting.install", lambda: None)
    monkeypatch.setattr("app.server.answering.install", lambda: None)
    return runpy.run_path(str(PROJECT / "gunicorn.conf.py"))


def seconds(written: str) -> float:
    found = re.fullmatch(r"(\d+)(s|m|min|)", written)
    assert found, written
    return int(found[1]) * (60 if found[2] in ("m", "min") else 1)


def test_whoever_stops_the_desk_waits_for_what_is_in_flight(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    longest = gunicorn(monkeypatch, tmp_path, VENUE_PATIENCE="60")["graceful_timeout"]
    usual = gunicorn(monkeypatch, tmp_path, VENUE_PATIENCE="10")["graceful_timeout"]
    assert usual > 30, "an engine waits for 30 seconds, and many decisions may take as long"
    assert longest > 60
    [stop] = re.findall(r"^TimeoutStopSec=(\S+)$", UNIT, re.MULTILINE)
    for given in (stop, COMPOSE["services"]["desk"]["stop_grace_period"]):
        assert seconds(given) > longest


def test_a_proxy_lets_go_of_an_idle_connection_first_and_waits_longer_than_any_answer_takes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    [idle] = re.findall(r"^ +keepalive_timeout (\w+);", NGINX, re.MULTILINE)
    assert seconds(idle) < gunicorn(monkeypatch, tmp_path)["keepalive"]
    ordinary, stream = (seconds(found) for found in re.findall(r"proxy_read_timeout (\w+);", NGINX))
    assert ordinary > 30
    assert 15 < stream <= 60, "more than the silence after which a stream is dead"


def test_every_setting_that_is_named_is_one() -> None:
    named = set(COMPOSE["services"]["desk"]["environment"]) | set(COMPOSE["services"]["upgrade"]["environment"])
    named |= set(re.findall(r"\b(HOST|PORT|INSTANCE_PATH)=", (PROJECT / "Dockerfile").read_text()))
    assert named <= NAMES


def test_compose_hands_every_setting_on() -> None:
    """But for where the desk listens and keeps its files, which the image says, and for how it is migrated."""
    of_the_image = {"HOST", "PORT", "INSTANCE_PATH"}
    assert NAMES - of_the_image - set(COMPOSE["services"]["desk"]["environment"]) == {"MIGRATION_DATABASE_URL"}


def test_the_proxy_keeps_the_port_that_the_browser_asked_and_lets_pages_ask_whether_the_desk_is_ready() -> None:
    """A form is believed where it comes from the host that it was fetched from, its port included."""
    assert dict(re.findall(r"proxy_set_header (Host|X-Forwarded-Host) (\S+);", NGINX)) == dict.fromkeys(
        ("Host", "X-Forwarded-Host"), "$http_host"
    )
    assert re.findall(r"location = (\S+) \{\s+deny all;", NGINX) == ["/metrics"]


def test_every_variable_of_compose_is_in_its_example() -> None:
    example = set(re.findall(r"^([A-Z_]+)=", (PROJECT / ".env.example").read_text(), re.MULTILINE))
    used = set(re.findall(r"\$\{([A-Z_]+)", (PROJECT / "compose.yaml").read_text()))
    assert used - example == {"VERSION"}
    assert example <= used


def test_compose_opens_the_desk_to_this_machine_and_the_database_to_nobody() -> None:
    ports = {name: service.get("ports", []) for name, service in COMPOSE["services"].items()}
    assert [name for name, opened in ports.items() if opened] == ["desk"]
    assert all(port.startswith("127.0.0.1:") for port in ports["desk"])


def test_the_desk_in_a_container_never_has_the_key_of_the_owner() -> None:
    desk = COMPOSE["services"]["desk"]
    assert "MIGRATION_DATABASE_URL" not in desk["environment"]
    assert "countersign_owner" not in str(desk)
    assert desk["read_only"] is True
    assert desk["cap_drop"] == ["ALL"]


def test_the_image_is_made_of_what_the_wheel_is_built_from() -> None:
    """Whatever the build gathers is let in by .dockerignore, which keeps out all else."""
    let_in = set(re.findall(r"^!(\S+)$", (PROJECT / ".dockerignore").read_text(), re.MULTILINE))
    project = (PROJECT / "pyproject.toml").read_text()
    [gathered] = re.findall(r"wheel\.force-include\]\n((?:\".*\n)+)", project)
    wanted = set(re.findall(r'^"([^"]+)"', gathered, re.MULTILINE))
    assert wanted | {"app", "pyproject.toml", "hatch_build.py", "README.md", "requirements.lock"} <= let_in
    assert {"package.json", "package-lock.json", ".npmrc"} <= let_in
