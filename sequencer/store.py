"""Where the node keeps what it must not lose: ordered bytes under keys, changed only by whole write batches.

A batch is either there entirely or not at all, and it is on the disk (fsync of the write-ahead log) before commit() returns: nothing is
acknowledged earlier. Every value carries a checksum over its own key and bytes, so a torn, corrupted or misplaced value is refused by
the name of its key when the node starts. Nothing is repaired by guessing.

    Exception
    └── StoreError
        ├── StoreCorruption    a value does not carry its checksum; the message names the key
        └── StoreUnwritable    a write failed (disk full, device error): nothing of the batch was acknowledged
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any, Protocol

from rocksdict import DBRecoveryMode, Options, Rdict, WriteBatch, WriteOptions

CHECKSUM_BYTES = 16


class StoreError(Exception):
    """The store could not do what was asked."""


class StoreCorruption(StoreError):
    """A stored value is not what was written."""


class StoreUnwritable(StoreError):
    """A write batch could not be made durable."""


class Store(Protocol):
    """An ordered key–value store with atomic, durable batches."""

    def get(self, key: bytes) -> bytes | None: ...

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """All pairs whose key starts with `prefix`, in the order of their keys."""
        ...

    def commit(self, writes: Mapping[bytes, bytes | None]) -> None:
        """Puts every value (None deletes) in one atomic batch; on return it is on the disk. StoreUnwritable otherwise."""
        ...

    def close(self) -> None: ...


def _checksum(key: bytes, value: bytes) -> bytes:
    return blake2b(
        len(key).to_bytes(4, "little") + key + value, digest_size=CHECKSUM_BYTES, person=b"pouw-store"
    ).digest()


def seal(key: bytes, value: bytes) -> bytes:
    """The stored form of a value: its checksum, bound to the key, before it."""
    return _checksum(key, value) + value


def unseal(key: bytes, stored: bytes) -> bytes:
    """The value in its stored form. StoreCorruption naming the key when the checksum is not that of key and value."""
    if len(stored) < CHECKSUM_BYTES or _checksum(key, stored[CHECKSUM_BYTES:]) != stored[:CHECKSUM_BYTES]:
        raise StoreCorruption(f"the record under key {key!r} is torn or corrupt: its checksum does not match")
    return stored[CHECKSUM_BYTES:]


class RocksStore:
    """The store on one machine's disk: RocksDB, opened by one process at a time."""

    def __init__(self, path: Path) -> None:
        options = Options(raw_mode=True)
        options.create_if_missing(True)
        options.set_paranoid_checks(True)
        # A torn tail of the log is a batch that was never acknowledged; damage before the tail is not, and is refused.
        options.set_wal_recovery_mode(DBRecoveryMode.tolerate_corrupted_tail_records())
        self._path = path
        try:
            self._db = Rdict(str(path), options)
        except Exception as error:  # rocksdict raises bare Exceptions
            kind = StoreCorruption if "Corruption" in str(error) else StoreError
            raise kind(f"the database {path} cannot be opened: {error}") from error
        self._durable = WriteOptions()
        self._durable.sync = True

    def get(self, key: bytes) -> bytes | None:
        try:
            stored = self._db.get(key)
        except Exception as error:
            raise StoreCorruption(f"the record under key {key!r} cannot be read: {error}") from error
        return None if stored is None else unseal(key, stored)

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        try:
            pairs: Iterator[tuple[Any, bytes]] = self._db.items(from_key=prefix)
            for key, stored in pairs:
                if not key.startswith(prefix):
                    return
                yield key, unseal(key, stored)
        except StoreError:
            raise
        except Exception as error:
            raise StoreCorruption(f"the records from key {prefix!r} on cannot be read: {error}") from error

    def commit(self, writes: Mapping[bytes, bytes | None]) -> None:
        batch = WriteBatch(raw_mode=True)
        for key, value in writes.items():
            if value is None:
                batch.delete(key)
            else:
                batch.put(key, seal(key, value))
        try:
            self._db.write(batch, self._durable)
        except Exception as error:
            raise StoreUnwritable(f"the database {self._path} refused a write: {error}") from error

    def close(self) -> None:
        self._db.close()
