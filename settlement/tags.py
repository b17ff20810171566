"""Domain-separated hashing: every hashed or signed thing starts with the sha256 of its own tag (docs/protocol.md, section 1).

A message of one kind can then never be read as one of another kind, nor as one of another protocol version.
The construction is that of BIP-340's tagged hashes, with the tag once.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha256

U16_MAX = 2**16 - 1
U32_MAX = 2**32 - 1
_HEX_DIGITS = frozenset("0123456789abcdef")
U64_MAX = 2**64 - 1


@lru_cache(maxsize=256)
def tag(name: str) -> bytes:
    """The 32-byte tag of `name`: sha256 of ASCII "pouw/v1/" + name."""
    return sha256(b"pouw/v1/" + name.encode("ascii")).digest()


def H(name: str, *parts: bytes) -> bytes:
    """sha256 over the tag of `name` and the parts. Every part must have a width that `name` fixes: nothing separates them."""
    return sha256(tag(name) + b"".join(parts)).digest()


def u16le(value: int) -> bytes:
    return _unsigned(value, 2)


def u32le(value: int) -> bytes:
    return _unsigned(value, 4)


def u64le(value: int) -> bytes:
    return _unsigned(value, 8)


def fixed(name: str, value: bytes, width: int) -> bytes:
    """`value`, once it is known to be exactly `width` bytes; ValueError names what was given."""
    if not isinstance(value, bytes) or len(value) != width:
        given = f"{len(value)} bytes" if isinstance(value, bytes) else type(value).__name__
        raise ValueError(f"{name} must be {width} bytes, got {given}")
    return value


def from_hex(name: str, text: object, width: int) -> bytes:
    """The `width` bytes in lower-case hex, the one form that the interfaces have; ValueError names what was given."""
    if not isinstance(text, str):
        raise ValueError(f"{name} must be {width} bytes in lower-case hex, got {type(text).__name__}")
    if len(text) != 2 * width or not set(text) <= _HEX_DIGITS:
        raise ValueError(f"{name} must be {width} bytes in lower-case hex, got {text[:80]!r} of length {len(text)}")
    return bytes.fromhex(text)


def _unsigned(value: int, width: int) -> bytes:
    try:
        return value.to_bytes(width, "little")
    except OverflowError:
        raise ValueError(f"{value} does not fit an unsigned integer of {width * 8} bits") from None
