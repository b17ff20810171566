"""An epoch whose confirmed post a fork of L1 takes back for good, after its child was attested: it goes on with its next attempt, and nobody
signs twice for one. On the real line over a fake L1; the twins show what each protection is for.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from settlement.accounts import LOCALNET_PROFILE
from tests.fake_l1 import CONFIRMED_DEPTH, FINALIZED_DEPTH
from tests.posting_kit import Line, while_slots_pass

EXPIRY_SLOTS = LOCALNET_PROFILE.max_expiry_slots


@pytest.fixture
async def line(tmp_path: Path) -> AsyncIterator[Line]:
    made = await Line.open(tmp_path)
    yield made
    made.close()


async def drop(line: Line) -> tuple[Any, Any]:
    """Epoch 1 posted, epoch 2 attested on top of it, and then L1 loses the post of epoch 1. The rows of both."""
    line.world.deposit()
    line.world.advance(FINALIZED_DEPTH)
    first = await line.epoch_of_what_is_there()
    line.world.deposit()
    line.world.advance(CONFIRMED_DEPTH)
    second = await line.sequencer.cut()
    assert second is not None and second.epoch == 2
    assert await line.attest_all() == [None] * 3
    line.world.fork(line.world.depth_of(first.posted_slot))
    assert line.world.checkpoint(1, "processed") is None
    line.world.advance(CONFIRMED_DEPTH)
    return first, second


def at_attempt(line: Line, row: Any, attempt: int) -> Any:
    """The same records in a later attempt, cut now."""
    now = line.world.slot("confirmed")
    return line.another(row, attempt=attempt, cut_slot=now, expiry_slot=now + EXPIRY_SLOTS)


async def test_a_dropped_epoch_goes_on_with_its_next_attempt_after_its_child_was_attested(
    autojump_clock: Any, line: Line
) -> None:
    first, second = await drop(line)
    for node in line.nodes:
        node.drops = True  # and its transaction finds no leader any more
    await line.sequencer.poll()
    await line.sequencer.poll()
    assert line.sequencer.current is not None and line.sequencer.current.hash == first.hash
    line.world.advance(EXPIRY_SLOTS + FINALIZED_DEPTH)
    for node in line.nodes:
        node.drops = False
    await line.sequencer.poll()
    assert await line.sequencer.step()
    again = await line.sequencer.cut()
    assert again is not None and (again.epoch, again.attempt) == (1, 1)
    assert await line.attest_all() == [None] * 3
    assert await line.sequencer.step()
    assert await while_slots_pass(line.world, 40, line.sequencer.step)
    assert line.world.checkpoint(1) is not None
    child = await line.epoch()
    assert (child.epoch, child.attempt, child.parent_hash) == (2, 1, again.hash)
    assert child.hash != second.hash
    for one in line.honest:
        assert all(len(digests) == 1 for digests in one.door.released.values())
        assert set(one.door.released) == {(1, 0), (2, 0), (1, 1), (2, 1)}


async def test_the_dropped_epochs_next_attempt_waits_until_the_one_before_is_dead_at_finalized(
    autojump_clock: Any, line: Line
) -> None:
    first, _ = await drop(line)
    line.world.advance(EXPIRY_SLOTS)  # past the expiry, but not for good
    assert "may still land" in str(await line.honest[0].round(1, 1, at_attempt(line, first, 1)))
    line.world.advance(FINALIZED_DEPTH)
    assert await line.honest[0].round(1, 1, at_attempt(line, first, 1)) is None
    line.world.advance()
    # And never again for what was signed before, in neither epoch.
    for epoch, attempt in ((1, 0), (1, 1)):
        assert await line.honest[0].round(epoch, attempt, at_attempt(line, first, attempt)) is not None
    assert all(len(digests) == 1 for digests in line.honest[0].door.released.values())
