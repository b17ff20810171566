"""The scripted line on a disk that is full at every write in turn, and has room again afterwards.

    python -m tests.sequencer.full_disk_fake_l1 FOLDER limit    the kernel refuses to let files grow (RLIMIT_FSIZE), for any user and disk
    python -m tests.sequencer.full_disk_fake_l1 FOLDER fill     FOLDER lies on a small file system of its own, which is filled up

At each refused write: the caller is not told that it was done, the node says READ_ONLY and goes on answering reads; with room it goes on by
itself, and in the end the line comes out as if nothing had been. A process of its own: no other file may be written meanwhile.
"""

from __future__ import annotations

import errno
import json
import os
import resource
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import trio

from sequencer.rpc import make_app
from sequencer.store import StoreUnwritable
from settlement import durable
from settlement.rpc_codes import Code
from settlement.sequencer_client import RpcError, SequencerError
from tests.sequencer.crash_line_fake_l1 import CLIENT, STEPS, Line, Outside, lost

UNLIMITED = resource.RLIM_INFINITY


class Limit:
    """No file may grow; a log may by some bytes, so that a batch is written in part."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.times = folder, 0

    def fill(self, point: str) -> None:
        self.times += 1
        logs = [path.stat().st_size for path in self.folder.glob("data/store/*.log") if point == durable.COMMITTING]
        resource.setrlimit(resource.RLIMIT_FSIZE, (max(logs) + 9 * (self.times % 8) if logs else 0, UNLIMITED))

    def empty(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (UNLIMITED, UNLIMITED))


class Filler:
    """A file that takes all the room there is."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "filler"

    def fill(self, point: str) -> None:
        with self.path.open("wb", buffering=0) as file:
            for size in (2**20, 2**12, 1):
                while True:
                    try:
                        file.write(bytes(size))
                    except OSError as error:
                        if error.errno != errno.ENOSPC:
                            raise
                        break

    def empty(self) -> None:
        self.path.unlink(missing_ok=True)


class Refusals:
    """Fills the disk at each write of a step that was not refused yet: its first, second … batch, and each new file."""

    def __init__(self, disk: Limit | Filler, blobs: Path) -> None:
        self.disk, self.blobs = disk, blobs
        self.refused: set[tuple[str, int]] = set()
        self.batches, self.filled = 0, False

    def begin(self) -> None:
        """A step begins, for the first time or again."""
        self.batches, self.filled = 0, False

    def __call__(self, point: str, path: Path) -> None:
        if point not in (durable.COMMITTING, durable.WRITING) or self.filled:
            return
        here = (point, self.batches if point == durable.COMMITTING else len(list(self.blobs.glob("??/*"))))
        self.batches += point == durable.COMMITTING
        if here not in self.refused:
            self.refused.add(here)
            self.filled = True
            self.disk.fill(point)


async def refused(line: Line, what: str, database: bool) -> None:
    """What is asked while the disk is full."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(make_app(line.node)), base_url="http://line") as http:
        health = await http.get("/health")
    with line.client(CLIENT) as client:
        assert await lost(line) == [], what
        await client.call("getEpochInfo")
        if not database:
            assert line.node.database.refusal is None, what
            return
        assert health.status_code == 503 and "READ_ONLY" in health.text, what
        for method, code in (("getHealth", Code.NODE_UNHEALTHY), ("pullTask", Code.READ_ONLY)):
            try:
                await (client.call(method) if method == "getHealth" else client.call_signed(method))
            except RpcError as error:
                expected = code, *((Code.STAKE_TOO_LOW, Code.UNKNOWN_ACCOUNT) if code is Code.READ_ONLY else ())
                assert error.code in expected, (what, error)
            else:
                raise AssertionError(f"{what}: {method} was answered")
        assert not line.node.database.resume(), what


async def run(folder: Path, make: Callable[[Path], Limit | Filler]) -> None:
    undisturbed = Line(folder / "undisturbed", Outside())
    await undisturbed.run()
    expected = await undisturbed.state()
    undisturbed.close()
    line, refusals = Line(folder / "data", Outside()), Refusals(make(folder), folder / "data" / "blobs")
    durable.set_hook(refusals)
    tried: dict[str, int] = {}
    for number, step in enumerate(STEPS):
        while True:
            before = line.outside.copy()
            refusals.begin()
            try:
                await step(line)
            except (StoreUnwritable, SequencerError) as error:
                assert refusals.filled, error
                database = line._node is not None and line.node.database.refusal is not None
                if isinstance(error, RpcError):
                    assert error.code == Code.READ_ONLY, error
                if line._node is not None:
                    await refused(line, f"step {number}, write {len(refusals.refused)}: {error}", database)
                kind = "start" if line._node is None else "batch" if database else "file"
                tried[kind] = tried.get(kind, 0) + 1
            else:
                refusals.refused.clear()
                if refusals.filled:  # it fitted into what was left of a block, or below the limit
                    refusals.disk.empty()
                    tried["fitted"] = tried.get("fitted", 0) + 1
                break
            refusals.disk.empty()
            if line._node is not None:
                assert line.node.database.resume() and line.node.lag() is None, line.node.lag()
            line.outside = before
            before.l1 = line.l1
    durable.set_hook(None)
    assert await line.state() == expected
    line.close()
    print(json.dumps(tried))


def main() -> None:
    folder, how = Path(sys.argv[1]), sys.argv[2]
    os.makedirs(folder, exist_ok=True)
    trio.run(run, folder, {"limit": Limit, "fill": Filler}[how])


if __name__ == "__main__":
    main()
