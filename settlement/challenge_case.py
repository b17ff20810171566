"""What a challenger knows of a posted checkpoint, and what follows from it: which leaves stand under its roots, and what its records do.
Pure; settlement/challenging.py judges it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from settlement import records
from settlement.accounts import Checkpoint, InboxEntryAccount
from settlement.known_leaves import Leaves, count_under
from settlement.ledger import Context, LedgerRejection, Parent, State, apply, batch
from settlement.ledger.batch import CHUNK_BYTES, RECORDS_PER_TRACE_ENTRY
from settlement.records import RECORD_BYTES, Record, RecordError, VerificationProof
from settlement.signing import AUTHORISATION_BYTES

PAIR_BYTES = RECORD_BYTES + AUTHORISATION_BYTES
RESULTS, TRACE, DATA = "results-root", "trace-root", "data-root"


@dataclass(frozen=True)
class Held:
    """What a challenger holds of a posted checkpoint. `entries` are L1's inbox entries from the parent's cursor to the checkpoint's.

    `data` are the bytes under the data root, as far as anybody gave them; records, trace and chunks what else is known of the leaves under
    those roots. What is not under its root counts as not held.
    """

    checkpoint: Checkpoint
    parent: Parent
    context: Context
    entries: Sequence[InboxEntryAccount]
    data: bytes | None = None
    records: Leaves | None = None
    trace: Leaves | None = None
    chunks: Leaves | None = None


@dataclass(frozen=True)
class Run:
    """The records executed, those that are refused left out. `roots` are the trace's entries, `states` those before each step."""

    roots: tuple[bytes, ...]
    states: tuple[State, ...]
    end: State
    rejected: tuple[int, LedgerRejection] | None
    samples: tuple[tuple[int, State], ...]


class Case:
    def __init__(self, held: Held) -> None:
        self.held, self.checkpoint = held, held.checkpoint

    @cached_property
    def chunks(self) -> Leaves | None:
        known = [self.held.chunks] if self.held.chunks else []
        if self.held.data is not None:
            known.append(Leaves.all_of(batch.chunks(self.held.data)))
        return under(DATA, self.checkpoint.data_root, [*known, Leaves.all_of(())])

    @cached_property
    def data(self) -> bytes | None:
        """All bytes under the data root."""
        whole = self.chunks.whole if self.chunks else None
        return None if whole is None else b"".join(whole)

    @cached_property
    def records(self) -> Leaves | None:
        root, given = self.checkpoint.results_root, self.held.records
        if given is not None and given.is_under(RESULTS, root) and given.whole is not None:
            return given
        for data in (self.data, self.held.data):
            end = 0 if data is None else len(data) - len(data) % RECORD_BYTES
            leaves = [data[i : i + RECORD_BYTES] for i in range(0, end, RECORD_BYTES)] if data else []
            count = count_under(RESULTS, root, leaves)
            if count is not None:
                return Leaves.all_of(leaves[:count])
        return under(RESULTS, root, [given] if given else [])

    @cached_property
    def whole_records(self) -> tuple[bytes, ...] | None:
        return self.records.whole if self.records else None

    @cached_property
    def decoded(self) -> tuple[Record, ...] | None:
        """None when they are not all known, or one is malformed."""
        try:
            return None if self.whole_records is None else tuple(records.decode(one) for one in self.whole_records)
        except RecordError:
            return None

    @property
    def taken(self) -> int:
        """How many inbox entries the checkpoint says it takes."""
        return self.checkpoint.inbox_cursor - self.held.parent.state.totals.inbox_cursor

    @cached_property
    def run(self) -> Run | None:
        if self.decoded is None:
            return None
        state = self.held.parent.state
        roots, states, samples, rejected = [state.root], [], [], None
        for index, record in enumerate(self.decoded):
            if index % RECORDS_PER_TRACE_ENTRY == 0:
                states.append(state)
            if isinstance(record.payload, VerificationProof):
                samples.append((index, state))
            try:
                state = apply(state, record, self.held.context)
            except LedgerRejection as rejection:
                rejected = rejected or (index, rejection)
            if (index + 1) % RECORDS_PER_TRACE_ENTRY == 0 or index + 1 == len(self.decoded):
                roots.append(state.root)
        return Run(tuple(roots), tuple(states), state, rejected, tuple(samples))

    @cached_property
    def trace(self) -> Leaves | None:
        """As it is under its root; besides what was given, what an honest or a careless sequencer would have written."""
        known = [self.held.trace] if self.held.trace else []
        if self.run:
            roots = self.run.roots
            known += [Leaves.all_of(roots), Leaves.all_of((*roots[:-1], self.checkpoint.state_root))]
        return under(TRACE, self.checkpoint.trace_root, known)


def under(name: str, root: bytes, known: Sequence[Leaves]) -> Leaves | None:
    """Of those under the root the one that says most."""
    fitting = [leaves for leaves in known if leaves.is_under(name, root)]
    return max(fitting, key=lambda leaves: len(leaves.known), default=None)


def chunk_count(count: int) -> int:
    return -(-count * PAIR_BYTES // CHUNK_BYTES)
