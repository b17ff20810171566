"""What the node stores: one frozen struct per table, encoded as MessagePack. Bytes are raw, slots are L1's, amounts lamports.

Changing a field here changes files on disk: bump SCHEMA in database.py and write the migration in recovery.py. A field with a default reads older
rows as they are.
"""

from __future__ import annotations

from dataclasses import fields
from enum import StrEnum

import msgspec

from sequencer.lifecycle import CheckpointStatus, Status
from settlement.messages import CheckpointMessage


class Row(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class GroupKind(StrEnum):
    """What a group of records does; a group stands in the batch as a whole or not at all."""

    SUBMISSION = "submission"
    REGISTRATION = "registration"
    RESULT = "result"
    WITHDRAWAL = "withdrawal"
    DECISION = "decision"
    REFUND = "refund"


DERIVED = frozenset({GroupKind.DECISION, GroupKind.REFUND})
"""Groups the node made by itself: dropped when they no longer apply, and made again when they do."""


class Lease(Row, frozen=True):
    lease_id: int
    worker: bytes
    expiry_slot: int


class Rejection(Row, frozen=True):
    worker: bytes
    reason: int
    commitment: bytes


class TaskRow(Row, frozen=True):
    task_id: bytes
    order: int
    client: bytes
    nonce: int
    spec_hash: bytes
    fee_lamports: int
    deadline_slot: int
    kind: int
    mode: int
    needs_gpu: bool
    # `worker` holds the lease, or its result stands; None while the task waits.
    status: Status = Status.PENDING
    lease: Lease | None = None
    worker: bytes | None = None
    commitment: bytes | None = None
    rejections: list[Rejection] = []
    epoch: int | None = None
    accuracy: float | None = None
    replayed_share: float | None = None


class ResultRow(Row, frozen=True):
    """One revealed result, under its task and commitment; kept after a rejection, since the slash may have to be undone."""

    task_id: bytes
    commitment: bytes
    worker: bytes
    lease_id: int
    salt: bytes
    result_hash: bytes
    work_root: bytes
    entries_sha256: bytes
    model_sha256: bytes
    metrics_json: bytes
    environment_json: bytes
    accuracy: float
    intervals: int
    revealed_slot: int


class VerdictRow(Row, frozen=True):
    """A validator's last verdict on one result, with the signed record that goes into the batch once the result is decided."""

    authority: bytes
    set_index: int
    verdict: int
    reason: int
    replayed: int
    intervals: int
    accuracy_ppm: int
    checked: list[int]
    disputed: int | None
    record: bytes
    authorisation: bytes
    sample_signature: bytes
    expiry_slot: int
    given_slot: int


class WorkerRow(Row, frozen=True):
    public_key: bytes
    environment_json: bytes


class GroupRow(Row, frozen=True):
    """Records that stand in a batch together, in order, each with its authorisation; `seq` orders groups across epochs. `rejected_epoch`
    held it and was rejected on L1 (since schema 4)."""

    seq: int
    kind: GroupKind
    task_id: bytes
    records: list[bytes]
    authorisations: list[bytes]
    expiry_slot: int
    rejected_epoch: int | None = None


class DepositRow(Row, frozen=True):
    """An inbox entry of any kind taken from L1 at `confirmed`, with the record made of it; `rejected_epoch` as a group's."""

    index: int
    slot: int
    kind: int
    lamports: int
    payload_hash: bytes
    beneficiary: bytes
    inbox_hash: bytes
    record: bytes
    rejected_epoch: int | None = None


class SentRow(Row, frozen=True):
    """A signed post transaction, kept before it is first sent: after a crash the same bytes are followed, not new ones."""

    raw: bytes
    signature: str
    last_valid_block_height: int


class EpochRow(Row, frozen=True):
    """A cut epoch: its message, what it was cut from, and how far it has come."""

    epoch: int
    attempt: int
    cut_slot: int
    expiry_slot: int
    parent_hash: bytes
    results_root: bytes
    state_root: bytes
    trace_root: bytes
    data_root: bytes
    payable_total: int
    inbox_cursor: int
    inbox_hash: bytes
    set_hash: bytes
    set_version: int
    hash: bytes
    first_deposit: int
    seqs: list[int]
    records: int
    data_sha256: bytes
    status: CheckpointStatus
    bitmap: int = 0
    aggregate: bytes | None = None
    sent: list[SentRow] = []
    l1_signature: str | None = None
    posted_slot: int | None = None
    compute_units: int | None = None

    @property
    def message(self) -> CheckpointMessage:
        return CheckpointMessage(**{member.name: getattr(self, member.name) for member in fields(CheckpointMessage)})


class AttemptRow(Row, frozen=True):
    """The last attempt of an epoch that was given up: the next one may be cut only when L1's finalized slot is past its expiry.
    `certified`: a quorum had signed it (since schema 3)."""

    attempt: int
    expiry_slot: int
    certified: bool = True


class SetRow(Row, frozen=True):
    version: int
    entries: list[bytes]


class LeafRow(Row, frozen=True):
    """A leaf of the last finalized state, under its key."""

    kind: str
    value: bytes


class AnswerRow(Row, frozen=True):
    """What a record call answered the first time."""

    answer_json: bytes


class NonceRow(Row, frozen=True):
    expiry_slot: int


class OrderRow(Row, frozen=True):
    """Which task has a place in the order of submission: getTasks goes through them from the disk."""

    task_id: bytes


class UploadRow(Row, frozen=True):
    """A blob that an account uploaded and no task uses yet."""

    owner: bytes
    length: int


class ForcedRow(Row, frozen=True):
    """A task that came through the inbox and whose spec nobody has uploaded yet; `refused` when what was uploaded cannot be one."""

    task_id: bytes
    client: bytes
    inbox_index: int
    spec_hash: bytes
    fee_lamports: int
    deadline_slot: int
    kind: int
    mode: int
    refused: bool = False


class SpecRow(Row, frozen=True):
    spec_json: bytes


class AttestationRow(Row, frozen=True):
    signature: bytes


class MetaRow(Row, frozen=True):
    """The node's one row of its own: which chain it serves, its counters, the last finalized epoch, how many posts in a row did not land
    (since schema 3); and since schema 4, of rejections: the highest epoch that L1 had taken at the last one, so that no number up to it is
    used again, the last epoch that was rejected, and whether it held what had been rejected before."""

    schema: int
    genesis: bytes
    program: bytes
    treasury: bytes
    max_inbox_per_epoch: int
    finalized_epoch: int
    pinned_version: int
    next_seq: int
    next_order: int
    next_lease_id: int
    posts_unlanded: int = 0
    used_up_epoch: int = 0
    rejected_epoch: int = 0
    rejected_again: bool = False
