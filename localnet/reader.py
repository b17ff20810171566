"""Reads what Solana's programs write, field after field: bincode (u64 lengths) and Borsh (u32 lengths), little-endian."""

from __future__ import annotations

import math
import struct
from decimal import Decimal

from solders.pubkey import Pubkey


class Truncated(ValueError):
    """The data ends before what should be there, or says what it cannot mean."""


class Reader:
    """Each call takes the next field. Raises Truncated."""

    def __init__(self, data: bytes, at: int = 0) -> None:
        self._data = data
        self._at = at

    def take(self, length: int) -> bytes:
        end = self._at + length
        if end > len(self._data):
            raise Truncated(f"{length} bytes are wanted at {self._at} of {len(self._data)}")
        found, self._at = self._data[self._at : end], end
        return found

    def rest(self) -> bytes:
        return self.take(len(self._data) - self._at)

    def uint(self, length: int) -> int:
        return int.from_bytes(self.take(length), "little")

    def u8(self) -> int:
        return self.uint(1)

    def u16(self) -> int:
        return self.uint(2)

    def u32(self) -> int:
        return self.uint(4)

    def u64(self) -> int:
        return self.uint(8)

    def i64(self) -> int:
        return int.from_bytes(self.take(8), "little", signed=True)

    def i16(self) -> int:
        return int.from_bytes(self.take(2), "little", signed=True)

    def f64(self) -> float:
        found: float = struct.unpack("<d", self.take(8))[0]
        return found

    def f64_text(self) -> str:
        """As Rust shows it: the shortest digits that read back the same, without an exponent, without ".0"."""
        value = self.f64()
        if not math.isfinite(value):
            return "NaN" if math.isnan(value) else repr(value)
        return format(Decimal(repr(value)), "f").removesuffix(".0")

    def flag(self) -> bool:
        value = self.u8()
        if value > 1:
            raise Truncated(f"{value} is no bool")
        return value == 1

    def key(self) -> str:
        return str(Pubkey.from_bytes(self.take(32)))

    def key_or_none(self) -> str | None:
        """A key whose zeros mean that there is none (OptionalNonZeroPubkey)."""
        data = self.take(32)
        return str(Pubkey.from_bytes(data)) if any(data) else None

    def option_key(self) -> str | None:
        return self.key() if self.flag() else None

    def text(self, length_bytes: int) -> str:
        try:
            return self.take(self.uint(length_bytes)).decode()
        except UnicodeDecodeError as error:
            raise Truncated(str(error)) from None

    def count(self, item_bytes: int) -> range:
        """The u64 length of a sequence whose items have at least so many bytes, to loop over."""
        length = self.u64()
        if length * item_bytes > len(self._data) - self._at:
            raise Truncated(f"a sequence of {length} is longer than the data")
        return range(length)
