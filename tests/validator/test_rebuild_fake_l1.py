"""The final state without a sequencer: from a validator's store, open or not, and from batches that somebody kept. The sequencer's node, the
followers and the program are real; L1 is a fake whose slots the test moves."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio

from sequencer import database as db
from settlement.ledger import State
from settlement.signing import Domain
from tests.fake_l1 import DOMAIN, FINALIZED_DEPTH
from tests.posting_kit import Line, client_of, while_slots_pass
from validator.chain import Link
from validator.rebuild import NotRebuilt, final_state
from validator.store import Store, StoreError


@pytest.fixture
async def line(tmp_path: Path) -> AsyncIterator[Line]:
    made = await Line.open(tmp_path, 1)
    yield made
    made.close()


async def settle(line: Line) -> None:
    """One more epoch, final on L1."""
    await line.epoch()
    await finalize(line)


async def finalize(line: Line) -> None:
    with trio.fail_after(10_000):
        while line.sequencer.node.chain.position.posted:
            line.world.advance(FINALIZED_DEPTH)
            await line.sequencer.poll()
            await while_slots_pass(line.world, 40, line.sequencer.finality_step)


def kept(line: Line, name: str) -> Path:
    """A copy of a validator's folder, as of now."""
    one, copy = line.honest[0], line.honest[0].folder.parent / name
    one.close()
    shutil.copytree(one.folder, copy)
    one.open()
    return copy


def blobs(line: Line) -> Path:
    return line.sequencer.node.blobs.path("0" * 64).parents[1]


async def test_a_store_is_read_while_its_validator_runs_and_carried_on_where_it_is_behind(
    autojump_clock: Any, line: Line, tmp_path: Path
) -> None:
    l1, one = client_of(line.nodes), line.honest[0]
    await settle(line)
    await one.follower.follow()
    early = kept(line, "early")
    states = [one.follower.chain.finalized.state]
    for _ in range(2):
        await settle(line)
        await one.follower.follow()
        states.append(one.follower.chain.finalized.state)
    roots = [state.root for state in states]
    assert len(set(roots)) == 3 and line.world.config().finalized.state_root == roots[2]

    assert (await final_state(l1, one.folder)).root == roots[2]
    assert (await final_state(l1, one.folder / "state", tmp_path / "nothing")).root == roots[2]
    assert Store.read(early / "state", DOMAIN).state.root == roots[0]
    with pytest.raises(NotRebuilt, match=r"holds epoch 1, L1's last final one is 3.*the batches of epochs 2, 3, as"):
        await final_state(l1, early)
    rebuilt = await final_state(l1, early, blobs(line))
    assert rebuilt.root == roots[2] and list(rebuilt.leaves()) == list(states[2].leaves())
    assert Store.read(early / "state", DOMAIN).state.root == roots[0], "nothing is written"

    row = next(row for row in _epochs(line) if row.epoch == 3)
    some, name = tmp_path / "some", row.data_sha256.hex()
    shutil.copytree(blobs(line), some)
    (some / name[:2] / name).unlink()
    (some / "of another kind").write_bytes(b"x" * 264)
    with pytest.raises(NotRebuilt, match="the batches of epochs 3, as"):
        await final_state(l1, early, some)


def _epochs(line: Line) -> list[Any]:
    return [row for _, row in line.sequencer.node.database.scan(db.EPOCHS)]


async def test_what_a_validator_signed_carries_its_state_on(autojump_clock: Any, line: Line) -> None:
    """It stopped, or lost the sequencer, between its signature and the end of the challenge window."""
    await line.epoch()
    stopped = kept(line, "stopped")
    await finalize(line)
    assert Store.read(stopped / "state", DOMAIN).epoch == 0
    assert (await final_state(client_of(line.nodes), stopped)).root == line.world.config().finalized.state_root
    for path in (stopped / "batches").iterdir():
        path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(NotRebuilt, match="the batches of epochs 1, as"):
        await final_state(client_of(line.nodes), stopped)


async def test_what_is_no_store_or_not_of_this_chain_is_said(autojump_clock: Any, line: Line, tmp_path: Path) -> None:
    l1, one = client_of(line.nodes), line.honest[0]
    with pytest.raises(StoreError, match="holds no validator's state"):
        await final_state(l1, tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()
    await settle(line)
    await one.follower.follow()
    link = one.follower.chain.finalized
    assert link.message is not None
    for name, domain in (("odd", DOMAIN), ("other", Domain(b"o" * 32, DOMAIN.program))):
        store = Store(tmp_path / name / "state", domain)
        store.save(Link(link.message, State.empty() if name == "odd" else link.state))
        store.close()
    with pytest.raises(StoreError, match="damaged: its leaves do not have the root of epoch 1"):
        await final_state(l1, tmp_path / "odd")
    with pytest.raises(StoreError, match="of another chain"):
        await final_state(l1, tmp_path / "other")


async def test_a_store_that_saw_nothing_final_begins_at_the_beginning(autojump_clock: Any, line: Line) -> None:
    l1 = client_of(line.nodes)
    fresh = kept(line, "fresh")
    assert (await final_state(l1, fresh)).root == State.empty().root
    await settle(line)
    await line.honest[0].follower.follow()
    assert (await final_state(l1, fresh, blobs(line))).root == line.world.config().finalized.state_root
