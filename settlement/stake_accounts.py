"""The accounts of stake as Python values (docs/settlement.md): validators with their two pools, positions in them, and unbondings."""

from __future__ import annotations

from dataclasses import dataclass

from solders.pubkey import Pubkey

from settlement.accounts import Registry, RegistrySlot, decode_as
from settlement.bls import compressed_public_key

NO_SLOT = 2**64 - 1
JAILED, INACTIVE = 2, 4  # flags of a registry slot, beside accounts.OCCUPIED
_VALIDATOR_JAILED, _VALIDATOR_TOMBSTONED = 1, 2


@dataclass(frozen=True)
class Validator:
    """`slot_index` is NO_SLOT without a registry slot; `left_version` is then the first set version without it."""

    flags: int
    misses: int
    authority: Pubkey
    bls_public_key: bytes
    slot_index: int
    left_version: int
    commission_basis_points: int
    commission_lamports: int
    reward_lamports: int
    active_lamports: int
    active_shares: int
    unbonding_lamports: int
    unbonding_shares: int
    jailed_slot: int
    slashed_lamports: int

    @property
    def has_slot(self) -> bool:
        return self.slot_index != NO_SLOT

    @property
    def is_jailed(self) -> bool:
        return bool(self.flags & _VALIDATOR_JAILED)

    @property
    def is_tombstoned(self) -> bool:
        return bool(self.flags & _VALIDATOR_TOMBSTONED)

    def active_worth(self, shares: int) -> int:
        """Lamports that shares of the active pool are worth, rewards that are not collected left aside."""
        return shares * self.active_lamports // self.active_shares if shares else 0

    def unbonding_worth(self, shares: int) -> int:
        return shares * self.unbonding_lamports // self.unbonding_shares if shares else 0

    def active_shares_for(self, lamports: int) -> int:
        """The fewest shares worth at least that many lamports; more than there are when the pool has less."""
        if self.active_lamports == 0:
            return 0 if lamports == 0 else self.active_shares + 1
        return -(-lamports * self.active_shares // self.active_lamports)


@dataclass(frozen=True)
class StakePosition:
    owner: Pubkey
    validator: Pubkey
    shares: int
    next_unbonding_id: int
    open_unbondings: int


@dataclass(frozen=True)
class Unbonding:
    owner: Pubkey
    validator: Pubkey
    id: int
    shares: int
    first_free_version: int
    requested_slot: int


def decode_validator(address: Pubkey, data: bytes) -> Validator:
    return decode_as("Validator", address, data, Validator)


def decode_stake_position(address: Pubkey, data: bytes) -> StakePosition:
    return decode_as("StakePosition", address, data, StakePosition)


def decode_unbonding(address: Pubkey, data: bytes) -> Unbonding:
    return decode_as("Unbonding", address, data, Unbonding)


def compressed_key(slot: RegistrySlot) -> bytes:
    """The key as a Validator's address is derived from it."""
    return compressed_public_key(slot.bls_public_key)


def to_outbid(registry: Registry, slots: int = 256) -> RegistrySlot | None:
    """The slot that a newcomer has to outbid: the lowest stake, the first of equals, who is jailed or inactive counting as nothing.
    None while there is a free slot."""
    if len(registry.slots) < slots:
        return None
    return min(registry.slots, key=lambda slot: (standing_lamports(slot), slot.index))


def standing_lamports(slot: RegistrySlot) -> int:
    return 0 if slot.flags & (JAILED | INACTIVE) else slot.stake_lamports
