"""What goes into a proof buffer for the proofs and answers that do not fit a transaction, from a batch's bytes (docs/protocol.md,
section 13). Pure; the program reads the same parts in programs/settlement/src/evidence.rs.
"""

from __future__ import annotations

from collections.abc import Sequence

from settlement import merkle
from settlement.dispute_instructions import Count, Proven
from settlement.known_leaves import Shown
from settlement.ledger import Context, State, witness
from settlement.ledger.batch import RECORDS_PER_TRACE_ENTRY, chunks
from settlement.records import RECORD_BYTES
from settlement.signing import AUTHORISATION_BYTES
from settlement.tags import u32le, u64le

CHUNK_SHIFT = 10


def prove(leaves: Sequence[bytes], index: int) -> Proven:
    return Proven(index, len(leaves), merkle.proof(leaves, index))


def count(leaves: Sequence[bytes]) -> Count:
    return Count(len(leaves), merkle.tree_hash(leaves))


def siblings(hashes: Sequence[bytes]) -> bytes:
    """Their number, one byte, then 32 bytes each; for prove_totals all of what a buffer holds."""
    return bytes([len(hashes)]) + b"".join(hashes)


def _sized(data: bytes) -> bytes:
    return u32le(len(data)) + data


def _leaf(leaves: Sequence[bytes], index: int) -> bytes:
    """Count, leaf, siblings."""
    return u64le(len(leaves)) + _sized(leaves[index]) + siblings(merkle.proof(leaves, index))


def data(data_leaves: Sequence[bytes], chunk: int, records: Sequence[bytes], record: int) -> bytes:
    """For prove_data: a chunk under the data root beside a record under the results root."""
    return contradiction(shown(data_leaves, chunk), shown(records, record))


def contradiction(chunk: Shown, record: Shown) -> bytes:
    """The same of two leaves that are all one knows."""
    of_chunk = u64le(chunk.place.index) + u64le(chunk.place.count) + _sized(chunk.data)
    of_record = u64le(record.place.index) + u64le(record.place.count) + record.data
    return of_chunk + siblings(chunk.place.siblings) + of_record + siblings(record.place.siblings)


def shown(leaves: Sequence[bytes], index: int) -> Shown:
    return Shown(leaves[index], prove(leaves, index))


def transition(trace: Sequence[bytes], records: Sequence[bytes], step: int, before: State, context: Context) -> bytes:
    """For prove_transition: the records of a step, executed on the state `before`."""
    group = list(records[RECORDS_PER_TRACE_ENTRY * step : RECORDS_PER_TRACE_ENTRY * (step + 1)])
    return step_evidence(trace, records, step, witness.build(before, group, context))


def step_evidence(trace: Sequence[bytes], records: Sequence[bytes], step: int, opened: bytes) -> bytes:
    """The same with a witness that is there already."""
    return step_between(shown(trace, step), shown(trace, step + 1), records, opened)


def step_between(before: Shown, after: Shown, records: Sequence[bytes], opened: bytes) -> bytes:
    """The same of two entries that are all one knows of the trace."""
    step, count = before.place.index, before.place.count
    groups = [records[i : i + RECORDS_PER_TRACE_ENTRY] for i in range(0, len(records), RECORDS_PER_TRACE_ENTRY)]
    entries = b"".join(entry.data + siblings(entry.place.siblings) for entry in (before, after))
    of_group = siblings(_group_siblings([merkle.tree_hash(group) for group in groups], step))
    of_records = u64le(len(records)) + _sized(b"".join(groups[step])) + of_group
    return u64le(step) + u64le(count) + entries + of_records + _sized(opened)


def _group_siblings(level: list[bytes], index: int) -> list[bytes]:
    """The siblings of a subtree among subtrees of eight leaves: as merkle.proof, the leaves' hashes being these."""
    found = []
    while len(level) > 1:
        if index ^ 1 < len(level):
            found.append(level[index ^ 1])
        pairs = [merkle.node_hash(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
        level, index = pairs + level[-1:] if len(level) % 2 else pairs, index // 2
    return found


def leaf_answer(leaves: Sequence[bytes], index: int) -> bytes:
    """For answer_demand: a chunk among the chunks, or an entry of the trace."""
    return _leaf(leaves, index)


def record_answer(batch: bytes, count: int, index: int) -> bytes:
    """For answer_demand: record `index` of the `count` in the batch's bytes, with the chunks that hold its authorisation."""
    records = [batch[i * RECORD_BYTES : (i + 1) * RECORD_BYTES] for i in range(count)]
    start = count * RECORD_BYTES + index * AUTHORISATION_BYTES
    last = (start + AUTHORISATION_BYTES - 1) >> CHUNK_SHIFT
    leaves = chunks(batch)
    shown = b"".join(
        _sized(leaves[i]) + siblings(merkle.proof(leaves, i)) for i in range(start >> CHUNK_SHIFT, last + 1)
    )
    return _leaf(records, index) + u64le(len(leaves)) + shown
