"""add_signatures: whoever signed late is added until the challenge window ends."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from solders.instruction import AccountMeta, Instruction

from settlement import messages, pda, slash_instructions
from settlement.accounts import CheckpointStatus
from settlement.hash_to_curve import hints
from settlement.validator_set import bitmap_to_bytes
from tests.program import slash_kit
from tests.program.kit import Chain, refuses, validator


def adding(
    chain: Chain, message: messages.CheckpointMessage, signers: Iterable[int], bitmap: int | None = None
) -> Instruction:
    chosen = list(signers)
    return slash_instructions.add_signatures(
        chain.program_id,
        chain.payer.pubkey(),
        message.epoch,
        1,
        message.hash(chain.domain),
        sum(1 << index for index in chosen) if bitmap is None else bitmap,
        slash_kit.signature(chain, message, chosen),
    )


def test_late_signatures_are_added_one_after_the_other(bare: Chain) -> None:
    bare.bring_up(validator(seed) for seed in range(6))
    message = bare.post([0, 1, 2, 3])
    bare.send(adding(bare, message, [5]))
    assert bare.checkpoint(1).bitmap == bitmap_to_bytes(0b101111)
    bare.send(adding(bare, message, [4]))
    assert bare.checkpoint(1).bitmap == bitmap_to_bytes(0b111111)


def test_until_the_last_slot_of_the_window(chain: Chain) -> None:
    message = chain.post([0, 1, 2])
    chain.advance(16)
    assert chain.slot == chain.checkpoint(1).challenge_until_slot
    chain.send(adding(chain, message, [3]))
    chain.advance(1)
    chain.finalize(1)


def test_after_the_window_and_once_final_it_is_too_late(chain: Chain) -> None:
    message = chain.post([0, 1, 2])
    chain.advance(17)
    with refuses("SignaturesTooLate"):
        chain.send(adding(chain, message, [3]))
    chain.finalize(1)
    with refuses("SignaturesTooLate"):
        chain.send(adding(chain, message, [3]))


@pytest.mark.parametrize("status", [CheckpointStatus.REJECTED, CheckpointStatus.VOIDED])
def test_nobody_joins_what_was_rejected_set_by_overwrite(chain: Chain, status: CheckpointStatus) -> None:
    """Each signer of a rejected checkpoint is counted when it is rejected: none may come later."""
    message = chain.post([0, 1, 2])
    slash_kit.with_status_by_overwrite(chain, 1, status)
    with refuses("SignaturesTooLate"):
        chain.send(adding(chain, message, [3]))


def test_nobody_joins_a_void_epoch_set_by_overwrite(chain: Chain) -> None:
    message = chain.post([0, 1, 2])
    config = pda.config(chain.program_id)
    data = bytearray(chain.data(config))
    offset = slash_kit.offset_of("Config", "voids")
    data[offset : offset + 16] = (1).to_bytes(8, "little") * 2
    chain.overwrite(config, bytes(data))
    with refuses("VoidEpoch"):
        chain.send(adding(chain, message, [3]))


@pytest.mark.parametrize("signers", [[0], [2, 3], [0, 1, 2, 3]])
def test_only_new_ones(chain: Chain, signers: list[int]) -> None:
    message = chain.post([0, 1, 2])
    with refuses("SignedAlready"):
        chain.send(adding(chain, message, signers))


def test_nobody_is_added_unsigned(chain: Chain) -> None:
    message = chain.post([0, 1, 2])
    with refuses("NobodySigned"):
        chain.send(adding(chain, message, [3], bitmap=0))
    with refuses("PairingNotOne"):
        chain.send(adding(chain, message, [2], bitmap=0b1000))
    with refuses("BitBeyondSet"):
        chain.send(adding(chain, message, [3], bitmap=0b11000))
    other = chain.message()
    wrong = slash_instructions.add_signatures(
        chain.program_id,
        chain.payer.pubkey(),
        1,
        1,
        message.hash(chain.domain),
        0b1000,
        slash_kit.signature(chain, other, [3]),
    )
    with refuses("PairingNotOne"):
        chain.send(wrong)
    assert hints(other.hash(chain.domain)) != hints(message.hash(chain.domain))


def test_signatures_of_another_epoch_or_set(chain: Chain) -> None:
    first = chain.post([0, 1, 2])
    chain.advance(1)
    second = chain.post([0, 1, 2])
    built = adding(chain, first, [3])
    metas = list(built.accounts)
    metas[2] = AccountMeta(pda.checkpoint(chain.program_id, 2), False, True)
    with refuses("InstructionErrorFieldless.InvalidSeeds"):
        chain.send(Instruction(chain.program_id, bytes(built.data), metas))
    chain.advance(5)
    chain.send(adding(chain, second, [3]))
    chain.create_set(2)
    metas = list(built.accounts)
    metas[3] = AccountMeta(pda.validator_set(chain.program_id, 2), False, False)
    with refuses("WrongValidatorSet"):
        chain.send(Instruction(chain.program_id, bytes(built.data), metas))
