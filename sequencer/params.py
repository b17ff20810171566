"""The parameters of every method, as strict structs: camelCase on the wire, unknown keys refused, hex and base58 checked."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from solders.pubkey import Pubkey
from solders.signature import Signature

from sequencer.errors import RpcError
from sequencer.lifecycle import Status
from settlement.rpc_codes import Code
from settlement.spec import MAX_INTERVALS

U64 = Annotated[
    int,  # the upper bound is checked when the JSON is parsed: msgspec knows none so high
    msgspec.Meta(ge=0, description="an integer from 0 to 2^64 - 1", extra_json_schema={"maximum": 2**64 - 1}),
]
U32 = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]
U16 = Annotated[int, msgspec.Meta(ge=0, le=2**16 - 1)]
Hex32 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z", description="64 lower-case hex digits (32 bytes)")]
Hex96 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{192}\Z", description="192 lower-case hex digits (96 bytes)")]
PublicKey = Annotated[
    str, msgspec.Meta(pattern=r"^[1-9A-HJ-NP-Za-km-z]{32,44}\Z", description="a public key in base58 (32 bytes)")
]
SignatureText = Annotated[
    str, msgspec.Meta(pattern=r"^[1-9A-HJ-NP-Za-km-z]{64,88}\Z", description="a signature in base58 (64 bytes)")
]


Spec = Annotated[dict[str, Any], msgspec.Meta(extra_json_schema={"$ref": "#/components/schemas/TaskSpec"})]


class Params(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    pass


class RecordAuth(Params, frozen=True):
    public_key: PublicKey
    expiry_slot: U64
    signature: SignatureText


class SignedAuth(Params, frozen=True):
    public_key: PublicKey
    nonce: U64
    expiry_slot: U64
    signature: SignatureText


class RecordParams(Params, frozen=True):
    auth: RecordAuth


class SignedParams(Params, frozen=True):
    auth: SignedAuth


def public_key(text: str) -> bytes:
    """32 bytes. INVALID_PARAMS when it is no base58 public key."""
    try:
        return bytes(Pubkey.from_string(text))
    except ValueError as error:
        raise RpcError(Code.INVALID_PARAMS, f"{text} is no public key in base58: {error}") from None


def signature(text: str) -> bytes:
    """64 bytes. INVALID_PARAMS when it is no base58 signature."""
    try:
        return bytes(Signature.from_string(text))
    except ValueError as error:
        raise RpcError(Code.INVALID_PARAMS, f"the signature is not 64 bytes in base58: {error}") from None


# -- for clients ---------------------------------------------------------------------------------------------------


class Nothing(Params, frozen=True):
    pass


class SubmitTask(RecordParams, frozen=True):
    spec: Spec
    fee_lamports: U64
    deadline_slot: U64
    nonce: U64


class Withdraw(RecordParams, frozen=True):
    lamports: U64
    nonce: U64


class OfTask(Params, frozen=True):
    task_id: Hex32


class GetTasks(Params, frozen=True):
    status: Status | None = None
    client: PublicKey | None = None
    worker: PublicKey | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 100
    before: Hex32 | None = None


class GetBalance(Params, frozen=True):
    public_key: PublicKey
    commitment: Literal["processed", "confirmed", "finalized"] = "finalized"
    with_proof: bool = False


class GetCheckpoint(Params, frozen=True):
    epoch: U64


# -- for workers ---------------------------------------------------------------------------------------------------


class RegisterWorker(RecordParams, frozen=True):
    stake_lamports: U64
    environment: dict[str, Any]
    nonce: U64


class PullTask(SignedParams, frozen=True):
    pass


class ProgressPoint(Params, frozen=True):
    step: U64
    loss: float
    accuracy: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None


class Progress(Params, frozen=True):
    """What a worker says of its training so far: one point for each boundary that it has passed, of `steps` in all."""

    steps: U64
    points: Annotated[list[ProgressPoint], msgspec.Meta(max_length=MAX_INTERVALS)]


class RenewLease(SignedParams, frozen=True):
    task_id: Hex32
    lease_id: U64
    progress: Progress | None = None


class CommitResult(SignedParams, frozen=True):
    task_id: Hex32
    lease_id: U64
    commitment: Hex32


class Metrics(Params, frozen=True):
    accuracy: Annotated[float, msgspec.Meta(ge=0, le=1)]
    loss: float


class RevealResult(RecordParams, frozen=True):
    task_id: Hex32
    lease_id: U64
    result_hash: Hex32
    salt: Hex32
    work_root: Hex32
    entries_sha256: Hex32
    model_sha256: Hex32
    metrics: Metrics
    environment: dict[str, Any]
    nonce: U64


# -- for validators ------------------------------------------------------------------------------------------------


class GetDuties(Params, frozen=True):
    validator: PublicKey


class SubmitVerdict(RecordParams, frozen=True):
    task_id: Hex32
    result_hash: Hex32
    set_index: U16
    verdict: Literal["accept", "reject", "abstain"]
    reason: Literal[
        "none",
        "wrong_state",
        "wrong_work_root",
        "wrong_result",
        "wrong_metrics",
        "below_min_accuracy",
        "data_missing",
        "other_environment",
        "wrong_seed",
    ]
    replayed: U32
    intervals: U32
    accuracy_ppm: U32
    sample_signature: Hex96
    checked_intervals: Annotated[list[U32], msgspec.Meta(max_length=4096)]
    disputed_interval: U32 | None = None


class GetTrace(Params, frozen=True):
    epoch: U64


class GetProposal(Params, frozen=True):
    epoch: U64
    attempt: U32 | None = None


class GetAttestations(Params, frozen=True):
    epoch: U64
    attempt: U32 | None = None


class SubmitAttestation(SignedParams, frozen=True):
    epoch: U64
    attempt: U32
    hash: Hex32
    set_index: U16
    signature: Hex96
