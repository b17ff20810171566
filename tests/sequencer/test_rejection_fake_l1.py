"""The chain goes on after L1 has rejected an epoch: real sequencer and validators, the real program; only L1's nodes are a fake, so that slots
are counted and forks can be made."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from sequencer import database as db
from sequencer.returns import Returns
from settlement import slashing
from settlement.accounts import LOCALNET_PROFILE, CheckpointStatus
from tests.fake_l1 import CONFIRMED_DEPTH, FINALIZED_DEPTH, PAYER, PROGRAM
from tests.posting_kit import Line, while_slots_pass
from tests.rejecting import demand, reject, time_out

BOND = LOCALNET_PROFILE.poster_bond_lamports


@pytest.fixture
async def line(tmp_path: Path) -> AsyncIterator[Line]:
    made = await Line.open(tmp_path, 1)
    yield made
    made.close()


def position(line: Line) -> dict[str, Any]:
    now = line.sequencer.node.chain.position
    return {
        "finalized": now.finalized.epoch,
        "posted": [flight.row for flight in now.posted],
        "in flight": [flight.row.epoch for flight in now.in_flight],
        "open": (now.open.epoch, now.open.head.checkpoint_hash),
    }


def status_of(line: Line, epoch: int) -> str | None:
    row = line.sequencer.node.database.get(db.EPOCHS, db.u64be(epoch))
    return row.status.value if row else None


async def seen(line: Line, depth: int) -> None:
    """So many blocks later, L1 is looked at."""
    line.world.advance(depth)
    await line.sequencer.poll()


async def is_final(line: Line, epoch: int) -> None:
    """Epoch by epoch, L1 and the sequencer make all up to this one final."""
    world, sequencer = line.world, line.sequencer
    for _ in range(12):
        await sequencer.poll()
        if sequencer.node.chain.position.finalized.epoch >= epoch:
            return
        world.advance(LOCALNET_PROFILE.challenge_window_slots + 1)
        await sequencer.poll()
        await while_slots_pass(world, 40, sequencer.finality_step)
        world.advance(FINALIZED_DEPTH)
        await sequencer.poll()
        await while_slots_pass(world, 40, sequencer.finality_step)
    raise AssertionError(f"epoch {epoch} does not become final: {position(line)}, {sequencer.node.alarms}")


@pytest.mark.parametrize("restarts", [False, True])
async def test_what_fell_comes_again_under_a_new_number(autojump_clock: Any, line: Line, restarts: bool) -> None:
    """Epoch 1 is good, 2 is rejected, 3 falls with it; 4 extends 1, is attested by real validators, and becomes final."""
    world, sequencer = line.world, line.sequencer

    async def moment() -> None:
        if restarts:
            sequencer.restart()
            for one in line.honest:
                one.restart()
            await sequencer.poll()

    rows = [await line.epoch() for _ in range(3)]
    await moment()
    reject(world, 2)
    before = position(line)
    await seen(line, CONFIRMED_DEPTH)
    await moment()
    assert sequencer.node.alarms["rejected"].startswith("epoch 2 was rejected on L1: nothing is cut")
    assert position(line) == before
    world.deposit()
    await seen(line, CONFIRMED_DEPTH)
    assert await sequencer.cut() is None and not await sequencer.step()
    await seen(line, FINALIZED_DEPTH)
    await moment()
    assert [status_of(line, epoch) for epoch in (1, 2, 3, 4)] == ["posted", "rejected", "voided", None]
    assert position(line) | {"posted": None} == {
        "finalized": 0, "posted": None, "in flight": [], "open": (4, rows[0].hash)
    }  # fmt: skip
    assert "epoch 2 was rejected on L1: its records are cut again from epoch 4 on" in str(sequencer.node.lag())
    again = await line.epoch_of_what_is_there()
    await moment()
    assert (again.epoch, again.attempt, again.parent_hash) == (4, 0, rows[0].hash)
    assert again.inbox_cursor == rows[2].inbox_cursor + 1
    for one in line.honest:
        await one.follower.follow()
        assert one.follower.chain.head.epoch == 4
    await is_final(line, 4)
    await moment()
    assert "rejected" not in sequencer.node.alarms and world.config("finalized").finalized.epoch == 4
    await line.epoch()
    for one in line.honest:
        await one.follower.follow()
        assert one.store.load().epoch == 4 and one.follower.chain.head.epoch == 5
        assert all(len(digests) == 1 for digests in one.door.released.values())


async def test_l1_takes_a_rejection_back(autojump_clock: Any, line: Line) -> None:
    """The same certificates are valid again, and nothing had been undone."""
    world, sequencer = line.world, line.sequencer
    for _ in range(2):
        await line.epoch()
    place = demand(world, 1)
    await sequencer.poll()
    before = position(line)
    time_out(world, 1, place)
    await seen(line, CONFIRMED_DEPTH)
    assert "rejected" in sequencer.node.alarms and position(line) == before
    world.fork(CONFIRMED_DEPTH + 1)
    await seen(line, CONFIRMED_DEPTH)
    assert "rejected" not in sequencer.node.alarms and position(line) == before
    third = await line.epoch()
    assert (third.epoch, third.parent_hash) == (3, before["posted"][1].hash)
    time_out(world, 1, place)
    await seen(line, CONFIRMED_DEPTH)
    await seen(line, FINALIZED_DEPTH)
    assert [status_of(line, epoch) for epoch in (1, 2, 3)] == ["rejected", "voided", "voided"]
    fourth = await line.epoch()
    assert (fourth.epoch, fourth.inbox_cursor) == (4, 4)


@pytest.mark.parametrize("certified", [False, True])
async def test_what_was_in_flight_waits_until_it_can_no_longer_land(
    autojump_clock: Any, line: Line, certified: bool
) -> None:
    """L1 has never taken epoch 2, so that its number is used: by the next attempt, once nobody can post the one before."""
    world, sequencer = line.world, line.sequencer
    await line.epoch()
    place = demand(world, 1)
    world.advance(LOCALNET_PROFILE.answer_slots)
    world.deposit()
    await seen(line, CONFIRMED_DEPTH)
    flight = await sequencer.cut()
    assert flight is not None and (flight.epoch, flight.attempt) == (2, 0)
    assert await line.attest_all() == [None] * 3
    if certified:
        assert await sequencer.step()
    time_out(world, 1, place, waits=False)
    await seen(line, CONFIRMED_DEPTH)
    landed = len(world.landed)
    assert not await sequencer.step() and len(world.landed) == landed
    await seen(line, FINALIZED_DEPTH)
    assert status_of(line, 1) == "rejected" and sequencer.current is None
    assert sequencer.node.chain.open.epoch == 2
    assert await sequencer.cut() is None, "attempt 0 may still land if L1 forks"
    world.advance(LOCALNET_PROFILE.max_expiry_slots + FINALIZED_DEPTH)
    again = await line.epoch_of_what_is_there()
    assert again.epoch == 2 and again.attempt >= 1 and again.inbox_cursor == 2
    assert all(len(digests) == 1 for one in line.honest for digests in one.door.released.values())


async def test_the_same_records_rejected_twice_stop_it_until_a_person_says_so(autojump_clock: Any, line: Line) -> None:
    world, sequencer = line.world, line.sequencer
    await line.epoch()
    reject(world, 1)
    await seen(line, FINALIZED_DEPTH)
    assert (await line.epoch()).epoch == 2
    reject(world, 2)
    await seen(line, FINALIZED_DEPTH)
    world.deposit()
    for _ in range(2):
        await seen(line, CONFIRMED_DEPTH)
        assert await sequencer.cut() is None
        assert "mended_to_epoch = 2" in sequencer.node.alarms["rejected"]
        sequencer.restart()
    sequencer.node.config = sequencer.node.config.model_copy(update={"mended_to_epoch": 2})
    await sequencer.poll()
    assert "its records are cut again from epoch 3" in sequencer.node.alarms["rejected"]
    assert (await line.epoch_of_what_is_there()).epoch == 3
    await is_final(line, 3)
    assert "rejected" not in sequencer.node.alarms


async def test_bonds_of_voided_epochs_and_rents_of_old_ones_come_back(autojump_clock: Any, line: Line) -> None:
    world, sequencer = line.world, line.sequencer
    returns = Returns()
    sequencer.node.config = sequencer.node.config.model_copy(update={"close_checkpoints": True})

    async def step() -> bool | None:
        returns.next_slot = 0
        return await while_slots_pass(world, 40, lambda: returns.step(sequencer.node, sequencer.port))

    assert not await step()
    await line.epoch()
    await is_final(line, 1)
    for _ in range(3):
        await line.epoch()
    reject(world, 2)
    await seen(line, FINALIZED_DEPTH)
    for epoch in (3, 4):
        before = world.svm.get_balance(PAYER.pubkey())
        assert await step()
        found = world.checkpoint(epoch, "processed")
        assert found is not None and found.status is CheckpointStatus.VOIDED
        assert BOND - 100_000 < world.svm.get_balance(PAYER.pubkey()) - before <= BOND
    await sequencer.poll()
    assert not await step()
    await line.epoch()
    await line.epoch()
    await is_final(line, 6)
    rewarded = world.checkpoint(1)
    assert rewarded is not None
    world.do(slashing.reward_of(PROGRAM, PAYER.pubkey(), rewarded))
    await sequencer.poll()
    assert not await step(), "all are younger than unbonding"
    world.advance(LOCALNET_PROFILE.unbonding_slots)
    await sequencer.poll()
    for gone in (3, 4, 1):
        assert await step()
        await seen(line, CONFIRMED_DEPTH)
        assert world.checkpoint(gone) is None
    assert not await step(), (
        "epoch 2's signers are to be slashed first, epoch 5 is not rewarded, and epoch 6 is the last final one"
    )
    assert [epoch for epoch in range(1, 7) if world.checkpoint(epoch)] == [2, 5, 6]
    assert returns.fallen == {2}
    returns = Returns()
    assert not await step() and (returns.fallen, returns.oldest) == ({2}, 5)
