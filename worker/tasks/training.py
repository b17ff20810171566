"""Training by replay: an MLP on torch whose every step can be repeated from a state file, bit for bit (docs/protocol.md, section 9).

A state needs no memory of the run that made it: batch order follows from (seed, epoch), so that a replay may start in the middle of an
epoch. Pure given spec, dataset and device, in a process that worker.determinism has configured.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from itertools import pairwise

import torch
import torch.nn.functional as F

from settlement.spec import TaskSpec, TrainingPlan
from settlement.tags import H, u64le
from settlement.work import WorkEntry
from worker import tensorfile
from worker.dataset import Dataset
from worker.tasks.optimizers import Optimizer, tensor_names
from worker.tensorfile import Expected, TensorFileError

TEST_ROWS_AT_ONCE = 1_024
GENERATOR_BYTES = torch.Generator().get_state().numel()


class StateError(ValueError):
    """The bytes are no state of this task; the message says why."""


class NotFinite(ArithmeticError):
    """The loss is NaN or infinite: such a run has no result that could be committed."""


@dataclass(frozen=True)
class Snapshot:
    """What stands at one boundary: its entry and the two files that the entry names."""

    entry: WorkEntry
    state: bytes
    model: bytes


@dataclass(frozen=True)
class Metrics:
    """Over the test rows: accuracy in 0 … 1 and mean cross-entropy; correct of rows were classified right."""

    accuracy: float
    loss: float
    correct: int
    rows: int

    @property
    def accuracy_ppm(self) -> int:
        return self.correct * 1_000_000 // self.rows


def weight_shapes(spec: TaskSpec) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the weights, in the order in which gradients are hashed."""
    sizes = (spec.architecture.input_size, *spec.architecture.hidden_sizes, spec.architecture.output_size)
    shapes: dict[str, tuple[int, ...]] = {}
    for layer, (inputs, outputs) in enumerate(pairwise(sizes)):
        shapes[f"layers.{layer}.weight"] = (outputs, inputs)
        shapes[f"layers.{layer}.bias"] = (outputs,)
    return shapes


def _state_layout(spec: TaskSpec) -> dict[str, Expected]:
    layout = {"step": Expected("I64", ()), "generator": Expected("U8", (GENERATOR_BYTES,))}
    for name, shape in weight_shapes(spec).items():
        layout[f"model.{name}"] = Expected("F32", shape)
        for tensor in tensor_names(spec.optimizer):
            layout[f"optimizer.{tensor}.{name}"] = Expected("F32", () if tensor == "step" else shape)
    return layout


def _seed(purpose: str, spec: TaskSpec, epoch: int = 0) -> int:
    return int.from_bytes(H(f"training-{purpose}", u64le(spec.seed), u64le(epoch))[:8], "little") >> 1


def _initial_weights(spec: TaskSpec) -> dict[str, torch.Tensor]:
    """Uniform in ±1/√inputs, as torch.nn.Linear starts, drawn on the CPU so that every device starts alike."""
    generator = torch.Generator().manual_seed(_seed("weights", spec))
    weights: dict[str, torch.Tensor] = {}
    bound = 1.0
    for name, shape in weight_shapes(spec).items():
        if len(shape) == 2:
            bound = shape[1] ** -0.5
        weights[name] = (torch.rand(shape, generator=generator) * 2 - 1) * bound
    return weights


def _forward(weights: list[torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    for layer in range(0, len(weights) - 2, 2):
        x = F.relu(F.linear(x, weights[layer], weights[layer + 1]))
    return F.linear(x, weights[-2], weights[-1])


class Training:
    """A run that stands at some step. Starts at step 0, or where a state file puts it."""

    def __init__(self, spec: TaskSpec, dataset: Dataset, device: torch.device) -> None:
        self.plan = TrainingPlan.of(spec, dataset.train_rows)
        self.step = 0
        self._spec, self._device = spec, device
        self._x, self._y = dataset.x_train.to(device), dataset.y_train.to(device)
        self._generator = torch.Generator()
        self._order = torch.empty(0, dtype=torch.int64)
        self._ordered_epoch = -1
        self._last: tuple[torch.Tensor, torch.Tensor] | None = None  # batch rows and loss of the last step
        self._names = list(weight_shapes(spec))
        self._set_weights(_initial_weights(spec))

    def _set_weights(self, tensors: dict[str, torch.Tensor]) -> None:
        self._weights = [tensors[name].to(self._device).requires_grad_() for name in self._names]
        self._gradients: tuple[torch.Tensor, ...] = ()
        self._optimizer = Optimizer(self._spec.optimizer, self._weights)

    @classmethod
    def resume(cls, spec: TaskSpec, dataset: Dataset, device: torch.device, state: bytes) -> "Training":
        """The run as this state file left it. StateError when it is no canonical state of this task."""
        training = cls(spec, dataset, device)
        try:
            tensors = tensorfile.load(state, _state_layout(spec))
        except TensorFileError as error:
            raise StateError(str(error)) from error
        step = int(tensors["step"])
        if not 0 <= step <= training.plan.total_steps:
            raise StateError(f"step {step} lies outside 0 … {training.plan.total_steps}")
        training._set_weights({name: tensors[f"model.{name}"] for name in training._names})
        for tensor, kept in training._optimizer.state.items():
            for place, name in enumerate(training._names):
                kept[place] = tensors[f"optimizer.{tensor}.{name}"].to(kept[place].device)
        training.step = step
        if training.state() != state:
            raise StateError("not the canonical file of its tensors, or its generator is not that of its step")
        return training

    def _order_of(self, epoch: int) -> torch.Tensor:
        if epoch != self._ordered_epoch:
            self._generator.manual_seed(_seed("order", self._spec, epoch))
            self._order = torch.randperm(len(self._x), generator=self._generator)
            self._ordered_epoch = epoch
        return self._order

    def advance(self, steps: int) -> None:
        """`steps` optimizer steps; none is taken past the plan's end."""
        size = self._spec.dataset_info.batch_size
        for _ in range(min(steps, self.plan.total_steps - self.step)):
            epoch, batch = divmod(self.step, self.plan.steps_per_epoch)
            rows = self._order_of(epoch)[batch * size : (batch + 1) * size]
            there = rows.to(self._device)
            output = _forward(self._weights, self._x.index_select(0, there))
            loss = F.cross_entropy(output, self._y.index_select(0, there))
            self._gradients = torch.autograd.grad(loss, self._weights)
            self._optimizer.step(self._gradients)
            self.step += 1
            self._last = rows, loss.detach()

    def state(self) -> bytes:
        """The state file. Its generator stands as drawing the permutation of the coming step's epoch leaves it."""
        self._order_of(self.step // self.plan.steps_per_epoch)
        tensors = {"step": torch.tensor(self.step), "generator": self._generator.get_state()}
        for place, name in enumerate(self._names):
            tensors[f"model.{name}"] = self._weights[place]
            for tensor, kept in self._optimizer.state.items():
                tensors[f"optimizer.{tensor}.{name}"] = kept[place]
        return tensorfile.dump(tensors)

    def model(self) -> bytes:
        return tensorfile.dump(dict(zip(self._names, self._weights, strict=True)))

    def snapshot(self) -> Snapshot:
        """What stands here. NotFinite when the last step's loss was not a number."""
        state, model = self.state(), self.model()
        gradient_hash, batch_hash, loss = bytes(32), bytes(32), 0.0
        if self._last is not None:
            rows, last_loss = self._last
            loss = float(last_loss)
            if not math.isfinite(loss):
                raise NotFinite(f"the loss is {loss} after {self.step} steps")
            batch_hash = sha256(rows.numpy().tobytes()).digest()
            gradients = sha256()
            for gradient in self._gradients:
                gradients.update(gradient.cpu().contiguous().numpy().tobytes())
            gradient_hash = gradients.digest()
        entry = WorkEntry(
            self.step, tensorfile.sha256(state), gradient_hash, batch_hash, tensorfile.sha256(model), loss
        )
        return Snapshot(entry, state, model)


def train(spec: TaskSpec, dataset: Dataset, device: torch.device) -> Iterator[Snapshot]:
    """The whole task: one snapshot for each boundary, the first at step 0."""
    training = Training(spec, dataset, device)
    yield training.snapshot()
    for start, end in pairwise(training.plan.boundaries):
        training.advance(end - start)
        yield training.snapshot()


def replay(spec: TaskSpec, dataset: Dataset, device: torch.device, state: bytes, interval: int) -> Snapshot:
    """The snapshot at the end of `interval`, from the state file at its start. StateError when that is not a state of that boundary."""
    training = Training.resume(spec, dataset, device, state)
    start, end = training.plan.boundaries[interval : interval + 2]
    if training.step != start:
        raise StateError(f"the state stands at step {training.step}, interval {interval} starts at {start}")
    training.advance(end - start)
    return training.snapshot()


def initial(spec: TaskSpec, dataset: Dataset, device: torch.device) -> Snapshot:
    """The snapshot at step 0, which follows from the spec alone."""
    return Training(spec, dataset, device).snapshot()


def evaluate(spec: TaskSpec, dataset: Dataset, device: torch.device, model: bytes) -> Metrics:
    """Accuracy and loss of a model file over the test rows. StateError when the file is no model of this task, NotFinite without a loss."""
    try:
        tensors = tensorfile.load(model, {name: Expected("F32", shape) for name, shape in weight_shapes(spec).items()})
    except TensorFileError as error:
        raise StateError(str(error)) from error
    weights = [tensors[name].to(device) for name in weight_shapes(spec)]
    correct, total = 0, 0.0
    with torch.no_grad():
        for start in range(0, dataset.test_rows, TEST_ROWS_AT_ONCE):
            x = dataset.x_test[start : start + TEST_ROWS_AT_ONCE].clone().to(device)
            y = dataset.y_test[start : start + TEST_ROWS_AT_ONCE].to(device)
            output = _forward(weights, x)
            correct += int((output.argmax(dim=1) == y).sum())
            total += float(F.cross_entropy(output, y, reduction="sum"))
    loss = total / dataset.test_rows
    if not math.isfinite(loss):
        raise NotFinite(f"the test loss is {loss}")
    return Metrics(correct / dataset.test_rows, loss, correct, dataset.test_rows)
