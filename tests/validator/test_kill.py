"""kill -9 of worker and validator at each point where something has been promised: after the restart the same result is revealed, the same vote is
cast, and the epoch settles."""

import signal
import sys
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from pydantic import BaseModel

from settlement.sequencer_client import SequencerClient
from tests.validator.line import FEE, Line, deposited, open_line, submit, until
from tests.worker.specs import small_spec
from worker.journal import Journal, Stage


@pytest.fixture
async def line(tmp_path: Path, nursery: trio.Nursery) -> AsyncIterator[Line]:
    async with open_line(tmp_path, nursery) as line:
        yield line


async def killed_at(room: str, point: str, config: BaseModel) -> None:
    command = [sys.executable, "-m", "tests.validator.killed", room, point, config.model_dump_json()]
    with trio.fail_after(300):
        process = await trio.run_process(command, check=False)
    assert process.returncode == -signal.SIGKILL


async def test_what_was_promised_before_a_kill_is_kept_after_it(line: Line) -> None:
    client_key = await line.funded("client", 1_000_000)
    worker_key = await line.funded("worker", 3_000_000)
    raw, blob = small_spec(max_epochs=20)
    async with SequencerClient(line.sequencer_url, client_key) as client:
        await until("the deposits", lambda: deposited(client, worker_key))
        await client.put_blob(blob)
        task_id = await submit(client, raw, 0)
        journal = Journal(line.folder / "worker" / "jobs")

        async def task() -> dict[str, Any]:
            value: dict[str, Any] = await client.call("getTask", {"taskId": task_id})
            return value

        config = line.worker_config("worker")
        await killed_at("worker", "sealed", config)
        (sealed,) = journal.entries()
        assert (await task())["status"] == "leased"
        await killed_at("worker", "committed", config)
        assert list(journal.entries()) == [sealed] and (await task())["status"] == "committed"
        await killed_at("worker", "revealed", config)
        assert list(journal.entries()) == [sealed] and (await task())["status"] == "revealed"

        command = [sys.executable, "-m", "tests.validator.killed", "worker", "never", config.model_dump_json()]
        worker = await line.nursery.start(partial(trio.run_process, command, check=False))

        async def noticed() -> bool:
            return [entry.stage for entry in journal.entries()] == [Stage.REVEALED]

        await until("the worker to notice that it has revealed", noticed)
        assert list(journal.entries()) == [sealed.revealed()]

        await killed_at("validator", "attested", line.validator_config)
        signed = line.last_vote()
        assert signed is not None
        await line.start_validator()

        async def paid_and_final() -> bool:
            paid = await task()
            finalized = (await client.call("getEpochInfo"))["finalizedEpoch"]
            return paid["status"] == "paid" and paid.get("epoch", finalized + 1) <= finalized

        await until("the payment to be final", paid_and_final)
        assert (await task())["worker"] == str(worker_key.pubkey()) and (await task())["rejections"] == []
        balance = await client.call("getBalance", {"publicKey": str(worker_key.pubkey())})
        assert balance["payableLamports"] == FEE
        on_l1 = await line.l1.fetch_checkpoint(signed.epoch)
        assert on_l1 is not None
        assert (on_l1.attempt, on_l1.hash) == (signed.attempt, signed.digest) or on_l1.attempt > signed.attempt
        worker.terminate()
