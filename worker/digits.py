"""scikit-learn's bundled digits (1,797 real images of 8 × 8) as a dataset blob: for the demo and the tests, without a download."""

from typing import Any

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


def digits_spec(seed: int, dataset_sha256: str) -> dict[str, Any]:
    """Trains a multilayer perceptron on 1,797 handwritten digits of 8 × 8 pixels."""
    return {
        "version": 1,
        "kind": "training",
        "model_type": "mlp",
        "architecture": {"input_size": 64, "hidden_sizes": [128], "output_size": 10},
        "optimizer": {"type": "adam", "learning_rate": 0.001},
        "stopping_criterion": {"type": "max_epochs", "max_epochs": 50},
        "metrics": ["accuracy", "loss"],
        "dataset_info": {"sha256": dataset_sha256, "batch_size": 32, "size": ROWS},
        "performance_requirements": {"gpu": False, "min_accuracy": 0.95},
        "mode": "replay",
        "seed": seed,
    }
