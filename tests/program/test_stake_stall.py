"""stall_step: a chain whose pinned set cannot reach a quorum comes back, a third at most at a time. close_validator_set: rent of old sets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from solders.keypair import Keypair

from settlement import pda, stake_instructions
from settlement.accounts import LOCALNET_PROFILE, OCCUPIED
from settlement.stake_accounts import INACTIVE
from tests.program.kit import STAKE, Chain, Validator, refuses, validator
from tests.program.slash_kit import reward_all
from tests.program.stake_kit import (
    address,
    check_sums,
    delegate,
    free_checkpoint,
    overwrite_field,
    overwrite_misses,
    owner,
    slot_of,
    wait_for_unbonding,
)

STALL, HEARTBEAT = LOCALNET_PROFILE.stall_slots, LOCALNET_PROFILE.heartbeat_slots


def up(stakes: Sequence[int], **parameters: int) -> Chain:
    """One epoch posted by validators of these stakes."""
    chain = Chain.new()
    chain.initialize(replace(LOCALNET_PROFILE, **parameters))
    chain.grow_registry()
    chain.bring_up_registered(validator(seed, stake) for seed, stake in enumerate(stakes))
    chain.post()
    return chain


def beat(chain: Chain, *who: Validator) -> None:
    for one in who:
        built = stake_instructions.heartbeat(chain.program_id, one.authority.pubkey(), address(chain, one))
        chain.send(built, signers=[one.authority])


def stall(chain: Chain) -> int:
    """Takes a step, whose set's account is made first if need be; the version that is pinned then."""
    version = chain.config.sealed_last.version + 1
    if chain.svm.get_account(pda.validator_set(chain.program_id, version)) is None:
        chain.create_set(version)
    pinned = chain.config.pinned.version
    chain.send(stake_instructions.stall_step(chain.program_id, chain.payer.pubkey(), pinned, version))
    check_sums(chain)
    return version


def members(chain: Chain) -> list[int]:
    """Registry slots of the pinned set, which must say the same in its entries."""
    held = chain.set_account(chain.config.pinned.version)
    indexes = list(held.slot_indexes[: held.count])
    by_index = {slot.index: slot for slot in chain.registry.slots}
    assert [entry.bls_uncompressed for entry in held.validator_set.entries] == [
        by_index[index].bls_public_key for index in indexes
    ]
    assert held.set_hash == held.validator_set.hash(chain.domain) == chain.config.pinned.hash
    return indexes


def test_steps_that_drop_at_most_a_third_until_a_set_is_live_again_and_posts() -> None:
    """Five of nine are silent: two steps drop three and two of them, and the four that are left certify the next epoch."""
    chain = up([STAKE] * 9)
    alive = [chain.validators[index] for index in (1, 4, 6, 8)]
    chain.advance(STALL)
    beat(chain, *alive)
    with refuses("StallTooSoon"):
        stall(chain)
    chain.advance(1)
    assert stall(chain) == 2
    assert members(chain) == [1, 4, 5, 6, 7, 8]
    assert [slot.index for slot in chain.registry.slots if slot.flags & INACTIVE] == [0, 2, 3]
    assert (chain.config.pinned.slot, chain.config.last_stall_slot) == (chain.slot, chain.slot)
    assert (chain.set_account(1).replaced_slot, chain.config.sealed_before.version) == (chain.slot, 1)

    chain.advance(STALL)
    beat(chain, *alive)
    with refuses("StallTooSoon"):
        stall(chain)
    chain.advance(1)
    assert stall(chain) == 3
    assert members(chain) == [1, 4, 6, 8]

    everybody, chain.validators = chain.validators, alive
    chain.post()
    chain.validators = everybody
    # Who comes back is sealed again.
    beat(chain, everybody[0])
    chain.advance(LOCALNET_PROFILE.min_seal_gap_slots)
    chain.seal(4, chain.payer)
    assert slot_of(chain, everybody[0]).flags == OCCUPIED
    assert list(chain.set_account(4).slot_indexes[:5]) == [0, 1, 4, 6, 8]


def test_who_holds_more_than_a_third_is_not_dropped() -> None:
    chain = up([STAKE, 3 * STAKE, STAKE])
    chain.advance(STALL + 1)
    beat(chain, chain.validators[0], chain.validators[2])
    with refuses("NobodyToDrop"):
        stall(chain)


def test_a_step_drops_exactly_a_third_and_no_lamport_more() -> None:
    chain = up([STAKE, STAKE, STAKE + 1])
    chain.advance(STALL + 1)
    stall(chain)
    assert members(chain) == [1, 2]
    chain = up([STAKE, STAKE, STAKE - 1], min_validator_stake_lamports=STAKE - 1)
    chain.advance(STALL + 1)
    stall(chain)
    assert members(chain) == [0, 1]  # the first two have more than a third each


def test_a_heartbeat_counts_to_its_last_slot() -> None:
    chain = up([STAKE] * 3)
    chain.advance(STALL + 1 - HEARTBEAT)
    beat(chain, chain.validators[0])
    chain.advance(HEARTBEAT)
    beat(chain, chain.validators[1])
    stall(chain)
    assert members(chain) == [0, 1]
    chain = up([STAKE] * 3)
    chain.advance(STALL + 1 - HEARTBEAT)
    beat(chain, chain.validators[0])
    chain.advance(HEARTBEAT + 1)
    beat(chain, chain.validators[1], chain.validators[2])
    stall(chain)
    assert members(chain) == [1, 2]


def test_while_all_are_there_nobody_is_dropped(chain: Chain) -> None:
    chain.post()
    chain.advance(STALL + 1)
    beat(chain, *chain.validators)
    with refuses("NobodyToDrop"):
        stall(chain)


def test_before_the_first_post_nothing_stalls(chain: Chain) -> None:
    chain.advance(STALL + 1)
    with refuses("NothingPosted"):
        stall(chain)


def test_nothing_stalls_after_the_escape(chain: Chain) -> None:
    """Config written as the escape leaves it."""
    chain.post()
    chain.advance(STALL + 1)
    chain.create_set(2)
    overwrite_field(chain, pda.config(chain.program_id), "Config", "escaped", b"\x01")
    with refuses("Escaped"):
        stall(chain)


def test_who_is_gone_jailed_or_replaced_is_out_and_counts_first() -> None:
    """Misses written in place of those of epochs. More than a third may be gone; then nobody silent is dropped beside them."""
    chain = up([STAKE] * 6)
    gone, jailed, silent = chain.validators[0], chain.validators[1], chain.validators[2]
    leaving = stake_instructions.leave_registry(chain.program_id, gone.authority.pubkey(), address(chain, gone))
    chain.send(leaving, signers=[gone.authority])
    newcomer = validator(20)
    chain.register(newcomer)
    assert slot_of(chain, newcomer).index == 0
    overwrite_misses(chain, jailed, LOCALNET_PROFILE.max_misses)
    built = stake_instructions.jail_validator(chain.program_id, chain.payer.pubkey(), address(chain, jailed))
    chain.send(built)
    delegate(chain, chain.validators[3], owner(chain, 1), STAKE)
    chain.advance(STALL + 1)
    beat(chain, *chain.validators[3:6])
    stall(chain)
    assert members(chain) == [2, 3, 4, 5]
    assert slot_of(chain, silent).flags == OCCUPIED
    assert chain.set_account(2).total_stake_lamports == 5 * STAKE  # with what was delegated meanwhile


def test_the_least_a_set_must_have_holds_for_steps_too() -> None:
    chain = up([STAKE] * 3, min_validators=3)
    chain.advance(STALL + 1)
    beat(chain, *chain.validators[1:])
    with refuses("TooFewValidators"):
        stall(chain)


def test_the_sets_of_a_step_are_the_pinned_and_the_next_one(chain: Chain) -> None:
    chain.post()
    chain.advance(STALL + 1)
    chain.seal(2, chain.payer)
    chain.create_set(3)
    beat(chain, *chain.validators[1:])
    for pinned, version, error in (
        (2, 3, "InstructionErrorFieldless.InvalidSeeds"),
        (1, 2, "SetSealed"),
    ):
        with refuses(error):
            chain.send(stake_instructions.stall_step(chain.program_id, chain.payer.pubkey(), pinned, version))
    assert stall(chain) == 3
    assert chain.config.pinned.version == 3  # version 2, never pinned, is passed over


# -- close_validator_set --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def later() -> Chain:
    """Version 3 is pinned and certified the last epoch; now is the last slot of its unbonding. The rent of all is the payer's."""
    chain = Chain.new().bring_up([validator(0)])
    chain.settle()
    free_checkpoint(chain)
    wait_for_unbonding(chain, free_checkpoint(chain))
    return chain


def close(chain: Chain, version: int, epoch: int | None, recipient: Keypair | None = None) -> None:
    relayer = owner(chain, 5)
    chain.send(
        stake_instructions.close_validator_set(
            chain.program_id, relayer.pubkey(), version, (recipient or chain.payer).pubkey(), epoch
        ),
        payer=relayer,
    )


def test_an_old_sets_rent_comes_back_and_its_version_never_again(later: Chain) -> None:
    epoch = later.config.finalized.epoch
    with refuses("UnbondingNotOver"):
        close(later, 1, epoch)
    later.advance(1)
    with refuses("NotSetPayer"):
        close(later, 1, epoch, owner(later, 5))
    with refuses("CheckpointMissing"):
        close(later, 1, None)
    with refuses("RewardsDue"):
        close(later, 1, epoch)
    reward_all(later)
    before, rent = later.lamports(later.payer.pubkey()), later.lamports(pda.validator_set(later.program_id, 1))
    close(later, 1, epoch)
    assert later.lamports(later.payer.pubkey()) == before + rent > before
    with refuses("WrongSetVersion"):
        later.create_set(1)


def test_sets_in_use_stay(later: Chain) -> None:
    later.advance(1)
    epoch = later.config.finalized.epoch
    assert (later.config.pinned.version, later.config.sealed_before.version) == (3, 2)
    for version in (2, 3):
        with refuses("SetInUse"):
            close(later, version, epoch)
    later.seal(4, later.authority)
    later.advance(LOCALNET_PROFILE.min_seal_gap_slots)
    later.seal(5, later.authority)
    with refuses("SetInUse"):
        close(later, 3, epoch)  # still pinned
    reward_all(later)
    close(later, 2, epoch)


def test_a_set_is_kept_while_it_may_be_evidence(later: Chain) -> None:
    """Config written as the rejection of a checkpoint leaves it."""
    later.advance(1)
    with refuses("CheckpointTooOld"):
        close(later, 1, 1)
    overwrite_field(later, pda.config(later.program_id), "Config", "pending_slashes", (1).to_bytes(8, "little"))
    with refuses("SlashesPending"):
        close(later, 1, later.config.finalized.epoch)
