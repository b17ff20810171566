"""getAttestations: who signed what of an epoch that is not final, given-up attempts too. The L1 is the fake of tests/fake_l1.py around the real
program; node and poster are the real ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sequencer import database as db
from sequencer import methods_watch
from sequencer.params import GetAttestations
from settlement import certificate
from settlement.accounts import LOCALNET_PROFILE
from settlement.messages import CheckpointMessage
from tests import fake_l1
from tests.fake_l1 import DOMAIN, World
from tests.posting_kit import Sequencer, json, while_slots_pass


def shown(sequencer: Sequencer, epoch: int, attempt: int | None = None) -> list[tuple[int, list[int]]]:
    """(attempt, who has signed) of each proposal, once all of it was verified as a watcher would."""
    answer = json(methods_watch.get_attestations(sequencer.node, GetAttestations(epoch=epoch, attempt=attempt)))
    assert answer["epoch"] == epoch
    found = []
    for proposal in answer["proposals"]:
        message = CheckpointMessage.from_json(proposal["message"])
        digest, validators = message.hash(DOMAIN), sequencer.node.chain.open.context.validator_set
        assert message.set_hash == validators.hash(DOMAIN) and proposal["setVersion"] == validators.version
        signers = []
        for one in proposal["attestations"]:
            signature = bytes.fromhex(one["signature"])
            assert certificate.verify_attestation(digest, one["setIndex"], signature, validators)
            signers.append(one["setIndex"])
        found.append((message.attempt, signers))
    return found


async def test_attempts_that_were_given_up_are_shown_until_the_epoch_is_final(
    autojump_clock: Any, tmp_path: Path
) -> None:
    world = World.new()
    sequencer = await Sequencer.open(world, fake_l1.nodes(world, 1), tmp_path)
    try:
        world.deposit()
        world.advance(fake_l1.CONFIRMED_DEPTH)
        first = await sequencer.cut()
        assert first is not None and shown(sequencer, 1) == [(first.attempt, [])]
        sequencer.attest([1])
        world.advance(LOCALNET_PROFILE.max_expiry_slots + fake_l1.FINALIZED_DEPTH + 2)
        await sequencer.poll()
        await sequencer.step()
        assert sequencer.current is None
        assert shown(sequencer, 1) == [(first.attempt, [1])]
        second = await sequencer.cut()
        assert second is not None and second.attempt > first.attempt
        sequencer.attest([0, 1, 2])
        sequencer.restart()
        assert shown(sequencer, 1) == [(first.attempt, [1]), (second.attempt, [0, 1, 2])]
        assert shown(sequencer, 1, first.attempt) == [(first.attempt, [1])]
        assert shown(sequencer, 2) == shown(sequencer, 1, 7) == []
        assert await sequencer.step()
        assert await while_slots_pass(world, 40, sequencer.step)
        await sequencer.poll()
        assert shown(sequencer, 1)[-1] == (second.attempt, [0, 1, 2])
        world.advance(LOCALNET_PROFILE.challenge_window_slots + 2)
        for _ in range(3):
            await sequencer.poll()
            await while_slots_pass(world, 60, sequencer.finality_step)
            world.advance(fake_l1.FINALIZED_DEPTH + 1)
        assert sequencer.node.chain.position.finalized.epoch == 1
        assert shown(sequencer, 1) == []
        assert not list(sequencer.node.database.scan(db.GIVEN_UP)) + list(sequencer.node.database.scan(db.ATTESTATIONS))
    finally:
        sequencer.close()
