"""An epoch's batch: records in order with their authorisations, the roots over them, and all that a validator checks before it signs.

docs/protocol.md, sections 2 to 8. The bytes under the data root are all records, then all authorisations, uncompressed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from settlement import merkle, messages, records
from settlement.ledger.authorisation import check_authorisation, check_sample_signature
from settlement.ledger.context import Context
from settlement.ledger.rejection import BatchError, LedgerRejection, Rejection
from settlement.ledger.state import State
from settlement.ledger.transition import apply
from settlement.messages import CheckpointMessage, InboxEntry, InboxKind
from settlement.records import RECORD_BYTES, Event, Record, RecordError, VerificationProof, inbox_event
from settlement.signing import AUTHORISATION_BYTES, EMPTY, Authorisation, Domain

MAX_RECORDS: Final = 4096
RECORDS_PER_TRACE_ENTRY: Final = 8
CHUNK_BYTES: Final = 1024
_PAIR_BYTES: Final = RECORD_BYTES + AUTHORISATION_BYTES


@dataclass(frozen=True, slots=True)
class Parent:
    """What a batch extends: the parent's checkpoint hash, cut slot, inbox hash at its cursor, and the state it led to."""

    hash: bytes
    cut_slot: int
    inbox_hash: bytes
    state: State

    @classmethod
    def genesis(cls, domain: Domain) -> Parent:
        """What epoch 1 extends."""
        return cls(messages.genesis_parent(domain), 0, messages.genesis_inbox_hash(domain), State.empty())

    @classmethod
    def of(cls, message: CheckpointMessage, domain: Domain, state: State) -> Parent:
        """What the epoch after `message` extends; `state` must be the one it led to."""
        if state.root != message.state_root:
            raise ValueError(f"the state's root is {state.root.hex()}, the message's {message.state_root.hex()}")
        return cls(message.hash(domain), message.cut_slot, message.inbox_hash, state)


@dataclass(frozen=True, slots=True)
class BatchRoots:
    """What a checkpoint message says of a batch; `trace` are the leaves of the trace root, `data` the bytes under the data root."""

    results_root: bytes
    trace_root: bytes
    data_root: bytes
    state: State
    trace: tuple[bytes, ...] = field(repr=False)
    data: bytes = field(repr=False)

    @property
    def count(self) -> int:
        """Records in the batch."""
        return len(self.data) // _PAIR_BYTES


class BatchBuilder:
    """A batch that grows record by record, for a sequencer whose epoch is open. Signatures are the caller's to check beforehand."""

    def __init__(self, parent_state: State, context: Context) -> None:
        self._context = context
        self._records: list[bytes] = []
        self._authorisations: list[bytes] = []
        self._trace = [parent_state.root]
        self._only_inbox = True
        self.state = parent_state

    def __len__(self) -> int:
        return len(self._records)

    def add(self, record: Record, authorisation: Authorisation = EMPTY) -> State:
        """Appends a record and gives the state after it. LedgerRejection leaves the batch as it was."""
        if len(self._records) >= MAX_RECORDS:
            raise LedgerRejection(Rejection.TOO_MANY_RECORDS, f"a batch has at most {MAX_RECORDS} records")
        from_inbox = inbox_event(record) is not None
        if from_inbox and not self._only_inbox:
            raise LedgerRejection(
                Rejection.INBOX_NOT_FIRST, "what the inbox forces stands before every other record of a batch"
            )
        self.state = apply(self.state, record, self._context)
        self._only_inbox = from_inbox
        self._records.append(records.encode(record))
        self._authorisations.append(authorisation.encode())
        if len(self._records) % RECORDS_PER_TRACE_ENTRY == 0:
            self._trace.append(self.state.root)
        return self.state

    def close(self) -> BatchRoots:
        """The roots over all records so far. The builder may go on growing afterwards."""
        trace = list(self._trace)
        if len(self._records) % RECORDS_PER_TRACE_ENTRY:
            trace.append(self.state.root)
        data = b"".join(self._records) + b"".join(self._authorisations)
        return BatchRoots(
            results_root=merkle.root("results-root", self._records),
            trace_root=merkle.root("trace-root", trace),
            data_root=merkle.root("data-root", chunks(data)),
            state=self.state,
            trace=tuple(trace),
            data=data,
        )


def close(
    parent_state: State, batch: Sequence[Record], authorisations: Sequence[Authorisation], context: Context
) -> BatchRoots:
    """The roots of a whole batch. LedgerRejection when a record cannot stand where it does."""
    builder = BatchBuilder(parent_state, context)
    for record, authorisation in zip(batch, authorisations, strict=True):
        builder.add(record, authorisation)
    return builder.close()


def chunks(data: bytes) -> list[bytes]:
    """The leaves of the data root: chunks of 1,024 bytes, the last may be shorter."""
    return [data[start : start + CHUNK_BYTES] for start in range(0, len(data), CHUNK_BYTES)]


def split(data: bytes) -> list[tuple[bytes, bytes]]:
    """(record, authorisation) for each record in the bytes under a data root. BatchError when they are no batch."""
    count, rest = divmod(len(data), _PAIR_BYTES)
    if rest or count > MAX_RECORDS:
        raise BatchError(f"{len(data)} bytes are no batch: {_PAIR_BYTES} for each of at most {MAX_RECORDS} records")
    at = count * RECORD_BYTES
    return [
        (
            data[i * RECORD_BYTES : (i + 1) * RECORD_BYTES],
            data[at + i * AUTHORISATION_BYTES : at + (i + 1) * AUTHORISATION_BYTES],
        )
        for i in range(count)
    ]


def inbox_entry(record: Record) -> InboxEntry | None:
    """The inbox entry that the record takes, as L1 must have it; None for a record that takes none."""
    event = inbox_event(record)
    if event is None:
        return None
    if event.event is Event.DEPOSIT:
        kind, payload_hash = InboxKind.DEPOSIT, messages.deposit_payload_hash(event.public_key)
    elif event.event is Event.INBOX_TASK:
        kind = InboxKind.TASK
        payload_hash = messages.task_payload_hash(
            event.public_key, event.spec_hash, event.kind, event.mode, event.number
        )
    elif event.event is Event.FORCED_WITHDRAWAL:
        kind = InboxKind.WITHDRAWAL
        payload_hash = messages.withdrawal_payload_hash(event.public_key, event.number, record.task)
    else:
        kind = InboxKind.STRIKE
        payload_hash = messages.strike_payload_hash(event.public_key, event.number, record.task, event.spec_hash)
    return InboxEntry(event.inbox_index, event.slot, kind, event.lamports, payload_hash)


def inbox_hash(previous: bytes, batch: Iterable[Record]) -> bytes:
    """The inbox hash at the cursor after the batch's inbox records, from that at its parent's cursor."""
    for record in batch:
        entry = inbox_entry(record)
        if entry is not None:
            previous = messages.next_inbox_hash(previous, entry)
    return previous


def check_batch(parent: Parent, message: CheckpointMessage, data: bytes, context: Context) -> BatchRoots:
    """All that a validator checks of a proposal without asking L1: that `data` is a valid batch on `parent` and leads to `message`.

    Every record, authorisation and sample signature, every root, payable total, cursor, inbox hash, set hash, parent and epoch.
    What L1 must be asked: that the inbox hash is L1's at that cursor, the set pinned, slots and attempt in order.
    BatchError says what was wrong.
    """
    if context.base_slot != parent.cut_slot:
        raise ValueError(f"the context's base slot is {context.base_slot}, the parent's cut slot {parent.cut_slot}")
    if message.cut_slot <= parent.cut_slot or message.expiry_slot < message.cut_slot:
        raise BatchError(
            f"slots must rise: parent's cut {parent.cut_slot}, cut {message.cut_slot}, expiry {message.expiry_slot}"
        )
    builder = BatchBuilder(parent.state, context)
    taken: list[Record] = []
    for index, (record_bytes, authorisation_bytes) in enumerate(split(data)):
        try:
            record = records.decode(record_bytes)
            authorisation = Authorisation.decode(authorisation_bytes)
            check_authorisation(record, authorisation, context.domain, context.base_slot)
            before = builder.state
            builder.add(record, authorisation)
            if isinstance(record.payload, VerificationProof):
                check_sample_signature(before, record, context)
        except RecordError as error:
            raise BatchError(str(error), index, Rejection.MALFORMED_RECORD) from error
        except LedgerRejection as rejection:
            raise BatchError(str(rejection), index, rejection.code) from rejection
        taken.append(record)
    roots = builder.close()
    expected = CheckpointMessage(
        epoch=context.epoch,
        attempt=message.attempt,
        cut_slot=message.cut_slot,
        expiry_slot=message.expiry_slot,
        parent_hash=parent.hash,
        results_root=roots.results_root,
        state_root=roots.state.root,
        trace_root=roots.trace_root,
        data_root=roots.data_root,
        payable_total=roots.state.totals.payable,
        inbox_cursor=roots.state.totals.inbox_cursor,
        inbox_hash=inbox_hash(parent.inbox_hash, taken),
        set_hash=context.validator_set.hash(context.domain),
    )
    ours, theirs = expected.to_json(), message.to_json()
    wrong = [f"{key} is {theirs[key]}, must be {ours[key]}" for key in ours if ours[key] != theirs[key]]
    if wrong:
        raise BatchError("; ".join(wrong))
    return roots
