"""Content-addressed files: what is too large for a record, named by its sha256.

A blob is streamed into a temporary file, hashed on the way, fsynced and renamed; before that nobody can see it, so a name that exists
always has its bytes. A file that its disk has damaged since is found when it is first asked for, put aside, and missing: the same bytes may
then be uploaded again. File names are built from checked hex alone.
"""

from __future__ import annotations

import contextlib
import re
import secrets
from collections.abc import AsyncIterator, Iterable
from hashlib import file_digest, sha256
from pathlib import Path

import structlog
import trio

from sequencer.store import StoreUnwritable
from settlement import durable

log = structlog.get_logger(__name__)

HEX_SHA256 = re.compile(r"[0-9a-f]{64}\Z")
MAX_REMEMBERED = 10_000
"""Blobs that are known to be undamaged; beyond that they are hashed again."""


class BlobRefused(Exception):
    """The bytes are not those that were announced; the message says in what."""


class BlobStore:
    """Blobs under one directory, two levels deep; beside them `incoming`, emptied at each start, and `damaged`, which a person may look at."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._incoming, self._damaged = root / "incoming", root / "damaged"
        self._incoming.mkdir(parents=True, exist_ok=True)
        for left_over in self._incoming.iterdir():
            left_over.unlink()
        self._seen_whole: dict[Path, tuple[int, int, int]] = {}
        self._asked: set[str] = set()

    def path(self, digest_hex: str) -> Path:
        if not HEX_SHA256.match(digest_hex):
            raise ValueError(f"{digest_hex!r} is no sha256 in lower-case hex")
        return self._root / digest_hex[:2] / digest_hex

    def has(self, digest: bytes) -> bool:
        return self.path(digest.hex()).is_file()

    def missing(self, digests: Iterable[bytes]) -> list[str]:
        """Those of the digests that have no blob here, in hex, each once."""
        digests = list(digests)
        self._asked.update(digest.hex() for digest in digests)
        return [digest.hex() for digest in dict.fromkeys(digests) if not self.has(digest)]

    def size(self, digest_hex: str) -> int | None:
        try:
            return self.path(digest_hex).stat().st_size
        except FileNotFoundError:
            return None

    def whole(self, digest_hex: str) -> Path | None:
        """The file of a blob that is here and undamaged, None otherwise; a damaged one is put aside. Hashes it once a process."""
        path = self.path(digest_hex)
        self._asked.add(digest_hex)
        try:
            found = path.stat()
            identity = (found.st_ino, found.st_size, found.st_mtime_ns)
            if self._seen_whole.get(path) == identity:
                return path
            with path.open("rb") as file:
                digest = file_digest(file, "sha256").hexdigest()
        except FileNotFoundError:
            return None
        if digest != digest_hex:
            self._put_aside(path)
            return None
        if len(self._seen_whole) >= MAX_REMEMBERED:
            self._seen_whole.clear()
        self._seen_whole[path] = identity
        return path

    def names(self) -> list[str]:
        """All blobs that are here."""
        return [path.name for path in self._root.glob("[0-9a-f][0-9a-f]/*")]

    def take_asked(self) -> set[str]:
        """The names that were asked for since the last call, here or not."""
        asked, self._asked = self._asked, set()
        return asked

    def remove(self, digest_hex: str) -> None:
        """Nobody needs it any more. A crash may bring it back; then it is removed again."""
        path = self.path(digest_hex)
        path.unlink(missing_ok=True)
        self._seen_whole.pop(path, None)

    def read(self, digest: bytes, limit_bytes: int) -> bytes:
        """The blob's bytes. FileNotFoundError, or BlobRefused when it is longer than `limit_bytes` or its file was damaged."""
        path = self.path(digest.hex())
        if path.stat().st_size > limit_bytes:
            raise BlobRefused(f"blob {digest.hex()} has more than {limit_bytes} bytes")
        data = path.read_bytes()
        if sha256(data).digest() != digest:
            self._put_aside(path)
            raise BlobRefused(f"blob {digest.hex()} was damaged on this node's disk; upload it again")
        return data

    def write(self, data: bytes) -> bytes:
        """Stores bytes of the node's own; returns their sha256. StoreUnwritable when the disk refuses."""
        digest = sha256(data).digest()
        if self.whole(digest.hex()) is None:
            target = self.path(digest.hex())
            try:
                self._make_folder(target)
                durable.write(self._incoming / secrets.token_hex(16), target, data)
            except OSError as error:
                raise StoreUnwritable(f"a blob could not be written: {error.strerror}") from error
        return digest

    async def receive(self, digest_hex: str, length: int, chunks: AsyncIterator[bytes]) -> None:
        """Takes exactly `length` bytes of this sha256 from `chunks`. BlobRefused when they are others, StoreUnwritable when the disk refuses;
        nothing is kept then."""
        target = self.path(digest_hex)
        temporary = self._incoming / secrets.token_hex(16)
        hasher, received = sha256(), 0
        durable.reached(durable.WRITING, temporary)
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
            await trio.to_thread.run_sync(self._publish, temporary, target)
        except OSError as error:
            raise StoreUnwritable(f"the blob could not be written: {error.strerror}") from error
        finally:
            temporary.unlink(missing_ok=True)

    def _publish(self, temporary: Path, target: Path) -> None:
        durable.sync_file(temporary)
        self._make_folder(target)
        durable.publish(temporary, target)

    def _make_folder(self, target: Path) -> None:
        if not target.parent.is_dir():
            target.parent.mkdir(exist_ok=True)
            durable.sync_folder(self._root)

    def _put_aside(self, path: Path) -> None:
        log.error("a blob was damaged on the disk and is put aside", blob=path.name, folder=str(self._damaged))
        self._damaged.mkdir(exist_ok=True)
        with contextlib.suppress(FileNotFoundError):  # two readers may find it at once
            path.rename(self._damaged / path.name)
