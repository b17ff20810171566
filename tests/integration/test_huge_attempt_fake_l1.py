"""A liar who shows validators a huge attempt number cannot use the numbers up: none is signed that is more than time allows, and the
sequencer's next attempt has a higher one. On the real line over a fake L1; the twins lack one half of the protection each.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from sequencer import epoch
from sequencer.rows import EpochRow
from settlement.accounts import LOCALNET_PROFILE
from settlement.messages import highest_attempt
from settlement.tags import U32_MAX
from tests.fake_l1 import CONFIRMED_DEPTH, FINALIZED_DEPTH
from tests.posting_kit import Line, while_slots_pass
from validator import attest

DEAD_AFTER_SLOTS = LOCALNET_PROFILE.max_expiry_slots + FINALIZED_DEPTH + 1


@pytest.fixture
async def line(tmp_path: Path) -> AsyncIterator[Line]:
    made = await Line.open(tmp_path)
    yield made
    made.close()


async def proposed(line: Line, idle_slots: int = 0) -> EpochRow:
    """Epoch 1 is posted, some time goes by, and epoch 2 is cut."""
    await line.epoch()
    line.world.deposit()
    line.world.advance(idle_slots + CONFIRMED_DEPTH)
    row = await line.sequencer.cut()
    assert row is not None and (row.epoch, row.attempt) == (2, 0)
    return row


async def shows_all(line: Line, row: EpochRow, attempt: int) -> list[str | None]:
    """The liar shows everybody this attempt, cut and expiring as late as may be; why each refused."""
    now = line.world.slot("confirmed")
    shown = line.another(row, attempt=attempt, cut_slot=now, expiry_slot=now + LOCALNET_PROFILE.max_expiry_slots)
    return [await one.round(row.epoch, attempt, shown) for one in line.honest]


def parent_cut(line: Line) -> int:
    return line.world.config().posted.cut_slot


async def next_attempt(line: Line) -> EpochRow:
    """The attempt in flight dies unsigned, and the sequencer proposes the next."""
    line.world.advance(DEAD_AFTER_SLOTS)
    await line.sequencer.poll()
    assert await line.sequencer.step()
    again = await line.sequencer.cut()
    assert again is not None
    return again


async def posts(line: Line) -> bool:
    assert await line.sequencer.step()
    return bool(await while_slots_pass(line.world, 40, line.sequencer.step))


@pytest.mark.parametrize("idle_slots", [0, 1_000])
async def test_after_a_liar_had_the_highest_attempt_signed_the_next_one_lands(
    autojump_clock: Any, line: Line, idle_slots: int
) -> None:
    row = await proposed(line, idle_slots)
    for attempt in (U32_MAX, highest_attempt(parent_cut(line), line.world.slot("confirmed")) + 1):
        assert all("more than time allows" in str(reason) for reason in await shows_all(line, row, attempt))
    taken = highest_attempt(parent_cut(line), line.world.slot("confirmed"))
    assert taken >= idle_slots
    assert await shows_all(line, row, taken) == [None] * 3
    assert all("older than attempt" in str(reason) for reason in await line.attest_all()), (
        "the honest attempt 0 came too late"
    )
    again = await next_attempt(line)
    assert again.attempt == highest_attempt(parent_cut(line), again.cut_slot) > taken
    assert await line.attest_all() == [None] * 3
    assert await posts(line)
    posted = line.world.checkpoint(2)
    assert posted is not None and (posted.attempt, posted.hash) == (again.attempt, again.hash)
    assert (await line.epoch()).attempt == 0, "the next epoch counts from 0 again"
    for one in line.honest:
        assert all(len(digests) == 1 for digests in one.door.released.values())


async def test_an_attempt_that_a_quorum_signed_is_followed_by_the_next_number(autojump_clock: Any, line: Line) -> None:
    """Its validators are with it: there is no need for a leap."""
    row = await proposed(line)
    assert await line.attest_all() == [None] * 3
    for node in line.nodes:
        node.drops = True
    assert await line.sequencer.step()
    await line.sequencer.poll()
    await while_slots_pass(line.world, 10, line.sequencer.step)
    line.world.advance(DEAD_AFTER_SLOTS)
    await line.sequencer.poll()
    assert await line.sequencer.step()
    again = await line.sequencer.cut()
    assert again is not None and (again.epoch, again.attempt) == (row.epoch, 1)
    for node in line.nodes:
        node.drops = False
    assert await line.attest_all() == [None] * 3
    assert await posts(line)


async def test_twin_without_the_bound_the_numbers_are_used_up_for_good(
    autojump_clock: Any, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attest, "highest_attempt", lambda parent_cut_slot, cut_slot: U32_MAX)
    row = await proposed(line)
    assert await shows_all(line, row, U32_MAX) == [None] * 3
    for _ in range(3):
        again = await next_attempt(line)
        assert all(f"older than attempt {U32_MAX}" in str(reason) for reason in await line.attest_all())
    assert again.attempt < U32_MAX and line.world.checkpoint(2) is None


async def test_twin_that_counts_one_by_one_takes_an_attempt_for_each_number_the_liar_took(
    autojump_clock: Any, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        epoch, "next_attempt", lambda before, parent_cut_slot, slot: before.attempt + 1 if before else 0
    )
    row = await proposed(line, 1_000)
    taken = highest_attempt(parent_cut(line), line.world.slot("confirmed"))
    assert await shows_all(line, row, taken) == [None] * 3
    for attempt in (1, 2, 3):
        assert (await next_attempt(line)).attempt == attempt
        assert all("older than attempt" in str(reason) for reason in await line.attest_all())
