"""Rewards and misses of validators that come and go by the real instructions: the slot, not the set's index, and the key decide."""

from __future__ import annotations

from dataclasses import replace

from settlement import pda, stake_instructions
from settlement.accounts import LOCALNET_PROFILE
from tests.program.kit import SOL, STAKE, Chain, refuses, validator
from tests.program.slash_kit import reward_all
from tests.program.stake_kit import address, check_sums, jail, slot_of, validator_of
from tests.program.test_stake_registry import send

REST = 90_000  # of 100,000, without the poster's share


def funded(chain: Chain) -> Chain:
    chain.svm.airdrop(pda.treasury(chain.program_id), SOL)
    return chain


def test_whoever_took_the_slot_of_one_that_left_earns_nothing_by_it(chain: Chain) -> None:
    """Epoch 1 is certified by the first set; then validator 2 leaves, and another key takes its slot before the rewards are paid."""
    funded(chain)
    chain.settle()
    left, newcomer = chain.validators[2], validator(9)
    send(chain, "leave_registry", left)
    chain.register(newcomer)
    assert slot_of(chain, newcomer).index == 2
    treasury = chain.lamports(pda.treasury(chain.program_id))
    reward_all(chain)
    assert [slot.reward_lamports for slot in chain.registry.slots] == [22_500, 22_500, 0, 22_500]
    assert chain.lamports(pda.treasury(chain.program_id)) == treasury - 10_000 - 3 * 22_500
    assert validator_of(chain, left).reward_lamports == 0
    check_sums(chain)


def test_who_misses_max_misses_in_a_row_may_be_jailed(bare: Chain) -> None:
    """By rewards alone: two epochs missed, one signed, three missed."""
    bare.initialize(replace(LOCALNET_PROFILE, max_misses=3, miss_slash_basis_points=100))
    bare.grow_registry()
    funded(bare.bring_up_registered(validator(seed) for seed in range(4)))
    absent = bare.validators[3]
    for signers in ([0, 1, 2], [0, 1, 2], [1, 2, 3], [0, 1, 2], [0, 1, 2]):
        message = bare.post(signers)
        bare.advance(17)
        bare.finalize(message.epoch)
    reward_all(bare)
    assert slot_of(bare, absent).misses == 2
    with refuses("TooFewMisses"):
        jail(bare, absent)
    message = bare.post([0, 1, 2])
    bare.advance(17)
    bare.finalize(message.epoch)
    reward_all(bare)
    jail(bare, absent)
    assert validator_of(bare, absent).is_jailed
    assert validator_of(bare, absent).active_lamports == STAKE - STAKE // 100
    bare.advance(64)
    bare.seal(2)
    assert bare.set_account(2).count == 3


def test_rewards_are_collected_into_the_pool_they_were_earned_by(chain: Chain) -> None:
    funded(chain)
    chain.settle()
    reward_all(chain)
    who = chain.validators[1]
    collecting = stake_instructions.collect_rewards(chain.program_id, chain.payer.pubkey(), address(chain, who))
    chain.send(collecting)
    held = validator_of(chain, who)
    assert held.active_lamports + held.commission_lamports == STAKE + REST // 4
    assert slot_of(chain, who).reward_lamports == 0
    check_sums(chain)
