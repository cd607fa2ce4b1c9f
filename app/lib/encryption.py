"""Small secrets that are kept where others may read along, under a key that is kept elsewhere: AES-GCM (NIST SP
800-38D) with a random nonce for each, which is good for far more of them than a desk has people."""

from __future__ import annotations

import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

NONCE = 12  # bytes
USE = b"countersign/sealed"


class Unreadable(ValueError):
    """It was sealed under another key, or altered."""


def seal(key: str, secret: bytes, about: str) -> bytes:
    """`secret`, readable only with `key` and for what it is `about`."""
    nonce = secrets.token_bytes(NONCE)
    return nonce + _cipher(key).encrypt(nonce, secret, about.encode())


def unseal(key: str, sealed: bytes, about: str) -> bytes:
    """What was sealed. Raises Unreadable."""
    try:
        return _cipher(key).decrypt(sealed[:NONCE], sealed[NONCE:], about.encode())
    except (InvalidTag, ValueError):  # ValueError of what is too short to have been sealed
        raise Unreadable("it was sealed under another key, or altered") from None


def _cipher(key: str) -> AESGCM:
    """With a key of its own: SECRET_KEY signs cookies too (HKDF, RFC 5869)."""
    return AESGCM(HKDF(SHA256(), length=32, salt=None, info=USE).derive(key.encode()))
