"""The batches that this validator signed or followed, until they are final: what it needs to answer a demand when the sequencer does not, and to
go on after a restart without asking for them again.

One file an epoch and hash, written whole and synced before the signature leaves (settlement/durable.py), with a checksum over all of it. A
damaged file counts as none.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import structlog

from settlement import durable
from settlement.tags import u32le

_LOG: structlog.stdlib.BoundLogger = structlog.get_logger(room="validator")
_HASH_BYTES = 32
_INCOMING = "incoming"


class BatchesUnwritable(Exception):
    """The disk refused a batch: it must not be signed yet."""


@dataclass(frozen=True)
class Kept:
    """The bytes under a checkpoint's data root, and the state roots under its trace root."""

    data: bytes
    trace: tuple[bytes, ...]

    def encode(self) -> bytes:
        body = u32le(len(self.trace)) + b"".join(self.trace) + self.data
        return sha256(body).digest() + body

    @classmethod
    def decode(cls, raw: bytes) -> Kept:
        """ValueError for bytes that are not those of encode()."""
        checksum, body = raw[:_HASH_BYTES], raw[_HASH_BYTES:]
        if sha256(body).digest() != checksum or len(body) < 4:
            raise ValueError("its checksum is wrong")
        border = 4 + _HASH_BYTES * int.from_bytes(body[:4], "little")
        trace = tuple(body[at : at + _HASH_BYTES] for at in range(4, border, _HASH_BYTES))
        return cls(body[border:], trace)


class Batches:
    """One folder. Files are small in number: the epochs of a challenge window, and attempts that were given up meanwhile."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        (folder / _INCOMING).unlink(missing_ok=True)

    def keep(self, epoch: int, checkpoint_hash: bytes, data: bytes, trace: tuple[bytes, ...]) -> None:
        """Durable when it returns; BatchesUnwritable when the disk refuses. What is kept already is not written again."""
        target = self._path(epoch, checkpoint_hash)
        if target.exists() and self.of(checkpoint_hash) is not None:
            return
        try:
            durable.write(self._folder / _INCOMING, target, Kept(data, trace).encode())
        except OSError as error:
            raise BatchesUnwritable(f"{target} cannot be written: {error.strerror}") from error

    def of(self, checkpoint_hash: bytes) -> Kept | None:
        """What is kept of a checkpoint; None, and the file is put away, when it is damaged."""
        for path in self._folder.glob(f"*-{checkpoint_hash.hex()}"):
            try:
                return Kept.decode(path.read_bytes())
            except (OSError, ValueError) as error:
                _LOG.error("a kept batch is damaged", file=str(path), error=str(error))
                path.unlink(missing_ok=True)
        return None

    def forget_until(self, final_epoch: int) -> int:
        """Drops what is of epochs up to a final one; how many. By number, since after a restart nobody knows the hashes of what comes."""
        old = [path for path in self._folder.glob("*-*") if int(path.name.partition("-")[0]) <= final_epoch]
        for path in old:
            path.unlink(missing_ok=True)
        return len(old)

    def _path(self, epoch: int, checkpoint_hash: bytes) -> Path:
        return self._folder / f"{epoch}-{checkpoint_hash.hex()}"
