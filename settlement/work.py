"""The trace of a training task and what its result binds (docs/protocol.md, section 9): entries at the interval boundaries, their root,
and the hashes of metrics and environment."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import rfc8785

from settlement import merkle
from settlement.tags import U64_MAX, fixed

WORK_ENTRY_BYTES = 144
_LAYOUT = struct.Struct("<Q32s32s32s32sd")


@dataclass(frozen=True, slots=True)
class WorkEntry:
    """What stood at one boundary: the step, the state file's sha256, then gradient, batch and loss of the last step before it
    (zeros at boundary 0) and the sha256 of the weights alone."""

    iteration: int
    state_hash: bytes
    gradient_hash: bytes
    batch_hash: bytes
    model_hash: bytes
    loss: float

    def __post_init__(self) -> None:
        if not 0 <= self.iteration <= U64_MAX:
            raise ValueError(f"iteration must be an unsigned integer of 64 bits, got {self.iteration}")
        for name in ("state_hash", "gradient_hash", "batch_hash", "model_hash"):
            fixed(name, getattr(self, name), 32)

    def encode(self) -> bytes:
        """144 bytes, little-endian. Two losses are equal when these bytes are: 0.0 and -0.0 differ."""
        return _LAYOUT.pack(
            self.iteration, self.state_hash, self.gradient_hash, self.batch_hash, self.model_hash, self.loss
        )

    @classmethod
    def decode(cls, data: bytes) -> WorkEntry:
        return cls(*_LAYOUT.unpack(fixed("work entry", data, WORK_ENTRY_BYTES)))


def decode_entries(data: bytes) -> list[WorkEntry]:
    """The entries in a blob of them, back to back. ValueError when its length is no multiple of 144."""
    if len(data) % WORK_ENTRY_BYTES:
        raise ValueError(f"work entries have {WORK_ENTRY_BYTES} bytes each, got {len(data)} in all")
    return [WorkEntry.decode(data[start : start + WORK_ENTRY_BYTES]) for start in range(0, len(data), WORK_ENTRY_BYTES)]


def work_root(entries: Sequence[WorkEntry]) -> bytes:
    return merkle.root("work-root", [entry.encode() for entry in entries])


def metrics_hash(accuracy: float, loss: float) -> bytes:
    """sha256 of the RFC 8785 form of {"accuracy", "loss"}. ValueError when one is NaN or infinite: such a result cannot be committed."""
    return _canonical_hash({"accuracy": float(accuracy), "loss": float(loss)})


def environment_hash(environment: Mapping[str, Any]) -> bytes:
    """sha256 of the RFC 8785 form of what a result's bits depend on: torch and safetensors version, device class, CPU capability, threads."""
    return _canonical_hash(dict(environment))


def _canonical_hash(value: dict[str, Any]) -> bytes:
    return sha256(rfc8785.dumps(value)).digest()
