"""Every form on the pages works by itself, where JavaScript does not."""

from __future__ import annotations

from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any, ClassVar

import pytest
from werkzeug.test import TestResponse

from tests.conftest import Api
from tests.serving import Desk
from tests.web.conftest import Browser, Record
from tests.web.orders import WEIRD_IDS, order

LOCKOUT = {"ticker": "aapl", "reason": "earnings", "duration_minutes": "60"}
NOBODYS_ID = "00000000-0000-4000-8000-000000000000"


class Forms(HTMLParser):
    """The forms of a page: where each goes, and the fields that a browser would send with it."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []
        self.by_id: dict[str, dict[str, str]] = {}
        self.select: str | None = None
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form" and given.get("method") == "post":
            self.by_id[given.get("id", "")] = {}
            if "action" in given:
                self.found.append((given["action"], {}))
            else:  # each of its buttons says where it goes
                self.found.append(("", self.by_id[given["id"]]))
        elif tag == "button" and "formaction" in given:
            self.found.append((given["formaction"], self.by_id[given["form"]]))
        elif tag == "form":
            self.found.append(("", {}))
        elif tag in ("input", "button") and given.get("name") and self.found:
            self.found[-1][1][given["name"]] = given.get("value", "")
        elif tag == "select":
            self.select = given.get("name")
        elif tag == "option" and self.select and self.found:
            fields = self.found[-1][1]
            if self.select not in fields or "selected" in given:
                fields[self.select] = given.get("value", "")

    def handle_endtag(self, tag: str) -> None:
        if tag == "select":
            self.select = None

    def to(self, action: str, *names: str) -> dict[str, str]:
        """The fields of the smallest form that goes to `action` and has all of `names`."""
        fitting = [fields for where, fields in self.found if where == action and set(names) <= set(fields)]
        return min(fitting, key=len)


def mode(desk: Desk) -> str:
    return str(desk.sql("SELECT trading_mode FROM risk_configs")[0][0])


def stored(desk: Desk) -> Any:
    return desk.sql("SELECT config FROM risk_configs")[0][0]


def is_back_on_the_page(answer: TestResponse) -> bool:
    return answer.status_code == 303 and answer.headers["Location"] == "/trading"


def page_says(person: Browser, text: str) -> bool:
    """Whether the page says it now, once, and not again when it is loaded another time."""
    first, second = person.get("/trading").text, person.get("/trading").text
    return text in first and text not in second


def confirm(person: Browser, answer: TestResponse, **more: str) -> TestResponse:
    """Send the form of a confirmation page, with its own fields and what a person fills in."""
    assert (answer.status_code, answer.mimetype) == (200, "text/html")
    action, fields = next((where, fields) for where, fields in Forms(answer.text).found if "confirmed" in fields)
    return person.open("POST", action, data=fields | more)


def press(person: Browser, action: str, *names: str, **more: str) -> TestResponse:
    """Send the form that the Trading page really holds."""
    fields = Forms(person.get("/trading").text).to(action, *names)
    return person.open("POST", action, data=fields | more)


class TestHalting:
    def test_is_one_click(self, browser: Callable[..., Browser], desk: Desk, record: Record) -> None:
        person = browser("operator")
        record.new()
        assert is_back_on_the_page(press(person, "/trading/halt"))
        assert mode(desk) == "disabled"
        assert page_says(person, "Trading is halted")
        (event,) = record.new()
        assert (event["action"], event["actor"]) == ("mode.change", "operator-in-person")

    def test_works_while_the_configuration_is_broken(self, browser: Callable[..., Browser], desk: Desk) -> None:
        person = browser("operator")
        desk.sql("""UPDATE risk_configs SET config = '{"operator_approval": 5, "signal_layers": 5}'""")
        assert is_back_on_the_page(press(person, "/trading/halt"))
        assert mode(desk) == "disabled"

    @pytest.mark.parametrize("action", ["/trading/halt", "/trading/mode"])
    def test_is_never_refused_for_what_the_form_says_besides(
        self, browser: Callable[..., Browser], desk: Desk, record: Record, action: str
    ) -> None:
        person = browser("operator")
        record.new()
        fields = {
            "reason": f"\0{'x' * 600}",
            "from": "nowhere",
            "totp_code": "1",
            "protective_stops": "no",
            "foo": "1",
        }
        answer = person.post(action, trading_mode=["live", "disabled"], **fields)
        assert is_back_on_the_page(answer)
        assert mode(desk) == "disabled"
        assert page_says(person, "Trading is halted")
        [event] = record.new()
        assert event["note"] == "\ufffd" + "x" * 499

    def test_twice_is_no_harm(self, browser: Callable[..., Browser], desk: Desk, record: Record) -> None:
        person = browser("operator")
        record.new()
        for _ in range(2):
            assert is_back_on_the_page(person.post("/trading/halt"))
        assert len(record.new()) == 1


class TestLeavingAHalt:
    def test_asks_for_a_reason_first(self, browser: Callable[..., Browser], desk: Desk, record: Record) -> None:
        person = browser("operator")
        desk.sql("UPDATE risk_configs SET trading_mode = 'disabled'")
        record.new()
        question = person.post("/trading/mode", **{"trading_mode": "paper", "from": "disabled"})
        assert mode(desk) == "disabled"
        assert is_back_on_the_page(confirm(person, question, reason="checked the feed"))
        assert mode(desk) == "paper"
        (event,) = record.new()
        assert event["note"] == "checked the feed"

    @pytest.mark.parametrize("reason", ["", "   "])
    def test_asks_again_when_there_is_none(self, browser: Callable[..., Browser], desk: Desk, reason: str) -> None:
        person = browser("operator")
        desk.sql("UPDATE risk_configs SET trading_mode = 'disabled'")
        question = person.post("/trading/mode", **{"trading_mode": "paper", "from": "disabled"})
        again = confirm(person, question, reason=reason)
        assert "A reason is required." in again.text
        assert mode(desk) == "disabled"
        assert is_back_on_the_page(confirm(person, again, reason="now with one"))
        assert mode(desk) == "paper"

    def test_from_a_stale_page_says_so(self, browser: Callable[..., Browser], desk: Desk) -> None:
        """Someone has halted in between: the page that still shows live trading cannot undo it."""
        person = browser("admin")
        desk.sql("UPDATE risk_configs SET trading_mode = 'disabled'")
        form = {"trading_mode": "paper", "from": "live", "reason": "x"}
        assert is_back_on_the_page(person.post("/trading/mode", **form))
        assert page_says(person, "The trading mode is disabled by now")
        assert mode(desk) == "disabled"

    @pytest.mark.parametrize(
        "form",
        [
            {"trading_mode": "paper", "reason": "x"},
            {"trading_mode": "paper", "reason": "x", "from": "nowhere"},
            {"trading_mode": "PAPER", "reason": "x", "from": "disabled"},
            {"trading_mode": "", "reason": "x", "from": "disabled"},
            {"trading_mode": "paper", "reason": "x" * 501, "from": "disabled"},
            {"trading_mode": "paper", "reason": "x\0y", "from": "disabled"},
            {},
        ],
    )
    def test_with_what_cannot_be_used_changes_nothing(
        self, browser: Callable[..., Browser], desk: Desk, form: dict[str, str]
    ) -> None:
        person = browser("operator")
        desk.sql("UPDATE risk_configs SET trading_mode = 'disabled'")
        assert is_back_on_the_page(person.post("/trading/mode", **form))
        assert mode(desk) == "disabled"
        assert 'role="alert"' in person.get("/trading").text


class TestGoingLive:
    FORM: ClassVar = {"trading_mode": "live", "from": "paper"}

    def test_takes_a_reason_and_the_word(self, browser: Callable[..., Browser], desk: Desk) -> None:
        person = browser("admin")
        question = person.post("/trading/mode", **self.FORM)
        assert is_back_on_the_page(confirm(person, question, reason="staffed", confirm_word=" live "))
        assert mode(desk) == "live"

    @pytest.mark.parametrize(
        ("reason", "word"),
        [("", "LIVE"), ("staffed", ""), ("staffed", "yes"), ("staffed", "LIVE!"), ("staffed", "L I V E")],
    )
    def test_is_asked_again_without_either(
        self, browser: Callable[..., Browser], desk: Desk, reason: str, word: str
    ) -> None:
        person = browser("admin")
        question = person.post("/trading/mode", **self.FORM)
        again = confirm(person, question, reason=reason, confirm_word=word)
        assert again.status_code == 200
        assert mode(desk) == "paper"

    def test_is_not_done_by_saying_that_it_was_confirmed(
        self, browser: Callable[..., Browser], desk: Desk
    ) -> None:
        person = browser("admin")
        person.post("/trading/mode", **self.FORM, confirmed="yes", reason="x")
        assert mode(desk) == "paper"

    def test_is_not_for_operators(self, browser: Callable[..., Browser], desk: Desk) -> None:
        person = browser("operator")
        answer = person.post("/trading/mode", **self.FORM, confirmed="yes", reason="x", confirm_word="LIVE")
        assert (answer.status_code, answer.mimetype) == (403, "text/html")
        assert "Going live takes an admin" in answer.text
        assert mode(desk) == "paper"


class TestTheApprovalSwitches:
    def test_ask_first_and_then_change(self, browser: Callable[..., Browser], desk: Desk) -> None:
        person = browser("operator")
        question = press(person, "/trading/approval-config", "auto_approve_paper")
        assert "Every paper order will wait" in question.text
        assert stored(desk) == {}
        assert is_back_on_the_page(confirm(person, question))
        assert stored(desk) == {"operator_approval": {"auto_approve_paper": False}}
        back = press(person, "/trading/approval-config", "auto_approve_paper")
        assert "without a person" in back.text
        confirm(person, back)
        assert stored(desk) == {"operator_approval": {"auto_approve_paper": True}}

    def test_of_live_orders_is_an_admins(self, browser: Callable[..., Browser], desk: Desk) -> None:
        person = browser("admin")
        confirm(person, press(person, "/trading/approval-config", "require_approval_for_live"))
        assert stored(desk) == {"operator_approval": {"require_approval_for_live": False}}

    def test_the_timeout_is_saved_at_once(self, browser: Callable[..., Browser], desk: Desk) -> None:
        person = browser("operator")
        answer = press(
            person, "/trading/approval-config", "approval_timeout_minutes", approval_timeout_minutes=" 45 "
        )
        assert is_back_on_the_page(answer)
        assert stored(desk) == {"operator_approval": {"approval_timeout_minutes": 45}}

    @pytest.mark.parametrize(
        "form",
        [
            {},
            {"auto_approve_paper": ""},
            {"auto_approve_paper": "on"},
            {"auto_approve_paper": "False"},
            {"auto_approve_paper": "0"},
            {"approval_timeout_minutes": "0"},
            {"approval_timeout_minutes": "10081"},
            {"approval_timeout_minutes": "1.5"},
            {"approval_timeout_minutes": "٤٥"},
            {"approval_timeout_minutes": "4_5"},
            {"approval_timeout_minutes": "9" * 5000},
            {"approval_timeout_minutes": "-"},
            {"approval_timeout_minutes": "nonsense", "auto_approve_paper": "false"},
        ],
    )
    def test_with_what_cannot_be_used_change_nothing(
        self, browser: Callable[..., Browser], desk: Desk, record: Record, form: dict[str, str]
    ) -> None:
        person = browser("operator")
        record.new()
        assert is_back_on_the_page(person.post("/trading/approval-config", **form, confirmed="yes"))
        assert 'role="alert"' in person.get("/trading").text
        assert stored(desk) == {}
        assert record.new() == []


class TestTheSignalLayers:
    @pytest.mark.parametrize("layer", ["macro", "competitive"])
    def test_ask_first_and_then_change(self, browser: Callable[..., Browser], desk: Desk, layer: str) -> None:
        person = browser("operator")
        question = press(person, "/trading/signal-layers", layer)
        assert stored(desk) == {}
        assert is_back_on_the_page(confirm(person, question))
        assert stored(desk) == {"signal_layers": {layer: False}}
        confirm(person, press(person, "/trading/signal-layers", layer))
        assert stored(desk) == {"signal_layers": {layer: True}}


class TestLockouts:
    def rows(self, desk: Desk) -> list[Any]:
        return desk.sql("SELECT ticker, reason, lockout_type, created_by FROM symbol_lockouts")

    def test_are_made(self, browser: Callable[..., Browser], desk: Desk) -> None:
        person = browser("operator")
        assert is_back_on_the_page(press(person, "/trading/lockouts", "ticker", **LOCKOUT))
        assert self.rows(desk) == [("AAPL", "earnings", "manual", "operator-in-person")]
        assert page_says(person, "AAPL is locked out.")

    def test_last_an_hour_unless_said_otherwise(self, browser: Callable[..., Browser], desk: Desk) -> None:
        press(browser("operator"), "/trading/lockouts", "ticker", ticker="AAPL", reason="x")
        assert desk.sql("SELECT expires_at - created_at = interval '60 min' FROM symbol_lockouts") == [(True,)]

    def test_are_extended_by_an_hour(self, browser: Callable[..., Browser], desk: Desk) -> None:
        person = browser("operator")
        person.post("/trading/lockouts", **LOCKOUT)
        ((lockout_id,),) = desk.sql("SELECT id FROM symbol_lockouts")
        assert is_back_on_the_page(press(person, f"/trading/lockouts/{lockout_id}/extend"))
        assert desk.sql("SELECT expires_at - created_at = interval '120 min' FROM symbol_lockouts") == [(True,)]

    def test_are_removed_after_asking(self, browser: Callable[..., Browser], desk: Desk) -> None:
        person = browser("operator")
        person.post("/trading/lockouts", **LOCKOUT)
        ((lockout_id,),) = desk.sql("SELECT id FROM symbol_lockouts")
        question = press(person, f"/trading/lockouts/{lockout_id}/remove")
        assert len(self.rows(desk)) == 1
        assert is_back_on_the_page(confirm(person, question))
        assert self.rows(desk) == []

    def test_a_form_with_errors_comes_back_with_what_was_typed(
        self, browser: Callable[..., Browser], desk: Desk
    ) -> None:
        answer = browser("operator").post(
            "/trading/lockouts", ticker="<b>nope</b>", reason="a long story", duration_minutes="0"
        )
        assert (answer.status_code, answer.mimetype) == (422, "text/html")
        assert "allowed are A-Z, 0-9 and" in answer.text
        assert "must be from 1 to 525600" in answer.text
        assert 'value="a long story"' in answer.text
        assert "&lt;b&gt;nope&lt;/b&gt;" in answer.text
        assert "<b>nope" not in answer.text
        assert self.rows(desk) == []

    def test_what_was_typed_for_a_duration_stays_to_be_mended(
        self, browser: Callable[..., Browser], desk: Desk
    ) -> None:
        answer = browser("operator").post("/trading/lockouts", **LOCKOUT | {"duration_minutes": "an <hour>"})
        assert 'value="an &lt;hour&gt;"' in answer.text

    @pytest.mark.parametrize(
        ("field", "value", "message"),
        [
            ("ticker", "", "is required"),
            ("ticker", "  ", "is required"),
            ("ticker", "ß", "contains"),
            ("ticker", "A\0", "contains U+0000"),
            ("reason", "", "is required"),
            ("reason", "\u2003", "is required"),
            ("reason", "x" * 501, "must have 1 to 500 characters"),
            ("reason", "a\0b", "cannot be stored"),
            ("duration_minutes", "", "is required"),
            ("duration_minutes", "1.5", "must be a whole number"),
            ("duration_minutes", "1e3", "must be a whole number"),
            ("duration_minutes", "٦٠", "must be a whole number"),
            ("duration_minutes", "9" * 5000, "must be a whole number"),
            ("duration_minutes", "-", "must be a whole number"),
            ("duration_minutes", "-5", "must be from 1 to 525600"),
            ("duration_minutes", "525601", "must be from 1 to 525600"),
            ("lockout_type", "weird", "must be one of"),
        ],
    )
    def test_each_error_is_said(
        self, browser: Callable[..., Browser], desk: Desk, field: str, value: str, message: str
    ) -> None:
        answer = browser("operator").post("/trading/lockouts", **LOCKOUT | {field: value})
        assert answer.status_code == 422
        assert self.rows(desk) == []
        if field != "lockout_type":  # the page offers no choice of it, so it has no place for its error
            assert message in answer.text

    def test_a_field_that_is_missing_is_required(self, browser: Callable[..., Browser], desk: Desk) -> None:
        answer = browser("operator").post("/trading/lockouts")
        assert answer.status_code == 422
        for label in ("Ticker", "Reason", "Duration (minutes)"):
            assert f"{label} is required" in answer.text

    @pytest.mark.parametrize("lockout_id", [NOBODYS_ID, "x", "%00", "%FF", "1" * 2000])
    @pytest.mark.parametrize("act", ["extend", "remove"])
    def test_one_that_is_gone_is_said_to_be_gone(
        self, browser: Callable[..., Browser], lockout_id: str, act: str
    ) -> None:
        person = browser("operator")
        form = {"extend_minutes": "60", "confirmed": "yes"}
        assert is_back_on_the_page(person.post(f"/trading/lockouts/{lockout_id}/{act}", **form))
        assert page_says(person, "There is no such lockout")

    def test_one_that_has_ended_cannot_be_extended(self, browser: Callable[..., Browser], desk: Desk) -> None:
        person = browser("operator")
        person.post("/trading/lockouts", **LOCKOUT)
        desk.sql(
            "UPDATE symbol_lockouts SET created_at = now() - interval '2 h', expires_at = now() - interval '1 s'"
        )
        ((lockout_id,),) = desk.sql("SELECT id FROM symbol_lockouts")
        person.post(f"/trading/lockouts/{lockout_id}/extend", extend_minutes="60")
        assert page_says(person, "There is no such lockout")
        assert desk.sql("SELECT expires_at < now() FROM symbol_lockouts") == [(True,)]

    @pytest.mark.parametrize("minutes", ["", "0", "x", "525601"])
    def test_are_not_extended_by_nonsense(self, browser: Callable[..., Browser], desk: Desk, minutes: str) -> None:
        person = browser("operator")
        person.post("/trading/lockouts", **LOCKOUT)
        ((lockout_id,),) = desk.sql("SELECT id FROM symbol_lockouts")
        assert is_back_on_the_page(person.post(f"/trading/lockouts/{lockout_id}/extend", extend_minutes=minutes))
        assert desk.sql("SELECT expires_at - created_at = interval '60 min' FROM symbol_lockouts") == [(True,)]


@pytest.mark.usefixtures("holding")
class TestOrdersThatWait:
    @pytest.fixture
    def waiting(self, engine: Api) -> str:
        """Where the decisions about an order go that waits."""
        return f"/trading/approvals/{engine.post('/orders', order()).json['id']}"

    def status(self, desk: Desk) -> Any:
        return desk.sql("SELECT status, decided_by, decision_note FROM orders")[0]

    def test_are_approved_in_one_click(self, browser: Callable[..., Browser], desk: Desk, waiting: str) -> None:
        person = browser("operator")
        assert is_back_on_the_page(press(person, f"{waiting}/approve"))
        assert page_says(person, "Buy 10 AAPL is released.")
        assert self.status(desk) == ("released", "operator-in-person", None)

    def test_with_real_money_are_asked_about(
        self, browser: Callable[..., Browser], desk: Desk, engine: Api
    ) -> None:
        desk.sql("UPDATE risk_configs SET trading_mode = 'live'")
        order_id = engine.post("/orders", order()).json["id"]
        person = browser("operator")
        question = person.post(f"/trading/approvals/{order_id}/approve")
        assert self.status(desk)[0] == "pending_approval"
        assert is_back_on_the_page(confirm(person, question))
        assert self.status(desk)[0] == "released"

    def test_are_rejected_with_a_reason(self, browser: Callable[..., Browser], desk: Desk, waiting: str) -> None:
        person = browser("operator")
        question = press(person, f"{waiting}/reject")
        assert self.status(desk)[0] == "pending_approval"
        assert is_back_on_the_page(confirm(person, question, reason=" too large "))
        assert self.status(desk) == ("rejected", "operator-in-person", "too large")

    @pytest.mark.parametrize(
        ("reason", "said"),
        [
            ("", "Reason is required."),
            ("  ", "Reason is required."),
            ("x" * 501, "Reason must have 1 to 500 characters."),
            ("x\0", "Reason holds a character that cannot be stored."),
        ],
    )
    def test_are_not_rejected_without_a_good_one(
        self, browser: Callable[..., Browser], desk: Desk, waiting: str, reason: str, said: str
    ) -> None:
        person = browser("operator")
        again = confirm(person, person.post(f"{waiting}/reject"), reason=reason)
        assert said in again.text
        assert self.status(desk)[0] == "pending_approval"

    @pytest.mark.parametrize("choice", ["approve", "reject"])
    def test_are_decided_once_and_the_second_is_told_by_whom(
        self, browser: Callable[..., Browser], desk: Desk, waiting: str, choice: str
    ) -> None:
        browser("admin").post(f"{waiting}/approve")
        person = browser("operator")
        assert is_back_on_the_page(person.post(f"{waiting}/{choice}", reason="late"))
        assert page_says(person, "The order is released already, by admin-in-person at")
        assert self.status(desk) == ("released", "admin-in-person", None)

    def test_say_why_they_cannot_be_approved_now(
        self, browser: Callable[..., Browser], desk: Desk, waiting: str
    ) -> None:
        person = browser("operator")
        person.post("/trading/lockouts", **LOCKOUT)
        assert "Not approvable now: AAPL is locked out until" in person.get("/trading").text
        assert is_back_on_the_page(person.post(f"{waiting}/approve"))
        assert page_says(person, "<span>AAPL is locked out until")
        assert self.status(desk)[0] == "pending_approval"

    def test_of_ones_own_engine_are_not_approved(
        self, browser: Callable[..., Browser], desk: Desk, waiting: str
    ) -> None:
        person = browser("operator")
        desk.sql(
            "UPDATE accounts SET owner_id = (SELECT id FROM accounts WHERE name = 'operator-in-person')"
            " WHERE role = 'engine'"
        )
        assert person.post(f"{waiting}/approve").status_code == 403
        assert self.status(desk)[0] == "pending_approval"

    def test_are_not_a_viewers_to_decide(self, browser: Callable[..., Browser], desk: Desk, waiting: str) -> None:
        person = browser("viewer")
        assert waiting not in person.get("/trading").text
        for choice in ("approve", "reject"):
            assert person.post(f"{waiting}/{choice}", reason="x").status_code == 403
        assert self.status(desk)[0] == "pending_approval"

    @pytest.mark.parametrize("choice", ["approve", "reject"])
    def test_that_are_not_there_are_said_not_to_be(self, browser: Callable[..., Browser], choice: str) -> None:
        person = browser("operator")
        for weird in WEIRD_IDS:
            answer = person.post(f"/trading/approvals/{weird}/{choice}", reason="x", confirmed="yes")
            assert is_back_on_the_page(answer) or answer.status_code == 404

    def test_are_named_where_a_change_of_mode_would_cancel_them(
        self, browser: Callable[..., Browser], desk: Desk, engine: Api, waiting: str
    ) -> None:
        person = browser("admin")
        form = {"trading_mode": "live", "from": "paper"}
        assert "The order that waits for approval will be canceled." in person.post("/trading/mode", **form).text
        engine.post("/orders", order())
        question = person.post("/trading/mode", **form)
        assert "All 2 orders that wait for approval will be canceled." in question.text
        assert is_back_on_the_page(confirm(person, question, reason="open", confirm_word="LIVE"))
        assert self.status(desk)[0] == "canceled"

    def test_and_decided_ones_are_shown_whatever_they_hold(
        self, browser: Callable[..., Browser], engine: Api
    ) -> None:
        evil = "</script><img src=x onerror=alert(1)>{{7*7}}"
        most = "999999999999999999.999999999"
        engine.post("/orders", order(strategy=evil, rationale=evil))
        engine.post("/orders", order(qty=most, type="stop_limit", stop_price=most, limit_price="0.000000001"))
        engine.post("/orders", order(qty=..., notional=most, reference_price=most, ticker="BTC/USD"))
        browser("operator").post("/trading/halt")
        engine.post("/orders", order())
        for role in ("viewer", "admin"):
            page = browser(role).get("/trading")
            assert page.status_code == 200
            assert "<img src=x" not in page.text
            assert "999,999,999,999,999,999.999999999" in page.text.replace("<wbr>", "")
            assert "trading is halted" in page.text


class TestTheFormsOfThePage:
    @pytest.mark.usefixtures("holding")
    def test_every_one_of_them_has_a_token_and_goes_to_a_route(
        self, browser: Callable[..., Browser], engine: Api
    ) -> None:
        person = browser("admin")
        engine.post("/orders", order())
        person.post("/trading/lockouts", **LOCKOUT)
        router = person.client.application.url_map.bind("localhost")
        for path in ("/trading", "/audit"):
            for action, fields in Forms(person.get(path).text).found:
                if action:
                    assert fields["csrf_token"]
                    assert router.test(action, "POST")

    @pytest.mark.parametrize("stored_by_hand", ["{}", '{"operator_approval": 5}', '{"signal_layers": []}'])
    @pytest.mark.parametrize("role", ["viewer", "operator", "admin"])
    def test_the_page_is_shown_to_everybody_in_every_state(
        self, browser: Callable[..., Browser], desk: Desk, stored_by_hand: str, role: str
    ) -> None:
        person = browser(role)
        person_who_acts = browser("operator", name="other")
        person_who_acts.post("/trading/lockouts", **LOCKOUT)
        for state in ("paper", "live", "disabled"):
            desk.sql("UPDATE risk_configs SET config = %s::jsonb, trading_mode = %s", stored_by_hand, state)
            assert person.get("/trading").status_code == 200

    def test_what_people_typed_is_never_markup(self, browser: Callable[..., Browser]) -> None:
        person = browser("operator")
        evil = "</script><script>alert(1)</script><img src=x onerror=alert(1)>{{7*7}}"
        person.post("/trading/lockouts", **LOCKOUT | {"reason": evil})
        for path in ("/trading", "/audit"):
            page = person.get(path).text
            assert "<img src=x" not in page
            assert "<script>alert" not in page
            assert "&lt;/script&gt;" in page
            assert "{{7*7}}" in page


class TestTheAuditPage:
    def test_shows_who_did_what(self, browser: Callable[..., Browser]) -> None:
        person = browser("operator")
        person.post("/trading/halt")
        page = person.get("/audit?action=mode.change&actor=operator-in-person").text
        assert "mode.change" in page
        assert "operator-in-person" in page

    def test_goes_on_where_it_stopped(self, browser: Callable[..., Browser], desk: Desk) -> None:
        person = browser("viewer")
        desk.sql(
            "INSERT INTO audit_events (actor, action, subject, request_id)"
            " SELECT 'sql', 'mode.change', 'subject-' || n, 'r' FROM generate_series(1, 120) n"
        )
        path, seen = "/audit?actor=sql", []
        while path:
            page = person.get(path).text
            seen += [number for number in range(1, 121) if f"subject-{number}<" in page]
            path = page.partition('class="more"')[2].partition('href="')[2].partition('"')[0].replace("&amp;", "&")
        assert sorted(seen) == list(range(1, 121))

    @pytest.mark.parametrize("query", ["?action=&actor=", "?actor=%C3%A9", "?bogus=1"])
    def test_a_filter_that_finds_nothing_is_no_error(self, browser: Callable[..., Browser], query: str) -> None:
        assert browser("viewer").get(f"/audit{query}").status_code == 200


def test_the_root_leads_to_the_trading_page(stranger: Browser) -> None:
    answer = stranger.get("/")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/trading")
