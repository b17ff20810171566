"""A set of 256, made by real instructions with 256 proofs of possession, and its certificates in one transaction each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from solders.instruction import Instruction
from solders.pubkey import Pubkey

from settlement import dispute_instructions, evidence, merkle, pda, slash_instructions
from settlement.accounts import MAX_VALIDATORS, CheckpointStatus
from settlement.validator_set import bitmap_to_bytes
from tests.program import slash_kit
from tests.program.dispute_kit import fill
from tests.program.kit import LARGEST_COMPUTE, STAKE, TRANSACTION_BYTES, Chain, refuses, validator
from tests.settlement import steps


@pytest.fixture(scope="module")
def full() -> Iterator[Chain]:
    yield Chain.new().bring_up(validator(seed) for seed in range(MAX_VALIDATORS))


def test_the_set_is_full_and_sealed(full: Chain) -> None:
    held = full.set_account(1)
    assert (held.count, held.total_stake_lamports) == (MAX_VALIDATORS, MAX_VALIDATORS * STAKE)
    assert held.set_hash == held.validator_set.hash(full.domain)
    assert full.lamports(pda.stake_vault(full.program_id)) > MAX_VALIDATORS * STAKE


def test_one_more_is_refused(full: Chain) -> None:
    with refuses("RegistryFull"):
        full.register(validator(MAX_VALIDATORS))


@pytest.mark.parametrize("present", [256, 171, 172, 200])
def test_a_post_of_256_fits_one_transaction(full: Chain, present: int) -> None:
    """With payer, inbox entries and two compute-budget instructions: 1,232 bytes is what a packet holds."""
    for _ in range(2):
        full.deposit(10_000, Pubkey(b"\x05" * 32))
    full.advance(1)
    cursor = full.config.posted.inbox_cursor + 1
    message = full.message(inbox_cursor=cursor, payable_total=full.config.posted.payable_total + 1)
    signed = full.certificate(message, range(present))
    posting = full.posting(signed)
    assert len(posting.accounts) == 7 and posting.accounts[4].pubkey == pda.inbox_entry(full.program_id, cursor - 1)
    size = len(bytes(full.transaction([posting], [], full.payer)))
    assert size <= TRANSACTION_BYTES
    done = full.send(posting)
    assert done.compute_units_consumed() < LARGEST_COMPUTE // 4
    assert full.checkpoint(message.epoch).bitmap == bitmap_to_bytes((1 << present) - 1)


def test_170_of_256_are_no_quorum(full: Chain) -> None:
    full.advance(1)
    with refuses("ShortQuorum"):
        full.post(range(170))


def test_the_largest_set_advances_in_one_transaction(full: Chain) -> None:
    assert full.compute_units["advance_validator_set"] < LARGEST_COMPUTE // 2


def test_256_are_rewarded_in_one_transaction(full: Chain) -> None:
    """Late signatures of 85 first; then every member's slot is written. Dearest when products need 128 bits: by overwrite."""
    program = full.program_id
    full.svm.airdrop(pda.treasury(program), 10**9)
    full.advance(1)
    message = full.post(range(171))
    late = range(171, MAX_VALIDATORS)
    signature = slash_kit.signature(full, message, late)
    bits = sum(1 << index for index in late)
    digest = message.hash(full.domain)
    full.send(
        slash_instructions.add_signatures(program, full.payer.pubkey(), message.epoch, 1, digest, bits, signature)
    )
    full.advance(full.config.parameters.challenge_window_slots + 1)
    config = full.config
    for epoch in range(config.finalized.epoch + 1, message.epoch + 1):
        full.finalize(epoch)
    address = pda.validator_set(program, 1)
    sealed = full.data(address)
    dearest = bytearray(sealed)
    for index in range(MAX_VALIDATORS):
        place = 472 + 136 * index + 128
        dearest[place : place + 8] = ((1 << 53) - index).to_bytes(8, "little")
    offset = slash_kit.offset_of("ValidatorSet", "total_stake_lamports")
    total = sum((1 << 53) - index for index in range(MAX_VALIDATORS))
    dearest[offset : offset + 8] = total.to_bytes(8, "little")
    full.overwrite(address, bytes(dearest))
    for epoch in range(1, message.epoch + 1):
        held = full.checkpoint(epoch)
        done = full.send(
            slash_instructions.reward_checkpoint(program, full.payer.pubkey(), epoch, held.parent_epoch, 1, held.poster)
        )
        assert done.compute_units_consumed() < LARGEST_COMPUTE // 2
    full.overwrite(address, sealed)
    slots = full.registry.slots
    assert all(slot.misses == 0 and slot.reward_lamports > 90_000 // 257 for slot in slots)
    assert full.lamports(pda.stake_vault(program)) == (
        full.svm.minimum_balance_for_rent_exemption(0)
        + sum(slot.stake_lamports + slot.reward_lamports for slot in slots)
    )


def proof_of_largest_step(full: Chain, told: bytes | None) -> Instruction:
    """A post of eight payments, each with three leaves 64 siblings down, accepted by 256 validators; its trace ends with `told`, or right."""
    full.advance(1)
    step = steps.deep(64, 8, epoch=full.config.highest_epoch + 1)
    batch = [step.records[at : at + 160] for at in range(0, len(step.records), 160)]
    trace = [step.before, told or step.after]
    roots = {"results_root": merkle.root("results-root", batch), "trace_root": merkle.root("trace-root", trace)}
    checkpoint = full.checkpoint(full.post(**roots).epoch)
    buffer = fill(full, evidence.step_evidence(trace, batch, 0, step.witness), checkpoint.epoch)
    return dispute_instructions.prove_transition(full.program_id, full.payer.pubkey(), checkpoint, buffer)


def test_the_largest_step_is_judged_in_one_transaction(full: Chain) -> None:
    with refuses("NoFraud"):
        full.send(proof_of_largest_step(full, None))
    proof = proof_of_largest_step(full, b"\x01" * 32)
    used = full.send(proof).compute_units_consumed()
    assert used < LARGEST_COMPUTE * 2 // 3, used
    assert full.checkpoint(full.config.highest_epoch).status is CheckpointStatus.REJECTED
