"""People with a second factor, for the tests."""

from __future__ import annotations

import re

import pyotp
from werkzeug.test import TestResponse

from tests.serving import Desk
from tests.web.conftest import Browser

SECRET = re.compile(r'aria-labelledby="secret-label">([A-Z2-7 ]+)<')
RECOVERY = re.compile(r"[A-Z2-7]{4}(?:-[A-Z2-7]{4}){3}")
ONCE = re.compile(r'<pre class="secret"[^>]*>([^<]+)<')


class Authenticator:
    """What somebody has on their telephone. A code is only good once, so tests that need another one at once say
    that the last was used long ago."""

    def __init__(self, desk: Desk, secret: str) -> None:
        self.desk = desk
        self.totp = pyotp.TOTP(secret.replace(" ", ""))

    def code(self) -> str:
        self.desk.sql("UPDATE second_factors SET last_step = 0")
        return self.totp.now()

    def wrong(self) -> str:
        near = {self.totp.generate_otp(self.step() + distance) for distance in range(-5, 6)}
        return next(code for code in (f"{number:06}" for number in range(20)) if code not in near)

    def step(self) -> int:
        [(now,)] = self.desk.sql("SELECT extract(epoch FROM clock_timestamp())::bigint")
        return int(now) // 30


def begin(desk: Desk, person: Browser, password: str) -> Authenticator:
    """A second factor that is yet to be confirmed."""
    page = person.post("/account/second-factor/start", password=password)
    assert page.status_code == 200, page.text
    found = SECRET.search(page.text)
    assert found is not None
    return Authenticator(desk, found[1])


def confirm(person: Browser, authenticator: Authenticator, code: str) -> TestResponse:
    """As the page does where the secret was shown."""
    return person.post("/account/second-factor/confirm", secret=authenticator.totp.secret, code=code)


def enrol(desk: Desk, person: Browser, password: str) -> tuple[Authenticator, list[str]]:
    """Set a second factor up; the authenticator, and the recovery codes."""
    authenticator = begin(desk, person, password)
    done = confirm(person, authenticator, authenticator.code())
    assert done.status_code == 200, done.text
    return authenticator, RECOVERY.findall(done.text)


def shown_once(page: str) -> str:
    """The secret on a page that shows one."""
    found = ONCE.search(page)
    assert found is not None
    return found[1]
