"""Reads what the demo did back from L1 at `finalized`: the checkpoints, what they cost, and the batches under their roots.

The sequencer is asked for the batches' bytes only; they count because they lead to the results root that stands on L1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cli.demo_report import CheckpointRow, RejectedRow, Report, Slash, TaskRow
from settlement import merkle, records
from settlement.accounts import Checkpoint
from settlement.client import L1Client
from settlement.records import ConsensusVote, EconomicEvent, Event, Verdict
from settlement.sequencer_client import SequencerClient
from settlement.signing import RECORD_BYTES
from settlement.validator_set import bytes_to_bitmap


class NotOnL1(Exception):
    """Something that the sequencer calls final is not on L1, or is another thing there."""


async def read_back(
    report: Report,
    client: SequencerClient,
    l1: L1Client,
    tasks: Sequence[Mapping[str, Any]],
    last_epoch: int,
    workers: Mapping[bytes, str],
) -> list[tuple[int, bytes, bytes]]:
    """Fills the report's tasks, checkpoints, slashes and costs; `workers` is node id → public key.

    Returns (epoch, hash, parent hash) of each checkpoint. NotOnL1 when one is missing or its batch is not the one under its root.
    """
    for task in tasks:
        found = [task.get(key) for key in ("worker", "accuracy", "replayedShare")]
        report.tasks.append(TaskRow(task["taskId"], task["kind"], task["mode"], task["status"], *found))
        report.rejected += [RejectedRow(task["taskId"], one["worker"], one["reason"]) for one in task["rejections"]]
    parents = []
    for epoch in range(1, last_epoch + 1):
        checkpoint = await l1.fetch_checkpoint(epoch, "finalized")
        if checkpoint is None:
            raise NotOnL1(f"L1 holds no checkpoint of epoch {epoch} at finalized")
        shown = await client.call("getCheckpoint", {"epoch": epoch})
        row, meta = await _posted(l1, checkpoint, shown["signature"])
        report.checkpoints.append(row)
        report.costs.fees_lamports += meta["fee"]
        report.costs.rent_lamports += meta["preBalances"][0] - meta["postBalances"][0] - meta["fee"]
        _read_batch(report, await _batch(client, checkpoint, shown), workers, row.set_size)
        parents.append((epoch, checkpoint.hash, checkpoint.parent_hash))
    return parents


async def _posted(l1: L1Client, checkpoint: Checkpoint, signature: str) -> tuple[CheckpointRow, dict[str, Any]]:
    """The checkpoint with its transaction's slot and compute units, and that transaction's meta."""
    options = {"commitment": "finalized", "maxSupportedTransactionVersion": 0}
    transaction = await l1.rpc.call("getTransaction", [signature, options])
    sealed = await l1.fetch_validator_set(checkpoint.set_version, "finalized")
    if transaction is None or sealed is None:
        raise NotOnL1(f"L1 does not know the transaction {signature} or the set of epoch {checkpoint.epoch}")
    meta = transaction["meta"]
    row = CheckpointRow(
        checkpoint.epoch,
        checkpoint.hash.hex(),
        signature,
        int(transaction["slot"]),
        int(meta["computeUnitsConsumed"]),
        bytes_to_bitmap(checkpoint.bitmap).bit_count(),
        len(sealed.validator_set.entries),
        checkpoint.status.name.lower(),
    )
    return row, meta


async def _batch(client: SequencerClient, checkpoint: Checkpoint, shown: Mapping[str, Any]) -> list[bytes]:
    """The records of the epoch, 160 bytes each, which lead to the results root on L1."""
    data = await client.get_blob(shown["dataSha256"])
    raw = [data[at : at + RECORD_BYTES] for at in range(0, shown["records"] * RECORD_BYTES, RECORD_BYTES)]
    if merkle.root("results-root", raw) != checkpoint.results_root:
        raise NotOnL1(f"the records of epoch {checkpoint.epoch} do not lead to the results root on L1")
    return raw


def _read_batch(report: Report, raw: Sequence[bytes], workers: Mapping[bytes, str], validators: int) -> None:
    """Verdicts and slashes. The verdicts on a result stand in the same batch as its slash, before it."""
    rejecting: dict[bytes, int] = {}
    for record in map(records.decode, raw):
        payload = record.payload
        if isinstance(payload, ConsensusVote):
            report.verdicts += 1
            if payload.verdict is Verdict.REJECT:
                rejecting[record.task] = rejecting.get(record.task, 0) + 1
        elif isinstance(payload, EconomicEvent) and payload.event is Event.SLASH:
            worker = workers.get(record.node, record.node.hex())
            count = rejecting.pop(record.task, 0)
            report.slashes.append(Slash(record.task.hex(), worker, payload.lamports, count, validators))
