"""Files of blobs that their disk has damaged or lost: never served, missed by name, and to be had again.

L1 is a fake; node, database, files and application are real (crash_line_fake_l1.py).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path

import httpx
import pytest

from sequencer.rpc import make_app
from settlement.rpc_codes import Code
from settlement.sequencer_client import RpcError
from tests.sequencer.crash_line_fake_l1 import CLIENT, STEPS, Line, Outside, attest, post, submit, upload_dataset
from tests.sequencer.kit import DATASET

NAME = sha256(DATASET).hexdigest()
CUT = 13  # the step after which epoch 1 is cut and nobody has attested it


@pytest.fixture
async def line(tmp_path: Path) -> AsyncIterator[Line]:
    line = Line(tmp_path / "data", Outside())
    for step in STEPS[:2]:
        await step(line)
    yield line
    line.close()


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 0x10
    path.write_bytes(data)


@pytest.mark.parametrize("restarted", [False, True])
async def test_a_damaged_blob_is_missing_and_may_be_uploaded_again(line: Line, restarted: bool) -> None:
    await upload_dataset(line)
    if restarted:
        await line.start()
    path = line.node.blobs.path(NAME)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(make_app(line.node)), base_url="http://line") as http:
        assert (await http.get(f"/blobs/{NAME}")).content == DATASET
        for at in (0, len(DATASET) // 2, -1):
            flip(path, at)
            assert (await http.get(f"/blobs/{NAME}")).status_code == 404
            assert not path.exists() and (path.parents[1] / "damaged" / NAME).exists()
            with pytest.raises(RpcError) as missing:
                await submit(line, seed=1)
            assert (missing.value.code, missing.value.data["missing"]) == (Code.BLOB_MISSING, [NAME])
            await upload_dataset(line)
            assert (await http.get(f"/blobs/{NAME}")).content == DATASET
        path.write_bytes(DATASET[:-1])
        await upload_dataset(line)  # found by the upload itself
        assert (await http.get(f"/blobs/{NAME}")).content == DATASET
    await submit(line, seed=1)


@pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
async def test_the_data_of_an_epoch_that_is_not_final_is_made_anew_at_the_start(line: Line, damage: str) -> None:
    for step in STEPS[2:CUT]:
        await step(line)
    current = line.node.chain.position.current
    assert current is not None
    path = line.node.blobs.path(current.row.data_sha256.hex())
    whole = path.read_bytes()
    if damage == "flip":
        flip(path, 100)
    elif damage == "cut":
        path.write_bytes(whole[:100])
    else:
        path.unlink()
    await line.start()
    assert path.read_bytes() == whole
    for index in range(3):
        await attest(line, index)
    await post(line, 1)


async def test_the_data_of_a_final_epoch_may_be_given_back_by_anyone_who_has_it(line: Line) -> None:
    for step in STEPS[2:]:
        await step(line)
    with line.client(CLIENT) as client:
        paid = line.outside.tasks[0]
        receipt = await client.call("getReceipt", {"taskId": paid})
        data = (await client.call("getCheckpoint", {"epoch": receipt["checkpoint"]["epoch"]}))["dataSha256"]
        kept = await client.get_blob(data)
        flip(line.node.blobs.path(data), 7)
        await line.start()
    with line.client(CLIENT) as client:
        with pytest.raises(RpcError, match="upload it again") as missing:
            await client.call("getReceipt", {"taskId": paid})
        assert (missing.value.code, missing.value.data["missing"]) == (Code.BLOB_MISSING, [data])
        assert await client.put_blob(kept) == data
        assert await client.call("getReceipt", {"taskId": paid}) == receipt
