"""From an open batch to what validators are asked to sign: roots, message and the bytes under the data root. Pure.

Everything is recomputed from the records; that the state comes out as the open batch has it is checked, not assumed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from hashlib import sha256

from sequencer.epoch import OpenBatch
from sequencer.lifecycle import CheckpointEvent, CheckpointStatus, next_checkpoint_status
from sequencer.rows import DepositRow, EpochRow, GroupRow
from settlement import records
from settlement.ledger import batch as ledger_batch
from settlement.messages import CheckpointMessage
from settlement.signing import AUTHORISATION_BYTES, EMPTY, RECORD_BYTES, Authorisation


@dataclass(frozen=True)
class Cut:
    """A cut epoch: its row, the batch's bytes (records, then authorisations), and the leaves of its trace root."""

    row: EpochRow
    data: bytes
    trace: tuple[bytes, ...]


def cut(batch: OpenBatch, *, attempt: int, cut_slot: int, expiry_slot: int) -> Cut:
    """The proposal for this batch. ValueError when cut_slot does not exceed the parent's."""
    if not batch.head.cut_slot < cut_slot <= expiry_slot:
        raise ValueError(
            f"cut_slot {cut_slot} must lie after the parent's, {batch.head.cut_slot}, and not after {expiry_slot}"
        )
    raw = [deposit.record for deposit in batch.deposits]
    authorisations = [EMPTY] * len(raw)
    for group in batch.groups:
        raw += group.records
        authorisations += [Authorisation.decode(encoded) for encoded in group.authorisations]
    roots = ledger_batch.close(batch.head.state, [records.decode(one) for one in raw], authorisations, batch.context)
    if roots.state.root != batch.state.root:
        raise RuntimeError(
            f"epoch {batch.epoch} closes at another state than it was filled to: the ledger is not deterministic"
        )
    totals = roots.state.totals
    message = CheckpointMessage(
        epoch=batch.epoch,
        attempt=attempt,
        cut_slot=cut_slot,
        expiry_slot=expiry_slot,
        parent_hash=batch.head.checkpoint_hash,
        results_root=roots.results_root,
        state_root=roots.state.root,
        trace_root=roots.trace_root,
        data_root=roots.data_root,
        payable_total=totals.payable,
        inbox_cursor=totals.inbox_cursor,
        inbox_hash=batch.inbox_hash,
        set_hash=batch.context.validator_set.hash(batch.context.domain),
    )
    row = EpochRow(
        **asdict(message),
        set_version=batch.context.validator_set.version,
        hash=message.hash(batch.context.domain),
        first_deposit=batch.head.inbox_cursor,
        seqs=[group.seq for group in batch.groups],
        records=len(raw),
        data_sha256=sha256(roots.data).digest(),
        status=next_checkpoint_status(CheckpointStatus.OPEN, CheckpointEvent.CUT),
    )
    return Cut(row, roots.data, roots.trace)


def data_of(deposits: Iterable[DepositRow], groups: Iterable[GroupRow]) -> bytes:
    """The batch's bytes again, from what the epoch was cut from."""
    groups = list(groups)
    raw = [*(deposit.record for deposit in deposits), *(record for group in groups for record in group.records)]
    given = [authorisation for group in groups for authorisation in group.authorisations]
    return b"".join([*raw, EMPTY.encode() * (len(raw) - len(given)), *given])


def split(data: bytes, count: int) -> tuple[list[bytes], list[bytes]]:
    """The records and authorisations in a batch's bytes. ValueError when they are not `count` of each."""
    if len(data) != count * (RECORD_BYTES + AUTHORISATION_BYTES):
        raise ValueError(
            f"a batch of {count} records has {count * (RECORD_BYTES + AUTHORISATION_BYTES)} bytes, got {len(data)}"
        )
    border = count * RECORD_BYTES
    return (
        [data[at : at + RECORD_BYTES] for at in range(0, border, RECORD_BYTES)],
        [data[at : at + AUTHORISATION_BYTES] for at in range(border, len(data), AUTHORISATION_BYTES)],
    )
