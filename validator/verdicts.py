"""What this validator has said of which result: durable, so that a restart neither judges twice nor forgets what it must not let be altered.

One SQLite file. Its rows are read when it is opened and must have the seal, one sha256 over all of them, that was written with the last change;
from then on what was read and written counts, not what a disk makes of it.
"""

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from settlement import durable
from settlement.ledger import State, TaskStatus
from validator.claim import Judgement

SETTLED = (TaskStatus.PAID, TaskStatus.REFUNDED, TaskStatus.HELD, TaskStatus.STRUCK)
SCHEMA_VERSION = 1
"""SQLite's user_version. 0 had no seal."""

_JUDGEMENTS = """
CREATE TABLE IF NOT EXISTS judgements (
    task_id BLOB NOT NULL, result_hash BLOB NOT NULL, commitment BLOB NOT NULL, judgement TEXT NOT NULL,
    PRIMARY KEY (task_id, result_hash)
) WITHOUT ROWID
"""
_SEAL = "CREATE TABLE seal (digest BLOB NOT NULL)"

Key = tuple[bytes, bytes]
"""Task id and result hash."""
Rows = dict[Key, tuple[bytes, str]]
"""Commitment and judgement, in JSON, by key."""


class VerdictsError(Exception):
    """The database of verdicts cannot be used."""


class VerdictsUnwritable(VerdictsError):
    """The disk refused a judgement: it must not be sent yet."""


class VerdictsDamaged(VerdictsError):
    """The file is not what was written; no batch is judged by it."""


class Verdicts(Mapping[Key, Judgement]):
    """The last judgement by (task id, result hash), 32 bytes each. Raises VerdictsDamaged instead of opening."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            self._rows = self._open()
        except BaseException:
            self._db.close()
            raise

    def _open(self) -> Rows:
        is_new = self._path.stat().st_size == 0
        try:
            self._db.execute("PRAGMA synchronous = EXTRA")
            with self._transaction():
                ((version,),) = self._db.execute("PRAGMA user_version").fetchall()
                if version > SCHEMA_VERSION:
                    raise VerdictsError(f"{self._path} was written by a newer version: schema {version}")
                if version < SCHEMA_VERSION:
                    self._db.execute(_JUDGEMENTS)
                    self._db.execute(_SEAL)
                    self._db.execute("INSERT INTO seal VALUES (?)", (_seal(self._read()),))
                    self._db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
                rows = self._read()
                ((seal,),) = self._db.execute("SELECT digest FROM seal").fetchall()
            is_whole = seal == _seal(rows)
        except VerdictsUnwritable:
            if is_new:
                raise
            raise self._damaged("SQLite cannot read it") from None
        except (sqlite3.DatabaseError, ValueError, TypeError, KeyError) as error:
            raise self._damaged(str(error)) from error
        if not is_whole:
            raise self._damaged("its rows do not have the checksum that was written with them")
        return rows

    def _read(self) -> Rows:
        found = self._db.execute("SELECT task_id, result_hash, commitment, judgement FROM judgements").fetchall()
        return {
            (task_id, result_hash): (commitment, judgement) for task_id, result_hash, commitment, judgement in found
        }

    def _damaged(self, why: str) -> VerdictsDamaged:
        return VerdictsDamaged(
            f"{self._path} is damaged: {why}. Delete it: the validator then judges anew what is still open"
        )

    def close(self) -> None:
        self._db.close()

    def put(self, task_id: bytes, result_hash: bytes, commitment: bytes, judgement: Judgement) -> None:
        """Replaces what was said before; durable when it returns, VerdictsUnwritable and as before otherwise."""
        said = commitment, json.dumps(judgement.to_json())
        with self._changed(self._rows | {(task_id, result_hash): said}):
            self._db.execute("INSERT OR REPLACE INTO judgements VALUES (?, ?, ?, ?)", (task_id, result_hash, *said))

    def forget_settled(self, finalized: State) -> int:
        """Drops what was said of results whose task is paid, refunded, held or struck in a final state: no batch can hold a vote on it any more.
        Returns how many."""
        settled = [key for key in self if (task := finalized.task(key[0])) is not None and task.status in SETTLED]
        if settled:
            with self._changed({key: said for key, said in self._rows.items() if key not in settled}):
                self._db.executemany("DELETE FROM judgements WHERE task_id = ? AND result_hash = ?", settled)
        return len(settled)

    @contextmanager
    def _changed(self, now: Rows) -> Iterator[None]:
        """To `now`, by what the block executes."""
        durable.reached(durable.COMMITTING, self._path)
        with self._transaction():
            yield
            self._db.execute("UPDATE seal SET digest = ?", (_seal(now),))
        self._rows = now
        durable.reached(durable.COMMITTED, self._path)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:  # a full disk may have ended it already
                    self._db.execute("ROLLBACK")
                raise
        except sqlite3.OperationalError as error:
            raise VerdictsUnwritable(f"{self._path} cannot be written: {error}") from error

    def on(self, task_id: bytes, result_hash: bytes, commitment: bytes) -> Judgement | None:
        """What was said of this result under this commitment: the same result under another one draws another sample."""
        said = self._rows.get((task_id, result_hash))
        return self[task_id, result_hash] if said is not None and said[0] == commitment else None

    def __getitem__(self, key: Key) -> Judgement:
        return Judgement.from_json(json.loads(self._rows[key][1]))

    def __iter__(self) -> Iterator[Key]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)


def _seal(rows: Rows) -> bytes:
    """Binds all of them: 32 bytes."""
    return sha256(repr(sorted(rows.items())).encode()).digest()
