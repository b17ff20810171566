"""Flipped bits and cut files in everything that RocksDB keeps of the store: found when it is opened or read, with the name of what is damaged,
or without effect; never another content. A third of the bytes is tried; with POUW_DAMAGE_STRIDE=1 every bit of every byte.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import pytest

from sequencer import wal
from sequencer.store import RocksStore, StoreCorruption

MEMORY = Path("/dev/shm")
STRIDE = int(os.environ.get("POUW_DAMAGE_STRIDE", "3"))
SEED = 4


@pytest.fixture(scope="module")
def written() -> Iterator[tuple[Path, list[tuple[bytes, bytes]]]]:
    """A store as a killed process leaves it, with rows in a table file and later ones in the log, and its content."""
    with TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        path = Path(folder) / "data" / "store"
        store = RocksStore(path)
        for i in range(8):
            store.commit({b"t%02d" % i: b"in a table file %d" % i, b"l": b"%d" % i})
        store.close()
        store = RocksStore(path)
        for i in range(8):
            store.commit({b"w%02d" % i: b"in the log %d" % i, b"l": b"%d" % (100 + i)})
        content = list(store.audit())
        killed = Path(folder) / "killed" / "store"
        shutil.copytree(path.parent, killed.parent)
        store.close()
        yield killed, content


def content_of(path: Path) -> list[tuple[bytes, bytes]]:
    store = RocksStore(path)
    try:
        return list(store.audit())
    finally:
        store.close()


def damaged(killed: Path, folder: Path, name: str, data: bytes) -> Path:
    path = folder / "data" / "store"
    shutil.rmtree(path.parent, ignore_errors=True)
    shutil.copytree(killed.parent, path.parent)
    (path / name).write_bytes(data)
    return path


@pytest.fixture
def memory() -> Iterator[Path]:
    with TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        yield Path(folder)


KINDS = ("*.sst", "*.log", "MANIFEST-*", "CURRENT")


@pytest.mark.parametrize("kind", KINDS)
def test_a_flipped_bit_is_found_or_changes_nothing(
    written: tuple[Path, list[tuple[bytes, bytes]]], memory: Path, kind: str
) -> None:
    killed, content = written
    (file,) = killed.glob(kind)
    data, random = file.read_bytes(), Random(SEED)
    offsets = range(random.randrange(STRIDE) if STRIDE > 1 else 0, len(data), STRIDE)
    found = 0
    for offset in offsets:
        for bit in range(8) if STRIDE == 1 else [random.randrange(8)]:
            flipped = data[:offset] + bytes([data[offset] ^ 1 << bit]) + data[offset + 1 :]
            path = damaged(killed, memory, file.name, flipped)
            try:
                assert content_of(path) == content, f"{file.name}, bit {bit} of byte {offset}"
            except StoreCorruption as error:
                found += 1
                assert "data" in str(error) or "record under key" in str(error)
                assert "restore the data directory from a backup" in str(error)
    assert found >= len(offsets) // 2


def test_every_header_of_the_log_is_looked_at(written: tuple[Path, list[tuple[bytes, bytes]]], memory: Path) -> None:
    """Length and type decide where RocksDB stops reading: with one of their bits flipped it would lose all that follows without a word."""
    killed, content = written
    (file,) = killed.glob("*.log")
    data, at, flips = file.read_bytes(), 0, 0
    while at < len(data):
        length = int.from_bytes(data[at + 4 : at + 6], "little")
        for offset, bit in ((at + 5, 7), (at + 4, 6), (at + 6, 2), (at + 6, 0)):
            flipped = data[:offset] + bytes([data[offset] ^ 1 << bit]) + data[offset + 1 :]
            path = damaged(killed, memory, file.name, flipped)
            with pytest.raises(StoreCorruption):
                content_of(path)
            flips += 1
        at += wal.HEADER_BYTES + length
    assert flips == 32 and content


def test_without_that_look_such_a_flip_loses_acknowledged_batches(
    written: tuple[Path, list[tuple[bytes, bytes]]], memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed, content = written
    (file,) = killed.glob("*.log")
    data = file.read_bytes()
    flipped = data[:6] + bytes([data[6] ^ 1 << 2]) + data[7:]  # the first record's type, now that of a recycled log
    monkeypatch.setattr(wal, "audit", lambda path: None)
    monkeypatch.setattr(RocksStore, "_check_mark", lambda self: None)
    left = content_of(damaged(killed, memory, file.name, flipped))
    assert set(left) < set(content) | {(b"l", b"7")} and len(left) == 9


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_cut_short_is_refused_or_has_lost_only_what_was_not_acknowledged(
    written: tuple[Path, list[tuple[bytes, bytes]]], memory: Path, kind: str
) -> None:
    killed, content = written
    (file,) = killed.glob(kind)
    data = file.read_bytes()
    for kept in range(0, len(data), max(len(data) // 40, 1)):
        path = damaged(killed, memory, file.name, data[:kept])
        try:
            left = content_of(path)
        except StoreCorruption:
            continue
        # A log alone may end early, as after a crash: then its last batches are gone, each as a whole.
        batches = max(int(dict(left)[b"l"]) - 99, 0) if kind == "*.log" else 8
        whole = [(k, v) for k, v in content if k[:1] == b"t" or (k[:1] == b"w" and int(k[1:]) < batches)]
        assert sorted(left) == sorted([(b"l", b"%d" % (99 + batches) if batches > 0 else b"7"), *whole])


@pytest.mark.parametrize("kind", [*KINDS, ""])
def test_a_file_that_is_gone_is_missed(
    written: tuple[Path, list[tuple[bytes, bytes]]], memory: Path, kind: str
) -> None:
    killed, _ = written
    path = damaged(killed, memory, "CURRENT", (killed / "CURRENT").read_bytes())
    if kind:
        next(path.glob(kind)).unlink()
    else:
        shutil.rmtree(path)
    with pytest.raises(StoreCorruption, match="restore the data directory"):
        content_of(path)


def test_an_older_copy_of_the_database_under_a_newer_mark_is_refused(memory: Path) -> None:
    path = memory / "data" / "store"
    store = RocksStore(path)
    store.commit({b"a": b"1"})
    store.close()
    shutil.copytree(path, memory / "old")
    store = RocksStore(path)
    store.commit({b"a": b"2"})
    store.close()
    shutil.rmtree(path)
    shutil.copytree(memory / "old", path)
    with pytest.raises(StoreCorruption, match=r"has 1 batches, there were 2"):
        RocksStore(path)
    path.with_name("store.mark").write_text("x")
    with pytest.raises(StoreCorruption, match=r"store\.mark is damaged"):
        RocksStore(path)


def test_a_row_that_came_back_is_found_by_the_books(memory: Path) -> None:
    store = RocksStore(memory / "data" / "store")
    store.commit({b"a": b"1", b"b": b"1"})
    old = store._db.get(b"a")
    store.commit({b"a": b"2"})
    store._db[b"a"] = old  # as if an older table file were read in place of the newer one
    with pytest.raises(StoreCorruption, match="lost rows, or old ones are back"):
        list(store.audit())
    store.close()


def test_what_must_be_on_the_disk_is_synced(tmp_path: Path) -> None:
    store = RocksStore(tmp_path / "data" / "store")
    assert store._durable.sync and not store._durable.disable_wal
    store.close()
    options = max((tmp_path / "data" / "store").glob("OPTIONS-*")).read_text()
    for line in (
        "wal_recovery_mode=kTolerateCorruptedTailRecords",
        "paranoid_checks=true",
        "recycle_log_file_num=0",
        "manual_wal_flush=false",
    ):
        assert line in options, line
