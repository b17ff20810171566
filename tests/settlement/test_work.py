import struct
from hashlib import sha256

import pytest

from settlement import work
from settlement.work import WorkEntry
from tests.settlement import kit, naive

ENTRY = WorkEntry(141, *(kit.filler(name) for name in ("state", "gradient", "batch", "model")), 0.25)


def test_an_entry_is_144_bytes_and_round_trips() -> None:
    hashes = ENTRY.state_hash + ENTRY.gradient_hash + ENTRY.batch_hash + ENTRY.model_hash
    assert ENTRY.encode() == naive.le(141) + hashes + struct.pack("<d", 0.25)
    assert WorkEntry.decode(ENTRY.encode()) == ENTRY
    assert work.decode_entries(ENTRY.encode() * 3) == [ENTRY] * 3
    with pytest.raises(ValueError, match="144 bytes each, got 145"):
        work.decode_entries(bytes(145))
    with pytest.raises(ValueError, match="gradient_hash must be 32 bytes"):
        WorkEntry(0, bytes(32), bytes(31), bytes(32), bytes(32), 0.0)


def test_losses_are_compared_by_their_bits() -> None:
    zero = WorkEntry(0, bytes(32), bytes(32), bytes(32), bytes(32), 0.0)
    minus = WorkEntry(0, bytes(32), bytes(32), bytes(32), bytes(32), -0.0)
    assert zero.encode() != minus.encode()


def test_the_work_root_binds_entries_and_count() -> None:
    entries = [ENTRY, WorkEntry(282, *[bytes(32)] * 4, 0.125)]
    assert work.work_root(entries) == naive.merkle_root("work-root", [entry.encode() for entry in entries])
    assert work.work_root(entries) != work.work_root(entries[:1])


def test_metrics_and_environment_are_hashed_as_canonical_json() -> None:
    assert work.metrics_hash(1, 0.5) == sha256(b'{"accuracy":1,"loss":0.5}').digest()
    environment = {"torch": "2.9.0", "threads": 1}
    assert work.environment_hash(environment) == sha256(b'{"threads":1,"torch":"2.9.0"}').digest()


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_metrics_that_are_no_numbers_are_refused(loss: float) -> None:
    with pytest.raises(ValueError, match="JCS"):
        work.metrics_hash(0.5, loss)
