"""Datasets come from strangers: whatever is not exactly the file that the spec describes is refused, and nothing in it is run."""

import json
import pickle
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.worker.specs import small_dataset
from worker import tensorfile
from worker.dataset import Dataset, DatasetError, parse


def parsed(blob: bytes, **changes: Any) -> Dataset:
    wanted = {"sha256_hex": sha256(blob).hexdigest(), "input_size": 6, "classes": 2, "size": 70, **changes}
    return parse(blob, **wanted)


def with_header(change: Any) -> bytes:
    blob = small_dataset().encode()
    length = int.from_bytes(blob[:8], "little")
    header = json.loads(blob[8 : 8 + length])
    change(header)
    encoded = json.dumps(header).encode()
    return len(encoded).to_bytes(8, "little") + encoded + blob[8 + length :]


def changed(**tensors: torch.Tensor) -> bytes:
    return tensorfile.dump({**vars(small_dataset()), **tensors})


def test_a_good_dataset_comes_back_as_it_was() -> None:
    ours = small_dataset()
    theirs = parsed(ours.encode())
    assert all(torch.equal(getattr(ours, name), getattr(theirs, name)) for name in vars(ours))
    assert (theirs.train_rows, theirs.test_rows) == (50, 20)


@pytest.mark.parametrize(
    ("blob", "changes", "message"),
    [
        (small_dataset().encode(), {"sha256_hex": "00" * 32}, "the spec names 0000"),
        (small_dataset().encode(), {"size": 71}, "has 70 rows, the spec's size is 71"),
        (small_dataset().encode(), {"input_size": 7}, r"x_train: shape is \[50, 6\], must be \['any', 7\]"),
        (small_dataset().encode(), {"classes": 1}, "labels outside"),
        (b"", {}, "too few"),
        ((2**40).to_bytes(8, "little") + b"{}" + bytes(100), {}, "header is too large: 1099511627776"),
        ((2**63).to_bytes(8, "little") + bytes(100), {}, "header is too large"),
        ((1000).to_bytes(8, "little") + b"{}", {}, "runs past the end"),
        ((10).to_bytes(8, "little") + b"[" * 10, {}, "not JSON"),
        ((4000).to_bytes(8, "little") + b"[" * 4000, {}, "not JSON"),
        ((2).to_bytes(8, "little") + b"[]", {}, "not a JSON object"),
        ((14).to_bytes(8, "little") + b'{"a":1, "a":2}', {}, "twice"),
        (changed(x_train=torch.rand(50, 6, dtype=torch.float64)), {}, "dtype is 'F64', must be F32"),
        (changed(y_train=torch.zeros(50, dtype=torch.int32)), {}, "dtype is 'I32', must be I64"),
        (changed(y_train=torch.zeros(49, dtype=torch.int64)), {}, "50 rows, y_train has 49"),
        (changed(y_test=torch.full((20,), -1)), {}, "labels outside"),
        (changed(x_test=torch.full((20, 6), float("nan"))), {}, "not finite"),
        (changed(x_test=torch.empty(0, 6), y_test=torch.empty(0, dtype=torch.int64)), {}, r"x_test: shape is \[0, 6\]"),
        (changed(extra=torch.zeros(1)), {}, r"unexpected \['extra'\]"),
        (with_header(lambda h: h["x_train"].update(shape=[10**12, 6])), {}, "bytes do not hold shape"),
        (with_header(lambda h: h["x_train"].update(data_offsets=[0, 10**12])), {}, "bytes do not hold shape"),
        (
            with_header(lambda h: h["x_test"].update(data_offsets=h["x_train"]["data_offsets"])),
            {},
            "do not hold|overlap",
        ),
        (with_header(lambda h: h["x_train"].update(shape=[50, -6])), {}, "a dimension is -6"),
        (with_header(lambda h: h["x_train"].update(shape=[True, 6])), {}, "a dimension is True"),
        (with_header(lambda h: h.pop("y_test")), {}, r"missing \['y_test'\]"),
        (small_dataset().encode() + b"\0", {}, "the tensors end at byte"),
    ],
)
def test_anything_else_is_refused_by_name(blob: bytes, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        parsed(blob, **changes)


class Canary:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


def test_a_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    canary = tmp_path / "sung"
    bomb = pickle.dumps(Canary(canary))
    torch.save({"x_train": Canary(canary)}, tmp_path / "bomb.pt")
    for blob in (bomb, (tmp_path / "bomb.pt").read_bytes()):
        with pytest.raises(DatasetError, match="safetensors"):
            parsed(blob)
        with pytest.raises(tensorfile.TensorFileError):
            tensorfile.load(blob, {})
    assert not canary.exists()
    pickle.loads(bomb)  # noqa: S301 - the twin: where pickles are loaded, this one does sing
    assert canary.exists()


def test_a_header_larger_than_memory_is_refused_before_anything_is_made() -> None:
    blob = with_header(lambda h: h["x_train"].update(shape=[2**40, 6], data_offsets=[0, 24 * 2**40]))
    with pytest.raises(DatasetError):
        parsed(blob)
