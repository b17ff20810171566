"""What is stored about a proposal: the set it was cut for, and the attestations on it."""

from __future__ import annotations

from sequencer import database as db
from sequencer.node import Node
from sequencer.rows import EpochRow
from settlement.validator_set import SetEntry, ValidatorSet


def set_of(node: Node, row: EpochRow) -> ValidatorSet:
    """The validator set that an epoch was cut for."""
    stored = node.database.get(db.SETS, db.u64be(row.set_version))
    if stored is None:
        raise RuntimeError(f"validator set {row.set_version} of epoch {row.epoch} is not there")
    return ValidatorSet(stored.version, tuple(SetEntry.decode(entry) for entry in stored.entries))


def attestation_key(row: EpochRow, set_index: int) -> bytes:
    return db.u64be(row.epoch) + row.attempt.to_bytes(4, "big") + set_index.to_bytes(2, "big")


def attestations(node: Node, reader: db.Reader, row: EpochRow) -> dict[int, bytes]:
    """The verified signatures on an epoch's attempt, by set index."""
    prefix = db.u64be(row.epoch) + row.attempt.to_bytes(4, "big")
    return {int.from_bytes(key[12:], "big"): found.signature for key, found in reader.scan(db.ATTESTATIONS, prefix)}
