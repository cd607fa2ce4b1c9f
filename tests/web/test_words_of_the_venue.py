"""What a venue said, as people read it; tests/frontend/orders_in_words.test.js has the same for the script."""

from __future__ import annotations

import pytest

from app.web.pages.filters import venue_said

NO = '{"code":40310000,"message":"insufficient buying power <b>"}'


@pytest.mark.parametrize(
    ("status", "words", "said"),
    [
        ("venue_rejected", NO, "the venue: insufficient buying power <b>"),
        ("venue_rejected", "status 403", "the venue: status 403"),
        ("venue_rejected", '{"code":1}', 'the venue: {"code":1}'),
        ("venue_rejected", '{"message":5}', 'the venue: {"message":5}'),
        ("venue_rejected", '{"message":""}', 'the venue: {"message":""}'),
        ("venue_rejected", "null", "the venue: null"),
        ("venue_rejected", '["message"]', 'the venue: ["message"]'),
        ("venue_rejected", "[" * 100_000, "the venue: " + "[" * 100_000),
        ("venue_rejected", r'{"message":"half \ud83d"}', "the venue: half ?"),
        ("venue_rejected", None, ""),
        ("released", '{"message":"too many requests"}', "not sent: too many requests"),
        ("canceled", "cannot be reached", "not sent: cannot be reached"),
        ("accepted", "new", ""),
    ],
)
def test_it_is_its_message_where_it_has_one(status: str, words: str | None, said: str) -> None:
    assert venue_said({"status": status, "venue_words": words}) == said


def test_an_order_that_goes_to_no_venue_has_none() -> None:
    assert venue_said({"status": "released"}) == ""
