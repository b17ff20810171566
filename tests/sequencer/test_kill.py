"""kill -9 of the sequencer's process at every named point of one task's way: nothing acknowledged is lost, nothing is paid twice.

The process is real, the L1 is the embedded one with the real program; client, worker and validators go on calling while it is away.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import trio

from localnet.real_validator import free_ports
from sequencer import crash
from sequencer.config import SequencerConfig
from tests.sequencer.kit import DATASET, Network, config_for, start_l1, until

FEE = 100_000
IN_ORDER = (
    "task_acknowledged",
    "committed",
    "revealed",
    "attested_unsent",
    "posted_unconfirmed",
    "finalized_unclaimed",
)


def test_every_point_is_tried() -> None:
    assert set(IN_ORDER) == crash.POINTS


class Supervisor:
    """Runs the sequencer's process and starts it again whenever it was killed, each time with the next point armed."""

    def __init__(self, config: SequencerConfig, log: Path, points: tuple[str, ...]) -> None:
        self.config = config
        self.log = log
        self.armed = list(points)
        self.killed_at: list[str] = []
        self.process: trio.Process | None = None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        try:
            while True:
                await self._start()
                task_status.started()
                task_status = trio.TASK_STATUS_IGNORED
                assert self.process is not None
                code = await self.process.wait()
                if not self.armed or code != 137:
                    raise AssertionError(f"the sequencer ended with {code}:\n{self.log.read_text()[-6000:]}")
                self.killed_at.append(self.armed.pop(0))
        finally:
            if self.process is not None and self.process.returncode is None:
                self.process.kill()

    async def _start(self) -> None:
        environment = {key: value for key, value in os.environ.items() if key != "POUW_CRASH_AT"}
        if self.armed:
            environment["POUW_CRASH_AT"] = self.armed[0]
        command = [sys.executable, "-m", "tests.sequencer.run_node", self.config.model_dump_json()]
        with self.log.open("ab") as output:
            self.process = await trio.lowlevel.open_process(
                command, env=environment, stdout=subprocess.PIPE, stderr=output
            )
        assert self.process.stdout is not None
        with trio.fail_after(90):
            line = await self.process.stdout.receive_some()
        if line.strip() != str(self.config.port).encode():
            raise AssertionError(f"the sequencer did not start:\n{self.log.read_text()[-6000:]}")


async def test_a_kill_at_every_point_of_one_tasks_way(nursery: trio.Nursery, tmp_path: Path) -> None:
    l1_client, l1 = await start_l1(nursery, 3)
    port = free_ports(1)
    supervisor = Supervisor(config_for(l1, tmp_path, port=port, lease_slots=2_000), tmp_path / "log", IN_ORDER)
    await nursery.start(supervisor.run)
    network = Network(l1, f"http://127.0.0.1:{port}", nursery, attempts=16)
    client, worker = await network.party(10_000_000), await network.party(5_000_000)
    await client.client.put_blob(DATASET)
    await worker.register()
    task_id = await client.submit(FEE, deadline_slots=50_000)
    network.start_voters(await network.voters())
    assert await worker.do() == task_id

    async def settled() -> Any:
        task = await client.client.call("getTask", {"taskId": task_id})
        info = await client.client.call("getEpochInfo")
        done = "epoch" in task and info["finalizedEpoch"] >= task["epoch"] and not supervisor.armed
        return task if done else None

    task = await until("the settlement", settled, 120)
    assert supervisor.killed_at == list(IN_ORDER)
    assert (task["status"], task["worker"]) == ("paid", worker.name)
    assert len((await client.client.call("getTasks"))["tasks"]) == 1

    # Another task on the same chain: the books still balance, and the first was paid once.
    second = await client.submit(FEE, deadline_slots=50_000, seed=2)
    assert await worker.do() == second

    async def final() -> Any:
        config = await l1.client.fetch_config("finalized")
        return config if config.finalized.payable_total >= 2 * FEE else None

    config = await until("the second payment", final, 60)
    assert config.finalized.payable_total == 2 * FEE
    balance = await worker.client.call("getBalance", {"publicKey": worker.name, "commitment": "processed"})
    assert balance["payableLamports"] == 2 * FEE
    nursery.cancel_scope.cancel()
    with trio.CancelScope(shield=True):
        await l1_client.__aexit__(None, None, None)


async def test_sigterm_ends_the_process_cleanly(nursery: trio.Nursery, tmp_path: Path) -> None:
    l1_client, l1 = await start_l1(nursery, 1)
    config = config_for(l1, tmp_path, port=free_ports(1))
    supervisor = Supervisor(config, tmp_path / "log", ())
    await supervisor._start()
    assert supervisor.process is not None
    supervisor.process.send_signal(signal.SIGTERM)
    with trio.fail_after(60):
        assert await supervisor.process.wait() == 0
    await supervisor._start()
    supervisor.process.kill()
    await supervisor.process.wait()
    nursery.cancel_scope.cancel()
    with trio.CancelScope(shield=True):
        await l1_client.__aexit__(None, None, None)
