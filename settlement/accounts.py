"""The program's accounts as Python values (docs/settlement.md). Fields come by name from the IDL; that 256 slots stand
behind the registry's header and the entries behind a set's, which Anchor does not describe, is said here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import IntEnum
from functools import cached_property
from typing import Any, TypeVar

from solders.pubkey import Pubkey

from settlement import idl, messages
from settlement.borsh import Reader, decode, fixed_size
from settlement.errors import AccountInvalid, IdlError
from settlement.validator_set import SetEntry, ValidatorSet

ACCOUNT_VERSION = 1
MAX_VALIDATORS = 256
GROWTH_BYTES = 10_240  # Solana's MAX_PERMITTED_DATA_INCREASE per instruction
SET_ENTRY_BYTES = 136
HASH_BYTES = 32
OCCUPIED = 1  # flag of a registry slot
_SLOT = {"defined": {"name": "ValidatorSlot"}}


@dataclass(frozen=True)
class Parameters:
    """docs/settlement.md, "Parameters": slots, lamports and counts, all u64."""

    challenge_window_slots: int
    inclusion_window_slots: int
    max_expiry_slots: int
    min_seal_gap_slots: int
    answer_slots: int
    stall_slots: int
    hatch_slots: int
    unbonding_slots: int
    max_inbox_per_epoch: int
    min_inbox_lamports: int
    min_validators: int
    min_set_stake_lamports: int
    min_validator_stake_lamports: int
    heartbeat_slots: int
    jail_slots: int
    max_misses: int
    miss_slash_basis_points: int
    equivocation_slash_basis_points: int
    fraud_slash_basis_points: int
    reporter_basis_points: int
    poster_reward_basis_points: int
    poster_bond_lamports: int
    demand_bond_lamports: int
    reward_lamports_per_epoch: int
    forced_fee_lamports: int
    governance_delay_slots: int

    def to_mapping(self) -> dict[str, int]:
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def difference(self, expected: Parameters) -> tuple[str, int, int] | None:
        """Name, own value and expected value of the first parameter that differs."""
        for name, value in self.to_mapping().items():
            if value != getattr(expected, name):
                return name, value, getattr(expected, name)
        return None


LOCALNET_PROFILE = Parameters(
    challenge_window_slots=16,
    inclusion_window_slots=32,
    max_expiry_slots=64,
    min_seal_gap_slots=64,
    answer_slots=600,
    stall_slots=1_500,
    hatch_slots=9_000,
    unbonding_slots=20_000,
    max_inbox_per_epoch=1_024,
    min_inbox_lamports=10_000,
    min_validators=1,
    min_set_stake_lamports=1_000_000,
    min_validator_stake_lamports=1_000_000,
    heartbeat_slots=1_000,
    jail_slots=1_000,
    max_misses=100,
    miss_slash_basis_points=10,
    equivocation_slash_basis_points=500,
    fraud_slash_basis_points=5_000,
    reporter_basis_points=1_000,
    poster_reward_basis_points=1_000,
    poster_bond_lamports=10_000_000,
    demand_bond_lamports=10_000_000,
    reward_lamports_per_epoch=100_000,
    forced_fee_lamports=10_000,
    governance_delay_slots=21_000,
)


@dataclass(frozen=True)
class InboxHead:
    """The inbox up to its last entry: how many, their sum, the hash after the last."""

    count: int
    lamports: int
    hash: bytes


@dataclass(frozen=True)
class PostedHead:
    """The last accepted checkpoint that is not voided; `inbox_lamports` is the running sum at its cursor."""

    epoch: int
    hash: bytes
    cut_slot: int
    expiry_slot: int
    payable_total: int
    inbox_cursor: int
    inbox_hash: bytes
    inbox_lamports: int


@dataclass(frozen=True)
class FinalizedHead:
    epoch: int
    hash: bytes
    state_root: bytes
    payable_total: int
    inbox_cursor: int
    slot: int
    inbox_lamports: int


@dataclass(frozen=True)
class SetReference:
    """A sealed version; version 0 means none."""

    version: int
    slot: int
    hash: bytes


@dataclass(frozen=True)
class EpochRange:
    """Epochs `first` … `last` are void; first 0 means none."""

    first: int
    last: int


@dataclass(frozen=True)
class Config:
    genesis_hash: bytes
    authority: Pubkey
    parameters: Parameters
    inbox: InboxHead
    highest_epoch: int
    posted: PostedHead
    last_post_slot: int
    finalized: FinalizedHead
    pinned: SetReference
    sealed_before: SetReference
    sealed_last: SetReference
    claimed_total: int
    escaped: int
    paused: int
    governance: Pubkey
    next_governance: Pubkey
    initialized_slot: int
    last_stall_slot: int
    escape_slot: int
    pending_slashes: int
    voids: tuple[EpochRange, ...]

    def is_void(self, epoch: int) -> bool:
        """Whether the posted epoch was rejected, or builds on one that was. Ranges behind the finalized epoch are forgotten."""
        return any(0 < void.first <= epoch <= void.last for void in self.voids)

    def is_dead(self, epoch: int) -> bool:
        """Of a checkpoint that is Posted: whether it can never be final."""
        return epoch <= self.finalized.epoch or self.is_void(epoch)


@dataclass(frozen=True)
class RegistrySlot:
    """A slot in use; `index` is its place among the 256."""

    index: int
    authority: Pubkey
    bls_public_key: bytes
    stake_lamports: int
    stake_slot: int
    reward_lamports: int
    reserved: int
    heartbeat_slot: int
    misses: int
    flags: int


@dataclass(frozen=True)
class Registry:
    """`slots` are those in use; `size_bytes` is the account's size, `full_bytes` what it must grow to."""

    count: int
    slots: tuple[RegistrySlot, ...]
    size_bytes: int
    full_bytes: int

    def slot_of(self, authority: Pubkey) -> RegistrySlot | None:
        return next((slot for slot in self.slots if slot.authority == authority), None)


@dataclass(frozen=True)
class SetAccount:
    """A ValidatorSet account. Unsealed, it has no entries and `validator_set` raises."""

    set_version: int
    sealed: bool
    sealed_slot: int
    count: int
    total_stake_lamports: int
    replaced_slot: int
    set_hash: bytes
    aggregate_key: bytes
    payer: Pubkey
    slot_indexes: bytes
    entries: bytes
    size_bytes: int
    full_bytes: int

    @cached_property
    def validator_set(self) -> ValidatorSet:
        parts = (self.entries[i : i + SET_ENTRY_BYTES] for i in range(0, len(self.entries), SET_ENTRY_BYTES))
        return ValidatorSet(self.set_version, tuple(SetEntry.decode(part) for part in parts))


class CheckpointStatus(IntEnum):
    POSTED = 1
    FINALIZED = 2
    REJECTED = 3
    VOIDED = 4


@dataclass(frozen=True)
class Checkpoint:
    epoch: int
    attempt: int
    cut_slot: int
    expiry_slot: int
    hash: bytes
    parent_hash: bytes
    results_root: bytes
    state_root: bytes
    trace_root: bytes
    data_root: bytes
    payable_total: int
    inbox_cursor: int
    inbox_hash: bytes
    set_version: int
    bitmap: bytes
    posted_slot: int
    poster: Pubkey
    parent_epoch: int
    inbox_lamports: int
    challenge_until_slot: int
    bond_lamports: int
    open_demands: int
    slashed_bitmap: bytes
    rewarded: int
    status: CheckpointStatus


@dataclass(frozen=True)
class InboxEntryAccount:
    """An entry, with the running hash and sum after it. What `number`, `reference` and `kind_mode` mean depends on the kind
    (docs/settlement.md); settlement.inbox makes the record of it."""

    index: int
    slot: int
    kind: int
    lamports: int
    payload_hash: bytes
    beneficiary: Pubkey
    hash_after: bytes
    lamports_after: int
    refunded: int
    kind_mode: int
    number: int
    reference: bytes
    result_hash: bytes = bytes(32)
    """Of a strike: it stands behind the entry's other fields. Zeros in every other entry."""

    @property
    def entry(self) -> messages.InboxEntry:
        return messages.InboxEntry(self.index, self.slot, self.kind, self.lamports, self.payload_hash)


@dataclass(frozen=True)
class Claim:
    claimed_lamports: int
    escaped: int


@dataclass(frozen=True)
class ProofBuffer:
    owner: Pubkey
    id: int
    length: int
    data: bytes


T = TypeVar("T")
_NESTED: dict[str, type] = {
    "parameters": Parameters,
    "inbox": InboxHead,
    "posted": PostedHead,
    "finalized": FinalizedHead,
    **dict.fromkeys(("pinned", "sealed_before", "sealed_last"), SetReference),
    "voids": EpochRange,
}


def _pick(kind: type[T], values: Mapping[str, Any]) -> T:
    """An instance of a dataclass from decoded fields; what it has no field for (bumps, reserved bytes) is left out."""
    wanted: dict[str, Any] = {}
    for field in fields(kind):  # type: ignore[arg-type]
        value = values[field.name]
        if field.name in _NESTED:
            nested = _NESTED[field.name]
            value = _pick(nested, value) if isinstance(value, Mapping) else tuple(_pick(nested, one) for one in value)
        wanted[field.name] = value
    return kind(**wanted)


def decode_as(name: str, address: Pubkey, data: bytes, kind: type[T]) -> T:
    return _pick(kind, _fields(name, address, data)[0])


def _fields(name: str, address: Pubkey, data: bytes) -> tuple[dict[str, Any], bytes]:
    try:
        values, tail = idl.committed().decode_account(name, data)
    except IdlError as error:
        raise AccountInvalid(str(address), str(error)) from error
    if (version := values["version"]) != ACCOUNT_VERSION:
        raise AccountInvalid(str(address), f"{name} has layout version {version}, this client knows {ACCOUNT_VERSION}")
    return values, tail


def decode_config(address: Pubkey, data: bytes) -> Config:
    return decode_as("Config", address, data, Config)


def decode_registry(address: Pubkey, data: bytes) -> Registry:
    values, tail = _fields("Registry", address, data)
    slots, types = [], idl.committed().types
    slot_bytes = fixed_size(_SLOT, types)
    for index in range(min(len(tail) // slot_bytes, MAX_VALIDATORS)):
        part = tail[index * slot_bytes : (index + 1) * slot_bytes]
        slot = decode(_SLOT, Reader(part), types, f"Registry.slots[{index}]")
        if slot["flags"] & OCCUPIED:
            slots.append(RegistrySlot(index=index, **slot))
    header = len(data) - len(tail)
    return Registry(values["count"], tuple(slots), len(data), header + MAX_VALIDATORS * slot_bytes)


def decode_validator_set(address: Pubkey, data: bytes) -> SetAccount:
    values, tail = _fields("ValidatorSet", address, data)
    length = values["count"] * SET_ENTRY_BYTES
    if len(tail) < length:
        raise AccountInvalid(str(address), f"{values['count']} entries do not fit in {len(tail)} bytes")
    sizes = {"size_bytes": len(data), "full_bytes": len(data) - len(tail) + MAX_VALIDATORS * SET_ENTRY_BYTES}
    return _pick(SetAccount, {**values, **sizes, "entries": tail[:length], "sealed": values["sealed"] == 1})


def decode_checkpoint(address: Pubkey, data: bytes) -> Checkpoint:
    values, _ = _fields("Checkpoint", address, data)
    try:
        status = CheckpointStatus(values["status"])
    except ValueError:
        raise AccountInvalid(str(address), f"unknown checkpoint status {values['status']}") from None
    return _pick(Checkpoint, {**values, "status": status})


def decode_inbox_entry(address: Pubkey, data: bytes) -> InboxEntryAccount:
    values, tail = _fields("InboxEntry", address, data)
    is_strike = values["kind"] == messages.InboxKind.STRIKE
    if is_strike and len(tail) < HASH_BYTES:
        raise AccountInvalid(str(address), f"a strike ends with a result hash of {HASH_BYTES} bytes, not {len(tail)}")
    return _pick(InboxEntryAccount, {**values, "result_hash": tail[:HASH_BYTES] if is_strike else bytes(HASH_BYTES)})


def decode_claim(address: Pubkey, data: bytes) -> Claim:
    return decode_as("Claim", address, data, Claim)


def decode_proof_buffer(address: Pubkey, data: bytes) -> ProofBuffer:
    values, tail = _fields("ProofBuffer", address, data)
    return _pick(ProofBuffer, {**values, "data": tail[: values["length"]]})
