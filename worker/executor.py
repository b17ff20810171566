"""`python -m worker.executor`: the process that trains. Files in, files out; one line of JSON for each request (worker.child)."""

import argparse
import time
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

import torch

from settlement import spec as specs
from settlement.spec import TaskSpec, TrainingPlan
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
    running = train_reporting(spec, dataset, folder, device)
    while True:
        try:
            next(running)
        except StopIteration as ended:
            trained: Trained = ended.value
            return trained


def train_reporting(
    spec: Mapping[str, Any], dataset: str, folder: str, device: torch.device
) -> Generator[dict[str, Any], None, Trained]:
    """As `train`; yields {"step", "steps", "loss", "accuracy"?} at each boundary. The accuracy is left out where looking at it
    would take more than a tenth of the time: it is for those who watch, and changes no bit of the result."""
    parsed, data = load(spec, dataset, device)
    started, looking_seconds = time.monotonic(), 0.0
    steps = TrainingPlan.of(parsed, data.train_rows).total_steps
    into = Path(folder)
    into.mkdir(parents=True, exist_ok=True)
    files, entries, model = {}, [], b""
    for snapshot in training.train(parsed, data, device):
        entries.append(snapshot.entry)
        files[snapshot.entry.state_hash] = _write(into, snapshot.entry.state_hash, snapshot.state)
        model = snapshot.model
        if snapshot.entry.iteration == 0:
            continue  # no step, no loss
        said = {"step": snapshot.entry.iteration, "steps": steps, "loss": snapshot.entry.loss}
        begun = time.monotonic()
        if looking_seconds * 10 <= begun - started:
            said["accuracy"] = training.evaluate(parsed, data, device, model).accuracy
            looking_seconds += time.monotonic() - begun
        yield said
    metrics = training.evaluate(parsed, data, device, model)
    files[entries[-1].model_hash] = _write(into, entries[-1].model_hash, model)
    return Trained(tuple(entries), files, entries[-1].model_hash, metrics.accuracy, metrics.loss)


def _train(
    spec: Mapping[str, Any], dataset: str, folder: str, device: torch.device
) -> Generator[dict[str, Any], None, dict[str, Any]]:
    trained = yield from train_reporting(spec, dataset, folder, device)
    return trained.to_json()


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
            "train": lambda spec, dataset, folder: _train(spec, dataset, folder, device),
        }
    )


if __name__ == "__main__":
    main()
