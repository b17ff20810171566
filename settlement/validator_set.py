"""A sealed version of the registry: who may sign a checkpoint, with which key and stake (docs/protocol.md, section 3).

The bitmap indexes a set; in memory it is a Python int (bit i is validator i), on the wire 32 bytes, least significant bit first.
A quorum is counted in integers: 3 × signed stake ≥ 2 × total stake.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

from settlement import bls
from settlement.signing import Domain
from settlement.tags import U64_MAX, H, fixed, u32le, u64le

MAX_VALIDATORS = 256
BITMAP_BYTES = 32


@dataclass(frozen=True)
class SetEntry:
    """One validator: authority (ed25519, 32 bytes), BLS key in G1 (affine x ‖ y, big-endian, 96 bytes), stake in lamports."""

    authority: bytes
    bls_uncompressed: bytes
    stake_lamports: int

    def __post_init__(self) -> None:
        fixed("authority", self.authority, 32)
        fixed("uncompressed BLS key", self.bls_uncompressed, 96)
        u64le(self.stake_lamports)

    @cached_property
    def bls_public_key(self) -> bytes:
        """The key compressed, 48 bytes. bls.BlsError when the 96 bytes are no canonical point of G1's subgroup."""
        return bls.compressed_public_key(self.bls_uncompressed)

    def encode(self) -> bytes:
        """136 bytes, as hashed and as the L1 account holds them."""
        return self.authority + self.bls_uncompressed + u64le(self.stake_lamports)

    @classmethod
    def decode(cls, data: bytes) -> SetEntry:
        fixed("validator set entry", data, 136)
        return cls(data[:32], data[32:128], int.from_bytes(data[128:], "little"))


@dataclass(frozen=True)
class ValidatorSet:
    """A version and its entries in registry slot order: 1 to 256, authorities and BLS keys unique, total stake above zero."""

    version: int
    entries: tuple[SetEntry, ...] = field(repr=False)

    def __post_init__(self) -> None:
        u64le(self.version)
        object.__setattr__(self, "entries", tuple(self.entries))
        if not 1 <= len(self.entries) <= MAX_VALIDATORS:
            raise ValueError(f"a validator set has 1 to {MAX_VALIDATORS} entries, got {len(self.entries)}")
        if len({entry.authority for entry in self.entries}) != len(self.entries):
            raise ValueError("an authority stands in the validator set twice")
        if len({entry.bls_uncompressed for entry in self.entries}) != len(self.entries):
            raise ValueError("a BLS key stands in the validator set twice")
        if not 0 < self.total_stake <= U64_MAX:
            raise ValueError(f"the total stake must lie between 1 and 2**64 - 1 lamports, got {self.total_stake}")

    def __len__(self) -> int:
        return len(self.entries)

    @cached_property
    def total_stake(self) -> int:
        return sum(entry.stake_lamports for entry in self.entries)

    @cached_property
    def _indices(self) -> dict[bytes, int]:
        return {entry.authority: index for index, entry in enumerate(self.entries)}

    def hash(self, domain: Domain) -> bytes:
        return H(
            "validator-set",
            domain.genesis,
            domain.program,
            u64le(self.version),
            u32le(len(self.entries)),
            b"".join(entry.encode() for entry in self.entries),
        )

    def index_of(self, authority: bytes) -> int | None:
        """The set index of an authority's public key, or None when it is not in the set."""
        return self._indices.get(authority)

    def indices(self, bitmap: int) -> Iterator[int]:
        """The set indices in a bitmap, ascending. ValueError when it has a bit beyond the set."""
        if bitmap < 0 or bitmap >> len(self.entries):
            raise ValueError(f"the bitmap has a bit beyond the set of {len(self.entries)}")
        while bitmap:
            lowest = bitmap & -bitmap
            yield lowest.bit_length() - 1
            bitmap ^= lowest

    def stake_of(self, bitmap: int) -> int:
        """Lamports staked by the validators in a bitmap. ValueError when it has a bit beyond the set."""
        return sum(self.entries[index].stake_lamports for index in self.indices(bitmap))

    def is_quorum(self, bitmap: int) -> bool:
        return 3 * self.stake_of(bitmap) >= 2 * self.total_stake


def bitmap_to_bytes(bitmap: int) -> bytes:
    """32 bytes; bit i of byte i // 8, least significant first, is validator i."""
    if not 0 <= bitmap < 1 << (8 * BITMAP_BYTES):
        raise ValueError(f"a bitmap has {8 * BITMAP_BYTES} bits")
    return bitmap.to_bytes(BITMAP_BYTES, "little")


def bytes_to_bitmap(data: bytes) -> int:
    return int.from_bytes(fixed("bitmap", data, BITMAP_BYTES), "little")
