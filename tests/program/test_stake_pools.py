"""delegate, unbond, withdraw_unbonded, close_stake_position: shares of a validator's pools, and how long a slash reaches them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair

from settlement import pda, stake_instructions
from settlement.accounts import LOCALNET_PROFILE
from tests.program.kit import STAKE, Chain, Refused, refuses, validator
from tests.program.stake_kit import (
    address,
    check_sums,
    delegate,
    free_checkpoint,
    jail,
    overwrite_field,
    overwrite_misses,
    overwrite_rewards,
    owner,
    position,
    slot_of,
    unbond,
    unbonding,
    unbonding_of,
    validator_of,
    wait_for_unbonding,
    withdraw,
    withdrawing,
)

FIRST, SECOND = validator(0), validator(1)
MAX_MISSES = LOCALNET_PROFILE.max_misses


@pytest.fixture
def strict() -> Chain:
    """Two validators; who misses too much loses half."""
    bare = Chain.new()
    bare.initialize(replace(LOCALNET_PROFILE, miss_slash_basis_points=5_000))
    bare.grow_registry()
    return bare.bring_up_registered([FIRST, SECOND])


def replaced(built: Instruction, index: int, key: Keypair | None = None, **changes: object) -> Instruction:
    """The instruction with another address at that place."""
    metas = list(built.accounts)
    address = changes.get("address", key.pubkey() if key else None)
    metas[index] = AccountMeta(address, metas[index].is_signer, metas[index].is_writable)  # type: ignore[arg-type]
    return Instruction(built.program_id, bytes(built.data), metas)


def test_registering_makes_the_authoritys_position(chain: Chain) -> None:
    held, own = validator_of(chain, FIRST), position(chain, FIRST, FIRST.authority)
    assert (held.active_lamports, held.active_shares, own.shares) == (STAKE, STAKE, STAKE)
    assert (own.owner, own.validator) == (FIRST.authority.pubkey(), address(chain, FIRST))
    check_sums(chain)


def test_a_delegation_is_stake_of_the_next_set(chain: Chain) -> None:
    who = owner(chain, 1)
    before = chain.lamports(who.pubkey())
    delegate(chain, FIRST, who, 3 * STAKE)
    delegate(chain, FIRST, who, STAKE)
    rent = chain.lamports(pda.stake_position(chain.program_id, address(chain, FIRST), who.pubkey()))
    assert before - chain.lamports(who.pubkey()) - 4 * STAKE - rent < 20_000  # fees
    assert position(chain, FIRST, who).shares == 4 * STAKE
    assert (slot_of(chain, FIRST).stake_lamports, slot_of(chain, FIRST).stake_slot) == (5 * STAKE, chain.slot)
    assert chain.set_account(1).total_stake_lamports == 4 * STAKE
    chain.seal(2, chain.authority)
    assert chain.set_account(2).total_stake_lamports == 8 * STAKE


def test_somebody_else_may_pay(chain: Chain) -> None:
    holder = Keypair()
    built = stake_instructions.delegate(
        chain.program_id, chain.payer.pubkey(), holder.pubkey(), address(chain, FIRST), STAKE
    )
    chain.send(built, signers=[holder])
    assert position(chain, FIRST, holder).shares == STAKE


def test_delegating_nothing(chain: Chain) -> None:
    with refuses("DelegationTooSmall"):
        delegate(chain, FIRST, owner(chain, 1), 0)


def test_a_share_that_rewards_made_dear_takes_nothing_from_the_next(chain: Chain) -> None:
    """Slot rewards written in place of those of epochs. Without the rule 1.9 SOL would buy one share worth 1.45."""
    unbond(chain, FIRST, FIRST.authority, STAKE - 1)
    overwrite_rewards(chain, FIRST, 1_000_000_000)
    with refuses("DelegationTooSmall"):
        delegate(chain, FIRST, owner(chain, 1), 1_900_000_000)
    delegate(chain, FIRST, owner(chain, 1), 2_000_000_002)
    held = validator_of(chain, FIRST)
    assert held.active_worth(position(chain, FIRST, owner(chain, 1)).shares) == 2_000_000_002


def test_delegating_what_no_sum_holds(chain: Chain) -> None:
    with refuses("ArithmeticOverflow"):
        delegate(chain, FIRST, owner(chain, 1), 2**62)


def test_rewards_belong_to_those_who_were_there(chain: Chain) -> None:
    """Slot rewards written in place of those of epochs: whoever comes after them gets none of them."""
    early, late = owner(chain, 1), owner(chain, 2)
    delegate(chain, FIRST, early, STAKE)
    overwrite_rewards(chain, FIRST, 500_000)
    delegate(chain, FIRST, late, STAKE)
    held = validator_of(chain, FIRST)
    assert held.active_worth(position(chain, FIRST, early).shares) == STAKE + 250_000
    assert STAKE - 1 <= held.active_worth(position(chain, FIRST, late).shares) <= STAKE
    overwrite_rewards(chain, FIRST, 500_000)
    unbond(chain, FIRST, early, position(chain, FIRST, early).shares)
    # 1,000,000 of 2,800,000 shares, of 4,000,000 lamports
    assert validator_of(chain, FIRST).unbonding_lamports == 1_428_571


def test_stake_unbonds_waits_and_is_paid(chain: Chain) -> None:
    who = owner(chain, 1)
    delegate(chain, FIRST, who, 2 * STAKE)
    unbond(chain, FIRST, who, STAKE)
    left = unbonding(chain, FIRST, who)
    assert (left.id, left.shares, left.first_free_version) == (0, STAKE, 2)
    assert (position(chain, FIRST, who).shares, position(chain, FIRST, who).open_unbondings) == (STAKE, 1)
    assert slot_of(chain, FIRST).stake_lamports == 2 * STAKE
    epoch = free_checkpoint(chain)
    wait_for_unbonding(chain, epoch)
    chain.advance(1)
    before = chain.lamports(who.pubkey())
    rent = chain.lamports(pda.unbonding(chain.program_id, _position(chain, who), 0))
    assert withdraw(chain, FIRST, who, epoch) == STAKE
    assert chain.lamports(who.pubkey()) == before + STAKE + rent
    assert position(chain, FIRST, who).open_unbondings == 0
    with pytest.raises(Refused):
        withdraw(chain, FIRST, who, epoch)


def _position(chain: Chain, who: Keypair):  # type: ignore[no-untyped-def]
    return pda.stake_position(chain.program_id, address(chain, FIRST), who.pubkey())


def test_stake_is_reachable_by_a_slash_until_its_last_slot_and_not_paid_in_the_slot_before(strict: Chain) -> None:
    """Misses written in place of those of epochs."""
    who, sooner = owner(strict, 1), owner(strict, 2)
    for one in (who, sooner):
        delegate(strict, FIRST, one, 2 * STAKE)
        unbond(strict, FIRST, one, 2 * STAKE)
    epoch = free_checkpoint(strict)
    wait_for_unbonding(strict, epoch)
    with refuses("UnbondingNotOver"):
        withdraw(strict, FIRST, who, epoch)
    overwrite_misses(strict, FIRST, MAX_MISSES)
    jail(strict, FIRST)
    with refuses("UnbondingNotOver"):
        withdraw(strict, FIRST, sooner, epoch)
    strict.advance(1)
    assert withdraw(strict, FIRST, who, epoch) == STAKE
    assert withdraw(strict, FIRST, sooner, epoch) == STAKE


def test_one_slash_takes_own_delegated_and_unbonding_stake_alike(strict: Chain) -> None:
    """Misses written in place of those of epochs."""
    who = owner(strict, 1)
    delegate(strict, FIRST, who, 4 * STAKE)
    unbond(strict, FIRST, who, 2 * STAKE)
    overwrite_misses(strict, FIRST, MAX_MISSES)
    treasury, reporter = strict.lamports(pda.treasury(strict.program_id)), strict.lamports(strict.payer.pubkey())
    jail(strict, FIRST)
    held = validator_of(strict, FIRST)
    assert (held.active_lamports, held.unbonding_lamports, held.slashed_lamports) == (
        3 * STAKE // 2,
        STAKE,
        5 * STAKE // 2,
    )
    assert held.active_worth(STAKE) == held.active_worth(position(strict, FIRST, who).shares) // 2 == STAKE // 2
    assert strict.lamports(pda.treasury(strict.program_id)) - treasury == 5 * STAKE // 2 * 9 // 10
    assert strict.lamports(strict.payer.pubkey()) - reporter + 10_000 > 5 * STAKE // 2 // 10
    unbond(strict, FIRST, who, 2 * STAKE, 1)
    assert unbonding(strict, FIRST, who, 1).shares == 2 * STAKE
    epoch = free_checkpoint_of(strict, [1])
    wait_for_unbonding(strict, epoch)
    strict.advance(1)
    assert withdraw(strict, FIRST, who, epoch, 1) == STAKE
    assert withdraw(strict, FIRST, who, epoch) == STAKE
    assert validator_of(strict, FIRST).unbonding_shares == 0


def free_checkpoint_of(chain: Chain, members: list[int]) -> int:
    """free_checkpoint where the next set has these members only."""
    chain.advance(chain.config.parameters.min_seal_gap_slots)
    chain.seal(chain.config.sealed_last.version + 1, chain.authority)
    chain.advance(1)
    if chain.config.highest_epoch or chain.config.pinned.version != chain.config.sealed_last.version:
        chain.settle()
    chain.validators, everybody = [chain.validators[index] for index in members], chain.validators
    epoch = chain.settle().epoch
    chain.validators = everybody
    return epoch


def test_the_checkpoint_must_be_final_and_of_a_set_without_the_stake(chain: Chain) -> None:
    who = owner(chain, 1)
    chain.settle()
    delegate(chain, FIRST, who, STAKE)
    unbond(chain, FIRST, who, STAKE)
    free = free_checkpoint(chain)
    chain.advance(LOCALNET_PROFILE.unbonding_slots + 1)
    for epoch in (1, 2):
        assert chain.checkpoint(epoch).set_version == 1
        with refuses("CheckpointTooOld"):
            withdraw(chain, FIRST, who, epoch)
    posted = chain.post()
    with refuses("CheckpointNotFinalized"):
        withdraw(chain, FIRST, who, posted.epoch)
    with refuses("CheckpointMissing"):
        withdraw(chain, FIRST, who, None)
    withdraw(chain, FIRST, who, free)


def test_nothing_leaves_while_slashes_are_pending(chain: Chain) -> None:
    """Config written as the rejection of a checkpoint leaves it."""
    who = owner(chain, 1)
    delegate(chain, FIRST, who, STAKE)
    unbond(chain, FIRST, who, STAKE)
    epoch = free_checkpoint(chain)
    chain.advance(LOCALNET_PROFILE.unbonding_slots + 1)
    config = pda.config(chain.program_id)
    overwrite_field(chain, config, "Config", "pending_slashes", (1).to_bytes(8, "little"))
    with refuses("SlashesPending"):
        withdraw(chain, FIRST, who, epoch)
    overwrite_field(chain, config, "Config", "pending_slashes", bytes(8))
    withdraw(chain, FIRST, who, epoch)


def test_after_the_escape_the_clock_starts_there(chain: Chain) -> None:
    """Config written as the escape leaves it."""
    who = owner(chain, 1)
    delegate(chain, FIRST, who, STAKE)
    chain.settle()
    config = pda.config(chain.program_id)
    overwrite_field(chain, config, "Config", "escaped", b"\x01")
    overwrite_field(chain, config, "Config", "escape_slot", chain.slot.to_bytes(8, "little"))
    escape_slot = chain.slot
    with refuses("Escaped"):
        delegate(chain, FIRST, who, STAKE)
    unbond(chain, FIRST, who, STAKE)
    chain.svm.warp_to_slot(escape_slot + LOCALNET_PROFILE.unbonding_slots)
    with refuses("UnbondingNotOver"):
        withdraw(chain, FIRST, who, None)
    chain.advance(1)
    assert withdraw(chain, FIRST, who, None) == STAKE


def test_more_shares_than_there_are(chain: Chain) -> None:
    who = owner(chain, 1)
    delegate(chain, FIRST, who, STAKE)
    for shares in (0, STAKE + 1, 2**64 - 1):
        with refuses("WrongShares"):
            unbond(chain, FIRST, who, shares)


def test_all_may_leave_and_come_back(chain: Chain) -> None:
    unbond(chain, FIRST, FIRST.authority, STAKE)
    held = validator_of(chain, FIRST)
    assert (held.active_lamports, held.active_shares, slot_of(chain, FIRST).stake_lamports) == (0, 0, 0)
    delegate(chain, FIRST, owner(chain, 1), 2 * STAKE)
    assert validator_of(chain, FIRST).active_shares == 2 * STAKE


def test_a_tombstoned_validator_takes_no_stake_but_lets_it_go(chain: Chain) -> None:
    """Flags written as equivocation leaves them."""
    who = owner(chain, 1)
    delegate(chain, FIRST, who, STAKE)
    overwrite_field(chain, address(chain, FIRST), "Validator", "flags", b"\x03")
    with refuses("Tombstoned"):
        delegate(chain, FIRST, who, STAKE)
    chain.send(unbonding_of(chain, FIRST, who, STAKE), signers=[who])


def test_stake_slashed_to_nothing(chain: Chain) -> None:
    """Pools written as a slash of everything leaves them."""
    who, at = owner(chain, 1), address(chain, FIRST)
    overwrite_field(chain, at, "Validator", "active_lamports", bytes(8))
    with refuses("WorthlessShares"):
        unbond(chain, FIRST, FIRST.authority, STAKE)
    with refuses("PoolEmptied"):
        delegate(chain, FIRST, who, STAKE)
    overwrite_field(chain, at, "Validator", "active_shares", bytes(8))
    overwrite_field(chain, at, "Validator", "unbonding_shares", (5).to_bytes(8, "little"))
    with refuses("PoolEmptied"):
        delegate(chain, FIRST, who, STAKE)


def test_a_position_closes_when_it_is_empty(chain: Chain) -> None:
    who = owner(chain, 1)
    delegate(chain, FIRST, who, STAKE)
    closing = stake_instructions.close_stake_position(chain.program_id, who.pubkey(), address(chain, FIRST))
    with refuses("PositionInUse"):
        chain.send(closing, signers=[who])
    unbond(chain, FIRST, who, STAKE)
    with refuses("PositionInUse"):
        chain.send(closing, signers=[who])
    epoch = free_checkpoint(chain)
    chain.advance(LOCALNET_PROFILE.unbonding_slots + 1)
    withdraw(chain, FIRST, who, epoch)
    before, rent = chain.lamports(who.pubkey()), chain.lamports(_position(chain, who))
    chain.send(closing, signers=[who])
    assert chain.lamports(who.pubkey()) == before + rent
    delegate(chain, FIRST, who, STAKE)
    unbond(chain, FIRST, who, STAKE)


# -- accounts of others -------------------------------------------------------------------------------------------------------------


def test_a_position_of_another_owner_or_validator(chain: Chain) -> None:
    mine, other = owner(chain, 1), owner(chain, 2)
    delegate(chain, FIRST, mine, STAKE)
    delegate(chain, SECOND, other, STAKE)
    for place in (4, 5):  # validator, position
        built = unbonding_of(chain, FIRST, mine, STAKE)
        theirs = unbonding_of(chain, SECOND, other, STAKE).accounts[place].pubkey
        with refuses("InstructionErrorFieldless.InvalidSeeds"):
            chain.send(replaced(built, place, address=theirs), signers=[mine])
    built = unbonding_of(chain, FIRST, mine, STAKE)
    with refuses("InstructionErrorFieldless.InvalidSeeds"):
        chain.send(replaced(built, 1, other), signers=[other])


def test_an_unbonding_account_of_another_id(chain: Chain) -> None:
    who = owner(chain, 1)
    delegate(chain, FIRST, who, STAKE)
    with refuses("WrongAddress"):
        unbond(chain, FIRST, who, STAKE // 2, 1)
    unbond(chain, FIRST, who, STAKE // 2)
    with refuses("WrongAddress"):
        unbond(chain, FIRST, who, STAKE // 2, 0)


def test_another_validators_pool_pays_nothing(chain: Chain) -> None:
    """Its unbonding, of the same shares, is withdrawn from its own pool only."""
    who = owner(chain, 1)
    for one in (FIRST, SECOND):
        delegate(chain, one, who, STAKE)
        unbond(chain, one, who, STAKE)
    epoch = free_checkpoint(chain)
    chain.advance(LOCALNET_PROFILE.unbonding_slots + 1)
    built = withdrawing(chain, FIRST, who, epoch)
    for places in ((2,), (3,), (4,), (2, 3), (3, 4)):
        forged = built
        for place in places:
            forged = replaced(forged, place, address=withdrawing(chain, SECOND, who, epoch).accounts[place].pubkey)
        with refuses("InstructionErrorFieldless.InvalidSeeds"):
            chain.send(forged, signers=[who])
    withdraw(chain, FIRST, who, epoch)
