"""Stake from outside: finds the accounts that an instruction wants, sends it, and reads what has become of it. Decides nothing.

A validator is named by the address of its Validator account; `address_of` finds it by the authority, while that has a registry slot.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from settlement import pda, stake_instructions
from settlement.accounts import Checkpoint, CheckpointStatus, RegistrySlot
from settlement.client import L1Client
from settlement.errors import AccountMissing
from settlement.l1_setup import ADVANCE_COMPUTE_UNITS, create_and_grow
from settlement.stake_accounts import (
    StakePosition,
    Unbonding,
    Validator,
    compressed_key,
    decode_stake_position,
    decode_unbonding,
    decode_validator,
    to_outbid,
)


@dataclass(frozen=True)
class Withdrawn:
    unbonding_id: int
    signature: str


@dataclass(frozen=True)
class Waiting:
    """`reason` says what an unbonding that cannot be withdrawn yet is waiting for."""

    unbonding_id: int
    reason: str


def address_of_slot(program_id: Pubkey, slot: RegistrySlot) -> Pubkey:
    return pda.validator(program_id, compressed_key(slot))


async def address_of(client: L1Client, authority: Pubkey) -> Pubkey:
    """The Validator of an authority that has a registry slot; AccountMissing when it has none."""
    slot = (await client.fetch_registry()).slot_of(authority)
    if slot is None:
        raise AccountMissing(str(pda.registry(client.program_id)), f"slot of {authority}")
    return address_of_slot(client.program_id, slot)


async def fetch_validator(client: L1Client, address: Pubkey) -> Validator:
    """AccountMissing when nothing was registered there."""
    account = await client.get_account(address)
    if account is None or account.owner != client.program_id:
        raise AccountMissing(str(address), "validator")
    return decode_validator(address, account.data)


async def fetch_position(client: L1Client, validator: Pubkey, owner: Pubkey) -> StakePosition | None:
    address = pda.stake_position(client.program_id, validator, owner)
    account = await client.get_account(address)
    if account is None or account.owner != client.program_id:
        return None
    return decode_stake_position(address, account.data)


async def fetch_unbondings(client: L1Client, validator: Pubkey, owner: Pubkey) -> tuple[Unbonding, ...]:
    """Those that are not withdrawn, oldest first."""
    held = await fetch_position(client, validator, owner)
    if held is None or not held.open_unbondings:
        return ()
    position = pda.stake_position(client.program_id, validator, owner)
    ids = range(held.next_unbonding_id)
    addresses = [pda.unbonding(client.program_id, position, unbonding_id) for unbonding_id in ids]
    _, accounts = await client.get_accounts(addresses)
    return tuple(
        decode_unbonding(address, account.data)
        for address, account in zip(addresses, accounts, strict=True)
        if account is not None and account.owner == client.program_id
    )


async def delegate(client: L1Client, owner: Keypair, validator: Pubkey, lamports: int) -> StakePosition:
    """`owner` pays and has the shares. Returns the position afterwards."""
    key = owner.pubkey()
    await client.send_and_confirm(
        [stake_instructions.delegate(client.program_id, key, key, validator, lamports)], owner
    )
    return await _position(client, validator, key)


async def unbond(client: L1Client, owner: Keypair, validator: Pubkey, lamports: int | None) -> Unbonding:
    """Shares worth at least `lamports`, all of them with None. Rewards that are not collected yet are on top."""
    held = await _position(client, validator, owner.pubkey())
    pool = await fetch_validator(client, validator)
    shares = held.shares if lamports is None else pool.active_shares_for(lamports)
    unbonding_id, key = held.next_unbonding_id, owner.pubkey()
    await client.send_and_confirm(
        [stake_instructions.unbond(client.program_id, key, key, validator, unbonding_id, shares)], owner
    )
    found = await fetch_unbondings(client, validator, key)
    return next(one for one in found if one.id == unbonding_id)


async def withdraw(client: L1Client, owner: Keypair, validator: Pubkey) -> Sequence[Withdrawn | Waiting]:
    """Withdraws every unbonding that nothing holds any more, and says of the others what they wait for."""
    done: list[Withdrawn | Waiting] = []
    for one in await fetch_unbondings(client, validator, owner.pubkey()):
        reason, epoch = await _held_by(client, one.first_free_version)
        if reason:
            done.append(Waiting(one.id, reason))
            continue
        built = stake_instructions.withdraw_unbonded(client.program_id, owner.pubkey(), validator, one.id, epoch)
        confirmed = await client.send_and_confirm([built], owner)
        done.append(Withdrawn(one.id, confirmed.signature))
    return done


async def _held_by(client: L1Client, first_free_version: int) -> tuple[str, int | None]:
    """Why stake free from that set version on cannot be withdrawn yet, or "" and the epoch to name (None after the escape)."""
    config = await client.fetch_config()
    slot = await client.get_slot()
    if config.pending_slashes:
        return f"{config.pending_slashes} signers of rejected checkpoints must be slashed first", None
    unbonding_slots = config.parameters.unbonding_slots
    if config.escaped and slot > config.escape_slot + unbonding_slots:
        return "", None
    free = await first_free_checkpoint(client, first_free_version, config.finalized.epoch)
    if free is None:
        return f"an epoch certified by validator set {first_free_version} or later must be final", None
    free_slot = free.posted_slot + unbonding_slots
    if slot <= free_slot:
        return f"it is held until slot {free_slot}, {free_slot - slot} slots from now", None
    return "", free.epoch


async def first_free_checkpoint(client: L1Client, version: int, last_epoch: int) -> Checkpoint | None:
    """The earliest finalized checkpoint of that set version or a later one. Versions only rise from epoch to epoch; one that was closed is
    old enough to lie before."""
    low, high = 1, last_epoch + 1
    while low < high:
        middle = (low + high) // 2
        found = await client.fetch_checkpoint(middle)
        if found is None or found.set_version < version:
            low = middle + 1
        else:
            high = middle
    for epoch in range(low, last_epoch + 1):
        found = await client.fetch_checkpoint(epoch)
        if found is not None and found.status == CheckpointStatus.FINALIZED and found.set_version >= version:
            return found
    return None


async def join_registry(client: L1Client, authority: Keypair, validator: Pubkey) -> None:
    registry = await client.fetch_registry()
    lowest = to_outbid(registry)
    outbid = None if lowest is None else address_of_slot(client.program_id, lowest)
    await _send(
        client, stake_instructions.join_registry(client.program_id, authority.pubkey(), validator, outbid), authority
    )


async def stall_step(client: L1Client, payer: Keypair) -> int:
    """Makes the next set's account when it is missing and takes a step; returns the version that is pinned then."""
    config = await client.fetch_config()
    version = config.sealed_last.version + 1
    await create_and_grow(client, payer, version)
    built = stake_instructions.stall_step(client.program_id, payer.pubkey(), config.pinned.version, version)
    await client.send_and_confirm([built], payer, compute_unit_limit=ADVANCE_COMPUTE_UNITS)
    return version


async def close_validator_set(client: L1Client, payer: Keypair, version: int) -> Pubkey:
    """Returns who got the rent. AccountMissing when the set is closed already."""
    found = await client.fetch_validator_set(version)
    address = pda.validator_set(client.program_id, version)
    if found is None:
        raise AccountMissing(str(address), f"validator set {version}")
    config = await client.fetch_config()
    free = await first_free_checkpoint(client, version + 1, config.finalized.epoch)
    epoch = None if free is None else free.epoch
    built = stake_instructions.close_validator_set(client.program_id, payer.pubkey(), version, found.payer, epoch)
    await _send(client, built, payer)
    return found.payer


async def _send(client: L1Client, instruction: Instruction, signer: Keypair) -> None:
    await client.send_and_confirm([instruction], signer)


async def _position(client: L1Client, validator: Pubkey, owner: Pubkey) -> StakePosition:
    held = await fetch_position(client, validator, owner)
    if held is None:
        raise AccountMissing(str(pda.stake_position(client.program_id, validator, owner)), f"stake of {owner}")
    return held
