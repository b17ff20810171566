"""The store: whole batches or nothing, durable, checked."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sequencer.database import META, NONCES, Cell, Database
from sequencer.rows import NonceRow
from sequencer.store import RocksStore, StoreCorruption, StoreInUse, seal, unseal


def test_values_come_back_in_the_order_of_their_keys(tmp_path: Path) -> None:
    store = RocksStore(tmp_path / "db")
    store.commit({b"n2": b"two", b"n1": b"one", b"m": b"other"})
    store.commit({b"n2": None, b"n3": b""})
    assert list(store.scan(b"n")) == [(b"n1", b"one"), (b"n3", b"")]
    assert store.get(b"n2") is None
    store.close()
    again = RocksStore(tmp_path / "db")
    assert again.get(b"n1") == b"one"
    again.close()


def test_a_value_under_another_key_does_not_pass() -> None:
    stored = seal(b"a", b"value")
    assert unseal(b"a", stored) == b"value"
    for key, damaged in ((b"b", stored), (b"a", stored[:-1]), (b"a", b""), (b"a", stored + b"x")):
        with pytest.raises(StoreCorruption, match="torn or corrupt"):
            unseal(key, damaged)


def test_a_second_process_cannot_open_it_and_is_told_who_has_it(tmp_path: Path) -> None:
    store = RocksStore(tmp_path / "data" / "db")
    with pytest.raises(
        StoreInUse, match=rf"the data directory {tmp_path}/data is in use by process {os.getpid()}: stop"
    ):
        RocksStore(tmp_path / "data" / "db")
    program = "import sys, pathlib; from sequencer.store import RocksStore; RocksStore(pathlib.Path(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "data" / "db")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1 and f"is in use by process {os.getpid()}" in done.stderr
    store.close()
    RocksStore(tmp_path / "data" / "db").close()


def test_what_was_committed_survives_kill_9(tmp_path: Path) -> None:
    program = (
        "import os, sys\nfrom pathlib import Path\nfrom sequencer.store import RocksStore\n"
        "store = RocksStore(Path(sys.argv[1]))\n"
        "for i in range(50): store.commit({b'k%d' % i: b'v', b'count': b'%d' % i})\n"
        "os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path / "db")], check=False)
    assert done.returncode == -9
    store = RocksStore(tmp_path / "db")
    assert store.get(b"count") == b"49"
    assert len(list(store.scan(b"k"))) == 50
    store.close()


def test_a_torn_tail_of_the_log_loses_whole_batches_only(tmp_path: Path) -> None:
    store = RocksStore(tmp_path / "db")
    for i in range(20):
        store.commit({b"a%02d" % i: b"x" * 50, b"b%02d" % i: b"y" * 50})
    (log,) = (tmp_path / "db").glob("*.log")
    data = log.read_bytes()
    store.close()
    for cut in (1, 60, 200):
        folder = tmp_path / f"torn{cut}"
        other = RocksStore(folder)
        other.close()
        for file in folder.glob("*.log"):
            file.unlink()
        (folder / log.name).write_bytes(data[: len(data) - cut])
        torn = RocksStore(folder)
        left, right = (len(list(torn.scan(prefix))) for prefix in (b"a", b"b"))
        assert left == right
        assert left < 20
        torn.close()


def test_a_transaction_sees_its_own_writes_and_nobody_else_does(tmp_path: Path) -> None:
    database = Database(RocksStore(tmp_path / "db"))
    cell = Cell(1)
    with database.transaction() as tx:
        tx.put(NONCES, b"a", NonceRow(expiry_slot=1))
        tx.write(cell, 2)
        assert tx.get(NONCES, b"a") == NonceRow(expiry_slot=1)
        assert [key for key, _ in tx.scan(NONCES)] == [b"a"]
        assert (tx.read(cell), cell.value) == (2, 1)
        assert database.get(NONCES, b"a") is None
    assert cell.value == 2
    assert database.get(NONCES, b"a") == NonceRow(expiry_slot=1)
    with pytest.raises(KeyError), database.transaction() as tx:
        tx.delete(NONCES, b"a")
        tx.write(cell, 3)
        raise KeyError
    assert (cell.value, database.get(NONCES, b"a")) == (2, NonceRow(expiry_slot=1))
    with pytest.raises(RuntimeError, match="open already"), database.transaction(), database.transaction():
        pass
    database.close()


def test_a_row_that_is_no_row_is_named(tmp_path: Path) -> None:
    store = RocksStore(tmp_path / "db")
    store.commit({b"m": b"\xc1"})
    with pytest.raises(StoreCorruption, match="MetaRow"):
        Database(store).get(META, b"")
    store.close()
