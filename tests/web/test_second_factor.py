"""The second factor: setting it up, signing in with it, going live with it, and what keeps guessers out."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import pytest
from flask import Flask

from tests.at_once import until
from tests.conftest import Api
from tests.desk.orders import Act, transaction
from tests.serving import Desk
from tests.web.conftest import Browser, Record, assert_problem
from tests.web.people import Authenticator, begin, confirm, enrol, shown_once

LIVE = {"trading_mode": "live", "from": "paper", "reason": "the desk is staffed"}


class Person:
    """An admin with a second factor, signed in."""

    def __init__(self, app: Flask, desk: Desk, name: str = "ada") -> None:
        self.app, self.desk, self.name = app, desk, name
        self.password = desk.add_user(name, "admin")
        self.here = Browser(app)
        assert self.here.sign_in(name, self.password).status_code == 303
        self.authenticator, self.recovery_codes = enrol(desk, self.here, self.password)

    def code(self) -> str:
        return self.authenticator.code()

    def half_in(self, **more: Any) -> Browser:
        made = Browser(self.app, **more)
        answer = made.sign_in(self.name, self.password, next="/audit")
        assert answer.headers["Location"] == "/login/code?next=/audit"
        return made

    def require(self, required: str = "true") -> Any:
        return self.here.post(
            "/accounts/second-factor-for-live", required=required, confirmed="yes", totp_code=self.code()
        )


@pytest.fixture
def ada(app: Flask, desk: Desk) -> Person:
    return Person(app, desk)


class TestSettingItUp:
    def test_takes_the_password(self, browser: Callable[..., Browser], desk: Desk) -> None:
        vera = browser("viewer", "vera")
        vera.post("/account/second-factor/start", password="wrong")
        assert "The password is wrong" in vera.get("/account").text
        assert desk.sql("SELECT count(*) FROM second_factors") == [(0,)]

    def test_counts_only_once_a_code_was_typed(self, app: Flask, desk: Desk) -> None:
        password = desk.add_user("vera", "viewer")
        vera = Browser(app)
        vera.sign_in("vera", password)
        authenticator = begin(desk, vera, password)
        assert Browser(app).sign_in("vera", password).headers["Location"] == "/trading"
        wrong = confirm(vera, authenticator, authenticator.wrong())
        assert (wrong.status_code, "The code is wrong" in wrong.text) == (403, True)
        assert Browser(app).sign_in("vera", password).headers["Location"] == "/trading"

    def test_the_secret_is_a_picture_a_text_and_a_field_and_so_again_after_a_wrong_code(
        self, app: Flask, desk: Desk
    ) -> None:
        password = desk.add_user("vera", "viewer")
        vera = Browser(app)
        vera.sign_in("vera", password)
        page = vera.post("/account/second-factor/start", password=password)
        authenticator = Authenticator(desk, shown_once(page.text))
        again = confirm(vera, authenticator, authenticator.wrong())
        for each in (page, again):
            assert 'src="data:image/svg+xml' in each.text
            assert shown_once(each.text).replace(" ", "") == authenticator.totp.secret
            assert f'type="hidden" name="secret" value="{authenticator.totp.secret}"' in each.text
            assert each.headers["Cache-Control"] == "no-store"

    def test_a_session_alone_is_not_shown_the_secret_and_cannot_confirm_it(self, app: Flask, desk: Desk) -> None:
        """Whoever stole the cookie while its person was at it: an authenticator of theirs would count as hers."""
        password = desk.add_user("vera", "viewer")
        vera = Browser(app)
        vera.sign_in("vera", password)
        authenticator = begin(desk, vera, password)
        secret = authenticator.totp.secret
        bad = ("", "A" * 32, secret[:-1], f"{secret}A", secret.lower(), "\0", "é" * 32, "A" * 10_000)
        for sent in ({}, *({"secret": one} for one in bad)):
            for code in (authenticator.wrong(), authenticator.code()):
                answer = vera.post("/account/second-factor/confirm", code=code, **sent)
                said = vera.get("/account").text
                assert answer.headers["Location"] == "/account"
                assert "begin again" in said or "Secret" in said
                assert secret not in (answer.text + said).replace(" ", "")
        assert desk.sql("SELECT confirmed_at FROM second_factors") == [(None,)]
        assert desk.sql("SELECT * FROM second_factor_tries") == [], "no code was looked at"
        assert confirm(vera, authenticator, authenticator.code()).status_code == 200

    def test_the_secret_goes_nowhere_but_onto_that_page(self, app: Flask, desk: Desk) -> None:
        password = desk.add_user("vera", "viewer")
        vera = Browser(app)
        vera.sign_in("vera", password)
        began = vera.post("/account/second-factor/start", password=password)
        authenticator = Authenticator(desk, shown_once(began.text))
        wrong = confirm(vera, authenticator, authenticator.wrong())
        blank = confirm(vera, authenticator, "")
        done = confirm(vera, authenticator, authenticator.code())
        late = confirm(vera, authenticator, authenticator.code())
        assert [each.status_code for each in (wrong, blank, done, late)] == [403, 303, 200, 303]
        with vera.client.session_transaction(base_url=vera.origin) as kept:
            everything = str(dict(kept)) + str(desk.sql("SELECT * FROM audit_events"))
        everything += "".join(str(each.headers) for each in (began, wrong, blank, done, late))
        everything += blank.text + done.text + late.text + vera.get("/account").text
        assert "begin again" in everything, "what it would be in"
        assert authenticator.totp.secret not in everything.replace(" ", "")

    @pytest.mark.parametrize(("minutes", "good"), [(10, True), (15, False)])
    def test_is_confirmed_within_a_quarter_of_an_hour(
        self, app: Flask, desk: Desk, minutes: int, good: bool
    ) -> None:
        password = desk.add_user("vera", "viewer")
        vera = Browser(app)
        vera.sign_in("vera", password)
        authenticator = begin(desk, vera, password)
        desk.sql("UPDATE second_factors SET started_at = started_at - %s * interval '1 minute'", minutes)
        assert (confirm(vera, authenticator, authenticator.code()).status_code == 200) is good
        assert ("begin again" in vera.get("/account").text) is not good
        assert desk.sql("SELECT confirmed_at IS NOT NULL FROM second_factors") == [(good,)]

    def test_is_confirmed_in_the_session_that_began_it(self, app: Flask, desk: Desk) -> None:
        password = desk.add_user("vera", "viewer")
        here, elsewhere = Browser(app), Browser(app)
        for each in (here, elsewhere):
            each.sign_in("vera", password)
        authenticator = begin(desk, here, password)
        confirm(elsewhere, authenticator, authenticator.code())
        assert "begin again" in elsewhere.get("/account").text
        assert desk.sql("SELECT confirmed_at FROM second_factors") == [(None,)]

    def test_shows_neither_secret_nor_codes_again_and_records_none(self, ada: Person, desk: Desk) -> None:
        page = ada.here.get("/account").text
        assert "8 recovery codes are left" in " ".join(page.split())
        everything = str(desk.sql("SELECT * FROM audit_events")) + page
        assert ada.authenticator.totp.secret not in everything
        assert not any(code in everything for code in ada.recovery_codes)
        assert len(set(ada.recovery_codes)) == 8

    def test_cannot_be_done_twice(self, ada: Person, desk: Desk) -> None:
        before = desk.sql("SELECT sealed_secret FROM second_factors")
        ada.here.post("/account/second-factor/start", password=ada.password)
        assert "is on already" in ada.here.get("/account").text
        assert desk.sql("SELECT sealed_secret FROM second_factors") == before

    def test_what_is_stored_does_not_show_the_secret(self, ada: Person, desk: Desk) -> None:
        [(kept,)] = desk.sql("SELECT sealed_secret FROM second_factors")
        assert ada.authenticator.totp.byte_secret() not in kept


class TestSigningIn:
    def test_takes_a_code_in_a_second_step(self, ada: Person, record: Record) -> None:
        her = ada.half_in()
        assert her.get("/trading").status_code == 303
        assert her.json("GET", "/state").status_code == 401
        record.new()
        answer = her.post("/login/code", code=ada.code(), next="/audit")
        assert (answer.status_code, answer.headers["Location"]) == (303, "/audit")
        assert her.get("/trading").status_code == 200
        [event] = record.new()
        assert event["after"] == {"address": "192.0.2.1", "second_factor": "code"}

    def test_a_code_counts_once(self, ada: Person) -> None:
        code = ada.code()
        assert ada.half_in().post("/login/code", code=code).status_code == 303
        assert ada.half_in().post("/login/code", code=code).status_code == 401

    def test_an_older_code_counts_no_more(self, ada: Person, desk: Desk) -> None:
        before = ada.authenticator.totp.generate_otp(ada.authenticator.step() - 1)
        assert ada.half_in().post("/login/code", code=ada.code()).status_code == 303
        assert ada.half_in().post("/login/code", code=before).status_code == 401

    def test_a_recovery_code_counts_once_and_is_on_record(self, ada: Person, record: Record) -> None:
        code = ada.recovery_codes[0].lower()
        record.new()
        assert ada.half_in().post("/login/code", code=code).status_code == 303
        assert [event["action"] for event in record.new()] == [
            "session.sign_in",
            "second_factor.use_recovery_code",
        ]
        assert ada.half_in().post("/login/code", code=code).status_code == 401
        assert "7 recovery codes" in " ".join(ada.here.get("/account").text.split())

    @pytest.mark.usefixtures("any_machine")
    def test_a_recovery_code_that_two_send_concurrently_signs_one_of_them_in(
        self, ada: Person, app: Flask, desk: Desk, record: Record
    ) -> None:
        """Both look at the code while it is unused, and both are held up where they spend it."""
        code, thieves = ada.recovery_codes[0], [ada.half_in(), ada.half_in()]
        forms = [{"csrf_token": thief.csrf, "code": code} for thief in thieves]
        record.new()
        with transaction(desk) as holder:
            holder.execute("SELECT FROM recovery_codes FOR UPDATE")
            acts = [
                Act(app, partial(thief.open, "POST", "/login/code", data=form))
                for thief, form in zip(thieves, forms, strict=True)
            ]
            waiting = (
                "SELECT count(DISTINCT pid) FROM pg_locks JOIN pg_stat_activity USING (pid)"
                " WHERE datname = current_database() AND NOT granted"
            )
            until(lambda: desk.sql(waiting) == [(2,)], what="both spend it")
        assert sorted(act.done().status_code for act in acts) == [303, 401]
        assert [event["action"] for event in record.new()] == [
            "session.sign_in",
            "second_factor.use_recovery_code",
        ]
        assert desk.sql("SELECT count(*) FROM recovery_codes WHERE used_at IS NOT NULL") == [(1,)]

    def test_the_first_step_is_good_once_and_for_five_minutes(self, ada: Person, desk: Desk) -> None:
        late = ada.half_in()
        desk.sql("UPDATE sign_in_steps SET created_at = created_at - interval '5 minutes 1 second'")
        answer = late.post("/login/code", code=ada.code())
        assert answer.headers["Location"].startswith("/login")
        assert late.get("/trading").status_code == 303
        assert "sign in again" in late.get("/login").text

    def test_without_a_first_step_there_is_no_second(self, ada: Person, stranger: Browser) -> None:
        assert stranger.get("/login/code").headers["Location"].startswith("/login")
        assert stranger.post("/login/code", code=ada.code()).headers["Location"].startswith("/login")
        assert stranger.get("/trading").status_code == 303

    def test_a_password_that_is_changed_meanwhile_ends_the_first_step(self, ada: Person) -> None:
        her = ada.half_in()
        new = "a horse of another colour"
        ada.here.post("/account/password", password=ada.password, new_password=new, again=new)
        her.post("/login/code", code=ada.code())
        assert her.get("/trading").status_code == 303


class TestGuessing:
    def fail(self, ada: Person, times: int, **more: Any) -> list[int]:
        guesser = ada.half_in(**more)
        wrong = ada.authenticator.wrong()
        return [guesser.post("/login/code", code=wrong).status_code for _ in range(times)]

    def test_five_codes_from_wherever_they_come(self, ada: Person) -> None:
        assert self.fail(ada, 3) == [401] * 3
        assert self.fail(ada, 3, address="198.51.100.1") == [401, 401, 429]
        answer = ada.half_in(address="203.0.113.1").post("/login/code", code=ada.code())
        assert answer.status_code == 429
        assert 0 < int(answer.headers["Retry-After"]) <= 15 * 60

    def test_twenty_in_a_day(self, ada: Person, desk: Desk) -> None:
        desk.sql(
            "INSERT INTO second_factor_tries (account_id, door, tried_at)"
            " SELECT account_id, '', now() - interval '2 hours' FROM second_factors, generate_series(1, 20)"
        )
        answer = ada.half_in().post("/login/code", code=ada.code())
        assert answer.status_code == 429
        assert 21 * 3600 < int(answer.headers["Retry-After"]) <= 22 * 3600
        assert "wait 22 hours" in answer.text

    def test_keeps_nobody_out_who_is_at_work_or_in_a_browser_that_is_known(self, ada: Person) -> None:
        """A thief has the password, and uses all tries up. She halts, and signs in where she did before."""
        known = ada.half_in()
        assert known.post("/login/code", code=ada.code()).status_code == 303
        known.post("/logout")
        assert self.fail(ada, 6)[-1] == 429
        assert ada.here.json("PUT", "/mode", {"trading_mode": "disabled"}).status_code == 200
        assert known.sign_in("ada", ada.password).headers["Location"].startswith("/login/code")
        assert known.post("/login/code", code=ada.code()).status_code == 303

    @pytest.mark.parametrize(("ago", "times"), [("0 minutes", 5), ("2 hours", 20)])
    def test_a_recovery_code_signs_in_whatever_was_tried_before(
        self, ada: Person, desk: Desk, ago: str, times: int
    ) -> None:
        desk.sql(
            "INSERT INTO second_factor_tries (account_id, door, tried_at)"
            " SELECT account_id, '', now() - %s::interval FROM second_factors, generate_series(1, %s)",
            ago,
            times,
        )
        her = ada.half_in()
        assert her.post("/login/code", code=ada.code()).status_code == 429
        assert her.post("/login/code", code="AAAA-BBBB-CCCC-DDDD").status_code == 401
        assert her.post("/login/code", code=ada.recovery_codes[0]).status_code == 303
        assert her.get("/trading").status_code == 200

    def test_wrong_recovery_codes_stay_wrong_and_take_no_tries(self, ada: Person, desk: Desk) -> None:
        used = ada.recovery_codes[1]
        assert ada.half_in().post("/login/code", code=used).status_code == 303
        guesser = ada.half_in()
        for code in (
            used,
            *(f"AAAA-BBBB-CCCC-{group}" for group in ("DDDD", "EEEE", "FFFF", "GGGG", "HHHH", "2222")),
        ):
            assert guesser.post("/login/code", code=code).status_code == 401
        assert desk.sql("SELECT count(*) FROM second_factor_tries") == [(0,)]
        for almost in ("AAAA-BBBB-CCCC-DDD", "AAAA-BBBB-CCCC-DDD1"):
            assert guesser.post("/login/code", code=almost).status_code == 401
        assert desk.sql("SELECT count(*) FROM second_factor_tries") == [(2,)]
        assert guesser.post("/login/code", code=ada.code()).status_code == 303

    def test_a_recovery_code_takes_a_try_where_none_is_asked_for(self, ada: Person, desk: Desk) -> None:
        ada.require()
        ada.here.post("/account/second-factor/recovery-codes", code=ada.recovery_codes[0])
        assert "The code is wrong" in ada.here.get("/account").text
        assert desk.sql("SELECT count(*) FROM second_factor_tries") == [(1,)]

    def test_more_known_browsers_than_one_person_has_are_strangers(self, ada: Person, desk: Desk) -> None:
        """Or who gets at marks has five tries with each."""
        known = ada.half_in()
        assert known.post("/login/code", code=ada.code()).status_code == 303
        tried = (
            "INSERT INTO second_factor_tries (account_id, door) SELECT account_id, {} FROM second_factors,"
            " generate_series(1, {}) AS n"
        )
        desk.sql(tried.format("''", 5))
        desk.sql(tried.format("'browser:' || n", 39))
        known.sign_in("ada", ada.password)
        assert known.post("/login/code", code=ada.code()).status_code == 303, "it counts for itself"
        desk.sql(tried.format("'browser:more'", 1))
        known.sign_in("ada", ada.password)
        assert known.post("/login/code", code=ada.code()).status_code == 429
        assert ada.here.post("/account/second-factor/recovery-codes", code=ada.code()).status_code == 200

    def test_a_right_code_is_not_counted(self, ada: Person, desk: Desk) -> None:
        self.fail(ada, 4)
        for _ in range(3):
            assert ada.half_in().post("/login/code", code=ada.code()).status_code == 303
        assert desk.sql("SELECT count(*) FROM second_factor_tries") == [(4,)]


class TestTurningItOff:
    def test_takes_password_and_code(self, ada: Person, app: Flask, desk: Desk) -> None:
        for password, code in (("wrong", ada.code()), (ada.password, ada.authenticator.wrong())):
            ada.here.post("/account/second-factor/off", password=password, code=code)
            assert desk.sql("SELECT count(*) FROM second_factors WHERE confirmed_at IS NOT NULL") == [(1,)]
        ada.here.post("/account/second-factor/off", password=ada.password, code=ada.code())
        assert Browser(app).sign_in("ada", ada.password).headers["Location"] == "/trading"
        assert desk.sql("SELECT count(*) FROM recovery_codes") == [(0,)]

    def test_new_recovery_codes_make_the_old_ones_void(self, ada: Person) -> None:
        done = ada.here.post("/account/second-factor/recovery-codes", code=ada.code())
        assert done.status_code == 200
        assert ada.recovery_codes[0] not in done.text
        assert ada.half_in().post("/login/code", code=ada.recovery_codes[0]).status_code == 401

    def test_another_secret_key_says_so_and_recovery_codes_still_count(
        self, ada: Person, app: Flask, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(app.config, "SECRET_KEY", "another key after a move")
        her = ada.half_in()
        answer = her.post("/login/code", code=ada.code())
        assert (answer.status_code, "another SECRET_KEY" in answer.text) == (409, True)
        assert her.post("/login/code", code=ada.recovery_codes[0]).status_code == 303


class TestGoingLive:
    FORM: ClassVar = LIVE | {"confirm_word": "LIVE", "confirmed": "yes"}

    def test_takes_no_code_unless_an_admin_says_so(self, ada: Person) -> None:
        assert ada.here.json("PUT", "/mode", LIVE).status_code == 200

    def test_takes_one_where_it_is_required(self, ada: Person, desk: Desk, record: Record) -> None:
        record.new()
        assert ada.require().status_code == 303
        [event] = record.new()
        assert event["action"] == "second_factor_for_live.change"
        assert event["after"] == {"second_factor_for_live": True}
        assert_problem(ada.here.json("PUT", "/mode", LIVE), 422, "invalid", "totp_code")
        for bad in ("", "12345", "1234567", "١٢٣٤٥٦"):
            body = LIVE | {"totp_code": bad}
            assert_problem(ada.here.json("PUT", "/mode", body), 422, "invalid", "totp_code")
        wrong = LIVE | {"totp_code": ada.authenticator.wrong()}
        assert_problem(ada.here.json("PUT", "/mode", wrong), 403, "second_factor_wrong")
        assert desk.sql("SELECT trading_mode FROM risk_configs") == [("paper",)]
        assert desk.sql("SELECT count(*) FROM second_factor_tries") == [(1,)]
        code = ada.code()
        assert ada.here.json("PUT", "/mode", LIVE | {"totp_code": code}).status_code == 200
        ada.here.json("PUT", "/mode", {"trading_mode": "paper", "from": "live", "reason": "x"})
        assert_problem(ada.here.json("PUT", "/mode", LIVE | {"totp_code": code}), 403, "second_factor_wrong")

    def test_guesses_are_counted_and_a_halt_is_never_held_to_them(self, ada: Person) -> None:
        ada.require()
        wrong = LIVE | {"totp_code": ada.authenticator.wrong()}
        codes = [ada.here.json("PUT", "/mode", wrong).status_code for _ in range(6)]
        assert codes == [403] * 5 + [429]
        answer = ada.here.json("PUT", "/mode", LIVE | {"totp_code": ada.code()})
        assert_problem(answer, 429, "too_many_tries")
        assert answer.headers["Retry-After"]
        for body in ({}, {"totp_code": "nonsense"}, {"totp_code": None}):
            halt = ada.here.json("PUT", "/mode", {"trading_mode": "disabled"} | body)
            assert (halt.status_code, halt.json["trading_mode"]) == (200, "disabled")

    @pytest.mark.parametrize("code", [None, "123456"])
    def test_no_token_can(self, ada: Person, admin: Api, code: str | None) -> None:
        assert admin.put("/mode", LIVE).status_code == 200
        admin.put("/mode", {"trading_mode": "paper", "from": "live", "reason": "x"})
        ada.require()
        body = LIVE | ({"totp_code": code} if code else {})
        assert_problem(admin.put("/mode", body), 403, "second_factor_required")
        assert admin.put("/mode", {"trading_mode": "disabled"}).status_code == 200
        back = {"trading_mode": "paper", "from": "disabled", "reason": "x"}
        assert admin.put("/mode", back).status_code == 200

    def test_an_admin_without_a_second_factor_is_told_to_set_one_up(
        self, ada: Person, browser: Callable[..., Browser]
    ) -> None:
        ada.require()
        answer = browser("admin", "eve").json("PUT", "/mode", LIVE | {"totp_code": "123456"})
        assert "Account page" in assert_problem(answer, 403, "second_factor_required")["detail"]

    def test_an_operator_is_refused_as_ever(self, ada: Person, browser: Callable[..., Browser]) -> None:
        ada.require()
        assert_problem(browser("operator").json("PUT", "/mode", LIVE | {"totp_code": "123456"}), 403, "forbidden")

    def test_the_plain_form_asks_for_it_too(self, ada: Person, desk: Desk) -> None:
        ada.require()
        assert 'name="totp_code"' in ada.here.post("/trading/mode", **LIVE).text
        assert "code of your authenticator is required" in ada.here.post("/trading/mode", **self.FORM).text
        wrong = ada.here.post("/trading/mode", **self.FORM, totp_code=ada.authenticator.wrong())
        assert (wrong.status_code, "The code is wrong" in wrong.text) == (403, True)
        assert desk.sql("SELECT trading_mode FROM risk_configs") == [("paper",)]
        assert ada.here.post("/trading/mode", **self.FORM, totp_code=ada.code()).status_code == 303
        assert desk.sql("SELECT trading_mode FROM risk_configs") == [("live",)]

    def test_whoever_has_none_cannot_ask_it_of_others(self, browser: Callable[..., Browser], desk: Desk) -> None:
        eve = browser("admin", "eve")
        form = {"required": "true", "confirmed": "yes", "totp_code": "123456"}
        eve.post("/accounts/second-factor-for-live", **form)
        assert "set one up on your Account page" in eve.get("/accounts").text
        assert desk.sql("SELECT second_factor_for_live FROM risk_configs") == [(False,)]

    def test_lifting_it_takes_a_code(self, ada: Person, desk: Desk) -> None:
        ada.require()
        form = {"required": "false", "confirmed": "yes", "totp_code": ada.authenticator.wrong()}
        refused = ada.here.post("/accounts/second-factor-for-live", **form)
        assert (refused.status_code, "The code is wrong" in refused.text) == (403, True)
        assert desk.sql("SELECT second_factor_for_live FROM risk_configs") == [(True,)]
        ada.require("false")
        assert desk.sql("SELECT second_factor_for_live FROM risk_configs") == [(False,)]
        assert ada.here.json("PUT", "/mode", LIVE).status_code == 200

    def test_a_configuration_that_is_replaced_does_not_lift_it(self, ada: Person, admin: Api, desk: Desk) -> None:
        ada.require()
        assert admin.put("/config", {"config": {}}, headers={"If-Match": "*"}).status_code == 200
        assert desk.sql("SELECT second_factor_for_live FROM risk_configs") == [(True,)]

    def test_the_state_says_so(self, ada: Person) -> None:
        assert ada.here.json("GET", "/state").json["second_factor_for_live"] is False
        ada.require()
        assert ada.here.json("GET", "/state").json["second_factor_for_live"] is True

    @pytest.mark.parametrize(
        ("path", "fields"),
        [
            ("people", {"name": "mallory", "role": "admin"}),
            ("people/olga/role", {"role": "admin"}),
            ("people/eve/role", {"role": "viewer"}),
            ("people/EVE/role", {"role": "operator"}),
            ("people/eve/password", {}),
            ("people/eve/second-factor", {}),
            ("people/gone/reactivate", {}),
        ],
    )
    def test_a_session_alone_makes_no_admin_who_could(
        self, ada: Person, desk: Desk, path: str, fields: dict[str, str]
    ) -> None:
        """Or a stolen one makes an admin of its own, with a second factor of its own."""
        desk.add_user("olga", "operator")
        Person(ada.app, desk, "eve")
        desk.add_user("gone", "admin")
        desk.sql("UPDATE accounts SET deactivated_at = now() WHERE name = 'gone'")
        ada.require()

        def everybody() -> list[tuple[Any, ...]]:
            return desk.sql(
                "SELECT name, role, password_hash, deactivated_at, confirmed_at"
                " FROM accounts LEFT JOIN second_factors ON account_id = accounts.id ORDER BY 1"
            )

        before = everybody()
        if path != "people":
            assert 'name="totp_code"' in ada.here.post(f"/accounts/{path}", **fields).text
        for code in ({}, {"totp_code": ada.authenticator.wrong()}):
            ada.here.post(f"/accounts/{path}", confirmed="yes", **fields, **code)
            assert everybody() == before
        ada.here.post(f"/accounts/{path}", confirmed="yes", **fields, totp_code=ada.code())
        assert everybody() != before

    @pytest.mark.parametrize(
        ("path", "fields"),
        [
            ("people/eve/deactivate", {}),
            ("people/olga/role", {"role": "viewer"}),
            ("people/olga/password", {}),
            ("people/olga/second-factor", {}),
        ],
    )
    def test_what_only_stops_somebody_or_is_no_admins_takes_no_code(
        self, ada: Person, desk: Desk, record: Record, path: str, fields: dict[str, str]
    ) -> None:
        desk.add_user("eve", "admin")
        password = desk.add_user("olga", "operator")
        olga = Browser(ada.app)
        olga.sign_in("olga", password)
        enrol(desk, olga, password)
        ada.require()
        record.new()
        assert 'name="totp_code"' not in ada.here.post(f"/accounts/{path}", **fields).text
        ada.here.post(f"/accounts/{path}", confirmed="yes", **fields)
        assert len(record.new()) == 1

    @pytest.mark.parametrize("role", ["viewer", "operator"])
    def test_no_session_becomes_an_admins(self, ada: Person, desk: Desk, record: Record, role: str) -> None:
        """Whoever began it had less to get past: a password that was reset without a code, perhaps."""
        password = desk.add_user("olga", role)
        olga, half = Browser(ada.app), Browser(ada.app)
        olga.sign_in("olga", password)
        authenticator, _ = enrol(desk, olga, password)
        half.sign_in("olga", password)
        ada.require()
        form = {"role": "admin", "confirmed": "yes", "totp_code": ada.code()}
        asked = ada.here.post("/accounts/people/olga/role", role="admin").text
        assert "signed out everywhere" in asked
        record.new()
        ada.here.post("/accounts/people/olga/role", **form)
        [event] = record.new()
        assert event["after"] == {"role": "admin", "ended_sessions": 1}
        assert olga.get("/trading").headers["Location"].startswith("/login")
        half.post("/login/code", code=authenticator.code())
        assert half.get("/trading").headers["Location"].startswith("/login")
        assert desk.sql(
            "SELECT count(*) FROM web_sessions JOIN accounts ON account_id = id WHERE name = 'olga'"
        ) == [(0,)]
        assert half.sign_in("olga", password).headers["Location"].startswith("/login/code")
        assert half.post("/login/code", code=authenticator.code()).status_code == 303
        assert half.get("/accounts").status_code == 200


class TestACodeCountsOnce:
    """The very same one, brought again for something else."""

    def test_setting_it_up_and_going_live(self, app: Flask, desk: Desk) -> None:
        password = desk.add_user("ada", "admin")
        ada = Browser(app)
        ada.sign_in("ada", password)
        authenticator = begin(desk, ada, password)
        desk.sql("UPDATE risk_configs SET second_factor_for_live = true")
        code = authenticator.code()
        assert confirm(ada, authenticator, code).status_code == 200
        assert_problem(ada.json("PUT", "/mode", LIVE | {"totp_code": code}), 403, "second_factor_wrong")

    def test_requiring_it_and_lifting_it(self, ada: Person, desk: Desk) -> None:
        form = {"confirmed": "yes", "totp_code": ada.code()}
        ada.here.post("/accounts/second-factor-for-live", required="true", **form)
        assert desk.sql("SELECT second_factor_for_live FROM risk_configs") == [(True,)]
        ada.here.post("/accounts/second-factor-for-live", required="false", **form)
        assert desk.sql("SELECT second_factor_for_live FROM risk_configs") == [(True,)]

    def test_resetting_a_password_and_promoting(self, ada: Person, desk: Desk) -> None:
        desk.add_user("eve", "admin")
        desk.add_user("olga", "operator")
        ada.require()
        form = {"confirmed": "yes", "totp_code": ada.code()}
        shown_once(ada.here.post("/accounts/people/eve/password", **form).text)
        ada.here.post("/accounts/people/olga/role", role="admin", **form)
        assert desk.sql("SELECT role FROM accounts WHERE name = 'olga'") == [("operator",)]


def test_codes_are_read_by_the_clock_of_the_database(ada: Person) -> None:
    totp, step = ada.authenticator.totp, ada.authenticator.step()
    for distance in (-3, 4):
        ada.code()
        assert ada.half_in().post("/login/code", code=totp.generate_otp(step + distance)).status_code == 401
