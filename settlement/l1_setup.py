"""Bringing a deployment up, step by step: initialize, grow the registry, register validators, seal sets.

Every function looks at L1 first and does what is missing, so that each can be run again after a crash at any point, and two callers
at once do not hurt each other: a refusal that means "somebody was faster" is answered by looking again.
"""

from __future__ import annotations

from collections.abc import Sequence

from solders.instruction import Instruction
from solders.keypair import Keypair

from settlement import instructions, pda
from settlement.accounts import (
    GROWTH_BYTES,
    LOCALNET_PROFILE,
    OCCUPIED,
    Config,
    Parameters,
    Registry,
    RegistrySlot,
    SetAccount,
)
from settlement.bls import SecretKey, uncompressed_public_key
from settlement.client import L1Client
from settlement.errors import AccountInvalid, AccountMissing, NotInitialized, ProgramError
from settlement.hash_to_curve import hints
from settlement.messages import proof_of_possession_digest
from settlement.stake_accounts import compressed_key, to_outbid
from settlement.validator_set import SetEntry

# Hash to G2, decompression and two pairings are about 200,000 units; a set of 256 is 256 additions and a hash of 34,816 bytes.
REGISTER_COMPUTE_UNITS = 400_000
ADVANCE_COMPUTE_UNITS = 600_000
GROWTHS_PER_TRANSACTION = 8


async def ensure_initialized(
    client: L1Client, authority: Keypair, payer: Keypair, parameters: Parameters = LOCALNET_PROFILE
) -> Config:
    """Initialises the program, as its upgrade `authority`, and grows the registry to full size; returns the Config.

    An initialised program is left as it is: GenesisMismatch or ProfileMismatch when it is not what was asked for.
    """
    try:
        config = await client.check_cluster(parameters)
    except NotInitialized:
        genesis = await client.genesis_hash()
        instruction = instructions.initialize(
            client.program_id, payer.pubkey(), authority.pubkey(), genesis, parameters
        )
        await _unless(client, [instruction], payer, [authority], ("AlreadyInitialized",))
        config = await client.check_cluster(parameters)
    await grow_registry(client, payer)
    return config


async def grow_registry(client: L1Client, payer: Keypair) -> Registry:
    """The registry, of full size."""
    while (registry := await client.fetch_registry()).size_bytes < registry.full_bytes:
        growth = instructions.grow_registry(client.program_id, payer.pubkey())
        count = _growths(registry.size_bytes, registry.full_bytes)
        await _unless(client, [growth] * count, payer, [], ("RegistryFullSize",))
    return registry


async def register_validator(
    client: L1Client,
    payer: Keypair,
    authority: Keypair,
    secret: SecretKey,
    stake_lamports: int,
    commission_basis_points: int = 0,
) -> RegistrySlot:
    """The authority's registry slot; registers it, with a proof of possession of `secret`, if it has none. In a full registry it outbids
    the lowest stake.

    `payer` pays stake, rent and fee. AccountInvalid when the authority is registered with another key.
    """
    registry = await client.fetch_registry()
    slot = registry.slot_of(authority.pubkey())
    if slot is None:
        key, lowest = secret.public_key, to_outbid(registry)
        digest = proof_of_possession_digest(await client.domain(), bytes(authority.pubkey()), key)
        instruction = instructions.register_validator(
            client.program_id,
            payer.pubkey(),
            authority.pubkey(),
            key,
            secret.sign(digest),
            hints(digest),
            stake_lamports,
            commission_basis_points,
            None if lowest is None else pda.validator(client.program_id, compressed_key(lowest)),
        )
        await _unless(client, [instruction], payer, [authority], ("AuthorityRegistered",), REGISTER_COMPUTE_UNITS)
        slot = (await client.fetch_registry()).slot_of(authority.pubkey())
    address = str(pda.registry(client.program_id))
    if slot is None:
        raise AccountMissing(address, f"slot of {authority.pubkey()}")
    if slot.bls_public_key != uncompressed_public_key(secret.public_key):
        raise AccountInvalid(address, f"{authority.pubkey()} is registered with another BLS key")
    return slot


async def advance_validator_set(client: L1Client, payer: Keypair, sealer: Keypair, force: bool = False) -> SetAccount:
    """The newest sealed set; seals a new version first unless the newest holds exactly the registry already (or `force`).

    `sealer` must be initialize's authority before the first post; afterwards it may be anybody. ProgramError SealTooSoon when
    the last seal is younger than min_seal_gap_slots.
    """
    config = await client.fetch_config()
    newest = config.sealed_last.version
    if newest and not force:
        sealed = await _sealed(client, newest)
        least = config.parameters.min_validator_stake_lamports
        if sealed.validator_set.entries == staked_entries(await client.fetch_registry(), least):
            return sealed
    version = newest + 1
    await create_and_grow(client, payer, version)
    advance = instructions.advance_validator_set(client.program_id, sealer.pubkey(), version)
    await _unless(client, [advance], payer, [sealer], ("SetSealed",), ADVANCE_COMPUTE_UNITS)
    return await _sealed(client, version)


def staked_entries(registry: Registry, min_stake_lamports: int = 1) -> tuple[SetEntry, ...]:
    """What a set sealed now would hold: slots in use with that stake, neither jailed nor inactive, in slot order."""
    return tuple(
        SetEntry(bytes(slot.authority), slot.bls_public_key, slot.stake_lamports)
        for slot in registry.slots
        if slot.stake_lamports >= min_stake_lamports and slot.flags == OCCUPIED
    )


async def create_and_grow(client: L1Client, payer: Keypair, version: int) -> None:
    """The next set's account, of full size, unless somebody has made it or sealed it already."""
    found = await client.fetch_validator_set(version)
    if found is None:
        create = instructions.create_validator_set(client.program_id, payer.pubkey(), version)
        await _unless(client, [create], payer, [], ("SetExists",))
    while (found := await client.fetch_validator_set(version)) is not None and found.size_bytes < found.full_bytes:
        growth = instructions.grow_validator_set(client.program_id, payer.pubkey(), version)
        count = _growths(found.size_bytes, found.full_bytes)
        await _unless(client, [growth] * count, payer, [], ("SetFullSize", "SetSealed"))


async def _sealed(client: L1Client, version: int) -> SetAccount:
    found = await client.fetch_validator_set(version)
    address = str(pda.validator_set(client.program_id, version))
    if found is None:
        raise AccountMissing(address, f"validator set {version}")
    if not found.sealed:
        raise AccountInvalid(address, f"validator set {version} is not sealed")
    return found


def _growths(size_bytes: int, full_bytes: int) -> int:
    missing = -(-(full_bytes - size_bytes) // GROWTH_BYTES)
    return min(missing, GROWTHS_PER_TRANSACTION)


async def _unless(
    client: L1Client,
    wanted: Sequence[Instruction],
    payer: Keypair,
    signers: Sequence[Keypair],
    done_already: tuple[str, ...],
    compute_unit_limit: int | None = None,
) -> None:
    """Sends the instructions; the refusals in `done_already` mean that somebody else has just done it."""
    try:
        await client.send_and_confirm(wanted, payer, signers, compute_unit_limit=compute_unit_limit)
    except ProgramError as error:
        if error.name not in done_already:
            raise
