"""The open batch: what will be the next epoch. Pure: no clock, no I/O; batches are immutable and a change makes a new one.

A batch stands on a head (the last cut or posted checkpoint) and holds deposits first, then groups of records in the order in which they
were accepted. Groups are all or nothing. When the head changes under it (a new attempt with another pinned set, a fork that took a
deposit away) `replay` builds it anew from the same deposits and groups, so the result depends on nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from sequencer.rows import DERIVED, AttemptRow, DepositRow, GroupRow
from settlement import records
from settlement.ledger import Context, State, apply
from settlement.ledger.rejection import LedgerRejection, Rejection
from settlement.messages import genesis_inbox_hash, genesis_parent, highest_attempt
from settlement.signing import Domain
from settlement.validator_set import ValidatorSet

MAX_BATCH_RECORDS = 4096
"""docs/protocol.md, section 8."""


@dataclass(frozen=True)
class Head:
    """What an epoch is built on: the checkpoint before it and the state that this one leads to."""

    epoch: int
    checkpoint_hash: bytes
    cut_slot: int
    inbox_cursor: int
    inbox_hash: bytes
    state: State

    @classmethod
    def genesis(cls, domain: Domain) -> Head:
        return cls(0, genesis_parent(domain), 0, 0, genesis_inbox_hash(domain), State.empty())


@dataclass(frozen=True)
class OpenBatch:
    """Deposits, then groups, and the state after them. `full` means that no further group of one record fits."""

    head: Head
    context: Context
    deposits: tuple[DepositRow, ...]
    groups: tuple[GroupRow, ...]
    state: State
    records: int

    @property
    def epoch(self) -> int:
        return self.context.epoch

    @property
    def base_slot(self) -> int:
        return self.head.cut_slot

    @property
    def inbox_cursor(self) -> int:
        return self.head.inbox_cursor + len(self.deposits)

    @property
    def inbox_hash(self) -> bytes:
        return self.deposits[-1].inbox_hash if self.deposits else self.head.inbox_hash

    def room_for(self, count: int) -> bool:
        return self.records + count <= MAX_BATCH_RECORDS


@dataclass(frozen=True)
class Replay:
    """What became of deposits and groups on a head: the batch, the groups that do not apply (any more), and those beyond its size."""

    batch: OpenBatch
    rejected: tuple[tuple[GroupRow, LedgerRejection], ...]
    beyond: tuple[GroupRow, ...]


def context_of(domain: Domain, epoch: int, head: Head, validator_set: ValidatorSet, treasury: bytes) -> Context:
    """`epoch`: the number of the epoch that is built on `head`."""
    return Context(domain=domain, epoch=epoch, base_slot=head.cut_slot, validator_set=validator_set, treasury=treasury)


def number_after(head: Head, used_up_epoch: int) -> int:
    """What the epoch after `head` is called: numbers of rejected epochs, and of those that built on them, are never used again."""
    return max(head.epoch, used_up_epoch) + 1


def empty(head: Head, context: Context) -> OpenBatch:
    return OpenBatch(head, context, (), (), head.state, 0)


def append(batch: OpenBatch, group: GroupRow) -> OpenBatch:
    """The batch with this group at its end. LedgerRejection when one of its records does not follow, or its authorisation ran out."""
    if not batch.room_for(len(group.records)):
        raise LedgerRejection(Rejection.TOO_MANY_RECORDS, f"the epoch holds {MAX_BATCH_RECORDS} records at most")
    if group.expiry_slot < batch.base_slot:
        raise LedgerRejection(
            Rejection.AUTHORISATION_EXPIRED,
            f"it was valid until slot {group.expiry_slot}, the epoch stands on {batch.base_slot}",
        )
    state = batch.state
    for raw in group.records:
        state = apply(state, records.decode(raw), batch.context)
    return replace(batch, groups=(*batch.groups, group), state=state, records=batch.records + len(group.records))


def replay(head: Head, context: Context, deposits: Sequence[DepositRow], groups: Iterable[GroupRow]) -> Replay:
    """The batch of these deposits and groups on this head. LedgerRejection when the deposits themselves do not continue the inbox."""
    state = head.state
    for deposit in deposits:
        state = apply(state, records.decode(deposit.record), context)
    batch = OpenBatch(head, context, tuple(deposits), (), state, len(deposits))
    rejected: list[tuple[GroupRow, LedgerRejection]] = []
    beyond: list[GroupRow] = []
    for group in groups:
        if beyond or not batch.room_for(len(group.records)):
            beyond.append(group)
            continue
        try:
            batch = append(batch, group)
        except LedgerRejection as rejection:
            rejected.append((group, rejection))
    return Replay(batch, tuple(rejected), tuple(beyond))


def is_droppable(group: GroupRow, base_slot: int) -> bool:
    """Whether a group that does not apply may be forgotten. What a user signed is kept and tried again until its authorisation ends."""
    return group.kind in DERIVED or group.expiry_slot < base_slot


def next_attempt(before: AttemptRow | None, parent_cut_slot: int, slot: int) -> int:
    """The number that an epoch's attempt should have when it is cut at `slot`, after the one that was given up.

    Validators who did not sign may have signed a higher one that somebody else showed them, so after an attempt without a quorum the number
    is the highest that time allows. It may be more than that where the parent is new: then the cut has to wait.
    """
    if before is None:
        return 0
    following = before.attempt + 1
    return following if before.certified else max(following, highest_attempt(parent_cut_slot, slot))


def is_due(
    records_open: int, seconds_open: float, *, epoch_seconds: float, max_records: int, must_advance: bool
) -> bool:
    """Whether the epoch should be cut now. An empty one is cut only when the chain's time must advance (a refund waits for it)."""
    if records_open == 0:
        return must_advance
    return records_open >= max_records or seconds_open >= epoch_seconds
