"""The README is true: what it links to is there, and its tour works as it stands."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from app.settings import PROJECT
from tests.serving import Server

README = (PROJECT / "README.md").read_text()


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(([^)#:]+)\)", README))))
def test_what_it_links_to_is_there(target: str) -> None:
    assert (PROJECT / target).is_file()


@pytest.mark.parametrize("target", re.findall(r"^make (\w+)", README, re.MULTILINE))
def test_the_make_targets_it_names_exist(target: str) -> None:
    assert re.search(rf"^{target}:", (PROJECT / "Makefile").read_text(), re.MULTILINE)


def test_the_tour_with_curl_does_what_it_says(server: Server, tmp_path: Path) -> None:
    """Word for word, but for the address and the command, which would reach for the newcomer's own desk."""
    [tour] = re.findall(r"## A tour with curl\n.*?```sh\n(.*?)```", README, re.DOTALL)
    command = tmp_path / "countersign"
    tokens = {name: server.add_token(name, role) for name, role in (("me", "operator"), ("bot", "engine"))}
    cases = "\n".join(f"'token add {name} --role '*) echo {token} ;;" for name, token in tokens.items())
    command.write_text(f'#!/bin/sh\ncase "$*" in\n{cases}\n*) exit 1 ;;\nesac\n')
    command.chmod(0o700)
    script = tour.replace("curl -", "curl -sS --fail-with-body -").replace("http://127.0.0.1:8000", server.url)
    script = script.replace(".venv/bin/countersign", str(command))
    done = subprocess.run(
        ["sh", "-euc", script],
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count('"decision_note":"I saw them too"') == 2, "operator and engine are told"
    assert server.sql("SELECT client_order_id, status, decided_by, reasons #>> '{0,code}' FROM orders") == [
        ("tour-1", "released", "me", None),
        ("tour-2", "blocked", "system:gate", "symbol_locked_out"),
    ]
    assert server.sql(
        "SELECT trading_mode, config #>> '{operator_approval,auto_approve_paper}' FROM risk_configs"
    ) == [("disabled", "false")]
    assert server.sql("SELECT ticker, reason FROM symbol_lockouts") == [("AAPL", "earnings")]
