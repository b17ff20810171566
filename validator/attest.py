"""Whether a proposed checkpoint may be attested. Pure, given the proposal, what the validator holds itself, and what it read from L1.

Nothing is believed because the sequencer says so: the batch is recomputed from its bytes on the validator's own state, and everything that only
L1 can know comes from L1.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from settlement import bls, records
from settlement.accounts import InboxEntryAccount, Parameters, PostedHead
from settlement.ledger import BatchError, BatchRoots, Context, Parent, batch, check_batch
from settlement.messages import CheckpointMessage, highest_attempt
from settlement.records import ConsensusVote
from validator.claim import Judgement
from validator.votes import Attested


class Refused(Exception):
    """The proposal must not be attested; the message says why."""


@dataclass(frozen=True)
class View:
    """L1 as this validator sees it: slots and heads at `confirmed`, unless their names say otherwise."""

    slot: int
    finalized_slot: int
    """The slot that `epoch_posted_at_finalized` was read at: an absence is worth no more than the slot it was seen at."""
    epoch_posted_at_finalized: bool
    parameters: Parameters
    posted: PostedHead
    highest_epoch: int
    """The highest epoch that L1 has ever taken: numbers of rejected ones are not used again."""
    inbox_hash_at_cursor: bytes | None
    """The running hash after the last entry that the proposal takes; None when L1 has no such entry."""
    first_entry_left: InboxEntryAccount | None
    """The oldest inbox entry that the proposal leaves, None when it takes all."""


@dataclass(frozen=True)
class Own:
    """What this validator is and has said: its index in the pinned set, its judgements by (task id, result hash), and its vote for the
    highest attempt of the proposal's epoch."""

    set_index: int
    judgements: Mapping[tuple[bytes, bytes], Judgement]
    last: Attested | None


def check(
    message: CheckpointMessage, data: bytes, parent: Parent, parent_epoch: int, context: Context, view: View, own: Own
) -> BatchRoots:
    """The recomputed roots, the state after the batch among them. Refused unless everything is as the rules and L1 say.

    `context.validator_set` is the set that L1 has pinned, `parent` the validator's own link for `parent_epoch`.
    """
    _check_parent(message, parent, parent_epoch, view)
    _check_slots(message, view)
    _check_attempt(message, view, own.last)
    try:
        roots = check_batch(parent, message, data, context)
    except (BatchError, bls.BlsError) as error:
        raise Refused(str(error)) from error
    _check_inbox(message, parent, view)
    _check_own_verdicts(data, own)
    return roots


def _check_parent(message: CheckpointMessage, parent: Parent, parent_epoch: int, view: View) -> None:
    if message.epoch != view.highest_epoch + 1:
        raise Refused(f"epoch {message.epoch} does not follow epoch {view.highest_epoch}, the highest ever on L1")
    if parent_epoch != view.posted.epoch:
        raise Refused(f"this validator has followed L1 to epoch {parent_epoch} only, L1 is at {view.posted.epoch}")
    if view.posted.epoch and parent.hash != view.posted.hash:
        raise Refused(f"epoch {parent_epoch} is {view.posted.hash.hex()} on L1, {parent.hash.hex()} here")


def _check_slots(message: CheckpointMessage, view: View) -> None:
    if message.cut_slot > view.slot:
        raise Refused(f"cut slot {message.cut_slot} lies in the future, it is slot {view.slot}")
    if message.cut_slot <= view.posted.cut_slot:
        raise Refused(f"cut slot {message.cut_slot} is not after the parent's, {view.posted.cut_slot}")
    if message.expiry_slot <= view.slot:
        raise Refused(f"the proposal expired at slot {message.expiry_slot}, it is slot {view.slot}")
    if message.expiry_slot - message.cut_slot > view.parameters.max_expiry_slots:
        raise Refused(
            f"expiry slot {message.expiry_slot} is more than {view.parameters.max_expiry_slots} after cut slot {message.cut_slot}"
        )


def _check_attempt(message: CheckpointMessage, view: View, last: Attested | None) -> None:
    """One vote per attempt, no attempt that leaves no number for a later one, and the next attempt only when the one before can no longer
    land. An epoch before one that was attested already comes again when L1 took its post back; the same conditions hold for it."""
    if view.epoch_posted_at_finalized:
        raise Refused(f"epoch {message.epoch} is on L1 already")
    highest = highest_attempt(view.posted.cut_slot, message.cut_slot)
    if message.attempt > highest:
        raise Refused(
            f"attempt {message.attempt} is more than time allows: {highest} at most, {message.cut_slot - view.posted.cut_slot} slots"
            " after the parent's cut"
        )
    if last is not None and message.attempt > last.attempt and view.finalized_slot <= last.expiry_slot:
        raise Refused(
            f"attempt {last.attempt} may still land: it expires at slot {last.expiry_slot}, finalized is {view.finalized_slot}"
        )


def _check_inbox(message: CheckpointMessage, parent: Parent, view: View) -> None:
    if message.inbox_hash != view.inbox_hash_at_cursor:
        ours = "no such entry" if view.inbox_hash_at_cursor is None else view.inbox_hash_at_cursor.hex()
        raise Refused(f"inbox hash at cursor {message.inbox_cursor} is {message.inbox_hash.hex()}, on L1 {ours}")
    taken = message.inbox_cursor - parent.state.totals.inbox_cursor
    if taken > view.parameters.max_inbox_per_epoch:
        raise Refused(f"{taken} inbox entries are taken, at most {view.parameters.max_inbox_per_epoch} may be")
    left = view.first_entry_left
    overdue = left is not None and left.slot + view.parameters.inclusion_window_slots < message.cut_slot
    if left is not None and overdue and taken < view.parameters.max_inbox_per_epoch:
        raise Refused(
            f"inbox entry {left.index} of slot {left.slot} is overdue at cut slot {message.cut_slot} and left out"
        )


def _check_own_verdicts(data: bytes, own: Own) -> None:
    for index, (record_bytes, _) in enumerate(batch.split(data)):
        record = records.decode(record_bytes)
        vote = record.payload
        if not isinstance(vote, ConsensusVote) or vote.set_index != own.set_index:
            continue
        ours = own.judgements.get((record.task, vote.result_hash))
        if ours is None:
            raise Refused(f"record {index} is a verdict of this validator that it never gave")
        said = (ours.verdict, ours.reason, len(ours.checked), ours.intervals, ours.accuracy_ppm)
        if said != (vote.verdict, vote.reason, vote.replayed, vote.intervals, vote.accuracy_ppm):
            raise Refused(
                f"record {index} is this validator's verdict {vote.verdict.name} on task {record.task.hex()}; its last one was {ours.verdict.name}"
            )
