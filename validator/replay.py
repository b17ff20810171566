"""`python -m validator.replay`: the process that judges a result by re-running it. `judge` is pure given claim, intervals and blobs."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from settlement import work
from settlement.records import Reason, Verdict
from settlement.spec import TaskSpec, TrainingPlan
from settlement.work import WorkEntry
from validator.claim import Claim, Judgement, abstain, decode_trace
from worker import executor, tensorfile
from worker.child import serve
from worker.dataset import Dataset, DatasetError
from worker.environment import describe
from worker.tasks import training

Blob = Callable[[bytes], bytes | None]
"""The blob of a sha256, None when it is not to be had."""


class _Wrong(Exception):
    def __init__(self, reason: Reason, detail: str, disputed: int | None = None) -> None:
        super().__init__(detail)
        self.reason, self.detail, self.disputed = reason, detail, disputed


class _Missing(Exception):
    """What is not to be had."""


@dataclass(frozen=True)
class Bench:
    """What a result is re-run on."""

    spec: TaskSpec
    dataset: Dataset
    device: torch.device

    @property
    def plan(self) -> TrainingPlan:
        return TrainingPlan.of(self.spec, self.dataset.train_rows)


def judge(claim: Claim, entries: Sequence[WorkEntry], checked: Sequence[int], bench: Bench, blob: Blob) -> Judgement:
    """The verdict on a consistent claim of this environment whose trace is `entries`, after re-running the intervals in `checked`.

    Whatever is found wrong follows from hashes that the worker signed. `accuracy_ppm` is measured, 0 when nothing was.
    """
    done: list[int] = []
    accuracy_ppm = 0
    try:
        _check_shape(claim, entries, bench)
        for interval in checked:
            _check_interval(entries, interval, bench, blob, done)
        accuracy_ppm = _check_metrics(claim, bench, _have(blob, claim.model_hash, "the model"))
    except _Wrong as wrong:
        verdict, reason, detail, disputed = Verdict.REJECT, wrong.reason, wrong.detail, wrong.disputed
    except _Missing as missing:
        verdict, reason, detail, disputed = Verdict.ABSTAIN, Reason.DATA_MISSING, f"not to be had: {missing}", None
    else:
        verdict, reason, detail, disputed = Verdict.ACCEPT, Reason.NONE, "", None
    return Judgement(verdict, reason, tuple(done), len(entries) - 1, accuracy_ppm, disputed, detail)


def _have(blob: Blob, name: bytes, what: str) -> bytes:
    data = blob(name)
    if data is None:
        raise _Missing(what)
    return data


def _check_shape(claim: Claim, entries: Sequence[WorkEntry], bench: Bench) -> None:
    if tuple(entry.iteration for entry in entries) != bench.plan.boundaries:
        raise _Wrong(Reason.WRONG_WORK_ROOT, "the entries do not stand at the plan's boundaries")
    if entries[-1].model_hash != claim.model_hash:
        raise _Wrong(Reason.WRONG_RESULT, "the model is not that of the last entry")
    ours = training.initial(bench.spec, bench.dataset, bench.device).entry
    if ours.encode() != entries[0].encode():
        raise _Wrong(Reason.WRONG_SEED, "the first entry is not the initial state that follows from the seed")


def _check_interval(entries: Sequence[WorkEntry], interval: int, bench: Bench, blob: Blob, done: list[int]) -> None:
    state = _have(blob, entries[interval].state_hash, f"the state at the start of interval {interval}")
    done.append(interval)
    try:
        ours = training.replay(bench.spec, bench.dataset, bench.device, state, interval).entry
    except (training.StateError, training.NotFinite) as error:
        raise _Wrong(Reason.WRONG_STATE, f"interval {interval}: {error}", interval) from error
    theirs = entries[interval + 1]
    if ours.state_hash != theirs.state_hash:
        raise _Wrong(Reason.WRONG_STATE, f"interval {interval} leads to another state", interval)
    if ours.encode() != theirs.encode():
        raise _Wrong(
            Reason.WRONG_WORK_ROOT, f"gradient, batch, model or loss after interval {interval} differ", interval
        )


def _check_metrics(claim: Claim, bench: Bench, model: bytes) -> int:
    try:
        ours = training.evaluate(bench.spec, bench.dataset, bench.device, model)
    except (training.StateError, training.NotFinite) as error:
        raise _Wrong(Reason.WRONG_RESULT, f"the model: {error}") from error
    if work.metrics_hash(ours.accuracy, ours.loss) != work.metrics_hash(claim.accuracy, claim.loss):
        raise _Wrong(
            Reason.WRONG_METRICS,
            f"accuracy {ours.accuracy} and loss {ours.loss}, claimed {claim.accuracy} and {claim.loss}",
        )
    if ours.accuracy < bench.spec.performance_requirements.min_accuracy:
        raise _Wrong(Reason.BELOW_MIN_ACCURACY, f"accuracy {ours.accuracy} is below what the task asks for")
    return ours.accuracy_ppm


def judge_files(
    duty: Mapping[str, Any], checked: Sequence[int], dataset: Path, folder: Path, device: torch.device
) -> Judgement:
    """Like judge, from a dataset file and a folder whose files are named by their sha256; what is missing or damaged there is not to be had."""

    def blob(name: bytes) -> bytes | None:
        path = folder / name.hex()
        data = path.read_bytes() if path.exists() else b""
        return data if tensorfile.sha256(data) == name else None

    claim = Claim.from_duty(duty)
    try:
        task, rows = executor.load(claim.spec, dataset, device)
    except DatasetError as error:
        # The client's dataset is at fault, not the worker's result; that nobody can work on it decides nothing about a stake.
        return abstain(Reason.DATA_MISSING, str(error))
    entries = blob(claim.entries_hash)
    trace = None if entries is None else decode_trace(claim, entries)
    if trace is None:
        return abstain(Reason.DATA_MISSING, "not to be had: the entries under the work root")
    return judge(claim, trace, checked, Bench(task, rows, device), blob)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    device = executor.start(arguments.device, arguments.threads)
    serve(
        {
            "environment": lambda: describe(device),
            "judge": lambda duty, checked, dataset, folder: judge_files(
                duty, checked, Path(dataset), Path(folder), device
            ).to_json(),
        }
    )


if __name__ == "__main__":
    main()
