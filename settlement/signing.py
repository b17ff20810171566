"""ed25519 signatures of Solana keypairs: over records (authorisations) and over RPC calls that become no record.

docs/protocol.md, sections 6 and 10. What is signed is always a 32-byte digest made here, never a caller's bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import rfc8785
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.signature import Signature

from settlement.tags import H, fixed, u64le

AUTHORISATION_BYTES = 104
RECORD_BYTES = 160


@dataclass(frozen=True, slots=True)
class Domain:
    """The chain that a message belongs to: the L1 cluster's genesis hash and the settlement program's id, 32 bytes each."""

    genesis: bytes
    program: bytes

    def __post_init__(self) -> None:
        fixed("genesis", self.genesis, 32)
        fixed("program", self.program, 32)


def node_id(public_key: bytes) -> bytes:
    """First 20 bytes of the sha256 of an ed25519 public key."""
    return sha256(fixed("public key", public_key, 32)).digest()[:20]


def authorisation_digest(domain: Domain, expiry_slot: int, record_bytes: bytes) -> bytes:
    """What the author of a record signs: the record with its time (bytes 2–5) and CRC (the last 4) zeroed.

    Time is the sequencer's to set, so the author cannot sign it; the CRC follows from it.
    """
    fixed("record", record_bytes, RECORD_BYTES)
    blanked = record_bytes[:2] + bytes(4) + record_bytes[6:156] + bytes(4)
    return H("authorisation", domain.genesis, domain.program, u64le(expiry_slot), blanked)


def rpc_digest(domain: Domain, method: str, params: Mapping[str, Any], nonce: int, expiry_slot: int) -> bytes:
    """What is signed for a call that becomes no record. `params` may hold "auth"; it is left out.

    Raises ValueError (rfc8785.CanonicalizationError) when the params have no canonical JSON: NaN, infinities, integers of 2**53 and more.
    """
    bare = {key: value for key, value in params.items() if key != "auth"}
    return H(
        "rpc",
        domain.genesis,
        domain.program,
        sha256(method.encode()).digest(),
        sha256(rfc8785.dumps(bare)).digest(),
        u64le(nonce),
        u64le(expiry_slot),
    )


@dataclass(frozen=True, slots=True)
class Authorisation:
    """Kept beside a record under the data root: public key 32 bytes, expiry slot, ed25519 signature 64 bytes."""

    public_key: bytes
    expiry_slot: int
    signature: bytes

    def __post_init__(self) -> None:
        fixed("public key", self.public_key, 32)
        fixed("signature", self.signature, 64)
        u64le(self.expiry_slot)

    def encode(self) -> bytes:
        return self.public_key + u64le(self.expiry_slot) + self.signature

    @classmethod
    def decode(cls, data: bytes) -> Authorisation:
        fixed("authorisation", data, AUTHORISATION_BYTES)
        return cls(data[:32], int.from_bytes(data[32:40], "little"), data[40:])


EMPTY = Authorisation(bytes(32), 0, bytes(64))
"""Stands beside a record that nobody signs: 104 zero bytes."""


def sign(keypair: Keypair, digest: bytes) -> bytes:
    """64-byte ed25519 signature over a 32-byte digest."""
    return bytes(keypair.sign_message(fixed("digest", digest, 32)))


def verify(public_key: bytes, digest: bytes, signature: bytes) -> bool:
    """Whether `signature` is that of `public_key` over `digest`, by the strict rules that Solana's ed25519 program uses."""
    fixed("digest", digest, 32)
    key = Pubkey.from_bytes(fixed("public key", public_key, 32))
    return Signature.from_bytes(fixed("signature", signature, 64)).verify(key, digest)
