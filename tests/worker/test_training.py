"""Every step of a training can be repeated from a state file, bit for bit, in this process and in another."""

import itertools
from hashlib import sha256
from typing import Any

import pytest
import torch

from settlement import spec as specs
from settlement.spec import TaskSpec, TrainingPlan
from tests.worker.specs import OPTIMIZERS, PLAIN_SGD, SGD, make_spec, small_dataset, small_spec
from worker import determinism, tensorfile
from worker.dataset import Dataset
from worker.digits import digits, digits_blob
from worker.tasks import training

CPU = torch.device("cpu")


@pytest.fixture(autouse=True, scope="module")
def _deterministic() -> None:
    determinism.configure(threads=1)


def run(**changes: Any) -> tuple[TaskSpec, Dataset, list[training.Snapshot]]:
    raw, _ = small_spec(**changes)
    spec, dataset = specs.parse(raw), small_dataset()
    return spec, dataset, list(training.train(spec, dataset, CPU))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_interval_replays_from_its_state(optimizer: str) -> None:
    spec, dataset, snapshots = run(optimizer=OPTIMIZERS[optimizer])
    assert len(snapshots) == TrainingPlan.of(spec, 50).intervals + 1 > 10
    for interval, (start, end) in enumerate(itertools.pairwise(snapshots)):
        assert training.replay(spec, dataset, CPU, start.state, interval) == end


def test_a_boundary_inside_an_epoch_goes_on_with_the_same_batches() -> None:
    spec, dataset, snapshots = run()
    plan = TrainingPlan.of(spec, 50)
    inside = next(i for i, step in enumerate(plan.boundaries) if step % plan.steps_per_epoch)
    replayed = training.replay(spec, dataset, CPU, snapshots[inside].state, inside)
    assert replayed.entry.batch_hash == snapshots[inside + 1].entry.batch_hash

    order = training.Training(spec, dataset, CPU)._order_of((plan.boundaries[inside + 1] - 1) // plan.steps_per_epoch)
    batch = (plan.boundaries[inside + 1] - 1) % plan.steps_per_epoch
    rows = order[batch * 8 : (batch + 1) * 8]
    assert sha256(rows.numpy().astype("<i8").tobytes()).digest() == replayed.entry.batch_hash


def test_an_epoch_takes_every_row_once_and_epochs_differ() -> None:
    spec, dataset, _ = run()
    one = training.Training(spec, dataset, CPU)
    first, second = one._order_of(0).clone(), one._order_of(1).clone()
    assert sorted(first.tolist()) == sorted(second.tolist()) == list(range(50))
    assert first.tolist() != second.tolist()


def test_snapshots_do_not_depend_on_where_the_boundaries_lie() -> None:
    spec, dataset, snapshots = run()
    whole = training.Training(spec, dataset, CPU)
    whole.advance(whole.plan.total_steps)
    assert whole.snapshot() == snapshots[-1]


def test_the_initial_entry_has_zeros_and_follows_from_the_seed() -> None:
    spec, dataset, snapshots = run()
    first = snapshots[0].entry
    assert (first.iteration, first.gradient_hash, first.batch_hash, first.loss) == (0, bytes(32), bytes(32), 0.0)
    assert training.initial(spec, dataset, CPU) == snapshots[0]
    assert run(seed=2)[2][0].entry.state_hash != first.state_hash


def test_hashes_name_the_files() -> None:
    _, _, snapshots = run()
    for snapshot in snapshots:
        assert snapshot.entry.state_hash == sha256(snapshot.state).digest()
        assert snapshot.entry.model_hash == sha256(snapshot.model).digest()


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_optimizer_is_torchs_own(optimizer: str) -> None:
    """The same weights as a plain torch loop over torch.nn modules with the same batches, to the last bit."""
    spec, dataset, snapshots = run(optimizer=OPTIMIZERS[optimizer], max_epochs=2)
    ours = training.Training(spec, dataset, CPU)
    model = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
    with torch.no_grad():
        for theirs, weight in zip(model.parameters(), ours._weights, strict=True):
            theirs.copy_(weight)
    settings = {key: value for key, value in OPTIMIZERS[optimizer].items() if key not in ("type", "learning_rate")}
    kind = torch.optim.Adam if optimizer == "adam" else torch.optim.SGD
    stepper = kind(model.parameters(), lr=OPTIMIZERS[optimizer]["learning_rate"], **settings)
    for step in range(ours.plan.total_steps):
        epoch, batch = divmod(step, ours.plan.steps_per_epoch)
        rows = ours._order_of(epoch)[batch * 8 : (batch + 1) * 8]
        stepper.zero_grad()
        torch.nn.functional.cross_entropy(model(dataset.x_train[rows]), dataset.y_train[rows]).backward()
        stepper.step()
    names = ["layers.0.weight", "layers.0.bias", "layers.1.weight", "layers.1.bias"]
    assert tensorfile.dump(dict(zip(names, model.parameters(), strict=True))) == snapshots[-1].model


def test_metrics_come_from_the_model_file() -> None:
    spec, dataset, snapshots = run(max_epochs=30)
    metrics = training.evaluate(spec, dataset, CPU, snapshots[-1].model)
    assert metrics.accuracy == metrics.correct / 20 > 0.7
    assert metrics.accuracy_ppm == metrics.correct * 50_000
    assert metrics.loss < training.evaluate(spec, dataset, CPU, snapshots[0].model).loss


def altered(state: bytes, name: str, change: Any) -> bytes:
    spec = specs.parse(small_spec()[0])
    tensors = tensorfile.load(state, training._state_layout(spec))
    change(tensors[name])
    return tensorfile.dump(tensors)


def test_a_state_of_another_generator_step_or_form_is_refused() -> None:
    spec, dataset, snapshots = run()
    good = snapshots[3].state
    with pytest.raises(training.StateError, match="generator"):
        training.replay(spec, dataset, CPU, altered(good, "generator", lambda t: t.add_(1)), 3)
    with pytest.raises(training.StateError, match="outside"):
        training.replay(spec, dataset, CPU, altered(good, "step", lambda t: t.fill_(10**9)), 3)
    with pytest.raises(training.StateError, match="interval 4 starts at"):
        training.replay(spec, dataset, CPU, good, 4)
    with pytest.raises(training.StateError, match="wrong tensors"):
        training.replay(specs.parse(small_spec(optimizer=SGD)[0]), dataset, CPU, good, 3)
    # The same tensors in another file, here with a space in the header, are another state hash: only one form counts.
    length = int.from_bytes(good[:8], "little")
    spaced = (length + 8).to_bytes(8, "little") + good[8 : 8 + length] + b" " * 8 + good[8 + length :]
    with pytest.raises(training.StateError, match="canonical"):
        training.replay(spec, dataset, CPU, spaced, 3)


def test_a_run_that_diverges_has_no_result() -> None:
    wild = {**PLAIN_SGD, "learning_rate": 1e30}
    with pytest.raises(training.NotFinite, match="loss"):
        run(optimizer=wild)


def test_digits_are_learnt() -> None:
    blob = digits_blob()
    assert blob == digits_blob()
    spec = specs.parse(make_spec(blob, 1797, 64, 10, hidden_sizes=[32], batch_size=64, max_epochs=12))
    *_, last = training.train(spec, digits(), CPU)
    assert training.evaluate(spec, digits(), CPU, last.model).accuracy > 0.95
