"""scikit-learn's bundled digits (1,797 real images of 8 × 8) as a dataset blob: for the demo and the tests, without a download."""

import numpy
import torch

from worker.dataset import Dataset

TRAIN_ROWS = 1_437
ROWS = 1_797


def digits(seed: int = 0) -> Dataset:
    """1,437 rows to train and 360 to test, split by `seed`; features float32 in [0, 1], shape [rows, 64]; labels 0 … 9."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    order = numpy.random.Generator(numpy.random.PCG64(seed)).permutation(ROWS)
    x = torch.from_numpy((bunch.data[order] / 16.0).astype(numpy.float32))
    y = torch.from_numpy(bunch.target[order].astype(numpy.int64))
    return Dataset(x[:TRAIN_ROWS].clone(), y[:TRAIN_ROWS].clone(), x[TRAIN_ROWS:].clone(), y[TRAIN_ROWS:].clone())


def digits_blob(seed: int = 0) -> bytes:
    """The blob that a spec's dataset_info.sha256 names; the same bytes on every machine."""
    return digits(seed).encode()
