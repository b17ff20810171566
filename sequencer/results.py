"""What every method answers with, as structs: camelCase on the wire, a key that is UNSET is left out.

The schemas in the OpenRPC document (openrpc.py) are made of these types, so they say what is sent and not what somebody once wrote down.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from sequencer.lifecycle import CheckpointStatus, Status
from sequencer.params import U16, U32, U64, Hex32, Hex96, Metrics, PublicKey, SignatureText, Spec
from settlement.records import Kind, Mode, Reason, Verdict

T = TypeVar("T")


def _names(kind: type[IntEnum]) -> msgspec.Meta:
    return msgspec.Meta(extra_json_schema={"enum": [member.name.lower() for member in kind]})


Hex = Annotated[str, msgspec.Meta(pattern=r"^([0-9a-f]{2})*\Z", description="bytes in lower-case hex")]
KindName = Annotated[str, _names(Kind)]
ModeName = Annotated[str, _names(Mode)]
ReasonName = Annotated[str, _names(Reason)]
VerdictName = Annotated[str, _names(Verdict)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


def unless_none(value: T | None) -> T | UnsetType:
    return UNSET if value is None else value


class Result(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    pass


class Context(Result, frozen=True):
    """L1's slot as last read, and the open epoch."""

    slot: U64
    epoch: U64


# -- for clients ---------------------------------------------------------------------------------------------------


class Submitted(Result, frozen=True):
    task_id: Hex32
    status: Status


class Withdrawn(Result, frozen=True):
    public_key: PublicKey
    payable_lamports: U64


class Refused(Result, frozen=True):
    """A result of this worker on the task that validators rejected."""

    worker: PublicKey
    reason: ReasonName


class PointSaid(Result, frozen=True):
    step: U64
    loss: float
    accuracy: Share | UnsetType = UNSET


class ProgressSaid(Result, frozen=True):
    """What the worker under the lease says of its training; nobody has checked it."""

    verified: Literal[False]
    steps: U64
    points: list[PointSaid]


class Task(Result, frozen=True):
    task_id: Hex32
    client: PublicKey
    kind: KindName
    mode: ModeName
    status: Status
    spec: Spec
    spec_hash: Hex32
    fee_lamports: U64
    deadline_slot: U64
    rejections: list[Refused]
    worker: PublicKey | UnsetType = UNSET
    lease_expiry_slot: U64 | UnsetType = UNSET
    progress: ProgressSaid | UnsetType = UNSET
    accuracy: Share | UnsetType = UNSET
    epoch: U64 | UnsetType = UNSET
    replayed_share: Share | UnsetType = UNSET


class TaskPage(Result, frozen=True):
    """Tasks, newest first. `next` is what to give as `before` for those after them; it is absent when all have been looked at. A page with
    fewer than `limit` may have one: so many tasks are looked at in one call, whether they match or not."""

    tasks: list[Task]
    next: Hex32 | UnsetType = UNSET


class VerdictGiven(Result, frozen=True):
    validator: PublicKey
    verdict: VerdictName
    reason: ReasonName
    replayed: U32
    intervals: U32
    accuracy_ppm: U32


class TaskResult(Result, frozen=True):
    task_id: Hex32
    worker: PublicKey
    result_hash: Hex32
    model_sha256: Hex32
    entries_sha256: Hex32
    work_root: Hex32
    metrics: Metrics
    environment: dict[str, Any]
    verdicts: list[VerdictGiven]
    epoch: U64 | UnsetType = UNSET


class Message(Result, frozen=True):
    """A checkpoint message's fields and the hash that validators sign."""

    epoch: U64
    attempt: U32
    cut_slot: U64
    expiry_slot: U64
    parent_hash: Hex32
    results_root: Hex32
    state_root: Hex32
    trace_root: Hex32
    data_root: Hex32
    payable_total: U64
    inbox_cursor: U64
    inbox_hash: Hex32
    set_hash: Hex32
    hash: Hex32


class Checkpoint(Message, frozen=True):
    """The epoch's message and how far it has come; the post's signature, slot and compute units once it is on L1."""

    set_version: U32
    status: CheckpointStatus
    bitmap: Hex32
    signers: U16
    set_size: U16
    records: U32
    data_sha256: Hex32
    signature: SignatureText | UnsetType = UNSET
    slot: U64 | UnsetType = UNSET
    compute_units: U64 | UnsetType = UNSET


class Attestation(Result, frozen=True):
    set_index: U16
    signature: Hex96


class AttestedProposal(Result, frozen=True):
    """A checkpoint message and who has signed it."""

    message: Message
    set_version: U64
    attestations: list[Attestation]


class Attestations(Result, frozen=True):
    epoch: U64
    proposals: list[AttestedProposal]


class Trace(Result, frozen=True):
    """The leaves of an epoch's trace root: the state root before its first record, after every eighth, and after the last."""

    epoch: U64
    hash: Hex32
    state_roots: list[Hex32]


class Receipt(Result, frozen=True):
    """The PAYMENT record at `index` of `count` and its siblings from the leaf upwards."""

    record: Hex
    index: U32
    count: U32
    siblings: list[Hex32]
    checkpoint: Message


class AccountProof(Result, frozen=True):
    """The account's leaf and its siblings under stateRoot."""

    value: Hex
    siblings: list[Hex32]


class Balance(Result, frozen=True):
    balance_lamports: U64
    locked_fees_lamports: U64
    locked_stake_lamports: U64
    payable_lamports: U64
    nonce: U64
    state_root: Hex32
    epoch: U64
    proof: AccountProof | UnsetType = UNSET


class EpochInfo(Result, frozen=True):
    epoch: U64
    attempt: U32
    slot: U64
    records: U32
    posted_epoch: U64
    finalized_epoch: U64
    seconds_open: Annotated[float, msgspec.Meta(ge=0)]


class Validator(Result, frozen=True):
    set_index: U16
    authority: PublicKey
    bls_public_key: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{96}\Z", description="G1, 48 bytes compressed")]
    stake_lamports: U64
    last_seen_slot: U64


class HeldLease(Result, frozen=True):
    task_id: Hex32
    lease_id: U64
    expiry_slot: U64


class Worker(Result, frozen=True):
    public_key: PublicKey
    locked_stake_lamports: U64
    environment: dict[str, Any]
    tasks_paid: U64
    tasks_rejected: U64
    lease: HeldLease | UnsetType = UNSET


class Version(Result, frozen=True):
    pouw: str
    protocol: Literal[1]
    genesis_hash: PublicKey
    program_id: PublicKey
    l1_url: str


# -- for workers ---------------------------------------------------------------------------------------------------


class Registered(Result, frozen=True):
    public_key: PublicKey
    locked_stake_lamports: U64


class Lease(Result, frozen=True):
    lease_id: U64
    expiry_slot: U64


class Granted(Result, frozen=True):
    lease: Lease
    task: Task


class Renewed(Result, frozen=True):
    expiry_slot: U64


class TaskStatus(Result, frozen=True):
    status: Status


# -- for validators ------------------------------------------------------------------------------------------------


class Duty(Result, frozen=True):
    task_id: Hex32
    client: PublicKey
    nonce: U64
    spec: Spec
    spec_hash: Hex32
    worker: PublicKey
    lease_id: U64
    commitment: Hex32
    salt: Hex32
    result_hash: Hex32
    work_root: Hex32
    entries_sha256: Hex32
    model_sha256: Hex32
    metrics: Metrics
    environment: dict[str, Any]
    disputed_intervals: list[U32]
    verdict_given: bool


class ProposalName(Result, frozen=True):
    epoch: U64
    attempt: U32


class Duties(Result, frozen=True):
    """The undecided results, oldest first, and the proposal that waits for this validator's attestation."""

    set_version: U32
    set_index: U16
    results: list[Duty]
    proposal: ProposalName | None


class Attested(Result, frozen=True):
    """How far the proposal's attestations have come."""

    signers: U16
    stake_lamports: U64
    quorum: bool
