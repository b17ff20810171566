"""kill -9 of the sequencer's process at every named point: after a restart the epoch settles, nothing acknowledged is lost, nothing is paid twice.

The process is real, the L1 is the embedded one with the real program; validators and worker go on calling while it is away.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from cli.demo_processes import free_ports
from sequencer import crash
from sequencer.config import SequencerConfig
from settlement.sequencer_client import SequencerUnreachable
from tests.sequencer.kit import DATASET, L1, Network, Voter, config_for, start_l1, until

FEE = 100_000


class Killed(Exception):
    pass


@asynccontextmanager
async def node(config: SequencerConfig, log: Path, crash_at: str | None = None) -> AsyncIterator[trio.Process]:
    """The sequencer's process; killed at the end, if it has not ended itself by then."""
    environment = {key: value for key, value in os.environ.items() if key != "POUW_CRASH_AT"}
    if crash_at:
        environment["POUW_CRASH_AT"] = crash_at
    command = [sys.executable, "-m", "tests.sequencer.run_node", config.model_dump_json()]
    with log.open("ab") as output:
        process = await trio.lowlevel.open_process(command, env=environment, stdout=subprocess.PIPE, stderr=output)
    try:
        assert process.stdout is not None
        with trio.fail_after(60):
            line = await process.stdout.receive_some()
        assert line.strip() == str(config.port).encode(), log.read_text()[-4000:]
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def vote(voter: Voter) -> None:
    """Like Voter.run, but a sequencer that is away is waited for."""
    while True:
        try:
            await voter.once()
        except SequencerUnreachable:
            await trio.sleep(0.1)
        await trio.sleep(0.05)


@pytest.mark.parametrize("point", sorted(crash.POINTS))
async def test_a_kill_at_any_point_loses_nothing(nursery: trio.Nursery, tmp_path: Path, point: str) -> None:
    client, l1 = await start_l1(nursery, 3)
    port = free_ports(1)[0]
    config, log = config_for(l1, tmp_path, port=port), tmp_path / "log"
    network = Network(l1, f"http://127.0.0.1:{port}", nursery)
    task: dict[str, Any] = {}

    async with node(config, log, None if point == "task_acknowledged" else point) as process:
        task = await drive(network, log, process, point, tmp_path, config)
    assert task["status"] == "paid"
    config_on_l1 = await l1.client.fetch_config("finalized")
    assert config_on_l1.finalized.payable_total == FEE
    await client.__aexit__(None, None, None)
    nursery.cancel_scope.cancel()


async def drive(
    network: Network, log: Path, process: trio.Process, point: str, folder: Path, config: SequencerConfig
) -> dict[str, Any]:
    """The whole line; when the process dies at the point, it is started anew and the line goes on."""
    restarted = trio.Event()

    async def restart_when_killed(*, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        task_status.started()
        assert await process.wait() == 137, log.read_text()[-4000:]
        async with node(config, log):
            restarted.set()
            await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        await nursery.start(restart_when_killed)
        task = await line(network, nursery)
        with trio.fail_after(60):
            await restarted.wait()
        task = await settled(network, task["taskId"])
        nursery.cancel_scope.cancel()
    return task


async def line(network: Network, nursery: trio.Nursery) -> dict[str, Any]:
    raise NotImplementedError


async def settled(network: Network, task_id: str) -> dict[str, Any]:
    raise NotImplementedError


def unused(l1: L1) -> None:
    assert until and DATASET and l1
