"""What the ledger's transition depends on besides state and record."""

from __future__ import annotations

from dataclasses import dataclass

from settlement.ledger.rejection import LedgerRejection, Rejection
from settlement.records import Record
from settlement.signing import Domain, node_id
from settlement.tags import fixed
from settlement.validator_set import SetEntry, ValidatorSet


@dataclass(frozen=True, slots=True)
class Context:
    """What a transition depends on besides state and record. base_slot is the parent's cut_slot, 0 in epoch 1: every attempt of an epoch has
    the same. treasury is the public key (32 bytes) whose L2 account receives slashed stake."""

    domain: Domain
    epoch: int
    base_slot: int
    validator_set: ValidatorSet
    treasury: bytes

    def __post_init__(self) -> None:
        fixed("treasury", self.treasury, 32)


def validator_at(context: Context, record: Record, set_index: int) -> SetEntry:
    """The set's entry at `set_index`, once the record's node is known to be that validator's authority."""
    entries = context.validator_set.entries
    if set_index >= len(entries):
        raise LedgerRejection(Rejection.NOT_A_VALIDATOR, f"set index {set_index} in a set of {len(entries)}")
    entry = entries[set_index]
    if node_id(entry.authority) != record.node:
        raise LedgerRejection(
            Rejection.NOT_A_VALIDATOR, f"node {record.node.hex()} is not validator {set_index}'s authority"
        )
    return entry
