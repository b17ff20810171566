"""Content-addressed files: what is too large for a record, named by its sha256.

A blob is streamed into a temporary file, hashed on the way, fsynced and renamed; before that nobody can see it, so a name that exists
always has its bytes. File names are built from checked hex alone.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import AsyncIterator, Iterable
from hashlib import sha256
from pathlib import Path

import trio

HEX_SHA256 = re.compile(r"[0-9a-f]{64}\Z")


class BlobRefused(Exception):
    """The bytes are not those that were announced; the message says in what."""


class BlobStore:
    """Blobs under one directory, two levels deep."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._incoming = root / "incoming"
        self._incoming.mkdir(parents=True, exist_ok=True)
        for left_over in self._incoming.iterdir():
            left_over.unlink()

    def path(self, digest_hex: str) -> Path:
        if not HEX_SHA256.match(digest_hex):
            raise ValueError(f"{digest_hex!r} is no sha256 in lower-case hex")
        return self._root / digest_hex[:2] / digest_hex

    def has(self, digest: bytes) -> bool:
        return self.path(digest.hex()).is_file()

    def missing(self, digests: Iterable[bytes]) -> list[str]:
        """Those of the digests that have no blob here, in hex, each once."""
        return [digest.hex() for digest in dict.fromkeys(digests) if not self.has(digest)]

    def size(self, digest_hex: str) -> int | None:
        try:
            return self.path(digest_hex).stat().st_size
        except FileNotFoundError:
            return None

    def read(self, digest: bytes, limit_bytes: int) -> bytes:
        """The blob's bytes. FileNotFoundError, or BlobRefused when it is longer than `limit_bytes` or its file was damaged."""
        path = self.path(digest.hex())
        if path.stat().st_size > limit_bytes:
            raise BlobRefused(f"blob {digest.hex()} has more than {limit_bytes} bytes")
        data = path.read_bytes()
        if sha256(data).digest() != digest:
            raise BlobRefused(f"blob {digest.hex()} is damaged on this node's disk")
        return data

    def write(self, data: bytes) -> bytes:
        """Stores bytes of the node's own; returns their sha256."""
        digest = sha256(data).digest()
        if not self.has(digest):
            temporary = self._incoming / secrets.token_hex(16)
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            self._publish(temporary, self.path(digest.hex()))
        return digest

    async def receive(self, digest_hex: str, length: int, chunks: AsyncIterator[bytes]) -> None:
        """Takes exactly `length` bytes of this sha256 from `chunks`. BlobRefused otherwise, and then nothing is kept."""
        target = self.path(digest_hex)
        temporary = self._incoming / secrets.token_hex(16)
        hasher, received = sha256(), 0
        try:
            async with await trio.open_file(temporary, "wb") as file:
                async for chunk in chunks:
                    received += len(chunk)
                    if received > length:
                        raise BlobRefused(f"the body is longer than its Content-Length of {length} bytes")
                    hasher.update(chunk)
                    await file.write(chunk)
                if received != length:
                    raise BlobRefused(f"the body has {received} bytes, its Content-Length says {length}")
                if hasher.hexdigest() != digest_hex:
                    raise BlobRefused(f"the body's sha256 is {hasher.hexdigest()}, the URL says {digest_hex}")
                await file.flush()
                await trio.to_thread.run_sync(os.fsync, file.wrapped.fileno())
            await trio.to_thread.run_sync(self._publish, temporary, target)
        finally:
            temporary.unlink(missing_ok=True)

    def _publish(self, temporary: Path, target: Path) -> None:
        if not target.parent.is_dir():
            target.parent.mkdir(exist_ok=True)
            _fsync_directory(self._root)
        temporary.rename(target)
        _fsync_directory(target.parent)


def _fsync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
