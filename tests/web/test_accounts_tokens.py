"""The Accounts page: tokens, made, last used, revoked."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask

from app.services.accounts.token_usage import LastUsed
from tests.conftest import Api
from tests.serving import Desk
from tests.web.conftest import Browser, assert_problem
from tests.web.people import shown_once

MODE = "/api/admin/trading/mode"


@pytest.fixture
def ada(browser: Callable[..., Browser]) -> Browser:
    return browser("admin", "ada")


def last_used(desk: Desk) -> timedelta | None:
    [(age,)] = desk.sql("SELECT clock_timestamp() - last_used_at FROM tokens")
    return age  # type: ignore[no-any-return]


def test_a_token_is_shown_once_works_and_is_revoked_at_once(ada: Browser, app: Flask, desk: Desk) -> None:
    token = shown_once(ada.post("/accounts/tokens", name="bot", role="engine", owner="ada").text)
    headers = {"Authorization": f"Bearer {token}"}
    assert app.test_client().get(MODE, headers=headers).status_code == 200
    page = ada.get("/accounts").text
    token_id, _, secret = token.partition(".")
    assert token_id in page
    assert secret not in page
    assert "by ada" in page
    assert "Revoke the token" in ada.post(f"/accounts/tokens/{token_id}/revoke").text
    assert app.test_client().get(MODE, headers=headers).status_code == 200
    ada.post(f"/accounts/tokens/{token_id}/revoke", confirmed="yes")
    assert app.test_client().get(MODE, headers=headers).status_code == 401
    assert "1 revoked" in ada.get("/accounts").text
    assert secret not in str(desk.sql("SELECT * FROM audit_events"))


@pytest.mark.parametrize("which", ["nothing", "0123456789abcdef"])
def test_a_token_that_does_not_exist_cannot_be_revoked(ada: Browser, which: str) -> None:
    ada.post(f"/accounts/tokens/{which}/revoke", confirmed="yes")
    assert "There is no token" in ada.get("/accounts").text


def test_nobody_makes_a_token_that_acts_as_somebody_else(
    ada: Browser, desk: Desk, browser: Callable[..., Browser]
) -> None:
    desk.add_user("olga", "operator")
    answer = ada.post("/accounts/tokens", name="olga", role="operator", owner="ada")
    assert answer.status_code == 409
    assert "olga is a person&#39;s" in answer.text
    assert 'value="olga"' in answer.text
    assert 'value="ada"' in answer.text
    assert desk.sql("SELECT count(*) FROM tokens") == [(0,)]
    assert shown_once(ada.post("/accounts/tokens", name="ada", role="admin").text)


def test_no_token_manages_accounts_not_even_an_admins(admin: Api, app: Flask, desk: Desk) -> None:
    """It could make itself one that may go live."""
    before = desk.sql("SELECT count(*) FROM accounts"), desk.sql("SELECT count(*) FROM tokens")
    for path in ("/accounts/people", "/accounts/tokens", "/account/second-factor/start"):
        fields = {"name": "x", "role": "admin", "allow_live": "true"}
        assert app.test_client().post(path, data=fields, headers=admin.headers).status_code == 403
    assert (desk.sql("SELECT count(*) FROM accounts"), desk.sql("SELECT count(*) FROM tokens")) == before
    assert_problem(admin.put("/mode", {"trading_mode": "x"}), 422)


class TestLastUsed:
    def test_it_is_noted_without_a_write_and_written_by_whoever_looks(
        self, ada: Browser, desk: Desk, app: Flask
    ) -> None:
        token = desk.add_token("bot", "engine")
        app.test_client().get(MODE, headers={"Authorization": f"Bearer {token}"})
        assert last_used(desk) is None
        ada.get("/accounts")
        age = last_used(desk)
        assert age is not None
        assert timedelta(0) <= age < timedelta(minutes=5)

    def test_an_order_counts_too(self, api: Callable[..., Api], desk: Desk, app: Flask) -> None:
        api("engine").post(
            "/orders", {"client_order_id": "a", "ticker": "A", "side": "buy", "qty": "1", "type": "market"}
        )
        with app.app_context():
            app.extensions["last_used"].write()
        assert last_used(desk) is not None

    def test_a_wrong_secret_is_no_use(self, desk: Desk, app: Flask) -> None:
        token = desk.add_token("bot", "engine")
        app.test_client().get(MODE, headers={"Authorization": f"Bearer {token}x"})
        with app.app_context():
            app.extensions["last_used"].write()
        assert last_used(desk) is None

    def test_it_never_goes_back(self, desk: Desk, app: Flask) -> None:
        token_id = desk.add_token("bot", "engine").partition(".")[0]
        notes = LastUsed()
        desk.sql("UPDATE tokens SET last_used_at = clock_timestamp() + interval '1 hour'")
        notes.note(token_id)
        with app.app_context():
            notes.write()
        assert (last_used(desk) or timedelta(0)) < timedelta(0)

    def test_what_could_not_be_written_is_kept(self, desk: Desk, app: Flask) -> None:
        token_id = desk.add_token("bot", "engine").partition(".")[0]
        notes = LastUsed()
        notes.note(token_id)
        with pytest.raises(RuntimeError):
            notes.write()  # there is no application, and so no database
        with app.app_context():
            notes.write()
        assert last_used(desk) is not None

    def test_a_row_that_somebody_holds_is_left_to_the_next_time(self, desk: Desk, app: Flask) -> None:
        """Revoking has it: nobody waits for a note."""
        token_id = desk.add_token("bot", "engine").partition(".")[0]
        notes = LastUsed()
        notes.note(token_id)
        desk.sql("BEGIN")
        try:
            desk.sql("SELECT 1 FROM tokens FOR UPDATE")
            with app.app_context():
                notes.write()
        finally:
            desk.sql("ROLLBACK")
        assert last_used(desk) is None
