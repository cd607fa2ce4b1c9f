"""One-time codes: which time steps count at an instant, and how people write codes."""

from __future__ import annotations

import hmac
from datetime import UTC, datetime, timedelta

import pyotp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain import totp
from app.domain.totp import read_code, read_recovery_code, show_recovery_code, steps_at

INSTANTS = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))
RFC_6238 = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"  # appendix B: "12345678901234567890"


@given(INSTANTS)
@settings(max_examples=200)
def test_the_present_step_and_one_to_either_side_count(now: datetime) -> None:
    present = int(now.timestamp()) // 30
    assert list(steps_at(now, 0)) == [present - 1, present, present + 1]


@given(INSTANTS, st.integers(-5, 5))
@settings(max_examples=200)
def test_what_was_used_counts_no_more_nor_does_anything_before_it(now: datetime, distance: int) -> None:
    used = int(now.timestamp()) // 30 + distance
    good = list(steps_at(now, used))
    assert all(step > used for step in good)
    assert good == [step for step in steps_at(now, 0) if step > used]


@given(INSTANTS, st.integers(-300, 300))
@settings(max_examples=200)
def test_a_code_of_a_telephone_counts_when_its_clock_is_not_further_off_than_a_step(
    now: datetime, seconds: int
) -> None:
    shown = pyotp.TOTP(RFC_6238).at(now + timedelta(seconds=seconds))
    good = [pyotp.TOTP(RFC_6238).generate_otp(step) for step in steps_at(now, 0)]
    if abs(seconds) <= totp.STEP_SECONDS:
        assert any(hmac.compare_digest(shown, code) for code in good)
    steps_apart = (int(now.timestamp()) + seconds) // 30 - int(now.timestamp()) // 30
    if abs(steps_apart) > 1:
        assert int((now + timedelta(seconds=seconds)).timestamp()) // 30 not in steps_at(now, 0)


@pytest.mark.parametrize(("at", "code"), [(59, "287082"), (1111111109, "081804"), (20000000000, "353130")])
def test_the_codes_are_those_of_the_standard(at: int, code: str) -> None:
    assert code in {
        pyotp.TOTP(RFC_6238).generate_otp(step) for step in steps_at(datetime.fromtimestamp(at, UTC), 0)
    }


@pytest.mark.parametrize("written", ["123456", "123 456", " 123456\n", "1 2 3 4 5 6"])
def test_spaces_in_a_code_mean_nothing(written: str) -> None:
    assert read_code(written) == "123456"


@pytest.mark.parametrize("written", ["", "12345", "1234567", "12345a", "١٢٣٤٥٦", "123-456", "12345²"])
def test_what_is_no_code_is_none(written: str) -> None:
    assert read_code(written) is None


@given(st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", min_size=16, max_size=16))
@settings(max_examples=100)
def test_a_recovery_code_is_read_as_it_is_shown_and_however_it_is_typed(code: str) -> None:
    assert read_recovery_code(show_recovery_code(code)) == code
    assert read_recovery_code(f" {show_recovery_code(code).lower().replace('-', ' ')} ") == code


@pytest.mark.parametrize("written", ["", "ABCD-EFGH-IJKL", "ABCD-EFGH-IJKL-MNO1", "ABCDEFGHIJKLMNOPQ", "123456"])
def test_what_is_no_recovery_code_is_none(written: str) -> None:
    assert read_recovery_code(written) is None
