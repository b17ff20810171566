"""Tasks forced through the inbox: noted, described, refused, refunded, forgotten, and taken back by forks. Node, database and program are real;
L1 is a fake whose slots the test moves."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import pytest
import rfc8785
import trio

from sequencer import database as db
from sequencer import epoch, epoch_loop, forced
from sequencer.lifecycle import Status
from sequencer.rows import GroupKind
from settlement import inbox_instructions, messages, records
from settlement.ledger import TaskStatus
from settlement.records import EconomicEvent, Event, Kind, Mode
from settlement.signing import node_id
from tests.fake_l1 import CONFIRMED_DEPTH, DOMAIN, FINALIZED_DEPTH, PAYER, PROGRAM, World, nodes
from tests.posting_kit import Sequencer, while_slots_pass
from tests.sequencer.kit import DATASET, SPEC

FEE = 50_000
CLIENT = bytes(PAYER.pubkey())
SPEC_JSON = rfc8785.dumps(SPEC)  # type: ignore[arg-type]


class Forcing(Sequencer):
    """The sequencer, and PAYER as a client who forces tasks."""

    def send(self, spec_json: bytes = SPEC_JSON, slots: int = 5_000, **changes: int) -> bytes:
        """The task's id; nobody has looked yet."""
        count = self.world.config("processed").inbox.count
        spec_hash = sha256(spec_json).digest()
        arguments = {"lamports": FEE, "deadline_slot": self.world.slot() + slots, "max_fee_lamports": 2**60, **changes}
        forcing = inbox_instructions.inbox_task(PROGRAM, PAYER.pubkey(), count, spec_hash=spec_hash, **arguments)
        self.world.do(forcing)
        return messages.inbox_task_id(DOMAIN, CLIENT, count, spec_hash)

    async def look(self) -> None:
        self.world.advance(CONFIRMED_DEPTH)
        await self.poll()

    async def force(self, spec_json: bytes = SPEC_JSON, slots: int = 5_000, **changes: int) -> bytes:
        task_id = self.send(spec_json, slots, **changes)
        await self.look()
        return task_id

    def tick(self, *blobs: bytes) -> None:
        """After these were uploaded."""
        for blob in blobs:
            self.node.blobs.write(blob)
        epoch_loop.tick(self.node)

    def row(self, task_id: bytes) -> Any:
        return self.node.database.get(db.FORCED, task_id)

    def balance(self) -> tuple[int, int]:
        account = self.node.state.account(node_id(CLIENT))
        assert account is not None
        return account.balance, account.locked_fees

    async def epoch(self, final: bool = False) -> None:
        """Cuts what is open, posts it, and makes it final."""
        assert await self.cut()
        self.attest()
        assert await self.step()
        assert await while_slots_pass(self.world, 40, self.step)
        await self.poll()
        with trio.fail_after(10_000):
            while final and self.node.chain.position.posted:
                self.world.advance(FINALIZED_DEPTH)
                await self.poll()
                await while_slots_pass(self.world, 40, self.finality_step)


@pytest.fixture
async def line(tmp_path: Path) -> AsyncIterator[Forcing]:
    world = World.new()
    opened = await Forcing.open(world, nodes(world, 1), tmp_path)
    assert isinstance(opened, Forcing)
    yield opened
    opened.close()


async def test_it_is_noted_and_waits_for_its_spec_and_then_for_its_dataset(autojump_clock: Any, line: Forcing) -> None:
    line.world.deposit()
    task_id = await line.force()
    (found,) = [row for _, row in line.node.database.scan(db.FORCED)]
    assert found == line.row(task_id)
    assert (found.client, found.inbox_index, found.fee_lamports) == (CLIENT, 1, FEE)
    assert (found.kind, found.mode, found.refused) == (Kind.TRAINING, Mode.REPLAY, False)
    assert line.balance() == (0, FEE)
    line.tick()
    line.tick(SPEC_JSON)
    assert line.row(task_id) == found and line.node.tasks.committed(task_id) is None
    for blob in (SPEC_JSON, DATASET):
        with line.node.database.transaction() as tx:
            line.node.uploads.begin(tx, b"u" * 32, sha256(blob).digest(), len(blob), 10**9)
    line.tick(DATASET)
    taken = line.node.tasks.committed(task_id)
    assert taken is not None and line.row(task_id) is None
    assert (taken.status, taken.client, taken.nonce, taken.fee_lamports) == (Status.PENDING, CLIENT, 1, FEE)
    assert taken.deadline_slot == found.deadline_slot and not taken.needs_gpu
    assert [task.task_id for task in line.node.tasks.pending()] == [task_id]
    described = line.node.database.get(db.SPECS, taken.spec_hash)
    assert described is not None and msgspec.json.decode(described.spec_json) == SPEC
    assert line.node.uploads.pending_bytes(b"u" * 32) == 0
    line.restart()
    assert [task.task_id for task in line.node.tasks.pending()] == [task_id]


async def test_what_waits_is_there_after_a_restart(autojump_clock: Any, line: Forcing) -> None:
    task_id = await line.force()
    line.restart()
    line.tick(SPEC_JSON, DATASET)
    assert line.node.tasks.committed(task_id) is not None


MISFITS = {
    "no JSON": b"{",
    "no text": b'"\xff"',
    "no spec": b"{}",
    "another kind": rfc8785.dumps({**SPEC, "kind": "inference"}),  # type: ignore[arg-type]
    "another order of keys": json.dumps(SPEC).encode(),
    "too long": rfc8785.dumps({**SPEC, "seed": 2}) + b" " * forced.MAX_SPEC_BYTES,  # type: ignore[arg-type]
}


@pytest.mark.parametrize("name", MISFITS)
async def test_what_cannot_be_a_spec_is_refused_once_and_refunded_later(
    autojump_clock: Any, line: Forcing, name: str
) -> None:
    task_id = await line.force(MISFITS[name], slots=100)
    line.tick(MISFITS[name], DATASET)
    assert line.row(task_id).refused and line.node.tasks.committed(task_id) is None
    line.tick()
    await line.epoch()
    line.world.advance(120)
    await line.poll()
    assert await line.cut()
    line.tick()
    assert line.balance() == (FEE, 0)


@pytest.mark.parametrize("entry", [{"kind": Kind.INFERENCE}, {"mode": Mode.REDUNDANT}])
async def test_a_spec_of_another_kind_or_mode_than_the_entry_is_refused(
    autojump_clock: Any, line: Forcing, entry: dict[str, int]
) -> None:
    """The ledger, which knows neither, has only credited what came with it."""
    task_id = await line.force(**entry)
    assert line.node.state.task(task_id) is None and line.balance() == (FEE, 0)
    line.tick(SPEC_JSON, DATASET)
    assert line.node.tasks.committed(task_id) is None
    await line.epoch(final=True)
    line.tick()
    assert line.row(task_id) is None


async def test_an_exact_task_which_nobody_can_execute_yet_is_made_and_refunded(
    autojump_clock: Any, line: Forcing
) -> None:
    """The ledger knows the mode; this node's own list of what it hands out does not."""
    exact = rfc8785.dumps({**SPEC, "mode": "exact"})  # type: ignore[dict-item]
    task_id = await line.force(exact, slots=100, mode=Mode.EXACT)
    task = line.node.state.task(task_id)
    assert task is not None and task.mode is Mode.EXACT and line.balance() == (0, FEE)
    line.tick(exact, DATASET)
    assert line.row(task_id).refused and line.node.tasks.committed(task_id) is None
    await line.epoch()
    line.world.advance(100)
    await line.poll()
    await line.epoch()
    line.tick()
    assert line.balance() == (FEE, 0)


async def test_a_spec_that_the_disk_damaged_may_be_uploaded_again(autojump_clock: Any, line: Forcing) -> None:
    task_id = await line.force()
    path = line.node.blobs.path(sha256(SPEC_JSON).hexdigest())
    line.node.blobs.write(SPEC_JSON)
    path.write_bytes(SPEC_JSON[:-1] + b"]")
    line.tick(DATASET)
    assert not path.exists() and not line.row(task_id).refused
    line.tick(SPEC_JSON)
    assert line.node.tasks.committed(task_id) is not None


async def test_nobody_describes_it_and_its_fee_goes_back(
    autojump_clock: Any, line: Forcing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty epoch brings the ledger's time past the deadline; then the refund is a record like any other."""
    task_id = await line.force(slots=100)
    await line.epoch()
    assert not epoch_loop.must_advance(line.node)
    line.tick(SPEC_JSON)
    line.world.advance(100)
    await line.poll()
    assert line.node.chain.open.records == 0 and epoch_loop.must_advance(line.node)
    line.tick()
    assert line.balance() == (0, FEE)
    await line.epoch()
    assert not epoch_loop.must_advance(line.node), "the ledger's time has passed the deadline"

    with monkeypatch.context() as full:
        full.setattr(epoch, "MAX_BATCH_RECORDS", line.node.chain.open.records)
        line.tick()
        assert line.balance() == (0, FEE), "there was no room"
    line.tick()
    line.tick(DATASET)
    assert line.balance() == (FEE, 0) and line.node.tasks.committed(task_id) is None
    (group,) = line.node.chain.open.groups
    refund = records.decode(group.records[0])
    assert (group.kind, group.task_id) == (GroupKind.REFUND, task_id)
    assert isinstance(refund.payload, EconomicEvent)
    assert (refund.payload.event, refund.payload.lamports) == (Event.REFUND, FEE)
    assert line.row(task_id) is not None, "a fork may bring it back"
    await line.epoch(final=True)
    line.tick()
    assert line.row(task_id) is None


async def test_a_task_that_was_taken_up_is_refunded_as_any_other(autojump_clock: Any, line: Forcing) -> None:
    task_id = await line.force(slots=100)
    line.tick(SPEC_JSON, DATASET)
    await line.epoch()
    line.world.advance(100)
    await line.poll()
    assert epoch_loop.must_advance(line.node)
    await line.epoch()
    line.tick()
    row = line.node.tasks.committed(task_id)
    assert row is not None and row.status is Status.REFUNDED and line.balance() == (FEE, 0)


async def test_a_withdrawal_that_names_it_settles_it(autojump_clock: Any, line: Forcing) -> None:
    task_id = await line.force(slots=100)
    await line.epoch()
    line.world.advance(100)
    count = line.world.config("processed").inbox.count
    asked = {"lamports": 10_000, "withdraw_lamports": 2**64 - 1, "max_fee_lamports": 2**60}
    line.world.do(inbox_instructions.inbox_withdrawal(PROGRAM, PAYER.pubkey(), count, task_id=task_id, **asked))
    await line.look()
    entry = line.node.state.task(task_id)
    assert entry is not None and entry.status is TaskStatus.PENDING, "the ledger's time is that of the epoch before"
    await line.epoch()
    line.tick()
    assert line.balance() == (FEE, 0)
    # Once the ledger's time is past the deadline, an entry does what the node would have done.
    second = await line.force(slots=100)
    await line.epoch()
    line.world.advance(100)
    await line.poll()
    assert epoch_loop.must_advance(line.node)
    await line.epoch()
    count = line.world.config("processed").inbox.count
    line.world.do(inbox_instructions.inbox_withdrawal(PROGRAM, PAYER.pubkey(), count, task_id=second, **asked))
    await line.look()
    account = line.node.state.account(node_id(CLIENT))
    assert account is not None and (account.balance, account.locked_fees) == (0, 0)
    assert account.payable == 2 * (FEE + 10_000)
    line.tick()
    await line.epoch(final=True)
    line.tick()
    assert line.row(second) is None and line.node.tasks.committed(second) is None


# -- forks


async def lose(line: Forcing, *, bring_back: bool = False) -> None:
    """L1 takes the last entry back, and the node sees it."""
    line.world.fork(CONFIRMED_DEPTH + 1, bring_back=bring_back)
    await line.look()
    await line.poll()


async def test_a_fork_takes_it_back_before_anybody_described_it(autojump_clock: Any, line: Forcing) -> None:
    task_id = await line.force()
    await lose(line)
    assert line.node.state.task(task_id) is None and line.row(task_id) is not None
    line.tick(SPEC_JSON, DATASET)
    assert line.node.tasks.committed(task_id) is None
    assert line.send() == task_id, "the same entry in the same place is the same task"
    await line.look()
    line.tick()
    assert line.node.tasks.committed(task_id) is not None


async def test_a_fork_moves_it_behind_another_entry(autojump_clock: Any, line: Forcing) -> None:
    lost = await line.force()
    await lose(line)
    line.world.deposit()
    moved = await line.force()
    assert moved != lost
    line.tick(SPEC_JSON, DATASET)
    assert [task.task_id for task in line.node.tasks.pending()] == [moved]
    await line.epoch(final=True)
    line.tick()
    assert line.row(lost) is None


@pytest.mark.parametrize("comes_back", [True, False])
async def test_a_fork_takes_it_back_when_it_stood_in_the_queue(
    autojump_clock: Any, line: Forcing, comes_back: bool
) -> None:
    """Nobody is given a task that the ledger has not; it is there again with its entry, and gone when another one is final in its place."""
    task_id = await line.force()
    line.tick(SPEC_JSON, DATASET)
    await lose(line, bring_back=False)
    assert line.node.state.task(task_id) is None
    line.tick()
    assert line.node.tasks.committed(task_id) is not None, "it may come back"
    if comes_back:
        assert await line.force() == task_id
    else:
        line.world.deposit()
        await line.look()
    await line.epoch(final=True)
    line.tick()
    row = line.node.tasks.committed(task_id)
    assert (row is not None) == comes_back
    assert [task.task_id for task in line.node.tasks.pending()] == ([task_id] if comes_back else [])
    assert (task_id in line.node.tasks.active) == comes_back
    assert line.row(task_id) is None or comes_back
    line.restart()
    assert (line.node.tasks.committed(task_id) is not None) == comes_back


async def test_a_fork_that_brings_the_entry_back_by_itself_changes_nothing(autojump_clock: Any, line: Forcing) -> None:
    task_id = await line.force()
    line.tick(SPEC_JSON, DATASET)
    before = line.node.tasks.committed(task_id)
    await lose(line, bring_back=True)
    line.tick()
    assert line.node.state.task(task_id) is not None
    assert line.node.tasks.committed(task_id) == before
