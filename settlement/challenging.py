"""What is wrong with a posted checkpoint, and how L1 is shown it. Pure; settlement/challenge_filing.py sends it.

    what is wrong                                          shown by
    a record under the results root that is no record      prove_malformed_record
    an inbox entry taken otherwise, late or not at all     prove_inbox
    more than 4,096 records, a trace or data of a length   prove_count
      that does not belong to so many
    a chunk that differs from a record, or has another     prove_data
      length
    the trace's first or last entry                        prove_trace
    payable total or cursor                                prove_totals
    a step that is refused, or leads elsewhere             prove_transition
    an authorisation that is missing, wrong or expired     a demand of that record, which nobody can answer
    leaves that are under no root that one knows           demands of leaves, until they are shown or time is over

What was shown in answer to a demand counts as known from then on: find() asked again says what to do next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from solders.instruction import Instruction
from solders.pubkey import Pubkey

from settlement import bls, evidence, records
from settlement import dispute_instructions as build
from settlement.accounts import Checkpoint
from settlement.challenge_case import PAIR_BYTES, Case, Held, chunk_count
from settlement.dispute_accounts import DemandKind
from settlement.known_leaves import Leaves, Shown
from settlement.ledger import (
    MAX_RECORDS,
    TOTALS_KEY,
    LedgerRejection,
    State,
    batch,
    check_authorisation,
    check_sample_signature,
    witness,
)
from settlement.ledger.batch import CHUNK_BYTES, RECORDS_PER_TRACE_ENTRY
from settlement.records import RECORD_BYTES, RecordError, inbox_event
from settlement.signing import AUTHORISATION_BYTES, Authorisation

MAX_INLINE_SIBLINGS = 16
"""Of the totals in a transaction beside everything else; further ones go through a buffer."""
Build = Callable[[Pubkey, Pubkey, Checkpoint, Pubkey | None], Instruction]


@dataclass(frozen=True)
class Proof:
    """One instruction ends it. `build` makes it from program, challenger, checkpoint and the address of the buffer that holds `evidence`."""

    name: str
    reason: str
    build: Build = field(repr=False)
    evidence: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Demands:
    """Nothing is provable from what is known: these are to be demanded, the most telling first."""

    kind: DemandKind
    indexes: tuple[int, ...]
    reason: str

    @property
    def name(self) -> str:
        return "open_demand"


@dataclass(frozen=True)
class Unprovable:
    """Wrong, and no instruction shows it: this rests on the quorum (docs/settlement.md)."""

    reason: str

    @property
    def name(self) -> str:
        return "none"


Finding = Proof | Demands | Unprovable


def find(held: Held) -> Finding | None:
    """The first thing that is wrong, what needs no answer before what does; None for a checkpoint that is right.

    Whoever holds all of the data learns the whole truth. Raises nothing, whatever the bytes are.
    """
    case = Case(held)
    for question in (_counts, _contradictions, _malformed, _inbox, _trace_ends, _steps, _totals):
        if (proof := question(case)) is not None:
            return proof
    for ask in (_hidden_data, _hidden_records, _hidden_trace, _authorisations, _samples):
        if (finding := ask(case)) is not None:
            return finding
    return None


def _counts(case: Case) -> Proof | None:
    if case.records is None:
        return None
    count = case.records.count
    trace, chunks = None, None
    if count > MAX_RECORDS:
        reason = f"{count} records, a batch has at most {MAX_RECORDS}"
    elif case.chunks and case.chunks.count != chunk_count(count):
        reason, chunks = f"{case.chunks.count} chunks of data for {count} records", case.chunks.counted
    elif case.trace and case.trace.count != -(-count // RECORDS_PER_TRACE_ENTRY) + 1:
        reason, trace = f"{case.trace.count} entries of the trace for {count} records", case.trace.counted
    else:
        return None
    counted = case.records.counted

    def made(program: Pubkey, challenger: Pubkey, checkpoint: Checkpoint, _: Pubkey | None) -> Instruction:
        return build.prove_count(program, challenger, checkpoint, counted, trace, chunks)

    return Proof("prove_count", reason, made)


def _contradictions(case: Case) -> Proof | None:
    if case.records is None or case.chunks is None:
        return None
    size = case.records.count * PAIR_BYTES
    for number, chunk in sorted(case.chunks.known.items()):
        start = number * CHUNK_BYTES
        if len(chunk) != min(max(size - start, 0), CHUNK_BYTES):
            if case.records.known:
                reason = f"chunk {number} has {len(chunk)} bytes, not what {case.records.count} records give it"
                return _data_proof(case.records, case.chunks, number, min(case.records.known), reason)
            continue
        for index in range(start // RECORD_BYTES, min((start + len(chunk)) // RECORD_BYTES + 1, case.records.count)):
            record, at = case.records.known.get(index), index * RECORD_BYTES
            first, last = max(at, start), min(at + RECORD_BYTES, start + len(chunk))
            if record is not None and chunk[first - start : last - start] != record[first - at : last - at]:
                reason = f"record {index} under the results root is another one in the data"
                return _data_proof(case.records, case.chunks, number, index, reason)
    return None


def _data_proof(leaves: Leaves, chunks: Leaves, chunk: int, record: int, reason: str) -> Proof:
    told = evidence.contradiction(chunks.shown(chunk), leaves.shown(record))
    return _evidence_proof(build.prove_data, reason, told)


def _leaf_proof(instruction: Callable[..., Instruction], reason: str, shown: Shown, **more: int | None) -> Proof:
    def made(program: Pubkey, challenger: Pubkey, checkpoint: Checkpoint, _: Pubkey | None) -> Instruction:
        return instruction(program, challenger, checkpoint, shown.data, shown.place, **more)

    return Proof(instruction.__name__, reason, made)


def _evidence_proof(instruction: Callable[..., Instruction], reason: str, told: bytes) -> Proof:
    def made(program: Pubkey, challenger: Pubkey, checkpoint: Checkpoint, buffer: Pubkey | None) -> Instruction:
        return instruction(program, challenger, checkpoint, buffer)

    return Proof(instruction.__name__, reason, made, told)


def _malformed(case: Case) -> Proof | None:
    for index, encoded in sorted(case.records.known.items()) if case.records else ():
        try:
            records.decode(encoded)
        except RecordError as error:
            assert case.records is not None
            return _leaf_proof(build.prove_malformed_record, f"record {index}: {error}", case.records.shown(index))
    return None


def _inbox(case: Case) -> Proof | None:
    first = case.held.parent.state.totals.inbox_cursor
    for index, encoded in sorted(case.records.known.items()) if case.records else ():
        record = records.decode(encoded)
        if index >= case.taken:
            if inbox_event(record) is None:
                continue
            reason, entry = f"record {index} takes an inbox entry, and the cursor says {case.taken} do", None
        else:
            entry = first + index
            if batch.inbox_entry(record) == case.held.entries[index].entry:
                continue
            reason = f"record {index} does not take inbox entry {entry} as it is on L1"
        assert case.records is not None
        return _leaf_proof(build.prove_inbox, reason, case.records.shown(index), entry_index=entry)
    return None


def _trace_ends(case: Case) -> Proof | None:
    if case.trace is None:
        return None
    ends = ((0, case.held.parent.state.root), (case.trace.count - 1, case.checkpoint.state_root))
    for index, expected in ends:
        entry = case.trace.known.get(index)
        if entry is not None and entry != expected:
            of_parent = expected == case.held.parent.state.root
            what = "first entry is not the parent's" if of_parent else "last entry is not the checkpoint's"
            return _leaf_proof(build.prove_trace, f"the trace's {what} state root", case.trace.shown(index))
    return None


def _steps(case: Case) -> Proof | None:
    run, trace, shown = case.run, case.trace, case.whole_records
    if run is None or trace is None or shown is None:
        return None
    for step, before in enumerate(run.states):
        is_refused = run.rejected is not None and run.rejected[0] < RECORDS_PER_TRACE_ENTRY * (step + 1)
        entry, after = trace.known.get(step), trace.known.get(step + 1)
        is_wrong = is_refused or after != run.roots[step + 1]
        if entry == run.roots[step] and after is not None and is_wrong:
            return _step_proof(case, trace, shown, step, before)
        if is_refused:
            return None  # what follows a refused record is nobody's truth
    return None


def _step_proof(case: Case, trace: Leaves, shown: Sequence[bytes], step: int, before: State) -> Proof:
    assert case.run is not None
    first, last = RECORDS_PER_TRACE_ENTRY * step, RECORDS_PER_TRACE_ENTRY * (step + 1)
    opened = witness.build(before, list(shown[first:last]), case.held.context)
    reason = (
        f"step {step}, records {first} to {min(last, len(shown)) - 1}, does not lead to the trace's entry {step + 1}"
    )
    if case.run.rejected is not None and case.run.rejected[0] < last:
        reason = f"record {case.run.rejected[0]}: {case.run.rejected[1]}"
    told = evidence.step_between(trace.shown(step), trace.shown(step + 1), shown, opened)
    return _evidence_proof(build.prove_transition, reason, told)


def _totals(case: Case) -> Proof | None:
    """Of any state that has the checkpoint's root, however the chain came to it."""
    states = [case.held.parent.state, *([case.run.end] if case.run else [])]
    state = next((one for one in states if one.root == case.checkpoint.state_root), None)
    if state is None:
        return None
    said = case.checkpoint.payable_total, case.checkpoint.inbox_cursor
    if said == (state.totals.payable, state.totals.inbox_cursor):
        return None
    value, siblings = state.proof(TOTALS_KEY)
    inline = siblings if len(siblings) <= MAX_INLINE_SIBLINGS else []

    def made(program: Pubkey, challenger: Pubkey, checkpoint: Checkpoint, buffer: Pubkey | None) -> Instruction:
        return build.prove_totals(program, challenger, checkpoint, value, inline, buffer)

    told = evidence.siblings(siblings) if len(siblings) > len(inline) else None
    what = f"payable total {state.totals.payable} and cursor {state.totals.inbox_cursor}"
    return Proof("prove_totals", f"the state's {what} are not the checkpoint's {said[0]} and {said[1]}", made, told)


# -- what must be asked for ------------------------------------------------------------------------------------------------------------


def _hidden_data(case: Case) -> Demands | None:
    if case.data is not None:
        return None
    known = case.chunks.known if case.chunks else {}
    count = case.chunks.count if case.chunks else chunk_count(case.records.count) if case.records else 1
    missing = tuple(index for index in range(max(count, 1)) if index not in known)
    return Demands(DemandKind.CHUNK, missing, "the bytes under the data root are not to be had")


def _hidden_records(case: Case) -> Demands | None:
    if case.whole_records is not None:
        return None
    known = case.records.known if case.records else {}
    count = case.records.count if case.records else len(case.data or b"") // PAIR_BYTES
    missing = tuple(index for index in spread(0, max(count, 1)) if index not in known)
    return Demands(DemandKind.RECORD, missing, "the records under the results root are not those in the data")


def _hidden_trace(case: Case) -> Demands | None:
    run = case.run
    known = case.trace.known if case.trace else {}
    if run is None or (case.trace is not None and case.trace.whole is not None):
        return None
    # What is known is right up to `start`; at `end` it is wrong, or must be.
    last = len(run.roots) - 1
    wrong = [index for index, entry in known.items() if entry != run.roots[index]]
    if run.rejected is not None:
        wrong.append(run.rejected[0] // RECORDS_PER_TRACE_ENTRY + 1)
    end = min([*wrong, last])
    start = max((index for index in known if index < end and known[index] == run.roots[index]), default=0)
    order = dict.fromkeys((start, end, *spread(start, end)))
    missing = tuple(index for index in order if index not in known)
    reason = "the state roots under the trace root are not those that the records lead to"
    if run.rejected is not None:
        reason = f"record {run.rejected[0]}: {run.rejected[1]}; what the trace says instead is not to be had"
    return Demands(DemandKind.TRACE_ENTRY, missing, reason)


def _authorisations(case: Case) -> Demands | None:
    if case.data is None or case.decoded is None:
        return None
    start = len(case.decoded) * RECORD_BYTES
    for index, record in enumerate(case.decoded):
        at = start + index * AUTHORISATION_BYTES
        try:
            given = Authorisation.decode(case.data[at : at + AUTHORISATION_BYTES])
            check_authorisation(record, given, case.held.context.domain, case.held.context.base_slot)
        except (LedgerRejection, ValueError) as error:
            return Demands(DemandKind.RECORD, (index,), f"record {index}: {error}")
    return None


def _samples(case: Case) -> Unprovable | None:
    for index, before in case.run.samples if case.run and case.decoded else ():
        assert case.decoded is not None
        try:
            check_sample_signature(before, case.decoded[index], case.held.context)
        except (LedgerRejection, bls.BlsError) as error:
            return Unprovable(f"record {index}: {error}")
    return None


def spread(start: int, end: int) -> Iterator[int]:
    """start … end − 1, halving: after so many, no long stretch is left out."""
    waiting = [(start, end)]
    for low, high in waiting:
        if low < high:
            middle = (low + high) // 2
            yield middle
            waiting += [(low, middle), (middle + 1, high)]
