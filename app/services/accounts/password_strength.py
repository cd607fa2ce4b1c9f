"""Estimate how many guesses a password takes, with zxcvbn (https://github.com/dwolfhub/zxcvbn-python)."""

from __future__ import annotations

import zxcvbn

# Every password of the usual lists, with the usual changes (capitals, digits for letters, a year), takes fewer
# guesses than this; eight random characters take 10^8.
MIN_GUESSES = 10**6
# Characters that are looked at. The time taken grows steeply with the length: a password made for it takes half a
# second at 32 characters and five seconds at 72. The beginning of a long password is enough to be strong.
LOOKED_AT = 32


def is_easy_to_guess(password: str) -> bool:
    """Whether an attacker finds it among the first million guesses."""
    return bool(zxcvbn.zxcvbn(password[:LOOKED_AT])["guesses"] < MIN_GUESSES)
