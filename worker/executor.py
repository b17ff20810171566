"""`python -m worker.executor`: the process that trains. Files in, files out; one line of JSON for each request (worker.child)."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from settlement import spec as specs
from settlement.spec import TaskSpec
from worker import dataset as datasets
from worker import determinism
from worker.child import serve
from worker.dataset import Dataset
from worker.environment import describe
from worker.job import Trained
from worker.tasks import training
from worker.tensorfile import MAX_FILE_BYTES


def start(device: str, threads: int) -> torch.device:
    """Configures this process and chooses its device."""
    determinism.configure(threads)
    return determinism.choose_device(device)


def load(spec: Mapping[str, Any], dataset: str | Path, device: torch.device) -> tuple[TaskSpec, Dataset]:
    """The checked spec and its dataset. SpecError, DatasetError, or ValueError when the task wants a GPU and this is none."""
    parsed = specs.parse(spec)
    if parsed.performance_requirements.gpu and device.type != "cuda":
        raise ValueError("the task needs a GPU, this process runs on the CPU")
    path = Path(dataset)
    if path.stat().st_size > MAX_FILE_BYTES:
        raise datasets.DatasetError(f"dataset has {path.stat().st_size} bytes, too many")
    info, architecture = parsed.dataset_info, parsed.architecture
    return parsed, datasets.parse(
        path.read_bytes(),
        sha256_hex=info.sha256,
        input_size=architecture.input_size,
        classes=architecture.output_size,
        size=info.size,
    )


def train(spec: Mapping[str, Any], dataset: str, folder: str, device: torch.device) -> Trained:
    """Trains and leaves every state and the final model in `folder`, each named by its sha256."""
    parsed, data = load(spec, dataset, device)
    into = Path(folder)
    into.mkdir(parents=True, exist_ok=True)
    files, entries, model = {}, [], b""
    for snapshot in training.train(parsed, data, device):
        entries.append(snapshot.entry)
        files[snapshot.entry.state_hash] = _write(into, snapshot.entry.state_hash, snapshot.state)
        model = snapshot.model
    metrics = training.evaluate(parsed, data, device, model)
    files[entries[-1].model_hash] = _write(into, entries[-1].model_hash, model)
    return Trained(tuple(entries), files, entries[-1].model_hash, metrics.accuracy, metrics.loss)


def _write(folder: Path, name: bytes, data: bytes) -> Path:
    path = folder / f"{name.hex()}.safetensors"
    path.write_bytes(data)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    device = start(arguments.device, arguments.threads)
    serve(
        {
            "environment": lambda: describe(device),
            "train": lambda spec, dataset, folder: train(spec, dataset, folder, device).to_json(),
        }
    )


if __name__ == "__main__":
    main()
