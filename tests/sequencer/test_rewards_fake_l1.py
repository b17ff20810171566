"""The loop that adds late signatures and pays rewards: the real node, poster and program; only L1's nodes are a fake, so that slots are counted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from sequencer import database as db
from sequencer import methods_validator
from sequencer.errors import RpcError
from sequencer.params import SubmitAttestation
from sequencer.proposals import attestation_key
from sequencer.rewards import LATE_SLOTS, Rewards
from settlement import accounts, instructions, pda, slashing
from settlement.accounts import LOCALNET_PROFILE
from settlement.rpc_codes import Code
from settlement.validator_set import bitmap_to_bytes
from tests import fake_l1
from tests.fake_l1 import CONFIRMED_DEPTH, PAYER, PROGRAM, World
from tests.posting_kit import Sequencer, while_slots_pass

WINDOW = LOCALNET_PROFILE.challenge_window_slots


@pytest.fixture
async def sequencer(tmp_path: Path) -> AsyncIterator[Sequencer]:
    world = World.new()
    made = await Sequencer.open(world, fake_l1.nodes(world, 1), tmp_path)
    yield made
    made.close()


async def posted(sequencer: Sequencer, signers: tuple[int, ...] = (0, 1, 2)) -> Any:
    """The next epoch, posted with these signatures."""
    sequencer.world.deposit()
    sequencer.world.advance(CONFIRMED_DEPTH)
    assert await sequencer.cut()
    sequencer.attest(signers)
    assert await sequencer.step()
    assert await while_slots_pass(sequencer.world, 40, sequencer.step)
    await sequencer.poll()
    return sequencer.node.chain.position.posted[-1].row


def attest_late(sequencer: Sequencer, row: Any, index: int) -> None:
    """Through the method that validators call."""
    key, node = sequencer.world.validators[index], sequencer.node
    params = SubmitAttestation(
        epoch=row.epoch,
        attempt=row.attempt,
        hash=row.hash.hex(),
        set_index=index,
        signature=key.secret.sign(row.hash).hex(),
        auth=None,  # type: ignore[arg-type]
    )
    with node.database.transaction() as tx:
        methods_validator.submit_attestation(node, tx, bytes(key.authority.pubkey()), params)


async def advance_to(sequencer: Sequencer, slot: int) -> None:
    """L1 is at that slot at `confirmed`, and the node knows it."""
    world = sequencer.world
    world.advance(max(slot - world.slot("confirmed"), 0))
    await sequencer.poll()


async def step(sequencer: Sequencer, rewards: Rewards) -> bool | None:
    return await while_slots_pass(sequencer.world, 40, lambda: rewards.step(sequencer.node, sequencer.port))


async def finalize(sequencer: Sequencer) -> None:
    """The oldest posted epoch is final on L1 and in the node."""
    epoch = sequencer.node.chain.position.posted[0].row.epoch
    checkpoint = sequencer.world.checkpoint(epoch)
    assert checkpoint is not None
    await advance_to(sequencer, checkpoint.challenge_until_slot + 1)
    sequencer.world.do(instructions.finalize_checkpoint(PROGRAM, PAYER.pubkey(), epoch, checkpoint.poster))
    sequencer.world.advance(fake_l1.FINALIZED_DEPTH)
    await sequencer.poll()
    assert await sequencer.finality_step()


def registry(sequencer: Sequencer) -> accounts.Registry:
    address = pda.registry(PROGRAM)
    return accounts.decode_registry(address, bytes(sequencer.world.at("processed").accounts[address].data))


async def test_a_late_signature_is_added_and_earns_as_much(autojump_clock: Any, sequencer: Sequencer) -> None:
    sequencer.world.svm.airdrop(pda.treasury(PROGRAM), 10**9)
    rewards, row = Rewards(), await posted(sequencer)
    assert not await step(sequencer, rewards)
    attest_late(sequencer, row, 3)
    await advance_to(sequencer, row.posted_slot + LATE_SLOTS)
    assert await step(sequencer, rewards)
    await sequencer.poll()
    checkpoint = sequencer.world.checkpoint(row.epoch, "processed")
    assert checkpoint is not None and checkpoint.bitmap == bitmap_to_bytes(0b1111)
    assert not await step(sequencer, rewards)
    await finalize(sequencer)
    assert await step(sequencer, rewards)
    assert [slot.reward_lamports for slot in registry(sequencer).slots] == [22_500] * 4
    assert not await step(sequencer, rewards)


async def test_others_are_waited_for_a_little_and_share_a_transaction(
    autojump_clock: Any, sequencer: Sequencer
) -> None:
    rewards, row = Rewards(), await posted(sequencer, (0, 1, 2))
    attest_late(sequencer, row, 3)
    if sequencer.node.slot < row.posted_slot + LATE_SLOTS:
        assert not await step(sequencer, rewards)
    landed = len(sequencer.world.landed)
    await advance_to(sequencer, row.posted_slot + LATE_SLOTS)
    assert await step(sequencer, rewards)
    assert len(sequencer.world.landed) == landed + 1


async def test_nothing_is_added_once_the_window_is_over(autojump_clock: Any, sequencer: Sequencer) -> None:
    """Nor does anything stop: the epoch is final, and rewarded without it."""
    rewards, row = Rewards(), await posted(sequencer)
    await advance_to(sequencer, row.posted_slot + WINDOW)
    attest_late(sequencer, row, 3)
    assert not await step(sequencer, rewards)
    await finalize(sequencer)
    with pytest.raises(RpcError) as refused:
        attest_late(sequencer, row, 3)
    assert refused.value.code is Code.WRONG_PROPOSAL
    assert await step(sequencer, rewards)
    assert [slot.misses for slot in registry(sequencer).slots] == [0, 0, 0, 1]


async def test_who_was_added_by_somebody_else_is_not_added_again(autojump_clock: Any, sequencer: Sequencer) -> None:
    rewards, row = Rewards(), await posted(sequencer)
    attest_late(sequencer, row, 3)
    signature = sequencer.world.validators[3].secret.sign(row.hash)
    sent = await sequencer.port.sign_late(row, 0b1000, signature)
    await while_slots_pass(sequencer.world, 10, lambda: sequencer.port.confirm(sent, False))
    await advance_to(sequencer, row.posted_slot + LATE_SLOTS)
    landed = len(sequencer.world.landed)
    assert not await step(sequencer, rewards)
    assert len(sequencer.world.landed) == landed
    assert not await step(sequencer, rewards)


async def test_rewards_are_caught_up_with_in_order_after_a_restart(autojump_clock: Any, sequencer: Sequencer) -> None:
    """A loop that knows nothing finds what is not rewarded yet; what somebody else paid is not paid again."""
    for signers in ((0, 1, 2), (1, 2, 3), (0, 2, 3)):
        await posted(sequencer, signers)
        await finalize(sequencer)
    first = sequencer.world.checkpoint(1)
    assert first is not None
    sequencer.world.do(slashing.reward_of(PROGRAM, PAYER.pubkey(), first))
    sequencer.world.advance(CONFIRMED_DEPTH)
    await sequencer.poll()
    rewards = Rewards()
    assert [bool(await step(sequencer, rewards)) for _ in range(3)] == [True, True, False]
    sequencer.world.advance(CONFIRMED_DEPTH)
    for epoch in (1, 2, 3):
        checkpoint = sequencer.world.checkpoint(epoch)
        assert checkpoint is not None and checkpoint.rewarded
    assert [slot.misses for slot in registry(sequencer).slots] == [0, 1, 0, 0]


async def test_a_reward_that_somebody_else_paid_first_is_looked_at_again(
    autojump_clock: Any, sequencer: Sequencer
) -> None:
    await posted(sequencer)
    await finalize(sequencer)
    rewards = Rewards()
    checkpoint = sequencer.world.checkpoint(1)
    assert checkpoint is not None
    rewards.waiting = [checkpoint]
    sequencer.world.do(slashing.reward_of(PROGRAM, PAYER.pubkey(), checkpoint))
    sequencer.world.advance(CONFIRMED_DEPTH)
    assert not await step(sequencer, rewards)
    assert not await step(sequencer, rewards)
    assert rewards.rewarded_epoch == 1


async def test_an_operator_may_leave_it_to_others(autojump_clock: Any, sequencer: Sequencer) -> None:
    await posted(sequencer)
    await finalize(sequencer)
    sequencer.node.config = sequencer.node.config.model_copy(update={"pay_rewards": False})
    landed = len(sequencer.world.landed)
    assert not await step(sequencer, Rewards())
    assert len(sequencer.world.landed) == landed


async def test_a_late_signature_that_is_none_is_refused(sequencer: Sequencer, autojump_clock: Any) -> None:
    row = await posted(sequencer)
    wrong = sequencer.world.validators[2].secret
    key = sequencer.world.validators[3]
    params = SubmitAttestation(
        epoch=row.epoch,
        attempt=row.attempt,
        hash=row.hash.hex(),
        set_index=3,
        signature=wrong.sign(row.hash).hex(),
        auth=None,  # type: ignore[arg-type]
    )
    with pytest.raises(RpcError) as refused, sequencer.node.database.transaction() as tx:
        methods_validator.submit_attestation(sequencer.node, tx, bytes(key.authority.pubkey()), params)
    assert refused.value.code is Code.BAD_SIGNATURE
    assert sequencer.node.database.get(db.ATTESTATIONS, attestation_key(row, 3)) is None
