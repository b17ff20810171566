"""The dataset blob of a training task: safetensors with x_train, y_train, x_test, y_test, named by its sha256 in the spec."""

from dataclasses import dataclass

import torch

from worker import tensorfile
from worker.tensorfile import Expected, TensorFileError


class DatasetError(ValueError):
    """The blob is not the dataset that the spec describes; the message says what differs."""


@dataclass(frozen=True)
class Dataset:
    """Features float32 [rows, input_size], labels int64 [rows], on the CPU."""

    x_train: torch.Tensor
    y_train: torch.Tensor
    x_test: torch.Tensor
    y_test: torch.Tensor

    @property
    def train_rows(self) -> int:
        return self.x_train.shape[0]

    @property
    def test_rows(self) -> int:
        return self.x_test.shape[0]

    def encode(self) -> bytes:
        return tensorfile.dump(vars(self))


def parse(data: bytes, *, sha256_hex: str, input_size: int, classes: int, size: int) -> Dataset:
    """Checks the hash first, then the header, then the values: finite features, labels in 0 … classes − 1, rows adding up to `size`."""
    found = tensorfile.sha256(data).hex()
    if found != sha256_hex:
        raise DatasetError(f"dataset has sha256 {found}, the spec names {sha256_hex}")
    features, labels = Expected("F32", (None, input_size)), Expected("I64", (None,))
    try:
        tensors = tensorfile.load(data, {"x_train": features, "y_train": labels, "x_test": features, "y_test": labels})
    except TensorFileError as error:
        raise DatasetError(f"dataset: {error}") from error
    for part in ("train", "test"):
        x, y = tensors[f"x_{part}"], tensors[f"y_{part}"]
        if len(x) != len(y):
            raise DatasetError(f"x_{part} has {len(x)} rows, y_{part} has {len(y)}")
        if not bool(torch.isfinite(x).all()):
            raise DatasetError(f"x_{part} holds a value that is not finite")
        if int(y.min()) < 0 or int(y.max()) >= classes:
            raise DatasetError(f"y_{part} holds labels outside 0 … {classes - 1}")
    dataset = Dataset(**tensors)
    if dataset.train_rows + dataset.test_rows != size:
        raise DatasetError(f"dataset has {dataset.train_rows + dataset.test_rows} rows, the spec's size is {size}")
    return dataset
