"""A worker dies holding a lease and its result comes late; clocks jump by a day. Each with its protection, and without it.

L1 is a fake whose slots the test moves; node, database and application are real (crash_line_fake_l1.py).
"""

from __future__ import annotations

import ast
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import trio
from solders.keypair import Keypair

from sequencer import assignment, epoch_loop, l1_view
from sequencer.batch import split
from sequencer.rows import TaskRow
from settlement import records
from settlement.records import TaskResult
from settlement.rpc_codes import Code
from settlement.sequencer_client import RpcError
from settlement.signing import node_id
from tests.sequencer import crash_line_fake_l1 as script
from tests.sequencer.crash_line_fake_l1 import FEE, STEPS, WORKER, Line, Outside, vote
from tests.sequencer.kit import Party, Work

OTHER = Keypair.from_seed(b"o" * 32)
DAY_SECONDS = 86_400
ROOT = Path(__file__).parents[2]


@contextmanager
def as_party(line: Line, keypair: Keypair) -> Iterator[Party]:
    with line.client(keypair) as client:
        account = line.node.state.account(node_id(bytes(keypair.pubkey())))
        yield Party(keypair, client, account.nonce if account else 0)


@pytest.fixture
async def line(tmp_path: Path) -> AsyncIterator[Line]:
    """Two staked workers and one task."""
    line = Line(tmp_path / "data", Outside())
    for step in STEPS[:5]:
        await step(line)
    line.l1.bench.deposit(bytes(OTHER.pubkey()), 5_000_000)
    await l1_view.poll(line.node, line.l1)
    with as_party(line, OTHER) as other:
        await other.register()
    yield line
    line.close()


async def pull_and_prepare(line: Line, keypair: Keypair) -> tuple[dict[str, Any], str]:
    with as_party(line, keypair) as worker:
        granted = await worker.pull()
        assert granted["task"]["taskId"] == line.outside.tasks[0]
        done = await worker.prepare(granted, intervals=1)
    return done.params, done.commitment


async def call(line: Line, keypair: Keypair, work: tuple[dict[str, Any], str], what: str) -> Any:
    """The answer to commit or reveal, or the code of its refusal."""
    with as_party(line, keypair) as worker:
        try:
            return (await getattr(Work(worker, *work), what)())["status"]
        except RpcError as error:
            return error.code


async def let_the_lease_expire(line: Line) -> None:
    line.l1.slot_now += line.config.lease_slots + 1
    await l1_view.poll(line.node, line.l1)
    epoch_loop.tick(line.node)


@pytest.mark.parametrize("had_committed", [False, True])
async def test_of_a_late_result_and_its_successors_exactly_one_is_accepted(line: Line, had_committed: bool) -> None:
    late = await pull_and_prepare(line, WORKER)
    if had_committed:
        assert await call(line, WORKER, late, "commit") == "committed"
    await let_the_lease_expire(line)
    for what in ("commit", "reveal"):
        assert await call(line, WORKER, late, what) == Code.LEASE_LOST  # nobody has the task yet
    other = await pull_and_prepare(line, OTHER)
    assert other[0]["leaseId"] != late[0]["leaseId"]
    for what, answer in (("commit", "committed"), ("reveal", "revealed")):
        assert await call(line, WORKER, late, what) == Code.LEASE_LOST
        assert await call(line, OTHER, other, what) == answer
    for what in ("commit", "reveal"):
        assert await call(line, WORKER, late, what) == Code.LEASE_LOST
    for index in range(3):
        await vote(line, index)
    with as_party(line, OTHER) as party:
        task = await party.client.call("getTask", {"taskId": line.outside.tasks[0]})
        assert (task["status"], task["worker"]) == ("paid", party.name)
        paid = [
            (await party.client.call("getBalance", {"publicKey": str(key.pubkey()), "commitment": "processed"}))
            for key in (WORKER, OTHER)
        ]
    assert [balance["payableLamports"] for balance in paid] == [0, FEE]
    await script.cut(line, 1)
    current = line.node.chain.position.current
    assert current is not None
    batch, _ = split(line.node.blobs.read(current.row.data_sha256, 2**20), current.row.records)
    results = [record for record in map(records.decode, batch) if isinstance(record.payload, TaskResult)]
    assert [record.node for record in results] == [node_id(bytes(OTHER.pubkey()))]


async def test_without_the_lease_check_the_late_worker_takes_the_task(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    def anybody(task: TaskRow, worker: bytes, lease_id: int, slot: int) -> bool:
        return task.lease is not None

    monkeypatch.setattr(assignment, "holds", anybody)
    late = await pull_and_prepare(line, WORKER)
    await let_the_lease_expire(line)
    other = await pull_and_prepare(line, OTHER)
    assert await call(line, WORKER, late, "commit") == "committed"
    assert await call(line, WORKER, late, "reveal") == "revealed"
    assert await call(line, OTHER, other, "commit") == Code.LEASE_LOST


# -- clocks


def jumping() -> Callable[[], float]:
    """A wall clock that is a day ahead and a day behind in turn."""
    turns = count()
    return lambda: 1_800_000_000.0 + (DAY_SECONDS if next(turns) % 2 else -DAY_SECONDS)


class Jumpy(Line):
    """The line on a machine whose wall clock jumps at every look."""

    async def start(self) -> None:
        await super().start()
        self.node.unix_time = jumping()


async def test_a_wall_clock_that_jumps_by_a_day_decides_nothing(tmp_path: Path) -> None:
    ends = []
    for kind in (Line, Jumpy):
        line = kind(tmp_path / kind.__name__, Outside())
        await line.run()
        assert line.node.lag() is None
        ends.append(await line.state())
        line.close()
    steady, jumpy = ends
    assert steady["tasks"] == jumpy["tasks"] and steady["tasks"][0]["status"] == "paid"
    for ours, theirs in zip(steady["checkpoints"], jumpy["checkpoints"], strict=True):
        assert ours["resultsRoot"] != theirs["resultsRoot"]  # records carry the time, informative only
        for decided in ("stateRoot", "cutSlot", "expirySlot", "payableTotal", "inboxHash", "status"):
            assert ours[decided] == theirs[decided]


async def test_leases_and_deadlines_do_not_run_out_by_the_wall_clock(line: Line) -> None:
    work = await pull_and_prepare(line, WORKER)
    for skew in (DAY_SECONDS, -DAY_SECONDS):
        line.node.unix_time = lambda skew=skew: 1_800_000_000.0 + skew  # type: ignore[misc]
        epoch_loop.tick(line.node)
    assert await call(line, WORKER, work, "commit") == "committed"
    assert await call(line, WORKER, work, "reveal") == "revealed"


async def test_without_monotonic_time_a_jump_stops_the_node(line: Line) -> None:
    assert line.node.lag() is None and line.node.now is trio.current_time
    line.node.now = lambda: trio.current_time() + DAY_SECONDS  # what a wall clock set forward would say
    assert "L1 has not answered for 86400 s" in str(line.node.lag())
    line.node.now = lambda: trio.current_time() - DAY_SECONDS  # and one set back: the epoch would stay open for a day
    line.l1.slot_now += 1
    await l1_view.poll(line.node, line.l1)
    assert not await epoch_loop.cut_if_due(line.node, line.l1)
    line.node.now = trio.current_time
    assert await epoch_loop.cut_if_due(line.node, line.l1)


def test_only_the_stamp_of_records_comes_from_the_wall_clock() -> None:
    wall = {("time", "time"), ("time", "time_ns"), ("datetime", "now"), ("datetime", "utcnow")}
    found = {
        path.relative_to(ROOT).as_posix()
        for room in ("sequencer", "worker", "validator", "settlement")
        for path in (ROOT / room).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and (node.value.id, node.attr) in wall
    }
    # settlement/rpc.py reads an HTTP date in an answer that says when to ask again; the wait is bounded there.
    assert found <= {"sequencer/service.py", "settlement/rpc.py"}
