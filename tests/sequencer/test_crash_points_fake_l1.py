"""kill -9 at every point of every durable write that a scripted line of two epochs makes: the same roots come out as without, nothing that was
acknowledged is lost, nothing is posted or paid twice. L1 is a fake; node, database and files are real.

What a killed process leaves is what its files hold at that moment, so one run is enough to take the image of every point; from each image a
new node goes on. A write that was under way is torn: the write-ahead log or the new file is cut inside what was last written to it.
"""

from __future__ import annotations

import shutil
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import trio

from sequencer.store import RocksStore
from settlement import durable
from tests.sequencer.crash_line_fake_l1 import FEE, WORKER, Line, Outside, copy_of, lost, run_counted

MEMORY = Path("/dev/shm")
SEED = 20


@dataclass
class Image:
    """What is on the disk and outside at one point, and the step that a party begins again."""

    name: str
    folder: Path
    step: int
    outside: Outside


class Camera:
    """Takes an image of every point that differs from the one before; of each write, one more with that write torn."""

    def __init__(self, line: Line, folder: Path) -> None:
        self.line, self.folder = line, folder
        self.images: list[Image] = []
        self.points: list[str] = []
        self.step = -1
        self.before: Outside | None = None
        self.seen: set[tuple[int, bytes, int]] = set()
        self.log_size = 0
        self.random = Random(SEED)

    def __call__(self, number: int, step: int, point: str, path: Path) -> None:
        self.points.append(point)
        if step != self.step:
            self.step, self.before = step, self.line.outside.copy()
        name = f"{number:03} {point} {path.name}"
        log = next(iter(sorted(self.line.config.data_dir.glob("store/*.log"))), None)
        if point == durable.COMMITTING and log is not None:
            self.log_size = log.stat().st_size
        if point == durable.WRITTEN:
            kept = self.random.randrange(path.stat().st_size)
            self.take(name + " torn", path.relative_to(self.line.config.data_dir), kept)
        if point == durable.COMMITTED and log is not None and log.stat().st_size > self.log_size:
            kept = self.random.randrange(self.log_size, log.stat().st_size)
            self.take(name + " torn", log.relative_to(self.line.config.data_dir), kept)
        self.take(name)

    def take(self, name: str, torn: Path | None = None, kept: int = 0) -> None:
        folder = self.folder / name.replace(" ", "-")
        shutil.copytree(self.line.config.data_dir, folder, ignore=shutil.ignore_patterns("LOG*"))
        if torn is not None:
            with (folder / torn).open("r+b") as file:
                file.truncate(kept)
        l1 = self.line.l1
        key = (self.step, digest(folder), len(l1.signed) + 100 * len(l1.confirms) + 10_000 * len(l1.confirmed))
        if key in self.seen:
            shutil.rmtree(folder)
            return
        self.seen.add(key)
        assert self.before is not None
        outside = self.before.copy()
        outside.l1 = copy_of(l1)
        self.images.append(Image(name, folder, self.step, outside))


def digest(folder: Path) -> bytes:
    parts = [(str(path.relative_to(folder)), path) for path in sorted(folder.rglob("*")) if path.is_file()]
    return sha256(repr([(name, sha256(path.read_bytes()).digest()) for name, path in parts]).encode()).digest()


@pytest.fixture
def memory() -> Iterator[Path]:
    """Where images go: they are many, and what a kill leaves does not depend on the device."""
    with TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        yield Path(folder)


async def photographed(folder: Path, memory: Path, store: type[RocksStore] = RocksStore) -> tuple[Camera, Any]:
    """The undisturbed line, with its images and what it ends in."""
    line = Line(folder, Outside(), store)
    camera = Camera(line, memory)
    await run_counted(line, camera)
    state = await line.state()
    line.close()
    return camera, state


async def went_on(image: Image) -> dict[str, Any]:
    """What the line ends in from this image on. AssertionError when something acknowledged is not there."""
    line = Line(image.folder, image.outside)
    try:
        if image.step:
            await line.start()
            missing = await lost(line)
            assert not missing, f"{image.name}: lost {missing}"
        await line.run(image.step)
        return await line.state()
    finally:
        line.close()


async def test_a_kill_at_every_write_leads_to_the_same_roots(tmp_path: Path, memory: Path) -> None:
    camera, undisturbed = await photographed(tmp_path / "data", memory)
    counts = {point: camera.points.count(point) for point in set(camera.points)}
    assert counts[durable.COMMITTING] == counts[durable.COMMITTED] >= 30
    assert (
        counts[durable.WRITING]
        == counts[durable.WRITTEN]
        == counts[durable.SYNCED]
        == counts[durable.RENAMED]
        == counts[durable.DURABLE]
        >= 8
    )
    assert [task["status"] for task in undisturbed["tasks"]] == ["paid", "pending"]
    assert [balance["payableLamports"] for balance in undisturbed["balances"]] == [0, FEE]
    for image in camera.images:
        assert await went_on(image) == undisturbed, image.name
        shutil.rmtree(image.folder)


class Forgetful(RocksStore):
    """Acknowledges what is only in memory: what the store would be without its log."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._durable.sync = False
        self._durable.disable_wal = True


async def test_without_the_log_the_same_kills_lose_what_was_acknowledged(tmp_path: Path, memory: Path) -> None:
    camera, _ = await photographed(tmp_path / "data", memory, Forgetful)
    image = next(image for image in camera.images if image.outside.acknowledged)
    assert ("worker", str(WORKER.pubkey())) in image.outside.acknowledged
    with pytest.raises(AssertionError, match=r"lost \[\('worker'"):
        await went_on(image)


async def test_a_real_kill_9_leaves_what_its_image_says(tmp_path: Path, memory: Path) -> None:
    """For some points, drawn anew in each change of the line: the process is killed there, and its folder leads to the same roots."""
    camera, undisturbed = await photographed(tmp_path / "data", memory)
    by_number = {int(image.name[:3]): image for image in camera.images if not image.name.endswith("torn")}
    for number in Random(len(camera.points)).sample(sorted(by_number), 3):
        image = by_number[number]
        folder = tmp_path / f"killed-{number}"
        command = [sys.executable, "-m", "tests.sequencer.crash_line_fake_l1", str(folder), str(number)]
        with trio.fail_after(300):
            done = await trio.run_process(command, capture_stderr=True, check=False)
        assert done.returncode == -signal.SIGKILL, done.stderr.decode()
        killed = Image(f"killed at {image.name}", folder, image.step, image.outside)
        assert await went_on(killed) == undisturbed, killed.name
