"""Where the node keeps what it must not lose: ordered bytes under keys, changed only by whole write batches.

A batch is either there entirely or not at all, and it is on the disk (fsync of the write-ahead log) before commit() returns: nothing is
acknowledged earlier. Every value carries a checksum over its own key and bytes, and with each batch the sum over all of them is written
anew, so that damage is found when the node starts, and so is a row that is not there. Nothing is repaired by guessing.

    Exception
    └── StoreError
        ├── StoreCorruption    what is stored is not what was written; the message names key or file, and what to do
        ├── StoreUnwritable    a write failed (disk full, device error): nothing of the batch was acknowledged
        └── StoreInUse         another process has it open; the message names it
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, Protocol

import structlog
from rocksdict import AccessType, DBRecoveryMode, Options, Rdict, WriteBatch, WriteOptions

from sequencer import wal
from sequencer.directory_lock import DirectoryInUse, DirectoryLock
from settlement import durable

log = structlog.get_logger(__name__)

CHECKSUM_BYTES = 16
BOOKS_KEY = b"\x00books"
WRITE_BUFFER_BYTES = 8 * 2**20
"""Bounds the write-ahead log, and so what is read at a start and what must be free to recover from a full disk."""
REOPEN_ROOM_BYTES = 2**20
KEPT_TEXT_LOGS = 4
RESTORE = "restore the data directory from a backup; nothing in it was changed"


class StoreError(Exception):
    """The store could not do what was asked."""


class StoreCorruption(StoreError):
    """What is stored is not what was written."""


class StoreUnwritable(StoreError):
    """A write batch could not be made durable."""


class StoreInUse(StoreError):
    """Another process works in the same data directory."""


class Store(Protocol):
    """An ordered key–value store with atomic, durable batches."""

    @property
    def refusal(self) -> str | None:
        """Why nothing can be written at present, or None."""
        ...

    def get(self, key: bytes) -> bytes | None: ...

    def scan(self, prefix: bytes, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """All pairs whose key starts with `prefix`, in the order of their keys, from the key `start` on if it is given."""
        ...

    def audit(self) -> Iterator[tuple[bytes, bytes]]:
        """All pairs; StoreCorruption, at the end at the latest, when they are not exactly those that were committed."""
        ...

    def commit(self, writes: Mapping[bytes, bytes | None]) -> None:
        """Puts every value (None deletes) in one atomic batch; on return it is on the disk. StoreUnwritable otherwise."""
        ...

    def resume(self) -> bool:
        """Whether batches are taken; after a refused one, tries whether there is room again."""
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
        raise StoreCorruption(
            f"the record under key {key!r} is torn or corrupt: its checksum does not match; {RESTORE}"
        )
    return stored[CHECKSUM_BYTES:]


@dataclass(frozen=True)
class Books:
    """How many batches were committed, and the sum modulo 2^128 of the checksums of all rows that are there."""

    commits: int = 0
    total: int = 0

    def encode(self) -> bytes:
        return self.commits.to_bytes(8, "little") + self.total.to_bytes(CHECKSUM_BYTES, "little")

    @classmethod
    def decode(cls, data: bytes) -> Books:
        return cls(int.from_bytes(data[:8], "little"), int.from_bytes(data[8:], "little"))

    def after(self, replaced: Mapping[bytes, bytes | None], stored: Mapping[bytes, bytes | None]) -> Books:
        """After one more batch, which puts `stored` where `replaced` was."""
        change = sum(map(_weight, stored.values())) - sum(map(_weight, replaced.values()))
        return Books(self.commits + 1, (self.total + change) % 2 ** (8 * CHECKSUM_BYTES))


def _weight(stored: bytes | None) -> int:
    return 0 if stored is None else int.from_bytes(stored[:CHECKSUM_BYTES], "little")


class RocksStore:
    """The store on one machine's disk: RocksDB, opened by one process at a time.

    After a refused write it is read-only until `resume` finds room: RocksDB takes no more writes after a failed one, so it is opened anew.
    Beside the folder stand two files: `.lock` with the process id, and `.mark` with the count of batches that were there when it was last
    opened or closed, so that a folder that fell back behind it is found.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._mark, self._probe = (path.with_name(path.name + end) for end in (".mark", ".probe"))
        self._durable = WriteOptions()
        self._durable.sync = True
        self._refusal: str | None = None
        # The last batch tried: what it was to lead to, and what stood in its place.
        self._tried = Books()
        self._replaced: dict[bytes, bytes | None] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._lock = DirectoryLock(path.with_name(path.name + ".lock"), f"the data directory {path.parent}")
        except DirectoryInUse as error:
            raise StoreInUse(str(error)) from error
        try:
            self._check_files()
            self._db = self._open()
            try:
                self._books = self._read_books()
                self._check_mark()
            except BaseException:
                self._db.close()
                raise
        except BaseException:
            self._lock.release()
            raise

    @property
    def refusal(self) -> str | None:
        return self._refusal

    def get(self, key: bytes) -> bytes | None:
        stored = self._raw(key)
        return None if stored is None else unseal(key, stored)

    def scan(self, prefix: bytes, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        for key, stored in self._pairs(start or prefix):
            if not key.startswith(prefix):
                return
            yield key, unseal(key, stored)

    def audit(self) -> Iterator[tuple[bytes, bytes]]:
        total = 0
        for key, stored in self._pairs(b""):
            value = unseal(key, stored)
            if key != BOOKS_KEY:
                total += _weight(stored)
                yield key, value
        if total % 2 ** (8 * CHECKSUM_BYTES) != self._books.total:
            raise StoreCorruption(f"the database {self._path} has lost rows, or old ones are back in it; {RESTORE}")

    def commit(self, writes: Mapping[bytes, bytes | None]) -> None:
        if self._refusal is not None:
            raise StoreUnwritable(self._refusal)
        replaced = {key: self._raw(key) for key in writes}
        stored = {key: None if value is None else seal(key, value) for key, value in writes.items()}
        books = self._books.after(replaced, stored)
        self._tried, self._replaced = books, replaced
        durable.reached(durable.COMMITTING, self._path)
        self._write(stored, books)
        self._books = books
        durable.reached(durable.COMMITTED, self._path)

    def resume(self) -> bool:
        if self._refusal is None:
            return True
        if not self._has_room():
            return False
        with contextlib.suppress(Exception):  # it could not flush: what it holds is in its log, and is read from there
            self._db.close()
        del self._db
        try:
            self._check_files()
            self._db = self._open()
        except StoreCorruption:
            raise
        except StoreError as error:
            log.warning("database not writable yet", error=str(error))
            self._db = self._open(AccessType.read_only())
            return False
        found = self._read_books()
        if found == self._tried:
            # The refused batch had got in after all. Its caller was told that it had not: it is taken back.
            found = Books(found.commits + 1, self._books.total)
            self._write(self._replaced, found)
        elif found.total != self._books.total:
            raise StoreCorruption(f"the database {self._path} came back with other rows than it had; {RESTORE}")
        self._books, self._refusal = found, None
        log.info("database writable again", path=str(self._path))
        return True

    def close(self) -> None:
        """Frees the files. What was committed is on the disk already, so that a full disk is no failure here."""
        with contextlib.suppress(Exception):
            self._db.close()
        with contextlib.suppress(StoreUnwritable):  # the mark may lag behind the database, never lead it
            self._write_mark()
        self._lock.release()

    # -- inside ----------------------------------------------------------------------------------------------------

    def _options(self) -> Options:
        options = Options(raw_mode=True)
        options.create_if_missing(True)
        options.set_paranoid_checks(True)
        options.set_write_buffer_size(WRITE_BUFFER_BYTES)
        options.set_keep_log_file_num(KEPT_TEXT_LOGS)
        # What a crash tore off the log's end was never acknowledged; damage before it is refused, here or by wal.py.
        options.set_wal_recovery_mode(DBRecoveryMode.tolerate_corrupted_tail_records())
        return options

    def _open(self, access: AccessType | None = None) -> Rdict:
        try:
            return Rdict(str(self._path), self._options(), access_type=access or AccessType.read_write())
        except Exception as error:  # rocksdict raises bare Exceptions
            if "Corruption" in str(error) or "No such file" in str(error):
                raise StoreCorruption(f"the database {self._path} is damaged: {error}; {RESTORE}") from error
            raise StoreError(f"the database {self._path} cannot be opened: {error}") from error

    def _check_files(self) -> None:
        if not (self._path / "CURRENT").exists():
            if self._mark.exists():
                raise StoreCorruption(
                    f"the database {self._path} is gone, {self._mark} says that it was there; {RESTORE}"
                )
            return
        logs = sorted(self._path.glob("*.log"))
        if not logs:
            raise StoreCorruption(f"the database {self._path} has no write-ahead log (*.log) any more; {RESTORE}")
        try:
            for path in (*logs, *self._path.glob("MANIFEST-*")):
                wal.audit(path)
        except wal.LogDamaged as error:
            raise StoreCorruption(f"{error}; {RESTORE}") from error

    def _read_books(self) -> Books:
        data = self.get(BOOKS_KEY)
        if data is None and next(self._pairs(b""), None) is not None:
            raise StoreCorruption(f"the database {self._path} has no books: damaged, or of an older version; {RESTORE}")
        return Books() if data is None else Books.decode(data)

    def _check_mark(self) -> None:
        try:
            least = int(self._mark.read_text())
        except FileNotFoundError:
            least = 0
        except ValueError:
            raise StoreCorruption(f"{self._mark} is damaged: it holds no number; {RESTORE}") from None
        if self._books.commits < least:
            raise StoreCorruption(
                f"the database {self._path} has {self._books.commits} batches, there were {least}: it lost the end of a log; {RESTORE}"
            )
        self._write_mark()

    def _write_mark(self) -> None:
        try:
            durable.write(self._probe, self._mark, b"%d\n" % self._books.commits)
        except OSError as error:
            raise StoreUnwritable(f"{self._mark} cannot be written: {error.strerror}") from error

    def _raw(self, key: bytes) -> bytes | None:
        try:
            stored: bytes | None = self._db.get(key)
        except Exception as error:
            raise StoreCorruption(f"the record under key {key!r} cannot be read: {error}; {RESTORE}") from error
        return stored

    def _pairs(self, from_key: bytes) -> Iterator[tuple[bytes, bytes]]:
        try:
            pairs: Iterator[tuple[Any, bytes]] = self._db.items(from_key=from_key)
            yield from pairs
        except Exception as error:
            raise StoreCorruption(f"the records from key {from_key!r} on cannot be read: {error}; {RESTORE}") from error

    def _write(self, stored: Mapping[bytes, bytes | None], books: Books) -> None:
        batch = WriteBatch(raw_mode=True)
        for key, value in (*stored.items(), (BOOKS_KEY, seal(BOOKS_KEY, books.encode()))):
            if value is None:
                batch.delete(key)
            else:
                batch.put(key, value)
        try:
            self._db.write(batch, self._durable)
        except Exception as error:
            self._refusal = f"the database {self._path} refused a write: {error}"
            log.error("read-only", reason=self._refusal)
            raise StoreUnwritable(self._refusal) from error

    def _has_room(self) -> bool:
        """Whether as much can be written as opening the database anew takes: its log again, as a table, and small files."""
        needed = sum(path.stat().st_size for path in self._path.glob("*.log")) + REOPEN_ROOM_BYTES
        try:
            with self._probe.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, needed)
                os.fsync(file.fileno())
        except OSError:
            return False
        finally:
            self._probe.unlink(missing_ok=True)
        return True
