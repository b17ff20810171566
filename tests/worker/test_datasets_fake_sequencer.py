"""Downloaded datasets: kept, the eight used last, and fetched anew when the disk has damaged one. The sequencer is a fake that serves blobs."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import httpx
import trio

from settlement.sequencer_client import SequencerClient
from worker import datasets

BLOBS = {sha256(data).hexdigest(): data for data in (b"dataset %d" % i for i in range(10))}


class FakeSequencer:
    def __init__(self) -> None:
        self.served: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        name = request.url.path.removeprefix("/blobs/")
        self.served.append(name)
        return httpx.Response(200, stream=httpx.ByteStream(BLOBS[name]))


async def test_a_damaged_dataset_is_fetched_anew_and_a_whole_one_is_not(tmp_path: Path) -> None:
    fake = FakeSequencer()
    name = next(iter(BLOBS))
    async with SequencerClient("http://fake", transport=httpx.MockTransport(fake)) as sequencer:
        path = await datasets.fetch(sequencer, name, tmp_path)
        assert path.read_bytes() == BLOBS[name]
        assert await datasets.fetch(sequencer, name, tmp_path) == path and fake.served == [name]
        path.write_bytes(b"x" + BLOBS[name][1:])
        await datasets.fetch(sequencer, name, tmp_path)
        assert path.read_bytes() == BLOBS[name] and fake.served == [name, name]


async def test_only_those_used_last_are_kept(tmp_path: Path) -> None:
    fake = FakeSequencer()
    async with SequencerClient("http://fake", transport=httpx.MockTransport(fake)) as sequencer:
        for name in BLOBS:
            await datasets.fetch(sequencer, name, tmp_path)
    assert len(list(await trio.Path(tmp_path).iterdir())) == datasets.KEPT
