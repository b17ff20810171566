"""Stake on a Chain: its instructions in a line each, and the sum that must always hold."""

from __future__ import annotations

from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from settlement import pda, stake_accounts, stake_instructions
from settlement.accounts import LOCALNET_PROFILE, MAX_VALIDATORS, RegistrySlot
from settlement.idl import committed
from tests.program.kit import SOL, Chain, Validator

RENT_EXEMPT_LAMPORTS = 890_880  # an account without data
_SLOT_BYTES, _HEADER_BYTES = 176, 24
_REWARD, _MISSES = 144, 168


def owner(chain: Chain, seed: int) -> Keypair:
    """Somebody with lamports of their own."""
    keypair = Keypair.from_seed(bytes([7]) + seed.to_bytes(31, "little"))
    chain.svm.airdrop(keypair.pubkey(), 100 * SOL)
    return keypair


def address(chain: Chain, who: Validator) -> Pubkey:
    return pda.validator(chain.program_id, who.secret.public_key)


def validator_of(chain: Chain, who: Validator) -> stake_accounts.Validator:
    at = address(chain, who)
    return stake_accounts.decode_validator(at, chain.data(at))


def position(chain: Chain, who: Validator, holder: Keypair) -> stake_accounts.StakePosition:
    at = pda.stake_position(chain.program_id, address(chain, who), holder.pubkey())
    return stake_accounts.decode_stake_position(at, chain.data(at))


def unbonding(chain: Chain, who: Validator, holder: Keypair, unbonding_id: int = 0) -> stake_accounts.Unbonding:
    at = pda.stake_position(chain.program_id, address(chain, who), holder.pubkey())
    at = pda.unbonding(chain.program_id, at, unbonding_id)
    return stake_accounts.decode_unbonding(at, chain.data(at))


def slot_of(chain: Chain, who: Validator) -> RegistrySlot:
    held = chain.registry.slot_of(who.authority.pubkey())
    assert held is not None
    return held


def delegating(chain: Chain, who: Validator, holder: Keypair, lamports: int) -> Instruction:
    at = address(chain, who)
    return stake_instructions.delegate(chain.program_id, holder.pubkey(), holder.pubkey(), at, lamports)


def delegate(chain: Chain, who: Validator, holder: Keypair, lamports: int) -> None:
    chain.send(delegating(chain, who, holder, lamports), payer=holder)
    check_sums(chain)


def unbonding_of(chain: Chain, who: Validator, holder: Keypair, shares: int, unbonding_id: int = 0) -> Instruction:
    payer, at = chain.payer.pubkey(), address(chain, who)
    return stake_instructions.unbond(chain.program_id, payer, holder.pubkey(), at, unbonding_id, shares)


def unbond(chain: Chain, who: Validator, holder: Keypair, shares: int, unbonding_id: int = 0) -> None:
    chain.send(unbonding_of(chain, who, holder, shares, unbonding_id), signers=[holder])
    check_sums(chain)


def withdrawing(chain: Chain, who: Validator, holder: Keypair, epoch: int | None, unbonding_id: int = 0) -> Instruction:
    return stake_instructions.withdraw_unbonded(
        chain.program_id, holder.pubkey(), address(chain, who), unbonding_id, epoch
    )


def withdraw(chain: Chain, who: Validator, holder: Keypair, epoch: int | None, unbonding_id: int = 0) -> int:
    """The lamports that came, without the Unbonding's rent."""
    before = chain.lamports(pda.stake_vault(chain.program_id))
    chain.send(withdrawing(chain, who, holder, epoch, unbonding_id), signers=[holder])
    check_sums(chain)
    return before - chain.lamports(pda.stake_vault(chain.program_id))


def jail(chain: Chain, who: Validator) -> None:
    chain.send(stake_instructions.jail_validator(chain.program_id, chain.payer.pubkey(), address(chain, who)))
    check_sums(chain)


def check_sums(chain: Chain) -> None:
    """StakeVault = rent + active and unbonding stake, commissions and rewards, of the validators that the chain knows; the registry's
    stakes are those of the Validators."""
    expected = RENT_EXEMPT_LAMPORTS
    for who in chain.validators:
        held = validator_of(chain, who)
        expected += held.active_lamports + held.unbonding_lamports + held.commission_lamports + held.reward_lamports
        slot = chain.registry.slot_of(who.authority.pubkey())
        if slot is not None and slot.index == held.slot_index:
            expected += slot.reward_lamports
            assert slot.stake_lamports == held.active_lamports
            assert bool(slot.flags & stake_accounts.JAILED) == held.is_jailed
    assert chain.lamports(pda.stake_vault(chain.program_id)) == expected


def free_checkpoint(chain: Chain) -> int:
    """Seals the registry, so that later epochs are certified without what has left it, and settles two: the epoch of the second, whose
    set is the new one."""
    chain.advance(chain.config.parameters.min_seal_gap_slots)
    chain.seal(chain.config.sealed_last.version + 1, chain.authority)
    chain.advance(1)
    chain.settle()
    return chain.settle().epoch


def wait_for_unbonding(chain: Chain, epoch: int) -> None:
    """To the last slot in which stake whose clock began with that checkpoint is still held."""
    chain.svm.warp_to_slot(chain.checkpoint(epoch).posted_slot + LOCALNET_PROFILE.unbonding_slots)
    chain.svm.expire_blockhash()


def overwrite_slot(chain: Chain, index: int, offset: int, value: bytes) -> None:
    at = pda.registry(chain.program_id)
    data = bytearray(chain.data(at))
    start = _HEADER_BYTES + index * _SLOT_BYTES + offset
    data[start : start + len(value)] = value
    chain.overwrite(at, bytes(data))


def overwrite_misses(chain: Chain, who: Validator, misses: int) -> None:
    """As rewards of epochs that it did not sign would leave it."""
    overwrite_slot(chain, slot_of(chain, who).index, _MISSES, misses.to_bytes(4, "little"))


def overwrite_rewards(chain: Chain, who: Validator, lamports: int) -> None:
    """As rewards of epochs would leave it."""
    overwrite_slot(chain, slot_of(chain, who).index, _REWARD, lamports.to_bytes(8, "little"))
    chain.svm.airdrop(pda.stake_vault(chain.program_id), lamports)
    check_sums(chain)


def overwrite_field(chain: Chain, at: Pubkey, kind: str, name: str, value: bytes) -> None:
    """One top-level field of an account, for states that other instructions reach."""
    from settlement.borsh import fixed_size

    offset = 8
    for field in committed().types[kind]["type"]["fields"]:
        if field["name"] == name:
            break
        offset += fixed_size(field["type"], committed().types)
    else:
        raise KeyError(name)
    data = bytearray(chain.data(at))
    data[offset : offset + len(value)] = value
    chain.overwrite(at, bytes(data))


def overwrite_full_registry(chain: Chain, stake_lamports: int) -> None:
    """Every free slot taken by somebody with that stake, whose Validator does not exist: 256 registrations take a minute."""
    at = pda.registry(chain.program_id)
    taken = {slot.index for slot in chain.registry.slots}
    data = bytearray(chain.data(at))
    data[16:24] = MAX_VALIDATORS.to_bytes(8, "little")
    for index in set(range(MAX_VALIDATORS)) - taken:
        start = _HEADER_BYTES + _SLOT_BYTES * index
        data[start : start + 32] = bytes(Keypair().pubkey())
        data[start + 128 : start + 136] = stake_lamports.to_bytes(8, "little")
        data[start + 172] = 1
    chain.overwrite(at, bytes(data))
