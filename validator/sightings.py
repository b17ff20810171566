"""Signatures of validators on checkpoint messages, as they were seen: durable, each verified before it came here, until they are too old to
matter."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from settlement import durable
from settlement.messages import CheckpointMessage
from settlement.signing import Domain
from settlement.slashing import Evidence

MAX_ATTEMPTS = 256
"""Kept of one key in one epoch: whoever signs many attempts, which is allowed, must not fill the disk."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS votes (
    epoch INTEGER NOT NULL, attempt INTEGER NOT NULL, public_key BLOB NOT NULL, digest BLOB NOT NULL, cut_slot INTEGER NOT NULL,
    set_version INTEGER NOT NULL, set_index INTEGER NOT NULL, message TEXT NOT NULL, signature BLOB NOT NULL,
    PRIMARY KEY (epoch, attempt, public_key, digest)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS reports (
    epoch INTEGER NOT NULL, public_key BLOB NOT NULL, validators INTEGER NOT NULL, PRIMARY KEY (epoch, public_key)
) WITHOUT ROWID;
"""


class SightingsUnwritable(Exception):
    """The disk refused a signature or a report."""


@dataclass(frozen=True)
class Vote:
    """`public_key`'s signature (the compressed BLS key, 48 bytes) on a message, as member `set_index` of set `set_version`."""

    message: CheckpointMessage
    public_key: bytes
    set_version: int
    set_index: int
    signature: bytes

    @property
    def evidence(self) -> Evidence:
        return Evidence(self.message, self.set_version, 1 << self.set_index, self.signature)


@dataclass(frozen=True)
class Report:
    """That a key was reported for an epoch; `validators` is how many the epoch's tally had found then."""

    epoch: int
    public_key: bytes
    validators: int


class Sightings:
    def __init__(self, path: Path, domain: Domain) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._domain = path, domain
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.executescript(_SCHEMA)

    def close(self) -> None:
        self._db.close()

    def wants(self, epoch: int, attempt: int, public_key: bytes, digest: bytes) -> bool:
        """Whether a signature would be new: two of one attempt are enough."""
        found = self._db.execute(
            "SELECT digest FROM votes WHERE epoch = ? AND attempt = ? AND public_key = ?", (epoch, attempt, public_key)
        ).fetchall()
        if found:
            return len(found) < 2 and found[0][0] != digest
        count = self._db.execute(
            "SELECT count(*) FROM votes WHERE epoch = ? AND public_key = ?", (epoch, public_key)
        ).fetchone()
        return bool(count[0] < MAX_ATTEMPTS)

    def add(self, votes: Sequence[Vote]) -> None:
        """Of verified signatures. Durable when it returns, SightingsUnwritable otherwise."""
        rows = [
            (
                vote.message.epoch,
                vote.message.attempt,
                vote.public_key,
                vote.message.hash(self._domain),
                vote.message.cut_slot,
                vote.set_version,
                vote.set_index,
                json.dumps(vote.message.to_json()),
                vote.signature,
            )
            for vote in votes
        ]
        self._write("INSERT OR IGNORE INTO votes VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)

    def of(self, epoch: int, attempt: int) -> list[Vote]:
        return self._votes("WHERE epoch = ? AND attempt = ?", (epoch, attempt))

    def twice(self) -> list[tuple[Vote, Vote]]:
        """Two votes of one key for one attempt, once for each key and epoch that was not reported."""
        rows = self._db.execute(
            "SELECT epoch, public_key, min(attempt) FROM (SELECT epoch, attempt, public_key FROM votes"
            " GROUP BY epoch, attempt, public_key HAVING count(*) > 1) GROUP BY epoch, public_key ORDER BY epoch"
        ).fetchall()
        found = []
        for epoch, public_key, attempt in rows:
            if not self.is_reported(epoch, public_key):
                first, second = self._votes(
                    "WHERE epoch = ? AND attempt = ? AND public_key = ?", (epoch, attempt, public_key)
                )
                found.append((first, second))
        return found

    def is_reported(self, epoch: int, public_key: bytes) -> bool:
        row = self._db.execute(
            "SELECT 1 FROM reports WHERE epoch = ? AND public_key = ?", (epoch, public_key)
        ).fetchone()
        return row is not None

    def reported(self, report: Report) -> None:
        """Replaces what was noted of this key and epoch before."""
        self._write(
            "INSERT OR REPLACE INTO reports VALUES (?, ?, ?)", [(report.epoch, report.public_key, report.validators)]
        )

    @property
    def reports(self) -> list[Report]:
        rows = self._db.execute("SELECT epoch, public_key, validators FROM reports ORDER BY epoch")
        return [Report(*row) for row in rows]

    def forget(self, before_cut_slot: int) -> None:
        """Drops signatures on what was cut before that slot, and reports of epochs of which none is left."""
        if self._db.execute("SELECT 1 FROM votes WHERE cut_slot < ? LIMIT 1", (before_cut_slot,)).fetchone():
            self._write("DELETE FROM votes WHERE cut_slot < ?", [(before_cut_slot,)])
            self._write("DELETE FROM reports WHERE epoch NOT IN (SELECT epoch FROM votes)", [()])

    def _votes(self, where: str, values: tuple[Any, ...]) -> list[Vote]:
        rows = self._db.execute(
            f"SELECT message, public_key, set_version, set_index, signature FROM votes {where} ORDER BY public_key, digest",
            values,
        )
        return [Vote(CheckpointMessage.from_json(json.loads(row[0])), *row[1:]) for row in rows]

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
            raise SightingsUnwritable(f"{self._path} cannot be written: {error}") from error
        durable.reached(durable.COMMITTED, self._path)
