"""Messages go out from a process of their own, which is given up whatever a receiver does, and knows no secret of
the desk's."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.notifications import Message, trial
from app.services.notifications import apprise
from app.services.notifications.apprise import Address, Messenger, NotTold, addresses
from app.settings import PROJECT, Settings, SettingsError
from tests.at_once import at_once, results_of, until
from tests.notices.receiver import Receiver
from tests.serving import free_port

HELLO = Message("[PAPER] hello", "one\ntwo ‹3› é", "warning")


@pytest.fixture(scope="module")
def made() -> Iterator[Messenger]:
    with closing(Messenger()) as messenger:
        yield messenger


def children() -> list[psutil.Process]:
    """The processes with Apprise in them."""
    found = psutil.Process().children()
    return [one for one in found if str(apprise.PROGRAM) in cmdline(one)]


def cmdline(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def address(receiver: Receiver, path: str = "hook") -> Address:
    return Address("1 json", receiver.url(path))


def test_a_message_arrives_as_it_is(made: Messenger, receiver: Receiver) -> None:
    made.tell(address(receiver), HELLO)
    [message] = receiver.messages
    assert (message["title"], message["message"], message["type"]) == (HELLO.title, HELLO.body, "warning")


def test_one_process_serves_many_and_goes_when_it_is_not_needed(
    made: Messenger, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    results_of(*[lambda: made.tell(address(receiver), HELLO)] * 5)
    assert len(receiver.messages) == 5
    assert len(children()) == 1
    made.rest()
    assert len(children()) == 1
    monkeypatch.setattr(apprise, "IDLE", 0.0)
    made.rest()
    until(lambda: not children())
    made.tell(address(receiver), HELLO)
    assert len(receiver.messages) == 6


@pytest.mark.parametrize(("status", "why"), [(500, "it answered 500"), (404, "it answered 404")])
def test_one_that_answers_with_an_error_was_not_told(
    status: int, why: str, made: Messenger, receiver: Receiver
) -> None:
    receiver.answers = status
    with pytest.raises(NotTold, match=f"^{why}$"):
        made.tell(address(receiver), HELLO)


def test_one_that_is_away_was_not_told(made: Messenger) -> None:
    nobody = Address("1 json", f"json://127.0.0.1:{free_port()}/secret")
    with pytest.raises(NotTold, match=r"^it cannot be reached, or hung up$"):
        made.tell(nobody, HELLO)


def test_one_that_hangs_or_trickles_is_given_up_and_keeps_nobody_else_waiting(
    made: Messenger, receiver: Receiver, other: Receiver
) -> None:
    """No single read takes long, so no time-out of a socket ends it."""
    receiver.trickles = True
    made.close()
    until(lambda: not children())
    with closing(Messenger(patience=4)) as hasty:
        hasty.tell(address(other), HELLO)
        [first] = children()
        hung, *told = at_once(
            lambda: hasty.tell(address(receiver), HELLO), *[lambda: hasty.tell(address(other), HELLO)] * 3
        )
        assert str(hung) == "no answer within 4 seconds"
        assert told == [None] * 3
        hasty.tell(address(other), HELLO)
        assert len(other.messages) == 5
        assert receiver.messages == []
        until(lambda: not first.is_running() or first.status() == psutil.STATUS_ZOMBIE)
    until(lambda: not children())


def test_one_that_never_answers_is_given_up_by_apprise_itself(made: Messenger, receiver: Receiver) -> None:
    receiver.hangs = True
    with pytest.raises(NotTold, match=r"^no answer in time$"):
        made.tell(Address("1 json", f"{receiver.url()}?rto=1"), HELLO)
    assert len(children()) == 1, "and the process goes on"


def test_a_process_that_is_killed_in_the_middle_is_replaced(made: Messenger, receiver: Receiver) -> None:
    receiver.hangs = True

    def kill() -> None:
        until(lambda: receiver.knocks)
        children()[0].kill()

    told, _ = at_once(lambda: made.tell(address(receiver), HELLO), kill)
    assert isinstance(told, NotTold)
    receiver.hangs = False
    made.tell(address(receiver), HELLO)
    assert len(receiver.messages) == 1


def test_it_gets_none_of_the_desks_secrets(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATABASE_URL", "SECRET_KEY", "ALPACA_LIVE_SECRET_KEY", "NOTIFY_URLS", "WHATEVER_COMES"):
        monkeypatch.setenv(name, "hush")
    before = children()
    with closing(Messenger()) as made:
        made.tell(address(receiver, "hush-hush"), HELLO)
        [child] = [one for one in children() if one not in before]
        assert "hush" not in child.environ().values()
        assert "hush" not in " ".join(cmdline(child)), "anybody on the machine can read that"
        assert child.environ()["PATH"] == os.environ["PATH"]


def test_it_ends_when_whoever_started_it_is_killed(receiver: Receiver) -> None:
    """Also where it is just waiting for a receiver that hangs."""
    receiver.hangs = True
    program = (
        "from app.services.notifications.apprise import *; from app.domain.notifications import trial\n"
        f"Messenger(600).tell(Address('x', {receiver.url()!r} + '?rto=600'), trial(1))"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], cwd=PROJECT)
    until(lambda: receiver.knocks, 60)
    [child] = psutil.Process(parent.pid).children()
    parent.kill()
    parent.wait()
    until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)


def test_apprise_is_never_loaded_where_the_desk_is() -> None:
    """It would cost every worker 40 MB, and the one that leads half a second in which nobody is answered."""
    program = (
        "import sys, app, app.cli, app.server.background, app.server.notifier\n"
        "import app.services.notifications.apprise\n"
        "sys.exit(any(name.split('.')[0] == 'apprise' for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program], cwd=PROJECT, check=False).returncode == 0


# What may be shown


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("json://user:pass@desk.example:8080/secret?x=secret", "json://desk.example:8080"),
        ("json://desk.example", "json://desk.example"),
        ("JSONS://127.0.0.1:1/x", "jsons://127.0.0.1:1"),
        ("slack://T1/B2/secret", "slack"),
        ("ntfy://secret-topic", "ntfy"),
        ("mailto://user:pa/ss@mail.example", "mailto"),
        ("mailto://user:pa?ss@mail.example", "mailto"),
        ("json://desk.example/secret@secret", "json"),
        ("json://user:secret", "json"),
    ],
)
def test_of_an_address_only_what_is_no_secret_is_shown(url: str, name: str) -> None:
    [one] = addresses([url])
    assert one.name == f"1 {name}"
    assert "secret" not in repr(one)
    assert "secret" not in one.key("key") + one.name


@given(st.lists(st.from_regex(r"[a-zA-Z0-9:@/?#.%-]{1,20}", fullmatch=True), min_size=2, max_size=4))
@settings(max_examples=200)
def test_whatever_is_written_before_an_at_sign_or_behind_a_host_is_not_shown(parts: list[str]) -> None:
    password = "hush"
    for url in (f"json://u:{parts[0]}{password}{parts[1]}@host/", f"json://host/{parts[0]}{password}{parts[1]}"):
        assert password not in addresses([url])[0].name


def test_the_key_of_an_address_tells_nothing_without_the_desks_secret() -> None:
    one, two = addresses(["json://a/x", "json://a/y"])
    assert one.key("s") == addresses(["json://b", "json://a/x"])[1].key("s"), "its place does not count"
    assert len({one.key("s"), one.key("t"), two.key("s")}) == 3


def test_settings_do_not_show_addresses() -> None:
    assert "hush" not in repr(Settings.from_environment({"NOTIFY_URLS": "json://a/hush"}))


# Checked at the start


def test_an_address_that_apprise_cannot_read_is_named_by_its_place() -> None:
    with pytest.raises(SettingsError) as refused:
        apprise.check(["json://127.0.0.1/a", "slack://hush"])
    assert str(refused.value) == "NOTIFY_URLS: address 2 (slack://…): Apprise cannot read this address"
    apprise.check(["json://127.0.0.1/a"])
    apprise.check([])


def test_without_apprise_nobody_can_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apprise, "find_spec", lambda name: None)
    apprise.check([])
    with pytest.raises(SettingsError, match=r"^NOTIFY_URLS is set, but Apprise is not installed: "):
        apprise.check(["json://127.0.0.1/a"])


def test_where_apprise_is_broken_it_is_said(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    folder = os.path.join(str(tmp_path), "apprise")
    os.mkdir(folder)
    with open(os.path.join(folder, "__init__.py"), "w") as file:
        file.write("raise ImportError")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with closing(Messenger()) as made, pytest.raises(NotTold, match=r"^Apprise is not installed$"):
        made.tell(address(receiver), trial(1))
