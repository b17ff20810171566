"""The typed messages that are hashed or signed by BLS, and the ids derived from them (docs/protocol.md, sections 3, 4, 5 and 9)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Any

from settlement.signing import Domain
from settlement.tags import U32_MAX, H, fixed, from_hex, u32le, u64le


class InboxKind(IntEnum):
    """Kinds of inbox entry. Each credits an L2 account; a TASK then makes a task, a WITHDRAWAL takes lamports out, a STRIKE reverses a result
    that was proved wrong."""

    DEPOSIT = 1
    TASK = 2
    WITHDRAWAL = 3
    STRIKE = 4


@dataclass(frozen=True, slots=True)
class CheckpointMessage:
    """What a validator attests for one (epoch, attempt). Slots are L1's, payable_total is in lamports, hashes and roots 32 bytes."""

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

    def __post_init__(self) -> None:
        for member in fields(self):
            value = getattr(self, member.name)
            if member.type == "bytes":
                fixed(member.name, value, 32)
            elif isinstance(value, bool) or not isinstance(value, int):
                raise ValueError(f"{member.name} must be an integer, got {type(value).__name__}")
            else:
                (u32le if member.name == "attempt" else u64le)(value)

    def hash(self, domain: Domain) -> bytes:
        """The checkpoint hash: the 32-byte digest that validators sign with BLS and that the next checkpoint names as its parent."""
        return H(
            "checkpoint",
            domain.genesis,
            domain.program,
            u64le(self.epoch),
            u32le(self.attempt),
            u64le(self.cut_slot),
            u64le(self.expiry_slot),
            self.parent_hash,
            self.results_root,
            self.state_root,
            self.trace_root,
            self.data_root,
            u64le(self.payable_total),
            u64le(self.inbox_cursor),
            self.inbox_hash,
            self.set_hash,
        )

    def to_json(self) -> dict[str, int | str]:
        """The message's fields as docs/rpc.md names them: camelCase, hashes in hex."""
        return {
            _camel(member.name): value.hex() if isinstance(value := getattr(self, member.name), bytes) else value
            for member in fields(self)
        }

    @classmethod
    def from_json(cls, checkpoint: Mapping[str, Any]) -> CheckpointMessage:
        """The message in a checkpoint object of docs/rpc.md; its other keys are ignored. ValueError names a missing or malformed key."""
        values: dict[str, Any] = {}
        for member in fields(cls):
            key = _camel(member.name)
            if key not in checkpoint:
                raise ValueError(f"the checkpoint has no {key}")
            value = checkpoint[key]
            if member.type == "bytes":
                value = from_hex(key, value, 32)
            values[member.name] = value
        return cls(**values)


def highest_attempt(parent_cut_slot: int, cut_slot: int) -> int:
    """The highest attempt of an epoch that validators sign at this cut slot; -1 when the epoch cannot be cut there.

    It grows with every slot, so whatever number a liar gets signed, a checkpoint that is cut later may have a higher one.
    """
    return min(cut_slot - parent_cut_slot - 1, U32_MAX)


def genesis_parent(domain: Domain) -> bytes:
    """The parent hash of epoch 1."""
    return H("genesis", domain.genesis, domain.program)


def genesis_inbox_hash(domain: Domain) -> bytes:
    """hash(0) of the inbox: that of no entries."""
    return H("inbox", domain.genesis, domain.program)


@dataclass(frozen=True, slots=True)
class InboxEntry:
    """What entered through L1: index from 0, the slot it entered in, kind, lamports, payload hash (32 bytes)."""

    index: int
    slot: int
    kind: int
    lamports: int
    payload_hash: bytes


def next_inbox_hash(previous: bytes, entry: InboxEntry) -> bytes:
    """hash(i + 1) from hash(i) and entry i."""
    return H(
        "inbox-entry",
        fixed("previous inbox hash", previous, 32),
        u64le(entry.index),
        u64le(entry.slot),
        entry.kind.to_bytes(1, "little"),
        u64le(entry.lamports),
        fixed("payload hash", entry.payload_hash, 32),
    )


def deposit_payload_hash(beneficiary: bytes) -> bytes:
    """Payload hash of a deposit for the L2 account of this public key."""
    return H("inbox-deposit", fixed("beneficiary", beneficiary, 32))


def task_payload_hash(client: bytes, spec_hash: bytes, kind: int, mode: int, deadline_slot: int) -> bytes:
    """Payload hash of an inbox entry that makes a task."""
    return H(
        "inbox-task",
        fixed("client", client, 32),
        fixed("spec hash", spec_hash, 32),
        kind.to_bytes(1, "little"),
        mode.to_bytes(1, "little"),
        u64le(deadline_slot),
    )


def withdrawal_payload_hash(owner: bytes, withdraw_lamports: int, task_id: bytes) -> bytes:
    """Payload hash of a forced withdrawal. `task_id` is the overdue task to be refunded first, or zeros."""
    return H("inbox-withdrawal", fixed("owner", owner, 32), u64le(withdraw_lamports), fixed("task id", task_id, 32))


def strike_payload_hash(challenger: bytes, share_basis_points: int, task_id: bytes, result_hash: bytes) -> bytes:
    """Payload hash of a strike. `share_basis_points` of the stake behind the result go to the challenger."""
    return H(
        "inbox-strike",
        fixed("challenger", challenger, 32),
        u64le(share_basis_points),
        fixed("task id", task_id, 32),
        fixed("result hash", result_hash, 32),
    )


def inbox_task_id(domain: Domain, client: bytes, inbox_index: int, spec_hash: bytes) -> bytes:
    """The id of the task that inbox entry `inbox_index` makes."""
    return H(
        "inbox-task-id",
        domain.genesis,
        domain.program,
        fixed("client", client, 32),
        u64le(inbox_index),
        fixed("spec hash", spec_hash, 32),
    )


def task_id(domain: Domain, client_public_key: bytes, nonce: int, spec_hash: bytes) -> bytes:
    return H(
        "task",
        domain.genesis,
        domain.program,
        fixed("client public key", client_public_key, 32),
        u64le(nonce),
        fixed("spec hash", spec_hash, 32),
    )


def commitment(
    domain: Domain, task_id: bytes, lease_id: int, worker_public_key: bytes, salt: bytes, result_hash: bytes
) -> bytes:
    """What a worker gives before it reveals: hides the result, binds it to this worker and lease."""
    return H(
        "commitment",
        domain.genesis,
        domain.program,
        fixed("task id", task_id, 32),
        u64le(lease_id),
        fixed("worker public key", worker_public_key, 32),
        fixed("salt", salt, 32),
        fixed("result hash", result_hash, 32),
    )


def result_hash(
    task_id: bytes,
    worker_public_key: bytes,
    mode: int,
    environment_hash: bytes,
    work_root: bytes,
    model_hash: bytes,
    metrics_hash: bytes,
) -> bytes:
    return H(
        "result",
        fixed("task id", task_id, 32),
        fixed("worker public key", worker_public_key, 32),
        mode.to_bytes(1, "little"),
        fixed("environment hash", environment_hash, 32),
        fixed("work root", work_root, 32),
        fixed("model hash", model_hash, 32),
        fixed("metrics hash", metrics_hash, 32),
    )


def sample_digest(task_id: bytes, commitment: bytes) -> bytes:
    """What a validator signs with BLS to draw its intervals; both parts bind genesis and program already."""
    return H("sample", fixed("task id", task_id, 32), fixed("commitment", commitment, 32))


def proof_of_possession_digest(domain: Domain, authority: bytes, bls_public_key: bytes) -> bytes:
    """Signed by a BLS key at registration. Binding the authority keeps another from registering the same key with a copied proof."""
    return H(
        "proof-of-possession",
        domain.genesis,
        domain.program,
        fixed("authority", authority, 32),
        fixed("compressed BLS key", bls_public_key, 48),
    )


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(word.capitalize() for word in rest)
