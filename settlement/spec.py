"""The specification of a training task, strictly checked, and what follows from it: its hash, the plan of its intervals, a sample of them.

docs/protocol.md, section 9. A spec is a JSON object with snake_case keys; every key is needed, no other is allowed.

    ValueError
    └── SpecError                 .key names what was wrong
        ├── UnsupportedKind       .kind: known or not, only "training" is done so far
        └── UnsupportedMode       .mode: likewise, only "replay"
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from itertools import pairwise
from typing import Annotated, Literal

import msgspec
import rfc8785

from settlement.explain import explain
from settlement.tags import fixed, u32le

MAX_SEED = 2**53 - 1
"""RFC 8785 has no form for a larger integer."""
MAX_PARAMETERS = 5_000_000
"""A state under adam holds weights and two moments, 12 bytes a parameter, and must fit a blob of 64 MiB."""
MAX_INTERVALS = 16


class SpecError(ValueError):
    """A spec that is refused; `key` is the path of the offending key ("" for the spec itself)."""

    def __init__(self, key: str, problem: str) -> None:
        super().__init__(f"spec{'.' if key else ''}{key}: {problem}")
        self.key = key


class UnsupportedKind(SpecError):
    def __init__(self, kind: str) -> None:
        super().__init__("kind", f'kind "{kind[:64]}" is not supported, only "training"')
        self.kind = kind


class UnsupportedMode(SpecError):
    def __init__(self, mode: str) -> None:
        super().__init__("mode", f'mode "{mode[:64]}" is not supported, only "replay"')
        self.mode = mode


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


class Architecture(_Strict, frozen=True):
    """A multilayer perceptron: input_size → hidden_sizes… → output_size."""

    input_size: Annotated[int, msgspec.Meta(ge=1, le=65_536)]
    hidden_sizes: Annotated[tuple[Annotated[int, msgspec.Meta(ge=1, le=8_192)], ...], msgspec.Meta(max_length=16)]
    output_size: Annotated[int, msgspec.Meta(ge=1, le=8_192)]

    @property
    def parameters(self) -> int:
        """Weights and biases."""
        sizes = (self.input_size, *self.hidden_sizes, self.output_size)
        return sum((inputs + 1) * outputs for inputs, outputs in pairwise(sizes))


class Adam(_Strict, frozen=True, tag_field="type", tag="adam"):
    learning_rate: Annotated[float, msgspec.Meta(gt=0)]


class Sgd(_Strict, frozen=True, tag_field="type", tag="sgd"):
    learning_rate: Annotated[float, msgspec.Meta(gt=0)]
    momentum: Annotated[float, msgspec.Meta(ge=0, lt=1)]


class MaxEpochs(_Strict, frozen=True):
    type: Literal["max_epochs"]
    max_epochs: Annotated[int, msgspec.Meta(ge=1, le=10_000)]


class DatasetInfo(_Strict, frozen=True):
    """The dataset blob (safetensors with x_train, y_train, x_test, y_test) by its sha256, and its rows, train and test together."""

    sha256: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z", description="64 lower-case hex digits")]
    batch_size: Annotated[int, msgspec.Meta(ge=1)]
    size: Annotated[int, msgspec.Meta(ge=1, le=2**26)]


class PerformanceRequirements(_Strict, frozen=True):
    gpu: bool
    min_accuracy: Annotated[float, msgspec.Meta(ge=0, le=1)]


class TaskSpec(_Strict, frozen=True):
    version: Literal[1]
    kind: Literal["training"]
    model_type: Literal["mlp"]
    architecture: Architecture
    optimizer: Adam | Sgd
    stopping_criterion: MaxEpochs
    metrics: tuple[Literal["accuracy"], Literal["loss"]]
    dataset_info: DatasetInfo
    performance_requirements: PerformanceRequirements
    mode: Literal["replay"]
    seed: Annotated[int, msgspec.Meta(ge=0, le=MAX_SEED)]


def parse(spec: object) -> TaskSpec:
    """The checked spec in decoded JSON. UnsupportedKind, UnsupportedMode, or SpecError naming the key and what would be right."""
    if not isinstance(spec, Mapping):
        raise SpecError("", f"must be an object, got {type(spec).__name__}")
    # Kind and mode first: a spec for something not yet supported has other keys, whose absence is not what its author should read.
    if isinstance(kind := spec.get("kind"), str) and kind != "training":
        raise UnsupportedKind(kind)
    if isinstance(mode := spec.get("mode"), str) and mode != "replay":
        raise UnsupportedMode(mode)
    try:
        parsed = msgspec.convert(spec, TaskSpec)
    except msgspec.ValidationError as error:
        flaw = explain(error, TaskSpec, spec)
        raise SpecError(flaw.path, flaw.problem) from None
    _check_across(parsed)
    return parsed


def spec_hash(spec: object) -> bytes:
    """sha256 of the RFC 8785 form of the spec's JSON, as given. SpecError when it has none: NaN, infinities, integers of 2**53 and more."""
    try:
        return sha256(rfc8785.dumps(spec)).digest()  # type: ignore[arg-type]
    except rfc8785.CanonicalizationError as error:
        raise SpecError("", f"has no canonical JSON: {error}") from None


def _check_across(spec: TaskSpec) -> None:
    if not math.isfinite(spec.optimizer.learning_rate):
        raise SpecError("optimizer.learning_rate", "must be finite")
    if spec.dataset_info.batch_size > spec.dataset_info.size:
        raise SpecError("dataset_info.batch_size", f"must not exceed the dataset's size, {spec.dataset_info.size}")
    if spec.architecture.parameters > MAX_PARAMETERS:
        raise SpecError(
            "architecture", f"has {spec.architecture.parameters:,} parameters, at most {MAX_PARAMETERS:,} are allowed"
        )


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """How many optimizer steps a task takes and where its states are kept: at 0, interval_steps, 2 × interval_steps, …, total_steps."""

    steps_per_epoch: int
    total_steps: int
    interval_steps: int
    boundaries: tuple[int, ...]

    @classmethod
    def of(cls, spec: TaskSpec, train_rows: int) -> TrainingPlan:
        """From the spec and the rows of x_train in its dataset."""
        if train_rows < 1:
            raise ValueError(f"a dataset needs train rows, got {train_rows}")
        steps_per_epoch = -(-train_rows // spec.dataset_info.batch_size)
        total = spec.stopping_criterion.max_epochs * steps_per_epoch
        interval = max(1, -(-total // MAX_INTERVALS))
        return cls(steps_per_epoch, total, interval, (*range(0, total, interval), total))

    @property
    def intervals(self) -> int:
        return len(self.boundaries) - 1


def draw_intervals(sample_signature: bytes, intervals: int) -> list[int]:
    """The intervals a validator re-runs, ascending, drawn from its 96-byte BLS signature over the sample digest.

    With n intervals: seed = sha256(sample_signature). The candidates are a = [0, 1, …, n − 2], the last interval n − 1 being drawn anyway;
    k = min(n − 2, ⌈n / 4⌉), or 0 when n ≤ 2. For i = 0 … k − 1: r = the first 8 bytes of sha256(seed ‖ u32le(i)) as a little-endian integer,
    j = i + r mod (n − 1 − i), swap a[i] and a[j] (Fisher and Yates). Drawn are a[0 … k − 1] and n − 1. The bias of the modulus is below n / 2**64.
    """
    if intervals < 1:
        raise ValueError(f"a task has at least one interval, got {intervals}")
    seed = sha256(fixed("sample signature", sample_signature, 96)).digest()
    others = list(range(intervals - 1))
    drawn = max(0, min(intervals - 2, -(-intervals // 4)))
    for i in range(drawn):
        word = int.from_bytes(sha256(seed + u32le(i)).digest()[:8], "little")
        j = i + word % (len(others) - i)
        others[i], others[j] = others[j], others[i]
    return [*sorted(others[:drawn]), intervals - 1]
