"""What is kept and what is not: blobs by what needs them, pending uploads by a quota, tasks in memory until their end is final.

L1 is a fake; node, database, files and application are real (crash_line_fake_l1.py).
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path

import msgspec
import pytest
import trio

from sequencer import database as db
from sequencer.sweep import Sweep
from settlement.rpc_codes import Code
from settlement.sequencer_client import RpcError
from tests.sequencer.crash_line_fake_l1 import CLIENT, STEPS, WORKER, Line, Outside, submit, upload_dataset
from tests.sequencer.kit import DATASET

DAY_SECONDS = 86_400.0
STEPS_BEFORE_REVEAL = 8


@pytest.fixture
async def line(tmp_path: Path) -> AsyncIterator[Line]:
    """Two epochs final: one task paid in the first, another pending."""
    line = Line(tmp_path / "data", Outside())
    await line.run()
    yield line
    line.close()


async def a_day_later(line: Line, sweep: Sweep) -> int:
    """How many blobs a sweep removes, a day of the node's time after the one before."""
    before = line.node.now()
    line.node.now = lambda: before + DAY_SECONDS + 1
    return await sweep.run(line.node)


async def test_what_nothing_needs_is_removed_after_a_day_and_nothing_else(line: Line) -> None:
    with line.client(WORKER) as worker:
        unused = await worker.put_blob(b"never used")
    node, sweep = line.node, Sweep()
    assert line.outside.work is not None
    result = line.outside.work[0]
    epochs = {row.data_sha256.hex() for _, row in node.database.scan(db.EPOCHS)}
    kept = {result["modelSha256"], result["entriesSha256"], sha256(DATASET).hexdigest(), *epochs}
    names = set(node.blobs.names())
    assert kept < names and unused in names
    assert len(names - kept) == 3  # the two states of the settled task, and the upload
    assert await sweep.run(node) == 0  # all of them were asked for just before
    assert await sweep.run(node) == 0
    assert set(node.blobs.names()) == names
    assert await a_day_later(line, sweep) == 3
    assert set(node.blobs.names()) == kept
    assert list(node.database.scan(db.UPLOADS)) == [] and node.uploads.pending_bytes(bytes(WORKER.pubkey())) == 0
    with line.client(CLIENT) as client:
        found = await client.call("getTaskResult", {"taskId": line.outside.tasks[0]})
        assert await client.get_blob(found["modelSha256"])
        assert await client.call("getReceipt", {"taskId": line.outside.tasks[0]})


async def test_what_is_asked_for_meanwhile_stays(line: Line) -> None:
    with line.client(WORKER) as worker:
        unused = await worker.put_blob(b"never used")
        sweep = Sweep()
        await sweep.run(line.node)
        await sweep.run(line.node)
        await worker.get_blob(unused)
        assert await a_day_later(line, sweep) == 2 and line.node.blobs.size(unused)
        await sweep.run(line.node)
        assert await a_day_later(line, sweep) == 1 and not line.node.blobs.size(unused)


async def test_all_of_a_task_that_is_not_settled_stays(tmp_path: Path) -> None:
    line = Line(tmp_path / "data", Outside())
    for number, step in enumerate(STEPS[:13]):
        await step(line)
        if number >= STEPS_BEFORE_REVEAL:
            sweep, names = Sweep(), sorted(line.node.blobs.names())
            await sweep.run(line.node)
            await sweep.run(line.node)
            assert await a_day_later(line, sweep) == 0 and sorted(line.node.blobs.names()) == names
            line.node.now = trio.current_time
    line.close()


async def test_an_account_has_a_quota_of_what_no_task_uses(tmp_path: Path) -> None:
    line = Line(tmp_path / "data", Outside(), blob_quota_bytes=100)
    for step in STEPS[:2]:
        await step(line)
    owner = bytes(CLIENT.pubkey())
    with line.client(CLIENT) as client, line.client(WORKER) as worker:
        await upload_dataset(line)
        assert line.node.uploads.pending_bytes(owner) == len(DATASET)
        await client.put_blob(bytes(100 - len(DATASET)))
        with pytest.raises(
            RpcError, match="100 bytes of blobs that no task uses; with 1 more it would be over 100"
        ) as no:
            await client.put_blob(b"x")
        assert no.value.code == Code.RATE_LIMITED
        await worker.put_blob(b"x")  # another account's affair
        await client.put_blob(b"x")  # it is there, and costs nothing
        await line.start()
        assert line.node.uploads.pending_bytes(owner) == 100
    with line.client(CLIENT) as client:
        await submit(line, seed=1)
        assert line.node.uploads.pending_bytes(owner) == 100 - len(DATASET)
        await client.put_blob(b"y")
        before = line.node.uploads.pending_bytes(owner)
        name = sha256(b"z").hexdigest()
        auth = msgspec.json.encode(await client._auth("putBlob", {"sha256": name, "bytes": 1}))
        headers = {"Authorization": "Pouw " + base64.urlsafe_b64encode(auth).decode()}
        answer = await client._http.put(f"http://line/blobs/{name}", content=b"w", headers=headers)
        assert answer.status_code == 400 and "sha256" in answer.json()["error"]["message"]
        assert line.node.uploads.pending_bytes(owner) == before
    line.close()


async def test_a_settled_task_leaves_memory_and_is_found_on_the_disk(line: Line) -> None:
    paid, pending = line.outside.tasks
    for _ in range(2):
        assert len(line.node.tasks) == 1
        with line.client(CLIENT) as client:
            assert [task["taskId"] for task in (await client.call("getTasks"))["tasks"]] == [pending, paid]
            assert [task["taskId"] for task in (await client.call("getTasks", {"before": pending}))["tasks"]] == [paid]
            for status, wanted in (("paid", [paid]), ("pending", [pending]), ("leased", [])):
                assert [
                    task["taskId"] for task in (await client.call("getTasks", {"status": status}))["tasks"]
                ] == wanted
            assert (await client.call("getTask", {"taskId": paid}))["status"] == "paid"
            (worker,) = await client.call("getWorkers")
            assert (worker["tasksPaid"], worker["tasksRejected"]) == (1, 0)
        await line.start()
