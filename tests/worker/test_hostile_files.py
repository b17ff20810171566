"""Datasets and states come from strangers: any bytes are the tensors asked for or a TensorFileError, and take no memory that they do not deserve."""

from __future__ import annotations

import json
import tracemalloc
from hashlib import sha256
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.hostile import altered, hostile, mutated
from worker import dataset, tensorfile
from worker.dataset import Dataset, DatasetError
from worker.tensorfile import Expected, TensorFileError

torch.set_num_threads(1)
EXPECTED = {"a": Expected("F32", (None, 3)), "b": Expected("I64", (None,)), "c": Expected("U8", (2, 2))}
TENSORS = {
    "a": torch.arange(6.0).reshape(2, 3),
    "b": torch.tensor([1, 2, 3]),
    "c": torch.zeros(2, 2, dtype=torch.uint8),
}
GOOD = tensorfile.dump(TENSORS)
HEADER_BYTES = int.from_bytes(GOOD[:8], "little")
HEADER = json.loads(GOOD[8 : 8 + HEADER_BYTES])
DATA = Dataset(torch.ones(4, 3), torch.tensor([0, 1, 0, 1]), torch.ones(2, 3), torch.tensor([1, 0])).encode()


def with_header(header: Any, data: bytes = GOOD[8 + HEADER_BYTES :]) -> bytes:
    encoded = header if isinstance(header, bytes) else json.dumps(header).encode("utf-8", "surrogatepass")
    return len(encoded).to_bytes(8, "little") + encoded + data


def read(data: bytes) -> dict[str, torch.Tensor] | None:
    try:
        return tensorfile.load(data, EXPECTED)
    except TensorFileError as error:
        assert len(str(error)) < 70_000
        str(error).encode()
        return None


@hostile
@given(mutated(GOOD))
def test_any_bytes_are_the_tensors_or_refused(data: bytes) -> None:
    found = read(data)
    if found is not None:
        assert {name: (tensor.dtype, tensor.dim()) for name, tensor in found.items()} == {
            name: (tensor.dtype, tensor.dim()) for name, tensor in TENSORS.items()
        }


@hostile
@given(altered(HEADER))
def test_any_header_is_the_one_of_the_tensors_or_refused(header: Any) -> None:
    found = read(with_header(header))
    if found is not None:
        assert all(torch.equal(found[name], tensor.reshape(found[name].shape)) for name, tensor in TENSORS.items())


@pytest.mark.parametrize(
    "data",
    [
        (2**63).to_bytes(8, "little") + b"{}",
        (2**64 - 1).to_bytes(8, "little"),
        (100 * 2**20).to_bytes(8, "little") + b" " * 100,
        with_header(b'{"a":' * 10_000),
        with_header(b"[" * 60_000),
        with_header(b'{"a":{"dtype":"F32","shape":[' + b"9" * 5_000 + b',3],"data_offsets":[0,24]}}'),
        with_header({**HEADER, "a": {"dtype": "F32", "shape": [2**62, 3], "data_offsets": [0, 3 * 2**64]}}),
        with_header({**HEADER, "a": {"dtype": "F32", "shape": [2**40, 3], "data_offsets": [0, 12 * 2**40]}}),
        with_header({"\ud800": 1}),
        with_header({"x" * 60_000: 1}),
        with_header(b'{"a":1,"a":1}'),
        with_header(b"\xff\xfe"),
        with_header(b"NaN"),
    ],
)
def test_a_header_that_promises_too_much_is_refused_before_anything_is_allocated(data: bytes) -> None:
    tracemalloc.start()
    try:
        assert read(data) is None
        assert tracemalloc.get_traced_memory()[1] < 4 * 2**20
    finally:
        tracemalloc.stop()


def test_a_file_beyond_the_limit_is_refused_unread() -> None:
    class Long(bytes):
        def __len__(self) -> int:
            return tensorfile.MAX_FILE_BYTES + 1

    assert read(Long(GOOD)) is None


@hostile
@given(st.data())
def test_any_bytes_are_the_dataset_of_the_spec_or_refused(data: st.DataObject) -> None:
    """The hash is what strangers are held to; here it is made to fit, as by a client that names a spoiled dataset."""
    given_bytes = data.draw(mutated(DATA))
    try:
        found = dataset.parse(given_bytes, sha256_hex=sha256(given_bytes).hexdigest(), input_size=3, classes=2, size=6)
    except DatasetError:
        return
    assert found.train_rows + found.test_rows == 6
    assert bool(torch.isfinite(found.x_train).all())
