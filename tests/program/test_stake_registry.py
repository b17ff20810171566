"""Registry slots: outbidding, joining and leaving, heartbeats, commission and rewards, jail."""

from __future__ import annotations

from dataclasses import replace

import pytest
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from settlement import pda, stake_instructions
from settlement.accounts import LOCALNET_PROFILE, OCCUPIED
from settlement.stake_accounts import INACTIVE, JAILED, NO_SLOT, to_outbid
from tests.program.kit import SOL, STAKE, Chain, Validator, refuses, validator
from tests.program.stake_kit import (
    address,
    check_sums,
    delegate,
    jail,
    overwrite_field,
    overwrite_full_registry,
    overwrite_misses,
    overwrite_rewards,
    overwrite_slot,
    owner,
    slot_of,
    unbond,
    unbonding,
    validator_of,
)

FIRST, SECOND, NEW = validator(0), validator(1), validator(9, 3 * STAKE)
MAX_MISSES = LOCALNET_PROFILE.max_misses


def by_authority(chain: Chain, name: str, who: Validator, *args: int, signer: Keypair | None = None) -> Instruction:
    build = getattr(stake_instructions, name)
    built: Instruction = build(chain.program_id, (signer or who.authority).pubkey(), address(chain, who), *args)
    return built


def send(chain: Chain, name: str, who: Validator, *args: int) -> None:
    chain.send(by_authority(chain, name, who, *args), signers=[who.authority])


@pytest.mark.parametrize("name", ["join_registry", "leave_registry", "heartbeat", "withdraw_commission", "unjail"])
def test_only_the_authority_may(chain: Chain, name: str) -> None:
    with refuses("NotValidatorAuthority"):
        stranger = SECOND.authority
        chain.send(by_authority(chain, name, FIRST, signer=stranger), signers=[stranger])


# -- outbidding -----------------------------------------------------------------------------------------------------------------------


def registering(chain: Chain, new: Validator, outbid: Pubkey | None) -> Instruction:
    return chain.registration(new, outbid=outbid)  # type: ignore[arg-type]


def test_a_full_registry_is_outbid(chain: Chain) -> None:
    """The other 252 slots written, not registered. The loser keeps its pools and rewards, and joins again when it has more."""
    unbond(chain, SECOND, SECOND.authority, 1)
    overwrite_full_registry(chain, 2 * STAKE)
    overwrite_rewards(chain, SECOND, 777)
    lowest = to_outbid(chain.registry)
    assert lowest is not None and lowest.index == 1
    with refuses("RegistryFull"):
        chain.send(registering(chain, NEW, None), signers=[NEW.authority])
    with refuses("NotLowestStake"):
        chain.send(registering(chain, NEW, address(chain, FIRST)), signers=[NEW.authority])
    unbond(chain, SECOND, SECOND.authority, 1, 1)
    delegate(chain, SECOND, owner(chain, 1), 2_000)
    for who in (FIRST, validator(2), validator(3)):
        delegate(chain, who, owner(chain, 1), STAKE)
    low = replace(NEW, stake_lamports=slot_of(chain, SECOND).stake_lamports)
    with refuses("OutbidTooLow"):
        chain.send(registering(chain, low, address(chain, SECOND)), signers=[low.authority])
    chain.send(registering(chain, NEW, address(chain, SECOND)), signers=[NEW.authority])
    chain.validators.append(NEW)
    held = validator_of(chain, SECOND)
    # 777 came into the pool when somebody delegated.
    assert (held.slot_index, held.left_version, held.active_lamports) == (NO_SLOT, 2, STAKE - 2 + 2_000 + 777)
    assert (slot_of(chain, NEW).index, chain.registry.count) == (1, 256)
    check_sums(chain)

    unbond(chain, SECOND, SECOND.authority, 10_000, 2)
    with refuses("StakeBelowMinimum"):
        send(chain, "join_registry", SECOND)
    assert unbonding(chain, SECOND, SECOND.authority, 2).first_free_version == 2
    delegate(chain, SECOND, owner(chain, 1), 5 * STAKE)
    with refuses("RegistryFull"):
        send(chain, "join_registry", SECOND)
    lowest = to_outbid(chain.registry)
    assert lowest is not None and lowest.authority == FIRST.authority.pubkey()
    joining = stake_instructions.join_registry(
        chain.program_id, SECOND.authority.pubkey(), address(chain, SECOND), address(chain, FIRST)
    )
    chain.send(joining, signers=[SECOND.authority])
    assert (slot_of(chain, SECOND).index, validator_of(chain, SECOND).left_version) == (0, 0)
    assert validator_of(chain, FIRST).slot_index == NO_SLOT
    check_sums(chain)


def test_256_real_validators_and_the_one_that_outbids_the_lowest(bare: Chain) -> None:
    """The dearest registration of all, within a transaction of a single packet and 400,000 units."""
    bare.initialize()
    bare.grow_registry()
    for seed in range(256):
        bare.register(validator(seed, STAKE + (seed + 100) % 256))
    lowest = to_outbid(bare.registry)
    assert lowest is not None and lowest.index == 156
    bare.send(registering(bare, validator(300, 2 * STAKE), address(bare, validator(156))),
              signers=[validator(300).authority])  # fmt: skip
    bare.validators.append(validator(300))
    assert validator_of(bare, validator(156)).slot_index == NO_SLOT
    assert slot_of(bare, validator(300)).index == 156
    assert bare.compute_units["register_validator"] < 400_000
    check_sums(bare)


def test_who_is_jailed_or_silent_counts_as_nothing(chain: Chain) -> None:
    """The slots' flags written as a jailing and a stall step leave them, the other slots written."""
    overwrite_full_registry(chain, STAKE)
    small = replace(NEW, stake_lamports=STAKE)
    with refuses("OutbidTooLow"):
        chain.send(registering(chain, small, address(chain, FIRST)), signers=[small.authority])
    overwrite_slot(chain, 2, 172, bytes([OCCUPIED | INACTIVE]))
    overwrite_slot(chain, 3, 172, bytes([OCCUPIED | JAILED]))
    with refuses("NotLowestStake"):
        chain.send(registering(chain, small, address(chain, validator(3))), signers=[small.authority])
    chain.send(registering(chain, small, address(chain, validator(2))), signers=[small.authority])
    assert chain.registry.slots[2].authority == small.authority.pubkey()


def test_while_a_slot_is_free_nobody_is_outbid(chain: Chain) -> None:
    chain.send(registering(chain, NEW, address(chain, FIRST)), signers=[NEW.authority])
    chain.validators.append(NEW)
    assert (slot_of(chain, NEW).index, slot_of(chain, FIRST).index) == (4, 0)
    check_sums(chain)


def test_a_registration_of_the_largest_size_fits_a_packet(chain: Chain) -> None:
    """Payer and authority are two, and somebody is to be outbid."""
    transaction = chain.transaction([registering(chain, NEW, address(chain, FIRST))], [NEW.authority], chain.payer)
    assert len(bytes(transaction)) <= 1_232


def test_a_commission_above_everything(chain: Chain) -> None:
    with refuses("CommissionTooHigh"):
        chain.send(chain.registration(NEW, commission_basis_points=10_001), signers=[NEW.authority])


# -- joining and leaving --------------------------------------------------------------------------------------------------------------


def test_leaving_frees_the_slot_and_takes_rewards_and_misses_along(chain: Chain) -> None:
    """Misses and rewards written in place of those of epochs. Leaving is no way to be rid of misses."""
    overwrite_rewards(chain, FIRST, 500)
    overwrite_misses(chain, FIRST, 99)
    with refuses("InRegistry"):
        send(chain, "join_registry", FIRST)
    send(chain, "leave_registry", FIRST)
    held = validator_of(chain, FIRST)
    assert (held.slot_index, held.left_version, held.reward_lamports, held.misses) == (NO_SLOT, 2, 500, 99)
    assert chain.registry.count == 3 and chain.registry.slot_of(FIRST.authority.pubkey()) is None
    check_sums(chain)
    with refuses("NotInRegistry"):
        send(chain, "leave_registry", FIRST)
    with refuses("NotInRegistry"):
        send(chain, "heartbeat", FIRST)
    with refuses("NotInRegistry"):
        jail(chain, FIRST)
    chain.seal(2, chain.authority)
    assert chain.set_account(2).count == 3
    delegate(chain, FIRST, owner(chain, 1), STAKE)
    chain.advance(5)
    send(chain, "join_registry", FIRST)
    slot = slot_of(chain, FIRST)
    assert (slot.index, slot.stake_lamports, slot.misses, slot.heartbeat_slot) == (0, 2 * STAKE + 500, 99, chain.slot)
    check_sums(chain)


def test_a_slot_per_authority_when_joining_too(chain: Chain) -> None:
    send(chain, "leave_registry", FIRST)
    chain.register(replace(NEW, authority=FIRST.authority))
    with refuses("AuthorityRegistered"):
        send(chain, "join_registry", FIRST)


def test_the_jailed_and_the_tombstoned_do_not_join(chain: Chain) -> None:
    """Flags written as slashes leave them."""
    send(chain, "leave_registry", FIRST)
    overwrite_field(chain, address(chain, FIRST), "Validator", "flags", b"\x01")
    with refuses("InJail"):
        send(chain, "join_registry", FIRST)
    overwrite_field(chain, address(chain, FIRST), "Validator", "flags", b"\x03")
    with refuses("Tombstoned"):
        send(chain, "join_registry", FIRST)


def test_nobody_joins_after_the_escape(chain: Chain) -> None:
    """Config written as the escape leaves it."""
    send(chain, "leave_registry", FIRST)
    overwrite_field(chain, pda.config(chain.program_id), "Config", "escaped", b"\x01")
    with refuses("Escaped"):
        send(chain, "join_registry", FIRST)


# -- heartbeats, commission, rewards --------------------------------------------------------------------------------------------------


def test_a_heartbeat(chain: Chain) -> None:
    """The slot's flag written as a stall step leaves it."""
    overwrite_slot(chain, 0, 172, bytes([OCCUPIED | INACTIVE]))
    chain.advance(7)
    send(chain, "heartbeat", FIRST)
    assert (slot_of(chain, FIRST).heartbeat_slot, slot_of(chain, FIRST).flags) == (chain.slot, OCCUPIED)


def test_rewards_are_shared_by_commission_and_pool(chain: Chain) -> None:
    """Slot rewards written in place of those of epochs."""
    chain.send(chain.registration(NEW, commission_basis_points=1_000), signers=[NEW.authority])
    chain.validators.append(NEW)
    collecting = stake_instructions.collect_rewards(chain.program_id, chain.payer.pubkey(), address(chain, NEW))
    with refuses("NothingToCollect"):
        chain.send(collecting)
    overwrite_rewards(chain, NEW, 12_345)
    chain.send(collecting)
    held = validator_of(chain, NEW)
    assert (held.commission_lamports, held.active_lamports) == (1_234, 3 * STAKE + 11_111)
    check_sums(chain)
    chain.svm.airdrop(NEW.authority.pubkey(), SOL)
    before = chain.lamports(NEW.authority.pubkey())
    send(chain, "withdraw_commission", NEW)
    assert chain.lamports(NEW.authority.pubkey()) == before + 1_234
    with refuses("NothingToWithdraw"):
        send(chain, "withdraw_commission", NEW)
    check_sums(chain)


def test_rewards_of_a_validator_without_stake_are_the_authoritys(chain: Chain) -> None:
    """Slot rewards written in place of those of epochs."""
    unbond(chain, FIRST, FIRST.authority, STAKE)
    overwrite_rewards(chain, FIRST, 1_000)
    chain.send(stake_instructions.collect_rewards(chain.program_id, chain.payer.pubkey(), address(chain, FIRST)))
    assert validator_of(chain, FIRST).commission_lamports == 1_000
    check_sums(chain)


def test_a_commission_only_falls(chain: Chain) -> None:
    chain.send(chain.registration(NEW, commission_basis_points=1_000), signers=[NEW.authority])
    for basis_points in (1_000, 1_001):
        with refuses("CommissionNotLower"):
            send(chain, "set_commission", NEW, basis_points)
    send(chain, "set_commission", NEW, 999)
    assert validator_of(chain, NEW).commission_basis_points == 999
    with refuses("NotValidatorAuthority"):
        chain.send(by_authority(chain, "set_commission", NEW, 1, signer=FIRST.authority), signers=[FIRST.authority])


# -- jail -----------------------------------------------------------------------------------------------------------------------------


def test_who_misses_too_much_is_jailed_and_comes_back(chain: Chain) -> None:
    """Misses written in place of those of epochs."""
    overwrite_misses(chain, FIRST, MAX_MISSES - 1)
    with refuses("TooFewMisses"):
        jail(chain, FIRST)
    with refuses("NotInJail"):
        send(chain, "unjail", FIRST)
    overwrite_misses(chain, FIRST, MAX_MISSES)
    jail(chain, FIRST)
    jailed_slot = chain.slot
    held = validator_of(chain, FIRST)
    assert held.is_jailed and not held.is_tombstoned and held.jailed_slot == jailed_slot
    assert held.slashed_lamports == STAKE * LOCALNET_PROFILE.miss_slash_basis_points // 10_000
    with refuses("InJail"):
        jail(chain, FIRST)
    chain.seal(2, chain.authority)
    assert chain.set_account(2).count == 3
    chain.advance(LOCALNET_PROFILE.jail_slots)
    with refuses("JailNotOver"):
        send(chain, "unjail", FIRST)
    chain.advance(1)
    send(chain, "unjail", FIRST)
    assert (slot_of(chain, FIRST).misses, slot_of(chain, FIRST).flags) == (0, OCCUPIED)
    delegate(chain, FIRST, owner(chain, 1), STAKE)  # it had fallen below the minimum
    chain.seal(3, chain.authority)
    assert chain.set_account(3).count == 4


def test_the_tombstoned_stay_in_jail(chain: Chain) -> None:
    """Flags written as equivocation leaves them."""
    overwrite_field(chain, address(chain, FIRST), "Validator", "flags", b"\x03")
    overwrite_slot(chain, 0, 172, bytes([OCCUPIED | JAILED]))
    chain.advance(LOCALNET_PROFILE.jail_slots + 1)
    with refuses("Tombstoned"):
        send(chain, "unjail", FIRST)


def test_another_validators_misses_jail_nobody(chain: Chain) -> None:
    """Misses written in place of those of epochs."""
    overwrite_misses(chain, FIRST, MAX_MISSES)
    with refuses("TooFewMisses"):
        jail(chain, SECOND)
