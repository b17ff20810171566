"""Remembers what this BLS key has attested, so that it never signs two checkpoints of one (epoch, attempt): not after a restart, not from an
old copy, not from a second process. The signature leaves only after the row is on disk. After EIP-3076 (slashing protection interchange).

One file belongs to one key on one chain. Within an epoch it only moves forward, attempt by attempt. Epochs that are not final on L1 stay
open, since a fork of L1 may take one back after its successor was attested, and it then needs its next attempt (docs/decisions.md). Up to
the floor, the last epoch known to be final, everything is refused and nothing is kept.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from settlement import durable
from settlement.signing import Domain
from settlement.tags import fixed

INTERCHANGE_VERSION = 2
SCHEMA_VERSION = 1
"""SQLite's user_version. 0 had no floor: it was monotone over all epochs."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS identity (genesis BLOB NOT NULL, program BLOB NOT NULL, public_key BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS attestations (
    epoch INTEGER NOT NULL, attempt INTEGER NOT NULL, digest BLOB, expiry_slot INTEGER NOT NULL, PRIMARY KEY (epoch, attempt)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS floor (epoch INTEGER NOT NULL);
"""


class ProtectionError(Exception):
    """Root of what this module refuses."""


class ProtectionLocked(ProtectionError):
    """Another process holds the database."""


class ProtectionUnwritable(ProtectionError):
    """The disk refused a vote: its signature must not leave."""


class OtherIdentity(ProtectionError):
    """The database or interchange belongs to another chain or key."""


class SlashableAttestation(ProtectionError):
    """Signing this would contradict, or might contradict, what was signed before."""


@dataclass(frozen=True)
class Attested:
    """One vote. `digest` is None where an import knew only that there was one."""

    epoch: int
    attempt: int
    digest: bytes | None
    expiry_slot: int


class SlashingProtection:
    """An open database; a context manager. Raises ProtectionLocked or OtherIdentity instead of opening."""

    def __init__(self, path: Path, domain: Domain, public_key: bytes) -> None:
        self._path, self._domain, self._public_key = path, domain, fixed("BLS public key", bytes(public_key), 48)
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
                for statement in _SCHEMA.split(";"):
                    self._db.execute(statement)
                found = self._db.execute("SELECT genesis, program, public_key FROM identity").fetchone()
                ours = (self._domain.genesis, self._domain.program, self._public_key)
                if found is None:
                    self._db.execute("INSERT INTO identity VALUES (?, ?, ?)", ours)
                else:
                    self._check_identity(dict(zip(("genesis", "program", "public_key"), found, strict=True)))
                self._migrate()
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                raise ProtectionLocked(
                    f"{self._path} is in use by another process: two validators must not share a key"
                ) from error
            raise

    def _migrate(self) -> None:
        version = int(self._db.execute("PRAGMA user_version").fetchone()[0])
        if version > SCHEMA_VERSION:
            raise ProtectionError(
                f"{self._path} was written by a newer version: schema {version}, known {SCHEMA_VERSION}"
            )
        if version == SCHEMA_VERSION:
            return
        # What an older version imported may have been the newest vote alone, so nothing before it may become possible again.
        last = self.last()
        self._db.execute("INSERT INTO floor VALUES (?)", (last.epoch - 1 if last else 0,))
        self._db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def _check_identity(self, found: dict[str, bytes]) -> None:
        ours = {"genesis": self._domain.genesis, "program": self._domain.program, "public_key": self._public_key}
        for name, value in ours.items():
            if found[name] != value:
                raise OtherIdentity(f"{self._path}: {name} is {found[name].hex()}, this validator's is {value.hex()}")

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
            raise
        durable.reached(durable.COMMITTED, self._path)

    def __enter__(self) -> "SlashingProtection":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._db.close()

    def last(self) -> Attested | None:
        """The newest vote."""
        row = self._db.execute(
            "SELECT epoch, attempt, digest, expiry_slot FROM attestations ORDER BY epoch DESC, attempt DESC LIMIT 1"
        ).fetchone()
        return None if row is None else Attested(*row)

    def last_of(self, epoch: int) -> Attested | None:
        """The vote for the highest attempt of an epoch; None when there is none, or the epoch is not above the floor."""
        row = self._db.execute(
            "SELECT epoch, attempt, digest, expiry_slot FROM attestations WHERE epoch = ? ORDER BY attempt DESC LIMIT 1",
            (epoch,),
        ).fetchone()
        return None if row is None else Attested(*row)

    @property
    def floor(self) -> int:
        """The epoch up to which nothing is signed any more."""
        return int(self._db.execute("SELECT epoch FROM floor").fetchone()[0])

    def record(self, epoch: int, attempt: int, digest: bytes, expiry_slot: int, *, final_epoch: int = 0) -> None:
        """Makes this vote durable; only after it returns may the signature leave. The same vote again is fine; ProtectionUnwritable when the
        disk refuses.

        `final_epoch` is the last epoch known to be final on L1: the floor rises to it, and what was kept of epochs up to it is forgotten.
        SlashableAttestation when the epoch is not above the floor, a higher attempt of it was attested, or this one with another digest.
        """
        fixed("digest", digest, 32)
        with self._transaction():
            floor = max(self.floor, final_epoch)
            if epoch <= floor:
                raise SlashableAttestation(
                    f"epoch {epoch} is not above epoch {floor}, up to which nothing is signed any more"
                )
            last = self.last_of(epoch)
            if last is not None and attempt < last.attempt:
                raise SlashableAttestation(
                    f"epoch {epoch} attempt {attempt} is older than attempt {last.attempt}, already attested"
                )
            if last is not None and attempt == last.attempt:
                if last.digest != digest:
                    known = "something unknown" if last.digest is None else last.digest.hex()
                    raise SlashableAttestation(
                        f"epoch {epoch} attempt {attempt}: attested {known}, asked to attest {digest.hex()}"
                    )
                return
            self._db.execute("INSERT INTO attestations VALUES (?, ?, ?, ?)", (epoch, attempt, digest, expiry_slot))
            self._raise_floor(floor)

    def _raise_floor(self, floor: int) -> None:
        self._db.execute("UPDATE floor SET epoch = max(epoch, ?)", (floor,))
        self._db.execute("DELETE FROM attestations WHERE epoch <= (SELECT epoch FROM floor)")

    def export(self) -> dict[str, Any]:
        """All votes above the floor, and the floor, in an interchange object for another machine: complete in the sense of EIP-3076."""
        rows = self._db.execute("SELECT epoch, attempt, digest, expiry_slot FROM attestations ORDER BY epoch, attempt")
        return {
            "metadata": {
                "interchange_format_version": INTERCHANGE_VERSION,
                "genesis": self._domain.genesis.hex(),
                "program": self._domain.program.hex(),
            },
            "data": [
                {
                    "public_key": self._public_key.hex(),
                    "floor_epoch": self.floor,
                    "signed_attestations": [
                        {"epoch": epoch, "attempt": attempt, "digest": digest and digest.hex(), "expiry_slot": expiry}
                        for epoch, attempt, digest, expiry in rows
                    ],
                }
            ],
        }

    def import_(self, interchange: dict[str, Any]) -> int:
        """Takes over this key's votes and floor from an interchange object; how many votes were new. All or nothing.

        Version 1 names no floor and may hold the newest vote alone, so the epochs before that vote are closed with it. OtherIdentity when
        it is of another chain or holds nothing of this key; ProtectionError when it is malformed; of two digests for one (epoch, attempt)
        neither can be signed again.
        """
        try:
            metadata = interchange["metadata"]
            version = metadata["interchange_format_version"]
            if version not in (1, INTERCHANGE_VERSION):
                raise ProtectionError(f"interchange version {version}, must be 1 or {INTERCHANGE_VERSION}")
            ours = [part for part in interchange["data"] if part["public_key"] == self._public_key.hex()]
            self._check_identity(
                {
                    "genesis": bytes.fromhex(metadata["genesis"]),
                    "program": bytes.fromhex(metadata["program"]),
                    "public_key": self._public_key,
                }
            )
            if not ours:
                raise OtherIdentity(f"the interchange holds nothing of key {self._public_key.hex()}")
            rows = [_row(raw) for part in ours for raw in part["signed_attestations"]]
            newest = max((vote.epoch for vote in rows), default=1)
            floor = newest - 1 if version == 1 else max(_natural(part, "floor_epoch") for part in ours)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise ProtectionError(f"the interchange is malformed: {error!r}") from error
        before = self._count()
        with self._transaction():
            for vote in rows:
                self._db.execute(
                    "INSERT INTO attestations VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
                    " digest = CASE WHEN digest IS excluded.digest THEN digest END, expiry_slot = max(expiry_slot, excluded.expiry_slot)",
                    (vote.epoch, vote.attempt, vote.digest, vote.expiry_slot),
                )
            added = self._count() - before
            self._raise_floor(floor)
        return added

    def _count(self) -> int:
        return int(self._db.execute("SELECT count(*) FROM attestations").fetchone()[0])


def _row(raw: dict[str, Any]) -> Attested:
    epoch, attempt, expiry_slot = (_natural(raw, name) for name in ("epoch", "attempt", "expiry_slot"))
    digest = None if raw["digest"] is None else fixed("digest", bytes.fromhex(raw["digest"]), 32)
    return Attested(epoch, attempt, digest, expiry_slot)


def _natural(raw: dict[str, Any], name: str) -> int:
    value = raw[name]
    if type(value) is not int or not 0 <= value < 2**63:
        raise ValueError(f"{name} must be an integer from 0 to 2^63 - 1, got {str(value)[:24]}")
    return value
