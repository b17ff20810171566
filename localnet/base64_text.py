"""Base64 whose refusal says what the base64 crate of agave says."""

from __future__ import annotations

import binascii
import contextlib

_ALPHABET = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")


def b64decode(text: str) -> bytes:
    """Standard alphabet, padded. Raises ValueError that names the first byte that does not belong, or the length."""
    data = text.encode()
    with contextlib.suppress(binascii.Error):
        return binascii.a2b_base64(data, strict_mode=True)
    body = data.rstrip(b"=")
    for position, byte in enumerate(body):
        if byte not in _ALPHABET:
            raise ValueError(f"InvalidByte({position}, {byte})")
    if len(body) % 4 == 1:
        raise ValueError(f"InvalidLength({len(body)})")
    raise ValueError("InvalidPadding")
