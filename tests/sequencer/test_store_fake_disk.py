"""What no real disk does on demand: a batch is refused (its fsync failed) and is there all the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sequencer.store import RocksStore, StoreUnwritable


class LyingDatabase:
    """Passes everything on to RocksDB; a write is done and then called a failure."""

    def __init__(self, real: Any) -> None:
        self.real = real

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    def write(self, *arguments: Any) -> None:
        self.real.write(*arguments)
        raise OSError("IO error: While fsync: Input/output error")


def test_a_batch_that_got_in_although_it_was_refused_is_taken_back(tmp_path: Path) -> None:
    store = RocksStore(tmp_path / "data" / "store")
    store.commit({b"kept": b"1", b"changed": b"old", b"deleted": b"there"})
    before = list(store.audit())
    store._db = LyingDatabase(store._db)  # type: ignore[assignment]
    with pytest.raises(StoreUnwritable, match="fsync"):
        store.commit({b"changed": b"new", b"deleted": None, b"made": b"2"})
    with pytest.raises(StoreUnwritable):
        store.commit({b"later": b"3"})
    assert store.resume()
    assert list(store.audit()) == before
    store.commit({b"later": b"3"})
    store.close()
    store = RocksStore(tmp_path / "data" / "store")
    assert list(store.audit()) == sorted([*before, (b"later", b"3")])
    store.close()
