"""kill -9 of the sequencer's process at random moments under load, on the embedded L1: every task that was acknowledged is paid, once.

The moments are drawn from a seed, which is printed. CI takes three kills; twenty, by hand:
POUW_SEQUENCER_KILLS=20 ./run pytest -n 0 -s tests/sequencer/test_random_kills.py (POUW_KILL_SEED=… for other moments).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest
import trio

from localnet.real_validator import free_ports
from sequencer.config import SequencerConfig
from settlement.rpc_codes import Code
from tests.sequencer import kit
from tests.sequencer.kit import DATASET, Network, Party, Voter, config_for, start_l1, unless, until

KILLS = int(os.environ.get("POUW_SEQUENCER_KILLS", "3"))
SEED = int(os.environ.get("POUW_KILL_SEED", "4"))
FEE = 10_000
LONGEST_SECONDS = 2.5
"""Of a life: long enough for some epochs, short enough that a kill often falls between a cut and its post."""

SLOT_MS = 250
"""So that no signature and no attempt expires while a slow machine takes its time to start the process again."""


class Killer:
    """Keeps the sequencer's process running, and kills it at random moments until `kills` are done."""

    def __init__(self, config: SequencerConfig, log: Path, kills: int, random: Random) -> None:
        self.config, self.log, self.left, self.random = config, log, kills, random
        self.killed_after: list[float] = []
        self.begin = trio.Event()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        while True:
            process = await self._start()
            task_status.started()
            task_status = trio.TASK_STATUS_IGNORED
            try:
                if not self.left:
                    code = await process.wait()
                    raise AssertionError(f"the sequencer ended with {code}:\n{self.log.read_text()[-6000:]}")
                await self.begin.wait()
                life = self.random.uniform(0, LONGEST_SECONDS)
                with trio.move_on_after(life):
                    code = await process.wait()
                    raise AssertionError(f"the sequencer ended with {code}:\n{self.log.read_text()[-6000:]}")
                process.send_signal(signal.SIGKILL)
                assert await process.wait() == -signal.SIGKILL
                self.left -= 1
                self.killed_after.append(round(life, 3))
            finally:
                if process.returncode is None:
                    process.kill()
                    with trio.CancelScope(shield=True):
                        await process.wait()

    async def _start(self) -> trio.Process:
        command = [sys.executable, "-m", "tests.sequencer.run_node", self.config.model_dump_json()]
        with self.log.open("ab") as output:
            process = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE, stderr=output)
        assert process.stdout is not None
        with trio.fail_after(120):
            line = await process.stdout.receive_some()
        if line.strip() != str(self.config.port).encode():
            raise AssertionError(f"the sequencer did not start:\n{self.log.read_text()[-6000:]}")
        return process


async def forever(step: Callable[[], Awaitable[Any]]) -> None:
    while True:
        await step()


async def keep_voting(voter: Voter) -> None:
    """Between two calls of a validator its proposal may be gone: on a slow machine an attempt expires while the sequencer is away."""
    await unless(Code.NOT_FOUND, voter.once)
    await trio.sleep(0.05)


async def test_kills_at_random_moments_lose_nothing_and_pay_nothing_twice(
    nursery: trio.Nursery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    print(f"{KILLS} kills, POUW_KILL_SEED={SEED}")
    random = Random(SEED)
    monkeypatch.setattr(kit, "SLOT_MS", SLOT_MS)
    l1_client, l1 = await start_l1(nursery, 3)
    port = free_ports(1)
    settings = {"port": port, "lease_slots": 5_000, "max_records": 512}
    killer = Killer(config_for(l1, tmp_path, **settings), tmp_path / "log", KILLS, random)
    network = Network(l1, f"http://127.0.0.1:{port}", nursery, attempts=400)
    await nursery.start(killer.run)
    client, worker = await network.party(100_000_000), await network.party(5_000_000)
    await client.client.put_blob(DATASET)
    await worker.register()
    for voter in await network.voters():
        nursery.start_soon(forever, partial(keep_voting, voter))
    acknowledged: list[str] = []

    async def submit(party: Party) -> None:
        if killer.left:
            acknowledged.append(await party.submit(FEE, deadline_slots=500_000, seed=len(acknowledged)))
        await trio.sleep(random.uniform(0, 0.6))

    nursery.start_soon(forever, lambda: submit(client))

    async def work() -> None:
        granted = await worker.pull()
        if granted is None:
            await trio.sleep(0.1)
            return
        done = await worker.prepare(granted)
        await done.commit()
        await done.reveal()

    nursery.start_soon(forever, work)
    killer.begin.set()

    async def settled() -> Any:
        if killer.left:
            return None
        info = await client.client.call("getEpochInfo")
        tasks = (await client.client.call("getTasks", {"limit": 1000}))["tasks"]
        done = all("epoch" in task and task["epoch"] <= info["finalizedEpoch"] for task in tasks)
        return tasks if done and len(tasks) >= len(acknowledged) else None

    tasks = await until("every task to be settled", settled, 900, 0.3)
    print(f"killed after {killer.killed_after} s; {len(acknowledged)} tasks acknowledged, all paid")
    assert len(killer.killed_after) == KILLS
    assert {task["taskId"] for task in tasks} == set(acknowledged)
    assert {(task["status"], task["worker"]) for task in tasks} == {("paid", worker.name)}
    config = await l1.client.fetch_config("finalized")
    assert config.finalized.payable_total == len(acknowledged) * FEE
    asked = {"publicKey": worker.name, "commitment": "finalized"}
    assert (await worker.client.call("getBalance", asked))["payableLamports"] == len(acknowledged) * FEE
    nursery.cancel_scope.cancel()
    with trio.CancelScope(shield=True):
        await l1_client.__aexit__(None, None, None)
