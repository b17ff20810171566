"""Base64 as the base64 crate of agave reads it: canonical text only, and what is wrong with another in the crate's words."""

from __future__ import annotations

import base64
import binascii
import contextlib

_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_VALUE_OF = {symbol: value for value, symbol in enumerate(_ALPHABET)}
_PAD = ord("=")
# The bits of a last symbol that are in no byte, by how many symbols the last four places hold.
_UNUSED_BITS = {2: 0b1111, 3: 0b11}


def b64decode(text: str) -> bytes:
    """Standard alphabet, padded. Raises ValueError, the crate's DecodeError as Rust's debug format shows it."""
    data = text.encode()
    with contextlib.suppress(binascii.Error):
        decoded = binascii.a2b_base64(data, strict_mode=True)
        # Python takes a last symbol with bits that no byte holds, so that two texts would stand for the same bytes.
        if base64.b64encode(decoded) == data:
            return decoded
    raise ValueError(_what_is_wrong(data))


def _what_is_wrong(data: bytes) -> str:
    """Of text that is not canonical; in the crate's order."""
    if len(data) % 4 == 1 and data[-1] not in _VALUE_OF and data[-1] != _PAD:
        return f"InvalidByte({len(data) - 1}, {data[-1]})"
    last = (len(data) - 1) // 4 * 4
    for at, symbol in enumerate(data[:last]):
        if symbol not in _VALUE_OF:
            return f"InvalidByte({at}, {symbol})"
    symbols = data[last:].split(b"=", 1)[0]
    for at, symbol in enumerate(symbols, last):
        if symbol not in _VALUE_OF:
            return f"InvalidByte({at}, {symbol})"
    padding = data[last + len(symbols) :]
    if padding and (len(symbols) < 2 or padding.strip(b"=")):
        return f"InvalidByte({last + len(symbols)}, {_PAD})"
    if len(symbols) < 2:
        return f"InvalidLength({last + len(symbols)})"
    if len(symbols) + len(padding) != 4:
        return "InvalidPadding"
    assert _VALUE_OF[symbols[-1]] & _UNUSED_BITS[len(symbols)], data
    return f"InvalidLastSymbol({last + len(symbols) - 1}, {symbols[-1]})"
