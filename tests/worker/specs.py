"""Specs and small datasets for the tests of worker and validator."""

from hashlib import sha256
from typing import Any

import torch

from worker.dataset import Dataset

ADAM = {"type": "adam", "learning_rate": 0.01}
SGD = {"type": "sgd", "learning_rate": 0.05, "momentum": 0.9}
PLAIN_SGD = {"type": "sgd", "learning_rate": 0.05, "momentum": 0.0}
OPTIMIZERS = {"adam": ADAM, "sgd": SGD, "plain_sgd": PLAIN_SGD}


def small_dataset() -> Dataset:
    """Two classes that a line separates: 50 rows to train, 20 to test, 6 features."""
    generator = torch.Generator().manual_seed(5)
    x = torch.rand((70, 6), generator=generator)
    y = (x.sum(dim=1) > 3).to(torch.int64)
    return Dataset(x[:50].clone(), y[:50].clone(), x[50:].clone(), y[50:].clone())


def make_spec(blob: bytes, size: int, inputs: int, classes: int, **changes: Any) -> dict[str, Any]:
    """A spec for the dataset in `blob`; `changes` replace optimizer, seed, max_epochs, batch_size, hidden_sizes, min_accuracy."""
    return {
        "version": 1,
        "kind": "training",
        "model_type": "mlp",
        "architecture": {
            "input_size": inputs,
            "hidden_sizes": changes.get("hidden_sizes", [8]),
            "output_size": classes,
        },
        "optimizer": changes.get("optimizer", ADAM),
        "stopping_criterion": {"type": "max_epochs", "max_epochs": changes.get("max_epochs", 6)},
        "metrics": ["accuracy", "loss"],
        "dataset_info": {
            "sha256": sha256(blob).hexdigest(),
            "batch_size": changes.get("batch_size", 8),
            "size": size,
        },
        "performance_requirements": {"gpu": False, "min_accuracy": changes.get("min_accuracy", 0.5)},
        "mode": "replay",
        "seed": changes.get("seed", 1),
    }


def small_spec(**changes: Any) -> tuple[dict[str, Any], bytes]:
    """A spec over small_dataset() and the dataset's blob. 50 rows in batches of 8 make 7 steps an epoch, so boundaries fall inside epochs."""
    blob = small_dataset().encode()
    return make_spec(blob, 70, 6, 2, **changes), blob
