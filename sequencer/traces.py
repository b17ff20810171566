"""The state roots of each epoch that is cut and not final: what a demand for an entry of the trace is answered with, and getTrace shows.

They are kept in memory from the cut on; after a restart they are computed again from the batch's bytes.
"""

from __future__ import annotations

import structlog
import trio

from sequencer import batch, proposals
from sequencer import database as db
from sequencer import epoch as rules
from sequencer.blobs import BlobRefused
from sequencer.chain import Flight
from sequencer.epoch import MAX_BATCH_RECORDS, Head
from sequencer.node import Node
from sequencer.rows import EpochRow
from settlement import merkle, records
from settlement.answering import INLINE_BYTES
from settlement.ledger import BatchError, Context, LedgerRejection
from settlement.ledger import batch as ledger_batch
from settlement.signing import AUTHORISATION_BYTES, RECORD_BYTES, Authorisation

log = structlog.get_logger(__name__)

MAX_BATCH_BYTES = MAX_BATCH_RECORDS * (RECORD_BYTES + AUTHORISATION_BYTES)


async def step(node: Node) -> bool:
    """Forgets what is final or gone, and computes one trace that is missing; whether it did."""
    position = node.chain.position
    flights = (*position.posted, *position.in_flight)
    node.traces = {row.hash: node.traces[row.hash] for row in (f.row for f in flights) if row.hash in node.traces}
    heads = (position.finalized, *(flight.head for flight in flights))
    for parent, flight in zip(heads, flights, strict=False):
        if flight.row.hash not in node.traces:
            return await _restore(node, parent, flight)
    return False


async def data_of(node: Node, row: EpochRow) -> bytes:
    """The bytes under an epoch's data root, made anew from its records when their file is gone or damaged."""
    try:
        if row.records * (RECORD_BYTES + AUTHORISATION_BYTES) <= INLINE_BYTES:
            return node.blobs.read(row.data_sha256, INLINE_BYTES)
        return await trio.to_thread.run_sync(node.blobs.read, row.data_sha256, MAX_BATCH_BYTES)
    except (FileNotFoundError, BlobRefused) as error:
        log.warning("batch made anew", epoch=row.epoch, why=str(error))
    deposits = [d for _, d in node.database.scan(db.DEPOSITS) if row.first_deposit <= d.index < row.inbox_cursor]
    groups = [group for seq in row.seqs if (group := node.database.get(db.GROUPS, db.u64be(seq))) is not None]
    return batch.data_of(deposits, groups)


async def _restore(node: Node, parent: Head, flight: Flight) -> bool:
    row = flight.row
    treasury = node.chain.meta_cell.value.treasury
    context = rules.context_of(node.domain, row.epoch, parent, proposals.set_of(node, row), treasury)
    data = await data_of(node, row)
    try:
        trace = await trio.to_thread.run_sync(_computed, parent, data, context)
    except (BatchError, LedgerRejection) as error:
        trace, why = (), str(error)
    else:
        why = f"its state roots do not lead to {row.trace_root.hex()}"
    if merkle.root("trace-root", trace) != row.trace_root:
        node.raise_alarm("trace", f"the trace of epoch {row.epoch} cannot be computed again: {why}")
        node.traces[row.hash] = ()  # it will not be another one tomorrow
        return False
    node.clear_alarm("trace")
    node.traces[row.hash] = trace
    return True


def _computed(parent: Head, data: bytes, context: Context) -> tuple[bytes, ...]:
    pairs = ledger_batch.split(data)
    decoded = [records.decode(record) for record, _ in pairs]
    authorisations = [Authorisation.decode(encoded) for _, encoded in pairs]
    return ledger_batch.close(parent.state, decoded, authorisations, context).trace
