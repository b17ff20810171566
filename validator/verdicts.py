"""What this validator has said of which result: durable, so that a restart neither judges twice nor forgets what it must not let be altered."""

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from settlement import durable
from settlement.ledger import State, TaskStatus
from validator.claim import Judgement

SETTLED = (TaskStatus.PAID, TaskStatus.REFUNDED)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS judgements (
    task_id BLOB NOT NULL, result_hash BLOB NOT NULL, commitment BLOB NOT NULL, judgement TEXT NOT NULL,
    PRIMARY KEY (task_id, result_hash)
) WITHOUT ROWID
"""


class VerdictsUnwritable(Exception):
    """The disk refused a judgement: it must not be sent yet."""


class Verdicts(Mapping[tuple[bytes, bytes], Judgement]):
    """The last judgement by (task id, result hash), 32 bytes each."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA synchronous = EXTRA")
        self._db.execute(_SCHEMA)

    def close(self) -> None:
        self._db.close()

    def put(self, task_id: bytes, result_hash: bytes, commitment: bytes, judgement: Judgement) -> None:
        """Replaces what was said before; durable when it returns, VerdictsUnwritable and as before otherwise."""
        row = (task_id, result_hash, commitment, json.dumps(judgement.to_json()))
        self._write("INSERT OR REPLACE INTO judgements VALUES (?, ?, ?, ?)", [row])

    def forget_settled(self, finalized: State) -> int:
        """Drops what was said of results whose task is paid or refunded in a final state: no batch can hold a vote on it any more.
        Returns how many."""
        settled = [key for key in self if (task := finalized.task(key[0])) is not None and task.status in SETTLED]
        if settled:
            self._write("DELETE FROM judgements WHERE task_id = ? AND result_hash = ?", settled)
        return len(settled)

    def _write(self, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
        durable.reached(durable.COMMITTING, self._path)
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                self._db.executemany(statement, rows)
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
        except sqlite3.OperationalError as error:
            raise VerdictsUnwritable(f"{self._path} cannot be written: {error}") from error
        durable.reached(durable.COMMITTED, self._path)

    def on(self, task_id: bytes, result_hash: bytes, commitment: bytes) -> Judgement | None:
        """What was said of this result under this commitment: the same result under another one draws another sample."""
        row = self._db.execute(
            "SELECT judgement FROM judgements WHERE task_id = ? AND result_hash = ? AND commitment = ?",
            (task_id, result_hash, commitment),
        ).fetchone()
        return None if row is None else Judgement.from_json(json.loads(row[0]))

    def __getitem__(self, key: tuple[bytes, bytes]) -> Judgement:
        row = self._db.execute("SELECT judgement FROM judgements WHERE task_id = ? AND result_hash = ?", key).fetchone()
        if row is None:
            raise KeyError(key)
        return Judgement.from_json(json.loads(row[0]))

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        return iter(self._db.execute("SELECT task_id, result_hash FROM judgements").fetchall())

    def __len__(self) -> int:
        return int(self._db.execute("SELECT count(*) FROM judgements").fetchone()[0])
