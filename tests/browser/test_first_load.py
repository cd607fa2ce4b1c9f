"""The first load is small, and the second costs next to nothing."""

from __future__ import annotations

import gzip

from playwright.sync_api import Page, Response

from tests.browser.conftest import SignIn
from tests.browser.parts import awake

FIRST_LOAD = 150_000


def test_the_first_load_is_small(page: Page, sign_in: SignIn) -> None:
    sign_in(page)
    page.goto("about:blank")
    answers: list[Response] = []

    def hear(answer: Response) -> None:
        answers.append(answer)

    page.on("response", hear)
    page.goto("/trading")
    awake(page)
    page.wait_for_load_state("networkidle")
    assert all(answer.url.startswith(page.url.removesuffix("/trading")) for answer in answers)
    assert sum(len(gzip.compress(answer.body())) for answer in answers if answer.status == 200) < FIRST_LOAD
