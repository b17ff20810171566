"""Validator, worker and a liar on the real line: real training and replay, from deposits to finality, over a restart of the validator."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from settlement.sequencer_client import SequencerClient
from tests import liars
from tests.validator.line import FEE, Line, deposited, open_line, submit, until, value_of
from tests.worker.specs import small_spec


@pytest.fixture
async def line(tmp_path: Path, nursery: trio.Nursery) -> AsyncIterator[Line]:
    async with open_line(tmp_path, nursery) as line:
        yield line


async def test_the_liar_is_caught_the_honest_worker_paid_and_a_restart_goes_on(line: Line) -> None:
    client_key = await line.funded("client", 1_000_000)
    liar_key = await line.funded("liar", 3_000_000)
    honest_key = await line.funded("honest", 3_000_000)
    raw, blob = small_spec(max_epochs=20)
    async with SequencerClient(line.sequencer_url, client_key) as client:
        await until("the deposits", lambda: deposited(client, honest_key))
        await client.put_blob(blob)
        task_id = await submit(client, raw, 0)
        first_validator = await line.start_validator()
        await line.start_worker("liar", execute=liars.last_state)

        async def task_when(test: Callable[[dict[str, Any]], bool]) -> dict[str, Any] | None:
            task = await client.call("getTask", {"taskId": task_id})
            return task if test(task) else None

        task = await until("the rejection", lambda: task_when(lambda task: bool(task["rejections"])))
        assert task["rejections"] == [{"worker": str(liar_key.pubkey()), "reason": "wrong_state"}]

        await line.start_worker("honest")
        task = await until("the payment", lambda: task_when(lambda task: task["status"] == "paid"))
        assert task["worker"] == str(honest_key.pubkey())

        async def final_epoch() -> int:
            epoch = (await client.call("getTask", {"taskId": task_id})).get("epoch", 10**9)
            return int(epoch) if (await client.call("getEpochInfo"))["finalizedEpoch"] >= epoch else 0

        epoch = await until("finality", final_epoch)
        journal = line.folder / "honest" / "jobs" / task_id
        await until("the worker to forget the states", lambda: value_of(not journal.exists()))

        balance = await client.call("getBalance", {"publicKey": str(honest_key.pubkey())})
        assert balance["payableLamports"] == FEE
        liars_balance = await client.call("getBalance", {"publicKey": str(liar_key.pubkey())})
        assert (liars_balance["payableLamports"], liars_balance["lockedStakeLamports"]) == (0, 0)

        first_validator.cancel()
        await until("the validator to end", lambda: value_of(line.kept_epoch() is not None))
        kept = line.kept_epoch()
        assert kept is not None and kept >= epoch - 1
        await line.start_validator()
        second = await submit(client, {**raw, "seed": 9}, 1)

        async def second_paid() -> bool:
            return bool((await client.call("getTask", {"taskId": second}))["status"] == "paid")

        await until("the payment after the restart", second_paid)
