"""What a sequencer shows of a posted checkpoint: the bytes of its batch and the roots of its trace, each only if it stands under L1's root.
One that is silent, or answers nonsense, shows nothing: it may have every reason to."""

from __future__ import annotations

from settlement import merkle
from settlement.accounts import Checkpoint
from settlement.challenge_case import DATA, TRACE
from settlement.known_leaves import Leaves
from settlement.ledger import batch
from settlement.sequencer_client import SequencerClient, SequencerError
from settlement.tags import from_hex


async def fetch_batch(sequencer: SequencerClient, checkpoint: Checkpoint) -> bytes | None:
    """None when they are not to be had."""
    try:
        named = await sequencer.call("getCheckpoint", {"epoch": checkpoint.epoch})
        data = await sequencer.get_blob(str(named["dataSha256"]))
    except (SequencerError, KeyError, TypeError):
        return None
    return data if merkle.root(DATA, batch.chunks(data)) == checkpoint.data_root else None


async def fetch_trace(sequencer: SequencerClient, checkpoint: Checkpoint) -> Leaves | None:
    """None when it is not to be had."""
    try:
        said = await sequencer.call("getTrace", {"epoch": checkpoint.epoch})
        leaves = Leaves.all_of([from_hex("stateRoots", root, 32) for root in said["stateRoots"]])
    except (SequencerError, ValueError, KeyError, TypeError):
        return None
    return leaves if leaves.is_under(TRACE, checkpoint.trace_root) else None
