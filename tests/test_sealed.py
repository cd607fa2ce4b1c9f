"""What is sealed is read back with its key, for what it is about, and in no other way."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.lib.encryption import Unreadable, seal, unseal

SECRETS = st.binary(min_size=1, max_size=100)
KEY = "a key of sixteen characters"


@given(SECRETS, st.text(), st.text())
@settings(max_examples=200)
def test_it_is_read_back(secret: bytes, key: str, about: str) -> None:
    assert unseal(key, seal(key, secret, about), about) == secret


@given(SECRETS, st.data())
@settings(max_examples=200)
def test_one_bit_that_was_altered_is_noticed(secret: bytes, data: st.DataObject) -> None:
    kept = bytearray(seal(KEY, secret, "it"))
    place = data.draw(st.integers(0, len(kept) - 1))
    kept[place] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(Unreadable):
        unseal(KEY, bytes(kept), "it")


@pytest.mark.parametrize(("key", "about"), [("another key", "it"), (KEY, "something else"), ("", "it")])
def test_another_key_or_another_thing_reads_nothing(key: str, about: str) -> None:
    with pytest.raises(Unreadable):
        unseal(key, seal(KEY, b"twenty bytes, really", "it"), about)


@pytest.mark.parametrize("kept", [b"", b"short", b"x" * 47])
def test_what_was_never_sealed_is_noticed(kept: bytes) -> None:
    with pytest.raises(Unreadable):
        unseal(KEY, kept, "it")


def test_the_same_secret_never_looks_the_same_and_never_shows() -> None:
    secret = b"twenty bytes, really"
    kept = {seal(KEY, secret, "it") for _ in range(50)}
    assert len(kept) == 50
    assert not any(secret in each for each in kept)
