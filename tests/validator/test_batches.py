"""What a validator keeps of batches: whole or not at all, through crashes, damage and a full disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from settlement import durable
from validator.batches import Batches, BatchesUnwritable, Kept

HASH, OTHER = b"\x01" * 32, b"\x02" * 32
TRACE = (b"\x0a" * 32, b"\x0b" * 32)


def test_what_is_kept_is_there_after_a_restart_until_it_is_final(tmp_path: Path) -> None:
    batches = Batches(tmp_path)
    batches.keep(9, HASH, b"nine", TRACE)
    batches.keep(10, OTHER, b"ten", ())
    batches.keep(10, OTHER, b"ten", ())
    again = Batches(tmp_path)
    assert again.of(HASH) == Kept(b"nine", TRACE) and again.of(OTHER) == Kept(b"ten", ())
    assert again.of(bytes(32)) is None
    assert again.forget_until(8) == 0
    assert again.forget_until(9) == 1 and again.of(HASH) is None and again.of(OTHER) is not None
    assert again.forget_until(10) == 1 and list(tmp_path.iterdir()) == []


@given(st.binary(max_size=64), st.lists(st.binary(min_size=32, max_size=32), max_size=3), st.data())
def test_any_damage_is_seen(data: bytes, trace: list[bytes], drawn: Any) -> None:
    kept = Kept(data, tuple(trace))
    raw = kept.encode()
    assert Kept.decode(raw) == kept
    at, bit = drawn.draw(st.integers(0, len(raw) - 1)), drawn.draw(st.integers(0, 7))
    for damaged in (raw[:at], raw[:at] + bytes([raw[at] ^ 1 << bit]) + raw[at + 1 :], raw + b"\0"):
        with pytest.raises(ValueError, match="checksum"):
            Kept.decode(damaged)


def test_a_damaged_file_counts_as_none_and_is_written_again(tmp_path: Path) -> None:
    batches = Batches(tmp_path)
    batches.keep(1, HASH, b"data", TRACE)
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-1])
    assert batches.of(HASH) is None
    batches.keep(1, HASH, b"data", TRACE)
    assert batches.of(HASH) == Kept(b"data", TRACE)


@pytest.mark.parametrize("point", [durable.WRITING, durable.WRITTEN, durable.SYNCED])
def test_a_refused_write_leaves_nothing(tmp_path: Path, point: str) -> None:
    batches = Batches(tmp_path)

    def full(reached: str, path: Path) -> None:
        if reached == point:
            raise OSError(28, "No space left on device")

    before = durable.set_hook(full)
    try:
        with pytest.raises((BatchesUnwritable, OSError), match="No space left"):
            batches.keep(1, HASH, b"data", TRACE)
    finally:
        durable.set_hook(before)
    assert Batches(tmp_path).of(HASH) is None and list(tmp_path.iterdir()) == []
    batches.keep(1, HASH, b"data", TRACE)
    assert batches.of(HASH) == Kept(b"data", TRACE)
