"""What a revealed result says of its training, checked by whoever asks: the trace against the result's hash, and the accuracy of each
published state on the test split, computed here. numpy and safetensors, no torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from settlement import messages, spec, work
from settlement.records import Mode
from settlement.sequencer_client import BadAnswer, RpcError, SequencerClient
from settlement.work import WorkEntry

if TYPE_CHECKING:
    import numpy as np

MAX_STATES_BYTES = 64 * 2**20
"""Of what is fetched to compute accuracies. A state holds the weights, and under adam two moments of each."""


@dataclass(frozen=True)
class Point:
    """The training at one step; accuracy in 0 … 1 on the test split, None where nobody has looked."""

    step: int
    loss: float
    accuracy: float | None = None


async def fetch_trace(client: SequencerClient, task: Mapping[str, Any], result: Mapping[str, Any]) -> list[WorkEntry]:
    """The trace's entries, one for each interval's end, which lead to the result hash that the worker committed to.

    BadAnswer when they do not: then the sequencer shows something else than what was committed and is being checked.
    """
    from solders.pubkey import Pubkey

    entries = work.decode_entries(await client.get_blob(result["entriesSha256"]))
    metrics = result["metrics"]
    found = messages.result_hash(
        bytes.fromhex(task["taskId"]),
        bytes(Pubkey.from_string(result["worker"])),
        Mode[task["mode"].upper()],
        work.environment_hash(result["environment"]),
        work.work_root(entries),
        bytes.fromhex(result["modelSha256"]),
        work.metrics_hash(metrics["accuracy"], metrics["loss"]),
    )
    if found.hex() != result["resultHash"]:
        raise BadAnswer(f"the trace leads to result hash {found.hex()}, the worker committed to {result['resultHash']}")
    return entries[1:]


def points(entries: Sequence[WorkEntry]) -> list[Point]:
    return [Point(entry.iteration, entry.loss) for entry in entries]


def states_bytes(task: Mapping[str, Any], entries: Sequence[WorkEntry]) -> int:
    """About how many bytes the states have in all."""
    return spec.parse(task["spec"]).architecture.parameters * 12 * len(entries)


async def with_accuracies(
    client: SequencerClient, task: Mapping[str, Any], entries: Sequence[WorkEntry]
) -> list[Point]:
    """The points with the accuracy of each state; without it where the states are too large to fetch or are there no more."""
    found = points(entries)
    if states_bytes(task, entries) > MAX_STATES_BYTES:
        return found
    try:
        dataset = await client.get_blob(task["spec"]["dataset_info"]["sha256"])
        for place, entry in enumerate(entries):
            state = await client.get_blob(entry.state_hash.hex())
            found[place] = replace(found[place], accuracy=accuracy_of(state, dataset))
    except RpcError:
        return points(entries)
    return found


def accuracy_of(state: bytes, dataset: bytes) -> float:
    """The share of test rows that the network in a state file classifies right. ValueError when a file lacks what it needs."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        tensors, rows = load(state), load(dataset)
        x, labels = rows["x_test"], rows["y_test"]
        layers = sum(name.startswith("model.layers.") and name.endswith(".weight") for name in tensors)
        for layer in range(layers):
            x = x @ tensors[f"model.layers.{layer}.weight"].T + tensors[f"model.layers.{layer}.bias"]
            if layer < layers - 1:
                x = _relu(x)
    except (SafetensorError, KeyError) as error:
        raise ValueError(f"the files hold no network and test rows: {error}") from None
    return float((x.argmax(axis=1) == labels).mean())


def _relu(x: np.ndarray) -> np.ndarray:
    return x * (x > 0)
