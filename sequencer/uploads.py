"""What accounts have uploaded and no task uses yet: each may have so many bytes of it, so that nobody fills the disk for others.

A blob is pending from its upload on until a submission or a result names it. What stays pending is removed by the sweep (sweep.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sequencer import database as db
from sequencer.rows import UploadRow


class QuotaExceeded(Exception):
    """The account has too many bytes pending; the message says how many, and what ends that."""


class Uploads:
    """The rows of pending blobs by digest, and their sum by account; changed by transactions only."""

    def __init__(self, rows: Iterable[tuple[bytes, UploadRow]] = ()) -> None:
        self._rows: dict[bytes, UploadRow] = {}
        self._bytes: dict[bytes, int] = {}
        for digest, row in rows:
            self._add(digest, row)

    def __iter__(self) -> Iterator[bytes]:
        return iter(list(self._rows))

    def pending_bytes(self, owner: bytes) -> int:
        return self._bytes.get(owner, 0)

    def begin(self, tx: db.Transaction, owner: bytes, digest: bytes, length: int, quota_bytes: int) -> None:
        """The account is about to upload these bytes. QuotaExceeded when they are too many; another's upload of the same is its own affair."""
        known = self._rows.get(digest)
        if known is not None and known.owner != owner:
            return
        pending = self.pending_bytes(owner) - (known.length if known else 0)
        if pending + length > quota_bytes:
            raise QuotaExceeded(
                f"this account has {pending} bytes of blobs that no task uses; with {length} more it would be over {quota_bytes}: "
                "submit or reveal what they are for, or wait until they are removed"
            )
        row = UploadRow(owner=owner, length=length)
        tx.put(db.UPLOADS, digest, row)
        tx.after(lambda: self._add(digest, row))

    def end(self, tx: db.Transaction, digests: Iterable[bytes]) -> None:
        """A task uses them now, or they are gone: they weigh on nobody."""
        for digest in dict.fromkeys(digests):
            if digest in self._rows:
                tx.delete(db.UPLOADS, digest)
                tx.after(lambda digest=digest: self._drop(digest))  # type: ignore[misc]

    def _add(self, digest: bytes, row: UploadRow) -> None:
        self._drop(digest)
        self._rows[digest] = row
        self._bytes[row.owner] = self._bytes.get(row.owner, 0) + row.length

    def _drop(self, digest: bytes) -> None:
        row = self._rows.pop(digest, None)
        if row is not None:
            self._bytes[row.owner] -= row.length
            if not self._bytes[row.owner]:
                del self._bytes[row.owner]
