"""An epoch whose confirmed post a fork of L1 takes back for good, after its child was attested: it goes on with its next attempt, and nobody
signs twice for one. On the real line over a fake L1; the twins show what each protection is for.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from settlement.accounts import LOCALNET_PROFILE
from settlement.messages import highest_attempt
from tests.fake_l1 import CONFIRMED_DEPTH, FINALIZED_DEPTH
from tests.posting_kit import Line, while_slots_pass
from validator.slashing_protection import SlashingProtection
from validator.votes import SlashableAttestation

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
    assert (child.epoch, child.parent_hash) == (2, again.hash)
    assert child.attempt == highest_attempt(again.cut_slot, child.cut_slot), "its first attempt had no quorum yet"
    assert child.hash != second.hash
    for one in line.honest:
        assert all(len(digests) == 1 for digests in one.door.released.values())
        assert set(one.door.released) == {(1, 0), (2, 0), (1, 1), (2, child.attempt)}


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


async def test_twin_a_protection_that_is_monotone_over_all_epochs_never_goes_on(
    autojump_clock: Any, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The epoch below the newest vote is refused for good, and L1 takes no other."""
    real = SlashingProtection.record

    def monotone(self: SlashingProtection, epoch: int, attempt: int, *rest: Any, **more: Any) -> None:
        last = self.last()
        if last is not None and (epoch, attempt) < (last.epoch, last.attempt):
            raise SlashableAttestation(f"epoch {epoch} is older than epoch {last.epoch}, already attested")
        real(self, epoch, attempt, *rest, **more)

    monkeypatch.setattr(SlashingProtection, "record", monotone)
    first, _ = await drop(line)
    line.world.advance(EXPIRY_SLOTS + FINALIZED_DEPTH)
    for _ in range(2):
        assert "older than epoch 2" in str(await line.honest[0].round(1, 1, at_attempt(line, first, 1)))
        line.world.advance(EXPIRY_SLOTS + FINALIZED_DEPTH)


async def test_twin_without_the_protection_a_liar_gets_two_signatures(
    autojump_clock: Any, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that died between its vote and its sending, or was restored, is simply asked again."""
    line.world.deposit()
    line.world.advance(CONFIRMED_DEPTH)
    row = await line.sequencer.cut()
    assert row is not None
    one = line.honest[0]
    assert await one.round(1, 0) is None
    assert "asked to attest" in str(await one.round(1, 0, line.another(row)))
    assert len(one.door.released[1, 0]) == 1
    monkeypatch.setattr(SlashingProtection, "record", lambda *rest, **more: None)
    assert await one.round(1, 0, line.another(row)) is None
    assert len(one.door.released[1, 0]) == 2


def hides_posts(method: str, params: Sequence[Any], answer: Any) -> Any:
    """No checkpoint is final and everything final is long past, says this node."""
    if method == "getMultipleAccounts" and params[1]["commitment"] == "finalized":
        return {"context": {"slot": answer["context"]["slot"] + 500}, "value": [None] * len(answer["value"])}
    return answer


@pytest.mark.parametrize(("urls", "fooled"), [(3, False), (1, True)])
async def test_a_lying_node_of_three_gets_no_second_certificate_while_the_first_may_land(
    autojump_clock: Any, tmp_path: Path, urls: int, fooled: bool
) -> None:
    """The twin has the liar alone. Slashable nobody is in either case, since the attempts differ; but with the liar's help both certificates
    are alive at once, and which of them lands is the poster's choice."""
    line = await Line.open(tmp_path, urls)
    try:
        line.world.deposit()
        line.world.advance(FINALIZED_DEPTH)
        first = await line.sequencer.cut()
        assert first is not None
        assert await line.attest_all() == [None] * 3
        line.nodes[0].lie = hides_posts
        line.world.advance()
        refused = [await one.round(1, 1, at_attempt(line, first, 1)) for one in line.honest]
        assert first.expiry_slot > line.world.slot("finalized")
        assert [answer is None for answer in refused] == [fooled] * 3
        for one in line.honest:
            assert all(len(digests) == 1 for digests in one.door.released.values())
    finally:
        line.close()


async def test_who_never_saw_an_attempt_signs_the_next_at_once_and_that_is_no_second_certificate(
    autojump_clock: Any, line: Line
) -> None:
    """One's own last vote is what one waits for. Two quorums share an honest validator, and that one waits."""
    line.world.deposit()
    line.world.advance(FINALIZED_DEPTH)
    first = await line.sequencer.cut()
    assert first is not None
    for one in line.honest[:2]:
        assert await one.round(1, 0) is None
    line.world.advance()
    shown = at_attempt(line, first, 1)
    assert await line.honest[2].round(1, 1, shown) is None
    for one in line.honest[:2]:
        assert "may still land" in str(await one.round(1, 1, shown))
