"""What is kept of attempts that were given up: the proposal and who signed it, until their epoch is behind the final one. Whoever signed two of
one attempt can be shown by it (getAttestations); nothing in the node itself reads it."""

from __future__ import annotations

from msgspec.structs import replace

from sequencer import database as db
from sequencer.rows import EpochRow

MAX_ATTEMPTS = 64
"""Kept of one epoch, the last ones: a chain that stands still gives up an attempt every few seconds."""


def keep(tx: db.Transaction, row: EpochRow) -> None:
    """Remembers an attempt that is opened again. Its attestations stay where they are."""
    tx.put(db.GIVEN_UP, _key(row), replace(row, seqs=[], sent=[]))
    kept = [found for _, found in tx.scan(db.GIVEN_UP, db.u64be(row.epoch))]
    for old in kept[: max(len(kept) - MAX_ATTEMPTS, 0)]:
        _forget(tx, old)


def of(reader: db.Reader, epoch: int) -> list[EpochRow]:
    """The attempts of an epoch that were given up, in order."""
    return [row for _, row in reader.scan(db.GIVEN_UP, db.u64be(epoch))]


def forget_up_to(tx: db.Transaction, epoch: int) -> None:
    """`epoch` is final: of it and those before it no attestation is needed here."""
    for key, _ in list(tx.scan(db.GIVEN_UP)):
        if int.from_bytes(key[:8], "big") <= epoch:
            tx.delete(db.GIVEN_UP, key)
    for key, _ in list(tx.scan(db.ATTESTATIONS)):
        if int.from_bytes(key[:8], "big") <= epoch:
            tx.delete(db.ATTESTATIONS, key)


def _forget(tx: db.Transaction, row: EpochRow) -> None:
    tx.delete(db.GIVEN_UP, _key(row))
    for key, _ in list(tx.scan(db.ATTESTATIONS, _key(row))):
        tx.delete(db.ATTESTATIONS, key)


def _key(row: EpochRow) -> bytes:
    return db.u64be(row.epoch) + row.attempt.to_bytes(4, "big")
