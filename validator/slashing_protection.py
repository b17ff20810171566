"""Remembers what this BLS key has attested, so that it never signs two checkpoints of one (epoch, attempt): not after a restart, not from an
old copy, not from a second process, not from a damaged file. The signature leaves only after the row is on disk. After EIP-3076 (slashing
protection interchange).

One SQLite file belongs to one key on one chain. What it says is in votes.py; here is how it is kept: all rows are read each time, must have
the seal that was written with them, and are replaced together.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from settlement import durable
from settlement.signing import Domain
from settlement.tags import fixed
from validator import votes
from validator.votes import Attested, Identity, ProtectionError, Votes

SCHEMA_VERSION = 2
"""SQLite's user_version. 0 had no floor: it was monotone over all epochs. 1 had no seal."""
OLDER_TABLES = ({"identity", "attestations"}, {"identity", "attestations", "floor"})

_FLOOR = "CREATE TABLE floor (epoch INTEGER NOT NULL)"
_SEAL = "CREATE TABLE seal (digest BLOB NOT NULL)"
_SCHEMA = (
    "CREATE TABLE identity (genesis BLOB NOT NULL, program BLOB NOT NULL, public_key BLOB NOT NULL)",
    "CREATE TABLE attestations (epoch INTEGER NOT NULL, attempt INTEGER NOT NULL, digest BLOB, expiry_slot INTEGER NOT NULL,"
    " PRIMARY KEY (epoch, attempt)) WITHOUT ROWID",
    _FLOOR,
    _SEAL,
)


class ProtectionLocked(ProtectionError):
    """Another process holds the database."""


class ProtectionUnwritable(ProtectionError):
    """The disk refused a vote: its signature must not leave."""


class ProtectionDamaged(ProtectionError):
    """The file is not what was written; nothing is signed from it."""


class SlashingProtection:
    """An open database; a context manager. Raises ProtectionLocked, OtherIdentity or ProtectionDamaged instead of opening; the last at any
    later read too."""

    def __init__(self, path: Path, domain: Domain, public_key: bytes) -> None:
        self._path, self._identity = path, Identity.of(domain, public_key)
        path.parent.mkdir(parents=True, exist_ok=True)
        # The shell gives each call its thread; calls never overlap, since signing is one task's work.
        self._db = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
        try:
            self._open()
        except BaseException:
            self._db.close()
            raise

    def _open(self) -> None:
        try:
            # The lock taken by the first transaction is kept until the connection closes.
            self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
            # EXTRA also syncs the folder after the rollback journal is gone: with FULL a power cut could bring the journal, and with it the
            # state before the commit, back.
            self._db.execute("PRAGMA synchronous = EXTRA")
            with self._transaction():
                if self._path.stat().st_size == 0:
                    for statement in _SCHEMA:
                        self._db.execute(statement)
                    self._db.execute(
                        "INSERT INTO identity VALUES (?, ?, ?)",
                        (self._identity.genesis, self._identity.program, self._identity.public_key),
                    )
                    self._db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
                    self._write(Votes())
                else:
                    self._migrate()
                    self._read()
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                raise ProtectionLocked(
                    f"{self._path} is in use by another process: two validators must not share a key"
                ) from error
            raise self._damaged(str(error)) from error
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:  # a damaged schema may stand in an error's text
            raise self._damaged(str(error)) from error

    def _migrate(self) -> None:
        """Brings a file of an older version to this one. What that says cannot be checked: it has no seal."""
        version = int(self._db.execute("PRAGMA user_version").fetchone()[0])
        if version == SCHEMA_VERSION:
            return
        if version not in range(SCHEMA_VERSION):
            raise ProtectionError(
                f"{self._path} was written by a newer version: schema {version}, known {SCHEMA_VERSION}"
            )
        try:
            tables = {name for (name,) in self._db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
            if tables != OLDER_TABLES[version]:
                raise ValueError(f"schema version {version} does not fit its tables {sorted(tables)}")
            (identity,) = self._db.execute("SELECT genesis, program, public_key FROM identity").fetchall()
            rows = self._rows()
            if version == 0:
                # What this version imported may have been the newest vote alone, so nothing before it may become possible again.
                floor = max((vote.epoch for vote in rows), default=1) - 1
            else:
                ((floor,),) = self._db.execute("SELECT epoch FROM floor").fetchall()
        except (sqlite3.DatabaseError, ValueError, TypeError) as error:
            raise self._damaged(str(error)) from error
        Identity(*identity).must_be(self._identity, self._path)
        if version == 0:
            self._db.execute(_FLOOR)
        self._db.execute(_SEAL)
        self._db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        self._write(Votes(floor, rows).above(floor))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN EXCLUSIVE")
        try:
            yield
            durable.reached(durable.COMMITTING, self._path)
            self._db.execute("COMMIT")
        except BaseException as error:
            if self._db.in_transaction:  # a full disk may have ended it already
                self._db.execute("ROLLBACK")
            if isinstance(error, sqlite3.OperationalError) and "locked" not in str(error):
                raise ProtectionUnwritable(f"{self._path} cannot be written: {error}") from error
            if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
                raise self._damaged(str(error)) from error
            raise
        durable.reached(durable.COMMITTED, self._path)

    def __enter__(self) -> SlashingProtection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._db.close()

    # -- rows ------------------------------------------------------------------------------------------------------

    def _rows(self) -> tuple[Attested, ...]:
        rows = self._db.execute("SELECT epoch, attempt, digest, expiry_slot FROM attestations ORDER BY epoch, attempt")
        return tuple(Attested(*row) for row in rows)

    def _read(self) -> Votes:
        """All that is in the file. ProtectionDamaged unless it has its seal, OtherIdentity when it is another's."""
        try:
            (identity,) = self._db.execute("SELECT genesis, program, public_key FROM identity").fetchall()
            ((floor,),) = self._db.execute("SELECT epoch FROM floor").fetchall()
            ((seal,),) = self._db.execute("SELECT digest FROM seal").fetchall()
            found, whose = Votes(floor, self._rows()), Identity(*identity)
        except (sqlite3.DatabaseError, ValueError, TypeError) as error:
            raise self._damaged(str(error)) from error
        if found.seal(whose) != seal:
            raise self._damaged("its rows do not have the checksum that was written with them")
        whose.must_be(self._identity, self._path)
        return found

    def _write(self, now: Votes) -> None:
        for table in ("attestations", "floor", "seal"):
            self._db.execute(f"DELETE FROM {table}")
        self._db.executemany(
            "INSERT INTO attestations VALUES (?, ?, ?, ?)",
            [(vote.epoch, vote.attempt, vote.digest, vote.expiry_slot) for vote in now.given],
        )
        self._db.execute("INSERT INTO floor VALUES (?)", (now.floor,))
        self._db.execute("INSERT INTO seal VALUES (?)", (now.seal(self._identity),))

    def _damaged(self, why: str) -> ProtectionDamaged:
        return ProtectionDamaged(
            f"{self._path} is damaged: {why}. Nothing is signed from it. Move it away and import the newest export of this key"
            " (pouw validator protection import); if there is none, docs/faults.md, For operators, says how to go on"
        )

    # -- votes -----------------------------------------------------------------------------------------------------

    def last(self) -> Attested | None:
        """The newest vote."""
        return self._read().last()

    def last_of(self, epoch: int) -> Attested | None:
        """The vote for the highest attempt of an epoch; None when there is none, or the epoch is not above the floor."""
        return self._read().last_of(epoch)

    @property
    def floor(self) -> int:
        """The epoch up to which nothing is signed any more."""
        return self._read().floor

    def record(self, epoch: int, attempt: int, digest: bytes, expiry_slot: int, *, final_epoch: int = 0) -> None:
        """Makes this vote durable; only after it returns may the signature leave. The same vote again is fine; ProtectionUnwritable when the
        disk refuses.

        `final_epoch` is the last epoch known to be final on L1: the floor rises to it, and what was kept of epochs up to it is forgotten.
        SlashableAttestation when the epoch is not above the floor, a higher attempt of it was attested, or this one with another digest.
        """
        vote = Attested(epoch, attempt, fixed("digest", digest, 32), expiry_slot)
        with self._transaction():
            before = self._read()
            now = before.with_vote(vote, final_epoch)
            if now != before:
                self._write(now)

    def export(self) -> dict[str, Any]:
        """All votes above the floor, and the floor, in an interchange object for another machine."""
        return votes.to_interchange(self._identity, self._read())

    def import_(self, interchange: dict[str, Any]) -> int:
        """Takes over this key's votes and floor from an interchange object (votes.from_interchange); how many votes were new. All or
        nothing."""
        theirs = votes.from_interchange(interchange, self._identity)
        with self._transaction():
            before = self._read()
            merged = before.merged(theirs)
            self._write(merged)
        places = {(vote.epoch, vote.attempt) for vote in before.given}
        return sum((vote.epoch, vote.attempt) not in places for vote in merged.given)
