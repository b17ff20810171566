"""reward_checkpoint: who gets what, to the last lamport, and who is counted absent."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from settlement import pda, slash_instructions
from settlement.accounts import LOCALNET_PROFILE
from tests.program import slash_kit
from tests.program.kit import SOL, STAKE, Chain, refuses, validator
from tests.program.slash_kit import reporter
from tests.program.test_rewards_late_signatures import adding

POT, POSTER_SHARE = 100_000, 10_000


def funded(chain: Chain, lamports: int = SOL) -> Chain:
    chain.svm.airdrop(pda.treasury(chain.program_id), lamports)
    return chain


def rewarding(chain: Chain, epoch: int, payer: Keypair | None = None, **changes: object) -> Instruction:
    held = chain.checkpoint(epoch)
    arguments = {"parent_epoch": held.parent_epoch, "set_version": held.set_version, "poster": held.poster} | changes
    return slash_instructions.reward_checkpoint(
        chain.program_id,
        (payer or chain.payer).pubkey(),
        epoch,
        **arguments,  # type: ignore[arg-type]
    )


def final(chain: Chain, signers: Iterable[int] | None = None) -> int:
    """Posts and finalizes the next epoch, signed by these."""
    message = chain.post(signers)
    chain.advance(chain.config.parameters.challenge_window_slots + 1)
    chain.finalize(message.epoch)
    return message.epoch


def rewards(chain: Chain) -> list[int]:
    return [slot.reward_lamports for slot in chain.registry.slots]


def misses(chain: Chain) -> list[int]:
    return [slot.misses for slot in chain.registry.slots]


def test_poster_and_signers_by_stake(bare: Chain) -> None:
    bare.bring_up(validator(seed, (seed + 1) * STAKE) for seed in range(4))
    funded(bare)
    epoch = final(bare, [0, 2, 3])
    program, by = bare.program_id, reporter(bare)
    before, treasury = bare.lamports(bare.payer.pubkey()), bare.lamports(pda.treasury(program))
    total = slash_kit.everything(bare, by.pubkey())
    done = bare.send(rewarding(bare, epoch, by), payer=by)
    shares = [90_000 * stake // 8 for stake in (1, 0, 3, 4)]
    assert rewards(bare) == shares == [11_250, 0, 33_750, 45_000]
    assert misses(bare) == [0, 1, 0, 0]
    assert bare.lamports(bare.payer.pubkey()) == before + POSTER_SHARE
    assert bare.lamports(pda.treasury(program)) == treasury - POSTER_SHARE - sum(shares)
    assert bare.lamports(pda.stake_vault(program)) == slash_kit.vault_total(bare)
    assert slash_kit.everything(bare, by.pubkey()) == total - done.fee()
    assert bare.checkpoint(epoch).rewarded == 1


def test_what_rounding_leaves_stays_in_the_treasury(bare: Chain) -> None:
    bare.bring_up(validator(seed, STAKE + seed * 7_919) for seed in range(7))
    funded(bare)
    epoch = final(bare)
    treasury = bare.lamports(pda.treasury(bare.program_id))
    bare.send(rewarding(bare, epoch))
    stakes = [one.stake_lamports for one in bare.validators]
    assert rewards(bare) == [90_000 * stake // sum(stakes) for stake in stakes]
    assert 0 < 90_000 - sum(rewards(bare)) < 7
    assert bare.lamports(pda.treasury(bare.program_id)) == treasury - POSTER_SHARE - sum(rewards(bare))
    assert bare.lamports(pda.stake_vault(bare.program_id)) == slash_kit.vault_total(bare)


def test_who_signed_late_earns_as_much(chain: Chain) -> None:
    funded(chain)
    message = chain.post([0, 1, 2])
    chain.send(adding(chain, message, [3]))
    chain.advance(17)
    chain.finalize(1)
    chain.send(rewarding(chain, 1))
    assert rewards(chain) == [22_500] * 4
    assert misses(chain) == [0] * 4


def test_once(chain: Chain) -> None:
    funded(chain)
    epoch = final(chain)
    chain.send(rewarding(chain, epoch))
    with refuses("RewardedAlready"):
        chain.send(rewarding(chain, epoch))
    assert sum(rewards(chain)) == 90_000


def test_only_what_is_final(chain: Chain) -> None:
    funded(chain)
    chain.post()
    with refuses("NotFinalized"):
        chain.send(rewarding(chain, 1))
    chain.advance(30)
    with refuses("NotFinalized"):
        chain.send(rewarding(chain, 1))


def test_in_the_chains_order(chain: Chain) -> None:
    """Otherwise anybody could count one validator's misses in a row by leaving out the epochs that it signed."""
    funded(chain)
    for signers in ([0, 1, 2], [0, 1, 3], [0, 1, 2]):
        final(chain, signers)
    for epoch in (2, 3):
        with refuses("ParentNotRewarded"):
            chain.send(rewarding(chain, epoch))
    with refuses("WrongAddress"):
        chain.send(rewarding(chain, 3, parent_epoch=1))
    for epoch in (1, 2, 3):
        chain.send(rewarding(chain, epoch))
    assert misses(chain) == [0, 0, 0, 1]


def test_misses_count_in_a_row_and_end_with_a_signature(chain: Chain) -> None:
    for signers in ([0, 1, 2], [0, 1, 2], [1, 2, 3], [0, 1, 2]):
        chain.send(rewarding(chain, final(chain, signers)))
        chain.advance(1)
    assert misses(chain) == [0, 0, 0, 1]
    chain.send(rewarding(chain, final(chain, [0, 1, 2])))
    assert misses(chain) == [0, 0, 0, 2]


def test_an_empty_treasury_pays_nothing_and_counts_all_the_same(chain: Chain) -> None:
    program = chain.program_id
    epoch = final(chain, [0, 1, 2])
    treasury = chain.lamports(pda.treasury(program))
    assert treasury == chain.svm.minimum_balance_for_rent_exemption(0)
    chain.send(rewarding(chain, epoch))
    assert rewards(chain) == [0] * 4
    assert misses(chain) == [0, 0, 0, 1]
    assert chain.lamports(pda.treasury(program)) == treasury
    with refuses("RewardedAlready"):
        chain.send(rewarding(chain, epoch))


@pytest.mark.parametrize("spare", [1, 9, 10, 99_999, 100_000, 100_001])
def test_a_treasury_that_runs_out_keeps_its_rent(chain: Chain, spare: int) -> None:
    program = chain.program_id
    funded(chain, spare)
    chain.send(rewarding(chain, final(chain)))
    pot = min(spare, POT)
    share = (pot - pot // 10) // 4
    assert rewards(chain) == [share] * 4
    rent = chain.svm.minimum_balance_for_rent_exemption(0)
    assert chain.lamports(pda.treasury(program)) == rent + spare - pot // 10 - 4 * share


def test_a_poster_without_an_account_cannot_hold_up_the_others(chain: Chain) -> None:
    """Its share would leave it below rent, which Solana refuses: it forfeits the share."""
    funded(chain)
    poster = Keypair()
    chain.svm.airdrop(poster.pubkey(), SOL)
    usual, chain.payer = chain.payer, poster
    chain.post()
    chain.payer = usual
    chain.advance(17)
    chain.finalize(1)
    gone = chain.svm.get_account(poster.pubkey())
    assert gone is not None
    chain.svm.set_account(poster.pubkey(), type(gone)(0, b"", gone.owner, False, gone.rent_epoch))
    treasury = chain.lamports(pda.treasury(chain.program_id))
    chain.send(rewarding(chain, 1))
    assert chain.lamports(poster.pubkey()) == 0
    assert chain.lamports(pda.treasury(chain.program_id)) == treasury - 90_000


def test_the_poster_is_who_posted(chain: Chain) -> None:
    funded(chain)
    epoch, by = final(chain), reporter(chain)
    with refuses("WrongPoster"):
        chain.send(rewarding(chain, epoch, by, poster=by.pubkey()), payer=by)


def test_the_set_is_the_checkpoints(chain: Chain) -> None:
    epoch = final(chain)
    chain.advance(64)
    chain.seal(2)
    with refuses("WrongValidatorSet"):
        chain.send(rewarding(chain, epoch, set_version=2))


def test_money_moves_between_the_programs_own_vaults(chain: Chain) -> None:
    funded(chain)
    built = rewarding(chain, final(chain))
    for place, wrong in ((7, pda.vault(chain.program_id)), (8, pda.vault(chain.program_id)), (7, Keypair().pubkey())):
        metas = list(built.accounts)
        metas[place] = AccountMeta(wrong, False, True)
        with refuses("InstructionErrorFieldless.InvalidSeeds"):
            chain.send(Instruction(chain.program_id, bytes(built.data), metas))


def _overwrite_slot(chain: Chain, index: int, offset: int, data: bytes) -> None:
    address = pda.registry(chain.program_id)
    whole = bytearray(chain.data(address))
    start = 24 + 176 * index + offset
    whole[start : start + len(data)] = data
    chain.overwrite(address, bytes(whole))


@pytest.mark.parametrize("left", ["empty", "another key"])
def test_a_member_that_left_gets_nothing_set_by_overwrite(chain: Chain, left: str) -> None:
    """Its share stays in the Treasury; whoever has its slot now neither earns nor misses by it."""
    funded(chain)
    epoch = final(chain, [0, 1, 2])
    if left == "empty":
        for index in (1, 3):
            _overwrite_slot(chain, index, 172, bytes(4))
    else:
        for index in (1, 3):
            _overwrite_slot(chain, index, 32, chain.registry.slots[0].bls_public_key[:95] + b"\x01")
    treasury = chain.lamports(pda.treasury(chain.program_id))
    chain.send(rewarding(chain, epoch))
    by_index = {slot.index: (slot.reward_lamports, slot.misses) for slot in chain.registry.slots}
    gone = {} if left == "empty" else {1: (0, 0), 3: (0, 0)}
    assert by_index == {0: (30_000, 0), 2: (30_000, 0)} | gone
    assert chain.lamports(pda.treasury(chain.program_id)) == treasury - POSTER_SHARE - 60_000


def test_members_are_found_in_the_slots_they_were_sealed_from(bare: Chain) -> None:
    """A jailed validator is left out of the second set, so indexes in the set and in the registry differ."""
    bare.bring_up(validator(seed) for seed in range(5))
    funded(bare)
    first, second = slash_kit.two_messages(bare, epoch=9)
    by = reporter(bare)
    evidence = slash_kit.record(bare, by, first, [1]), slash_kit.record(bare, by, second, [1])
    bare.send(slash_kit.slashing(bare, by, 1, evidence, 9), payer=by)
    bare.seal(2)
    everybody = bare.validators
    bare.validators = [everybody[index] for index in (0, 2, 3, 4)]
    epoch = final(bare, [0, 1, 3])
    bare.validators = everybody
    bare.send(rewarding(bare, epoch))
    assert rewards(bare) == [30_000, 0, 30_000, 0, 30_000]
    assert misses(bare) == [0, 0, 0, 1, 0]


def test_huge_stakes_and_rewards_are_exact_set_by_overwrite(bare: Chain) -> None:
    """Products of 108 bits: rate and share are divided without losing a lamport."""
    largest = (1 << 46) - 1
    bare.initialize(replace(LOCALNET_PROFILE, reward_lamports_per_epoch=largest, poster_reward_basis_points=0))
    bare.grow_registry()
    for seed in range(3):
        bare.register(validator(seed))
    stakes = [(1 << 61) - 12_345, (1 << 60) - 99, 1_000_003]
    for index, stake in enumerate(stakes):
        _overwrite_slot(bare, index, 128, stake.to_bytes(8, "little"))
    bare.seal(1)
    bare.svm.set_account(
        pda.treasury(bare.program_id),
        type(bare.svm.get_account(pda.treasury(bare.program_id)))(  # type: ignore[misc]
            1 << 47, b"", Pubkey.default(), False, 0
        ),
    )
    bare.send(rewarding(bare, final(bare)))
    assert rewards(bare) == [largest * stake // sum(stakes) for stake in stakes]
